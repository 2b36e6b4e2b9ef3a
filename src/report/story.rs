//! A promotion's records, digested for drawing: what each stage saw, the points of the curves, and
//! what happened when. Nothing is judged here again; what the record says is shown.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::rates::{Rates, Revision};
use crate::analysis::{Judgement, Look, Reading, VerdictWord};
use crate::history::{AskedFor, Record};
use crate::plan::{Plan, Stage};
use crate::published::unknown_reasons;
use crate::rollout::{Ask, Event, EventName, Phase, State};
use crate::share::Share;

/// One promotion, from its first record to its newest.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    pub id: String,
    pub by: String,
    pub plan: Plan,
    pub started: DateTime<Utc>,
    pub ended: DateTime<Utc>,
    pub stages: Vec<StageStory>,
    pub looks: Vec<LookPoint>,
    /// The candidate's share and the moment from which it held.
    pub shares: Vec<(DateTime<Utc>, Share)>,
    pub events: Vec<Event>,
    pub asks: Vec<(AskedFor, Ask)>,
}

/// What became of one stage.
#[derive(Clone, Debug, PartialEq)]
pub struct StageStory {
    pub plan: Stage,
    /// When its share was first seen.
    pub seen: Option<DateTime<Utc>>,
    /// For how long it was held, without the time for which its clock stood.
    pub held: Option<Duration>,
    pub end: StageEnd,
    /// Every condition at the newest look of the stage.
    pub readings: Vec<Reading>,
    pub verdict: Option<VerdictWord>,
    /// Why the newest verdict was unknown.
    pub unknown: Vec<String>,
    /// How sure it was that the candidate is worse, 0–1; absent with the threshold judge.
    pub confidence: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageEnd {
    NotReached,
    Passed,
    /// There was too little traffic for more.
    PassedOnHealth,
    /// The promotion went back from here.
    WentBack,
    /// It was here when the records end.
    Present,
}

/// One look, as a point of the curves.
#[derive(Clone, Debug, PartialEq)]
pub struct LookPoint {
    pub at: DateTime<Utc>,
    /// 0-based.
    pub stage: usize,
    pub verdict: VerdictWord,
    pub confidence: Option<f64>,
    pub baseline: Rates,
    pub candidate: Rates,
}

impl Story {
    /// Digests a promotion's records; `None` when the first is not the start of one.
    #[must_use]
    pub fn of(records: &[(DateTime<Utc>, Record)]) -> Option<Self> {
        let ((started, Record::Started { id, by, plan }), rest) = records.split_first()? else {
            return None;
        };
        let mut telling = Telling::new(plan, *started);
        for (at, record) in rest {
            telling.take(*at, record);
        }
        let ended = records.last().map_or(*started, |(at, _)| *at);
        Some(telling.tell(id, by, ended))
    }

    /// Returns the seconds from the start to a moment.
    #[must_use]
    pub fn seconds(&self, at: DateTime<Utc>) -> f64 {
        (at - self.started).num_milliseconds().max(0) as f64 / 1000.0
    }
}

struct Telling<'a> {
    plan: &'a Plan,
    started: DateTime<Utc>,
    bounds_ms: Vec<f64>,
    state: Option<&'a State>,
    stages: Vec<StageStory>,
    looks: Vec<LookPoint>,
    baseline: Revision,
    candidate: Revision,
    shares: Vec<(DateTime<Utc>, Share)>,
    events: Vec<Event>,
    asks: Vec<(AskedFor, Ask)>,
}

impl<'a> Telling<'a> {
    fn new(plan: &'a Plan, started: DateTime<Utc>) -> Self {
        Self {
            plan,
            started,
            bounds_ms: plan.judge.bounds_ms.clone(),
            state: None,
            stages: plan.stages.iter().map(not_reached).collect(),
            looks: Vec::new(),
            baseline: Revision::known(),
            candidate: Revision::new(),
            shares: vec![(started, Share::ZERO)],
            events: Vec::new(),
            asks: Vec::new(),
        }
    }

