//! The way forward: shares, holds, deadlines, proof, adoption.

use super::*;
use crate::analysis::JudgedOn;
use crate::plan::DEADLINE_MIN;
use crate::policy::{Freeze, FreezeTime, InsufficientTraffic};

#[test]
fn a_canary_goes_from_share_to_share_and_then_stable_takes_the_release() {
    Scene::new(&[5.0, 100.0])
        .looks("preparing: candidate for 5 % | the candidate to be ready, until 7:00")
        .at(0, 10)
        .candidate(1, 5.0)
        .looks("preparing: candidate for 5 % | the candidate to be ready, until 7:00")
        .at(0, 20)
        .candidate(2, 5.0)
        .looks("shifting 1: share 5 % | 5 % to be seen, until 10:20")
        .at(0, 21)
        .share(5.0)
        .looks("holding 1: - | evidence, until 10:21")
        .at(0, 51)
        .says(collecting())
        .looks("holding 1: - | the hold to be over, until 1:21")
        .at(1, 21)
        .looks("holding 1: - | 20 of the 50 requests that a verdict needs, until 10:21")
        .says(Verdict::Pass)
        .looks("holding 1: candidate for 100 % | the candidate to have what 100 % needs, until 10:21")
        .at(1, 30)
        .candidate(2, 100.0)
        .looks("shifting 2: share 100 % | 100 % to be seen, until 11:30")
        .at(1, 31)
        .share(100.0)
        .looks("holding 2: - | evidence, until 11:31")
        .at(2, 31)
        .looks("adopting: adopt | stable to take the release, until 10:31")
        .at(2, 40)
        .looks("adopting: adopt | stable to take the release, until 10:31")
        .stable("v2", 1)
        .looks("adopting: adopt | stable to take the release, until 10:31")
        .stable("v2", 2)
        .looks("cleaning: share 0 % | traffic to be back at stable, until 12:40")
        .at(2, 41)
        .share(0.0)
        .looks("cleaning: remove candidate | the old revision to finish what it has begun, until 12:40")
        .at(2, 42)
        .no_candidate()
        .looks("promoted: - | nothing: it has ended")
        .at(99, 0)
        .share(50.0)
        .says(breach())
        .abort()
        .looks("promoted: - | nothing: it has ended");
}

#[test]
fn what_another_promotion_has_left_is_no_candidate_of_this_one() {
    let mut scene = Scene::new(&[5.0, 100.0]);
    scene.candidate(2, 100.0).world().candidate.as_mut().unwrap().revision = "v0".into();
    scene.looks("preparing: candidate for 5 % | the candidate to be ready, until 7:00");
}

#[test]
fn blue_green_proves_itself_without_users_and_then_switches() {
    Scene::new(&[0.0, 100.0])
        .looks("preparing: candidate for 0 % | the candidate to be ready, until 7:00")
        .candidate(2, 0.0)
        .looks("holding 1: - | evidence, until 10:00")
        .at(1, 0)
        .says(Verdict::Pass)
        .looks(
            "holding 1: candidate for 100 % | the candidate to have what 100 % needs, until 10:00",
        )
        .candidate(2, 100.0)
        .looks("shifting 2: share 100 % | 100 % to be seen, until 11:00");
}

#[test]
fn testers_are_let_in_before_the_first_share_and_kept_in() {
    let mut scene = Scene::new(&[0.0, 100.0]).with_testers();
    let (let_in, waits) = ("candidate for 0 %", "its testers to be let in");
    scene
        .candidate(1, 0.0)
        .looks("preparing: candidate for 0 % | the candidate to be ready, until 7:00")
        .candidate(2, 0.0)
        .looks(&format!("preparing: {let_in} | {waits}, until 7:00"))
        .testers(TestersAre::Between)
        .looks(&format!("preparing: {let_in} | {waits}, until 7:00"))
        .testers(TestersAre::In)
        .looks("holding 1: - | evidence, until 10:00")
        .at(0, 30)
        .says(collecting())
        .testers(TestersAre::Out)
        .looks(&format!("holding 1: {let_in} | the hold to be over, until 1:00"))
        .testers(TestersAre::In)
        .looks("holding 1: - | the hold to be over, until 1:00")
        .at(1, 0)
        .says(Verdict::Pass)
        .candidate(2, 100.0)
        .testers(TestersAre::Between)
        .looks("holding 1: candidate for 100 % | the candidate to have what 100 % needs, until 10:00")
        .testers(TestersAre::In)
        .looks("shifting 2: share 100 % | 100 % to be seen, until 11:00")
        .testers(TestersAre::Out)
        .looks("shifting 2: candidate for 100 % | the candidate to have what this share needs, until 11:00");
}

