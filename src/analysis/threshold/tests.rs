use std::time::Duration;

use proptest::prelude::*;

use super::window::more_than_flakes;
use super::*;
use crate::analysis::Answer;
use crate::plan::{JudgePlan, Plan, Release};
use crate::policy::{InsufficientTraffic, JudgeKind, Strategy as Kind};
use crate::share::Share;

const BOUNDS: [f64; 3] = [100.0, 500.0, 1000.0];

fn plan(conditions: Vec<Condition>) -> Plan {
    let release =
        |name: &str| Release { name: name.into(), hash: name.into(), irreversible: false };
    Plan {
        target: "local/shop".into(),
        release: release("v2"),
        stable: release("v1"),
        strategy: Kind::Canary,
        stages: Vec::new(),
        conditions,
        health_check: None,
        judge: JudgePlan {
            kind: JudgeKind::Threshold,
            interval: Duration::from_secs(5),
            window: Duration::from_secs(15),
            looks: 3,
            min_requests: 50,
            source: crate::policy::PROXY.into(),
            preset: None,
            queries: std::collections::BTreeMap::new(),
            source_interval: None,
            bounds_ms: BOUNDS.to_vec(),
        },
        insufficient_traffic: InsufficientTraffic::Rollback,
        observe_only: false,
        prepare_deadline: Duration::from_secs(60),
        adopt_deadline: Duration::from_secs(60),
        drain: Duration::from_secs(5),
        rollback_drain: Duration::from_secs(5),
        hold_max: Duration::from_secs(60),
        approval_timeout: Duration::from_secs(60),
        freeze: Vec::new(),
        policy_source: "test".into(),
        traffic: None,
    }
}

/// What each look adds: requests, errors, slower than each bound.
type Add = [f64; 5];

const GOOD: Add = [100.0, 0.0, 50.0, 0.0, 0.0];
const FAILING: Add = [100.0, 10.0, 50.0, 0.0, 0.0];
const SLOW: Add = [100.0, 0.0, 100.0, 90.0, 20.0];
const SLOWER_THAN_GOOD: Add = [100.0, 0.0, 90.0, 20.0, 0.0];
const SILENT: Add = [0.0; 5];

struct Case {
    judge: Judge,
    look: Look,
}

impl Case {
    fn new(conditions: &[&str]) -> Self {
        let conditions =
            conditions.iter().map(|text| crate::policy::parse_condition(text).unwrap()).collect();
        let look = Look {
            at_s: 0.0,
            stage: 0,
            share: Share::from_percent(10.0).unwrap(),
            baseline: BTreeMap::from([("b".into(), Counters(vec![0.0; 5]))]),
            candidate: BTreeMap::from([("c".into(), Counters(vec![0.0; 5]))]),
            expected: PerArm { baseline: 1, candidate: 1 },
            probes: PerArm::default(),
            candidate_healthy: true,
            queries: BTreeMap::new(),
            missing: None,
        };
        let mut case = Self { judge: Judge::new(&plan(conditions)), look };
        case.judge.judge(&case.look.clone()); // the baseline's point of reference
        case
    }

    fn at_share(mut self, percent: f64) -> Self {
        self.look.share = Share::from_percent(percent).unwrap();
        self
    }

    /// Takes so many looks of 5 s, each adding this much, and returns the last judgement.
    fn looks(&mut self, count: usize, baseline: Add, candidate: Add) -> Judgement {
        let mut last = None;
        for _ in 0..count {
            self.look.at_s += 5.0;
            for (arm, add) in
                [(&mut self.look.baseline, baseline), (&mut self.look.candidate, candidate)]
            {
                let counters = arm.values_mut().next().unwrap();
                counters.0.iter_mut().zip(add).for_each(|(sum, new)| *sum += new);
            }
            last = Some(self.judge.judge(&self.look));
        }
        last.unwrap()
    }

    fn probed(&mut self, candidate: (u64, u64), baseline: (u64, u64)) -> Judgement {
        let count = |(failed, sent)| ProbeCount { failed, sent };
        self.look.probes = PerArm { baseline: count(baseline), candidate: count(candidate) };
        self.looks(1, GOOD, GOOD)
    }
}

