//! Good releases: promoted, without a request that failed.

use super::{BLUE_GREEN, CANARY, app, named, none_failed, podinfo, probing_podinfo};
use crate::belongings::Belongings;
use crate::cluster::Cluster;
use crate::load::{Connections, tally};
use crate::poll;
use crate::trial::{By, Trial};
use crate::vegeta::Vegeta;

struct Good {
    name: &'static str,
    by: By,
    manifests: String,
    image: &'static str,
    policy: String,
}

#[test]
fn good_releases_reach_everybody_and_nobody_notices() {
    let Some(cluster) = Cluster::there() else { return };
    let podinfo = |name, by, policy: &str| {
        let policy = probing_podinfo(policy);
        Good { name, by, manifests: podinfo(), image: "gate.test/podinfo:v2", policy }
    };
    let own = |name, by, policy: &str| Good {
        name,
        by,
        manifests: app(),
        image: "gate.test/app:v2",
        policy: policy.to_owned(),
    };
    let rows = [
        podinfo("canary", By::Service, CANARY),
        podinfo("canary", By::Routes, CANARY),
        podinfo("blue-green", By::Service, BLUE_GREEN),
        podinfo("blue-green", By::Routes, BLUE_GREEN),
        own("own-canary", By::Service, CANARY),
        own("own-blue-green", By::Routes, BLUE_GREEN),
    ];
    poll::at_once(&rows, 3, |row| promoted(cluster, row));
}

fn promoted(cluster: &'static Cluster, row: &Good) {
    let name = format!("{}-{}", row.name, named(row.by));
    let trial = Trial::new(cluster, &name, &row.manifests, row.by);
    let before = Belongings::of(&trial.space);
    let (fresh, kept) = (trial.users(Connections::Fresh), trial.users(Connections::Kept));
    let stranger = Vegeta::start(&trial);
    let ran = trial.promote(row.image, &row.policy);
    let (fresh, kept) = (fresh.stop(), kept.stop());
    if let Some(report) = stranger.map(Vegeta::stop) {
        assert_eq!(report["success"], 1.0, "{name}, as vegeta saw it: {report:#}");
        assert!(report["requests"].as_u64().is_some_and(|count| count > 1000), "{report:#}");
    }
    eprintln!("{name}: new connections {:?}, kept {:?}", tally(&fresh), tally(&kept));
    let line = ran.expect(0, "promoted");
    assert_eq!((&line["final_share"], &line["traffic"]), (&1.0.into(), &"safe".into()), "{line:#}");
    none_failed(&format!("{name}, new connections"), &fresh);
    // Where a proxy stands before the pods nobody's connection ends with a pod.
    if row.by == By::Routes {
        none_failed(&format!("{name}, kept connections"), &kept);
    }
    assert_eq!(fresh.last().unwrap().outcome(), "v2", "{name}");
    before.are_still(&trial.space, row.image);
}
