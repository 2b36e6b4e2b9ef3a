//! Asking an instance how it is.
//!
//! A probe is a question (HTTP, TCP, a command) and a timing; both as Kubernetes knows them, with its
//! defaults. One attempt ends within its time-out and says why it failed. What follows from a row of
//! answers is decided in [`health`], which is pure; when to ask is in [`schedule`].

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::policy::HealthCheck;

mod exec;
pub mod health;
mod http;
pub mod schedule;
mod tcp;

pub use health::{Health, Role, Wish};
pub use schedule::attend;

/// The probes of one instance. Without any it counts as ready while it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probes {
    /// Until it is good, the other two are not asked.
    pub startup: Option<Probe>,
    /// Decides whether the instance gets traffic.
    pub readiness: Option<Probe>,
    /// Decides whether it has to be started again.
    pub liveness: Option<Probe>,
}

/// A question with its timing. [`Probe::new`] has Kubernetes' defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub kind: Kind,
    /// From one question to the next; between [`schedule::INTERVAL_MIN`] and [`schedule::INTERVAL_MAX`].
    pub interval: Duration,
    pub timeout: Duration,
    /// After the start of the process (startup) or the end of the startup probe (the other two).
    pub initial_delay: Duration,
    /// Failures in a row that take an instance out (readiness) or have it started again.
    pub failure_threshold: u32,
    /// Successes in a row that take it in.
    pub success_threshold: u32,
    /// Successes in a row that take it in after a failed probe. Kubernetes has no such figure.
    pub recovery_threshold: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    Http(Http),
    /// Good when the port accepts a connection.
    Tcp {
        /// Absent: the instance's own.
        port: Option<u16>,
    },
    /// Good when the command exits with 0.
    Exec {
        command: Vec<String>,
    },
}

/// A GET on a connection of its own; redirects are not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// With a leading slash; may hold a query.
    pub path: String,
    /// Absent: the instance's own.
    pub port: Option<u16>,
    pub headers: Vec<(String, String)>,
    pub expect_status: RangeInclusive<u16>,
    /// Text that the body has to hold, within its first 64 KiB.
    pub body_match: Option<String>,
}

impl Http {
    /// What Kubernetes takes for success.
    pub const GOOD_STATUS: RangeInclusive<u16> = 200..=399;

    #[must_use]
    pub const fn get(path: String) -> Self {
        let expect_status = Self::GOOD_STATUS;
        Self { path, port: None, headers: Vec::new(), expect_status, body_match: None }
    }
}

impl Probe {
    /// Returns a probe with Kubernetes' defaults: every 10 s, time-out 1 s, out after 3 failures in a
    /// row, in after one success.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            initial_delay: Duration::ZERO,
            failure_threshold: 3,
            success_threshold: 1,
            recovery_threshold: 1,
        }
    }

    /// Asks once. Ends within the probe's time-out.
    ///
    /// # Errors
    /// Why the answer is not a good one.
    pub async fn ask(&self, target: &Target) -> Result<(), Failure> {
        let question = async {
            match &self.kind {
                Kind::Http(http) => http::ask(http, target.at(http.port)).await,
                Kind::Tcp { port } => tcp::ask(target.at(*port)).await,
                Kind::Exec { command } => exec::ask(command, target).await,
            }
        };
        let answer = tokio::time::timeout(self.timeout, question).await;
        answer.unwrap_or(Err(Failure::TimedOut { after: self.timeout }))
    }
}

impl Probes {
    /// How often an instance is asked until it has started, whatever the interval after that: the
    /// wait for a new release is a wait of persons.
    pub const STARTUP_INTERVAL: Duration = Duration::from_millis(500);

    /// Good answers in a row where one is not enough: at the start, and after a failure.
    pub const NOT_BY_CHANCE: u32 = 2;

    /// Returns what the seed's `health_check` means. Out of traffic after `threshold` failures in a
    /// row; in, at the start and after a failure, with two successes in a row: one may be chance.
    /// The time-out is Kubernetes' second, or the interval if that is shorter. Nothing is ever
    /// started again because of it: a candidate that never becomes ready is the business of the
    /// deadline of Preparing.
    #[must_use]
    pub fn from_health_check(check: &HealthCheck) -> Self {
        let any = Http::get(check.path.clone());
        let http = Http {
            port: check.port,
            expect_status: check.status.map_or(any.expect_status.clone(), |only| only..=only),
            body_match: check.body.clone(),
            ..any
        };
        let probe = Probe::new(Kind::Http(http));
        let timeout = probe.timeout.min(check.interval);
        let readiness = Probe {
            interval: check.interval,
            timeout,
            failure_threshold: check.threshold,
            recovery_threshold: Self::NOT_BY_CHANCE,
            ..probe
        };
        let startup = Probe {
            interval: Self::STARTUP_INTERVAL.min(check.interval),
            failure_threshold: u32::MAX,
            success_threshold: Self::NOT_BY_CHANCE,
            ..readiness.clone()
        };
        Self { startup: Some(startup), readiness: Some(readiness), liveness: None }
    }
}

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where the instance listens.
    pub address: SocketAddr,
    /// Where commands run.
    pub directory: PathBuf,
    /// The whole environment of commands.
    pub env: BTreeMap<OsString, OsString>,
}

impl Target {
    fn at(&self, port: Option<u16>) -> SocketAddr {
        SocketAddr::new(self.address.ip(), port.unwrap_or_else(|| self.address.port()))
    }
}

/// Why a probe failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    TimedOut {
        after: Duration,
    },
    /// Nobody listens.
    Refused {
        at: SocketAddr,
    },
    /// The connection broke, or what came was no HTTP.
    Broken {
        what: String,
    },
    Status {
        code: u16,
        expected: RangeInclusive<u16>,
    },
    Body {
        wanted: String,
    },
    Command {
        what: String,
    },
    /// The question itself is wrong (a path that is none, a command that is not there).
    CanNotAsk {
        what: String,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut { after } => {
                write!(f, "no answer within {}", humantime::format_duration(*after))
            }
            Self::Refused { at } => write!(f, "connection refused by {at}"),
            Self::Broken { what } => write!(f, "no usable answer: {what}"),
            Self::Status { code, expected } => {
                write!(f, "status {code}, expected {} to {}", expected.start(), expected.end())
            }
            Self::Body { wanted } => write!(f, "the body does not hold {wanted:?}"),
            Self::Command { what } => write!(f, "the command failed: {what}"),
            Self::CanNotAsk { what } => write!(f, "can't ask: {what}"),
        }
    }
}

/// Opens a connection.
async fn connect(at: SocketAddr) -> Result<tokio::net::TcpStream, Failure> {
    tokio::net::TcpStream::connect(at).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::ConnectionRefused => Failure::Refused { at },
        _other => Failure::Broken { what: error.to_string() },
    })
}

#[cfg(test)]
mod tests;
