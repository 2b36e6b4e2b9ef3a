//! The lines that users and scripts rely on: every schema, in one place.
//!
//! Fields are added, never renamed. Times are RFC 3339 in UTC, durations end in `_s` or `_ms`,
//! shares are fractions from 0 to 1 and end in `_share`. Stages count from 1, as people do.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::analysis::{Counters, Judgement, Look, Reading, Unknown, Verdict, VerdictWord};
use crate::plan::Plan;
use crate::rollout::{
    Event, EventName, Outcome, Phase, ResultWord, State, TrafficIs, Waiting, World,
};
use crate::share::Share;

pub const EVENT_SCHEMA: &str = "gate.event/v1";
pub const RESULT_SCHEMA: &str = "gate.result/v1";
pub const STATUS_SCHEMA: &str = "gate.status/v1";

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventLine {
    pub schema: String,
    pub event: EventName,
    pub at: DateTime<Utc>,
    pub promotion: String,
    pub target: String,
    pub stage: Option<usize>,
    #[serde(rename = "stage_share")]
    pub share: Option<Share>,
    pub message: String,
}

impl EventLine {
    #[must_use]
    pub fn new(promotion: &str, target: &str, event: &Event) -> Self {
        Self {
            schema: EVENT_SCHEMA.into(),
            event: event.event,
            at: event.at,
            promotion: promotion.to_owned(),
            target: target.to_owned(),
            stage: event.stage,
            share: event.share,
            message: event.message.clone(),
        }
    }
}

/// How a promotion ended, or why it did not start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResultLine {
    pub schema: String,
    /// Absent where no promotion was begun.
    pub id: Option<String>,
    pub target: String,
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The command to type next, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl ResultLine {
    #[must_use]
    pub fn new(promotion: &str, target: &str, outcome: Outcome) -> Self {
        Self {
            schema: RESULT_SCHEMA.into(),
            id: Some(promotion.to_owned()),
            target: target.to_owned(),
            outcome,
            next: None,
        }
    }

    /// Returns the result of a promotion that was not started: nothing was changed.
    #[must_use]
    pub fn not_started(
        target: &str,
        result: ResultWord,
        exit_code: u8,
        stable: &str,
        release: &str,
        reason: String,
        next: Option<String>,
    ) -> Self {
        let outcome = Outcome {
            result,
            exit_code,
            reason,
            causes: Vec::new(),
            stable_revision: stable.to_owned(),
            candidate_revision: release.to_owned(),
            final_share: Share::ZERO,
            stages_passed: 0,
            detected_after_s: None,
            safe_after_ms: None,
            drained_after_ms: None,
            duration_s: 0.0,
            traffic: TrafficIs::Unchanged,
            observe_only: false,
            would_have: None,
        };
        Self { schema: RESULT_SCHEMA.into(), id: None, target: target.to_owned(), outcome, next }
    }
}

/// Where a target stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusLine {
    pub schema: String,
    pub at: DateTime<Utc>,
    pub target: String,
    pub stable_revision: String,
    /// Stable's instances that are ready, of those wanted.
    pub stable_ready: [u32; 2],
    /// Absent while no promotion runs.
    pub promotion: Option<PromotionStatus>,
    /// How the newest promotion that has ended did.
    pub last: Option<LastResult>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastResult {
    pub id: String,
    pub release: String,
    pub result: ResultWord,
    pub reason: String,
    pub at: DateTime<Utc>,
}

