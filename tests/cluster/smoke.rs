//! The cluster does what the other tests take for granted.

use crate::cluster::Cluster;
use crate::load::{Connections, Load, Seen, Visit, tally};
use crate::manifests;
use crate::namespace::{WAIT_MAX, timeout};
use crate::poll;

/// Enough to tell 10 % from 0 and from 50 %.
const REQUESTS: usize = 300;

fn seen(cluster: &'static Cluster, visit: Visit) -> Vec<Seen> {
    let load = Load::start(cluster, visit);
    poll::until("the requests", WAIT_MAX, || (load.so_far().len() >= REQUESTS).then_some(()));
    load.stop()
}

#[test]
fn pods_answer_behind_their_service_and_are_scraped() {
    let Some(cluster) = Cluster::there() else { return };
    let space = cluster.namespace("smoke-service");
    space.apply(&(manifests::podinfo("shop", "v1", 3) + &manifests::app("own", "v1", 1)));
    space.rolled_out("shop");
    space.rolled_out("own");
    for (service, connections) in
        [("shop", Connections::Fresh), ("shop", Connections::Kept), ("own", Connections::Kept)]
    {
        let tally = tally(&seen(cluster, Visit::new(&space.address(service), "shop", connections)));
        assert_eq!(tally.keys().collect::<Vec<_>>(), ["v1"], "{tally:?}");
    }
    let served = format!(r#"count by (pod) (http_requests_total{{namespace="{}"}})"#, space.name);
    poll::until("four scraped pods", WAIT_MAX, || (cluster.ask(&served).len() == 4).then_some(()));
}

#[test]
fn the_gateway_splits_by_weight() {
    let Some(cluster) = Cluster::there() else { return };
    let space = cluster.namespace("smoke-gateway");
    let host = format!("{}.test", space.name);
    space.apply(
        &(manifests::podinfo("stable", "v1", 1) + &manifests::podinfo("candidate", "v2", 1)),
    );
    space.rolled_out("stable");
    space.rolled_out("candidate");
    let visit = Visit::new(cluster.gateway(), &host, Connections::Kept);
    for (weights, expected) in [((90, 10), 3..20), ((100, 0), 0..1), ((50, 50), 38..62)] {
        let backends = [("stable", weights.0), ("candidate", weights.1)];
        space.apply(&manifests::route("shop", &host, &backends));
        poll::until(&format!("{weights:?} at Envoy"), WAIT_MAX, || {
            let tally = tally(&seen(cluster, visit.clone()));
            let [v1, v2] = ["v1", "v2"].map(|version| tally.get(version).copied().unwrap_or(0));
            let only_these = v1 + v2 == tally.values().sum::<usize>();
            (only_these && expected.contains(&(100 * v2 / (v1 + v2)))).then_some(())
        });
    }
}

#[test]
fn a_kept_connection_does_not_move_with_a_selector() {
    let Some(cluster) = Cluster::there() else { return };
    let space = cluster.namespace("smoke-selector");
    space.apply(&(manifests::podinfo("blue", "v1", 1) + &manifests::podinfo("green", "v2", 1)));
    space.apply(&manifests::service("shop", "blue"));
    space.rolled_out("blue");
    space.rolled_out("green");
    let address = space.address("shop");
    let start = |connections| Load::start(cluster, Visit::new(&address, "shop", connections));
    let (kept, fresh) = (start(Connections::Kept), start(Connections::Fresh));
    let come = |load: &Load| (tally(&load.so_far()).get("v1") >= Some(&50)).then_some(());
    poll::until("requests to blue", WAIT_MAX, || come(&kept).and(come(&fresh)));
    space.apply(&manifests::service("shop", "green"));
    poll::until("50 requests to green", WAIT_MAX, || {
        (tally(&fresh.so_far()).get("v2") >= Some(&50)).then_some(())
    });
    let (kept, fresh) = (kept.stop(), fresh.stop());
    assert_eq!(tally(&kept).into_keys().collect::<Vec<_>>(), ["v1"]);
    assert_eq!(tally(&fresh).into_keys().collect::<Vec<_>>(), ["v1", "v2"]);
    let moved = fresh.iter().filter(|seen| seen.outcome() == "v2").map(|seen| seen.done).min();
    let late = fresh.iter().filter(|seen| seen.outcome() == "v1" && Some(seen.sent) > moved);
    assert_eq!(late.count(), 0, "kube-proxy replaces its rules in one step");
}

#[test]
fn the_tested_gate_runs_beside_the_cluster_and_in_it() {
    let Some(cluster) = Cluster::there() else { return };
    let space = cluster.namespace("smoke-gate");
    let beside = cluster.gate().arg("--version").output().unwrap();
    space.kubectl(&[
        "run",
        "gate",
        "--image=gate.test/gate:test",
        "--image-pull-policy=Never",
        "--restart=Never",
        "--",
        "--version",
    ]);
    space.kubectl(&["wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/gate", &timeout()]);
    assert_eq!(space.kubectl(&["logs", "gate"]), String::from_utf8_lossy(&beside.stdout));
}
