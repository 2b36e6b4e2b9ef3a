//! The reader of policies against good files, bad files, and noise.

use std::path::Path;
use std::time::Duration;

use super::*;

mod conditions;
pub(crate) mod hostile;
mod printed;
mod refusals;
pub(crate) mod schema;

const COMPLETE: &str = include_str!("../../tests/policies/complete.yaml");

fn policy(text: &str) -> Policy {
    match read(Path::new("policy.yaml"), text.as_bytes()) {
        Ok(checked) => checked.value,
        Err(report) => panic!("{report}"),
    }
}

/// Returns the report of a policy that is not accepted.
fn refused(bytes: &[u8]) -> Report {
    match read(Path::new("policy.yaml"), bytes) {
        Ok(checked) => panic!("accepted: {:?}", checked.value),
        Err(report) => report,
    }
}

#[test]
fn who_has_decided_is_not_judged_and_waits_for_nothing() {
    let before = policy(COMPLETE);
    assert!(before.stages.len() > 1 && before.auto_rollback && !before.freeze.is_empty());
    let after = before.clone().at_once();
    let stage = StagePolicy {
        share: Share::FULL,
        hold: Some(Duration::ZERO),
        deadline: None,
        approval: false,
    };
    assert_eq!(after.stages, [stage]);
    assert!(!after.auto_rollback && after.freeze.is_empty());
    let Policy { stages, auto_rollback, freeze, .. } = before.clone();
    assert_eq!(Policy { stages, auto_rollback, freeze, ..after }, before);
}

#[test]
fn every_shipped_policy_reads_without_a_warning() {
    for (name, text) in SHIPPED {
        match read(Path::new(name), text.as_bytes()) {
            Ok(checked) => assert!(checked.warnings.is_empty(), "{}", checked.warnings),
            Err(report) => panic!("{report}"),
        }
        assert!(shipped(name).is_some());
    }
    assert_eq!(shipped("canry"), None);
}

#[test]
fn the_seeds_block_reads_as_it_stands() {
    let seed = shipped("seed").unwrap();
    assert_eq!(seed.strategy, Strategy::BlueGreen);
    assert_eq!(
        seed.health_check,
        Some(HealthCheck {
            path: "/health".to_owned(),
            interval: Duration::from_secs(10),
            threshold: 3,
            status: None,
            body: None,
            port: None
        })
    );
    assert!(seed.auto_rollback);
    let conditions: Vec<String> = seed.conditions.iter().map(ToString::to_string).collect();
    assert_eq!(
        conditions,
        ["error_rate > 5%", "response_time_p95 > 1000ms", "health_check_failures > 3"]
    );
}

#[test]
fn what_is_left_out_gets_its_default() {
    let seed = shipped("seed").unwrap();
    let minutes = |n: u64| Duration::from_secs(60 * n);
    assert_eq!(seed.stages, []);
    assert_eq!(seed.evidence.judge, JudgeKind::Evidence);
    assert_eq!((seed.evidence.looks, seed.evidence.min_requests), (3, 50));
    assert_eq!((seed.evidence.interval, seed.evidence.window), (None, None));
    assert_eq!(seed.insufficient_traffic, InsufficientTraffic::Rollback);
    assert_eq!(seed.drain, Duration::from_secs(30));
    assert_eq!(seed.rollback_drain, Duration::from_secs(5));
    assert_eq!((seed.prepare_deadline, seed.adopt_deadline), (minutes(10), minutes(10)));
    assert_eq!((seed.hold_max, seed.approval_timeout), (minutes(24 * 60), minutes(6 * 60)));
    assert!(!seed.side_by_side);
    let short = policy(
        "deployment:\n  strategy: canary\n  health_check: { path: /up }\n  \
         auto_rollback: { conditions: [health_check_failures > 0] }\n",
    );
    let health = short.health_check.unwrap();
    assert_eq!((health.interval, health.threshold), (Duration::from_secs(10), 3));
    assert!(short.auto_rollback);
}

