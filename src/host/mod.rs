//! The local platform's long-lived process: supervisor, proxy, and the engine of its promotions.
//!
//! It runs where the platform is, so a client that dies changes nothing. Clients talk to it in JSON
//! lines over a Unix socket ([`protocol`]). A host that was killed finds what it had begun: the
//! processes, the share, and the promotion, which it goes on with before anybody asks.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::time::Instant;

use crate::clock::{Clock, SystemClock};
use crate::durable::Lock;
use crate::engine::Promotion;
use crate::history::{AskedFor, History, Record, Urgency};
use crate::platform::local::app::App;
use crate::platform::local::stored::Stored;
use crate::platform::local::{Home, Local};
use crate::published::{LastResult, ResultLine};
use crate::rollout::Ask;

pub mod client;

pub mod protocol;

mod serve;

mod running;

mod succession;

mod admission;

mod measure;

pub mod diary;

pub mod paths;

mod socket;

mod settle;

mod past;

mod error;

pub use error::HostError;

use admission::Admitted;
use diary::Diary;
use error::{busy, cannot_make};
use paths::Paths;
use running::{Run, Running};

/// A promotion starts only on a stable that is ready; a host that has just come up is given so long.
const STABLE_READY_MAX: Duration = Duration::from_secs(60);

/// What a stop waits for so that the newest state is on disk.
const SAVED_MAX: Duration = Duration::from_secs(2);

/// What a host is started with.
#[derive(Clone, Debug)]
pub struct Options {
    pub paths: Paths,
    /// This binary.
    pub gate: PathBuf,
    /// As long as one command: starts from the app file's stable, and leaves only its history.
    pub embedded: bool,
}

/// A running host.
#[derive(Debug)]
pub struct Host {
    shared: Arc<Shared>,
    socket: PathBuf,
    listener: UnixListener,
    alarms: Vec<String>,
    _lock: Lock,
}

/// What the tasks of all clients share.
#[derive(Debug)]
struct Shared {
    local: Local,
    clock: SystemClock,
    history: PathBuf,
    running: Mutex<Option<Running>>,
    /// How the newest promotion that has ended did; read once, then told by each end.
    last: Mutex<Option<LastResult>>,
    /// One promotion begins at a time.
    beginning: tokio::sync::Mutex<()>,
    up_since: Instant,
}

impl Host {
    /// Comes up: processes, proxy, socket; and goes on with a promotion that was begun before.
    ///
    /// # Errors
    /// Another host serves this app, an address is taken, or a folder can't be written.
    pub async fn start(app: App, options: Options) -> Result<Self, HostError> {
        let Options { paths, gate, embedded } = options;
        let folder = paths.app(&app.name);
        let history = paths.history(&app.name);
        for directory in [&folder, &history] {
            make_private(directory).map_err(|error| cannot_make(directory, &error))?;
        }
        let lock = Lock::take(&paths.lock(&app.name)).map_err(|error| busy(&app, &error))?;
        let socket = paths.socket(&app.name);
        let listener = socket::listen(&socket).map_err(|error| cannot_make(&socket, &error))?;
        let clock = SystemClock::start();
        let home = Home { gate, folder, embedded };
        let own = app.clone();
        let settle = |stored: &mut Stored| settle::settle(stored, &own, &history);
        let opened = Local::open(app, home, clock.clone(), settle);
        let (local, alarms) = opened.map_err(HostError::from)?;
        let shared = Arc::new(Shared {
            local,
            clock,
            history,
            running: Mutex::new(None),
            last: Mutex::new(None),
            beginning: tokio::sync::Mutex::new(()),
            up_since: Instant::now(),
        });
        let mut host = Self { shared, socket, listener, alarms, _lock: lock };
        host.take_up();
        host.recall_last();
        Ok(host)
    }

    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Where users connect, as bound.
    #[must_use]
    pub fn users(&self) -> SocketAddr {
        self.shared.local.users()
    }

    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.shared.local.admin()
    }

    /// Returns what people should hear of the start.
    #[must_use]
    pub fn alarms(&self) -> &[String] {
        &self.alarms
    }

    /// Waits until stable is ready, or will not be soon.
    pub async fn stable_ready(&self) -> bool {
        self.shared.local.stable_settled(STABLE_READY_MAX).await
    }

    /// Serves clients until it is asked to stop. The applications go on, for the next start.
    ///
    /// `tell` gets what people should hear meanwhile, such as a disk that can't be written.
    pub async fn run(&self, stop: impl Future<Output = ()>, tell: impl FnMut(&str)) {
        tokio::select! {
            () = serve::serve(&self.shared, &self.listener) => {}
            () = self.shared.local.tell_troubles(tell) => {}
            () = stop => {}
        }
        self.shared.local.saved(SAVED_MAX).await;
    }

    /// Makes traffic safe, ends every process, and leaves nothing but history.
    pub async fn shut_down(&self) {
        let running = self.shared.running();
        if let Some(running) = running {
            let _ = self
                .shared
                .ask(&running, AskedFor::Abort, "gate", Some("the host is stopped"))
                .await;
            let mut result = running.result.clone();
            let ended = result.wait_for(Option::is_some);
            let _ = tokio::time::timeout(running.plan.rollback_drain + SAVED_MAX, ended).await;
        }
        self.shared.local.end(SAVED_MAX).await;
        self.shared.local.saved(SAVED_MAX).await;
        // A socket that stays is in nobody's way: the next host replaces it.
        let _ = std::fs::remove_file(&self.socket);
    }

    /// Reads how the newest promotion ended, beside everything else: a journal may be long.
    fn recall_last(&self) {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || {
            let found = past::newest_result(&shared.history);
            let mut last = shared.last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.is_none() {
                *last = found;
            }
        });
    }

    /// Goes on with the promotion that an earlier host had begun.
    fn take_up(&mut self) {
        let Some(id) = self.shared.local.stored().promotion else { return };
        if let Some(run) = self.shared.resume(&id, &mut self.alarms) {
            self.shared.run(run);
        }
    }
}