#[test]
fn a_gateway_that_lets_no_testers_in_is_named_when_the_time_is_over() {
    let no_proof = |word: &str| {
        Because::NoProof(vec![crate::analysis::Unknown::Judge { word: word.to_owned() }])
    };
    let mut scene = Scene::new(&[0.0, 100.0]).with_testers();
    scene.candidate(2, 0.0).step();
    scene.at(6, 59).step();
    assert_eq!(scene.phase(), "preparing");
    scene.at(7, 0).step();
    assert_eq!(scene.back().because, no_proof("testers_not_let_in"));
    let mut unready = Scene::new(&[0.0, 100.0]).with_testers();
    unready.candidate(1, 0.0).step();
    unready.at(7, 0).step();
    assert_ne!(unready.back().because, no_proof("testers_not_let_in"));
}

#[test]
fn a_plan_without_testers_waits_for_none() {
    for testers in [TestersAre::Out, TestersAre::Between] {
        let mut scene = Scene::new(&[0.0, 100.0]);
        scene.candidate(2, 0.0).testers(testers).looks("holding 1: - | evidence, until 10:00");
    }
}

#[test]
fn stable_has_its_testers_back_before_what_was_the_candidate_goes() {
    let mut scene = Scene::adopting().with_testers();
    scene
        .stable("v2", 2)
        .share(0.0)
        .testers(TestersAre::In)
        .looks("cleaning: share 0 % | traffic to be back at stable, until 11:00")
        .testers(TestersAre::Between)
        .looks("cleaning: share 0 % | traffic to be back at stable, until 11:00")
        .testers(TestersAre::Out)
        .looks("cleaning: remove candidate | the old revision to finish what it has begun, until 11:00");
}

#[test]
fn what_is_there_already_is_not_waited_for() {
    Scene::new(&[5.0, 100.0])
        .candidate(2, 5.0)
        .share(5.0)
        .looks("holding 1: - | evidence, until 10:00");
}

#[test]
fn a_freeze_lets_nothing_start_until_it_ends() {
    let time = |minute| at(minute, 0).naive_utc().time();
    let freeze = |from, to| Freeze {
        from: FreezeTime::Daily(time(from)),
        to: FreezeTime::Daily(time(to)),
        zone: chrono_tz::UTC,
    };
    let mut scene = Scene::new(&[100.0]);
    scene.plan.freeze = vec![freeze(0, 30), freeze(0, 45)];
    scene
        .at(10, 0)
        .looks("waiting: - | the freeze to end, until 45:00")
        .at(44, 59)
        .looks("waiting: - | the freeze to end, until 45:00")
        .at(45, 0)
        .looks("preparing: candidate for 100 % | the candidate to be ready, until 52:00")
        .at(24 * 60, 0) // frozen again: what has begun goes on
        .candidate(2, 100.0)
        .looks("shifting 1: share 100 % | 100 % to be seen, until 1450:00");
}

