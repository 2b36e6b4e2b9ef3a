//! Persons step in: hold, resume, approve, abort; a newer release takes over.

use super::*;

const HELD: &str = "person: ann to resume (it was held), until 40:30";

#[test]
fn a_hold_stops_the_clock_of_the_stage_but_not_the_judge() {
    let mut scene = Scene::holding(&[50.0, 100.0]);
    scene
        .at(0, 30)
        .hold()
        .says(Verdict::Pass)
        .looks(&format!("holding 1: - | {HELD}"))
        .at(30, 0) // far over the deadline of ten minutes
        .looks(&format!("holding 1: - | {HELD}"))
        .resume()
        .looks("holding 1: - | the hold to be over, until 30:30")
        .at(30, 10)
        .hold()
        .looks("holding 1: - | person: ann to resume (it was held), until 70:10")
        .at(40, 10)
        .resume()
        .looks("holding 1: - | the hold to be over, until 40:30")
        .at(40, 29)
        .looks("holding 1: - | the hold to be over, until 40:30")
        .at(40, 30)
        .says(collecting())
        .looks("holding 1: - | 20 of the 50 requests that a verdict needs, until 49:30");
    let mut breached = Scene::holding(&[50.0, 100.0]);
    breached.at(0, 30).hold().step();
    breached.at(0, 40).says(breach()).step();
    assert_eq!(breached.phase(), "rolling back");
}

#[test]
fn a_hold_ends_after_its_longest_time_as_a_deadline_does() {
    let mut scene = Scene::holding(&[50.0, 100.0]);
    scene.at(0, 30).hold().says(Verdict::Pass).step();
    scene.at(40, 29).looks(&format!("holding 1: - | {HELD}")).at(40, 30).step();
    assert_eq!(scene.because(), "its time passed without proof: nobody answered");
}

#[test]
fn a_hold_is_over_once_somebody_resumes_later() {
    // hold, resume in seconds; whether it is held
    let table = [
        (None, None, false),
        (None, Some(5), false),
        (Some(5), None, true),
        (Some(5), Some(4), true),
        (Some(5), Some(5), false),
        (Some(5), Some(6), false),
    ];
    let ask = |second| Ask { at: at(0, second), by: "ann".into(), reason: None };
    for (hold, resume, held) in table {
        let asks = Asks { hold: hold.map(ask), resume: resume.map(ask), ..Asks::default() };
        assert_eq!(asks.held(), asks.hold.as_ref().filter(|_| held), "{hold:?} {resume:?}");
    }
}

#[test]
fn a_hold_before_the_first_share_gives_nobody_the_candidate() {
    let mut scene = Scene::new(&[50.0, 100.0]);
    scene
        .at(0, 30)
        .hold()
        .looks("preparing: candidate for 50 % | the candidate to be ready, until 7:30")
        .candidate(2, 50.0)
        .looks(&format!("preparing: - | {HELD}"))
        .at(30, 0)
        .looks(&format!("preparing: - | {HELD}"))
        .resume()
        .candidate(1, 50.0) // it lost a copy just then: there is time to get it back
        .looks("preparing: candidate for 50 % | the candidate to be ready, until 37:00")
        .candidate(2, 50.0)
        .looks("shifting 1: share 50 % | 50 % to be seen, until 40:00");
    let mut forgotten = Scene::new(&[50.0]);
    forgotten.at(0, 30).hold().candidate(2, 50.0).step();
    forgotten.at(40, 30).step();
    assert_eq!(forgotten.because(), "its time passed without proof: nobody answered");
}

#[test]
fn a_hold_between_two_stages_stops_the_deadline_too() {
    let mut scene = Scene::new(&[50.0, 100.0]);
    scene.candidate(2, 50.0).step();
    scene
        .at(0, 30)
        .hold()
        .looks(&format!("shifting 1: - | {HELD}"))
        .at(30, 0)
        .looks(&format!("shifting 1: - | {HELD}"))
        .looks_in_vain("shifting 1: - | the platform to answer, until 40:30")
        .share(80.0) // what is too much is taken back all the same
        .looks("shifting 1: share 50 % | 50 % to be seen, until 40:30")
        .share(0.0)
        .resume()
        .looks("shifting 1: share 50 % | 50 % to be seen, until 40:00")
        .at(40, 0)
        .step();
    assert_eq!(scene.because(), "its time passed without proof: share not seen");
    let mut forgotten = Scene::new(&[50.0]);
    forgotten.candidate(2, 50.0).step();
    forgotten.at(0, 30).hold().step();
    forgotten.at(40, 30).step();
    assert_eq!(forgotten.because(), "its time passed without proof: nobody answered");
}

