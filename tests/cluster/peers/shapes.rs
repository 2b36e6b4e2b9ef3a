//! Applications of other shapes.

use super::{FRESH, QUICK, lately};
use crate::belongings::Belongings;
use crate::cluster::Cluster;
use crate::manifests;
use crate::promotions::none_failed;
use crate::trial::{By, SHOP, Trial};

/// A second container beside the application, with a port and probes of its own.
fn with_a_sidecar(manifests: &str) -> String {
    let sidecar = "
      - name: sidecar
        image: gate.test/podinfo:v1
        imagePullPolicy: Never
        ports: [{name: side, containerPort: 9898}]
        readinessProbe: {httpGet: {path: /readyz, port: side}, periodSeconds: 1}
        lifecycle: {preStop: {sleep: {seconds: 2}}}
---";
    manifests.replacen("\n---", sidecar, 1)
}

#[test]
fn two_containers_are_released_together_or_not_at_all() {
    let Some(cluster) = Cluster::there() else { return };
    let manifests = with_a_sidecar(&manifests::app(SHOP, "v1", 2));
    let trial = Trial::new(cluster, "two", &manifests, By::Service);
    let before = Belongings::of(&trial.space);
    let users = trial.users(FRESH);
    // An image of neither: which of the two is not said.
    let unnamed = trial.promote("gate.test/other:v2", QUICK);
    assert_eq!(unnamed.code, 2, "{}", unnamed.said);
    assert!(unnamed.said.contains("CONTAINER=IMAGE"), "{}", unnamed.said);
    let both = ["--release", "sidecar=gate.test/podinfo:v2"];
    let bad = trial.start_with("app=gate.test/app:broken", QUICK, &both).end();
    bad.expect(3, "rolled_back");
    before.are_still_of(&trial.space, &["gate.test/app:v1", "gate.test/podinfo:v1"]);
    let good = trial.start_with("app=gate.test/app:v2", QUICK, &both).end();
    good.expect(0, "promoted");
    assert_eq!(lately(&users.stop()), ["v2"]);
    before.are_still_of(&trial.space, &["gate.test/app:v2", "gate.test/podinfo:v2"]);
}

/// By name, by number, several, and under another number of the Service.
#[test]
fn ports_of_every_kind_lead_to_the_candidate() {
    let Some(cluster) = Cluster::there() else { return };
    let plain = manifests::app(SHOP, "v1", 2);
    let ports = "ports: [{name: web, port: 8081, targetPort: 8080}, {name: http, port: 80, targetPort: http}]";
    let several = plain.replace("ports: [{name: http, port: 80, targetPort: http}]", ports);
    assert_ne!(plain, several);
    let trial = Trial::new(cluster, "ports", &several, By::Routes);
    let before = Belongings::of(&trial.space);
    let users = trial.users(FRESH);
    trial.promote("gate.test/app:v2", QUICK).expect(0, "promoted");
    let seen = users.stop();
    none_failed("ports", &seen);
    assert_eq!(lately(&seen), ["v2"]);
    before.are_still(&trial.space, "gate.test/app:v2");
}
