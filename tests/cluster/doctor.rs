//! What a gate that is killed leaves behind, and `gate doctor --fix`, with and without a record.

use serde_json::Value;

use crate::belongings::Belongings;
use crate::cluster::Cluster;
use crate::gitops::autoscaler;
use crate::killed::{CANARY, is_share_seen, kill};
use crate::load::Connections;
use crate::manifests;
use crate::trial::{By, Ran, Trial, target};

fn doctor(trial: &Trial, more: &[&str]) -> (Ran, Value) {
    let target = target();
    let ran = trial.gate(&[&["doctor", &target], more].concat()).end();
    let said = ran.lines.last().cloned().unwrap_or_default();
    (ran, said)
}

/// Kills a gate at half of the traffic, and repairs what it leaves.
#[track_caller]
fn repairs(name: &str, by: By, record_is_lost: bool) {
    let Some(cluster) = Cluster::there() else { return };
    // Its autoscaler is held while a promotion runs, and let go by whoever cleans up.
    let manifests = manifests::podinfo("shop", "v1", 2) + &autoscaler();
    let trial = Trial::new(cluster, name, &manifests, by);
    let before = Belongings::of(&trial.space);
    let users = trial.users(Connections::Fresh);
    let mut gate = trial.start("gate.test/podinfo:v2", CANARY);
    gate.until("half of the traffic", |line| is_share_seen(line, 0.5));
    if !record_is_lost {
        let (ran, _) = doctor(&trial, &["--fix"]);
        assert_eq!(ran.code, 7, "its gate lives: {}", ran.said);
    }
    kill(&mut gate);
    if record_is_lost {
        trial.space.kubectl(&["delete", "configmap", "shop-gate"]);
    }
    let (ran, found) = doctor(&trial, &[]);
    assert_eq!((ran.code, found["clean"].as_bool()), (0, Some(false)), "{found:#} {}", ran.said);
    let left = found["left"].as_array().unwrap();
    let serving = left.iter().filter(|left| left["trace"] == "serving");
    assert!(serving.count() > 0, "{found:#}");
    let (ran, found) = doctor(&trial, &["--fix"]);
    assert_eq!((ran.code, found["clean"].as_bool()), (0, Some(true)), "{found:#} {}", ran.said);
    let (_, found) = doctor(&trial, &[]);
    assert_eq!(found["left"], Value::Array(Vec::new()), "{found:#}");
    if record_is_lost {
        before.are_still_without_record(&trial.space, "gate.test/podinfo:v1");
    } else {
        before.are_still(&trial.space, "gate.test/podinfo:v1");
    }
    drop(users);
}

#[test]
fn by_services() {
    repairs("doctor-service", By::Service, false);
}

#[test]
fn by_services_without_a_record() {
    repairs("doctor-service-lost", By::Service, true);
}

#[test]
fn by_routes_without_a_record() {
    repairs("doctor-routes-lost", By::Routes, true);
}