fn unknown(judgement: &Judgement) -> Vec<String> {
    match &judgement.verdict {
        Verdict::Unknown { why } => why.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?} is not unknown"),
    }
}

fn breached(judgement: &Judgement) -> &Cause {
    match &judgement.verdict {
        Verdict::Breach { causes } => &causes[0],
        other => panic!("{other:?} is no breach"),
    }
}

#[test]
fn a_limit_must_be_broken_at_three_looks_in_a_row() {
    let mut case = Case::new(&["error_rate > 5%"]);
    for _ in 0..2 {
        assert_eq!(unknown(&case.looks(1, GOOD, FAILING)), ["suspicion"]);
    }
    let judgement = case.looks(1, GOOD, FAILING);
    let cause = breached(&judgement);
    assert_eq!((cause.seen, cause.limit), (Some(0.1), Some(0.05)));
    assert_eq!((cause.baseline, cause.requests), (Some(0.0), Some(300)));
}

#[test]
fn a_good_look_between_begins_the_row_anew() {
    let mut case = Case::new(&["error_rate > 5%"]);
    case.looks(2, GOOD, FAILING);
    assert_eq!(case.looks(4, GOOD, GOOD).verdict, Verdict::Pass);
    assert_eq!(unknown(&case.looks(2, GOOD, FAILING)), ["suspicion"]);
}

#[test]
fn exactly_the_limit_is_kept() {
    let mut case = Case::new(&["error_rate > 5%"]);
    let five_percent = [100.0, 5.0, 50.0, 0.0, 0.0];
    assert_eq!(case.looks(5, GOOD, five_percent).verdict, Verdict::Pass);
}

#[test]
fn the_response_time_is_read_at_its_own_bound() {
    let mut case = Case::new(&["response_time_p95 > 1000ms"]);
    assert_eq!(case.looks(3, GOOD, GOOD).verdict, Verdict::Pass);
    let judgement = case.looks(5, GOOD, SLOW);
    assert_eq!(breached(&judgement).seen, Some(1000.0), "beyond the last bound: that bound");
}

#[test]
fn a_shared_incident_is_not_the_candidates() {
    for (condition, both) in [("error_rate > 5%", FAILING), ("response_time_p95 > 1000ms", SLOW)] {
        let mut case = Case::new(&[condition]);
        let why = unknown(&case.looks(5, both, both));
        assert_eq!(
            why,
            [format!("{condition} is broken by the stable revision as well: a shared incident")]
        );
    }
}

#[test]
fn at_100_percent_there_is_nothing_to_compare_with() {
    let mut case = Case::new(&["error_rate > 5%"]).at_share(100.0);
    breached(&case.looks(3, SILENT, FAILING));
    let mut case = Case::new(&["error_rate > 5%"]).at_share(100.0);
    case.look.probes.baseline = ProbeCount { failed: 3, sent: 5 };
    let why = unknown(&case.looks(3, SILENT, FAILING));
    assert!(why[0].contains("shared incident"), "stable fails its probes: {why:?}");
    let mut case = Case::new(&["error_rate > 1.3x baseline"]).at_share(100.0);
    assert_eq!(case.looks(3, SILENT, FAILING).verdict, Verdict::Pass);
}

#[test]
fn relative_limits_compare_at_the_same_time() {
    let mut case = Case::new(&["error_rate > 1.3x baseline"]);
    breached(&case.looks(3, GOOD, FAILING));
    let mut case = Case::new(&["error_rate > 1.3x baseline"]);
    assert_eq!(case.looks(5, FAILING, FAILING).verdict, Verdict::Pass);
    let mut case = Case::new(&["response_time_p95 > 1.1x baseline"]);
    breached(&case.looks(3, GOOD, SLOWER_THAN_GOOD));
    let mut case = Case::new(&["response_time_p95 > 1.1x baseline"]);
    let why = unknown(&case.looks(3, SILENT, SLOWER_THAN_GOOD));
    assert_eq!(why, ["no data from the baseline"]);
}

