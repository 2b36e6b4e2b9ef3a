//! One host without a cluster: processes behind a proxy of the gate's own.
//!
//! [`Local`] is what runs here: stable, a candidate while a promotion runs, and the proxy that splits
//! the traffic between them. [`Target`] is one promotion's view of it: a platform and its evidence.
//!
//! Adoption is one write here: the candidate's process becomes stable, and no request moves.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use crate::analysis::Unknown;
use crate::clock::SystemClock;
use crate::evidence::exposition::{self, Preset};
use crate::evidence::scrape::scrape;
use crate::plan::{Plan, Release};
use crate::share::Share;

pub mod app;

pub mod stored;

mod target;

pub mod scraped;

mod past;

mod roster;

mod revision;

mod saving;

mod start;

mod change;

mod cries;

mod mark;

pub mod process;

pub mod proxy;

pub use target::Target;

use app::{App, ReleaseSpec};
use past::Past;
use process::Place;
use proxy::{Admin, Config, Limits, Proxy};
use revision::Surroundings;
use roster::Roster;
use saving::Saver;
use stored::{Quarantined, Stored, StoredRevision};

/// Where the host keeps what must survive it, and what starts its processes.
#[derive(Clone, Debug)]
pub struct Home {
    /// This binary.
    pub gate: PathBuf,
    /// The app's own folder.
    pub folder: PathBuf,
    /// Start from the app file's stable whatever was stored, and store nothing for later.
    pub embedded: bool,
}

impl Home {
    /// Where the processes print to.
    fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("can't listen on {addr}")]
    Listen {
        addr: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("no release {name} in the app file")]
    NoSuchRelease { name: String },
    #[error("no random numbers from the system")]
    Random,
}

/// A handle on what runs here; clones share it.
#[derive(Clone, Debug)]
pub struct Local {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    app: App,
    home: Home,
    clock: SystemClock,
    proxy: Proxy,
    admin: Admin,
    roster: Mutex<Roster>,
    saver: Saver,
    changed: Arc<Notify>,
    past: Mutex<Past>,
    cries: mpsc::Sender<String>,
    heard: tokio::sync::Mutex<mpsc::Receiver<String>>,
}

/// An instance's own metrics are waited for so long: looks must not wait for one that hangs.
const SCRAPE_MAX: Duration = Duration::from_secs(2);

/// How long the end of a process waits for the disk to know that it has no part any more.
const SAVED_MAX: Duration = Duration::from_secs(1);

/// What was found at the start that people should hear of.
pub type Alarms = Vec<String>;

impl Local {
    /// Comes up: takes over the processes that run, starts those that do not, and listens.
    ///
    /// `settle` brings the state that was stored up to what else is known, before it is used.
    ///
    /// # Errors
    /// An address can't be listened on, or the app file's stable is not one of its releases.
    pub fn open(
        app: App,
        home: Home,
        clock: SystemClock,
        settle: impl FnOnce(&mut Stored),
    ) -> Result<(Self, Alarms), LocalError> {
        let users = listen(app.listen)?;
        let admin = listen(app.admin)?;
        let (mut stored, mut alarms) = start::recall(&app, &home)?;
        settle(&mut stored);
        let stored = start::reconcile(stored, &home, &mut alarms);
        let changed = Arc::new(Notify::new());
        let config = Config {
            bounds_ms: app.bounds_ms(),
            salt: start::salt(&stored.salt),
            limits: Limits::default(),
        };
        let failed = |addr| move |source| LocalError::Listen { addr, source };
        let proxy = Proxy::start(users, config).map_err(failed(app.listen))?;
        let admin = Admin::start(admin, &proxy).map_err(failed(app.admin))?;
        let sticky = roster::sticky(&app);
        let around = |revision: &StoredRevision| surroundings(&app, &home, &changed, revision);
        let roster = Roster::muster(stored, sticky, around);
        let saver = Saver::start(start::state_file(&home));
        let roster = Mutex::new(roster);
        let past = Mutex::new(Past::default());
        let (cries, heard) = mpsc::channel(cries::CRIES_MAX);
        let heard = tokio::sync::Mutex::new(heard);
        let inner =
            Inner { app, home, clock, proxy, admin, roster, saver, changed, past, cries, heard };
        let inner = Arc::new(inner);
        let local = Self { inner };
        local.refresh();
        local.prune_logs();
        tokio::spawn(local.clone().remember());
        tokio::spawn(local.clone().follow());
        Ok((local, alarms))
    }