    fn take(&mut self, at: DateTime<Utc>, record: &'a Record) {
        match record {
            Record::Observed { look, judgement } => self.look(at, look, judgement),
            Record::Decided { state, .. } => self.decided(at, state),
            Record::Happened { event } => self.happened(event),
            Record::Asked { what, ask } => self.asks.push((*what, ask.clone())),
            Record::Started { .. }
            | Record::Learned { .. }
            | Record::Done { .. }
            | Record::Finished { .. } => {}
        }
    }

    fn look(&mut self, at: DateTime<Utc>, look: &Look, judgement: &Judgement) {
        let point = LookPoint {
            at,
            stage: look.stage,
            verdict: judgement.verdict.word(),
            confidence: judgement.confidence,
            baseline: self.baseline.take(&look.baseline, &self.bounds_ms),
            candidate: self.candidate.take(&look.candidate, &self.bounds_ms),
        };
        self.looks.push(point);
        if let Some(stage) = self.stages.get_mut(look.stage) {
            stage.readings.clone_from(&judgement.readings);
            stage.verdict = Some(judgement.verdict.word());
            stage.unknown = unknown_reasons(judgement);
            stage.confidence = judgement.confidence;
        }
    }

    /// The stage that is left has been held until now.
    fn decided(&mut self, at: DateTime<Utc>, state: &'a State) {
        if let Some(before) = self.state
            && let Phase::Holding { stage, clock } = &before.phase
            && let Some(story) = self.stages.get_mut(*stage)
        {
            story.seen.get_or_insert(clock.since);
            story.held = Some(clock.held(at));
        }
        self.state = Some(state);
    }

    fn happened(&mut self, event: &Event) {
        let share = match event.event {
            EventName::ShareSeen => event.share,
            EventName::RollbackVerified => Some(Share::ZERO),
            EventName::AdoptionFinished => Some(Share::FULL),
            EventName::PromotionStarted
            | EventName::PromotionWaiting
            | EventName::PromotionSuperseded
            | EventName::PromotionFinished
            | EventName::StageEntered
            | EventName::StageHeld
            | EventName::StagePassed
            | EventName::ShareAsked
            | EventName::VerdictChanged
            | EventName::HumanRequested
            | EventName::RollbackStarted
            | EventName::RollbackIneffective
            | EventName::AdoptionStarted
            | EventName::EffectFailed
            | EventName::EvidenceLost
            | EventName::EvidenceBack
            | EventName::CleanupFinished => None,
        };
        self.shares.extend(share.map(|share| (event.at, share)));
        self.events.push(event.clone());
    }

    fn tell(mut self, id: &str, by: &str, ended: DateTime<Utc>) -> Story {
        if let Some(state) = self.state {
            for (at, story) in self.stages.iter_mut().enumerate() {
                story.end = end(state, at);
            }
        }
        Story {
            id: id.to_owned(),
            by: by.to_owned(),
            plan: self.plan.clone(),
            started: self.started,
            ended,
            stages: self.stages,
            looks: self.looks,
            shares: self.shares,
            events: self.events,
            asks: self.asks,
        }
    }
}

fn not_reached(plan: &Stage) -> StageStory {
    StageStory {
        plan: plan.clone(),
        seen: None,
        held: None,
        end: StageEnd::NotReached,
        readings: Vec::new(),
        verdict: None,
        unknown: Vec::new(),
        confidence: None,
    }
}

fn end(state: &State, stage: usize) -> StageEnd {
    let back = state.back.as_ref().and_then(|back| back.stage);
    if stage < state.stages_passed {
        let on_health = state.passed_on_health.contains(&stage);
        if on_health { StageEnd::PassedOnHealth } else { StageEnd::Passed }
    } else if back == Some(stage) {
        StageEnd::WentBack
    } else if state.stage() == Some(stage) {
        StageEnd::Present
    } else {
        StageEnd::NotReached
    }
}