#[test]
fn a_single_error_is_no_ratio() {
    let mut case = Case::new(&["error_rate > 1.3x baseline"]);
    let one = [100.0, 1.0, 50.0, 0.0, 0.0];
    assert_eq!(case.looks(3, GOOD, one).verdict, Verdict::Pass, "3 errors in the window");
    breached(&case.looks(6, GOOD, [100.0, 2.0, 50.0, 0.0, 0.0]));
}

#[test]
fn too_few_requests_are_unknown_and_neither_add_to_a_row_nor_end_it() {
    let mut case = Case::new(&["error_rate > 5%"]);
    case.looks(2, GOOD, FAILING);
    case.look.at_s += 15.0; // the window is empty again
    let why = unknown(&case.looks(1, GOOD, [10.0, 0.0, 0.0, 0.0, 0.0]));
    assert_eq!(why, ["10 of the 50 requests that a verdict needs", "suspicion"]);
    breached(&case.looks(1, GOOD, FAILING));
}

#[test]
fn a_pass_needs_requests_of_this_stage_and_health() {
    let mut case = Case::new(&["error_rate > 5%"]);
    assert_eq!(case.looks(3, GOOD, GOOD).verdict, Verdict::Pass);
    case.look.stage = 1;
    assert!(unknown(&case.looks(1, GOOD, SILENT))[0].starts_with("0 of the 50"));
    assert_eq!(case.looks(1, GOOD, GOOD).verdict, Verdict::Pass);
    case.look.candidate_healthy = false;
    assert_eq!(unknown(&case.looks(1, GOOD, GOOD)), ["collecting health probes"]);
}

#[test]
fn a_source_that_is_down_is_named() {
    let mut case = Case::new(&["error_rate > 5%", "traffic_share < 0.5x asked"]);
    case.look.missing = Some(Unknown::SourceDown { what: "connection refused".into() });
    let judgement = case.looks(1, GOOD, GOOD);
    assert_eq!(unknown(&judgement), ["the source can't be read: connection refused"]);
    assert!(judgement.verdict.evidence_lost());
}

#[test]
fn the_share_that_is_seen_is_compared_with_the_one_that_was_asked() {
    let mut case = Case::new(&["traffic_share < 0.5x asked"]);
    assert_eq!(case.looks(3, [900.0, 0.0, 0.0, 0.0, 0.0], GOOD).verdict, Verdict::Pass);
    let few = [30.0, 0.0, 0.0, 0.0, 0.0];
    let judgement = case.looks(6, [970.0, 0.0, 0.0, 0.0, 0.0], few);
    let cause = breached(&judgement);
    assert_eq!((cause.seen, cause.limit), (Some(0.03), Some(0.05)));
}

#[test]
fn failed_probes_must_be_more_than_flakes_and_than_the_baselines() {
    let mut case = Case::new(&["health_check_failures > 3"]);
    for _ in 0..3 {
        case.probed((1, 2), (0, 2));
    }
    assert!(matches!(case.probed((1, 2), (0, 2)).verdict, Verdict::Unknown { .. }));
    case.probed((1, 2), (0, 2));
    breached(&case.probed((1, 2), (0, 2)));

    let mut case = Case::new(&["health_check_failures > 3"]);
    for _ in 0..8 {
        case.probed((1, 2), (1, 2));
    }
    assert!(unknown(&case.probed((1, 2), (1, 2)))[0].contains("shared incident"));

    let mut case = Case::new(&["health_check_failures > 3"]);
    for _ in 0..12 {
        let judgement = case.probed((1, 20), (0, 20)); // 5 %: flakes
        assert!(!matches!(judgement.verdict, Verdict::Breach { .. }));
    }
}

#[test]
fn at_share_0_health_alone_decides() {
    let mut case = Case::new(&["error_rate > 5%", "health_check_failures > 3"]).at_share(0.0);
    let judgement = case.probed((0, 2), (0, 2));
    assert_eq!(judgement.judged_on, JudgedOn::Health);
    assert_eq!(judgement.readings.len(), 1);
    assert_eq!(unknown(&judgement), ["collecting health probes"]);
    assert_eq!(case.probed((0, 2), (0, 2)).verdict, Verdict::Pass);
    case.look.candidate_healthy = false;
    assert_eq!(unknown(&case.probed((0, 2), (0, 2))), ["collecting health probes"]);
}

