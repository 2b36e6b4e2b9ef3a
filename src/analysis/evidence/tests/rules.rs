//! The rules of time, policies, arms and stages that the recordings don't show one by one.

use serde_json::Value;

use super::super::blocks::blocks_in;
use super::super::{Header, Judge, Line, Part, Refused, StageTimes, Word};
use super::golden::judge_of;
use super::story::{CALM, Step, Story};
use super::{ALL, conditions};
use crate::analysis::PerArm;
use crate::policy::{Condition, Quantile};

fn header(bounds: &[f64], interval_s: f64) -> Header {
    Header::new(bounds.to_vec(), interval_s, Vec::new())
}

fn refused(policy: &[&str], header: &Header) -> Option<Refused> {
    Judge::new(&conditions(policy), header).err()
}

#[test]
fn refuses_what_could_never_pass_or_breach() {
    let good = header(&[100.0, 1000.0], 15.0);
    assert_eq!(refused(&ALL, &good), None);
    let cases: [(&[&str], &str); 4] = [
        (&[], "there is no condition"),
        (&["error_rate > 5%", "error_rate > 6%"], "a second limit of this kind"),
        (&["response_time_p95 > 1s", "response_time_p99 > 1s"], "a second limit of this kind"),
        (&["response_time_p95 > 1001ms"], "no latency bounds around 1001 ms"),
    ];
    for (policy, message) in cases {
        let said = refused(policy, &good).map(|e| e.to_string()).unwrap_or_default();
        assert!(said.contains(message), "{policy:?}: {said}");
    }
}

/// A policy's reader refuses these as well; the judge trusts nobody.
#[test]
fn refuses_limits_beyond_their_range() {
    let quantile = Quantile::parse("95").unwrap();
    for (condition, message) in [
        (Condition::ErrorRate { limit: 0.0 }, "an error limit lies above"),
        (Condition::ErrorRate { limit: 0.95 }, "an error limit lies above"),
        (Condition::ErrorRateRatio { ratio: 1.01 }, "a ratio lies between"),
        (Condition::ResponseTimeRatio { quantile, ratio: 11.0 }, "a ratio lies between"),
        (Condition::TrafficShare { factor: 2.0 }, "the factor lies between"),
    ] {
        let refused = Judge::new(std::slice::from_ref(&condition), &header(&[100.0, 1000.0], 15.0));
        let said = refused.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(said.contains(message), "{condition}: {said}");
    }
}

#[test]
fn refuses_headers_that_make_no_sense() {
    let latency = ["response_time_p95 > 1000ms"];
    let one_stage = |stage| Header { stages: vec![stage], ..header(&[100.0, 1000.0], 15.0) };
    let cases = [
        (header(&[100.0, 1000.0], 61.0), "samples every 61 s are too rare"),
        (header(&[100.0, 1000.0], f64::NAN), "interval_s"),
        (header(&[], 15.0), "at least two latency bounds"),
        (header(&[1000.0], 15.0), "at least two latency bounds"),
        (header(&[1000.0, 100.0], 15.0), "rising"),
        (Header { schema: "x".into(), ..header(&[100.0, 1000.0], 15.0) }, "its schema is"),
        (one_stage(StageTimes { share: Some(1.5), ..StageTimes::default() }), "a share lies"),
        (one_stage(StageTimes { hold_s: Some(f64::INFINITY), ..StageTimes::default() }), "hold_s"),
    ];
    for (header, message) in cases {
        let said = refused(&latency, &header).map(|e| e.to_string()).unwrap_or_default();
        assert!(said.contains(message), "{header:?}: {said}");
    }
    assert_eq!(
        refused(&["error_rate > 5%", "health_check_failures > 3"], &header(&[], 15.0)),
        None
    );
    assert!(Header::parse("{}").is_err() && Header::parse("[").is_err());
}

#[test]
fn gauges_are_not_for_this_judge() {
    let query = crate::policy::Condition::Query {
        name: "queue_depth".into(),
        comparison: crate::policy::Comparison::Above,
        limit: 200.0,
    };
    let refused = Judge::new(&[query], &header(&[], 15.0)).err();
    assert!(matches!(refused, Some(Refused::NotForThisJudge { .. })), "{refused:?}");
}

