//! Scenarios: what follows from what, one look after the other.
//!
//! A [`Scene`] is a promotion and the world as it is seen; nothing in it happens by itself. Each
//! [`looks`](Scene::looks) takes one step and compares it with one line:
//! `phase: effects | what it waits for`. Times are minutes and seconds since the start.

use chrono::{DateTime, TimeDelta, Utc};

use super::storm::{judged, plan, with_testers};
use super::*;
use crate::analysis::Judgement;
use crate::analysis::Verdict;
use crate::plan::Plan;

mod back;
mod events;
mod forward;
mod persons;
mod results;

pub(super) struct Scene {
    pub(super) plan: Plan,
    pub(super) state: State,
    now: DateTime<Utc>,
    world: Option<World>,
    judged: Option<Judgement>,
    pub(super) asks: Asks,
    begun: bool,
    /// The events of the newest look.
    events: Vec<Event>,
}

pub(super) fn at(minute: i64, second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(60 * minute + second)
}

fn share(percent: f64) -> Share {
    Share::from_percent(percent).unwrap()
}

pub(super) fn minutes(minutes: u64) -> std::time::Duration {
    std::time::Duration::from_secs(60 * minutes)
}

fn workload(revision: &str, ready: u32, sized_for: f64) -> Workload {
    let (revision, sized_for) = (revision.to_owned(), share(sized_for));
    Workload { revision, ready, wanted: 2, sized_for, trouble: None }
}

pub(super) fn collecting() -> Verdict {
    Verdict::Unknown { why: vec![Unknown::TooFewRequests { seen: 20, needed: 50 }] }
}

pub(super) fn breach() -> Verdict {
    Verdict::Breach { causes: vec![Cause::in_words("error_rate > 5%")] }
}

impl Scene {
    /// A promotion that has just begun: stable `v1` serves everything, there is no candidate.
    ///
    /// A hold is 1 minute, a stage's deadline 10; preparing may take 7, adopting 8; a person's hold
    /// 40, an approval 20 minutes. Each is another number, so that none can stand for another.
    pub(super) fn new(percent: &[f64]) -> Self {
        let mut plan = plan(percent);
        (plan.prepare_deadline, plan.adopt_deadline) = (minutes(7), minutes(8));
        (plan.hold_max, plan.approval_timeout) = (minutes(40), minutes(20));
        let world = World {
            share: Some(Share::ZERO),
            testers: TestersAre::Out,
            stable: workload("v1", 2, 100.0),
            candidate: None,
            retiring: false,
            last_assigned: None,
            connections: None,
        };
        Self {
            plan,
            state: State::new(at(0, 0)),
            now: at(0, 0),
            world: Some(world),
            judged: None,
            asks: Asks::default(),
            begun: false,
            events: Vec::new(),
        }
    }

    /// The same, held at its first stage since the start.
    pub(super) fn holding(percent: &[f64]) -> Self {
        Self::holding_of(Self::new(percent))
    }

    pub(super) fn holding_of(mut scene: Self) -> Self {
        let first = scene.plan.stages[0].share;
        scene.candidate(2, 100.0).world().share = Some(first);
        scene.step();
        assert_eq!(scene.phase(), "holding 1");
        scene
    }

    /// The same, with every stage passed and stable taking the release since 1:00.
    pub(super) fn adopting() -> Self {
        let mut scene = Self::holding(&[100.0]);
        scene.at(1, 0).says(Verdict::Pass).step();
        assert_eq!(scene.phase(), "adopting");
        scene
    }

    /// The same, going back since 1:00 from a share of 50 %.
    pub(super) fn rolling_back() -> Self {
        let mut scene = Self::holding(&[50.0, 100.0]);
        scene.at(1, 0).says(breach()).step();
        assert_eq!(scene.phase(), "rolling back");
        scene
    }

    // ---- what happens

    pub(super) fn at(&mut self, minute: i64, second: i64) -> &mut Self {
        self.now = at(minute, second);
        self
    }

    pub(super) fn world(&mut self) -> &mut World {
        self.world.as_mut().unwrap()
    }

    /// The candidate has so many ready instances of two, enough for this share.
    pub(super) fn candidate(&mut self, ready: u32, sized_for: f64) -> &mut Self {
        self.world().candidate = Some(workload("v2", ready, sized_for));
        self
    }

    /// The plan lets testers in.
    pub(super) fn with_testers(mut self) -> Self {
        self.plan.traffic = Some(with_testers());
        self
    }

    pub(super) fn testers(&mut self, are: TestersAre) -> &mut Self {
        self.world().testers = are;
        self
    }

    pub(super) fn trouble(&mut self, its_own: bool, gave_up: bool) -> &mut Self {
        let what = if its_own { "crashed" } else { "no room" }.to_owned();
        self.candidate(0, 100.0).world().candidate.as_mut().unwrap().trouble =
            Some(Trouble { what, its_own, gave_up });
        self
    }