#[test]
fn queries_are_read_or_unknown() {
    let mut case = Case::new(&["queue_depth > 200"]);
    let mut say = |answer| {
        case.look.queries = BTreeMap::from([("queue_depth".to_owned(), answer)]);
        case.looks(1, GOOD, GOOD)
    };
    assert_eq!(say(Answer::Value(200.0)).verdict, Verdict::Pass);
    assert_eq!(unknown(&say(Answer::Value(f64::NAN))), ["queue_depth is not a number"]);
    let two = Unknown::SeveralSeries { of: "queue_depth".into(), series: 2 };
    assert_eq!(
        unknown(&say(Answer::Unknown(two))),
        ["queue_depth gave 2 series where one is needed"]
    );
    say(Answer::Value(201.0));
    say(Answer::Value(201.0));
    assert_eq!(breached(&say(Answer::Value(201.0))).seen, Some(201.0));
}

#[test]
fn a_restarted_process_begins_at_0() {
    let mut case = Case::new(&["error_rate > 5%"]);
    case.looks(2, GOOD, GOOD);
    case.look.candidate = BTreeMap::from([("c".into(), Counters(vec![0.0; 5]))]);
    let judgement = case.looks(1, GOOD, GOOD);
    assert_eq!(judgement.readings[0].requests, Some(300));
}

// ---- where the limits of the limits lie

/// Returns the only reading of the only condition.
fn reading(judgement: &Judgement) -> &Reading {
    match judgement.readings.as_slice() {
        [only] => only,
        other => panic!("{other:?}"),
    }
}

#[test]
fn as_many_requests_as_asked_for_are_enough() {
    let requests = |count| [count, 0.0, 0.0, 0.0, 0.0];
    for condition in ["error_rate > 5%", "health_check_failures > 3"] {
        let mut case = Case::new(&[condition]);
        let why = unknown(&case.looks(1, GOOD, requests(49.0)));
        assert_eq!(why, ["49 of the 50 requests that a verdict needs"]);
        assert_eq!(case.looks(1, GOOD, requests(1.0)).verdict, Verdict::Pass, "{condition}");
    }
    let mut case = Case::new(&["traffic_share < 0.5x asked"]);
    case.judge.stage_requests = 1000.0; // what the stage has seen before its window
    let why = unknown(&case.looks(1, requests(44.0), requests(5.0)));
    assert_eq!(why, ["49 of the 50 requests that a verdict needs"]);
    assert_eq!(case.looks(1, requests(1.0), requests(0.0)).verdict, Verdict::Pass);
}

#[test]
fn exactly_half_of_the_share_asked_for_is_kept() {
    let mut case = Case::new(&["traffic_share < 0.5x asked"]);
    let requests = |count| [count, 0.0, 0.0, 0.0, 0.0];
    assert_eq!(case.looks(4, requests(950.0), requests(50.0)).verdict, Verdict::Pass);
    let mut case = Case::new(&["traffic_share < 0.5x asked"]);
    breached(&case.looks(3, requests(951.0), requests(49.0)));
}

#[test]
fn at_100_percent_what_stable_still_finishes_is_no_missing_share() {
    let mut case = Case::new(&["traffic_share < 0.5x asked"]).at_share(100.0);
    let judgement = case.looks(4, [900.0, 0.0, 0.0, 0.0, 0.0], GOOD);
    assert_eq!(judgement.verdict, Verdict::Pass);
    assert_eq!((reading(&judgement).seen, reading(&judgement).limit), (None, Some(0.5)));
}

#[test]
fn what_stable_still_finishes_at_100_percent_is_no_baseline() {
    let case = |condition| Case::new(&[condition]).at_share(100.0);
    for (condition, both) in [("error_rate > 5%", FAILING), ("response_time_p95 > 1000ms", SLOW)] {
        let judgement = case(condition).looks(3, both, both);
        assert_eq!(breached(&judgement).baseline, None, "{condition}");
    }
}

