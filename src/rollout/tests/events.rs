//! What is told of each change, by its published name, in order.

use super::*;

impl Scene {
    /// Returns the names of the newest look's events, those of a stage with its number.
    fn told(&self) -> Vec<String> {
        let name = |event: &Event| {
            let name = word(&event.event);
            event.stage.map_or(name.clone(), |stage| format!("{name} {stage}"))
        };
        self.events.iter().map(name).collect()
    }

    /// Takes one look and expects these events.
    #[track_caller]
    fn tells(&mut self, expected: &[&str]) -> &mut Self {
        self.step();
        assert_eq!(self.told(), expected, "in {}", self.phase());
        assert!(self.events.iter().all(|event| event.at == self.now));
        self
    }

    fn message(&self, n: usize) -> &str {
        &self.events[n].message
    }
}

fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
}

#[test]
fn the_names_are_the_published_ones() {
    use EventName::*;
    let published = [
        (PromotionStarted, "promotion.started"),
        (PromotionWaiting, "promotion.waiting"),
        (PromotionSuperseded, "promotion.superseded"),
        (PromotionFinished, "promotion.finished"),
        (StageEntered, "stage.entered"),
        (StageHeld, "stage.held"),
        (StagePassed, "stage.passed"),
        (ShareAsked, "share.asked"),
        (ShareSeen, "share.seen"),
        (VerdictChanged, "verdict.changed"),
        (HumanRequested, "human.requested"),
        (RollbackStarted, "rollback.started"),
        (RollbackVerified, "rollback.verified"),
        (RollbackIneffective, "rollback.ineffective"),
        (AdoptionStarted, "adoption.started"),
        (AdoptionFinished, "adoption.finished"),
        (EffectFailed, "effect.failed"),
        (EvidenceLost, "evidence.lost"),
        (EvidenceBack, "evidence.back"),
        (CleanupFinished, "cleanup.finished"),
    ];
    for (name, published) in published {
        assert_eq!(word(&name), published);
        assert_eq!(serde_json::from_value::<EventName>(published.into()).unwrap(), name);
    }
}

#[test]
fn a_promotion_tells_each_change_once_and_in_order() {
    let mut scene = Scene::new(&[5.0, 100.0]);
    scene.tells(&["promotion.started"]);
    assert_eq!(scene.message(0), "v2 goes through 5 %, 100 %");
    scene.tells(&[]).candidate(2, 100.0).tells(&["stage.entered 1", "share.asked 1"]);
    assert_eq!(scene.message(0), "stage 1 of 2: 5 % of the traffic");
    assert_eq!(scene.message(1), "5 % asked");
    assert_eq!(scene.events[0].share, Some(share(5.0)));
    scene
        .tells(&[])
        .share(5.0)
        .tells(&["share.seen 1"])
        .says(Verdict::Pass)
        .tells(&["verdict.changed 1"])
        .tells(&[])
        .at(1, 0)
        .tells(&["stage.passed 1", "stage.entered 2", "share.asked 2"]);
    assert_eq!(scene.message(0), "passed");
    assert_eq!(scene.message(1), "stage 2 of 2: 100 % of the traffic");
    scene
        .share(100.0)
        .tells(&["share.seen 2"])
        .at(2, 0)
        .tells(&["stage.passed 2", "adoption.started"])
        .tells(&[])
        .stable("v2", 2)
        .tells(&["adoption.finished"]);
    assert_eq!(scene.message(0), "stable runs v2");
    scene.share(0.0).tells(&[]).no_candidate().tells(&["cleanup.finished", "promotion.finished"]);
    assert_eq!(scene.message(1), "v2 passed every stage");
    scene.tells(&[]);
}

#[test]
fn what_happens_in_one_look_is_told_as_if_it_had_taken_several() {
    let mut scene = Scene::new(&[0.0, 100.0]);
    scene.candidate(2, 100.0).tells(&[
        "promotion.started",
        "stage.entered 1",
        "share.asked 1",
        "share.seen 1",
    ]);
    let mut scene = Scene::adopting();
    scene.stable("v2", 2).share(0.0).no_candidate().tells(&[
        "adoption.finished",
        "cleanup.finished",
        "promotion.finished",
    ]);
    let mut scene = Scene::new(&[5.0]);
    scene.abort().tells(&[
        "promotion.started",
        "rollback.started",
        "rollback.verified",
        "cleanup.finished",
        "promotion.finished",
    ]);
}

#[test]
fn a_freeze_is_told() {
    let mut scene = Scene::new(&[5.0]);
    let time = |hour: i64| crate::policy::FreezeTime::Daily(at(60 * hour, 0).naive_utc().time());
    scene.plan.freeze =
        vec![crate::policy::Freeze { from: time(0), to: time(1), zone: chrono_tz::UTC }];
    scene.tells(&["promotion.started", "promotion.waiting"]).tells(&[]);
}

