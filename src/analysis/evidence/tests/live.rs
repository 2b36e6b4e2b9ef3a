//! The seam: looks in, judgements out.

use super::super::super::{Cause, JudgedOn, Judgement, Unknown, Verdict};
use super::ALL;
use super::story::{CALM, Step, Story};
use crate::analysis::PerArm;

fn judge(story: &mut Story, step: Step) -> Judgement {
    story.pass(step);
    story.judge.judge_live(&story.look)
}

fn judge_until(story: &mut Story, step: Step, done: impl Fn(&Verdict) -> bool) -> Judgement {
    const MOST: usize = 200;
    (0..MOST).map(|_| judge(story, step)).find(|j| done(&j.verdict)).unwrap()
}

fn close(a: Option<f64>, b: f64, tolerance: f64) -> bool {
    a.is_some_and(|a| (a - b).abs() <= tolerance)
}

#[test]
fn a_pass_needs_a_healthy_candidate_and_reads_every_condition() {
    let mut story = Story::new(&ALL, 0.33, 5.0);
    story.look.candidate_healthy = false;
    for _ in 0..40 {
        assert!(matches!(judge(&mut story, CALM).verdict, Verdict::Unknown { .. }));
    }
    assert_eq!(
        judge(&mut story, CALM).verdict,
        Verdict::Unknown { why: vec![Unknown::CollectingProbes] }
    );
    story.look.candidate_healthy = true;
    let judgement = judge(&mut story, CALM);
    assert_eq!((&judgement.verdict, judgement.judged_on), (&Verdict::Pass, JudgedOn::All));
    assert!(judgement.confidence.is_some_and(|c| (0.0..0.8).contains(&c)));
    let conditions: Vec<&str> = judgement.readings.iter().map(|r| r.condition.as_str()).collect();
    assert_eq!(conditions, ALL);
    let [errors, p95, probes, _, against, share] = &judgement.readings[..] else { panic!() };
    assert!(close(errors.seen, 0.0, 0.0) && close(errors.limit, 0.05, 0.0), "{errors:?}");
    assert_eq!(errors.requests, Some(4200));
    // 3 % of the requests are slower than 500 ms.
    assert!(
        p95.seen.is_some_and(|ms| (350.0..500.0).contains(&ms)) && p95.limit == Some(1000.0),
        "{p95:?}"
    );
    assert!(close(probes.seen, 0.0, 0.0) && probes.limit == Some(3.0));
    assert!(close(against.limit, 1.1 * against.baseline.unwrap(), 1e-9), "{against:?}");
    assert!(close(share.seen, 1.0 / 3.0, 1e-9) && close(share.limit, 0.165, 1e-9), "{share:?}");
    assert!(judgement.readings.iter().all(|r| r.unknown.is_none()));
}

#[test]
fn a_breach_names_its_causes_and_keeps_them() {
    let mut story = Story::new(&ALL, 0.33, 5.0);
    judge_until(&mut story, CALM, |v| *v == Verdict::Pass);
    let errors = PerArm { baseline: 0.0, candidate: 0.2 };
    let judgement =
        judge_until(&mut story, Step { errors, ..CALM }, |v| matches!(v, Verdict::Breach { .. }));
    let Verdict::Breach { causes } = &judgement.verdict else { panic!() };
    let Cause { condition, seen, limit, baseline, confidence, requests } = &causes[0];
    assert_eq!(condition, "error_rate > 1.3x baseline");
    assert!(seen.is_some_and(|s| s > 0.05) && close(*baseline, 0.0, 0.001), "{causes:?}");
    assert!(
        limit.is_some()
            && confidence.is_some_and(|c| c >= 0.99)
            && requests.is_some_and(|n| n > 100)
    );
    let later = judge(&mut story, CALM);
    assert_eq!(later.verdict, judgement.verdict);
}