#[test]
fn a_candidate_that_is_not_ready_in_time_goes_back() {
    // its own fault, whether the platform gave up, when, and how that ends
    let table = [
        (None, at(7, 0), "its time passed without proof: no data from the candidate"),
        (
            Some((false, false)),
            at(7, 0),
            "its time passed without proof: the source can't be read: no room",
        ),
        (Some((true, false)), at(7, 0), "crashed"),
        (
            Some((false, true)),
            at(0, 1),
            "its time passed without proof: the source can't be read: no room",
        ),
        (Some((true, true)), at(0, 1), "crashed"),
    ];
    for (trouble, moment, because) in table {
        let mut scene = Scene::new(&[5.0, 100.0]);
        if let Some((its_own, gave_up)) = trouble {
            scene.trouble(its_own, gave_up);
        }
        scene.now = moment - TimeDelta::seconds(1);
        if moment > at(0, 1) {
            scene.step();
            assert_eq!(scene.phase(), "preparing", "{because}");
        } else {
            scene.state.phase = Phase::Preparing;
        }
        scene.now = moment;
        scene.state.since = at(0, 0);
        scene.step();
        assert_eq!(scene.because(), because);
    }
}

#[test]
fn why_a_candidate_is_not_ready_is_told_while_it_is_waited_for() {
    Scene::new(&[5.0])
        .trouble(true, false)
        .looks("preparing: candidate for 5 % | the candidate to be ready (crashed), until 7:00");
}

#[test]
fn a_share_that_is_never_seen_goes_back_at_the_deadline() {
    let mut scene = Scene::new(&[5.0, 100.0]);
    scene
        .candidate(2, 5.0)
        .looks("shifting 1: share 5 % | 5 % to be seen, until 10:00")
        .at(5, 0)
        .looks_in_vain("shifting 1: - | the platform to answer, until 10:00")
        .at(9, 59)
        .looks("shifting 1: share 5 % | 5 % to be seen, until 10:00")
        .at(10, 0)
        .looks("rolling back: remove candidate | the candidate to finish what it has begun, until 20:00");
    assert_eq!(scene.because(), "its time passed without proof: share not seen");
}

#[test]
fn a_share_is_raised_only_for_a_candidate_that_can_bear_it() {
    let lacking =
        "shifting 1: candidate for 50 % | the candidate to have what this share needs, until 10:00";
    let mut scene = Scene::new(&[50.0, 100.0]);
    scene
        .candidate(2, 50.0)
        .looks("shifting 1: share 50 % | 50 % to be seen, until 10:00")
        .candidate(1, 50.0)
        .looks(lacking)
        .candidate(2, 49.0)
        .looks(lacking)
        .no_candidate()
        .looks(lacking);
    scene.world().share = None;
    scene.looks(lacking);
    scene.share(80.0).looks("shifting 1: share 50 % | 50 % to be seen, until 10:00"); // lowered at once
}

#[test]
fn a_stage_is_left_at_a_look_with_a_pass_and_never_for_an_older_one() {
    let mut scene = Scene::holding(&[50.0, 100.0]);
    scene
        .says(Verdict::Pass)
        .at(0, 59)
        .looks("holding 1: - | the hold to be over, until 1:00")
        .at(1, 0)
        .says(collecting())
        .looks("holding 1: - | 20 of the 50 requests that a verdict needs, until 10:00")
        .no_look()
        .looks("holding 1: - | the next look, until 10:00")
        .says(Verdict::Pass)
        .looks_in_vain("holding 1: - | the next look, until 10:00")
        .looks("shifting 2: share 100 % | 100 % to be seen, until 11:00");
}

#[test]
fn a_pass_that_waits_for_instances_is_not_kept() {
    Scene::holding_of(Scene::new(&[50.0, 100.0]))
        .at(1, 0)
        .says(Verdict::Pass)
        .candidate(2, 50.0)
        .looks(
            "holding 1: candidate for 100 % | the candidate to have what 100 % needs, until 10:00",
        )
        .candidate(2, 100.0)
        .says(collecting())
        .looks("holding 1: - | 20 of the 50 requests that a verdict needs, until 10:00")
        .says(Verdict::Pass)
        .candidate(2, 50.0)
        .at(9, 59)
        .looks(
            "holding 1: candidate for 100 % | the candidate to have what 100 % needs, until 10:00",
        )
        .at(10, 0)
        .looks("rolling back: share 0 % | the candidate's share to be seen at 0 %, until 11:00");
}

