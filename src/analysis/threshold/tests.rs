use std::time::Duration;

use proptest::prelude::*;

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
