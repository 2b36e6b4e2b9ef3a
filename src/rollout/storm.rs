//! The invariants, under storms of everything that goes wrong, and then calm.
//!
//! Safety alone is kept by a gate that always says no; so every storm ends in calm, and then the
//! promotion must end where it should: promoted if nothing ever condemned it, else rolled back.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::*;
use crate::analysis::{JudgedOn, Judgement, Verdict};
use crate::plan::{JudgePlan, Plan, Release, Stage, TrafficPlan};
use crate::policy::{InsufficientTraffic, JudgeKind, Strategy as Kind, Testers};

const TICK: TimeDelta = TimeDelta::seconds(10);

pub(super) fn release(name: &str) -> Release {
    Release { name: name.into(), hash: name.into(), irreversible: false }
}

pub(super) fn plan(percent: &[f64]) -> Plan {
    let minutes = |m: u64| Duration::from_secs(m * 60);
    let stage = |p: &f64| Stage {
        share: Share::from_percent(*p).unwrap(),
        hold: minutes(1),
        deadline: minutes(10),
        approval: false,
    };
    Plan {
        target: "local/shop".into(),
        release: release("v2"),
        stable: release("v1"),
        strategy: Kind::Canary,
        stages: percent.iter().map(stage).collect(),
        conditions: Vec::new(),
        health_check: None,
        judge: JudgePlan {
            kind: JudgeKind::Threshold,
            interval: Duration::from_secs(10),
            window: Duration::from_secs(60),
            looks: 3,
            min_requests: 50,
            source: crate::policy::PROXY.into(),
            preset: None,
            queries: std::collections::BTreeMap::new(),
            source_interval: None,
            bounds_ms: Vec::new(),
        },
        insufficient_traffic: InsufficientTraffic::Rollback,
        observe_only: false,
        prepare_deadline: minutes(10),
        adopt_deadline: minutes(10),
        drain: Duration::from_secs(30),
        rollback_drain: Duration::from_secs(5),
        hold_max: minutes(60),
        approval_timeout: minutes(60),
        freeze: Vec::new(),
        policy_source: "test".into(),
        traffic: None,
    }
}

pub(super) fn judged(verdict: Verdict) -> Judgement {
    Judgement {
        verdict,
        readings: Vec::new(),
        confidence: None,
        judged_on: JudgedOn::All,
        healthy: true,
        stage_requests: 1000,
    }
}

fn breach() -> Judgement {
    judged(Verdict::Breach { causes: vec![Cause::in_words("too many errors")] })
}

/// What a plan says of traffic where testers are let in.
pub(super) fn with_testers() -> TrafficPlan {
    TrafficPlan {
        router: "gateway-api".into(),
        services: Vec::new(),
        routes: Vec::new(),
        set_apart: None,
        testers: Some(Testers { header: "x-release".into(), value: "next".into() }),
        watchdog: None,
    }
}

#[derive(Clone, Debug)]
enum Fault {
    None,
    /// Only so many of the effects happen.
    EffectsCut(usize),
    /// The gate dies before its decision is recorded.
    StateLost,
    /// Somebody else moves the share, in basis points.
    Drift(u16),
    PlatformSilent,
    NoLook,
    Unknown,
    Breach,
    Abort,
    Supersede,
    Hold,
    Resume,
    Approve(usize),
    StableDown,
    StableUp,
    CandidateGone,
    /// It crashed, and will be there again at the next look.
    CandidateCrashed,
    CandidateGaveUp,
    /// Somebody deletes what lets testers in.
    TestersCut,
    /// What lets testers in is there again: from elsewhere, or a write of long ago.
    TestersBack,
    LongPause,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        24 => Just(Fault::None),
        4 => (0usize..2).prop_map(Fault::EffectsCut),
        3 => Just(Fault::StateLost),
        1 => (0u16..=10_000).prop_map(Fault::Drift),
        2 => Just(Fault::PlatformSilent),
        2 => Just(Fault::NoLook),
        2 => Just(Fault::Unknown),
        1 => Just(Fault::Breach),
        1 => Just(Fault::Abort),
        1 => Just(Fault::Supersede),
        1 => Just(Fault::Hold),
        2 => Just(Fault::Resume),
        2 => (0usize..3).prop_map(Fault::Approve),
        1 => Just(Fault::StableDown),
        2 => Just(Fault::StableUp),
        1 => Just(Fault::CandidateGone),
        2 => Just(Fault::CandidateCrashed),
        1 => Just(Fault::CandidateGaveUp),
        1 => Just(Fault::TestersCut),
        1 => Just(Fault::TestersBack),
        1 => Just(Fault::LongPause),
    ]
}