#[test]
fn alpha_is_shared_by_the_parts_present() {
    let weights = |policy: &[&str]| {
        let judge = Judge::new(&conditions(policy), &header(&[100.0, 1000.0], 15.0)).unwrap();
        judge.evidence.limits.weights
    };
    let seed = weights(&["error_rate > 5%", "response_time_p95 > 1s", "health_check_failures > 3"]);
    let present: Vec<Part> = Part::ALL.into_iter().filter(|p| seed.get(*p).is_some()).collect();
    assert_eq!(present, [Part::ErrAbs, Part::LatAbs, Part::Disaster, Part::Health]);
    let sum: f64 = Part::ALL.iter().filter_map(|part| seed.get(*part)).sum();
    assert!((sum - 1.0).abs() < 1e-12);
    assert_eq!(weights(&["error_rate > 45%"]).get(Part::Disaster), None);
    assert!((weights(&ALL).get(Part::ErrRel).unwrap() - 0.35).abs() < 1e-12);
}

#[test]
fn a_disaster_lies_far_above_the_limit() {
    let rates = |limit: &str| {
        let judge = Judge::new(&conditions(&[limit]), &header(&[], 15.0)).unwrap();
        judge.evidence.limits.disaster_rates()
    };
    assert_eq!(rates("error_rate > 20%"), [0.5, 0.7, 0.95]);
    assert_eq!(rates("error_rate > 25%"), [0.7, 0.95]);
    assert_eq!(rates("error_rate > 45%"), [0.0; 0]);
}

#[test]
fn seconds_become_blocks() {
    let cases = [
        (30.0, 15.0, 1, 2),
        (30.0, 60.0, 1, 1),
        (60.0, 60.0, 2, 2),
        (61.0, 15.0, 1, 5),
        (0.0, 15.0, 1, 1),
    ];
    for (seconds, block, least, blocks) in cases {
        assert_eq!(blocks_in(seconds, block, least), blocks, "{seconds} s in blocks of {block} s");
    }
    for (interval, block, cells, bake) in [
        (5.0, 15.0, vec![1, 4, 16], 4),
        (30.0, 30.0, vec![1, 2, 8], 2),
        (60.0, 60.0, vec![1, 4], 2),
    ] {
        let judge = Judge::new(&conditions(&ALL), &header(&[100.0, 1000.0], interval)).unwrap();
        let state: Value = serde_json::to_value(&judge).unwrap();
        assert_eq!(state["block_s"], block);
        let scales = state["base"]["errors"]["dispersion"]["scales"].as_array().unwrap();
        let lengths: Vec<u64> = scales.iter().map(|s| s["length"].as_u64().unwrap()).collect();
        assert_eq!(lengths, cells, "looks every {interval} s");
        assert_eq!(state["evidence"]["bake"], bake, "looks every {interval} s");
    }
}

/// Every third of the looks, with the probes of the two before it.
fn coarse(lines: &[Line]) -> Vec<Line> {
    let merged = |three: &[Line]| {
        let mut last = three[2].clone();
        let count = |arm: fn(&Line) -> crate::analysis::ProbeCount| crate::analysis::ProbeCount {
            failed: three.iter().map(|l| arm(l).failed).sum(),
            sent: three.iter().map(|l| arm(l).sent).sum(),
        };
        last.probes.baseline = Some(count(|l| l.probes.baseline.unwrap()));
        last.probes.candidate = Some(count(|l| l.probes.candidate.unwrap()));
        last
    };
    lines.chunks_exact(3).map(merged).collect()
}

#[test]
fn looks_inside_a_block_leave_no_trace() {
    let (mut fine, lines) = judge_of("n01-5s-one-pod-each");
    // Both begin at the same sample, which is a reference point.
    let first = lines.iter().position(|l| l.at_s == Some(-105.0)).unwrap();
    let mut rare = fine.clone();
    let mut committed: Vec<_> = lines[first..].iter().filter_map(|l| fine.look(l)).collect();
    committed.retain(|v| v.committed);
    let start = vec![lines[first].clone()];
    let rare: Vec<_> =
        [start, coarse(&lines[first + 1..])].concat().iter().filter_map(|l| rare.look(l)).collect();
    assert_eq!(committed.len(), rare.len());
    assert!(rare.iter().any(|v| v.verdict == Word::Breach));
    for (a, b) in committed.iter().zip(&rare) {
        assert_eq!(a.at_s, b.at_s);
        assert!((a.log_e - b.log_e).abs() < 1e-9, "at {}", a.at_s);
    }
}