#[test]
fn a_seen_share_starts_the_stage_although_a_person_holds() {
    let mut scene = Scene::new(&[50.0, 100.0]);
    scene.candidate(2, 50.0).step();
    scene
        .at(0, 30)
        .hold()
        .share(50.0)
        .looks("holding 1: - | evidence, until 10:30")
        .looks(&format!("holding 1: - | {HELD}"));
}

// ---- approvals

fn approval() -> Scene {
    let mut scene = Scene::new(&[50.0, 100.0]);
    scene.plan.stages[0].approval = true;
    Scene::holding_of(scene)
}

#[test]
fn an_approval_is_asked_for_once_the_stage_has_passed_and_stops_its_clock() {
    let mut scene = approval();
    scene
        .says(Verdict::Pass)
        .at(0, 59)
        .looks("holding 1: - | the hold to be over, until 1:00")
        .at(1, 0)
        .says(collecting())
        .looks("holding 1: - | 20 of the 50 requests that a verdict needs, until 10:00")
        .at(2, 0)
        .says(Verdict::Pass)
        .looks("holding 1: - | person: approval of stage 1, until 22:00")
        .at(15, 0) // over the deadline, but the clock stands
        .says(collecting())
        .looks("holding 1: - | person: approval of stage 1, until 22:00")
        .approve(0)
        .looks("holding 1: - | 20 of the 50 requests that a verdict needs, until 23:00")
        .says(Verdict::Pass)
        .looks("shifting 2: share 100 % | 100 % to be seen, until 25:00");
}

#[test]
fn an_approval_given_early_is_not_asked_for() {
    approval()
        .approve(0)
        .says(Verdict::Pass)
        .at(1, 0)
        .looks("shifting 2: share 100 % | 100 % to be seen, until 11:00");
    approval()
        .approve(1) // of another stage
        .says(Verdict::Pass)
        .at(1, 0)
        .looks("holding 1: - | person: approval of stage 1, until 21:00");
}

#[test]
fn an_approval_that_nobody_gives_ends_as_a_deadline_does() {
    let mut scene = approval();
    scene
        .says(Verdict::Pass)
        .at(1, 0)
        .looks("holding 1: - | person: approval of stage 1, until 21:00")
        .at(20, 59)
        .looks("holding 1: - | person: approval of stage 1, until 21:00")
        .at(21, 0)
        .looks("rolling back: share 0 % | the candidate's share to be seen at 0 %, until 22:00");
    assert_eq!(scene.because(), "its time passed without proof: nobody answered");
}

#[test]
fn a_breach_does_not_wait_for_an_approval() {
    let mut scene = approval();
    scene.says(Verdict::Pass).at(1, 0).step();
    scene.says(breach()).step();
    assert_eq!(scene.phase(), "rolling back");
}

#[test]
fn after_a_hold_there_is_the_whole_time_to_approve() {
    approval()
        .says(Verdict::Pass)
        .at(1, 0)
        .looks("holding 1: - | person: approval of stage 1, until 21:00")
        .at(2, 0)
        .hold()
        .looks("holding 1: - | person: ann to resume (it was held), until 42:00")
        .at(32, 0)
        .resume()
        .looks("holding 1: - | person: approval of stage 1, until 52:00");
}

#[test]
fn after_a_hold_an_approval_is_not_asked_for_without_a_pass() {
    approval()
        .says(collecting())
        .at(1, 30)
        .hold()
        .looks("holding 1: - | person: ann to resume (it was held), until 41:30")
        .at(31, 30)
        .resume()
        .looks("holding 1: - | 20 of the 50 requests that a verdict needs, until 40:00");
}

// ---- the end