#[test]
fn instances_that_go_while_a_stage_is_held_are_asked_for_again() {
    let held = "holding 1: - | the hold to be over, until 1:00";
    let asked = "holding 1: candidate for 50 % | the hold to be over, until 1:00";
    Scene::holding(&[50.0, 100.0])
        .candidate(2, 50.0)
        .looks(held)
        .candidate(1, 50.0)
        .looks(asked)
        .no_candidate()
        .looks(asked)
        .looks_in_vain(held);
}

#[test]
fn too_little_traffic_ends_as_the_policy_says() {
    let on = |policy| {
        let mut scene = Scene::new(&[50.0, 100.0]);
        scene.plan.insufficient_traffic = policy;
        let mut scene = Scene::holding_of(scene);
        scene.says(collecting());
        (scene.judgement().stage_requests, scene.judgement().healthy) = (49, true);
        scene
            .at(9, 59)
            .looks(match policy {
                InsufficientTraffic::HealthOnly => {
                    "shifting 2: share 100 % | 100 % to be seen, until 19:59"
                }
                InsufficientTraffic::Rollback | InsufficientTraffic::Hold => {
                    "holding 1: - | 20 of the 50 requests that a verdict needs, until 10:00"
                }
            })
            .at(10, 0);
        scene
    };
    let mut scene = on(InsufficientTraffic::Rollback);
    scene.looks("rolling back: share 0 % | the candidate's share to be seen at 0 %, until 11:00");
    assert_eq!(
        scene.because(),
        "its time passed without proof: 20 of the 50 requests that a verdict needs"
    );
    on(InsufficientTraffic::Hold).looks(
        "parked 1 at 50 %: - | person: a person: the deadline passed without proof, until 50:00",
    );
    let scene = on(InsufficientTraffic::HealthOnly);
    assert_eq!(scene.state.passed_on_health, [0], "the record says what it passed on");
}

#[test]
fn health_alone_is_enough_only_where_traffic_is_too_little() {
    // requests in the stage, healthy, verdict, whether it is left
    let table = [
        (49, true, collecting(), true),
        (50, true, collecting(), false),
        (49, false, collecting(), false),
        (49, true, Verdict::Pass, true),
        (50, false, Verdict::Pass, true),
    ];
    for (requests, healthy, verdict, left) in table {
        let mut scene = Scene::new(&[50.0, 100.0]);
        scene.plan.insufficient_traffic = InsufficientTraffic::HealthOnly;
        let mut scene = Scene::holding_of(scene);
        scene.at(1, 0).says(verdict.clone());
        (scene.judgement().stage_requests, scene.judgement().healthy) = (requests, healthy);
        scene.step();
        assert_eq!(scene.phase() == "shifting 2", left, "{requests} {healthy} {verdict:?}");
    }
    let mut scene = Scene::new(&[50.0, 100.0]);
    scene.plan.insufficient_traffic = InsufficientTraffic::HealthOnly;
    let mut scene = Scene::holding_of(scene);
    scene.says(collecting());
    (scene.judgement().stage_requests, scene.judgement().healthy) = (49, false);
    scene
        .at(10, 0)
        .looks("rolling back: share 0 % | the candidate's share to be seen at 0 %, until 11:00");
}

#[test]
fn without_users_it_passes_on_health_and_that_is_no_exception_to_record() {
    let passed_on_health = |percent: f64, judged_on| {
        let mut scene = Scene::holding(&[percent, 100.0]);
        scene.at(1, 0).says(Verdict::Pass).judgement().judged_on = judged_on;
        scene.step();
        assert_eq!(scene.phase(), "shifting 2");
        scene.state.passed_on_health
    };
    assert_eq!(passed_on_health(0.0, JudgedOn::Health), [0_usize; 0]);
    assert_eq!(passed_on_health(50.0, JudgedOn::Health), [0]);
    assert_eq!(passed_on_health(50.0, JudgedOn::All), [0_usize; 0]);
}