#[test]
fn a_rollback_tells_why_and_when_it_is_seen_to_work() {
    let mut scene = Scene::holding(&[50.0, 100.0]);
    scene.at(1, 0).says(breach()).tells(&["verdict.changed 1", "rollback.started 1"]);
    assert_eq!(scene.message(0), "from unknown to breach");
    assert_eq!(scene.message(1), "error_rate > 5%");
    scene
        .tells(&[])
        .at(2, 0)
        .tells(&["rollback.ineffective 1"])
        .tells(&[])
        .share(0.0)
        .tells(&["rollback.verified 1"]);
    assert_eq!(scene.message(0), "stable serves everything (v1)");
    scene.tells(&[]).no_candidate().tells(&["cleanup.finished", "promotion.finished"]);
    assert_eq!(scene.message(1), "error_rate > 5%");
}

#[test]
fn the_end_of_a_rollback_comes_after_what_proves_it() {
    Scene::rolling_back().share(0.0).no_candidate().tells(&[
        "rollback.verified 1",
        "cleanup.finished",
        "promotion.finished",
    ]);
}

#[test]
fn a_supersession_is_told_before_its_rollback() {
    let mut scene = Scene::holding(&[50.0, 100.0]);
    scene.asks.superseded = Some(scene.ask());
    scene.tells(&["promotion.superseded 1", "rollback.started 1"]).tells(&[]);
}

#[test]
fn an_adoption_that_is_stuck_only_ends() {
    Scene::adopting().at(9, 0).tells(&["promotion.finished"]);
}

#[test]
fn a_person_is_asked_for_once() {
    let mut held = Scene::holding(&[50.0, 100.0]);
    held.hold()
        .tells(&["stage.held 1", "human.requested 1"])
        .tells(&[])
        .at(0, 10)
        .resume()
        .tells(&[])
        .at(0, 20)
        .hold()
        .tells(&["stage.held 1", "human.requested 1"]);

    let mut scene = Scene::new(&[50.0, 100.0]);
    scene.plan.stages[0].approval = true;
    let mut approval = Scene::holding_of(scene);
    approval
        .says(Verdict::Pass)
        .at(1, 0)
        .tells(&["verdict.changed 1", "stage.held 1", "human.requested 1"])
        .tells(&[])
        .hold()
        .tells(&[])
        .at(2, 0)
        .resume()
        .tells(&["human.requested 1"]) // the hold is answered, the approval is not
        .approve(0)
        .tells(&["stage.passed 1", "stage.entered 2", "share.asked 2"]);

    let mut fight = Scene::holding(&[50.0, 100.0]);
    fight.share(30.0).tells(&["stage.entered 1", "share.asked 1"]);
    fight.share(50.0).tells(&["share.seen 1"]);
    fight.share(30.0).step();
    fight.share(50.0).step();
    fight.share(30.0).tells(&["stage.held 1", "human.requested 1"]).tells(&[]);
    assert_eq!(fight.state.stage(), Some(0));
    fight.at(1, 0).share(50.0).resume().tells(&[
        "stage.entered 1",
        "share.asked 1",
        "share.seen 1",
    ]);
}

#[test]
fn evidence_that_is_lost_and_comes_back_is_told() {
    let lost = || Verdict::Unknown { why: vec![Unknown::Stale { age_s: 90 }] };
    Scene::holding(&[50.0, 100.0])
        .says(collecting())
        .tells(&[])
        .says(lost())
        .tells(&["evidence.lost 1"])
        .tells(&[])
        .no_look()
        .tells(&[])
        .says(Verdict::Pass)
        .tells(&["evidence.back 1", "verdict.changed 1"])
        .says(lost())
        .tells(&["evidence.lost 1", "verdict.changed 1"]);
}

#[test]
fn a_stage_that_passed_on_health_alone_says_so() {
    let mut scene = Scene::holding(&[50.0, 100.0]);
    scene.at(1, 0).says(Verdict::Pass).judgement().judged_on = crate::analysis::JudgedOn::Health;
    scene.step();
    assert_eq!(scene.message(1), "passed on health alone: there was too little traffic");
}

#[test]
fn what_was_recorded_before_the_gate_died_is_not_told_again() {
    let mut scene = Scene::holding(&[50.0, 100.0]);
    scene.at(1, 0).says(Verdict::Pass).step();
    let state: State = serde_json::from_str(&serde_json::to_string(&scene.state).unwrap()).unwrap();
    assert_eq!(between(&scene.plan, Some(&scene.state), &state, at(1, 1)), []);
}
