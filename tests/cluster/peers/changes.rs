//! What people change while a promotion runs.

use serde_json::Value;

use super::{FRESH, PATIENT, first_share, lately};
use crate::belongings::{Belongings, no_trace};
use crate::cluster::Cluster;
use crate::manifests;
use crate::namespace::{Namespace, WAIT_MAX};
use crate::poll;
use crate::promotions::none_failed;
use crate::trial::{By, SHOP, Trial, target};

fn app(replicas: u32) -> String {
    manifests::app(SHOP, "v1", replicas)
}

fn replicas(space: &Namespace<'_>, deployment: &str) -> Value {
    space.get(&format!("deployment/{deployment}"))["spec"]["replicas"].clone()
}

#[test]
fn stable_is_scaled_up_and_down_while_a_promotion_runs() {
    let Some(cluster) = Cluster::there() else { return };
    let rows = [(By::Service, 2, 4), (By::Routes, 4, 2)];
    poll::at_once(&rows, 2, |(by, from, to)| {
        let trial = Trial::new(cluster, &format!("scaled-{to}"), &app(*from), *by);
        let users = trial.users(FRESH);
        let mut running = trial.start("gate.test/app:v2", PATIENT);
        first_share(&mut running);
        trial.space.kubectl(&["scale", "deployment/shop", &format!("--replicas={to}")]);
        running.end().expect(0, "promoted");
        assert_eq!(replicas(&trial.space, SHOP), *to, "what a person has written stays");
        let seen = users.stop();
        none_failed("scaled", &seen);
        assert_eq!(lately(&seen), ["v2"]);
    });
}

#[test]
fn another_template_ends_a_promotion_and_is_kept() {
    let Some(cluster) = Cluster::there() else { return };
    poll::at_once(&[("updated", false), ("held", true)], 2, |(name, held)| {
        let trial = Trial::new(cluster, name, &app(2), By::Routes);
        let users = trial.users(FRESH);
        let mut running = trial.start_with("gate.test/app:v2", PATIENT, &["--on-unknown", "hold"]);
        first_share(&mut running);
        if *held {
            assert_eq!(trial.gate(&["hold", &target()]).end().code, 0);
        }
        trial.space.kubectl(&["set", "image", "deployment/shop", "app=gate.test/app:v3"]);
        let ran = running.end();
        let line = ran.expect(4, "superseded");
        assert!(line["reason"].as_str().unwrap().contains("gate.test/app:v3"), "{line:#}");
        trial.space.rolled_out(SHOP);
        poll::until("v3 alone", WAIT_MAX, || (lately(&users.so_far()) == ["v3"]).then_some(()));
        // Stable is somebody else's roll-out, and nobody's request was lost by it or by the way back.
        none_failed(name, &users.stop());
        assert_eq!(Belongings::of(&trial.space).images, ["gate.test/app:v3"]);
        no_trace(&trial.space);
    });
}

#[test]
fn a_policy_that_changes_meanwhile_changes_nothing() {
    let Some(cluster) = Cluster::there() else { return };
    let trial = Trial::new(cluster, "policy", &app(2), By::Service);
    let mut running = trial.start("gate.test/app:v2", PATIENT);
    let users = trial.users(FRESH);
    first_share(&mut running);
    trial.policy_file("  strategy: blue-green\n");
    trial.space.kubectl(&["annotate", "deployment/shop", "gate.rs/policy=blue-green"]);
    let ran = running.end();
    ran.expect(0, "promoted");
    let shares: Vec<_> =
        ran.events("share.seen").iter().map(|line| line["stage_share"].clone()).collect();
    assert!(shares.len() >= 2 && shares[0].as_f64().is_some_and(|share| share < 0.6), "{shares:?}");
    assert_eq!(lately(&users.stop()), ["v2"]);
}

#[test]
fn what_is_deleted_meanwhile_is_told_and_nothing_of_gate_stays() {
    let Some(cluster) = Cluster::there() else { return };
    let rows = [("service", By::Service), ("deployment", By::Service), ("httproute", By::Routes)];
    poll::at_once(&rows, 3, |(what, by)| {
        let trial = Trial::new(cluster, &format!("deleted-{what}"), &app(2), *by);
        let users = trial.users(FRESH);
        let mut running = trial.start("gate.test/app:v2", PATIENT);
        first_share(&mut running);
        trial.space.kubectl(&["delete", &format!("{what}/{SHOP}"), "--wait=false"]);
        let ran = running.end();
        drop(users);
        let line = ran.expect(4, "superseded");
        let reason = line["reason"].as_str().unwrap();
        assert!(reason.contains("deleted") && reason.contains(SHOP), "{line:#}");
        no_trace(&trial.space);
    });
}
