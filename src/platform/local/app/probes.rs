//! Probes as Kubernetes writes them, with its defaults, and the short `health_check`.

use std::time::Duration;

use super::check;
use crate::evidence::probe::{Http, Kind, Probe, Probes};
use crate::policy::diagnostic::Notes;
use crate::policy::fields::Fields;
use crate::policy::{begins_with_slash, health_check};

// Kubernetes' own defaults: the fields of `Probe` in its API reference, core/v1.
const PERIOD: u64 = 10;
const TIMEOUT: u64 = 1;
const FAILURES: u64 = 3;
const SUCCESSES: u64 = 1;

pub(super) fn read(notes: &mut Notes, fields: &Fields<'_>) -> Probes {
    let short = fields.table(notes, "health_check").and_then(|table| {
        let health = health_check(notes, &table)?;
        begins_with_slash(notes, &health.path, &table.place("path")?);
        Some(Probes::from_health_check(&health))
    });
    let readiness = probe(notes, fields, "readinessProbe");
    if let (Some(_), Some(at)) = (&short, fields.place_of_key("readinessProbe")) {
        notes
            .error(at, "there is a `health_check` already, which is the same")
            .help("keep one of `health_check` and `readinessProbe`");
    }
    let (short_startup, short) =
        short.map_or((None, None), |short| (short.startup, short.readiness));
    let probes = Probes {
        liveness: probe(notes, fields, "livenessProbe"),
        readiness: short.or(readiness),
        startup: probe(notes, fields, "startupProbe").or(short_startup),
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
    let interval = seconds(notes, "periodSeconds", PERIOD);
    let timeout = seconds(notes, "timeoutSeconds", TIMEOUT);
    let failure_threshold = times(notes, "failureThreshold", FAILURES);
    let success_threshold = times(notes, "successThreshold", SUCCESSES);
    let recovery_threshold = success_threshold;
    Some(Probe {
        kind: action?,
        interval,
        timeout,
        initial_delay,
        failure_threshold,
        success_threshold,
        recovery_threshold,
    })
}

fn action(notes: &mut Notes, fields: &Fields<'_>, table: &Fields<'_>, name: &str) -> Option<Kind> {
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

fn http_get(notes: &mut Notes, table: &Fields<'_>) -> Option<Kind> {
    let path = table.text(notes, "path").unwrap_or("/").to_owned();
    if let Some(at) = table.place("path") {
        begins_with_slash(notes, &path, &at);
    }
    let port = port(notes, table);
    // Only read so that a wrong word is noted.
    let _: Option<Scheme> = table.choice(notes, "scheme");
    let headers = table.tables(notes, "httpHeaders");
    let headers = headers.iter().filter_map(|table| header(notes, table)).collect();
    Some(Kind::Http(Http { port, headers, ..Http::get(path) }))
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

fn tcp_socket(notes: &mut Notes, table: &Fields<'_>) -> Kind {
    Kind::Tcp { port: port(notes, table) }
}

fn port(notes: &mut Notes, table: &Fields<'_>) -> Option<u16> {
    table.whole(notes, "port").and_then(|port| u16::try_from(port).ok())
}

fn exec(notes: &mut Notes, table: &Fields<'_>) -> Option<Kind> {
    check::command(notes, table).map(|command| Kind::Exec { command })
}
