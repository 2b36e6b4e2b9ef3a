//! One instance of a release: a process, its port, its log.
//!
//! Contract:
//! * An instance survives the host. Dropping an [`Instance`] lets go of the process; a host that comes
//!   back takes it over with [`Instance::adopt`], and never starts it twice.
//! * An instance is its whole process group. When the process itself ends, what it has left behind is
//!   ended as well; otherwise a forgotten worker would keep the port. Processes that leave the group
//!   (daemons) are not supported.
//! * [`Instance::stop`] always ends: SIGTERM, a grace, SIGKILL.
//!
//! When to start again is not decided here but in [`restarts`]; whether it serves is not seen here
//! but by probes.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

pub mod identity;
pub mod logs;

pub mod old_logs;
pub mod port;
mod prepared;
pub mod restarts;
pub mod session;
mod supervise;

pub use identity::Identity;
pub use logs::Log;
pub use port::Port;

use prepared::Prepared;
use supervise::{Order, Phase, Watched};

/// The variables of the host's own environment that an application inherits. Nothing else: the
/// host's may hold tokens of a pipeline that are none of the application's business. Whatever else
/// an application needs stands under `env:` in the app file.
pub const INHERITED: [&str; 16] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "HOSTNAME",
    "LD_LIBRARY_PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "RUST_BACKTRACE",
    "XDG_RUNTIME_DIR",
];

/// How long a process may take to go after SIGKILL before it counts as stuck in the kernel.
const KILLED_MAX: Duration = Duration::from_secs(5);

/// What is started: a release of the app file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// For messages and the log's file name, such as `checkout-v2`.
    pub name: String,
    /// Program and arguments; `{gate}` and `{port}` are replaced in each.
    pub command: Vec<String>,
    /// Replaced in the same way; wins over what is inherited.
    pub env: BTreeMap<String, String>,
    pub directory: PathBuf,
    pub port: Port,
}

/// Where it is started: what the host knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// This binary, usually `std::env::current_exe()`.
    pub gate: PathBuf,
    /// The directory for logs; made when it is not there.
    pub logs: PathBuf,
}

/// What a host writes down to find the instance again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    pub identity: Identity,
    pub port: u16,
    pub log: PathBuf,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    Code(i32),
    Signal(i32),
    /// It was adopted, so its exit code went to another process.
    Unknown,
}

/// Why a release can't be started. Nothing runs then.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{name}: its command is empty; write the program and its arguments as a list")]
    NoCommand { name: String },
    #[error("{name}: its directory {directory:?} is not there; create it or correct the app file")]
    NoDirectory { name: String, directory: PathBuf },
    #[error("{name}: port {port} is taken; stop what listens there, or write `port: auto`")]
    PortTaken { name: String, port: u16 },
    #[error("{name}: can't get a port to listen on")]
    Port { name: String, source: io::Error },
    #[error("{name}: can't write its log {log:?}; check the directory's owner and free space")]
    Log { name: String, log: PathBuf, source: io::Error },
    #[error(
        "{name}: command {program:?} not found; check its spelling, PATH, and that it (or the interpreter in its first line) is installed"
    )]
    NotFound { name: String, program: String },
    #[error(
        "{name}: {program:?} may not be executed; `chmod +x` it, or name its interpreter first"
    )]
    NotExecutable { name: String, program: String },
    #[error("{name}: {program:?} can't be started")]
    Other { name: String, program: String, source: io::Error },
}

/// Why a process can't be taken over: start a new one.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    #[error("process {pid} has ended")]
    Gone { pid: u32 },
    #[error("process {pid} is another one than the one that was started")]
    Another { pid: u32 },
    #[error("can't watch process {pid}")]
    Watch { pid: u32, source: io::Error },
}

/// Why a process is still there after SIGKILL.
#[derive(Debug, thiserror::Error)]
#[error("process {pid} is still there {} s after SIGKILL: it is stuck in the kernel, often on a disk or network file system", KILLED_MAX.as_secs())]
pub struct StopError {
    pub pid: u32,
}

/// A process that is supervised by a task of its own.
#[derive(Debug)]
pub struct Instance {
    record: Record,
    orders: watch::Sender<Order>,
    phase: watch::Receiver<Phase>,
}

