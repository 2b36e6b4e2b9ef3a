//! Bad releases: rolled back by themselves, with the cause.

use serde_json::Value;

use super::{BLUE_GREEN, CANARY, app, named, podinfo};
use crate::belongings::Belongings;
use crate::cluster::Cluster;
use crate::load::{Connections, tally};
use crate::poll;
use crate::trial::{By, Trial};

struct Bad {
    name: &'static str,
    by: By,
    manifests: String,
    image: &'static str,
    policy: String,
    /// What the reason says.
    reason: &'static str,
    /// The condition that was breached; none: it never served.
    condition: Option<&'static str>,
}

/// One that fails a third of its requests must not fail its probes as well.
fn probed_apart(manifests: &str) -> String {
    manifests.replace("path: /readyz, port: http", "path: /healthz, port: 9797")
}

const SICKLY: &str = "
  strategy: canary
  stages: [{ share: 33%, hold: 30s, deadline: 90s }, { share: 100%, hold: 30s, deadline: 90s }]
  health_check: { path: /health, interval: 1s, threshold: 3 }
  evidence: { judge: threshold, interval: 2s, window: 6s, looks: 2, min_requests: 20 }
  prepare: { deadline: 60s }
  rollback_drain: 2s
  auto_rollback: { conditions: [health_check_failures > 3] }
";

fn rows() -> Vec<Bad> {
    let row = |name, by, manifests: String, image, policy: &str, reason, condition| {
        let policy = policy.to_owned();
        Bad { name, by, manifests, image, policy, reason, condition }
    };
    let (errors, slowness) = ("error_rate > 5%", "response_time_p95 > 1000ms");
    let quickly = CANARY.replace("prepare: { deadline: 60s }", "prepare: { deadline: 15s }");
    let pulled = app().replace("imagePullPolicy: Never", "imagePullPolicy: IfNotPresent");
    let (a, p, by_routes, by_service) = (app(), podinfo(), By::Routes, By::Service);
    let (broken, slow) = ("gate.test/app:broken", "gate.test/app:slow");
    vec![
        row("errors", by_service, a.clone(), broken, CANARY, errors, Some(errors)),
        row("errors", by_routes, a.clone(), broken, CANARY, errors, Some(errors)),
        row("slow", by_service, a.clone(), slow, CANARY, slowness, Some(slowness)),
        row(
            "podinfo-errors",
            by_service,
            probed_apart(&p),
            "gate.test/podinfo:broken",
            CANARY,
            errors,
            Some(errors),
        ),
        row(
            "podinfo-slow",
            by_routes,
            probed_apart(&p),
            "gate.test/podinfo:slow",
            CANARY,
            slowness,
            Some(slowness),
        ),
        row(
            "sickly",
            by_service,
            // Kubernetes does not see what the policy's check sees.
            a.replace("path: /ready, port", "path: /metrics, port"),
            "gate.test/app:sickly",
            SICKLY,
            "health_check_failures > 3",
            Some("health_check_failures > 3"),
        ),
        row("switched", by_service, a.clone(), broken, BLUE_GREEN, errors, Some(errors)),
        row("switched", by_routes, a.clone(), broken, BLUE_GREEN, errors, Some(errors)),
        row("unready", by_service, a, "gate.test/app:never-ready", &quickly, "readiness", None),
        row("unready", by_routes, p, "gate.test/podinfo:unready", &quickly, "readiness", None),
        row(
            "no-image",
            by_service,
            pulled,
            "gate.test/app:nowhere",
            &quickly,
            "can't be pulled",
            None,
        ),
    ]
}

#[test]
fn bad_releases_go_back_with_their_cause() {
    let Some(cluster) = Cluster::there() else { return };
    poll::at_once(&rows(), 4, |row| goes_back(cluster, row));
}

fn goes_back(cluster: &'static Cluster, row: &Bad) {
    let name = format!("{}-{}", row.name, named(row.by));
    let trial = Trial::new(cluster, &name, &row.manifests, row.by);
    let before = Belongings::of(&trial.space);
    let users = trial.users(Connections::Fresh);
    let ran = trial.promote(row.image, &row.policy);
    let served = users.stop();
    let line = ran.expect(3, "rolled_back");
    eprintln!("{name}: {:?}, {}", tally(&served), line["reason"]);
    assert!(line["reason"].as_str().unwrap().contains(row.reason), "{name}: {line:#}");
    let causes = line["causes"].as_array().unwrap().iter().map(|cause| cause["condition"].as_str());
    let causes: Vec<_> = causes.flatten().collect();
    // What never served has no condition to breach: its own reason is the cause.
    let expected = row.condition.or(line["reason"].as_str()).unwrap();
    assert_eq!(causes, [expected], "{name}: {line:#}");
    assert_eq!(line["final_share"], 0.0, "{name}: {line:#}");
    if row.condition.is_none() {
        super::none_failed(&name, &served);
        let outcomes: Vec<_> = tally(&served).into_keys().collect();
        assert_eq!(outcomes, ["v1"], "{name}: it never served anybody");
    }
    assert_eq!(served.last().unwrap().outcome(), "v1", "{name}");
    before.are_still(&trial.space, &before.images[0]);
    is_quarantined(&trial, row);
}

/// The same release is refused from now on.
fn is_quarantined(trial: &Trial, row: &Bad) {
    let again = trial.promote(row.image, &row.policy);
    let line: &Value = again.expect(7, "refused");
    assert!(line["reason"].as_str().unwrap().contains("quarantine"), "{line:#}");
}