#[test]
fn a_baseline_without_requests_can_excuse_nothing_but_failed_probes_can() {
    for (condition, bad) in [("error_rate > 5%", FAILING), ("response_time_p95 > 1000ms", SLOW)] {
        // failed and sent probes of stable, whether it is a shared incident
        for (failed, sent, shared) in [(0, 0, false), (0, 4, false), (1, 4, false), (2, 4, true)] {
            let mut case = Case::new(&[condition]);
            case.look.probes.baseline = ProbeCount { failed, sent };
            let judgement = case.looks(3, SILENT, bad);
            assert_eq!(reading(&judgement).baseline, None);
            if shared {
                assert!(unknown(&judgement)[0].contains("shared incident"), "{failed} of {sent}");
            } else {
                breached(&judgement);
            }
        }
    }
}

#[test]
fn a_limit_between_two_bounds_is_compared_with_what_is_read_between_them() {
    // p95 of SLOWER_THAN_GOOD lies between 500 and 1000 ms, p50 of GOOD at 50 ms exactly
    let fast = [100.0, 0.0, 0.0, 0.0, 0.0];
    let table = [
        ("response_time_p95 > 600ms", SLOWER_THAN_GOOD, true),
        ("response_time_p95 > 900ms", SLOWER_THAN_GOOD, false),
        ("response_time_p50 > 50ms", fast, false),
        ("response_time_p50 > 49ms", fast, true),
    ];
    for (condition, candidate, broken) in table {
        let judgement = Case::new(&[condition]).looks(3, SILENT, candidate);
        let breach = matches!(judgement.verdict, Verdict::Breach { .. });
        assert_eq!(breach, broken, "{condition}: {judgement:?}");
    }
}

#[test]
fn a_limit_at_a_bound_counts_what_is_slower() {
    // slower than 100, 500, 1000 ms of 100 requests
    let table = [
        ("response_time_p50 > 500ms", [100.0, 50.0, 0.0], false), // exactly half is not more
        ("response_time_p50 > 500ms", [100.0, 51.0, 0.0], true),
        ("response_time_p95 > 100ms", [4.0, 0.0, 0.0], false),
        ("response_time_p95 > 100ms", [6.0, 0.0, 0.0], true),
        ("response_time_p95 > 500ms", [90.0, 4.0, 0.0], false),
        ("response_time_p95 > 500ms", [90.0, 6.0, 6.0], true),
        ("response_time_p95 > 1000ms", [90.0, 80.0, 4.0], false),
        ("response_time_p95 > 1000ms", [90.0, 80.0, 6.0], true),
    ];
    for (condition, [a, b, c], broken) in table {
        let judgement = Case::new(&[condition]).looks(3, SILENT, [100.0, 0.0, a, b, c]);
        let breach = matches!(judgement.verdict, Verdict::Breach { .. });
        assert_eq!(breach, broken, "{condition} {a} {b} {c}");
    }
}

#[test]
fn a_response_time_is_the_candidates_own_from_a_tenth_above_the_baselines() {
    let mut case = Case::new(&["response_time_p95 > 400ms"]);
    let a_little_slower = [100.0, 0.0, 60.0, 0.0, 0.0]; // p95 437 ms, the baseline's 425 ms
    assert!(unknown(&case.looks(3, GOOD, a_little_slower))[0].contains("shared incident"));
    let mut case = Case::new(&["response_time_p95 > 400ms"]);
    breached(&case.looks(3, GOOD, SLOWER_THAN_GOOD));
}

#[test]
fn an_error_rate_is_the_candidates_own_from_half_above_the_baselines() {
    let errors = |count| [100.0, count, 50.0, 0.0, 0.0];
    let mut case = Case::new(&["error_rate > 5%"]);
    assert!(unknown(&case.looks(3, errors(10.0), errors(14.0)))[0].contains("shared incident"));
    let mut case = Case::new(&["error_rate > 5%"]);
    breached(&case.looks(3, errors(10.0), errors(16.0)));
}

