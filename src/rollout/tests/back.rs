//! The way back: first the share, then the rest; never everything to nothing.

use super::*;

const TO_ZERO: &str = "share 0 % | the candidate's share to be seen at 0 %, until 2:00";

#[test]
fn after_a_breach_the_share_is_taken_first_and_then_the_candidate() {
    let mut scene = Scene::holding(&[50.0, 100.0]);
    scene
        .at(1, 0)
        .says(breach())
        .looks(&format!("rolling back: {TO_ZERO}"))
        .at(1, 1)
        .looks(&format!("rolling back: {TO_ZERO}"))
        .at(1, 2)
        .looks_in_vain("rolling back: share 0 % | the platform to answer, until 2:02")
        .at(1, 3)
        .share(0.0)
        .looks("rolling back: remove candidate | the candidate to finish what it has begun, until 11:03")
        .at(1, 4)
        .no_candidate()
        .looks("rolled back: - | nothing: it has ended")
        .at(1, 5)
        .share(50.0)
        .candidate(2, 50.0)
        .says(Verdict::Pass)
        .resume()
        .looks("rolled back: - | nothing: it has ended");
    assert_eq!((scene.back().stage, scene.back().decided), (Some(0), at(1, 0)));
}

#[test]
fn a_share_that_is_not_known_is_not_0() {
    let mut scene = Scene::rolling_back();
    scene.world().share = None;
    scene.no_candidate().looks(&format!("rolling back: {TO_ZERO}"));
    assert_eq!(scene.back().safe, None);
}

#[test]
fn with_no_ready_copy_of_stable_the_candidate_keeps_serving() {
    Scene::rolling_back()
        .stable("v1", 0)
        .looks(
            "rolling back: - | the first ready copy of stable; until then the candidate keeps serving, until 2:00",
        )
        .stable("v1", 1)
        .looks(&format!("rolling back: {TO_ZERO}"))
        .stable("v1", 0)
        .candidate(0, 50.0) // neither serves: nothing is lost by going back
        .looks(&format!("rolling back: {TO_ZERO}"))
        .no_candidate()
        .looks(&format!("rolling back: {TO_ZERO}"));
}

#[test]
fn a_candidate_that_serves_at_share_0_because_stable_can_not_is_kept() {
    let waits = "rolling back: - | the first ready copy of stable; until then the candidate keeps serving, until 2:00";
    let mut scene = Scene::rolling_back();
    scene.share(0.0).stable("v1", 0).looks(waits);
    assert_eq!(scene.back().safe, None, "nobody is safe on a stable that does not serve");
    scene.stable("v1", 1).looks(
        "rolling back: remove candidate | the candidate to finish what it has begun, until 11:00",
    );
}

#[test]
fn nobody_is_safe_while_testers_still_reach_it() {
    for testers in [TestersAre::In, TestersAre::Between] {
        let mut scene = Scene::rolling_back().with_testers();
        scene.share(0.0).testers(testers).looks(&format!("rolling back: {TO_ZERO}"));
        assert_eq!(scene.back().safe, None);
        scene.testers(TestersAre::Out).looks(
            "rolling back: remove candidate | the candidate to finish what it has begun, until 11:00",
        );
        assert_eq!(scene.back().safe, Some(at(1, 0)));
    }
}

#[test]
fn it_is_not_back_before_stable_has_its_old_release() {
    let mut scene = Scene::rolling_back();
    scene
        .share(0.0)
        .stable("v2", 2)
        .looks("rolling back: restore stable | stable to be back at its old release, until 2:00");
    assert_eq!(scene.back().safe, None);
    scene.stable("v1", 2).step();
    assert_eq!(scene.back().safe, Some(at(1, 0)));
}

#[test]
fn stable_keeps_the_newer_release_that_has_superseded_this_one() {
    let mut scene = Scene::holding(&[50.0]);
    let ask = Ask { at: at(1, 0), by: "ada".into(), reason: Some("v3".into()) };
    scene.asks.superseded = Some(ask);
    scene.at(1, 0).stable("v3", 2).looks(&format!("rolling back: {TO_ZERO}"));
    scene.share(0.0).looks(
        "rolling back: remove candidate | the candidate to finish what it has begun, until 11:00",
    );
    // Only what was superseded is left behind; this release itself is taken back all the same.
    scene
        .stable("v2", 2)
        .looks("rolling back: restore stable | stable to be back at its old release, until 2:00");
    let mut breached = Scene::rolling_back();
    breached
        .share(0.0)
        .stable("v3", 2)
        .looks("rolling back: restore stable | stable to be back at its old release, until 2:00");
}

#[test]
fn a_way_back_that_does_not_work_is_told_after_a_minute_and_goes_on() {
    let mut scene = Scene::rolling_back();
    scene.at(1, 59).looks(&format!("rolling back: {TO_ZERO}"));
    assert!(!scene.back().ineffective);
    scene.at(2, 0).looks(&format!("rolling back: {TO_ZERO}"));
    assert!(scene.back().ineffective);
    scene.at(2, 1).share(0.0).step();
    assert!(scene.back().ineffective, "it stays on the record");
}

#[test]
fn a_candidate_that_does_not_end_is_left_after_ten_minutes() {
    let finishing = "remove candidate | the candidate to finish what it has begun, until 11:05";
    Scene::rolling_back()
        .at(1, 5)
        .share(0.0)
        .looks(&format!("rolling back: {finishing}"))
        .at(11, 4)
        .looks(&format!("rolling back: {finishing}"))
        .at(11, 5)
        .looks("rolled back: - | nothing: it has ended");
}

