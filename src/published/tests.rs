//! The lines as they are printed: a change here is one that users and scripts notice.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::analysis::{Cause, JudgedOn, PerArm, ProbeCount, Unknown};
use crate::plan::{LOCAL_DEFAULTS, Release};
use crate::rollout::{
    Because, End, ParkedBecause, StageClock, TestersAre, Trouble, VerdictSeen, WayBack, Workload,
    outcome,
};

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

fn plan() -> Plan {
    let release =
        |name: &str| Release { name: name.into(), hash: name.into(), irreversible: false };
    let policy = crate::policy::shipped("canary").unwrap();
    let mut plan =
        Plan::new(&policy, "canary", "local/shop", release("v1"), release("v2"), LOCAL_DEFAULTS);
    plan.stages.truncate(2);
    plan.stages[1].approval = true;
    plan
}

fn state(phase: Phase) -> State {
    State { phase, ..State::new(at(0)) }
}

fn holding(stage: usize) -> Phase {
    Phase::Holding { stage, clock: StageClock { stood_ms: 5_000, ..clock(at(10)) } }
}

fn clock(since: DateTime<Utc>) -> StageClock {
    StageClock { since, stood_ms: 0, standing_since: None, approval_asked: None }
}

fn waiting() -> Waiting {
    Waiting { for_what: "the hold to be over".into(), until: Some(at(75)), on_person: false }
}

fn world() -> World {
    let workload = |revision: &str, ready| Workload {
        revision: revision.into(),
        ready,
        wanted: 2,
        sized_for: Share::FULL,
        trouble: None,
    };
    World {
        share: Share::from_percent(4.0),
        testers: TestersAre::Out,
        stable: workload("v1", 2),
        candidate: Some(workload("v2", 1)),
        retiring: false,
        last_assigned: None,
        connections: None,
    }
}

fn look() -> Look {
    let counters = |values: &[f64]| Counters(values.to_vec());
    Look {
        at_s: 35.0,
        stage: 0,
        share: Share::from_percent(5.0).unwrap(),
        baseline: BTreeMap::from([
            ("b0".into(), counters(&[900.0, 1.0, 20.0])),
            ("b1".into(), counters(&[800.0, 2.0, 10.0])),
        ]),
        candidate: BTreeMap::from([("c0".into(), counters(&[38.0, 2.0]))]),
        expected: PerArm { baseline: 2, candidate: 2 },
        probes: PerArm::<ProbeCount>::default(),
        candidate_healthy: true,
        queries: BTreeMap::new(),
        missing: None,
    }
}

fn judgement(verdict: Verdict) -> Judgement {
    let reading = Reading {
        condition: "error_rate > 5%".into(),
        seen: Some(0.0526),
        limit: Some(0.05),
        baseline: Some(0.0018),
        requests: Some(38),
        unknown: None,
    };
    Judgement {
        verdict,
        readings: vec![reading],
        confidence: Some(0.71),
        judged_on: JudgedOn::All,
        healthy: true,
        stage_requests: 38,
    }
}

fn status(state: &State, world: Option<&World>, judgement: Option<&Judgement>) -> PromotionStatus {
    let (plan, waiting, look) = (plan(), waiting(), look());
    PromotionStatus::new(&Standing {
        id: "p1",
        by: "ann",
        plan: &plan,
        state,
        waiting: &waiting,
        world,
        look: judgement.map(|judgement| (&look, judgement)),
        now: at(45),
    })
}

#[test]
fn an_event_is_one_flat_line() {
    let event = Event {
        event: EventName::StageEntered,
        at: at(10),
        stage: Some(1),
        share: Share::from_percent(5.0),
        message: "stage 1 of 2: 5 % of the traffic".into(),
    };
    let line = EventLine::new("p1", "local/shop", &event);
    assert_eq!(
        serde_json::to_value(&line).unwrap(),
        json!({
            "schema": "gate.event/v1", "event": "stage.entered", "at": "2027-01-15T08:00:10Z",
            "promotion": "p1", "target": "local/shop", "stage": 1, "stage_share": 0.05,
            "message": "stage 1 of 2: 5 % of the traffic"
        })
    );
}