#[test]
fn a_relative_limit_is_printed_as_the_number_that_it_is_now() {
    let mut case = Case::new(&["error_rate > 2x baseline"]);
    let judgement = case.looks(3, [100.0, 4.0, 0.0, 0.0, 0.0], [100.0, 25.0, 0.0, 0.0, 0.0]);
    let cause = breached(&judgement);
    assert_eq!(
        (cause.seen, cause.limit, cause.baseline),
        (Some(0.25), Some(0.08), Some(0.04)),
        "2 x 4 %"
    );
    let mut case = Case::new(&["response_time_p50 > 3x baseline"]);
    let fast = [100.0, 0.0, 0.0, 0.0, 0.0];
    let judgement = case.looks(3, fast, [100.0, 0.0, 100.0, 50.0, 0.0]);
    let cause = breached(&judgement);
    assert_eq!((cause.limit, cause.baseline), (Some(150.0), Some(50.0)), "3 x 50 ms");
}

#[test]
fn a_response_time_may_be_worse_by_the_ratio_and_no_more() {
    let a_little_slower = [100.0, 0.0, 60.0, 0.0, 0.0];
    let fast = [100.0, 0.0, 0.0, 0.0, 0.0]; // p50 50 ms
    let twice = [100.0, 0.0, 50.0, 0.0, 0.0]; // p50 100 ms
    let table = [
        ("response_time_p95 > 1.1x baseline", GOOD, a_little_slower, false),
        ("response_time_p95 > 1.1x baseline", GOOD, SLOWER_THAN_GOOD, true),
        ("response_time_p50 > 2x baseline", fast, twice, false),
        ("response_time_p50 > 1.9x baseline", fast, twice, true),
    ];
    for (condition, baseline, candidate, broken) in table {
        let judgement = Case::new(&[condition]).looks(3, baseline, candidate);
        let breach = matches!(judgement.verdict, Verdict::Breach { .. });
        assert_eq!(breach, broken, "{condition}: {judgement:?}");
    }
}

#[test]
fn a_response_time_is_compared_only_with_a_baseline_of_enough_requests() {
    let few = [16.0, 0.0, 8.0, 0.0, 0.0]; // 48 in the window
    let mut case = Case::new(&["response_time_p95 > 1.1x baseline"]);
    assert_eq!(unknown(&case.looks(3, few, SLOWER_THAN_GOOD)), ["no data from the baseline"]);
}

#[test]
fn five_errors_more_than_the_baseline_explains_are_a_ratio() {
    let errors = |count| [100.0, count, 50.0, 0.0, 0.0];
    // the window is one look wide, so that it holds exactly these
    for (candidate, broken) in [(6.0, false), (7.0, true)] {
        let mut case = Case::new(&["error_rate > 2x baseline"]);
        case.judge.window_s = 5.0;
        let judgement = case.looks(3, errors(1.0), errors(candidate));
        let breach = matches!(judgement.verdict, Verdict::Breach { .. });
        assert_eq!(breach, broken, "{candidate} where 2 are explained");
    }
}

#[test]
fn queries_may_breach_on_either_side() {
    for (condition, value, broken) in [
        ("free_slots < 10", 9.0, true),
        ("free_slots < 10", 10.0, false),
        ("free_slots < 10", 11.0, false),
        ("free_slots > 10", 11.0, true),
        ("free_slots > 10", 10.0, false),
    ] {
        let mut case = Case::new(&[condition]);
        case.look.queries.insert("free_slots".into(), Answer::Value(value));
        let judgement = case.looks(3, GOOD, GOOD);
        assert_eq!(matches!(judgement.verdict, Verdict::Breach { .. }), broken, "{condition}");
        assert_eq!(
            (reading(&judgement).seen, reading(&judgement).limit),
            (Some(value), Some(10.0))
        );
    }
    let judgement = Case::new(&["free_slots < 10"]).looks(1, GOOD, GOOD);
    assert_eq!(unknown(&judgement), ["no data from the query free_slots"]);
}

