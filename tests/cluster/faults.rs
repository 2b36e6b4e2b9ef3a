//! What others fail at: something is wrong beside the release.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use rustix::process::Signal;

use crate::audit;
use crate::cluster::Cluster;
use crate::killed::{CANARY, is_event, is_share_seen, signal};
use crate::load::{Connections, tally};
use crate::manifests;
use crate::namespace::WAIT_MAX;
use crate::poll;
use crate::trial::{By, Trial};
use crate::weather::{Sky, Weather};

/// From the breach until no user is on the condemned version.
const SAFE_MAX: TimeDelta = TimeDelta::seconds(5);

/// Longer than a snapshot is trusted.
const OUTAGE: Duration = Duration::from_secs(7);

/// No pod beside those that are there.
const QUOTA: &str = r#"
apiVersion: v1
kind: ResourceQuota
metadata: {name: full}
spec: {hard: {pods: "1"}}
"#;

#[test]
fn a_lost_copy_of_stable_that_is_not_replaced_does_not_hold_a_rollback_up() {
    let Some(cluster) = Cluster::there() else { return };
    let trial = Trial::new(cluster, "quota", &manifests::app("shop", "v1", 2), By::Service);
    let users = trial.users(Connections::Fresh);
    let mut gate = trial.start("gate.test/app:broken", CANARY);
    gate.until("half of the traffic", |line| is_share_seen(line, 0.5));
    trial.space.apply(QUOTA);
    let stable = "--selector=app=shop,!gate.rs/revision";
    let pods = trial.space.kubectl(&["get", "pods", stable, "--output=name"]);
    let one = pods.lines().next().unwrap();
    trial.space.kubectl(&["delete", one, "--wait=false", "--grace-period=1"]);
    let breach = gate.until("the way back", |line| is_event(line, "rollback.started"));
    let breach = breach["at"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    let ran = gate.end();
    ran.expect(3, "rolled_back");
    let left = trial.space.kubectl(&["get", "pods", stable, "--output=name"]);
    assert_eq!(left.lines().count(), 1, "the quota has not refused a replacement: {left}");
    let users = users.stop();
    let last = users.iter().filter(|one| one.outcome().contains("broken")).map(|one| one.done);
    let safe = last.max().unwrap() - breach;
    println!("the last answer of the condemned version {safe} after the breach");
    assert!(safe < SAFE_MAX, "{safe}");
}

#[test]
fn a_signal_makes_traffic_safe_within_a_second_however_slow_the_api_server() {
    let Some(cluster) = Cluster::there() else { return };
    let trial = Trial::new(cluster, "signal", &manifests::podinfo("shop", "v1", 2), By::Service);
    let weather = Weather::new(cluster);
    let config = weather.kubeconfig();
    let users = trial.users(Connections::Fresh);
    let slow = CANARY.replace("hold: 8s", "hold: 60s");
    let more = ["--kubeconfig", config.to_str().unwrap()];
    let mut gate = trial.start_with("gate.test/podinfo:v2", &slow, &more);
    gate.until("half of the traffic", |line| is_share_seen(line, 0.5));
    weather.is(Sky::Slow(Duration::from_millis(500)));
    let at = chrono::Utc::now();
    signal(&gate, Signal::TERM);
    gate.until("stable alone", |line| is_event(line, "rollback.verified"));
    weather.is(Sky::Clear);
    gate.end().expect(4, "aborted");
    let users = users.stop();
    let last = users.iter().filter(|one| one.outcome() == "v2").map(|one| one.sent).max().unwrap();
    let writes = audit::of_gate(cluster, &trial.space.name);
    let one_write =
        writes.iter().find(|one| one.received > at && one.resource == "services" && one.is_write());
    let one_write = one_write.unwrap().received - at;
    println!("the one write {one_write}, the last request to v2 {} after the signal", last - at);
    assert!(one_write < TimeDelta::seconds(1), "{one_write}");
    // What kube-proxy takes is not the gate's.
    assert!(last - at < TimeDelta::seconds(3), "{}", last - at);
}

#[test]
fn a_second_gate_is_refused_and_told_who_runs_the_first() {
    let Some(cluster) = Cluster::there() else { return };
    let trial = Trial::new(cluster, "second", &manifests::podinfo("shop", "v1", 1), By::Service);
    let users = trial.users(Connections::Fresh);
    let slow = CANARY.replace("hold: 8s", "hold: 60s");
    let mut first = trial.start("gate.test/podinfo:v2", &slow);
    let began = first.until("its beginning", |line| is_event(line, "promotion.started"));
    for take_over in [&[][..], &["--take-over"]] {
        let second = trial.start_with("gate.test/podinfo:v3", CANARY, take_over).end();
        let reason = second.expect(7, "refused")["reason"].as_str().unwrap();
        let id = began["promotion"].as_str().unwrap();
        assert!(reason.contains(id) && reason.contains("since 20"), "{reason}");
    }
    signal(&first, Signal::INT);
    first.end().expect(4, "aborted");
    drop(users);
}

/// A metrics server that is not there for several looks.
#[test]
fn a_metrics_server_that_is_down_holds_a_promotion_and_no_more() {
    let Some(cluster) = Cluster::there() else { return };
    let trial = Trial::new(cluster, "outage", &manifests::podinfo("shop", "v1", 2), By::Service);
    let users = trial.users(Connections::Fresh);
    // An interval can't be told from one sample.
    let counted = format!(
        r#"count_over_time(http_requests_total{{namespace="{}",status="200"}}[5m]) > 5"#,
        trial.space.name
    );
    poll::until("samples", WAIT_MAX, || (cluster.ask(&counted).len() == 2).then_some(()));
    let upstream = cluster.prometheus().strip_prefix("http://").unwrap().to_owned();
    let relay = crate::relay::Relay::new(cluster, upstream);
    let source = format!(
        "evidence: {{ judge: threshold, source: \"http://{}\", interval: 2s, window: 6s, ",
        relay.address()
    );
    let policy =
        CANARY.replace("evidence: { judge: threshold, interval: 2s, window: 6s, ", &source);
    let mut gate = trial.start("gate.test/podinfo:v2", &policy);
    gate.until("half of the traffic", |line| is_share_seen(line, 0.5));
    let began = Instant::now();
    relay.is_down(true);
    gate.until("the loss", |line| is_event(line, "evidence.lost"));
    let out = Duration::from_secs(20);
    poll::until("the outage to be over", 2 * out, || (began.elapsed() > out).then_some(()));
    assert!(!gate.lines().iter().any(|line| is_event(line, "stage.passed")), "passed unseen");
    relay.is_down(false);
    let ran = gate.end();
    ran.expect(0, "promoted");
    // Stable's pods are new at the end, and need not be scraped yet: that is no loss.
    assert_eq!(ran.events("evidence.back").len(), 1, "{:#?}", ran.lines);
    let tally = tally(&users.stop());
    assert!(tally["v2"] > 0, "{tally:?}");
}

/// Nobody listens, and every watch breaks; what is watched does not change meanwhile.
#[test]
fn an_api_server_that_was_gone_is_followed_again() {
    let Some(cluster) = Cluster::there() else { return };
    let trial = Trial::new(cluster, "gone", &manifests::podinfo("shop", "v1", 1), By::Service);
    let weather = Weather::new(cluster);
    let config = weather.kubeconfig();
    let users = trial.users(Connections::Fresh);
    let more = ["--kubeconfig", config.to_str().unwrap()];
    let mut gate = trial.start_with("gate.test/podinfo:v2", CANARY, &more);
    gate.until("half of the traffic", |line| is_share_seen(line, 0.5));
    weather.is(Sky::Gone);
    let out = Instant::now();
    poll::until("the outage to be over", WAIT_MAX, || (out.elapsed() > OUTAGE).then_some(()));
    weather.is(Sky::Clear);
    gate.end().expect(0, "promoted");
    drop(users);
}

#[test]
fn an_api_server_without_streaming_lists_is_asked_by_lists() {
    let Some(cluster) = Cluster::there() else { return };
    let trial = Trial::new(cluster, "listed", &manifests::podinfo("shop", "v1", 1), By::Service);
    let weather = Weather::new(cluster);
    weather.is(Sky::Listed);
    let config = weather.kubeconfig();
    let users = trial.users(Connections::Fresh);
    let more = ["--kubeconfig", config.to_str().unwrap()];
    trial.start_with("gate.test/podinfo:v2", CANARY, &more).end().expect(0, "promoted");
    drop(users);
    let asked = audit::of_gate(cluster, &trial.space.name);
    let lists =
        |of: &str| asked.iter().filter(|one| one.verb == "list" && one.resource == of).count();
    // One before each watch.
    assert_eq!((lists("configmaps"), lists("endpointslices")), (1, 1), "{asked:#?}");
}