#[test]
fn an_abort_works_in_every_phase_that_can_still_go_back() {
    let starting = || Scene::new(&[50.0, 100.0]);
    let frozen = || {
        let mut scene = starting();
        scene.step();
        scene.state = State::new(at(0, 0));
        scene
    };
    let preparing = || {
        let mut scene = starting();
        scene.step();
        scene
    };
    let shifting = || {
        let mut scene = starting();
        scene.candidate(2, 100.0).step();
        scene
    };
    let holding = || Scene::holding(&[50.0, 100.0]);
    let parked = || {
        let mut scene = holding();
        scene.plan.insufficient_traffic = crate::policy::InsufficientTraffic::Hold;
        scene.at(10, 0).step();
        scene
    };
    // where it stands, the stage that it is in, whether its share must be taken
    type Row<'a> = (&'a str, &'a dyn Fn() -> Scene, Option<usize>, bool);
    let table: [Row<'_>; 6] = [
        ("waiting", &frozen, None, false),
        ("preparing", &preparing, None, false),
        ("shifting 1", &shifting, Some(0), false),
        ("holding 1", &holding, Some(0), true),
        ("parked 1 at 50 %", &parked, Some(0), true),
        ("adopting", &Scene::adopting, None, true),
    ];
    for (phase, scene, stage, has_share) in table {
        for superseded in [false, true] {
            let mut scene = scene();
            assert_eq!(scene.phase(), phase);
            let ask = Some(Ask { reason: Some("v3".into()), ..scene.ask() });
            let why = if superseded {
                scene.asks.superseded = ask;
                "superseded by ann (v3)"
            } else {
                scene.asks.abort = ask;
                "aborted by ann (v3)"
            };
            scene.says(Verdict::Pass);
            let decision = scene.step_seeing(None);
            assert_eq!(decision.effects, [Effect::SetShare { share: Share::ZERO }], "{phase}");
            assert_eq!((scene.because(), scene.back().stage), (why.to_owned(), stage), "{phase}");
            scene.step();
            assert_eq!(scene.back().safe.is_some(), !has_share, "{phase}");
            scene.share(0.0).no_candidate().step();
            assert_eq!(scene.phase(), "rolled back", "{phase}");
        }
    }
}

#[test]
fn an_abort_comes_before_a_supersession_and_neither_changes_why_it_goes_back() {
    let mut scene = Scene::holding(&[50.0, 100.0]);
    scene.asks.superseded = Some(scene.ask());
    scene.abort().step();
    assert_eq!(scene.because(), "aborted by ann");
    let mut scene = Scene::rolling_back();
    scene.abort().at(1, 1).step();
    assert_eq!((scene.because(), scene.back().decided), ("error_rate > 5%".into(), at(1, 0)));
}

#[test]
fn an_abort_is_too_late_once_stable_runs_the_release() {
    let mut scene = Scene::adopting();
    scene
        .abort()
        .stable("v2", 2)
        .looks("cleaning: share 0 % | traffic to be back at stable, until 11:00")
        .looks("cleaning: share 0 % | traffic to be back at stable, until 11:00");
    let mut in_time = Scene::adopting();
    in_time.abort().stable("v2", 1).step();
    assert_eq!(in_time.phase(), "rolling back");
}

// ---- parked

fn parked() -> Scene {
    let mut scene = Scene::new(&[50.0, 100.0]);
    scene.plan.insufficient_traffic = crate::policy::InsufficientTraffic::Hold;
    let mut scene = Scene::holding_of(scene);
    scene.at(10, 0).says(collecting()).looks(PARKED);
    scene
}

const PARKED: &str =
    "parked 1 at 50 %: - | person: a person: the deadline passed without proof, until 50:00";

#[test]
fn what_is_parked_keeps_its_share_or_less() {
    let lowered = PARKED.replace(": - |", ": share 50 % |");
    let mut scene = parked();
    scene.share(30.0).looks(PARKED).share(50.0).looks(PARKED).share(50.01).looks(&lowered);
    scene.world().share = None; // what is not known may be less
    scene.looks(PARKED);
    scene.looks_in_vain(PARKED);
}

#[test]
fn what_is_parked_is_still_judged() {
    let mut scene = parked();
    scene.says(breach()).step();
    assert_eq!((scene.phase(), scene.back().stage), ("rolling back".into(), Some(0)));
}

#[test]
fn what_is_parked_goes_on_when_a_person_says_so_afterwards() {
    parked().looks(PARKED).resume().looks(PARKED); // at the very moment: asked before it was seen
    parked().at(10, 1).resume().looks("holding 1: - | evidence, until 20:01");
    let mut before = Scene::new(&[50.0, 100.0]);
    before.plan.insufficient_traffic = crate::policy::InsufficientTraffic::Hold;
    let mut before = Scene::holding_of(before);
    before.at(9, 0).resume().at(10, 0).says(collecting()).looks(PARKED);
}

#[test]
fn what_is_parked_for_too_long_goes_back_for_the_reason_it_was_parked_for() {
    let mut scene = parked();
    scene.at(49, 59).looks(PARKED).at(50, 0).step();
    assert_eq!(
        scene.because(),
        "its time passed without proof: 20 of the 50 requests that a verdict needs"
    );
    let mut fight = Scene::holding(&[50.0, 100.0]);
    for second in [10, 20, 30] {
        fight.at(0, second).share(30.0).step();
        fight.share(50.0).step();
    }
    assert_eq!(fight.phase(), "parked 1 at 0 %");
    fight.at(40, 30).step();
    assert_eq!(fight.because(), "its time passed without proof");
}