    #[must_use]
    pub fn app(&self) -> &App {
        &self.inner.app
    }

    /// Where users connect, as bound.
    #[must_use]
    pub fn users(&self) -> SocketAddr {
        self.inner.proxy.addr()
    }

    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.inner.admin.addr()
    }

    /// Returns what would be stored now.
    #[must_use]
    pub fn stored(&self) -> Stored {
        self.roster().stored(&self.inner.app)
    }

    /// Returns how many of stable's instances are ready, of how many.
    #[must_use]
    pub fn stable_ready(&self) -> [u32; 2] {
        [u32::from(self.roster().stable.status().ready), 1]
    }

    /// Waits until stable is ready for the first time, or the limit has passed.
    pub async fn stable_settled(&self, limit: Duration) -> bool {
        let settled = self.roster().stable.settled();
        let _ = tokio::time::timeout(limit, settled).await;
        self.stable_ready()[0] > 0
    }

    /// Returns why stable is not ready, where that is known.
    #[must_use]
    pub fn stable_trouble(&self) -> Option<String> {
        self.roster().stable.status().trouble.map(|trouble| trouble.what)
    }

    /// Returns one promotion's view: the platform on which its release is the candidate.
    #[must_use]
    pub fn target(&self, plan: &Plan, spec: ReleaseSpec) -> Target {
        if plan.judge.server().is_none() {
            self.inner.proxy.set_bounds(&plan.judge.bounds_ms);
        }
        Target::new(self.clone(), plan, spec)
    }

    /// Returns the latency bounds that stable's own metrics have, in milliseconds.
    ///
    /// # Errors
    /// Stable does not run, its metrics can't be read, or they have no histogram.
    pub async fn own_bounds_ms(&self) -> Result<Vec<f64>, Unknown> {
        let address = self.roster().stable.address();
        let address = address.ok_or_else(|| Unknown::NoData { arm: "stable".into() })?;
        Ok(exposition::bounds(&scrape(&address.to_string(), SCRAPE_MAX).await?, Preset::Plain)?)
    }

    /// Notes which promotion runs, so that the next start goes on with it.
    pub fn note_promotion(&self, id: Option<String>) {
        self.change(|roster| roster.promotion = id);
    }

    pub fn condemn(&self, bad: Quarantined) {
        self.change(|roster| roster.condemn(bad));
    }

    pub fn lift_quarantine(&self, hash: &str) {
        self.change(|roster| roster.quarantine.retain(|bad| bad.release.hash != hash));
    }

    /// Makes traffic safe without asking anybody: the candidate's share to 0.
    pub fn share_to_zero(&self) {
        self.set_share(Share::ZERO);
    }

    /// Returns once everything that was changed is on disk, or the limit has passed.
    pub async fn saved(&self, limit: Duration) {
        self.inner.saver.saved(limit).await;
    }

    /// Ends everything: users first, then the processes. For an embedded run, and for a host that is
    /// stopped by a person.
    pub async fn end(&self, drain: Duration) {
        self.set_share(Share::ZERO);
        let instances: Vec<String> = {
            let roster = self.roster();
            roster.all().for_each(|revision| revision.stop(drain));
            roster.all().map(|revision| revision.instance().to_owned()).collect()
        };
        let pattern = Duration::from_millis(20);
        while !self.all_gone() {
            tokio::time::sleep(pattern).await;
        }
        for instance in instances {
            self.inner.proxy.forget(&instance);
        }
        if self.inner.home.embedded {
            self.inner.saver.remove().await;
        }
    }

    fn all_gone(&self) -> bool {
        self.roster().all().all(|revision| revision.status().gone)
    }
}

fn listen(addr: SocketAddr) -> Result<TcpListener, LocalError> {
    TcpListener::bind(addr).map_err(|source| LocalError::Listen { addr, source })
}

fn surroundings(
    app: &App,
    home: &Home,
    changed: &Arc<Notify>,
    revision: &StoredRevision,
) -> Surroundings {
    Surroundings {
        place: Place { gate: home.gate.clone(), logs: home.logs() },
        folder: app.cwd(&revision.spec),
        mark: mark::mark(&home.folder, &revision.instance),
        probes: app.all_probes(),
        changed: Arc::clone(changed),
    }
}

/// Returns the release that a specification of the app file is.
#[must_use]
pub fn release_of(name: &str, spec: &ReleaseSpec) -> Release {
    Release { name: name.to_owned(), hash: spec.hash(), irreversible: spec.irreversible }
}