#[test]
fn a_result_says_what_became_of_it() {
    let mut state = state(Phase::Ended { end: End::RolledBack });
    let cause = Cause {
        seen: Some(0.081),
        limit: Some(0.05),
        baseline: Some(0.001),
        confidence: Some(0.994),
        requests: Some(1234),
        ..Cause::in_words("error_rate > 5%")
    };
    state.share_seen = Some(at(10));
    state.back = Some(WayBack {
        because: Because::Breach(vec![cause]),
        decided: at(58),
        stage: Some(0),
        safe: Some(at(59)),
        last_assigned: Some(at(58) + chrono::TimeDelta::milliseconds(12)),
        drained: Some(at(58) + chrono::TimeDelta::milliseconds(340)),
        ineffective: false,
    });
    let line = ResultLine::new("p1", "local/shop", outcome(&plan(), &state, at(61)));
    assert_eq!(
        serde_json::to_value(&line).unwrap(),
        json!({
            "schema": "gate.result/v1", "id": "p1", "target": "local/shop",
            "result": "rolled_back", "exit_code": 3,
            "reason": "error_rate > 5%: 8.10 % seen, baseline 0.10 %, 1234 requests",
            "causes": [{
                "condition": "error_rate > 5%", "seen": 0.081, "limit": 0.05, "baseline": 0.001,
                "confidence": 0.994, "requests": 1234
            }],
            "stable_revision": "v1", "candidate_revision": "v2", "final_share": 0.0,
            "stages_passed": 0, "detected_after_s": 48.0, "safe_after_ms": 12,
            "drained_after_ms": 340, "duration_s": 61.0, "traffic": "safe", "observe_only": false
        })
    );
}

#[test]
fn what_was_not_started_changed_nothing() {
    let (reason, next) = ("another promotion runs".to_owned(), Some("gate status".to_owned()));
    let line =
        ResultLine::not_started("local/shop", ResultWord::Refused, 7, "v1", "v2", reason, next);
    let json = serde_json::to_value(&line).unwrap();
    let expected = [
        ("schema", json!("gate.result/v1")),
        ("id", Value::Null),
        ("result", json!("refused")),
        ("exit_code", json!(7)),
        ("reason", json!("another promotion runs")),
        ("next", json!("gate status")),
        ("stable_revision", json!("v1")),
        ("candidate_revision", json!("v2")),
        ("final_share", json!(0.0)),
        ("traffic", json!("unchanged")),
    ];
    for (key, value) in expected {
        assert_eq!(json[key], value, "{key}");
    }
    let back: ResultLine = serde_json::from_value(json).unwrap();
    assert_eq!(back, line);
}

#[test]
fn a_status_says_where_it_stands_and_what_it_waits_for() {
    let mut state = state(holding(0));
    state.verdict = Some(VerdictSeen { word: VerdictWord::Unknown, evidence_lost: false });
    let why = vec![Unknown::TooFewRequests { seen: 38, needed: 50 }, Unknown::CollectingProbes];
    let judgement = judgement(Verdict::Unknown { why });
    let mut status = status(&state, Some(&world()), Some(&judgement));
    assert_eq!(status.sample.as_ref().unwrap().bounds_ms, plan().judge.bounds_ms);
    status.sample.as_mut().unwrap().bounds_ms = vec![100.0];
    assert_eq!(
        serde_json::to_value(&status).unwrap(),
        json!({
            "id": "p1", "release": "v2", "started": "2027-01-15T08:00:00Z", "by": "ann",
            "policy_source": "canary", "phase": "holding", "stage": 1,
            "stages": [
                { "stage_share": 0.05, "hold_s": 60.0, "deadline_s": 600.0, "approval": false },
                { "stage_share": 0.25, "hold_s": 60.0, "deadline_s": 600.0, "approval": true },
            ],
            "stages_passed": 0, "asked_share": 0.05, "seen_share": 0.04, "held_s": 30.0,
            "waiting": {
                "for_what": "the hold to be over", "until": "2027-01-15T08:01:15Z",
                "on_person": false
            },
            "verdict": "unknown",
            "unknown": [
                "38 of the 50 requests that a verdict needs", "collecting health probes"
            ],
            "readings": [{
                "condition": "error_rate > 5%", "seen": 0.0526, "limit": 0.05, "baseline": 0.0018,
                "requests": 38, "unknown": null
            }],
            "confidence": 0.71, "candidate_ready": [1, 2], "trouble": null,
            "sample": {
                "at_s": 35.0, "bounds_ms": [100.0], "baseline": [1700.0, 3.0, 30.0],
                "candidate": [38.0, 2.0]
            }
        })
    );
    let stored = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<PromotionStatus>(&stored).unwrap(), status);
}