#[test]
fn a_slow_release_is_told_in_milliseconds() {
    let mut story = Story::new(&["response_time_p95 > 1000ms"], 0.33, 5.0);
    let slow = Step { slower: 60.0, ..CALM };
    let judgement = judge_until(&mut story, slow, |v| matches!(v, Verdict::Breach { .. }));
    let Verdict::Breach { causes } = &judgement.verdict else { panic!() };
    assert_eq!(causes.len(), 1);
    assert!(
        causes[0].seen.is_some_and(|ms| ms > 1000.0) && causes[0].limit == Some(1000.0),
        "{causes:?}"
    );
    assert!(causes[0].baseline.is_some_and(|ms| ms < 500.0), "{causes:?}");
}

#[test]
fn what_is_unknown_has_a_reason() {
    let mut story = Story::new(&ALL, 0.33, 15.0);
    let first = judge(&mut story, CALM).verdict;
    assert_eq!(first, Verdict::Unknown { why: vec![Unknown::Judge { word: "bake".into() }] });
    // The same look again.
    let again = story.judge.judge_live(&story.look).verdict;
    let word = Unknown::Judge { word: "look_out_of_order".into() };
    assert_eq!(again, Verdict::Unknown { why: vec![word] });
    story.look.candidate.clear();
    story.look.missing = Some(Unknown::SourceDown { what: "refused".into() });
    let last = (0..6).map(|_| judge(&mut story, CALM).verdict).last();
    let why = vec![
        Unknown::SourceDown { what: "refused".into() },
        Unknown::NoData { arm: "candidate".into() },
    ];
    assert_eq!(last, Some(Verdict::Unknown { why }));
}

#[test]
fn requests_that_are_asked_for_are_counted() {
    let mut story = Story::new(&ALL[3..4], 0.33, 15.0);
    let few = Step { requests: 4.0, ..CALM };
    let judgement = (0..5).map(|_| judge(&mut story, few)).last().unwrap();
    let Verdict::Unknown { why } = &judgement.verdict else { panic!() };
    assert!(matches!(why[..], [Unknown::TooFewRequests { seen: 20, needed: 85..=120 }]), "{why:?}");
}

#[test]
fn before_it_has_users_a_candidate_is_judged_on_health() {
    let mut story = Story::of_stages(&ALL, &[0.0, 1.0], 5.0);
    let step = Step { requests: 0.0, ..CALM };
    let judgement = judge_until(&mut story, step, |v| *v == Verdict::Pass);
    assert_eq!(judgement.judged_on, JudgedOn::Health);
    assert!(judgement.readings[0].unknown.is_some());
}

#[test]
fn an_incident_of_both_names_the_condition() {
    let mut story = Story::new(&ALL, 0.33, 15.0);
    let errors = PerArm { baseline: 0.3, candidate: 0.3 };
    let shared = Unknown::SharedIncident { condition: "error_rate > 5%".into() };
    let step = Step { errors, ..CALM };
    judge_until(&mut story, step, |v| *v == Verdict::Unknown { why: vec![shared.clone()] });
}

#[test]
fn health_alone_ends_a_stage_only_without_traffic_and_suspicion() {
    const FEW: u64 = 50;
    let quiet = Step { requests: 1.0, ..CALM };
    let mut story = Story::new(&ALL, 0.33, 15.0);
    let when = (1..20).find(|_| {
        judge(&mut story, quiet);
        story.judge.passes_on_health(FEW)
    });
    assert_eq!(when, Some(4), "at the end of the bake");
    judge(&mut story, Step { failed: PerArm { baseline: 0, candidate: 1 }, ..quiet });
    assert!(!story.judge.passes_on_health(FEW), "a probe has failed");
    let mut story = Story::new(&ALL, 0.33, 15.0);
    judge_until(&mut story, CALM, |v| *v == Verdict::Pass);
    assert!(!story.judge.passes_on_health(FEW), "there is traffic");
}
