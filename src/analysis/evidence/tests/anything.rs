//! Whatever comes: no panic, no number that is none, no pass without requests, no state that grows.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::process::Evidence;
use super::super::recording::Sample;
use super::super::{Header, Judge, Line, Part, StageTimes, VerdictLine};
use super::golden::{judge_of, names};
use super::{ALL, conditions};
use crate::analysis::{JudgedOn, PerArm, ProbeCount};

/// Bytes of state that a promotion with 16 baseline pods and 6 bounds may have.
const STATE_MAX: usize = 64 * 1024;
const BOUNDS: [f64; 4] = [100.0, 500.0, 1000.0, 2500.0];
const POLICIES: [&[&str]; 4] = [
    &ALL,
    &["error_rate > 45%", "response_time_p50 > 150ms"],
    &["error_rate > 3x baseline", "response_time_p99 > 10x baseline", "traffic_share < 0.9x asked"],
    &["health_check_failures > 0"],
];

fn number() -> impl Strategy<Value = f64> {
    let senseless = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -0.0, 9e15, 1e300];
    prop_oneof![
        20 => (0u32..2000).prop_map(f64::from),
        1 => any::<f64>(),
        1 => prop::sample::select(senseless.to_vec()),
    ]
}

fn sample() -> impl Strategy<Value = Sample> {
    prop_oneof![
        1 => Just(None),
        1 => prop::collection::vec(number(), 0..8).prop_map(Some),
        20 => prop::collection::vec(number(), 2 + BOUNDS.len()).prop_map(Some),
    ]
}

fn pods() -> impl Strategy<Value = BTreeMap<String, Sample>> {
    prop::collection::btree_map((0u8..5).prop_map(|pod| format!("p{pod}")), sample(), 0..5)
}

fn probes() -> impl Strategy<Value = Option<ProbeCount>> {
    let any =
        (any::<u64>(), any::<u64>()).prop_map(|(failed, sent)| Some(ProbeCount { failed, sent }));
    let usual = (0u64..4).prop_map(|failed| Some(ProbeCount { failed, sent: 3 }));
    prop_oneof![1 => Just(None), 1 => any, 8 => usual]
}

prop_compose! {
    fn line()(
        at_s in prop_oneof![30 => 0.0..40.0f64, 1 => number(), 1 => Just(f64::NAN)],
        stage in prop::option::of(prop_oneof![10 => 0usize..3, 1 => any::<usize>()]),
        share in prop::option::of(prop_oneof![
            10 => prop::sample::select(vec![0.0, 0.05, 0.5, 1.0]), 1 => number()
        ]),
        samples in (pods(), pods()),
        expected in (prop::option::of(0u32..6), prop::option::of(prop_oneof![0u32..3, any::<u32>()])),
        probes in (probes(), probes()),
    ) -> Line {
        Line {
            at_s: Some(at_s),
            stage,
            share,
            samples: PerArm { baseline: samples.0, candidate: samples.1 },
            expected: PerArm { baseline: expected.0, candidate: expected.1 },
            probes: PerArm { baseline: probes.0, candidate: probes.1 },
            healthy: None,
        }
    }
}

/// Steps between looks to times; a number that is none, or jumps, stays as it is.
fn times(mut lines: Vec<Line>) -> Vec<Line> {
    let mut now = -100.0;
    for line in &mut lines {
        if let Some(step) = line.at_s.filter(|step| (0.0..40.0).contains(step)) {
            now += step;
            line.at_s = Some(now);
        }
    }
    lines
}

fn header(interval_s: f64) -> Header {
    let stage = |share| StageTimes { share: Some(share), ..StageTimes::default() };
    Header::new(BOUNDS.to_vec(), interval_s, [0.0, 0.05, 0.5].map(stage).to_vec())
}

/// Judges a line and checks what comes out.
fn look(judge: &mut Judge, line: &Line) {
    if let Some(looked) = judge.take(line) {
        let evidence = looked.provisional.as_deref().unwrap_or(&judge.evidence);
        makes_sense(evidence, &judge.verdict_line(&looked));
    }
}

