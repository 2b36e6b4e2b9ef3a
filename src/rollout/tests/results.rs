//! How it ends for people and pipelines: words, exit codes, numbers.

use super::*;

fn because(kind: &str) -> Because {
    let ask = |reason: Option<&str>| Ask {
        at: at(0, 0),
        by: "ann".into(),
        reason: reason.map(str::to_owned),
    };
    match kind {
        "breach" => Because::Breach(vec![
            Cause {
                seen: Some(0.081),
                limit: Some(0.05),
                baseline: Some(0.001),
                requests: Some(1234),
                ..Cause::in_words("error_rate > 5%")
            },
            Cause::in_words("crashed"),
        ]),
        "abort" => Because::Aborted(ask(None)),
        "abort with a reason" => Because::Aborted(ask(Some("wrong build"))),
        "superseded" => Because::Superseded(ask(Some("v3"))),
        "no proof" => {
            Because::NoProof(vec![Unknown::Collecting, Unknown::NoData { arm: "candidate".into() }])
        }
        _ => Because::NoProof(Vec::new()),
    }
}

fn end(end: End, back: Option<Because>) -> Outcome {
    let mut scene = Scene::rolling_back();
    scene.state.phase = Phase::Ended { end };
    scene.state.back = back.map(|because| WayBack { because, ..scene.back().clone() });
    scene.outcome()
}

#[test]
fn every_end_has_its_word_its_code_and_its_reason() {
    use ResultWord::*;
    let table = [
        (
            "breach",
            RolledBack,
            3,
            "error_rate > 5%: 8.10 % seen, baseline 0.10 %, 1234 requests; crashed",
        ),
        ("abort", Aborted, 4, "aborted by ann"),
        ("abort with a reason", Aborted, 4, "aborted by ann (wrong build)"),
        ("superseded", Superseded, 4, "superseded by ann (v3)"),
        (
            "no proof",
            Inconclusive,
            5,
            "its time passed without proof: collecting evidence; no data from the candidate",
        ),
        ("nothing known", Inconclusive, 5, "its time passed without proof"),
    ];
    for (kind, result, code, reason) in table {
        let ended = end(End::RolledBack, Some(because(kind)));
        assert_eq!((ended.result, ended.exit_code, ended.reason.as_str()), (result, code, reason));
        assert_eq!((ended.traffic, ended.final_share), (TrafficIs::Safe, Share::ZERO));
        assert_eq!(
            (ended.stable_revision.as_str(), ended.candidate_revision.as_str()),
            ("v1", "v2")
        );
        assert_eq!(ended.causes.len(), if kind == "breach" { 2 } else { 0 }, "{kind}");
    }
    let promoted = end(End::Promoted, None);
    assert_eq!((promoted.result, promoted.exit_code), (Promoted, 0));
    assert_eq!((promoted.traffic, promoted.final_share), (TrafficIs::Safe, Share::FULL));
    assert_eq!(promoted.reason, "v2 passed every stage");
    assert_eq!(promoted.stable_revision, "v2", "stable runs it now");
    let stuck = end(End::AdoptionStuck, None);
    assert_eq!((stuck.result, stuck.exit_code), (Error, 6));
    assert_eq!((stuck.traffic, stuck.final_share), (TrafficIs::Candidate, Share::FULL));
    assert_eq!(stuck.reason, "stable could not take v2 in time: the candidate serves");
    assert_eq!(stuck.stable_revision, "v1");
}

#[test]
fn the_words_are_the_published_ones() {
    let result = |result: ResultWord| serde_json::to_value(result).unwrap();
    let traffic = |traffic: TrafficIs| serde_json::to_value(traffic).unwrap();
    let results = [
        (ResultWord::Promoted, "promoted"),
        (ResultWord::Unchanged, "unchanged"),
        (ResultWord::RolledBack, "rolled_back"),
        (ResultWord::Aborted, "aborted"),
        (ResultWord::Superseded, "superseded"),
        (ResultWord::Inconclusive, "inconclusive"),
        (ResultWord::Error, "error"),
        (ResultWord::Refused, "refused"),
    ];
    results.iter().for_each(|(word, published)| assert_eq!(result(*word), *published));
    let places = [
        (TrafficIs::Safe, "safe"),
        (TrafficIs::Unchanged, "unchanged"),
        (TrafficIs::Candidate, "candidate"),
        (TrafficIs::Unknown, "unknown"),
    ];
    places.iter().for_each(|(word, published)| assert_eq!(traffic(*word), *published));
}

