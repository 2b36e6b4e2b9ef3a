//! One revision as it runs: a process that is kept alive, probed, and ended in good order.
//!
//! A task of its own does that; what it finds is published as a [`Status`]. It decides nothing about
//! traffic: who gets requests is the roster's business, told by the status.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::mark;
use super::process::restarts::{Crash, LINES_IN_MESSAGE, Next, Restarts};
use super::process::{self, Exit, Instance, Launch, Place, Port, StartError};
use super::stored::StoredRevision;
use crate::analysis::ProbeCount;
use crate::evidence::probe::{Health, Probes, Target, attend};
use crate::platform::local::app::PortRule;
use crate::rollout::Trouble;

/// A process that its liveness probe condemned gets so long to end.
const RESTART_GRACE: Duration = Duration::from_secs(5);

/// What a revision's task publishes.
#[derive(Clone, Debug, Default)]
pub(super) struct Status {
    pub(super) process: Option<process::Record>,
    /// Its probes allow it requests.
    pub(super) ready: bool,
    pub(super) ever_ready: bool,
    pub(super) probes: ProbeCount,
    pub(super) good_in_a_row: u32,
    pub(super) trouble: Option<Trouble>,
    /// It has ended because it was asked to.
    pub(super) gone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Run,
    Stop { grace: Duration },
}

/// What a revision's task works with.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    pub(super) place: Place,
    pub(super) folder: PathBuf,
    pub(super) mark: String,
    pub(super) probes: Probes,
    /// Woken at every change of status.
    pub(super) changed: Arc<Notify>,
}

#[derive(Debug)]
pub(super) struct Revision {
    /// Its process is the one at the start; see [`Revision::stored`].
    stored: StoredRevision,
    status: watch::Receiver<Status>,
    orders: watch::Sender<Order>,
    /// It was asked to end: no requests any more.
    pub(super) ending: bool,
    /// What ends it once its requests have ended; see [`Revision::called_back`].
    pub(super) retirement: Option<AbortHandle>,
}

impl Revision {
    /// Starts it, or takes over the process that it was.
    pub(super) fn run(stored: StoredRevision, around: Surroundings) -> Self {
        let (told, status) = watch::channel(Status::default());
        let (orders, ordered) = watch::channel(Order::Run);
        let task = Keeper { stored: stored.clone(), around, told, restarts: Restarts::default() };
        tokio::spawn(task.keep(ordered));
        Self { stored, status, orders, ending: false, retirement: None }
    }

    pub(super) fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    pub(super) fn stored(&self) -> StoredRevision {
        StoredRevision { process: self.status.borrow().process.clone(), ..self.stored.clone() }
    }

    pub(super) fn hash(&self) -> &str {
        &self.stored.release.hash
    }

    pub(super) fn instance(&self) -> &str {
        &self.stored.instance
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.status.borrow().process.as_ref().map(|process| address(process.port))
    }

    /// Has it end: SIGTERM, SIGKILL after the grace.
    pub(super) fn stop(&self, grace: Duration) {
        self.orders.send_replace(Order::Stop { grace });
    }

    /// Calls off its end, if its process has not been told of it; returns whether it goes on. The
    /// caller holds the roster's lock, which whoever would tell the process needs.
    pub(super) fn called_back(&mut self) -> bool {
        let goes_on = *self.orders.borrow() == Order::Run && self.status.borrow().process.is_some();
        if goes_on && let Some(retirement) = self.retirement.take() {
            retirement.abort();
        }
        goes_on
    }

    /// Waits until it has ended.
    pub(super) fn gone(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut status = self.status.clone();
        async move {
            // Its task goes away only with the runtime itself.
            let _ = status.wait_for(|status| status.gone).await;
        }
    }

    /// Waits until it was ready once, or gave up.
    pub(super) fn settled(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut status = self.status.clone();
        async move {
            let gave_up = |s: &Status| s.trouble.as_ref().is_some_and(|trouble| trouble.gave_up);
            let _ = status.wait_for(|s| s.ready || s.gone || gave_up(s)).await;
        }
    }
}

