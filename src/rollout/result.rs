//! How a promotion ended, as people and pipelines read it: the published results and exit codes.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Because, End, Phase, State};
use crate::analysis::Cause;
use crate::plan::Plan;
use crate::share::Share;

/// The result of a promotion that was started. `schema`, `id` and `target` are added where it is printed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub result: ResultWord,
    pub exit_code: u8,
    /// Plain words.
    pub reason: String,
    pub causes: Vec<Cause>,
    pub stable_revision: String,
    pub candidate_revision: String,
    pub final_share: Share,
    pub stages_passed: usize,
    /// Seconds from the moment at which the stage's share was seen to the verdict.
    pub detected_after_s: Option<f64>,
    /// Milliseconds from the verdict to the last request assigned to the candidate.
    pub safe_after_ms: Option<i64>,
    /// Milliseconds from the verdict until no connection to the candidate was left.
    pub drained_after_ms: Option<i64>,
    pub duration_s: f64,
    pub traffic: TrafficIs,
    pub observe_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_have: Option<WouldHaveEnded>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResultWord {
    Promoted,
    Unchanged,
    RolledBack,
    Aborted,
    Superseded,
    Inconclusive,
    Error,
    Refused,
}

/// Where the users are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrafficIs {
    /// On stable, or on the release that was promoted.
    Safe,
    Unchanged,
    /// The candidate serves at least a part.
    Candidate,
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WouldHaveEnded {
    pub result: ResultWord,
    /// 1-based.
    pub stage: usize,
    pub after_s: f64,
}

/// Returns how a promotion has ended, or would if it ended now as it stands (`inconclusive`).
#[must_use]
pub fn outcome(plan: &Plan, state: &State, now: DateTime<Utc>) -> Outcome {
    let (result, exit_code, traffic) = words(plan, state);
    let decided = state.back.as_ref().map(|back| back.decided);
    let ms = |from: DateTime<Utc>, to: DateTime<Utc>| (to - from).num_milliseconds().max(0);
    let back = state.back.as_ref();
    Outcome {
        result,
        exit_code,
        reason: reason(plan, state),
        causes: back.map(|back| back.because.causes()).unwrap_or_default(),
        stable_revision: match result {
            ResultWord::Promoted => plan.release.name.clone(),
            _ => plan.stable.name.clone(),
        },
        candidate_revision: plan.release.name.clone(),
        final_share: share_of(plan, state),
        stages_passed: state.stages_passed,
        detected_after_s: match (decided, state.share_seen) {
            (Some(decided), Some(seen)) => Some(ms(seen, decided) as f64 / 1000.0),
            _ => None,
        },
        safe_after_ms: back
            .and_then(|back| back.safe.map(|_| back.last_assigned.unwrap_or(back.decided)))
            .zip(decided)
            .map(|(last, decided)| ms(decided, last)),
        drained_after_ms: back
            .and_then(|back| back.drained)
            .zip(decided)
            .map(|(drained, decided)| ms(decided, drained)),
        duration_s: ms(state.started, now) as f64 / 1000.0,
        traffic,
        observe_only: plan.observe_only,
        would_have: state.would_have.as_ref().map(|would| WouldHaveEnded {
            result: would.because.words().0,
            stage: would.stage + 1,
            after_s: ms(state.started, would.at) as f64 / 1000.0,
        }),
    }
}

fn words(plan: &Plan, state: &State) -> (ResultWord, u8, TrafficIs) {
    match (&state.phase, &state.back) {
        (Phase::Ended { end: End::Promoted }, _) => (ResultWord::Promoted, 0, TrafficIs::Safe),
        (Phase::Ended { end: End::AdoptionStuck }, _) => {
            (ResultWord::Error, 6, TrafficIs::Candidate)
        }
        (Phase::Ended { end: End::RolledBack }, Some(back)) => {
            let (result, code) = back.because.words();
            (result, code, TrafficIs::Safe)
        }
        (Phase::Waiting | Phase::Preparing, _) => {
            (ResultWord::Inconclusive, 5, TrafficIs::Unchanged)
        }
        (_, Some(back)) if back.safe.is_some() => {
            let (result, code) = back.because.words();
            (result, code, TrafficIs::Safe)
        }
        (_, Some(_)) => (ResultWord::Error, 6, TrafficIs::Unknown),
        (_, None) if share_of(plan, state).is_zero() => {
            (ResultWord::Inconclusive, 5, TrafficIs::Safe)
        }
        (_, None) => (ResultWord::Inconclusive, 5, TrafficIs::Candidate),
    }
}

/// Returns the share that the candidate has, as far as what the gate asked for is done.
pub(super) fn share_of(plan: &Plan, state: &State) -> Share {
    match (&state.phase, &state.back) {
        (Phase::Ended { end: End::Promoted | End::AdoptionStuck }, _) => Share::FULL,
        (Phase::Ended { end: End::RolledBack }, _) | (_, Some(_)) => Share::ZERO,
        (Phase::Parked { share, .. }, None) => *share,
        (Phase::Shifting { stage } | Phase::Holding { stage, .. }, None) => {
            plan.stages.get(*stage).map_or(Share::ZERO, |stage| stage.share)
        }
        (Phase::Adopting | Phase::Cleaning, None) => Share::FULL,
        (Phase::Waiting | Phase::Preparing | Phase::RollingBack, None) => Share::ZERO,
    }
}

fn reason(plan: &Plan, state: &State) -> String {
    let release = &plan.release.name;
    match (&state.phase, &state.back) {
        (Phase::Ended { end: End::Promoted }, _) if plan.observe_only => {
            format!("{release} went through every stage (observed only, nothing was decided)")
        }
        (Phase::Ended { end: End::Promoted }, _) => format!("{release} passed every stage"),
        (Phase::Ended { end: End::AdoptionStuck }, _) => {
            format!("stable could not take {release} in time: the candidate serves")
        }
        (_, Some(back)) => back.because.to_string(),
        (_, None) => "it has not ended".into(),
    }
}

impl Because {
    /// Returns the result and the exit code of a promotion that went back for this.
    #[must_use]
    pub const fn words(&self) -> (ResultWord, u8) {
        match self {
            Self::Breach(_) => (ResultWord::RolledBack, 3),
            Self::Aborted(_) => (ResultWord::Aborted, 4),
            Self::Superseded(_) => (ResultWord::Superseded, 4),
            Self::NoProof(_) => (ResultWord::Inconclusive, 5),
        }
    }

    fn causes(&self) -> Vec<Cause> {
        match self {
            Self::Breach(causes) => causes.clone(),
            Self::Aborted(_) | Self::Superseded(_) | Self::NoProof(_) => Vec::new(),
        }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Breach(causes) => {
                let causes: Vec<String> = causes.iter().map(ToString::to_string).collect();
                f.write_str(&causes.join("; "))
            }
            Self::Aborted(ask) => write!(f, "aborted by {}{}", ask.by, given(ask.reason.as_ref())),
            Self::Superseded(ask) => {
                write!(f, "superseded by {}{}", ask.by, given(ask.reason.as_ref()))
            }
            Self::NoProof(why) if why.is_empty() => f.write_str("its time passed without proof"),
            Self::NoProof(why) => {
                let why: Vec<String> = why.iter().map(ToString::to_string).collect();
                write!(f, "its time passed without proof: {}", why.join("; "))
            }
        }
    }
}

fn given(reason: Option<&String>) -> String {
    reason.map(|reason| format!(" ({reason})")).unwrap_or_default()
}