impl LastResult {
    /// Returns a result as a status tells it; `None` where no promotion was begun.
    #[must_use]
    pub fn of(line: &ResultLine, at: DateTime<Utc>) -> Option<Self> {
        Some(Self {
            id: line.id.clone()?,
            release: line.outcome.candidate_revision.clone(),
            result: line.outcome.result,
            reason: line.outcome.reason.clone(),
            at,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromotionStatus {
    pub id: String,
    pub release: String,
    pub started: DateTime<Utc>,
    pub by: String,
    pub policy_source: String,
    /// `preparing`, `shifting`, `holding`, `parked`, `adopting`, `cleaning`, `rolling_back`, …
    pub phase: String,
    pub stage: Option<usize>,
    pub stages: Vec<StageStatus>,
    pub stages_passed: usize,
    #[serde(rename = "asked_share")]
    pub asked: Share,
    #[serde(rename = "seen_share")]
    pub seen: Option<Share>,
    pub held_s: Option<f64>,
    pub waiting: Waiting,
    pub verdict: VerdictWord,
    /// Why the verdict is unknown, one reason each.
    pub unknown: Vec<String>,
    pub readings: Vec<Reading>,
    pub confidence: Option<f64>,
    /// Ready and wanted instances of the candidate.
    pub candidate_ready: [u32; 2],
    pub trouble: Option<String>,
    /// The newest look's counters, summed over instances; absent between looks.
    pub sample: Option<Sample>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageStatus {
    #[serde(rename = "stage_share")]
    pub share: Share,
    pub hold_s: f64,
    pub deadline_s: f64,
    pub approval: bool,
}

/// Cumulative counters of both revisions at one look: `requests, errors, slower than bound 1, …`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub at_s: f64,
    pub bounds_ms: Vec<f64>,
    pub baseline: Vec<f64>,
    pub candidate: Vec<f64>,
}

/// The parts from which a promotion's status is made.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    pub id: &'a str,
    pub by: &'a str,
    pub plan: &'a Plan,
    pub state: &'a State,
    pub waiting: &'a Waiting,
    pub world: Option<&'a World>,
    pub look: Option<(&'a Look, &'a Judgement)>,
    pub now: DateTime<Utc>,
}

impl PromotionStatus {
    #[must_use]
    pub fn new(standing: &Standing<'_>) -> Self {
        let Standing { id, by, plan, state, waiting, world, look, now } = *standing;
        let stage = |stage: &crate::plan::Stage| StageStatus {
            share: stage.share,
            hold_s: stage.hold.as_secs_f64(),
            deadline_s: stage.deadline.as_secs_f64(),
            approval: stage.approval,
        };
        let judgement = look.map(|(_, judgement)| judgement);
        let candidate = world.and_then(|world| world.candidate.as_ref());
        Self {
            id: id.to_owned(),
            release: plan.release.name.clone(),
            started: state.started,
            by: by.to_owned(),
            policy_source: plan.policy_source.clone(),
            phase: phase_word(&state.phase).into(),
            stage: state.stage().map(|stage| stage + 1),
            stages: plan.stages.iter().map(stage).collect(),
            stages_passed: state.stages_passed,
            asked: asked_share(plan, state),
            seen: world.and_then(|world| world.share),
            held_s: match &state.phase {
                Phase::Holding { clock, .. } => Some(clock.held(now).as_secs_f64()),
                _ => None,
            },
            waiting: waiting.clone(),
            verdict: state.verdict.map_or(VerdictWord::Unknown, |seen| seen.word),
            unknown: judgement.map(unknown_reasons).unwrap_or_default(),
            readings: judgement.map(|judgement| judgement.readings.clone()).unwrap_or_default(),
            confidence: judgement.and_then(|judgement| judgement.confidence),
            candidate_ready: candidate.map_or([0, 0], |c| [c.ready, c.wanted]),
            trouble: candidate.and_then(|c| c.trouble.as_ref()).map(|trouble| trouble.what.clone()),
            sample: look.map(|(look, _)| Sample {
                at_s: look.at_s,
                bounds_ms: plan.judge.bounds_ms.clone(),
                baseline: sum(&look.baseline),
                candidate: sum(&look.candidate),
            }),
        }
    }
}

impl PromotionStatus {
    /// Returns whether it shows anything new; times that go on are not.
    #[must_use]
    pub fn is_news_after(&self, before: &Self) -> bool {
        (&self.phase, self.stage, self.seen, &self.trouble)
            != (&before.phase, before.stage, before.seen, &before.trouble)
            || self.waiting.for_what != before.waiting.for_what
    }
}

pub(crate) fn unknown_reasons(judgement: &Judgement) -> Vec<String> {
    match &judgement.verdict {
        Verdict::Unknown { why } => why.iter().map(Unknown::to_string).collect(),
        Verdict::Pass | Verdict::Breach { .. } => Vec::new(),
    }
}

/// Returns the published word for a phase.
#[must_use]
pub const fn phase_word(phase: &Phase) -> &'static str {
    match phase {
        Phase::Waiting => "waiting",
        Phase::Preparing => "preparing",
        Phase::Shifting { .. } => "shifting",
        Phase::Holding { .. } => "holding",
        Phase::Parked { .. } => "parked",
        Phase::Adopting => "adopting",
        Phase::Cleaning => "cleaning",
        Phase::RollingBack => "rolling_back",
        Phase::Ended { .. } => "ended",
    }
}

/// Returns the share that the gate has asked for where it stands.
pub(crate) fn asked_share(plan: &Plan, state: &State) -> Share {
    match &state.phase {
        Phase::Shifting { stage } | Phase::Holding { stage, .. } => {
            plan.stages.get(*stage).map_or(Share::ZERO, |stage| stage.share)
        }
        Phase::Parked { share, .. } => *share,
        Phase::Adopting => Share::FULL,
        Phase::Waiting
        | Phase::Preparing
        | Phase::Cleaning
        | Phase::RollingBack
        | Phase::Ended { .. } => Share::ZERO,
    }
}

fn sum(arm: &BTreeMap<String, Counters>) -> Vec<f64> {
    let width = arm.values().map(|counters| counters.0.len()).max().unwrap_or(0);
    let mut sum = vec![0.0; width];
    for counters in arm.values() {
        sum.iter_mut().zip(&counters.0).for_each(|(sum, value)| *sum += value);
    }
    sum
}

#[cfg(test)]
mod tests;