#[test]
fn at_share_0_health_and_queries_can_breach_and_nothing_else_is_read() {
    let conditions = ["error_rate > 5%", "queue_depth > 200", "health_check_failures > 3"];
    let mut case = Case::new(&conditions).at_share(0.0);
    case.look.queries.insert("queue_depth".into(), Answer::Value(300.0));
    let judgement = case.looks(3, GOOD, FAILING);
    let read: Vec<&str> = judgement.readings.iter().map(|r| r.condition.as_str()).collect();
    assert_eq!(read, ["queue_depth > 200", "health_check_failures > 3"]);
    assert_eq!(breached(&judgement).condition, "queue_depth > 200");
}

#[test]
fn failed_probes_are_counted_beside_the_baselines() {
    // candidate and baseline, failed and sent, in one look; what that is
    let table = [
        ((6, 12), (0, 0), "breach", None), // stable is not probed
        ((6, 12), (0, 12), "breach", Some(0.0)),
        ((6, 12), (5, 200), "breach", Some(5.0)),
        ((6, 12), (2, 12), "breach", Some(2.0)), // three times as often
        ((6, 12), (3, 12), "shared", Some(3.0)),
        ((60, 1200), (0, 1200), "kept", Some(0.0)), // one in twenty: flakes
        ((3, 3), (0, 12), "kept", Some(0.0)),       // not more than the limit
        ((4, 4), (0, 12), "breach", Some(0.0)),
    ];
    for (candidate, baseline, said, counted) in table {
        let mut case = Case::new(&["health_check_failures > 3"]);
        case.judge.looks = 1;
        let judgement = case.probed(candidate, baseline);
        let seen = match &judgement.verdict {
            Verdict::Breach { .. } => "breach",
            Verdict::Unknown { why } if matches!(why[0], Unknown::SharedIncident { .. }) => {
                "shared"
            }
            Verdict::Unknown { .. } | Verdict::Pass => "kept",
        };
        assert_eq!(seen, said, "{candidate:?} beside {baseline:?}");
        assert_eq!(reading(&judgement).baseline, counted);
        assert_eq!(reading(&judgement).requests, None, "they are no requests");
    }
}

#[test]
fn failed_probes_are_forgotten_after_their_window() {
    let mut case = Case::new(&["health_check_failures > 3"]);
    case.looks(10, GOOD, GOOD); // a minute is over only after the probes, not before
    let judgement = case.probed((6, 12), (0, 12));
    assert_eq!(reading(&judgement).seen, Some(6.0));
    case.look.probes = PerArm::default();
    let judgement = case.looks(11, GOOD, GOOD);
    assert_eq!(reading(&judgement).seen, Some(6.0), "55 s ago");
    let judgement = case.looks(1, GOOD, GOOD);
    assert_eq!(reading(&judgement).seen, Some(0.0), "a minute ago");
}

#[test]
fn the_window_of_probes_grows_with_their_interval_and_limit() {
    let with = |interval_s, conditions: &[&str]| {
        let conditions =
            conditions.iter().map(|text| crate::policy::parse_condition(text).unwrap()).collect();
        let mut plan = plan(conditions);
        plan.health_check = Some(crate::policy::HealthCheck {
            path: "/".into(),
            interval: Duration::from_secs(interval_s),
            threshold: 3,
            status: None,
            body: None,
            port: None,
        });
        Judge::new(&plan).health_window_s
    };
    assert_eq!(with(10, &["error_rate > 5%", "health_check_failures > 3"]), 80.0);
    assert_eq!(with(2, &["health_check_failures > 3"]), 60.0);
    assert_eq!(with(30, &["error_rate > 5%"]), 60.0);
}

#[test]
fn the_chance_of_flakes_is_the_tail_of_a_binomial_distribution() {
    // failed, sent, the chance of at least so many at 5 % each; from the closed form
    let table = [
        (0, 0, 1.0),
        (0, 5, 1.0),
        (1, 1, 0.05),
        (1, 2, 0.0975),
        (2, 2, 0.0025),
        (2, 3, 0.00725),
        (3, 4, 0.000_481_25),
        (9, 4, 0.0),
    ];
    for (failed, sent, chance) in table {
        let seen = more_than_flakes(ProbeCount { failed, sent });
        assert!((seen - chance).abs() < 1e-5, "{failed} of {sent}: {seen} is not {chance}");
    }
}

