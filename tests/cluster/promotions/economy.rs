//! What a promotion costs the API server, and how fast the way back is.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::{CANARY, app, is_alone, named};
use crate::audit::{self, Asked};
use crate::cluster::Cluster;
use crate::load::Connections;
use crate::namespace::WAIT_MAX;
use crate::poll;
use crate::trial::{By, Ran, Trial};

/// Reads (lists as well) and writes of one canary with four stages, beside one write every 15 s.
const REQUESTS_MAX: usize = 45;
const HEARTBEAT_S: f64 = 15.0;

#[test]
fn a_canary_of_four_stages_costs_few_requests() {
    let Some(cluster) = Cluster::there() else { return };
    poll::at_once(&[By::Service, By::Routes], 2, |by| costs_little(cluster, *by));
}

fn costs_little(cluster: &'static Cluster, by: By) {
    let name = format!("economy-{}", named(by));
    let policy = format!(
        "
  strategy: canary
  stages:
    - {{ share: 25%, hold: 10s, deadline: 90s }}
    - {{ share: 50%, hold: 10s, deadline: 90s }}
    - {{ share: 75%, hold: 10s, deadline: 90s }}
    - {{ share: 100%, hold: 10s, deadline: 90s }}
  evidence: {{ source: \"{}\", judge: threshold, interval: 2s, window: 10s, looks: 2, min_requests: 20 }}
  auto_rollback: {{ conditions: [error_rate > 5%, response_time_p95 > 1000ms] }}
",
        cluster.prometheus()
    );
    let trial = Trial::new(cluster, &name, &app(), by);
    trial.space.kubectl(&["scale", "deployment/shop", "--replicas=3"]);
    trial.space.rolled_out("shop");
    let users = trial.users(Connections::Fresh);
    // Enough of them to tell how often it asks.
    let served = format!(
        r#"count_over_time(http_requests_total{{namespace="{}"}}[1m]) > 8"#,
        trial.space.name
    );
    poll::until("traffic in Prometheus", WAIT_MAX, || {
        (cluster.ask(&served).len() == 3).then_some(())
    });
    let ran = trial.promote("gate.test/app:v2", &policy);
    drop(users);
    let line = ran.expect(0, "promoted");
    let asked = audit::of_gate(cluster, &trial.space.name);
    assert!(asked.iter().all(|one| one.resource != "pods/proxy"), "nothing is asked of the pods");
    // What follows a watch is told, not asked for; everything else counts.
    let watches = asked.iter().filter(|one| one.verb == "watch").count();
    let beyond = asked.len() - watches;
    let heartbeats = (line["duration_s"].as_f64().unwrap() / HEARTBEAT_S).ceil() as usize;
    let tally = tally(&asked);
    eprintln!("{name}: {beyond} requests ({heartbeats} heartbeats), {watches} watches, {tally:?}");
    assert!(beyond <= REQUESTS_MAX + heartbeats, "{name}: {tally:#?}");
}

fn tally(asked: &[Asked]) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for one in asked {
        *tally.entry(format!("{} {}", one.verb, one.resource)).or_default() += 1;
    }
    tally
}

/// How often the way back is timed for each router.
fn samples() -> usize {
    if is_alone() { 50 } else { 5 }
}

/// From the verdict to the API server's answer, in the median.
fn write_max() -> TimeDelta {
    TimeDelta::milliseconds(if is_alone() { 100 } else { 2000 })
}

/// What each of them may take, or so many bare PATCHes of the same run.
const EACH_MAX: TimeDelta = TimeDelta::milliseconds(500);
const BARE_PATCHES_MAX: i64 = 5;

#[test]
fn the_way_back_is_written_at_once() {
    let Some(cluster) = Cluster::there() else { return };
    poll::at_once(&[By::Service, By::Routes], 2, |by| is_written_at_once(cluster, *by));
}

fn is_written_at_once(cluster: &'static Cluster, by: By) {
    let name = format!("at-once-{}", named(by));
    let trial = Trial::new(cluster, &name, &app(), by);
    let users = trial.users(Connections::Fresh);
    let (mut written, mut safe) = (Vec::new(), Vec::new());
    let kind = resource(by);
    for n in 0..samples() {
        // Nothing but a write, to compare with.
        let patch = format!(r#"{{"metadata":{{"annotations":{{"test/n":"{n}"}}}}}}"#);
        trial.space.kubectl(&["patch", kind, "shop", "--type=merge", "-p", &patch]);
        let ran = trial.start_with("gate.test/app:broken", CANARY, &["--retry", "again"]).end();
        let line = ran.expect(3, "rolled_back");
        safe.push(line["safe_after_ms"].as_i64().unwrap());
        written.push(answered(cluster, &trial, by, &ran).num_milliseconds());
    }
    drop(users);
    let bare = audit::of(cluster, &trial.space.name, "kubectl/").into_iter();
    let bare = bare.filter(|one| one.verb == "patch" && one.resource == kind);
    let bare = bare.map(|one| (one.answered - one.received).num_milliseconds());
    let [written, safe, bare] = [written, safe, bare.collect()].map(Times::of);
    eprintln!(
        "{name}: verdict to the API server's answer {written}, to 0 % {safe}; bare PATCH {bare}"
    );
    assert_eq!(bare.0.len(), samples());
    assert!(written.median() <= write_max().num_milliseconds(), "{name}: {written}");
    let each_max = EACH_MAX.num_milliseconds().max(BARE_PATCHES_MAX * bare.slowest());
    assert!(!is_alone() || written.slowest() <= each_max, "{name}: {written}, bare {bare}");
}

/// Milliseconds, in order.
struct Times(Vec<i64>);

impl Times {
    fn of(mut times: Vec<i64>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    fn median(&self) -> i64 {
        self.0[self.0.len() / 2]
    }

    fn slowest(&self) -> i64 {
        self.0[self.0.len() - 1]
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{} ms (of {:?})", self.median(), self.0)
    }
}

fn resource(by: By) -> &'static str {
    match by {
        By::Service => "services",
        By::Routes => "httproutes",
    }
}

/// Returns how long after its verdict the first write of the way back was answered.
fn answered(cluster: &Cluster, trial: &Trial, by: By, ran: &Ran) -> TimeDelta {
    let decided = ran.events("rollback.started")[0];
    let decided: DateTime<Utc> = time(&decided["at"]);
    let resource = resource(by);
    let asked = audit::of_gate(cluster, &trial.space.name);
    let back = asked
        .iter()
        .find(|one| one.received >= decided && one.is_write() && one.resource == resource);
    back.unwrap_or_else(|| panic!("no write of {resource} after {decided}: {asked:#?}")).answered
        - decided
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}
