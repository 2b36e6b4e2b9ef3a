//! What changed between two states: the words that history, displays and notifications share.
//!
//! Edges are computed here and nowhere else; nothing decides on them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Because, End, Phase, State};
use crate::analysis::VerdictWord;
use crate::plan::Plan;
use crate::share::Share;

/// The published names; adding one is fine, changing one breaks users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventName {
    #[serde(rename = "promotion.started")]
    PromotionStarted,
    #[serde(rename = "promotion.waiting")]
    PromotionWaiting,
    #[serde(rename = "promotion.superseded")]
    PromotionSuperseded,
    #[serde(rename = "promotion.finished")]
    PromotionFinished,
    #[serde(rename = "stage.entered")]
    StageEntered,
    #[serde(rename = "stage.held")]
    StageHeld,
    #[serde(rename = "stage.passed")]
    StagePassed,
    #[serde(rename = "share.asked")]
    ShareAsked,
    #[serde(rename = "share.seen")]
    ShareSeen,
    #[serde(rename = "verdict.changed")]
    VerdictChanged,
    #[serde(rename = "human.requested")]
    HumanRequested,
    #[serde(rename = "rollback.started")]
    RollbackStarted,
    #[serde(rename = "rollback.verified")]
    RollbackVerified,
    #[serde(rename = "rollback.ineffective")]
    RollbackIneffective,
    #[serde(rename = "adoption.started")]
    AdoptionStarted,
    #[serde(rename = "adoption.finished")]
    AdoptionFinished,
    #[serde(rename = "effect.failed")]
    EffectFailed,
    #[serde(rename = "evidence.lost")]
    EvidenceLost,
    #[serde(rename = "evidence.back")]
    EvidenceBack,
    #[serde(rename = "cleanup.finished")]
    CleanupFinished,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub event: EventName,
    pub at: DateTime<Utc>,
    /// 1-based, as people count them.
    pub stage: Option<usize>,
    pub share: Option<Share>,
    /// Plain words.
    pub message: String,
}

/// Returns what has happened between two states, in order. `before` is `None` at the very start.
#[must_use]
pub fn between(
    plan: &Plan,
    before: Option<&State>,
    after: &State,
    now: DateTime<Utc>,
) -> Vec<Event> {
    let mut told = Telling { plan, now, events: Vec::new() };
    if before.is_none() {
        let steps: Vec<String> = plan.stages.iter().map(|s| s.share.to_string()).collect();
        let message = format!("{} goes through {}", plan.release.name, steps.join(", "));
        told.tell(EventName::PromotionStarted, None, message);
    }
    told.verdict(before, after);
    if before.is_none_or(|state| state.stages_passed < after.stages_passed)
        && after.stages_passed > 0
    {
        let stage = after.stages_passed - 1;
        told.tell(EventName::StagePassed, Some(stage), passed(after, stage));
    }
    if before.is_none_or(|state| state.phase != after.phase) {
        told.phase(before.map(|state| &state.phase), after);
    }
    told.way_back(before, after);
    told.events
}

struct Telling<'a> {
    plan: &'a Plan,
    now: DateTime<Utc>,
    events: Vec<Event>,
}

