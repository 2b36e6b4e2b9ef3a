//! The cluster does what the other tests take for granted.

use std::time::Duration;

use gate::evidence::presets::Preset;
use gate::evidence::prometheus::answer::Data;
use gate::evidence::prometheus::{Credentials, Source};

use crate::cluster::Cluster;
use crate::load::{Connections, Load, Seen, Visit, tally};
use crate::manifests;
use crate::namespace::WAIT_MAX;
use crate::poll;

/// Enough to tell 10 % from 0 and from 50 %.
const REQUESTS: usize = 300;

fn seen(cluster: &'static Cluster, visit: Visit) -> Vec<Seen> {
    let load = Load::start(cluster, visit);
    poll::until("the requests", WAIT_MAX, || (load.so_far().len() >= REQUESTS).then_some(()));
    load.stop()
}

fn counts(cluster: &Cluster, query: &str) -> usize {
    let source =
        Source::new(cluster.prometheus(), Preset::named("plain").unwrap(), &Credentials::default())
            .unwrap();
    let asked = cluster.inside(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(source.ask(query))
    });
    match asked {
        Ok(Data::Vector(series)) => series.len(),
        other => panic!("{query}: {other:?}"),
    }
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
    let served = format!(r#"count by (pod) (http_requests_total{{namespace="{}"}}) "#, space.name);
    poll::until("four scraped pods", WAIT_MAX, || (counts(cluster, &served) == 4).then_some(()));
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
    for (weights, expected) in [((90, 10), 4..18), ((100, 0), 0..1), ((50, 50), 38..62)] {
        space.apply(&manifests::route(
            "shop",
            &host,
            &[("stable", weights.0), ("candidate", weights.1)],
        ));
        poll::until("the weights at Envoy", WAIT_MAX, || {
            let short = Load::start(cluster, visit.clone());
            std::thread::sleep(Duration::from_millis(500));
            let tally = tally(&short.stop());
            let both = tally.contains_key("v1") && tally.contains_key("v2");
            (tally.keys().all(|outcome| outcome.starts_with('v')) && both == (weights.1 > 0))
                .then_some(())
        });
        let tally = tally(&seen(cluster, visit.clone()));
        let total: usize = tally.values().sum();
        let share = 100 * tally.get("v2").copied().unwrap_or(0) / total;
        assert!(expected.contains(&share), "{weights:?} gave {tally:?}");
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
    let timeout = format!("--timeout={}s", WAIT_MAX.as_secs());
    space.kubectl(&["wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/gate", &timeout]);
    assert_eq!(space.kubectl(&["logs", "gate"]), String::from_utf8_lossy(&beside.stdout));
}