    pub(super) fn no_candidate(&mut self) -> &mut Self {
        self.world().candidate = None;
        self
    }

    pub(super) fn stable(&mut self, revision: &str, ready: u32) -> &mut Self {
        self.world().stable = workload(revision, ready, 100.0);
        self
    }

    pub(super) fn share(&mut self, percent: f64) -> &mut Self {
        self.world().share = Some(share(percent));
        self
    }

    pub(super) fn says(&mut self, verdict: Verdict) -> &mut Self {
        self.judged = Some(judged(verdict));
        self
    }

    pub(super) fn judgement(&mut self) -> &mut Judgement {
        self.judged.as_mut().unwrap()
    }

    pub(super) fn no_look(&mut self) -> &mut Self {
        self.judged = None;
        self
    }

    pub(super) fn ask(&self) -> Ask {
        Ask { at: self.now, by: "ann".into(), reason: None }
    }

    pub(super) fn abort(&mut self) -> &mut Self {
        self.asks.abort = Some(self.ask());
        self
    }

    pub(super) fn hold(&mut self) -> &mut Self {
        self.asks.hold = Some(self.ask());
        self
    }

    pub(super) fn resume(&mut self) -> &mut Self {
        self.asks.resume = Some(self.ask());
        self
    }

    pub(super) fn approve(&mut self, stage: usize) -> &mut Self {
        let ask = self.ask();
        self.asks.approved.insert(stage, ask);
        self
    }

    // ---- what the gate does

    pub(super) fn step(&mut self) -> Decision {
        self.step_seeing(self.world.clone())
    }

    fn step_seeing(&mut self, world: Option<World>) -> Decision {
        let seen = Observation {
            now: self.now,
            world,
            judged: self.judged.clone(),
            asks: self.asks.clone(),
        };
        let decision = step(&self.plan, &self.state, &seen);
        let before = self.begun.then_some(&self.state);
        self.events = between(&self.plan, before, &decision.state, self.now);
        (self.state, self.begun) = (decision.state.clone(), true);
        decision
    }

    /// Takes one look and expects this line.
    #[track_caller]
    pub(super) fn looks(&mut self, expected: &str) -> &mut Self {
        let decision = self.step();
        assert_eq!(self.line(&decision), expected, "at {}", clock(self.now));
        self
    }

    /// Takes one look at which the platform can't be read, and expects this line.
    #[track_caller]
    pub(super) fn looks_in_vain(&mut self, expected: &str) -> &mut Self {
        let decision = self.step_seeing(None);
        assert_eq!(self.line(&decision), expected, "at {}", clock(self.now));
        self
    }

    fn line(&self, decision: &Decision) -> String {
        let effects: Vec<String> = decision.effects.iter().map(effect).collect();
        let effects = if effects.is_empty() { "-".to_owned() } else { effects.join(", ") };
        let Waiting { for_what, until, on_person } = &decision.waiting;
        let until = until.map(|until| format!(", until {}", clock(until))).unwrap_or_default();
        let person = if *on_person { "person: " } else { "" };
        format!("{}: {effects} | {person}{for_what}{until}", self.phase())
    }

    pub(super) fn phase(&self) -> String {
        match &self.state.phase {
            Phase::Waiting => "waiting".into(),
            Phase::Preparing => "preparing".into(),
            Phase::Shifting { stage } => format!("shifting {}", stage + 1),
            Phase::Holding { stage, .. } => format!("holding {}", stage + 1),
            Phase::Parked { stage, share, .. } => format!("parked {} at {share}", stage + 1),
            Phase::Adopting => "adopting".into(),
            Phase::Cleaning => "cleaning".into(),
            Phase::RollingBack => "rolling back".into(),
            Phase::Ended { end: End::Promoted } => "promoted".into(),
            Phase::Ended { end: End::RolledBack } => "rolled back".into(),
            Phase::Ended { end: End::AdoptionStuck } => "adoption stuck".into(),
        }
    }

    /// Returns why it goes or went back, in words.
    pub(super) fn because(&self) -> String {
        self.state.back.as_ref().unwrap().because.to_string()
    }

    pub(super) fn outcome(&self) -> Outcome {
        outcome(&self.plan, &self.state, self.now)
    }

    pub(super) fn back(&self) -> &WayBack {
        self.state.back.as_ref().unwrap()
    }
}

fn effect(effect: &Effect) -> String {
    match effect {
        Effect::EnsureCandidate { share } => format!("candidate for {share}"),
        Effect::SetShare { share } => format!("share {share}"),
        Effect::RemoveCandidate => "remove candidate".into(),
        Effect::Adopt => "adopt".into(),
        Effect::RestoreStable => "restore stable".into(),
    }
}

/// `12:30`: minutes and seconds since the start.
fn clock(moment: DateTime<Utc>) -> String {
    let seconds = (moment - DateTime::UNIX_EPOCH).num_seconds();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}