#[test]
fn who_only_observes_goes_on_whatever_is_seen_but_not_without_seeing() {
    let mut scene = Scene::new(&[50.0, 100.0]);
    scene.plan.observe_only = true;
    let mut scene = Scene::holding_of(scene);
    scene
        .at(0, 30)
        .says(breach())
        .looks("holding 1: - | the hold to be over, until 1:00")
        .at(1, 0)
        .no_look()
        .looks("holding 1: - | the next look, until 10:00")
        .says(breach())
        .looks("shifting 2: share 100 % | 100 % to be seen, until 11:00");
    let would = scene.state.would_have.clone().unwrap();
    assert_eq!((would.stage, would.at), (0, at(0, 30)), "the first breach is the one that counts");
    scene.share(100.0).step();
    scene.no_look().at(11, 0).step();
    assert_eq!(scene.because(), "its time passed without proof");
}

#[test]
fn a_dead_candidate_goes_back_at_once_where_it_is_to_blame() {
    for phase in ["shifting", "holding", "adopting"] {
        let scene = || match phase {
            "shifting" => {
                let mut scene = Scene::new(&[5.0, 100.0]);
                scene.candidate(2, 5.0).step();
                scene
            }
            "holding" => Scene::holding(&[5.0, 100.0]),
            _ => Scene::adopting(),
        };
        let mut dead = scene();
        assert!(dead.phase().starts_with(phase));
        dead.trouble(true, true).step();
        assert_eq!(dead.because(), "crashed", "{phase}");
        for (its_own, gave_up) in [(true, false), (false, true), (false, false)] {
            let mut waits = scene();
            waits.trouble(its_own, gave_up).step();
            assert!(waits.phase().starts_with(phase), "{its_own} {gave_up}");
        }
    }
}

/// A candidate that crashes again and again, and a stage's deadline.
#[test]
fn a_stage_whose_time_passes_while_the_release_is_not_complete_is_the_releases_fault() {
    let shifting = || {
        let mut scene = Scene::new(&[5.0, 100.0]);
        scene.candidate(2, 5.0).step();
        scene
    };
    let holding = || {
        let mut scene = Scene::holding(&[5.0, 100.0]);
        scene.says(collecting());
        scene
    };
    let passed = || {
        let mut scene = Scene::holding(&[5.0, 100.0]);
        scene.says(Verdict::Pass);
        scene
    };
    type Begun<'a> = (&'a str, &'a dyn Fn() -> Scene, &'a str);
    let table: [Begun<'_>; 3] = [
        ("shifting 1", &shifting, "share not seen"),
        ("holding 1", &holding, "20 of the 50 requests that a verdict needs"),
        ("holding 1", &passed, ""),
    ];
    for (phase, begun, without) in table {
        let no_proof = match without {
            "" => "its time passed without proof".to_owned(),
            without => format!("its time passed without proof: {without}"),
        };
        for policy in [
            InsufficientTraffic::Rollback,
            InsufficientTraffic::Hold,
            InsufficientTraffic::HealthOnly,
        ] {
            let mut scene = begun();
            scene.plan.insufficient_traffic = policy;
            scene.trouble(true, false).at(9, 59).step();
            assert_eq!(scene.phase(), phase, "its time is not over");
            scene.at(10, 0).step();
            assert_eq!(scene.because(), "crashed", "{phase} {policy:?}");
            assert_eq!(scene.outcome().causes, [Cause::in_words("crashed")]);
            scene.share(0.0).no_candidate().step();
            assert_eq!(
                (scene.outcome().result, scene.outcome().exit_code),
                (ResultWord::RolledBack, 3)
            );
        }
        let ends_without_proof = |change: &dyn Fn(&mut Scene)| {
            let mut scene = begun();
            change(scene.trouble(true, false));
            scene.at(10, 0).step();
            assert_eq!(scene.because(), no_proof, "{phase}");
        };
        // The place is to blame; it is another release's; there is none; the gate only observes; it
        // is complete all the same.
        ends_without_proof(&|scene| _ = scene.trouble(false, false));
        ends_without_proof(&|scene| {
            scene.world().candidate.as_mut().unwrap().revision = "v0".into();
        });
        ends_without_proof(&|scene| _ = scene.no_candidate());
        ends_without_proof(&|scene| scene.plan.observe_only = true);
        if !without.is_empty() {
            ends_without_proof(&|scene| scene.world().candidate.as_mut().unwrap().ready = 2);
        }
    }
}

