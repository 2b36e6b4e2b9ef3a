//! The gate is killed, and started again, or not.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::load::{Connections, Load, tally};
use crate::manifests;
use crate::poll;
use crate::trial::{By, Running, Trial, target};

/// How long nobody runs the gate.
const GONE: Duration = Duration::from_secs(10);

/// From the start of the next gate to what it does first.
const NEXT_EFFECT_MAX: Duration = Duration::from_secs(2);

/// Short stages, judged by a threshold.
pub(crate) const CANARY: &str = "
  strategy: canary
  stages:
    - { share: 50%, hold: 8s, deadline: 90s }
    - { share: 100%, hold: 4s, deadline: 90s }
  evidence: { judge: threshold, interval: 2s, window: 6s, looks: 2, min_requests: 20 }
  prepare: { deadline: 60s }
  rollback_drain: 2s
  auto_rollback:
    conditions: [error_rate > 5%]
";

/// Kills a gate at once, as a node that fails would; returns when.
pub(crate) fn kill(gate: &mut Running) -> Instant {
    signal(gate, Signal::KILL);
    let at = Instant::now();
    gate.gone();
    at
}

pub(crate) fn signal(gate: &Running, signal: Signal) {
    let pid = Pid::from_raw(gate.pid().cast_signed()).unwrap();
    kill_process(pid, signal).unwrap();
}

pub(crate) fn is_event(line: &Value, event: &str) -> bool {
    line["event"] == event
}

pub(crate) fn is_share_seen(line: &Value, share: f64) -> bool {
    is_event(line, "share.seen") && line["stage_share"] == share
}

/// Requests that a release has answered since so many were seen.
pub(crate) fn answered_by(load: &Load, since: usize, release: &str) -> usize {
    tally(&load.so_far()[since..]).get(release).copied().unwrap_or(0)
}

#[test]
fn a_gate_that_is_started_again_acts_within_two_seconds() {
    let Some(cluster) = Cluster::there() else { return };
    let trial =
        Trial::new(cluster, "killed-stage", &manifests::podinfo("shop", "v1", 2), By::Service);
    let users = trial.users(Connections::Fresh);
    let mut first = trial.start("gate.test/podinfo:v2", CANARY);
    first.until("a share that is asked for", |line| is_event(line, "share.asked"));
    kill(&mut first);
    // The cluster stays as it is while nobody runs the gate.
    std::thread::sleep(GONE);
    let (seen, began) = (users.so_far().len(), Instant::now());
    let mut second = trial.start("gate.test/podinfo:v2", CANARY);
    second.until("half of the traffic", |line| is_share_seen(line, 0.5));
    let acted = began.elapsed();
    second.end().expect(0, "promoted");
    println!("first act of the next gate after {acted:?}");
    assert!(acted < NEXT_EFFECT_MAX, "{acted:?}");
    assert!(answered_by(&users, seen, "v2") > 0);
    let tally = tally(&users.stop());
    assert_eq!(tally.keys().collect::<Vec<_>>(), ["v1", "v2"], "{tally:?}");
}

#[test]
fn a_way_back_that_was_cut_off_goes_on_within_two_seconds() {
    let Some(cluster) = Cluster::there() else { return };
    let trial = Trial::new(cluster, "killed-back", &manifests::app("shop", "v1", 2), By::Service);
    let users = trial.users(Connections::Fresh);
    let mut first = trial.start("gate.test/app:broken", CANARY);
    first.until("the way back", |line| is_event(line, "rollback.started"));
    kill(&mut first);
    std::thread::sleep(GONE);
    let began = Instant::now();
    let mut second = trial.start("gate.test/app:broken", CANARY);
    second.until("share 0", |line| is_event(line, "rollback.verified"));
    let safe = began.elapsed();
    let seen = users.so_far().len();
    second.end().expect(3, "rolled_back");
    println!("share 0 is seen by the next gate after {safe:?}");
    assert!(safe < NEXT_EFFECT_MAX, "{safe:?}");
    let after = tally(&users.stop()[seen..]);
    assert_eq!(after.keys().collect::<Vec<_>>(), ["v1"], "{after:?}");
}

#[test]
fn an_orphan_is_aborted_and_a_living_gate_is_not() {
    let Some(cluster) = Cluster::there() else { return };
    let trial = Trial::new(cluster, "orphan", &manifests::podinfo("shop", "v1", 2), By::Service);
    let users = trial.users(Connections::Fresh);
    let abort = || trial.gate(&["abort", &target(), "--if-orphaned"]).end();
    assert!(abort().lines[0]["message"].as_str().unwrap().contains("nothing is orphaned"));
    let slow = CANARY.replace("hold: 8s", "hold: 60s");
    let mut gate = trial.start("gate.test/podinfo:v2", &slow);
    gate.until("half of the traffic", |line| is_share_seen(line, 0.5));
    let alive = abort();
    assert!(alive.lines[0]["message"].as_str().unwrap().contains("is alive"), "{alive:?}");
    let seen = users.so_far().len();
    poll::until("v2 goes on", GONE, || (answered_by(&users, seen, "v2") > 20).then_some(()));
    kill(&mut gate);
    let ended = abort();
    let seen = users.so_far().len();
    assert!(ended.lines[0]["message"].as_str().unwrap().contains("it was orphaned"), "{ended:?}");
    let after = tally(&users.stop()[seen..]);
    assert!(after.keys().all(|version| version == "v1"), "{after:?}");
}