/// A storm without what condemns: it must end promoted unless a deadline passed.
fn mild_fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        6 => Just(Fault::None),
        2 => (0usize..2).prop_map(Fault::EffectsCut),
        2 => Just(Fault::StateLost),
        1 => Just(Fault::PlatformSilent),
        1 => Just(Fault::NoLook),
        1 => Just(Fault::Unknown),
        1 => Just(Fault::StableUp),
        1 => Just(Fault::TestersCut),
    ]
}

/// A world as simple as can be, in which every effect takes a tick.
struct Sim {
    plan: Plan,
    state: State,
    now: DateTime<Utc>,
    share: Share,
    testers: TestersAre,
    stable: String,
    stable_ready: u32,
    candidate: Option<(u32, Share, bool)>,
    asks: Asks,
    holding_since: Option<(usize, DateTime<Utc>)>,
}

impl Sim {
    fn new(plan: Plan) -> Self {
        let now = DateTime::UNIX_EPOCH;
        Self {
            stable: plan.stable.hash.clone(),
            plan,
            state: State::new(now),
            now,
            share: Share::ZERO,
            testers: TestersAre::Out,
            stable_ready: 2,
            candidate: None,
            asks: Asks::default(),
            holding_since: None,
        }
    }

    fn ask(&self) -> Ask {
        Ask { at: self.now, by: "ops".into(), reason: None }
    }

    fn world(&self) -> World {
        let workload = |revision: &str, ready, sized_for, gave_up| Workload {
            revision: revision.to_owned(),
            ready,
            wanted: 2,
            sized_for,
            trouble: (ready < 2).then(|| Trouble {
                what: "crashed".into(),
                its_own: true,
                gave_up,
            }),
        };
        World {
            share: Some(self.share),
            testers: self.testers,
            stable: workload(&self.stable, self.stable_ready, Share::FULL, false),
            candidate: self.candidate.map(|(ready, sized, gave_up)| {
                workload(&self.plan.release.hash, ready, sized, gave_up)
            }),
            retiring: false,
            last_assigned: None,
            connections: Some(0),
        }
    }

    /// Applies what the fault does to the world and to what persons asked for.
    fn suffer(&mut self, fault: &Fault) {
        if self.state.ended().is_some() {
            return; // what comes after the end is not the promotion's
        }
        let ask = self.ask();
        match fault {
            Fault::Drift(points) => self.share = Share::from_basis_points(*points).unwrap(),
            Fault::Abort => self.asks.abort = Some(ask),
            Fault::Supersede => self.asks.superseded = Some(ask),
            Fault::Hold => self.asks.hold = Some(ask),
            Fault::Resume => self.asks.resume = Some(ask),
            Fault::Approve(stage) => {
                self.asks.approved.insert(*stage, ask);
            }
            Fault::StableDown => self.stable_ready = 0,
            Fault::StableUp => self.stable_ready = 2,
            Fault::CandidateGone => self.candidate = None,
            Fault::CandidateCrashed => {
                if let Some((ready, _, _)) = &mut self.candidate {
                    *ready = 0;
                }
            }
            Fault::CandidateGaveUp => {
                if let Some((ready, _, gave_up)) = &mut self.candidate {
                    (*ready, *gave_up) = (0, true);
                }
            }
            Fault::TestersCut => self.testers = TestersAre::Between,
            Fault::TestersBack if self.candidate.is_some() => self.testers = TestersAre::In,
            Fault::LongPause => self.now += TimeDelta::minutes(7),
            Fault::TestersBack
            | Fault::None
            | Fault::EffectsCut(_)
            | Fault::StateLost
            | Fault::PlatformSilent
            | Fault::NoLook
            | Fault::Unknown
            | Fault::Breach => {}
        }
    }

