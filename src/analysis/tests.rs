use std::time::Duration;

use super::*;
use crate::plan::{LOCAL_DEFAULTS, Plan, Release, bounds_ms};
use crate::policy::parse_condition;
use crate::policy::{Condition, JudgeKind};

#[test]
fn evidence_is_lost_when_it_should_be_there_and_is_not() {
    let text = String::new;
    let table = [
        (Unknown::Collecting, false),
        (Unknown::TooFewRequests { seen: 1, needed: 2 }, false),
        (Unknown::NoData { arm: text() }, true),
        (Unknown::Stale { age_s: 90 }, true),
        (Unknown::NotANumber { of: text() }, true),
        (Unknown::SeveralSeries { of: text(), series: 2 }, true),
        (Unknown::SourceDown { what: text() }, true),
        (Unknown::SharedIncident { condition: text() }, false),
        (Unknown::CollectingProbes, false),
        (Unknown::Judge { word: text() }, false),
    ];
    for (reason, lost) in table {
        let alone = Verdict::Unknown { why: vec![reason.clone()] };
        assert_eq!(alone.evidence_lost(), lost, "{reason:?}");
        let beside = Verdict::Unknown { why: vec![Unknown::Collecting, reason.clone()] };
        assert_eq!(beside.evidence_lost(), lost, "one lost source is enough: {reason:?}");
    }
    assert!(!Verdict::Pass.evidence_lost());
    assert!(!Verdict::Breach { causes: Vec::new() }.evidence_lost());
}

#[test]
fn every_limit_of_a_response_time_has_a_bound_of_its_own() {
    let conditions: Vec<Condition> = [
        "error_rate > 5%",
        "response_time_p95 > 800ms",
        "response_time_p99 > 1s",
        "response_time_p50 > 0.5ms",
    ]
    .map(|text| parse_condition(text).unwrap())
    .to_vec();
    let usual = bounds_ms(&[]);
    assert_eq!((usual.first(), usual.last(), usual.len()), (Some(&5.0), Some(&10_000.0), 14));
    let bounds = bounds_ms(&conditions);
    assert_eq!(bounds.len(), usual.len() + 2, "1 s has one already: {bounds:?}");
    assert!(bounds.is_sorted());
    for bound in usual.iter().chain(&[0.5, 800.0, 1000.0]) {
        assert!(bounds.contains(bound), "{bound}");
    }
}

#[test]
fn values_are_printed_in_the_unit_of_their_condition() {
    let table = [
        ("error_rate > 5%", 0.081, "8.10 %"),
        ("traffic_share < 0.5x asked", 0.03, "3.00 %"),
        ("response_time_p95 > 1000ms", 9.96, "10.0 ms"),
        ("response_time_p95 > 1000ms", 10.0, "10 ms"),
        ("response_time_p95 > 1000ms", 1234.5, "1234 ms"),
        ("response_time_p50 > 1.1x baseline", 3.25, "3.2 ms"),
        ("health_check_failures > 3", 4.0, "4"),
        ("queue_depth > 200", 201.5, "201.5"),
    ];
    for (condition, value, printed) in table {
        assert_eq!(in_unit(condition, value), printed, "{condition}");
    }
}

#[test]
fn a_cause_is_printed_with_what_is_known_of_it() {
    let cause = Cause::in_words("error_rate > 5%");
    assert_eq!(cause.to_string(), "error_rate > 5%");
    let cause = Cause { seen: Some(0.081), ..cause };
    assert_eq!(cause.to_string(), "error_rate > 5%: 8.10 % seen");
    let cause = Cause { baseline: Some(0.001), requests: Some(1234), ..cause };
    assert_eq!(cause.to_string(), "error_rate > 5%: 8.10 % seen, baseline 0.10 %, 1234 requests");
}

#[test]
fn durations_of_a_limit_are_exact() {
    let limit = Condition::ResponseTime {
        quantile: crate::policy::Quantile::parse("95").unwrap(),
        limit: Duration::from_micros(1_234_567),
    };
    assert!(bounds_ms(&[limit]).contains(&1234.567));
}

#[test]
fn a_verdict_has_one_word_wherever_it_is_told() {
    let words = [
        (Verdict::Pass, "pass"),
        (Verdict::Breach { causes: Vec::new() }, "breach"),
        (Verdict::Unknown { why: Vec::new() }, "unknown"),
    ];
    for (verdict, word) in words {
        assert_eq!(verdict.word().to_string(), word);
        assert_eq!(serde_json::to_value(verdict.word()).unwrap(), word);
        assert_eq!(serde_json::to_value(&verdict).unwrap()["verdict"], word);
    }
}

fn plan(judge: JudgeKind, source_interval: Option<Duration>) -> Plan {
    let mut policy = crate::policy::built_in();
    policy.evidence.judge = judge;
    let release =
        |name: &str| Release { name: name.into(), hash: name.into(), irreversible: false };
    let mut plan =
        Plan::new(&policy, "", "local/shop", release("v1"), release("v2"), LOCAL_DEFAULTS);
    plan.judge.source_interval = source_interval;
    plan
}

#[test]
fn how_often_a_source_has_samples_is_the_headers_too() {
    for every in [None, Some(30.0)] {
        let plan = plan(JudgeKind::Evidence, every.map(Duration::from_secs_f64));
        assert_eq!(evidence::Header::of_plan(&plan).source_interval_s, every);
    }
    let rare = plan(JudgeKind::Evidence, Some(Duration::from_secs(61)));
    assert!(Judge::new(&rare).is_err(), "slower than a minute is no evidence");
}

#[test]
fn a_block_is_as_long_as_the_time_between_two_samples() {
    let committed = |every: Option<u64>| {
        let plan = plan(JudgeKind::Evidence, every.map(Duration::from_secs));
        let header = evidence::Header::of_plan(&plan);
        let mut judge = evidence::Judge::new(&plan.conditions, &header).unwrap();
        let mut ends = Vec::new();
        for look in 1..=12 {
            let at_s = f64::from(look) * 5.0;
            let line = evidence::Line::from(&Look::of_the_past(at_s));
            ends.extend(judge.look(&line).filter(|said| said.committed).map(|_| at_s));
        }
        ends
    };
    assert_eq!(committed(None), [15.0, 30.0, 45.0, 60.0]);
    assert_eq!(committed(Some(5)), [15.0, 30.0, 45.0, 60.0]);
    assert_eq!(committed(Some(30)), [30.0, 60.0]);
}

#[test]
fn only_a_judge_that_learns_is_changed_by_the_past() {
    let mut past = Look::of_the_past(-15.0);
    past.expected.baseline = 1;
    past.baseline.insert("a".into(), Counters(vec![100.0; 2 + bounds_ms(&[]).len()]));
    for (kind, learns) in [(JudgeKind::Evidence, true), (JudgeKind::Threshold, false)] {
        let mut judge = Judge::new(&plan(kind, None)).unwrap();
        let untaught = judge.clone();
        assert_eq!(judge.learns(), learns);
        judge.teach(&past);
        assert_eq!(judge != untaught, learns, "{kind:?}");
    }
}
