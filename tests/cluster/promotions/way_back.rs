//! The way back after a promotion has ended.

use std::collections::BTreeSet;

use super::{CANARY, app, none_failed};
use crate::belongings::Belongings;
use crate::cluster::Cluster;
use crate::load::Connections;
use crate::trial::{By, Trial, target};

fn sets(trial: &Trial) -> BTreeSet<String> {
    let sets = trial.space.get("replicasets");
    let names = sets["items"].as_array().unwrap().iter();
    names.map(|set| set["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_ended_promotion_is_taken_back_to_the_same_replica_set() {
    let Some(cluster) = Cluster::there() else { return };
    let trial = Trial::new(cluster, "way-back", &app(), By::Service);
    let before = Belongings::of(&trial.space);
    let (v1, users) = (sets(&trial), trial.users(Connections::Fresh));
    trial.promote("gate.test/app:v2", CANARY).expect(0, "promoted");
    let both = sets(&trial);
    assert!(both.len() == 2 && both.is_superset(&v1), "{both:?}");
    trial.promote("gate.test/app:broken", CANARY).expect(3, "rolled_back");

    let back = |more: &[&str]| trial.gate(&[&["rollback", &target()], more].concat()).end();
    let condemned = back(&["--to", "gate.test/app:broken", "--now"]);
    assert_eq!(condemned.code, 7, "{condemned:?}");
    let same = back(&["--to", "gate.test/app:v2", "--now"]);
    assert_eq!(same.code, 0, "{same:?}");
    assert_eq!(same.result()["result"], "unchanged", "{same:?}");
    let line = back(&["--now", "--reason", "we liked v1 better"]);
    line.expect(0, "promoted");
    before.are_still(&trial.space, "gate.test/app:v1");
    assert_eq!(sets(&trial), both, "the way back uses what is there");
    // A second one does not toggle.
    let toggled = back(&["--now"]);
    assert_eq!(toggled.code, 7, "{toggled:?}");
    before.are_still(&trial.space, "gate.test/app:v1");

    let users = users.stop();
    let good = users.iter().filter(|one| !one.outcome().contains("broken")).cloned();
    none_failed("way back", &good.collect::<Vec<_>>());
    assert_eq!(users.last().unwrap().outcome(), "v1");
}