    fn seen(&self, fault: &Fault) -> Observation {
        let world = (!matches!(fault, Fault::PlatformSilent)).then(|| self.world());
        let judged = match fault {
            Fault::NoLook => None,
            Fault::Unknown => Some(judged(Verdict::Unknown { why: vec![Unknown::Collecting] })),
            Fault::Breach => Some(breach()),
            _ => Some(judged(Verdict::Pass)),
        };
        let judged = judged.filter(|_| self.state.is_judged());
        Observation { now: self.now, world, judged, asks: self.asks.clone() }
    }

    fn happen(&mut self, effect: Effect) {
        match effect {
            Effect::EnsureCandidate { share } => match &mut self.candidate {
                None => self.candidate = Some((0, share, false)),
                Some((ready, sized, _)) => {
                    *sized = (*sized).max(share);
                    if *ready > 0 && self.plan.traffic.is_some() {
                        self.testers = TestersAre::In;
                    }
                }
            },
            Effect::SetShare { share } => {
                self.share = share;
                if share.is_zero() {
                    self.testers = TestersAre::Out;
                }
            }
            Effect::RemoveCandidate => self.candidate = None,
            Effect::Adopt => self.stable = self.plan.release.hash.clone(),
            Effect::RestoreStable => self.stable = self.plan.stable.hash.clone(),
        }
    }

    /// One tick under a fault; checks every invariant that speaks of one step.
    fn tick(&mut self, fault: &Fault) -> Result<(), TestCaseError> {
        self.now += TICK;
        if let Some((ready, _, false)) = &mut self.candidate {
            *ready = 2;
        }
        self.suffer(fault);
        let seen = self.seen(fault);
        let decision = step(&self.plan, &self.state, &seen);
        prop_assert_eq!(
            &decision,
            &step(&self.plan, &self.state, &seen),
            "not the same answer twice"
        );
        self.check(&seen, &decision)?;
        if matches!(fault, Fault::StateLost) {
            return Ok(());
        }
        self.state = decision.state;
        let happen = match fault {
            Fault::EffectsCut(n) => *n,
            _ => decision.effects.len(),
        };
        for effect in decision.effects.into_iter().take(happen) {
            self.happen(effect);
        }
        Ok(())
    }

    fn check(&mut self, seen: &Observation, next: &Decision) -> Result<(), TestCaseError> {
        let world = seen.world.as_ref();
        if self.state.ended().is_some() {
            prop_assert_eq!(&next.state, &self.state, "a terminal state is for ever");
            prop_assert!(next.effects.is_empty());
            return Ok(());
        }
        match next.state.ended() {
            Some(End::RolledBack) => {
                let world = world.expect("a terminal state is seen");
                prop_assert_eq!(world.share, Some(Share::ZERO));
                prop_assert_eq!(world.testers, TestersAre::Out);
                prop_assert_eq!(&world.stable.revision, &self.plan.stable.hash);
            }
            Some(End::Promoted) => {
                let world = world.expect("a terminal state is seen");
                prop_assert_eq!(world.share, Some(Share::ZERO), "traffic was not given back");
                prop_assert_eq!(world.testers, TestersAre::Out);
                prop_assert_eq!(&world.stable.revision, &self.plan.release.hash);
                prop_assert_eq!(next.state.stages_passed, self.plan.stages.len());
                prop_assert!(next.state.back.is_none());
            }
            Some(End::AdoptionStuck) | None => {}
        }
        if next.state.back.is_some() {
            for effect in &next.effects {
                let lowers = matches!(
                    effect,
                    Effect::SetShare { share: Share::ZERO }
                        | Effect::RemoveCandidate
                        | Effect::RestoreStable
                );
                prop_assert!(lowers, "{effect:?} after it was condemned");
            }
        }
        self.check_nothing_to_nobody(world, next)?;
        self.check_hold(seen, next)?;
        self.check_whose_fault(seen, next)?;
        self.check_stage_left(seen, next)?;
        let w = &next.waiting;
        prop_assert!(w.until.is_some() || w.on_person || next.state.ended().is_some(), "{w:?}");
        Ok(())
    }

