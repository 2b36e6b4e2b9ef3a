//! `examples/kubernetes`: every manifest is applied as it stands, and every policy promotes.

use crate::cluster::Cluster;
use crate::load::{Connections, Visit};
use crate::manifests::in_this_cluster;
use crate::trial::{By, Trial, target};

const APP: &str = include_str!("../../examples/kubernetes/app.yaml");
const ROUTE: &str = include_str!("../../examples/kubernetes/route.yaml");
const CANARY: &str = include_str!("../../examples/kubernetes/canary.yaml");
const CANARY_GATEWAY: &str = include_str!("../../examples/kubernetes/canary-gateway.yaml");
const BLUE_GREEN: &str = include_str!("../../examples/kubernetes/blue-green.yaml");

#[track_caller]
fn promotes(name: &str, policy: &str, by: By) {
    let Some(cluster) = Cluster::there() else { return };
    let mut trial = Trial::new(cluster, name, &in_this_cluster(APP), By::Service);
    if by == By::Routes {
        trial.space.apply(&ROUTE.replace("shop.example.com", &trial.host));
        cluster.gateway().clone_into(&mut trial.address);
        let visit = Visit::new(&trial.address, &trial.host, Connections::Fresh);
        crate::load::until_answered(cluster, &visit);
    }
    let users = trial.users(Connections::Fresh);
    let path = trial.file("policy.yaml", policy);
    let release = in_this_cluster("ghcr.io/stefanprodan/podinfo:6.9.2");
    let args = ["promote", &target(), "--release", &release, "--policy", path.to_str().unwrap()];
    trial.gate(&args).end().expect(0, "promoted");
    drop(users);
}

#[test]
fn a_canary_without_a_mesh() {
    promotes("examples-canary", CANARY, By::Service);
}

#[test]
fn a_canary_by_the_gateway_api() {
    promotes("examples-gateway", CANARY_GATEWAY, By::Routes);
}

#[test]
fn blue_green() {
    promotes("examples-switch", BLUE_GREEN, By::Service);
}