#[test]
fn what_is_not_known_is_left_open() {
    let status = status(&state(Phase::Preparing), None, None);
    assert_eq!((status.seen, status.held_s, status.confidence), (None, None, None));
    assert_eq!((status.candidate_ready, &status.trouble), ([0, 0], &None));
    assert_eq!((status.verdict, status.sample), (VerdictWord::Unknown, None));
    assert!(status.readings.is_empty() && status.unknown.is_empty());
}

#[test]
fn trouble_is_told_in_its_own_words() {
    let mut world = world();
    let what = "exit code 1".to_owned();
    world.candidate.as_mut().unwrap().trouble =
        Some(Trouble { what, its_own: true, gave_up: false });
    let status = status(&state(Phase::Preparing), Some(&world), None);
    assert_eq!((status.trouble.as_deref(), status.candidate_ready), (Some("exit code 1"), [1, 2]));
}

#[test]
fn only_what_is_unknown_has_reasons() {
    for verdict in [Verdict::Pass, Verdict::Breach { causes: Vec::new() }] {
        let status = status(&state(holding(0)), None, Some(&judgement(verdict)));
        assert!(status.unknown.is_empty() && status.readings.len() == 1);
    }
}

#[test]
fn every_phase_has_its_word_its_stage_and_the_share_that_was_asked_for() {
    let parked = Phase::Parked {
        stage: 1,
        share: Share::from_percent(3.0).unwrap(),
        why: ParkedBecause::Fight,
    };
    let table = [
        (Phase::Waiting, "waiting", None, 0.0),
        (Phase::Preparing, "preparing", None, 0.0),
        (Phase::Shifting { stage: 0 }, "shifting", Some(1), 5.0),
        (holding(1), "holding", Some(2), 25.0),
        (parked, "parked", Some(2), 3.0),
        (Phase::Adopting, "adopting", None, 100.0),
        (Phase::Cleaning, "cleaning", None, 0.0),
        (Phase::RollingBack, "rolling_back", None, 0.0),
        (Phase::Ended { end: End::Promoted }, "ended", None, 0.0),
    ];
    for (phase, word, stage, percent) in table {
        let status = status(&state(phase), None, None);
        assert_eq!((status.phase.as_str(), status.stage), (word, stage));
        assert_eq!(status.asked, Share::from_percent(percent).unwrap(), "{word}");
    }
}

#[test]
fn the_samples_of_instances_are_summed_also_where_one_knows_less() {
    let judgement = judgement(Verdict::Pass);
    let sample = status(&state(holding(0)), None, Some(&judgement)).sample.unwrap();
    assert_eq!(sample.at_s, 35.0);
    assert_eq!((sample.baseline, sample.candidate), (vec![1700.0, 3.0, 30.0], vec![38.0, 2.0]));
    let uneven = BTreeMap::from([
        ("c0".to_owned(), Counters(vec![1.0])),
        ("c1".to_owned(), Counters(vec![2.0, 3.0])),
    ]);
    assert_eq!(sum(&uneven), [3.0, 3.0]);
    assert_eq!(sum(&BTreeMap::new()), [0.0; 0]);
}

#[test]
fn the_time_a_stage_was_held_leaves_out_what_it_stood() {
    let status = status(&state(holding(0)), None, None);
    assert_eq!(status.held_s, Some(30.0), "since second 10, stood for 5, now 45");
    assert_eq!(status.stages[0].hold_s, Duration::from_secs(60).as_secs_f64());
}