#[test]
fn an_observed_promotion_says_that_nothing_was_decided_and_what_would_have_been() {
    let mut scene = Scene::new(&[50.0, 100.0]);
    scene.plan.observe_only = true;
    let mut scene = Scene::holding_of(scene);
    scene.at(0, 30).says(breach()).step();
    scene.state.phase = Phase::Ended { end: End::Promoted };
    let outcome = scene.at(3, 0).outcome();
    assert_eq!((outcome.result, outcome.exit_code), (ResultWord::Promoted, 0));
    assert_eq!(outcome.reason, "v2 went through every stage (observed only, nothing was decided)");
    assert!(outcome.observe_only);
    let would = outcome.would_have.unwrap();
    assert_eq!((would.result, would.stage, would.after_s), (ResultWord::RolledBack, 1, 30.0));
}

#[test]
fn what_has_not_ended_says_where_the_users_are() {
    let parked_at =
        |percent: f64| Phase::Parked { stage: 0, share: share(percent), why: ParkedBecause::Fight };
    let held = |stage| Phase::Holding { stage, clock: StageClock::start(at(0, 0)) };
    let table = [
        (Phase::Waiting, TrafficIs::Unchanged, 0.0),
        (Phase::Preparing, TrafficIs::Unchanged, 0.0),
        (Phase::Shifting { stage: 1 }, TrafficIs::Candidate, 50.0),
        (held(1), TrafficIs::Candidate, 50.0),
        (held(0), TrafficIs::Safe, 0.0), // the preview of blue-green: no users
        (parked_at(50.0), TrafficIs::Candidate, 50.0),
        (parked_at(0.0), TrafficIs::Safe, 0.0),
        (Phase::Adopting, TrafficIs::Candidate, 100.0),
        (Phase::Cleaning, TrafficIs::Candidate, 100.0),
    ];
    for (phase, traffic, percent) in table {
        let mut scene = Scene::holding(&[0.0, 50.0]);
        scene.state.phase = phase.clone();
        let outcome = scene.outcome();
        assert_eq!((outcome.result, outcome.exit_code), (ResultWord::Inconclusive, 5), "{phase:?}");
        assert_eq!((outcome.traffic, outcome.final_share), (traffic, share(percent)), "{phase:?}");
        assert_eq!(outcome.reason, "it has not ended");
    }
}

#[test]
fn on_the_way_back_it_is_an_error_until_traffic_is_safe() {
    let mut scene = Scene::rolling_back();
    let outcome = scene.outcome();
    assert_eq!((outcome.result, outcome.exit_code), (ResultWord::Error, 6));
    assert_eq!((outcome.traffic, outcome.final_share), (TrafficIs::Unknown, Share::ZERO));
    assert_eq!(outcome.safe_after_ms, None);
    scene.share(0.0).step();
    let outcome = scene.outcome();
    assert_eq!((outcome.result, outcome.exit_code), (ResultWord::RolledBack, 3));
    assert_eq!(outcome.traffic, TrafficIs::Safe);
}

/// Milliseconds since the start.
fn ms(ms: i64) -> DateTime<Utc> {
    at(0, 0) + TimeDelta::milliseconds(ms)
}