impl Shared {
    fn running(&self) -> Option<Running> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.clone().filter(|running| running.result.borrow().is_none())
    }

    /// Begins a promotion, or says why not.
    async fn begin(
        self: &Arc<Self>,
        admitted: Admitted,
        by: String,
        retry: Option<String>,
    ) -> Result<Running, Box<ResultLine>> {
        let _alone = self.beginning.lock().await;
        let Admitted { mut plan, spec } = admitted;
        if let Some(running) = self.running() {
            return Err(Box::new(admission::is_busy(&plan, &running)));
        }
        let now = self.clock.now();
        if let Some(line) = admission::refusal(&plan, &self.local.stored(), retry.as_deref(), now) {
            return Err(Box::new(line));
        }
        let refused = |reason: String| Box::new(admission::not_possible(&plan, reason));
        if !self.local.stable_settled(STABLE_READY_MAX).await {
            let why = self.local.stable_trouble().map(|why| format!(": {why}")).unwrap_or_default();
            return Err(refused(format!("stable ({}) is not ready{why}", plan.stable.name)));
        }
        // Where nothing is judged, such as a way back at once, no source is needed.
        if let Err(why) = self.measure(&mut plan, &spec).await
            && !plan.observe_only
        {
            return Err(Box::new(admission::not_possible(&plan, why)));
        }
        let refused = |reason: String| Box::new(admission::not_possible(&plan, reason));
        let id = new_id(now);
        let by_whom = by.clone();
        let opened = Diary::open(&self.history, &id).map_err(|error| refused(error.to_string()))?;
        let (mut diary, wishes, _, _) = opened;
        let started = Record::Started { id: id.clone(), by, plan: Box::new(plan.clone()) };
        let recorded = diary.record(now, started, Urgency::First).await;
        recorded.map_err(|error| refused(error.to_string()))?;
        let promotion = Promotion::new(id.clone(), plan.clone(), now)
            .map_err(|error| refused(error.to_string()))?;
        self.local.lift_quarantine(&plan.release.hash);
        self.local.note_promotion(Some(id));
        self.local.saved(SAVED_MAX).await;
        Ok(self.run(Run { promotion, spec, diary, wishes, by: by_whom }))
    }

    /// Returns how the newest promotion that has ended did.
    fn last(&self) -> Option<LastResult> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells the promotion what somebody asks; returns once it is recorded.
    async fn ask(
        &self,
        running: &Running,
        what: AskedFor,
        by: &str,
        reason: Option<&str>,
    ) -> Result<(), HostError> {
        let ask =
            Ask { at: self.clock.now(), by: by.to_owned(), reason: reason.map(ToOwned::to_owned) };
        if running.ask(what, &ask).await {
            return Ok(());
        }
        let message = format!("promotion {} has just ended", running.id);
        Err(HostError { exit_code: 7, message, hint: None })
    }
}

/// Returns a name that sorts by time and is unlike any other.
pub(crate) fn new_id(now: chrono::DateTime<chrono::Utc>) -> String {
    let mut random = [0; 3];
    // Without randomness the time alone has to do.
    let _ = getrandom::fill(&mut random);
    let random: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{random}", now.format("%Y%m%d-%H%M%S"))
}

fn make_private(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}
