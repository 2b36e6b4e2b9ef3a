//! The judge that says how sure it is, on what the pods themselves expose.

use super::{app, named, none_failed};
use crate::cluster::Cluster;
use crate::load::{Connections, tally};
use crate::poll;
use crate::trial::{By, Trial};

const EVIDENCE: &str = "
  strategy: canary
  stages:
    - { share: 33%, hold: 30s, deadline: 180s }
    - { share: 100%, hold: 30s, deadline: 180s }
  evidence: { interval: 5s }
  prepare: { deadline: 60s }
  rollback_drain: 2s
  auto_rollback:
    conditions: [error_rate > 5%, error_rate > 1.3x baseline, response_time_p95 > 1000ms]
";

#[test]
fn the_evidence_judge_promotes_a_good_release_and_is_sure_of_a_bad_one() {
    let Some(cluster) = Cluster::there() else { return };
    let rows = [
        ("v2", By::Service, 0, "promoted"),
        ("broken", By::Service, 3, "rolled_back"),
        ("broken", By::Routes, 3, "rolled_back"),
    ];
    poll::at_once(&rows, 3, |(release, by, code, result)| {
        let name = format!("evidence-{release}-{}", named(*by));
        let trial = Trial::new(cluster, &name, &app(), *by);
        let users = trial.users(Connections::Fresh);
        let ran = trial.promote(&format!("gate.test/app:{release}"), EVIDENCE);
        let seen = users.stop();
        let line = ran.expect(*code, result);
        eprintln!("{name}: {:?}, {}", tally(&seen), line["reason"]);
        if *code == 0 {
            none_failed(&name, &seen);
            return;
        }
        let cause = &line["causes"][0];
        let (sure, requests) = (cause["confidence"].as_f64(), cause["requests"].as_u64());
        assert!(sure.is_some_and(|sure| (0.95..1.0).contains(&sure)), "{line:#}");
        assert!(requests.is_some_and(|requests| requests > 20), "{line:#}");
        assert!(line["detected_after_s"].as_f64().is_some_and(|after| after <= 60.0), "{line:#}");
    });
}