#[test]
fn drained_is_when_no_connection_is_left() {
    // connections at 1:05 and 1:10 with the share at 0, when it counts as drained
    let table = [
        (Some(0), Some(0), Some(at(1, 5))),
        (Some(3), Some(0), Some(at(1, 10))),
        (Some(3), Some(1), None),
        (None, None, None), // a platform that can't tell: only once the candidate is gone
    ];
    for (first, then, drained) in table {
        let mut scene = Scene::rolling_back();
        for (moment, connections) in [(5, first), (10, then)] {
            scene.at(1, moment).share(0.0).world().connections = connections;
            scene.step();
        }
        assert_eq!(scene.back().drained, drained, "{first:?} {then:?}");
        scene.at(1, 15).no_candidate().step();
        assert_eq!(scene.back().drained, drained.or(Some(at(1, 15))));
    }
}

#[test]
fn what_somebody_moves_again_is_neither_safe_nor_drained() {
    let mut scene = Scene::rolling_back();
    scene.share(0.0).world().connections = Some(0);
    scene.at(1, 5).step();
    assert_eq!((scene.back().safe, scene.back().drained), (Some(at(1, 5)), Some(at(1, 5))));
    scene.at(1, 10).share(30.0).looks(&format!("rolling back: {TO_ZERO}"));
    assert_eq!((scene.back().safe, scene.back().drained), (None, None));
    scene.at(1, 20).share(0.0).step();
    assert_eq!((scene.back().safe, scene.back().drained), (Some(at(1, 20)), Some(at(1, 20))));
}

#[test]
fn the_last_request_to_the_candidate_is_remembered() {
    let mut scene = Scene::rolling_back();
    for (seen, known) in [
        (None, None),
        (Some(at(0, 50)), Some(at(0, 50))),
        (Some(at(1, 2)), Some(at(1, 2))),
        (Some(at(0, 55)), Some(at(1, 2))),
        (None, Some(at(1, 2))),
    ] {
        scene.world().last_assigned = seen;
        scene.step();
        assert_eq!(scene.back().last_assigned, known);
    }
}

// ---- what can't be undone

#[test]
fn an_irreversible_release_is_held_where_it_is_and_a_person_decides() {
    let parked = "parked 1 at 50 %: - | person: a person: it should go back but can't be undone";
    let irreversible = || {
        let mut scene = Scene::new(&[50.0, 100.0]);
        scene.plan.release.irreversible = true;
        let mut scene = Scene::holding_of(scene);
        scene.at(1, 0).says(breach()).looks(
            "parked 1 at 50 %: - | person: a person: it should go back, but this release can't be undone; abort or resume",
        );
        scene
    };
    irreversible().looks(parked).at(999, 0).looks(parked).looks_in_vain(parked);
    irreversible().share(30.0).looks(parked).share(60.0).looks(
        "parked 1 at 50 %: share 50 % | person: a person: it should go back but can't be undone",
    );
    irreversible().abort().looks(&format!("rolling back: {TO_ZERO}"));
    irreversible()
        .at(2, 0)
        .says(Verdict::Pass)
        .resume()
        .looks("holding 1: - | evidence, until 12:00");
}

#[test]
fn a_share_that_can_not_be_seen_is_no_reason_to_take_it_from_what_can_not_be_undone() {
    let mut scene = Scene::new(&[50.0, 100.0]);
    scene.plan.release.irreversible = true;
    let mut scene = Scene::holding_of(scene);
    let parked = "parked 1 at 50 %: - | person: a person: it should go back but can't be undone";
    scene.says(breach()).looks_in_vain(
        "parked 1 at 50 %: - | person: a person: it should go back, but this release can't be undone; abort or resume",
    );
    scene.looks(parked);
    scene.world().share = None;
    scene.looks(parked);
}

#[test]
fn a_fight_over_what_can_not_be_undone_does_not_end_at_0() {
    for (moved_to, parked_at) in [(30.0, "30 %"), (80.0, "50 %")] {
        let mut scene = Scene::new(&[50.0, 100.0]);
        scene.plan.release.irreversible = true;
        let mut scene = Scene::holding_of(scene);
        for second in [10, 20, 30] {
            scene.at(0, second).share(moved_to).step();
            if second < 30 {
                scene.share(50.0).step();
            }
        }
        assert_eq!(scene.phase(), format!("parked 1 at {parked_at}"));
    }
}

#[test]
fn an_irreversible_release_that_stable_is_taking_goes_on_from_its_last_stage() {
    let mut scene = Scene::new(&[50.0, 100.0]);
    scene.plan.release.irreversible = true;
    let mut scene = Scene::holding_of(scene);
    scene.at(1, 0).says(Verdict::Pass).step();
    scene.share(100.0).step();
    scene.at(2, 0).step();
    assert_eq!(scene.phase(), "adopting");
    scene.says(breach()).step();
    assert_eq!(scene.phase(), "parked 2 at 100 %");
    scene.says(Verdict::Pass).at(3, 0).resume().looks("holding 2: - | evidence, until 13:00");
}

#[test]
fn an_irreversible_release_that_is_not_ready_can_be_tried_again() {
    let mut scene = Scene::new(&[50.0, 100.0]);
    scene.plan.release.irreversible = true;
    scene.trouble(true, true).step();
    assert_eq!(scene.phase(), "parked 1 at 0 %");
    scene
        .at(1, 0)
        .candidate(2, 50.0)
        .resume()
        .looks("shifting 1: share 50 % | 50 % to be seen, until 11:00");
    assert_eq!(scene.state.judging_since, Some(at(1, 0)), "and it is judged");
}
