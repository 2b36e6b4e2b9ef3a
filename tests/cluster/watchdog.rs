//! A gate that dies and is never started again: its watchdog goes back.

use std::time::{Duration, Instant};

use crate::belongings::Belongings;
use crate::cluster::Cluster;
use crate::gitops::autoscaler;
use crate::killed::{CANARY, answered_by, is_share_seen, kill};
use crate::load::{Connections, tally};
use crate::manifests;
use crate::poll;
use crate::trial::{By, Trial, target};

const IMAGE: &str = "gate.test/gate:test";

/// From the death of a gate until all users are on stable.
const BACK_MAX: Duration = Duration::from_secs(90);

/// The objects of a watchdog, and of the candidate.
const OURS: &str = "pods,serviceaccounts,roles,rolebindings,deployments,horizontalpodautoscalers";

/// Returns the objects that gate has made and that are still there.
fn ours(trial: &Trial) -> Vec<String> {
    let list = trial.space.kubectl(&["get", OURS, "--selector=gate.rs/target", "--output=name"]);
    list.lines().map(str::to_owned).collect()
}

#[test]
fn users_are_on_stable_90_s_after_the_gate_has_died() {
    let Some(cluster) = Cluster::there() else { return };
    let manifests = manifests::podinfo("shop", "v1", 3) + &autoscaler();
    let trial = Trial::new(cluster, "watchdog", &manifests, By::Service);
    let before = Belongings::of(&trial.space);
    let users = trial.users(Connections::Fresh);
    let policy = CANARY.replace("share: 50%, hold: 8s", "share: 25%, hold: 600s");
    let policy = policy
        .replace("deadline: 90s }\n    - { share: 100%", "deadline: 900s }\n    - { share: 100%");
    let mut gate = trial.start_with("gate.test/podinfo:v2", &policy, &["--watchdog", IMAGE]);
    gate.until("a quarter of the traffic", |line| is_share_seen(line, 0.25));
    let pods = trial.space.get("pods/shop-watchdog");
    assert_eq!(pods["status"]["phase"], "Running");
    let seen = users.so_far().len();
    poll::until("v2", BACK_MAX, || (answered_by(&users, seen, "v2") > 20).then_some(()));
    let died = kill(&mut gate);
    let back = poll::until("stable alone", 2 * BACK_MAX, || {
        let record = trial.space.get("configmap/shop-gate");
        let runs = record["metadata"]["annotations"].get("gate.rs/runs").is_some();
        (!runs).then(|| died.elapsed())
    });
    let ended = Instant::now() - died;
    let seen = users.so_far().len();
    poll::until("nothing of the gate", BACK_MAX, || ours(&trial).is_empty().then_some(()));
    let users = users.stop();
    let last = users.iter().filter(|one| one.outcome() == "v2").map(|one| one.done).max().unwrap();
    println!("ended {ended:?} after the gate has died; the last answer of v2 at {last}");
    assert!(back < BACK_MAX, "{back:?}");
    let after = tally(&users[seen..]);
    assert_eq!(after.keys().collect::<Vec<_>>(), ["v1"], "{after:?}");
    let next = trial.gate(&["status", &target()]).end();
    assert_eq!(next.lines[0]["last"]["result"], "aborted", "{:#}", next.lines[0]);
    before.are_still(&trial.space, "gate.test/podinfo:v1");
}

#[test]
fn a_watchdog_goes_with_its_promotion() {
    let Some(cluster) = Cluster::there() else { return };
    let trial = Trial::new(cluster, "watched", &manifests::podinfo("shop", "v1", 1), By::Service);
    let users = trial.users(Connections::Fresh);
    let ran = trial.start_with("gate.test/podinfo:v2", CANARY, &["--watchdog", IMAGE]).end();
    ran.expect(0, "promoted");
    poll::until("nothing of the gate", BACK_MAX, || ours(&trial).is_empty().then_some(()));
    drop(users);
}

#[test]
fn without_its_watchdog_no_share_is_given() {
    let Some(cluster) = Cluster::there() else { return };
    let trial = Trial::new(cluster, "unwatched", &manifests::podinfo("shop", "v1", 1), By::Service);
    let users = trial.users(Connections::Fresh);
    let none = ["--watchdog", "gate.test/gate:none"];
    let ran = trial.start_with("gate.test/podinfo:v2", CANARY, &none).end();
    let reason = ran.expect(4, "aborted")["reason"].as_str().unwrap();
    assert!(reason.contains("no watchdog"), "{reason}");
    let tally = tally(&users.stop());
    assert_eq!(tally.keys().collect::<Vec<_>>(), ["v1"], "{tally:?}");
}
