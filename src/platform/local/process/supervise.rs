//! The task that watches one process until it is gone.
//!
//! A pidfd tells the end of a child and of an adopted process alike, and names the process without
//! doubt. A child is reaped *last*, after its group has been seen to: until then its pid, which is
//! also the group's, can't be given to anybody else, so no signal can hit a stranger.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open,
    pidfd_send_signal, waitid,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

use super::identity::{Identity, group_runs};
use super::logs::{LOG_BYTES_MAX, Log};
use super::{AdoptError, Exit};

/// Between two looks at the size of the log: at 100 MB/s it may grow to some 500 MB, once.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// Between two looks at a group whose leader has ended.
const GROUP_INTERVAL: Duration = Duration::from_millis(25);

/// How long a group that got SIGKILL is waited for.
const GROUP_KILLED_MAX: Duration = Duration::from_secs(2);

/// What the supervisor shall do. It only ever becomes more urgent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Run,
    Stop { deadline: Instant },
    Kill,
}

impl Order {
    pub(super) fn tighten(&mut self, wanted: Self) {
        *self = match (*self, wanted) {
            (Self::Kill, _) | (_, Self::Kill) => Self::Kill,
            (Self::Stop { deadline: a }, Self::Stop { deadline: b }) => {
                Self::Stop { deadline: a.min(b) }
            }
            (Self::Run, other) | (other, Self::Run) => other,
        };
    }

    /// Returns when what is left gets SIGKILL; `None` while it shall run.
    fn deadline(self) -> Option<Instant> {
        match self {
            Self::Run => None,
            Self::Stop { deadline } => Some(deadline),
            Self::Kill => Some(Instant::now()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// The process has ended; others of its group may be there.
    Ended(Exit),
    /// Nothing is left.
    Gone(Exit),
}

impl Phase {
    pub(super) const fn exit(self) -> Option<Exit> {
        match self {
            Self::Running => None,
            Self::Ended(exit) | Self::Gone(exit) => Some(exit),
        }
    }
}

/// A process with a handle that can't come to mean another one.
#[derive(Debug)]
pub(super) struct Watched {
    identity: Identity,
    pid: Pid,
    handle: AsyncFd<OwnedFd>,
}

impl Watched {
    /// Watches a child that was just started and that nobody else reaps.
    pub(super) fn child(pid: Pid) -> io::Result<Self> {
        let handle = open(pid)?;
        let identity = Identity::of(pid.as_raw_nonzero().get().unsigned_abs())?;
        Ok(Self { identity, pid, handle })
    }

    /// Watches a process that somebody else has started.
    pub(super) fn adopted(identity: &Identity) -> Result<Self, AdoptError> {
        let gone = AdoptError::Gone { pid: identity.pid };
        let Some(pid) = identity.raw() else { return Err(gone) };
        let handle = match open(pid) {
            Ok(handle) => handle,
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
                return Err(gone);
            }
            Err(source) => return Err(AdoptError::Watch { pid: identity.pid, source }),
        };
        // Compared after the handle was opened: what is compared is what the handle means.
        match Identity::of(identity.pid) {
            Err(_) => Err(gone),
            Ok(now) if now != *identity => Err(AdoptError::Another { pid: identity.pid }),
            Ok(_) if !identity.is_alive() => Err(gone),
            Ok(_) => Ok(Self { identity: identity.clone(), pid, handle }),
        }
    }

    pub(super) const fn identity(&self) -> &Identity {
        &self.identity
    }

    async fn ended(&self) {
        // An error means that the runtime's I/O is gone; the process is then looked at itself.
        if self.handle.readable().await.is_err() {
            while self.identity.is_alive() {
                sleep(GROUP_INTERVAL).await;
            }
        }
    }

    /// Returns how the process ended, and leaves it to be reaped.
    fn exit(&self) -> Exit {
        let waiting = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let Ok(Some(status)) = waitid(WaitId::PidFd(self.handle.as_fd()), waiting) else {
            return Exit::Unknown;
        };
        let code = status.exit_status().map(Exit::Code);
        code.or(status.terminating_signal().map(Exit::Signal)).unwrap_or(Exit::Unknown)
    }

    fn reap(&self) {
        // Not our child (adopted): then somebody else reaps it.
        let _ = waitid(
            WaitId::PidFd(self.handle.as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        );
    }

    // Both fail when nobody is there any more, which is what is wanted.

    fn ask_to_end(&self) {
        let _ = kill_process_group(self.pid, Signal::TERM);
    }

    /// Kills the group, and the process itself in case it has left its group.
    fn kill(&self) {
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = pidfd_send_signal(self.handle.as_fd(), Signal::KILL);
    }
}

#[expect(
    deprecated,
    reason = "the replacement is `unsafe` because some descriptors can change under it; an `OwnedFd` can't"
)]
fn open(pid: Pid) -> io::Result<AsyncFd<OwnedFd>> {
    // AsyncFd never reads from it, so it may stay in blocking mode.
    AsyncFd::with_interest(pidfd_open(pid, PidfdFlags::empty())?, Interest::READABLE)
}

/// Watches until nothing is left, and obeys orders. When the handle that gives them is dropped, the
/// process goes on and so does this task, as long as the runtime does.
pub(super) async fn supervise(
    watched: Watched,
    log: Log,
    mut orders: watch::Receiver<Order>,
    phase: watch::Sender<Phase>,
) {
    run(&watched, &log, &mut orders).await;
    let exit = watched.exit();
    phase.send_replace(Phase::Ended(exit));
    see_to_group(&watched, &mut orders).await;
    watched.reap();
    phase.send_replace(Phase::Gone(exit));
}

/// Returns when the process has ended.
async fn run(watched: &Watched, log: &Log, orders: &mut watch::Receiver<Order>) {
    let mut log_check = interval(LOG_INTERVAL);
    log_check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut asked_to_end = false;
    let mut killed = false;
    let mut orders_open = true;
    loop {
        let order = *orders.borrow_and_update();
        if matches!(order, Order::Stop { .. }) && !asked_to_end {
            asked_to_end = true;
            watched.ask_to_end();
        }
        tokio::select! {
            () = watched.ended() => return,
            given = orders.changed(), if orders_open => orders_open = given.is_ok(),
            () = until(order.deadline()), if !killed => {
                killed = true;
                watched.kill();
            }
            _ = log_check.tick() => cut(log).await,
        }
    }
}

/// Ends what the process has left behind: after the grace of an order to stop, else at once.
async fn see_to_group(watched: &Watched, orders: &mut watch::Receiver<Order>) {
    while group_runs(watched.pid) {
        let over = orders.borrow().deadline().is_none_or(|deadline| deadline <= Instant::now());
        if over {
            break;
        }
        sleep(GROUP_INTERVAL).await;
    }
    if group_runs(watched.pid) {
        watched.kill();
    }
    let give_up = Instant::now() + GROUP_KILLED_MAX;
    while group_runs(watched.pid) && Instant::now() < give_up {
        sleep(GROUP_INTERVAL).await;
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn cut(log: &Log) {
    let log = log.clone();
    // A log that can't be cut (removed, disk full) is tried again at the next look; it is no reason
    // to disturb an application that serves.
    let _ = tokio::task::spawn_blocking(move || log.cut(LOG_BYTES_MAX)).await;
}
