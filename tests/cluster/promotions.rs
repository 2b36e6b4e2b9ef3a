//! Promotions: good releases reach everybody, bad ones nobody for long, and nothing of it stays.

use crate::belongings::Belongings;
use crate::cluster::Cluster;
use crate::load::{Connections, Seen, tally};
use crate::manifests;
use crate::trial::{By, Ran, Trial};

/// Short stages, judged by a threshold.
const CANARY: &str = "
  strategy: canary
  stages:
    - { share: 33%, hold: 5s, deadline: 90s }
    - { share: 100%, hold: 5s, deadline: 90s }
  evidence: { judge: threshold, interval: 2s, window: 6s, looks: 2, min_requests: 20 }
  prepare: { deadline: 60s }
  rollback_drain: 2s
  auto_rollback:
    conditions: [error_rate > 5%, response_time_p95 > 1000ms]
";

fn all_good(seen: &[Seen]) {
    let bad: Vec<_> =
        seen.iter().filter(|one| !one.answer.as_ref().is_ok_and(|a| a.is_good())).collect();
    assert!(bad.is_empty(), "{} of {}: {:#?}", bad.len(), seen.len(), bad.first());
}

fn healthy(name: &str, manifests: &str, image: &str, by: By, policy: &str) -> Option<Ran> {
    let cluster = Cluster::there()?;
    let trial = Trial::new(cluster, name, manifests, by);
    let before = Belongings::of(&trial.space);
    let (fresh, kept) = (trial.users(Connections::Fresh), trial.users(Connections::Kept));
    let ran = trial.promote(image, policy);
    let (fresh, kept) = (fresh.stop(), kept.stop());
    ran.expect(0, "promoted");
    before.are_still(&trial.space, image);
    println!("{name}: fresh {:?}, kept {:?}", tally(&fresh), tally(&kept));
    all_good(&fresh);
    if by == By::Routes {
        all_good(&kept);
    }
    Some(ran)
}

fn bad(name: &str, manifests: &str, image: &str, by: By, policy: &str) -> Option<Ran> {
    let cluster = Cluster::there()?;
    let trial = Trial::new(cluster, name, manifests, by);
    let before = Belongings::of(&trial.space);
    let stable = before.images[0].clone();
    let fresh = trial.users(Connections::Fresh);
    let ran = trial.promote(image, policy);
    let fresh = fresh.stop();
    let line = ran.expect(3, "rolled_back");
    println!("{name}: {:?} {line:#}", tally(&fresh));
    before.are_still(&trial.space, &stable);
    Some(ran)
}

#[test]
fn a_canary_is_promoted_behind_a_service() {
    let shop = manifests::podinfo("shop", "v1", 2);
    healthy("canary-service", &shop, "gate.test/podinfo:v2", By::Service, CANARY);
}

#[test]
fn a_canary_is_promoted_by_routes() {
    let shop = manifests::podinfo("shop", "v1", 2);
    healthy("canary-routes", &shop, "gate.test/podinfo:v2", By::Routes, CANARY);
}

#[test]
fn a_canary_with_errors_goes_back_behind_a_service() {
    let shop = manifests::app("shop", "v1", 2);
    bad("errors-service", &shop, "gate.test/app:broken", By::Service, CANARY);
}

#[test]
fn a_canary_with_errors_goes_back_by_routes() {
    let shop = manifests::app("shop", "v1", 2);
    bad("errors-routes", &shop, "gate.test/app:broken", By::Routes, CANARY);
}
