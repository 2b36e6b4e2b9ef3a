//! Connections that are kept: what a switch, a drain and a condemned version do to them.

use chrono::{DateTime, TimeDelta, Utc};

use super::{CANARY, app, failed, is_alone, named, none_failed, podinfo};
use crate::audit;
use crate::belongings::Belongings;
use crate::cluster::Cluster;
use crate::load::{Connections, Load, Seen, Visit, tally};
use crate::namespace::WAIT_MAX;
use crate::poll;
use crate::trial::{By, Trial, target};

/// Pods that end when an application of two goes over by itself, and when the gate promotes it: stable's two, and
/// the candidate's two.
const ROLLING_DRAINS: usize = 2;
const PROMOTION_DRAINS: usize = 4;

#[test]
fn a_promotion_loses_no_more_of_a_drain_than_a_rolling_update() {
    let Some(cluster) = Cluster::there() else { return };
    let trial = Trial::new(cluster, "drains", &podinfo(), By::Service);
    let kept = trial.users(Connections::Kept);
    let rolls = ["v2", "v1", "v2", "v1"];
    for version in rolls {
        let image = format!("app=gate.test/podinfo:{version}");
        trial.space.kubectl(&["set", "image", "deployment/shop", &image]);
        trial.space.rolled_out("shop");
        until_pods(&trial, 2);
    }
    let rolled = kept.stop();
    let (kept, fresh) = (trial.users(Connections::Kept), trial.users(Connections::Fresh));
    trial.promote("gate.test/podinfo:v2", CANARY).expect(0, "promoted");
    until_pods(&trial, 2);
    let (promoted, fresh) = (kept.stop(), fresh.stop());
    none_failed("new connections", &fresh);
    let lost = [failed(&rolled).len(), failed(&promoted).len()];
    eprintln!("kept connections: rolling updates lost {}, the promotion {}", lost[0], lost[1]);
    let per_drain = lost[0] as f64 / (rolls.len() * ROLLING_DRAINS) as f64;
    assert!(
        lost[1] as f64 <= per_drain * PROMOTION_DRAINS as f64,
        "lost in four rolling updates and in a promotion: {lost:?}: {:#?}",
        failed(&promoted)
    );
}

/// Pods that are ending count as well.
fn until_pods(trial: &Trial, count: usize) {
    poll::until("the old pods' end", WAIT_MAX, || {
        (trial.space.get("pods")["items"].as_array().unwrap().len() == count).then_some(())
    });
}

/// `rollback_drain` of the policy, and what the kubelet may add to it.
fn drained_after() -> TimeDelta {
    TimeDelta::seconds(if is_alone() { 2 + 2 } else { 2 + 6 })
}
/// From the API server's answer to the data plane.
fn no_new_request_after() -> TimeDelta {
    TimeDelta::milliseconds(if is_alone() { 100 } else { 2000 })
}

#[test]
fn a_condemned_version_is_left_at_once_however_long_it_would_drain() {
    let Some(cluster) = Cluster::there() else { return };
    poll::at_once(&[By::Service, By::Routes], 2, |by| is_left(cluster, *by));
}

fn is_left(cluster: &'static Cluster, by: By) {
    let slow_to_end = app()
        .replace("preStop: {sleep: {seconds: 2}}", "preStop: {sleep: {seconds: 60}}")
        .replace("terminationGracePeriodSeconds: 15", "terminationGracePeriodSeconds: 90");
    let name = format!("condemned-{}", named(by));
    let trial = Trial::new(cluster, &name, &slow_to_end, by);
    let before = Belongings::of(&trial.space);
    let fresh = trial.users(Connections::Fresh);
    let half = CANARY.replace("33%, hold: 5s", "50%, hold: 60s");
    let mut running = trial.start("gate.test/app:v2", &half);
    running.until("a share for the candidate", |line| line["event"] == "share.seen");
    // What the API server shows kube-proxy does a little later.
    poll::until("new connections to the candidate", WAIT_MAX, || {
        (tally(&fresh.so_far()).get("v2") >= Some(&5)).then_some(())
    });
    let visit = Visit::new(&trial.address, &trial.host, Connections::Kept);
    let kept = Load::start(cluster, Visit { users: 20, ..visit });
    poll::until("users of the candidate", WAIT_MAX, || {
        (tally(&kept.so_far()).get("v2") >= Some(&50)).then_some(())
    });
    assert_eq!(trial.gate(&["abort", &target()]).end().code, 0);
    running.end().expect(4, "aborted");
    before.are_still(&trial.space, &before.images[0]);
    let (fresh, kept) = (fresh.stop(), kept.stop());
    let written = written(cluster, &trial, by);
    let late = |seen: &[Seen]| last_of_candidate(seen).map(|last| last - written);
    let (fresh_late, kept_late) = (late(&fresh).unwrap(), late(&kept).unwrap());
    eprintln!(
        "{name}: after the write {} ms on new connections, {} ms on kept ones; {:?}",
        fresh_late.num_milliseconds(),
        kept_late.num_milliseconds(),
        tally(&kept)
    );
    assert!(
        fresh_late <= no_new_request_after(),
        "{name}: a new request {fresh_late} after the write"
    );
    match by {
        By::Service => {
            assert!(kept_late <= drained_after(), "{name}: on a kept connection after {kept_late}")
        }
        // The proxy moves each request.
        By::Routes => assert!(kept_late <= no_new_request_after(), "{name}: {kept_late}"),
    }
}

/// Returns when the API server had answered the first write of the way back.
fn written(cluster: &Cluster, trial: &Trial, by: By) -> DateTime<Utc> {
    let resource = match by {
        By::Service => "services",
        By::Routes => "httproutes",
    };
    let asked = audit::of_gate(cluster, &trial.space.name);
    // What ends the condemned pods is written once nobody comes to them any more.
    let end = asked.iter().find(|one| one.verb == "deletecollection").unwrap();
    let before_end = asked.iter().filter(|one| one.received < end.received);
    let back = before_end.rev().find(|one| one.is_write() && one.resource == resource);
    back.unwrap_or_else(|| panic!("{asked:#?}")).answered
}

/// Returns when the last request was sent that the condemned version took.
fn last_of_candidate(seen: &[Seen]) -> Option<DateTime<Utc>> {
    seen.iter().filter(|one| one.outcome() == "v2").map(|one| one.sent).max()
}