// ---- health

#[test]
fn health_alone_needs_four_good_probes_of_every_instance_in_a_row() {
    let mut case = Case::new(&["health_check_failures > 3"]).at_share(0.0);
    case.look.expected.candidate = 2;
    assert_eq!(unknown(&case.probed((0, 7), (0, 0))), ["collecting health probes"]);
    let judgement = case.probed((0, 1), (0, 0));
    assert_eq!((&judgement.verdict, judgement.healthy), (&Verdict::Pass, true));
    let judgement = case.probed((1, 4), (0, 0));
    assert_eq!(unknown(&judgement), ["collecting health probes"]);
    assert!(!judgement.healthy);
    case.probed((0, 4), (0, 0));
    assert!(!case.probed((0, 3), (0, 0)).healthy);
    assert!(case.probed((0, 1), (0, 0)).healthy);
    case.look.stage = 1;
    assert!(!case.probed((0, 1), (0, 0)).healthy, "a new stage proves itself anew");
}

#[test]
fn what_is_not_probed_at_all_needs_no_good_probes() {
    let mut case = Case::new(&["health_check_failures > 3"]).at_share(0.0);
    assert_eq!(case.looks(1, SILENT, SILENT).verdict, Verdict::Pass, "ready is all there is");
    assert_eq!(unknown(&case.probed((0, 0), (0, 2))), ["collecting health probes"]);
    case.look.probes = PerArm::default();
    let judgement = case.looks(1, SILENT, SILENT); // a look between two probes
    assert_eq!(unknown(&judgement), ["collecting health probes"]);
}

#[test]
fn without_an_instance_nobody_is_healthy() {
    for share in [0.0, 10.0] {
        let mut case = Case::new(&["health_check_failures > 3"]).at_share(share);
        case.look.expected.candidate = 0;
        let judgement = case.looks(1, GOOD, GOOD);
        assert_eq!(unknown(&judgement), ["collecting health probes"], "{share}");
        assert!(!judgement.healthy);
    }
}

#[test]
fn under_suspicion_nobody_is_healthy() {
    let mut case = Case::new(&["error_rate > 5%"]);
    assert!(case.looks(1, GOOD, GOOD).healthy);
    assert!(!case.looks(1, GOOD, [100.0, 100.0, 0.0, 0.0, 0.0]).healthy);
}

fn sample() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => (0u32..5000).prop_map(f64::from),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(-1.0),
    ]
}

proptest! {
    #[test]
    fn dirty_data_is_never_a_panic_nor_a_pass_without_requests(
        looks in prop::collection::vec(
            (prop::collection::vec(sample(), 0..7), prop::collection::vec(sample(), 0..7), 0u16..=10_000, 0usize..3),
            1..40,
        )
    ) {
        let mut case = Case::new(&[
            "error_rate > 5%", "response_time_p95 > 1000ms", "error_rate > 1.3x baseline",
            "response_time_p95 > 1.1x baseline", "traffic_share < 0.5x asked", "health_check_failures > 3",
        ]);
        for (baseline, candidate, share, stage) in looks {
            case.look.at_s += 5.0;
            case.look.stage = stage;
            case.look.share = Share::from_basis_points(share).unwrap();
            case.look.baseline = BTreeMap::from([("b".to_owned(), Counters(baseline))]);
            case.look.candidate = BTreeMap::from([("c".to_owned(), Counters(candidate))]);
            let judgement = case.judge.judge(&case.look);
            for reading in &judgement.readings {
                for value in [reading.seen, reading.limit, reading.baseline].into_iter().flatten() {
                    prop_assert!(value.is_finite(), "{reading:?}");
                }
            }
            if judgement.verdict == Verdict::Pass && share > 0 {
                prop_assert!(judgement.stage_requests >= 50);
            }
            let stored: Judge = serde_json::from_str(&serde_json::to_string(&case.judge).unwrap()).unwrap();
            prop_assert_eq!(&stored, &case.judge);
        }
    }
}