fn makes_sense(evidence: &Evidence, verdict: &VerdictLine) {
    let VerdictLine { log_e, confidence, may_pass, no_data, .. } = *verdict;
    assert!(log_e.is_finite(), "{verdict:?}");
    for part in Part::ALL {
        assert!(verdict.log_e_parts.get(part).is_none_or(f64::is_finite), "{verdict:?}");
    }
    assert!((0.0..=1.0).contains(&confidence) && !(may_pass && no_data), "{verdict:?}");
    if may_pass && verdict.judged_on == JudgedOn::All {
        assert!(evidence.pass.seen().all > 0.0, "a pass without requests: {verdict:?}");
    }
    for reading in evidence.readings() {
        for number in [reading.seen, reading.limit, reading.baseline] {
            assert!(number.is_none_or(f64::is_finite), "{reading:?}");
        }
    }
    let used = evidence.used();
    assert!(used.iter().all(|used| *used <= 1.0 + 1e-9), "{used:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_lines_at_all(
        lines in prop::collection::vec(line(), 1..60).prop_map(times),
        policy in 0..POLICIES.len(),
        interval_s in prop::sample::select(vec![1.0, 5.0, 15.0, 20.0, 60.0]),
    ) {
        let mut judge = Judge::new(&conditions(POLICIES[policy]), &header(interval_s)).unwrap();
        for line in &lines {
            look(&mut judge, line);
        }
        let text = serde_json::to_string(&judge).unwrap();
        prop_assert_eq!(serde_json::from_str::<Judge>(&text).unwrap(), judge);
    }

    #[test]
    fn recordings_with_holes_and_dirt(
        recording in prop::sample::select(names()),
        seeds in prop::collection::vec(any::<u8>(), 20..60),
        dirt in prop::collection::vec(line(), 3),
    ) {
        let (mut judge, lines) = judge_of(&recording);
        for (n, line) in lines.iter().enumerate() {
            let mut line = line.clone();
            match seeds[n % seeds.len()] {
                0..20 => continue,
                20..30 => line.at_s = line.at_s.map(|at| at - 20.0),
                30..40 => line.samples.candidate.clear(),
                40..50 => line.samples.baseline.clear(),
                50..60 => line.samples.candidate.clone_from(&dirt[n % 3].samples.candidate),
                60..65 => line.probes = dirt[n % 3].probes,
                65..68 => line.expected = dirt[n % 3].expected,
                68..70 => line.share = dirt[n % 3].share,
                70..=255 => {}
            }
            look(&mut judge, &line);
        }
    }

    #[test]
    fn any_text_is_a_line(text in "\\PC*", json in "[\\[{\":,a-z0-9eE.\\-}\\]]{0,60}") {
        for text in [text, json] {
            let _ = Header::parse(&text);
            let line = Line::parse(&text);
            let mut judge = Judge::new(&conditions(&ALL), &header(5.0)).unwrap();
            let verdict = judge.look(&line);
            prop_assert!(verdict.is_none() || line.at_s.is_some());
        }
    }
}

#[test]
fn a_senseless_time_costs_a_day_of_blocks_at_most() {
    let mut judge = Judge::new(&conditions(&ALL), &header(5.0)).unwrap();
    let at = |at_s: f64| Line { at_s: Some(at_s), stage: Some(1), ..Line::default() };
    for at_s in [-1e300, -1e12, 5.0, 1e12, 1e300, f64::MAX] {
        look(&mut judge, &at(at_s));
    }
}

#[test]
fn the_state_of_16_pods_and_6_bounds_is_small() {
    let bounds = vec![50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0];
    let header = Header { bounds_ms: bounds, ..header(15.0) };
    let mut judge = Judge::new(&conditions(&ALL), &header).unwrap();
    let mut dice = super::dice::Dice(7);
    let mut counters: Vec<Vec<f64>> = vec![vec![0.0; 8]; 20];
    for look in 0..400 {
        for (pod, counters) in counters.iter_mut().enumerate() {
            let errors = if look > 300 && pod >= 16 { 0.05 } else { 0.01 };
            let n = dice.poisson(200.0);
            counters[0] += n;
            for (k, p) in [errors, 0.9, 0.6, 0.06, 0.03, 0.01, 0.001].into_iter().enumerate() {
                counters[1 + k] += dice.binomial(n, p);
            }
        }
        let pods = |arm: &str, of: &[Vec<f64>]| {
            let name = |n| format!("checkout-{arm}-7d9f8b6c54-x2x{n:02}");
            of.iter().enumerate().map(|(n, c)| (name(n), Some(c.clone()))).collect()
        };
        let line = Line {
            at_s: Some(15.0 * f64::from(look) - 1500.0),
            share: Some(0.2),
            stage: Some(2),
            samples: PerArm {
                baseline: pods("stable", &counters[..16]),
                candidate: pods("candidate", &counters[16..]),
            },
            expected: PerArm { baseline: Some(16), candidate: Some(4) },
            probes: PerArm::default(),
            healthy: None,
        };
        judge.look(&line);
    }
    let bytes = serde_json::to_string(&judge).unwrap().len();
    println!("{bytes} bytes of state");
    assert!(bytes <= STATE_MAX, "{bytes} bytes");
}