#[test]
fn a_calm_release_passes_at_the_end_of_its_bake() {
    let mut story = Story::new(&ALL, 0.33, 5.0);
    assert_eq!(story.tell_until(CALM, "passed"), 12);
    assert_eq!(story.tell(CALM).verdict, Word::Pass);
}

#[test]
fn without_requests_nothing_is_proven() {
    for (policy, reasons) in
        [(&ALL[..], ["bake", "collecting_evidence"]), (&ALL[3..4], ["bake", "collecting_evidence"])]
    {
        let mut story = Story::new(policy, 0.1, 15.0);
        let verdicts: Vec<_> =
            (0..200).map(|_| story.tell(Step { requests: 0.0, ..CALM })).collect();
        assert!(verdicts.iter().all(|v| v.verdict == Word::Unknown && v.log_e.is_finite()));
        let mut said: Vec<String> = verdicts.iter().map(|v| v.reason.to_string()).collect();
        said.dedup();
        assert_eq!(said, reasons);
    }
}

#[test]
fn an_outage_of_the_source_is_no_data_and_loses_nothing() {
    let mut story = Story::new(&ALL, 0.33, 15.0);
    story.tell_until(CALM, "passed");
    let kept = (story.look.baseline.clone(), story.look.candidate.clone());
    story.look.baseline.clear();
    story.look.candidate.clear();
    assert_eq!(story.tell_until(CALM, "no_data"), 4);
    (story.look.baseline, story.look.candidate) = kept;
    assert_eq!(story.tell(CALM).verdict, Word::Pass);
}

#[test]
fn a_breach_stays() {
    let mut story = Story::new(&ALL, 0.33, 15.0);
    let errors = PerArm { baseline: 0.0, candidate: 0.2 };
    assert_eq!(story.tell_until(Step { errors, ..CALM }, "breach:err_rel"), 3);
    let later: Vec<_> = (0..100).map(|_| story.tell(CALM)).collect();
    assert!(later.iter().all(|v| v.verdict == Word::Breach && v.confidence >= 0.99));
}

#[test]
fn a_shared_incident_is_not_the_candidates() {
    let mut story = Story::new(&ALL, 0.33, 15.0);
    let errors = PerArm { baseline: 0.3, candidate: 0.3 };
    story.tell_until(Step { errors, ..CALM }, "shared_incident");
}

#[test]
fn before_the_switch_health_alone_decides() {
    let mut story = Story::of_stages(&ALL, &[0.0, 1.0], 15.0);
    let none = Step { requests: 0.0, ..CALM };
    assert_eq!(story.tell_until(none, "passed"), 4);
    let failed = PerArm { baseline: 0, candidate: 3 };
    story.tell_until(Step { failed, ..none }, "breach:health");
    // A prober that fails for both says nothing of the candidate.
    let mut story = Story::of_stages(&ALL, &[0.0, 1.0], 15.0);
    let failed = PerArm { baseline: 3, candidate: 3 };
    let said: Vec<_> = (0..40).map(|_| story.tell(Step { failed, ..none })).collect();
    assert!(said.iter().all(|v| v.verdict == Word::Unknown));
}

#[test]
fn a_hanging_candidate_misses_its_share() {
    let mut story = Story::new(&ALL, 0.5, 15.0);
    story.tell_until(CALM, "passed");
    // It goes on reporting, but no request ends.
    let frozen = story.look.candidate.clone();
    let mut word = String::new();
    for _ in 0..20 {
        story.pass(CALM);
        story.look.candidate.clone_from(&frozen);
        word = story.judge.look(&Line::from(&story.look)).unwrap().reason.to_string();
    }
    assert_eq!(word, "breach:share");
}