#[test]
fn the_built_in_policy_rises_in_four_steps_of_a_minute() {
    let built_in = built_in();
    let stages: Vec<(u16, Option<Duration>)> =
        built_in.stages.iter().map(|s| (s.share.basis_points(), s.hold)).collect();
    let minute = Some(Duration::from_secs(60));
    assert_eq!(stages, [(500, minute), (2500, minute), (5000, minute), (10_000, minute)]);
}

#[test]
fn every_key_is_read() {
    let policy = policy(COMPLETE);
    assert_eq!(policy.stages[0].deadline, Some(Duration::from_secs(300)));
    assert!(policy.stages[0].approval && !policy.stages[1].approval);
    assert_eq!(policy.health_check.unwrap().port, Some(8080));
    assert_eq!(policy.evidence.judge, JudgeKind::Threshold);
    assert_eq!(policy.evidence.queries["queue_depth"], "max(queue_depth{app=\"checkout\"})");
    assert_eq!(policy.evidence.interval, Some(Duration::from_secs(5)));
    assert_eq!(policy.evidence.window, Some(Duration::from_secs(30)));
    assert_eq!((policy.evidence.looks, policy.evidence.min_requests), (2, 100));
    assert_eq!(policy.insufficient_traffic, InsufficientTraffic::Hold);
    assert_eq!(policy.traffic.ignore_services, ["checkout-metrics"]);
    let testers = Testers { header: "x-release".into(), value: "next".into() };
    assert_eq!(policy.traffic.testers, Some(testers));
    assert_eq!(policy.approval_timeout, Duration::from_secs(90 * 60));
    let time = |hour| chrono::NaiveTime::from_hms_opt(hour, 0, 0).unwrap();
    let freeze: Vec<(FreezeTime, FreezeTime)> =
        policy.freeze.iter().skip(1).map(|freeze| (freeze.from, freeze.to)).collect();
    assert_eq!(
        freeze,
        [
            (
                FreezeTime::Weekly(chrono::Weekday::Fri, time(16)),
                FreezeTime::Weekly(chrono::Weekday::Mon, time(8))
            ),
            (FreezeTime::Daily(time(22)), FreezeTime::Daily(time(6))),
        ]
    );
    assert_eq!(policy.freeze[0].zone, chrono_tz::Europe::Berlin);
    let FreezeTime::Once(from) = policy.freeze[0].from else { panic!("not once") };
    assert_eq!(from.to_string(), "2026-12-23 18:00:00");
}

#[test]
fn merge_keys_and_aliases_mean_what_they_stand_for() {
    let policy = policy(
        "deployment:\n  strategy: canary\n  stages:\n    - &step { share: 10%, hold: 5m, approval: true }\n    \
         - { <<: *step, share: 50% }\n    - { <<: [{ share: 100% }, *step], hold: 10m }\n  \
         auto_rollback: { conditions: [error_rate > 5%] }\n",
    );
    let stages: Vec<(u16, u64, bool)> = policy
        .stages
        .iter()
        .map(|s| (s.share.basis_points(), s.hold.unwrap().as_secs(), s.approval))
        .collect();
    assert_eq!(stages, [(1000, 300, true), (5000, 300, true), (10_000, 600, true)]);
}

#[test]
fn a_warning_stands_beside_success() {
    let text = "deployment:\n  strategy: canary\n  stages: [{ share: 5% }, { share: 50% }]\n  \
                evidence: { looks: 2, queries: { depth: up } }\n  \
                auto_rollback: { conditions: [error_rate > 5%] }\n";
    let checked = read(Path::new("policy.yaml"), text.as_bytes()).unwrap();
    let messages: Vec<&str> = checked.warnings.notes().iter().map(|n| n.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "the release is adopted after 50 %",
            "only the threshold judge uses `looks`",
            "no condition uses the query `depth`",
        ]
    );
    assert!(checked.warnings.to_string().ends_with("3 warnings in policy.yaml"));
}