#[test]
fn the_numbers_of_a_way_back_count_from_the_verdict() {
    let mut scene = Scene::holding(&[50.0, 100.0]);
    scene.state.share_seen = Some(ms(1_500));
    scene.now = ms(50_000);
    scene.says(breach()).step();
    let waiting = scene.outcome();
    assert_eq!(waiting.detected_after_s, Some(48.5));
    assert_eq!((waiting.safe_after_ms, waiting.drained_after_ms), (None, None));
    scene.now = ms(50_100);
    scene.share(0.0).world().last_assigned = Some(ms(50_012));
    scene.world().connections = Some(1);
    scene.step();
    assert_eq!(scene.outcome().safe_after_ms, Some(12));
    assert_eq!(scene.outcome().drained_after_ms, None);
    scene.now = ms(50_340);
    scene.world().connections = Some(0);
    scene.step();
    scene.now = ms(61_200);
    scene.no_candidate().step();
    let outcome = scene.outcome();
    assert_eq!(outcome.detected_after_s, Some(48.5));
    assert_eq!((outcome.safe_after_ms, outcome.drained_after_ms), (Some(12), Some(340)));
    assert_eq!(outcome.duration_s, 61.2);
    assert_eq!(outcome.stages_passed, 0);
}

#[test]
fn a_last_request_before_the_verdict_or_none_is_safe_at_once() {
    for last in [None, Some(at(0, 10))] {
        let mut scene = Scene::rolling_back();
        scene.share(0.0).world().last_assigned = last;
        scene.at(1, 5).step();
        assert_eq!(scene.outcome().safe_after_ms, Some(0), "{last:?}");
    }
}

#[test]
fn what_ends_before_a_share_was_seen_has_no_time_of_detection() {
    let mut scene = Scene::new(&[5.0]);
    scene.trouble(true, true).step();
    assert_eq!(scene.outcome().detected_after_s, None);
    assert_eq!(Scene::holding(&[5.0]).outcome().detected_after_s, None);
}

#[test]
fn a_state_knows_its_stage_its_end_and_whether_evidence_matters() {
    let clock = StageClock::start(at(0, 0));
    let parked = Phase::Parked { stage: 2, share: Share::ZERO, why: ParkedBecause::Fight };
    let table = [
        (Phase::Waiting, None, None, false),
        (Phase::Preparing, None, None, false),
        (Phase::Shifting { stage: 2 }, Some(2), None, true),
        (Phase::Holding { stage: 2, clock }, Some(2), None, true),
        (parked, Some(2), None, true),
        (Phase::Adopting, None, None, true),
        (Phase::Cleaning, None, None, false),
        (Phase::RollingBack, None, None, false),
        (Phase::Ended { end: End::Promoted }, None, Some(End::Promoted), false),
        (Phase::Ended { end: End::AdoptionStuck }, None, Some(End::AdoptionStuck), false),
    ];
    for (phase, stage, end, judged) in table {
        let state = State { phase, ..State::new(at(0, 0)) };
        assert_eq!((state.stage(), state.ended(), state.is_judged()), (stage, end, judged));
    }
}

#[test]
fn a_workload_is_complete_when_all_that_is_wanted_is_ready() {
    for (ready, wanted, complete) in
        [(2, 2, true), (3, 2, true), (1, 2, false), (0, 0, false), (1, 0, false)]
    {
        let workload = Workload { ready, wanted, ..workload("v2", 0, 100.0) };
        assert_eq!(workload.complete(), complete, "{ready} of {wanted}");
    }
}

#[test]
fn a_clock_that_stood_twice_has_stood_for_both() {
    let mut clock = StageClock::start(at(1, 0));
    let mut until = |second, standing| {
        clock.stand(standing, at(1, second));
        clock.held(at(1, second)).as_secs()
    };
    assert_eq!(until(10, false), 10);
    assert_eq!(until(10, true), 10);
    assert_eq!(until(20, true), 10);
    assert_eq!(until(30, false), 10);
    assert_eq!(until(35, true), 15);
    assert_eq!(until(42, false), 15);
    assert_eq!(until(50, false), 23);
    assert_eq!(clock.held(at(0, 30)), std::time::Duration::ZERO, "a clock that was set back");
}

#[test]
fn a_state_survives_storage() {
    let mut scene = Scene::rolling_back();
    scene.state.would_have =
        Some(WouldHave { because: because("no proof"), stage: 0, at: at(0, 5) });
    for state in [scene.state, Scene::holding(&[5.0]).state, Scene::adopting().state] {
        let stored = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<State>(&stored).unwrap(), state);
    }
}
