//! What people ask for, from other processes, while a promotion runs.

use serde_json::Value;

use super::{app, none_failed};
use crate::belongings::Belongings;
use crate::cluster::Cluster;
use crate::load::Connections;
use crate::poll;
use crate::trial::{By, PROMOTION_MAX, Ran, Trial, target};

const ASKING: &str = "
  strategy: canary
  stages:
    - { share: 33%, hold: 4s, deadline: 60s }
    - { share: 100%, hold: 4s, deadline: 60s, approval: true }
  evidence: { judge: threshold, interval: 2s, window: 6s, looks: 2, min_requests: 20 }
  rollback_drain: 2s
  auto_rollback: { conditions: [error_rate > 5%] }
";

fn ask(trial: &Trial, words: &[&str]) -> Ran {
    let ran = trial.gate(&[words, &[&target()]].concat()).end();
    assert_eq!(ran.code, 0, "{words:?}: {}", ran.said);
    ran
}

fn promotion(trial: &Trial) -> Value {
    let ran = ask(trial, &["status"]);
    let line = ran.lines.last().unwrap_or_else(|| panic!("no status: {}", ran.said));
    assert_eq!(line["schema"], "gate.status/v1");
    line["promotion"].clone()
}

#[track_caller]
fn until_status(trial: &Trial, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    poll::until(what, PROMOTION_MAX, || Some(promotion(trial)).filter(&is))
}

#[test]
fn people_hold_resume_and_approve_from_other_processes() {
    let Some(cluster) = Cluster::there() else { return };
    let trial = Trial::new(cluster, "people", &app(), By::Service);
    let before = Belongings::of(&trial.space);
    let users = trial.users(Connections::Fresh);
    let mut running = trial.start_with("gate.test/app:v2", ASKING, &["--on-unknown", "hold"]);
    running.until("the first share", |line| line["event"] == "share.seen");
    ask(&trial, &["hold", "--reason", "lunch"]);
    let held = until_status(&trial, "a hold", |status| status["waiting"]["on_person"] == true);
    assert_eq!((&held["stage"], &held["seen_share"].is_null()), (&1.into(), &false), "{held:#}");
    assert_eq!(held["candidate_ready"], serde_json::json!([1, 1]), "{held:#}");
    ask(&trial, &["resume"]);
    let asked = until_status(&trial, "a question", |status| {
        status["stage"] == 2 && status["waiting"]["on_person"] == true
    });
    assert_eq!(asked["stages_passed"], 1, "{asked:#}");
    ask(&trial, &["approve", "--reason", "looks good"]);
    let ran = running.end();
    ran.expect(0, "promoted");
    assert!(!ran.events("human.requested").is_empty());
    none_failed("people", &users.stop());
    assert!(promotion(&trial).is_null());
    before.are_still(&trial.space, "gate.test/app:v2");
}

#[test]
fn a_person_aborts_from_another_process() {
    let Some(cluster) = Cluster::there() else { return };
    let trial = Trial::new(cluster, "abort", &app(), By::Routes);
    let before = Belongings::of(&trial.space);
    let users = trial.users(Connections::Fresh);
    let mut running = trial.start("gate.test/app:v2", &ASKING.replace("hold: 4s", "hold: 50s"));
    running.until("the first share", |line| line["event"] == "share.seen");
    ask(&trial, &["abort", "--reason", "not today"]);
    let ran = running.end();
    let line = ran.expect(4, "aborted");
    assert!(line["reason"].as_str().unwrap().contains("not today"), "{line:#}");
    none_failed("abort", &users.stop());
    before.are_still(&trial.space, "gate.test/app:v1");
    // Nobody's fault: it may be tried again.
    let status = ask(&trial, &["status"]);
    assert_eq!(status.lines[0]["last"]["result"], "aborted", "{:#}", status.lines[0]);
}