const fn address(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// The task of one revision.
struct Keeper {
    stored: StoredRevision,
    around: Surroundings,
    told: watch::Sender<Status>,
    restarts: Restarts,
}

/// Why a process is no longer attended to.
enum Ended {
    Exit(Exit),
    /// Its liveness probe wants another one.
    Unwell,
    Ordered {
        grace: Duration,
    },
}

impl Keeper {
    async fn keep(mut self, mut ordered: watch::Receiver<Order>) {
        let mut known = self.stored.process.take();
        let health = watch::Sender::new(Health::new(self.around.probes.clone()));
        loop {
            let taken_over = known.take().and_then(|record| Instance::adopt(record).ok());
            let instance = match taken_over {
                Some(instance) => {
                    health.send_replace(Health::adopted(self.around.probes.clone()));
                    Ok(instance)
                }
                None => {
                    health.send_modify(Health::restarted);
                    Instance::start(&self.launch(), &self.around.place).await
                }
            };
            let next = match instance {
                Ok(instance) => self.attend(&instance, &health, &mut ordered).await,
                Err(error) => self.could_not_start(&error),
            };
            let Next::StartAfter(wait) = next else {
                // Nothing more to do but to be asked to end.
                let _ = ordered.wait_for(|order| *order != Order::Run).await;
                return self.tell(|status| status.gone = true);
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = ordered.wait_for(|order| *order != Order::Run) => {
                    return self.tell(|status| status.gone = true);
                }
            }
        }
    }

    /// Attends to one process until it has ended, and says what to do then.
    async fn attend(
        &mut self,
        instance: &Instance,
        health: &watch::Sender<Health>,
        ordered: &mut watch::Receiver<Order>,
    ) -> Next {
        let started = Instant::now();
        let mut ready_since = None;
        let target = self.target(instance.port());
        let mut seen = health.subscribe();
        self.tell(|status| status.process = Some(instance.record().clone()));
        self.show(&health.borrow());
        let attending = attend(&target, health);
        tokio::pin!(attending);
        let ended = loop {
            tokio::select! {
                biased;
                order = ordered.wait_for(|order| *order != Order::Run) => {
                    let grace = match order.map(|order| *order) {
                        Ok(Order::Stop { grace }) => grace,
                        Ok(Order::Run) | Err(_) => return Next::GiveUp, // the host itself goes away
                    };
                    break Ended::Ordered { grace };
                }
                exit = instance.exited() => break Ended::Exit(exit),
                () = &mut attending => break Ended::Unwell,
                _ = seen.changed() => {
                    let health = seen.borrow_and_update().clone();
                    ready_since = if health.in_traffic() { ready_since.or(Some(Instant::now())) } else { None };
                    if let Some(since) = ready_since {
                        self.restarts.healthy_for(since.elapsed());
                    }
                    self.show(&health);
                }
            }
        };
        health.send_modify(Health::ended);
        self.tell(|status| status.ready = false);
        let exit = match ended {
            Ended::Exit(exit) => exit,
            Ended::Unwell => stop(instance, RESTART_GRACE).await,
            Ended::Ordered { grace } => {
                stop(instance, grace).await;
                return Next::GiveUp;
            }
        };
        let healthy_for = ready_since.map_or(Duration::ZERO, |since: Instant| since.elapsed());
        self.crashed(instance, exit, started.elapsed(), healthy_for)
    }

    fn crashed(
        &mut self,
        of: &Instance,
        exit: Exit,
        ran_for: Duration,
        healthy_for: Duration,
    ) -> Next {
        let next = self.restarts.crashed(Crash {
            name: self.stored.release.name.clone(),
            exit,
            ran_for,
            healthy_for,
            last_lines: of.last_lines(LINES_IN_MESSAGE),
        });
        let trouble = self.restarts.trouble();
        self.tell(|status| {
            status.process = None;
            status.trouble = trouble;
        });
        next.or_later()
    }

    /// A command that is not there will not be there in a second either; a port may be.
    fn could_not_start(&mut self, error: &StartError) -> Next {
        let (next, its_own) = match error {
            StartError::PortTaken { .. } | StartError::Port { .. } | StartError::Log { .. } => {
                (Next::StartAfter(Duration::from_secs(1)), false)
            }
            StartError::NoCommand { .. }
            | StartError::NoDirectory { .. }
            | StartError::NotFound { .. }
            | StartError::NotExecutable { .. }
            | StartError::Other { .. } => (Next::GiveUp, true),
        };
        let gave_up = next == Next::GiveUp;
        let trouble = Trouble { what: error.to_string(), its_own, gave_up };
        self.tell(|status| {
            status.process = None;
            status.trouble = Some(trouble);
        });
        next.or_later()
    }

    /// Publishes what the probes say.
    fn show(&self, health: &Health) {
        let crashed = self.restarts.trouble();
        self.tell(|status| {
            status.ready = health.in_traffic();
            status.ever_ready |= status.ready;
            status.probes = health.counts();
            status.good_in_a_row = health.good_in_a_row();
            let unwell =
                health.trouble().map(|what| Trouble { what, its_own: true, gave_up: false });
            status.trouble = if status.ready { None } else { both(crashed, unwell) };
        });
    }

    fn tell(&self, change: impl FnOnce(&mut Status)) {
        self.told.send_modify(change);
        self.around.changed.notify_one();
    }

    fn launch(&self) -> Launch {
        let spec = &self.stored.spec;
        let mut env = spec.env.clone();
        env.insert(mark::VARIABLE.to_owned(), self.around.mark.clone());
        Launch {
            name: self.stored.instance.clone(),
            command: spec.command.clone(),
            env,
            directory: self.around.folder.clone(),
            port: match spec.port {
                PortRule::Auto => Port::Auto,
                PortRule::Fixed(port) => Port::Fixed(port),
            },
        }
    }

    fn target(&self, port: u16) -> Target {
        Target {
            address: address(port),
            directory: self.around.folder.clone(),
            env: self.launch().environment(&self.around.place, port),
        }
    }
}

/// That it crashed before says more than that it does not answer just now.
fn both(crashed: Option<Trouble>, unwell: Option<Trouble>) -> Option<Trouble> {
    match (crashed, unwell) {
        (Some(crashed), Some(unwell)) => {
            let what = format!("{}; now {}", crashed.what, unwell.what);
            Some(Trouble { what, ..crashed })
        }
        (crashed, unwell) => crashed.or(unwell),
    }
}

async fn stop(instance: &Instance, grace: Duration) -> Exit {
    // One that outlives SIGKILL is stuck in the kernel; there is nothing more that can be done.
    instance.stop(grace).await.unwrap_or(Exit::Unknown)
}