impl Telling<'_> {
    fn tell(&mut self, event: EventName, stage: Option<usize>, message: impl Into<String>) {
        let share = stage.and_then(|stage| self.plan.stages.get(stage)).map(|stage| stage.share);
        let stage = stage.map(|stage| stage + 1);
        self.events.push(Event { event, at: self.now, stage, share, message: message.into() });
    }

    /// It is of the stage in which it was looked, which may have been left for it.
    fn verdict(&mut self, before: Option<&State>, after: &State) {
        let Some(seen) = after.verdict else { return };
        let stage = before.and_then(State::stage).or_else(|| after.stage());
        let before = before.and_then(|state| state.verdict);
        let lost_before = before.is_some_and(|seen| seen.evidence_lost);
        match (lost_before, seen.evidence_lost) {
            (false, true) => self.tell(EventName::EvidenceLost, stage, "evidence is missing"),
            (true, false) => self.tell(EventName::EvidenceBack, stage, "evidence is back"),
            (false, false) | (true, true) => {}
        }
        let word_before = before.map_or(VerdictWord::Unknown, |seen| seen.word);
        if word_before != seen.word {
            let message = format!("from {word_before} to {}", seen.word);
            self.tell(EventName::VerdictChanged, stage, message);
        }
    }

    fn phase(&mut self, before: Option<&Phase>, after: &State) {
        match &after.phase {
            Phase::Waiting => self.tell(EventName::PromotionWaiting, None, "it has to wait"),
            Phase::Preparing | Phase::RollingBack => {}
            Phase::Shifting { stage } => self.asked(*stage),
            Phase::Holding { stage, clock } => {
                let (was_here, stood, asked) = match before {
                    Some(Phase::Holding { stage: old, clock }) => (
                        old == stage,
                        clock.standing_since.is_some(),
                        clock.approval_asked.is_some(),
                    ),
                    _ => (false, false, false),
                };
                if !was_here {
                    if !matches!(before, Some(Phase::Shifting { stage: old }) if old == stage) {
                        self.asked(*stage);
                    }
                    self.tell(EventName::ShareSeen, Some(*stage), "the share is seen");
                }
                let stands_now = clock.standing_since.is_some() && !stood;
                if stands_now {
                    self.tell(EventName::StageHeld, Some(*stage), "its clock stands");
                }
                if stands_now || (clock.approval_asked.is_some() && !asked) {
                    self.tell(EventName::HumanRequested, Some(*stage), "a person must answer");
                }
            }
            Phase::Parked { stage, share, .. } => {
                let message = format!("held at {share} for a person");
                self.tell(EventName::StageHeld, Some(*stage), message);
                self.tell(EventName::HumanRequested, Some(*stage), "resume or abort");
            }
            Phase::Adopting => {
                let message = "stable takes the release: the point of no return of the one write";
                self.tell(EventName::AdoptionStarted, None, message);
            }
            Phase::Cleaning => self.adopted(),
            Phase::Ended { end } => self.ended(before, *end, after),
        }
    }

    fn asked(&mut self, stage: usize) {
        let share = self.plan.stages.get(stage).map_or(Share::FULL, |stage| stage.share);
        let count = self.plan.stages.len();
        let message = format!("stage {} of {count}: {share} of the traffic", stage + 1);
        self.tell(EventName::StageEntered, Some(stage), message);
        self.tell(EventName::ShareAsked, Some(stage), format!("{share} asked"));
    }

    fn adopted(&mut self) {
        let message = format!("stable runs {}", self.plan.release.name);
        self.tell(EventName::AdoptionFinished, None, message);
    }

    fn ended(&mut self, before: Option<&Phase>, end: End, after: &State) {
        match end {
            End::Promoted => {
                if !matches!(before, Some(Phase::Cleaning)) {
                    self.adopted();
                }
                self.tell(EventName::CleanupFinished, None, "the old revision has ended");
            }
            End::RolledBack => {
                self.tell(EventName::CleanupFinished, None, "the candidate has ended");
            }
            End::AdoptionStuck => {}
        }
        let message = super::outcome(self.plan, after, self.now).reason;
        self.tell(EventName::PromotionFinished, None, message);
    }

    fn way_back(&mut self, before: Option<&State>, after: &State) {
        let Some(back) = &after.back else { return };
        let was = before.and_then(|state| state.back.as_ref());
        let mut events = Vec::new();
        if was.is_none() {
            if let Because::Superseded(_) = back.because {
                events.push((
                    EventName::PromotionSuperseded,
                    "a newer release takes its place".into(),
                ));
            }
            events.push((EventName::RollbackStarted, back.because.to_string()));
        }
        if back.ineffective && !was.is_some_and(|was| was.ineffective) {
            let message = "the share is not seen at 0 %: the gate goes on trying".to_owned();
            events.push((EventName::RollbackIneffective, message));
        }
        if back.safe.is_some() && was.is_none_or(|was| was.safe.is_none()) {
            let message = format!("stable serves everything ({})", self.plan.stable.name);
            events.push((EventName::RollbackVerified, message));
        }
        // They come before what ends the promotion.
        let end = self.events.iter().position(|event| event.event == EventName::CleanupFinished);
        let rest = end.map(|end| self.events.split_off(end)).unwrap_or_default();
        for (event, message) in events {
            self.tell(event, back.stage, message);
        }
        self.events.extend(rest);
    }
}

fn passed(state: &State, stage: usize) -> String {
    if state.passed_on_health.contains(&stage) {
        "passed on health alone: there was too little traffic".into()
    } else {
        "passed".into()
    }
}
