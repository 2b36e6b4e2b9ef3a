//! One release after another, and the same one again.

use super::{FRESH, PATIENT, QUICK, first_share, lately};
use crate::belongings::Belongings;
use crate::cluster::Cluster;
use crate::manifests;
use crate::trial::{By, Trial, target};

fn app() -> String {
    manifests::app("shop", "v1", 2)
}

#[test]
fn good_after_bad_and_bad_after_bad_and_the_same_again() {
    let Some(cluster) = Cluster::there() else { return };
    let trial = Trial::new(cluster, "one-by-one", &app(), By::Service);
    let before = Belongings::of(&trial.space);
    let users = trial.users(FRESH);
    trial.promote("gate.test/app:v2", QUICK).expect(0, "promoted");
    trial.promote("gate.test/app:broken", QUICK).expect(3, "rolled_back");
    // One that was condemned is not tried again, and another bad one is no better for it.
    trial.promote("gate.test/app:broken", QUICK).expect(7, "refused");
    let unready = QUICK.replace("prepare: { deadline: 60s }", "prepare: { deadline: 10s }");
    trial.promote("gate.test/app:never-ready", &unready).expect(3, "rolled_back");
    trial.promote("gate.test/app:v3", QUICK).expect(0, "promoted");
    // What runs already starts nothing.
    let pods = trial.space.get("replicasets");
    trial.promote("gate.test/app:v3", QUICK).expect(0, "unchanged");
    assert_eq!(trial.space.get("replicasets")["items"], pods["items"]);
    assert_eq!(lately(&users.stop()), ["v3"]);
    before.are_still(&trial.space, "gate.test/app:v3");
}

#[test]
fn an_aborted_release_may_be_tried_again_and_a_condemned_one_with_a_reason() {
    let Some(cluster) = Cluster::there() else { return };
    let trial = Trial::new(cluster, "again", &app(), By::Routes);
    let before = Belongings::of(&trial.space);
    let users = trial.users(FRESH);
    let mut running = trial.start("gate.test/app:v2", PATIENT);
    first_share(&mut running);
    assert_eq!(trial.gate(&["abort", &target()]).end().code, 0);
    running.end().expect(4, "aborted");
    trial.promote("gate.test/app:broken", QUICK).expect(3, "rolled_back");
    let policy = trial.policy_file(QUICK);
    let retry = trial.gate(&["retry", &target(), "--policy", &policy, "--reason", "again"]).end();
    let line = retry.expect(3, "rolled_back");
    assert_eq!(line["candidate_revision"], "gate.test/app:broken", "{line:#}");
    trial.promote("gate.test/app:v2", QUICK).expect(0, "promoted");
    // The way back is judged by the policy that it is given, and goes by the same routes.
    let back = trial.gate(&["rollback", &target(), "--policy", &policy]).end();
    back.expect(0, "promoted");
    assert!(!back.events("share.seen").is_empty(), "{:#?}", back.lines);
    assert_eq!(lately(&users.stop()), ["v1"]);
    before.are_still(&trial.space, "gate.test/app:v1");
}