#[test]
fn a_person_who_does_not_answer_is_not_the_releases_fault() {
    let mut scene = Scene::new(&[5.0, 100.0]);
    scene.candidate(2, 5.0).step();
    scene.at(1, 0).hold().trouble(true, false).at(41, 0).step();
    assert_eq!(scene.because(), "its time passed without proof: nobody answered");
}

#[test]
fn a_breach_that_is_seen_beside_trouble_of_the_place_counts() {
    let mut scene = Scene::holding(&[5.0, 100.0]);
    scene.trouble(false, true).says(breach()).step();
    assert_eq!(scene.because(), "error_rate > 5%");
}

#[test]
fn a_share_that_somebody_moves_is_asked_for_again_and_the_hold_begins_anew() {
    let mut scene = Scene::holding(&[50.0, 100.0]);
    scene
        .at(0, 50)
        .says(Verdict::Pass)
        .share(30.0)
        .looks("shifting 1: share 50 % | 50 % to be seen, until 10:50")
        .at(0, 52)
        .share(50.0)
        .looks("holding 1: - | evidence, until 10:52")
        .at(1, 51)
        .looks("holding 1: - | the hold to be over, until 1:52");
    scene.world().share = None; // not told is not moved
    scene.looks("holding 1: - | the hold to be over, until 1:52");
}

#[test]
fn three_resets_in_ten_minutes_are_a_fight() {
    // moments of the resets in seconds, whether the last of them is a fight
    let table: [(&[i64], bool); 5] = [
        (&[10, 20], false),
        (&[10, 20, 30], true),
        (&[10, 20, 609], true),
        (&[10, 300, 610], false), // the first is ten minutes ago
        (&[10, 300, 610, 899], true),
    ];
    for (resets, fight) in table {
        let mut scene = Scene::holding(&[50.0, 100.0]);
        scene.plan.stages[0].deadline = minutes(60);
        for second in resets {
            assert_eq!(scene.phase(), "holding 1", "{resets:?}");
            scene.at(0, *second).share(30.0).step();
            scene.share(50.0);
            if scene.phase() == "shifting 1" {
                scene.step();
            }
        }
        let expected = if fight { "parked 1 at 0 %" } else { "holding 1" };
        assert_eq!(scene.phase(), expected, "{resets:?}");
    }
}

#[test]
fn a_fight_ends_at_share_0_with_a_person_and_begins_anew_when_resumed() {
    fn moved(scene: &mut Scene, second: i64) {
        scene.at(0, second).share(30.0).step();
        scene.share(50.0).step();
    }
    let mut scene = Scene::holding(&[50.0, 100.0]);
    moved(&mut scene, 10);
    moved(&mut scene, 20);
    scene
        .at(0, 30)
        .share(30.0)
        .looks("parked 1 at 0 %: share 0 % | person: a person: somebody else keeps moving the share, until 40:30")
        .share(0.0)
        .at(0, 40)
        .looks("parked 1 at 0 %: - | person: a person: somebody else keeps moving the share, until 40:30")
        .at(1, 0)
        .resume()
        .looks("shifting 1: share 50 % | 50 % to be seen, until 11:00")
        .share(50.0)
        .step();
    moved(&mut scene, 70);
    assert_eq!(scene.phase(), "holding 1", "the old resets are forgotten");
}

// ---- adoption