    /// Everything is never sent to nothing while the other revision serves.
    fn check_nothing_to_nobody(
        &self,
        world: Option<&World>,
        next: &Decision,
    ) -> Result<(), TestCaseError> {
        let Some(world) = world else { return Ok(()) };
        for effect in &next.effects {
            let ready = world.candidate.as_ref().map_or(0, |candidate| candidate.ready);
            match effect {
                Effect::SetShare { share } if share.is_zero() && next.state.back.is_some() => {
                    prop_assert!(world.stable.ready > 0 || ready == 0, "stable has no ready copy");
                }
                Effect::RemoveCandidate => {
                    prop_assert_eq!(world.testers, TestersAre::Out, "testers are sent to nobody");
                    let left = world.stable.ready > 0 || ready == 0;
                    prop_assert!(left || next.state.back.is_none(), "nobody is left to serve");
                }
                Effect::SetShare { share } if Some(*share) > world.share => {
                    prop_assert!(ready > 0, "the candidate has no ready copy for {share}");
                    let first = matches!(next.state.phase, Phase::Shifting { .. });
                    let testers = world.testers == TestersAre::In || self.plan.traffic.is_none();
                    prop_assert!(testers || !first, "everybody before the testers");
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A person's hold stops the deadlines of a stage: only its own ends it.
    fn check_hold(&self, seen: &Observation, next: &Decision) -> Result<(), TestCaseError> {
        let in_stage = matches!(self.state.phase, Phase::Shifting { .. } | Phase::Holding { .. });
        let because = next.state.back.as_ref().map(|back| &back.because);
        if let (true, Some(hold), Some(Because::NoProof(_))) = (in_stage, seen.asks.held(), because)
        {
            prop_assert!(seen.now - hold.at >= TimeDelta::minutes(60), "{because:?} while held");
        }
        Ok(())
    }

    /// A deadline blames the release for what it lacks itself, and nothing but time for the rest.
    fn check_whose_fault(&self, seen: &Observation, next: &Decision) -> Result<(), TestCaseError> {
        let in_stage = matches!(self.state.phase, Phase::Shifting { .. } | Phase::Holding { .. });
        let parked =
            matches!(next.state.phase, Phase::Parked { why: ParkedBecause::NoProof(_), .. });
        let because = next.state.back.as_ref().map(|back| &back.because);
        let unproven = parked || matches!(because, Some(Because::NoProof(_)));
        if in_stage && unproven && seen.asks.held().is_none() && !self.plan.observe_only {
            let asked = matches!(&self.state.phase, Phase::Holding { clock, .. } if clock.approval_asked.is_some());
            let candidate = seen.world.as_ref().and_then(|world| world.candidate.as_ref());
            let crashed = candidate.is_some_and(|candidate| !candidate.complete());
            prop_assert!(asked || !crashed, "no proof, but it crashed");
        }
        Ok(())
    }

    /// No stage is left upwards without a pass at that very look, nor before its hold is over.
    fn check_stage_left(
        &mut self,
        seen: &Observation,
        next: &Decision,
    ) -> Result<(), TestCaseError> {
        let Phase::Holding { stage, .. } = &self.state.phase else {
            self.holding_since = None;
            return Ok(());
        };
        let since = match self.holding_since {
            Some((held, since)) if held == *stage => since,
            _ => self.state.since,
        };
        self.holding_since = Some((*stage, since));
        if next.state.stages_passed > self.state.stages_passed.min(*stage)
            && next.state.stage() != Some(*stage)
            && next.state.back.is_none()
        {
            prop_assert!(
                seen.now - since >= TimeDelta::minutes(1),
                "left before its hold was over"
            );
            let verdict = seen.judged.as_ref().map(|judged| judged.verdict.clone());
            prop_assert_eq!(verdict, Some(Verdict::Pass), "left without a pass");
            prop_assert!(seen.asks.held().is_none(), "left while a person holds");
            let approval = self.plan.stages[*stage].approval;
            prop_assert!(!approval || seen.asks.approved.contains_key(stage), "left unapproved");
        }
        Ok(())
    }

    /// Calm: everything works, persons answer.
    fn calm(&mut self) -> Result<(), TestCaseError> {
        self.stable_ready = 2;
        for _ in 0..300 {
            for stage in 0..self.plan.stages.len() {
                let ask = self.ask();
                self.asks.approved.entry(stage).or_insert(ask);
            }
            let parked = matches!(self.state.phase, Phase::Parked { .. });
            if parked || self.asks.held().is_some() {
                self.now += TICK;
                self.asks.resume = Some(self.ask());
            }
            self.tick(&Fault::None)?;
        }
        Ok(())
    }
}

fn weather(mut sim: Sim, faults: &[Fault]) -> Result<Sim, TestCaseError> {
    for fault in faults {
        sim.tick(fault)?;
    }
    sim.calm()?;
    if sim.state.ended() == Some(End::AdoptionStuck) {
        prop_assert!(faults.iter().any(|fault| matches!(fault, Fault::StableDown)));
        let moved = faults.iter().any(|fault| matches!(fault, Fault::Drift(_)));
        prop_assert!(sim.share.is_full() || moved, "the candidate does not serve");
        return Ok(sim);
    }
    let condemned = sim.state.back.is_some();
    let expected = if condemned { End::RolledBack } else { End::Promoted };
    prop_assert_eq!(sim.state.ended(), Some(expected), "stuck in {:?}", sim.state);
    prop_assert_eq!((sim.share, sim.testers), (Share::ZERO, TestersAre::Out));
    let revision = if condemned { &sim.plan.stable.hash } else { &sim.plan.release.hash };
    prop_assert_eq!(&sim.stable, revision);
    prop_assert!(sim.candidate.is_none(), "a candidate is left behind");
    Ok(sim)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn a_canary_weathers_every_storm(faults in prop::collection::vec(fault(), 0..120)) {
        weather(Sim::new(plan(&[5.0, 25.0, 100.0])), &faults)?;
    }

    #[test]
    fn blue_green_weathers_every_storm(faults in prop::collection::vec(fault(), 0..120)) {
        weather(Sim::new(plan(&[0.0, 100.0])), &faults)?;
    }

    #[test]
    fn testers_weather_every_storm(
        first in prop::sample::select(vec![0.0, 5.0]),
        faults in prop::collection::vec(fault(), 0..120),
    ) {
        let plan = Plan { traffic: Some(with_testers()), ..plan(&[first, 100.0]) };
        weather(Sim::new(plan), &faults)?;
    }

    #[test]
    fn approvals_weather_every_storm(faults in prop::collection::vec(fault(), 0..120)) {
        let mut plan = plan(&[10.0, 100.0]);
        plan.stages.iter_mut().for_each(|stage| stage.approval = true);
        weather(Sim::new(plan), &faults)?;
    }

    #[test]
    fn a_mild_storm_is_no_reason_to_go_back(faults in prop::collection::vec(mild_fault(), 0..25)) {
        let sim = weather(Sim::new(plan(&[5.0, 25.0, 100.0])), &faults)?;
        prop_assert_eq!(sim.state.ended(), Some(End::Promoted));
    }

    #[test]
    fn an_irreversible_release_never_goes_back_by_itself(
        faults in prop::collection::vec(fault(), 0..120),
    ) {
        let mut plan = plan(&[5.0, 100.0]);
        plan.release.irreversible = true;
        let mut sim = Sim::new(plan);
        for fault in &faults {
            sim.tick(fault)?;
            let by_person = sim.asks.abort.is_some() || sim.asks.superseded.is_some();
            prop_assert!(sim.state.back.is_none() || by_person, "{:?}", sim.state.back);
        }
    }

    #[test]
    fn observing_only_never_decides(faults in prop::collection::vec(fault(), 0..120)) {
        let mut plan = plan(&[5.0, 100.0]);
        plan.observe_only = true;
        let mut sim = Sim::new(plan);
        for fault in &faults {
            sim.now += TICK;
            let seen = sim.seen(fault);
            let next = step(&sim.plan, &sim.state, &seen);
            let breached = next.state.back.as_ref().map(|back| &back.because);
            prop_assert!(!matches!(breached, Some(Because::Breach(_))), "it only observes");
            if let (true, Some(Verdict::Breach { .. })) = (sim.state.stage().is_some(), seen.judged.map(|j| j.verdict)) {
                prop_assert!(next.state.would_have.is_some());
            }
            sim.state = next.state;
            next.effects.into_iter().for_each(|effect| sim.happen(effect));
            if let Some((ready, _, _)) = &mut sim.candidate { *ready = 2 }
        }
    }
}