impl Instance {
    /// Starts a release in a session of its own and returns when its command runs (not: when it serves).
    ///
    /// Needs a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(
        launch: &Launch,
        place: &Place,
    ) -> impl Future<Output = Result<Self, StartError>> + Send + use<> {
        let prepared = Prepared::of(launch, place);
        async move { prepared?.start().await }
    }

    /// Takes over a process that an earlier host has started.
    ///
    /// # Errors
    /// It has ended, or its pid belongs to another process now.
    pub fn adopt(record: Record) -> Result<Self, AdoptError> {
        let watched = Watched::adopted(&record.identity)?;
        Ok(Self::supervised(watched, record))
    }

    fn supervised(watched: Watched, record: Record) -> Self {
        let (orders, ordered) = watch::channel(Order::Run);
        let (told, phase) = watch::channel(Phase::Running);
        let log = Log::at(record.log.clone());
        tokio::spawn(supervise::supervise(watched, log, ordered, told));
        Self { record, orders, phase }
    }

    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }

    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.record.identity
    }

    #[must_use]
    pub const fn port(&self) -> u16 {
        self.record.port
    }

    /// Returns the last lines that it printed; see [`Log::tail`].
    #[must_use]
    pub fn last_lines(&self, lines: usize) -> Vec<String> {
        Log::at(self.record.log.clone()).tail(lines)
    }

    /// Returns how it ended; `None` while it runs.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        self.phase.borrow().exit()
    }

    /// Waits until the process has ended. May be called any number of times.
    pub async fn exited(&self) -> Exit {
        let mut phase = self.phase.clone();
        // The supervisor goes away only with the runtime itself.
        let seen = phase.wait_for(|phase| phase.exit().is_some()).await;
        seen.ok().and_then(|phase| phase.exit()).unwrap_or(Exit::Unknown)
    }

    /// Ends it: SIGTERM to its group, SIGKILL to what is left of it after `grace`. Returns when the
    /// whole group is gone. A second call may shorten the grace of the first, never lengthen it.
    ///
    /// # Errors
    /// It outlives SIGKILL; see [`StopError`].
    pub async fn stop(&self, grace: Duration) -> Result<Exit, StopError> {
        let deadline = Instant::now() + grace;
        self.orders.send_modify(|order| order.tighten(Order::Stop { deadline }));
        self.gone(grace + KILLED_MAX).await
    }

    /// Ends it at once with SIGKILL.
    ///
    /// # Errors
    /// It outlives SIGKILL; see [`StopError`].
    pub async fn kill(&self) -> Result<Exit, StopError> {
        self.orders.send_modify(|order| order.tighten(Order::Kill));
        self.gone(KILLED_MAX).await
    }

    async fn gone(&self, within: Duration) -> Result<Exit, StopError> {
        let mut phase = self.phase.clone();
        let gone = phase.wait_for(|phase| matches!(phase, Phase::Gone(_)));
        match tokio::time::timeout(within, gone).await {
            Ok(Ok(phase)) => Ok(phase.exit().unwrap_or(Exit::Unknown)),
            Ok(Err(_)) | Err(_) => Err(StopError { pid: self.record.identity.pid }),
        }
    }
}

impl Launch {
    fn resolved_command(&self, place: &Place, port: u16) -> Vec<String> {
        self.command.iter().map(|part| fill_in(part, &place.gate, port)).collect()
    }

    /// Returns the environment of the application, and of probes that are commands: what is
    /// [`INHERITED`], `PORT`, and what the app file says.
    #[must_use]
    pub fn environment(&self, place: &Place, port: u16) -> BTreeMap<OsString, OsString> {
        let inherited =
            INHERITED.iter().filter_map(|&name| Some((name.into(), std::env::var_os(name)?)));
        let own = self
            .env
            .iter()
            .map(|(name, value)| (name.into(), fill_in(value, &place.gate, port).into()));
        inherited.chain([("PORT".into(), port.to_string().into())]).chain(own).collect()
    }
}

fn fill_in(text: &str, gate: &Path, port: u16) -> String {
    text.replace("{port}", &port.to_string()).replace("{gate}", &gate.to_string_lossy())
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => match signal_name(number) {
                Some(name) => write!(f, "signal {number} ({name})"),
                None => write!(f, "signal {number}"),
            },
            Self::Unknown => f.write_str("an exit code that is not known"),
        }
    }
}

/// The signals that end a process in practice; the numbers are those of Linux on every architecture
/// that Rust supports in tier 1.
const fn signal_name(number: i32) -> Option<&'static str> {
    match number {
        1 => Some("SIGHUP"),
        2 => Some("SIGINT"),
        3 => Some("SIGQUIT"),
        4 => Some("SIGILL"),
        6 => Some("SIGABRT"),
        8 => Some("SIGFPE"),
        9 => Some("SIGKILL, often the kernel out of memory"),
        11 => Some("SIGSEGV"),
        13 => Some("SIGPIPE"),
        15 => Some("SIGTERM"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