#[test]
fn until_stable_is_complete_the_candidate_keeps_serving() {
    let mut scene = Scene::adopting();
    let waits = "stable to take the release, until 9:00";
    scene
        .looks(&format!("adopting: adopt | {waits}"))
        .share(40.0)
        .looks(&format!("adopting: share 100 %, adopt | {waits}"))
        .candidate(1, 100.0)
        .looks(&format!("adopting: candidate for 100 %, share 100 %, adopt | {waits}"))
        .candidate(0, 100.0)
        .looks(&format!("adopting: candidate for 100 %, adopt | {waits}"))
        .candidate(2, 100.0)
        .share(100.0)
        .stable("v2", 0)
        .looks(&format!("adopting: adopt | {waits}"))
        .candidate(1, 100.0) // not rebuilt any more: stable has its template by now
        .looks(&format!("adopting: adopt | {waits}"))
        .looks_in_vain(&format!("adopting: adopt | {waits}"));
}

#[test]
fn an_adoption_that_is_stuck_leaves_the_candidate_serving() {
    Scene::adopting()
        .at(8, 59)
        .looks("adopting: adopt | stable to take the release, until 9:00")
        .at(9, 0)
        .looks("adoption stuck: - | nothing: it has ended");
}

#[test]
fn a_breach_during_the_adoption_gives_stable_its_old_release_back_first() {
    let mut scene = Scene::adopting();
    scene
        .stable("v2", 1)
        .says(breach())
        .looks("rolling back: restore stable | stable to be back at its old release, until 2:00")
        .stable("v1", 2)
        .looks("rolling back: share 0 % | the candidate's share to be seen at 0 %, until 2:00");
    let mut too_late = Scene::adopting();
    too_late
        .stable("v2", 2)
        .says(breach())
        .looks("cleaning: share 0 % | traffic to be back at stable, until 11:00");
}

#[test]
fn traffic_goes_back_only_to_a_stable_that_is_complete() {
    let mut scene = Scene::adopting();
    scene
        .stable("v2", 2)
        .looks("cleaning: share 0 % | traffic to be back at stable, until 11:00")
        .stable("v2", 1)
        .looks("cleaning: - | traffic to be back at stable, until 11:00")
        .looks_in_vain("cleaning: - | the platform to answer, until 11:00")
        .at(10, 59)
        .looks("cleaning: - | traffic to be back at stable, until 11:00")
        .at(11, 0)
        .looks("adoption stuck: - | nothing: it has ended");
}

#[test]
fn an_adoption_that_the_world_has_lost_is_asked_for_again() {
    let mut scene = Scene::adopting();
    scene
        .stable("v2", 2)
        .looks("cleaning: share 0 % | traffic to be back at stable, until 11:00")
        .stable("v1", 2)
        .share(0.0)
        .looks("adopting: share 100 %, adopt | stable to take the release, until 9:00");
}

#[test]
fn traffic_goes_to_stable_also_where_somebody_has_released_a_newer_one_meanwhile() {
    let mut scene = Scene::adopting();
    scene.stable("v2", 2).step();
    scene
        .stable("v3", 1)
        .looks("cleaning: - | traffic to be back at stable, until 11:00")
        .stable("v3", 2)
        .looks("cleaning: share 0 % | traffic to be back at stable, until 11:00")
        .share(0.0)
        .no_candidate()
        .looks("promoted: - | nothing: it has ended");
}

#[test]
fn the_old_revision_may_finish_but_not_for_ever() {
    let finishing =
        "cleaning: remove candidate | the old revision to finish what it has begun, until 11:00";
    let cleaning = || {
        let mut scene = Scene::adopting();
        scene.stable("v2", 2).share(0.0).looks(finishing);
        scene
    };
    let mut scene = cleaning();
    scene.no_candidate().world().retiring = true;
    scene.looks(finishing).world().retiring = false;
    scene.looks("promoted: - | nothing: it has ended");
    cleaning().at(11, 0).looks("promoted: - | nothing: it has ended");
    cleaning().stable("v2", 1).no_candidate().looks("promoted: - | nothing: it has ended");
}

#[test]
fn a_duration_beyond_the_calendar_is_for_ever() {
    assert_eq!(super::super::step::after(at(0, 0), DEADLINE_MIN), at(10, 0));
    let for_ever = super::super::step::after(at(0, 0), std::time::Duration::MAX);
    assert_eq!(for_ever, DateTime::<Utc>::MAX_UTC);
}
