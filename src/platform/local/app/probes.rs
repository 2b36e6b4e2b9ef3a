//! Probes as Kubernetes writes them, with its defaults, and the short `health_check`.

use std::time::Duration;

use super::check;
use crate::policy::diagnostic::Notes;
use crate::policy::fields::Fields;
use crate::policy::{HealthCheck, begins_with_slash, health_check};

/// The probes of every release of an app.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Probes {
    /// Failing: the process is started again.
    pub liveness: Option<Probe>,
    /// Failing: no traffic.
    pub readiness: Option<Probe>,
    /// Until it is good the others wait.
    pub startup: Option<Probe>,
}

impl Probes {
    /// Returns the probe whose failures are counted as evidence: readiness, else liveness.
    #[must_use]
    pub fn judged(&self) -> Option<&Probe> {
        self.readiness.as_ref().or(self.liveness.as_ref())
    }
}

/// One probe. Durations are whole seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub action: ProbeAction,
    pub initial_delay: Duration,
    pub period: Duration,
    pub timeout: Duration,
    /// In a row, from 1.
    pub failure_threshold: u32,
    /// In a row, from 1.
    pub success_threshold: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeAction {
    /// Good: a status from 200 to 399. No port: the one that the release listens on.
    HttpGet { path: String, port: Option<u16>, headers: Vec<(String, String)> },
    /// Good: the port opens. No port: the one that the release listens on.
    TcpSocket { port: Option<u16> },
    /// Good: it ends with 0. Never empty.
    Exec { command: Vec<String> },
}

// Kubernetes' own defaults: the fields of `Probe` in its API reference, core/v1.
const PERIOD: u64 = 10;
const TIMEOUT: u64 = 1;
const FAILURES: u64 = 3;
const SUCCESSES: u64 = 1;

impl From<&HealthCheck> for Probe {
    /// `threshold` failed probes in a row take an instance out of traffic: a readiness probe.
    fn from(health: &HealthCheck) -> Self {
        let path = health.path.clone();
        Self {
            action: ProbeAction::HttpGet { path, port: health.port, headers: Vec::new() },
            initial_delay: Duration::ZERO,
            period: health.interval,
            timeout: Duration::from_secs(TIMEOUT),
            failure_threshold: health.threshold,
            success_threshold: 1,
        }
    }
}

pub(super) fn read(notes: &mut Notes, fields: &Fields<'_>) -> Probes {
    let short = fields.table(notes, "health_check").and_then(|table| {
        let health = health_check(notes, &table)?;
        begins_with_slash(notes, &health.path, &table.place("path")?);
        Some(Probe::from(&health))
    });
    let readiness = probe(notes, fields, "readinessProbe");
    if let (Some(_), Some(at)) = (&short, fields.place_of_key("readinessProbe")) {
        notes
            .error(at, "there is a `health_check` already, which is the same")
            .help("keep one of `health_check` and `readinessProbe`");
    }
    let probes = Probes {
        liveness: probe(notes, fields, "livenessProbe"),
        readiness: short.or(readiness),
        startup: probe(notes, fields, "startupProbe"),
    };
    for (name, probe) in [("livenessProbe", &probes.liveness), ("startupProbe", &probes.startup)] {
        if let (Some(probe), Some(at)) = (probe, fields.place_of_key(name))
            && probe.success_threshold != 1
        {
            notes.error(at, format!("the successThreshold of a {name} is 1, as in Kubernetes"));
        }
    }
    probes
}

fn probe(notes: &mut Notes, fields: &Fields<'_>, name: &str) -> Option<Probe> {
    let table = fields.table(notes, name)?;
    let whole = |notes: &mut Notes, name, default| table.whole(notes, name).unwrap_or(default);
    let seconds =
        |notes: &mut Notes, name, default| Duration::from_secs(whole(notes, name, default));
    let times = |notes: &mut Notes, name, default| {
        u32::try_from(whole(notes, name, default)).unwrap_or(u32::MAX)
    };
    let action = action(notes, fields, &table, name);
    let initial_delay = seconds(notes, "initialDelaySeconds", 0);
    let period = seconds(notes, "periodSeconds", PERIOD);
    let timeout = seconds(notes, "timeoutSeconds", TIMEOUT);
    let failure_threshold = times(notes, "failureThreshold", FAILURES);
    let success_threshold = times(notes, "successThreshold", SUCCESSES);
    let action = action?;
    Some(Probe { action, initial_delay, period, timeout, failure_threshold, success_threshold })
}

fn action(
    notes: &mut Notes,
    fields: &Fields<'_>,
    table: &Fields<'_>,
    name: &str,
) -> Option<ProbeAction> {
    const ACTIONS: [&str; 3] = ["httpGet", "tcpSocket", "exec"];
    if ACTIONS.iter().filter(|action| table.get(action).is_some()).count() != 1 {
        notes
            .error(fields.place_of_key(name)?, format!("a {name} does one thing"))
            .help("give it one of httpGet, tcpSocket and exec");
        return None;
    }
    let http_get = table.table(notes, "httpGet").and_then(|http| http_get(notes, &http));
    let tcp_socket = table.table(notes, "tcpSocket").map(|tcp| tcp_socket(notes, &tcp));
    let exec = table.table(notes, "exec").and_then(|exec| self::exec(notes, &exec));
    http_get.or(tcp_socket).or(exec)
}

fn http_get(notes: &mut Notes, table: &Fields<'_>) -> Option<ProbeAction> {
    let path = table.text(notes, "path").unwrap_or("/").to_owned();
    if let Some(at) = table.place("path") {
        begins_with_slash(notes, &path, &at);
    }
    let port = port(notes, table);
    // Only read so that a wrong word is noted.
    let _: Option<Scheme> = table.choice(notes, "scheme");
    let headers = table.tables(notes, "httpHeaders");
    let headers = headers.iter().filter_map(|table| header(notes, table)).collect();
    Some(ProbeAction::HttpGet { path, port, headers })
}

/// TLS to a process on the same host is left out until somebody needs it.
#[derive(serde::Deserialize)]
enum Scheme {
    #[serde(rename = "HTTP")]
    Http,
}

fn header(notes: &mut Notes, table: &Fields<'_>) -> Option<(String, String)> {
    let name = table.text(notes, "name");
    let value = table.text(notes, "value");
    let (name, value) = (name?, value?);
    check::token(notes, name, &table.place("name")?);
    if http::HeaderValue::from_str(value).is_err() {
        notes.error(table.place("value")?, "this can't be sent in a header");
    }
    Some((name.to_owned(), value.to_owned()))
}

fn tcp_socket(notes: &mut Notes, table: &Fields<'_>) -> ProbeAction {
    ProbeAction::TcpSocket { port: port(notes, table) }
}

fn port(notes: &mut Notes, table: &Fields<'_>) -> Option<u16> {
    table.whole(notes, "port").and_then(|port| u16::try_from(port).ok())
}

fn exec(notes: &mut Notes, table: &Fields<'_>) -> Option<ProbeAction> {
    let command: Vec<String> =
        table.texts(notes, "command").into_iter().map(str::to_owned).collect();
    let at = table.place("command")?;
    if command.first().is_none_or(String::is_empty) {
        notes.error(at, "a command needs a program");
        return None;
    }
    check::no_nul(notes, &command, &at);
    Some(ProbeAction::Exec { command })
}
