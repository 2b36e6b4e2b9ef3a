//! The state machine: what to do next, given what is seen.
//!
//! [`step`] is pure and level-triggered: it gets one snapshot of everything that is known and
//! returns the next state, the effects wanted, and what it waits for. Nothing depends on having
//! seen an edge, so a lost event, a restart or a repeated call costs nothing.
//!
//! ```text
//!             ┌─────────── breach, abort, deadline ───────────┐
//!             │                                               ▼
//! Preparing → Shifting(n) → Holding(n) → Shifting(n+1) … RollingBack → Ended(rolled back)
//!                               │ last stage passed
//!                               ▼
//!                           Adopting → Cleaning → Ended(promoted)
//! ```
//! `Waiting` stands before `Preparing` (a freeze window), `Parked` beside any stage (a person must
//! say how it goes on).
//!
//! # Invariants
//!
//! Each has a property test in `storm.rs`.
//! 1. A terminal state is a fact observed: `RolledBack` only when the share is seen at 0, testers as
//!    well, and stable is at its old revision.
//! 2. After a breach or an abort no effect raises the candidate's share.
//! 3. `Promoted` needs a pass at every stage; `Unknown` never promotes.
//! 4. No stage is left upwards before its hold is over; the hold counts from the moment at which
//!    the share is seen.
//! 5. Aborts and deadlines come before anything that needs to see the world.
//! 6. The same plan, state and observation give the same answer.
//! 7. Every effect is idempotent, and repeated until it is seen.
//! 8. Every state has a deadline, or is terminal, or names the person it waits for.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::analysis::{Cause, Unknown, VerdictWord};
use crate::share::Share;

mod world;

mod step;

mod forward;
mod stage;

mod adopt;

mod back;

mod look;

mod event;

mod result;

pub use event::{Event, EventName, between};
pub use result::{Outcome, ResultWord, TrafficIs, WouldHaveEnded, outcome};
pub use step::{Decision, Waiting, step};
pub use world::{Effect, Observation, TestersAre, Trouble, Workload, World};

/// What persons have asked for. Facts, not events: the newest of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asks {
    pub abort: Option<Ask>,
    pub hold: Option<Ask>,
    pub resume: Option<Ask>,
    pub approved: BTreeMap<usize, Ask>,
    /// A newer release has taken this one's place.
    pub superseded: Option<Ask>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    pub at: DateTime<Utc>,
    pub by: String,
    pub reason: Option<String>,
}

/// Where a promotion stands. Plain data; together with the plan it is all that must survive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub phase: Phase,
    pub started: DateTime<Utc>,
    /// When this phase was entered.
    pub since: DateTime<Utc>,
    /// When the first stage was entered: zero of the judge's time.
    pub judging_since: Option<DateTime<Utc>>,
    /// When the share of the newest stage was first seen.
    pub share_seen: Option<DateTime<Utc>>,
    pub stages_passed: usize,
    /// Stages that passed on health alone, because there was too little traffic.
    pub passed_on_health: Vec<usize>,
    /// When somebody else moved the share, lately.
    pub resets: Vec<DateTime<Utc>>,
    /// The newest verdict, and whether it was unknown for want of evidence.
    pub verdict: Option<VerdictSeen>,
    /// Of a promotion that only observes: what would have ended it.
    pub would_have: Option<WouldHave>,
    /// Where the way back stands.
    pub back: Option<WayBack>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Phase {
    Waiting,
    Preparing,
    Shifting {
        stage: usize,
    },
    Holding {
        stage: usize,
        clock: StageClock,
    },
    /// A person must say how it goes on: `resume` takes it back to the stage, `abort` ends it.
    Parked {
        stage: usize,
        share: Share,
        why: ParkedBecause,
    },
    Adopting,
    Cleaning,
    RollingBack,
    Ended {
        end: End,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParkedBecause {
    /// Somebody else keeps moving the share.
    Fight,
    /// The deadline passed without proof, and the policy says that a person decides.
    NoProof(Vec<Unknown>),
    /// It should go back, but the release can't be undone.
    Irreversible(Because),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    Promoted,
    RolledBack,
    /// Adoption was not finished by its deadline: the candidate serves.
    AdoptionStuck,
}

/// Why a promotion goes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Because {
    /// The release is bad: it broke a limit, or did not become ready for a cause of its own.
    Breach(Vec<Cause>),
    Aborted(Ask),
    Superseded(Ask),
    /// A deadline passed without proof; why there was none.
    NoProof(Vec<Unknown>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WayBack {
    pub because: Because,
    pub decided: DateTime<Utc>,
    /// The stage that it was in.
    pub stage: Option<usize>,
    /// When the share was seen at 0 with stable at its old revision.
    pub safe: Option<DateTime<Utc>>,
    /// When the last request was assigned to the candidate.
    pub last_assigned: Option<DateTime<Utc>>,
    /// When no connection to the candidate was left.
    pub drained: Option<DateTime<Utc>>,
    /// It has taken longer than a way back should.
    pub ineffective: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictSeen {
    pub word: VerdictWord,
    /// The source could not be read, or had nothing new.
    pub evidence_lost: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WouldHave {
    pub because: Because,
    pub stage: usize,
    pub at: DateTime<Utc>,
}

/// The time that a stage has been held: it stands while a person holds or must approve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StageClock {
    /// When the share was seen.
    pub since: DateTime<Utc>,
    /// Milliseconds for which it stood, up to `standing_since`.
    pub stood_ms: i64,
    pub standing_since: Option<DateTime<Utc>>,
    /// Since when a person is asked to approve; begins anew after a hold.
    #[serde(default)]
    pub approval_asked: Option<DateTime<Utc>>,
}

impl State {
    #[must_use]
    pub const fn new(now: DateTime<Utc>) -> Self {
        Self {
            phase: Phase::Waiting,
            started: now,
            since: now,
            judging_since: None,
            share_seen: None,
            stages_passed: 0,
            passed_on_health: Vec::new(),
            resets: Vec::new(),
            verdict: None,
            would_have: None,
            back: None,
        }
    }

    /// Returns the stage that the candidate is in, where it is in one.
    #[must_use]
    pub const fn stage(&self) -> Option<usize> {
        match &self.phase {
            Phase::Shifting { stage }
            | Phase::Holding { stage, .. }
            | Phase::Parked { stage, .. } => Some(*stage),
            Phase::Waiting
            | Phase::Preparing
            | Phase::Adopting
            | Phase::Cleaning
            | Phase::RollingBack
            | Phase::Ended { .. } => None,
        }
    }

    #[must_use]
    pub const fn ended(&self) -> Option<End> {
        match self.phase {
            Phase::Ended { end } => Some(end),
            _ => None,
        }
    }

    /// Returns whether evidence can still change what happens.
    #[must_use]
    pub const fn is_judged(&self) -> bool {
        matches!(
            self.phase,
            Phase::Shifting { .. } | Phase::Holding { .. } | Phase::Parked { .. } | Phase::Adopting
        )
    }
}

impl Asks {
    /// Returns the person's hold that has not been taken back.
    #[must_use]
    pub fn held(&self) -> Option<&Ask> {
        let hold = self.hold.as_ref()?;
        self.resume.as_ref().is_none_or(|resume| resume.at < hold.at).then_some(hold)
    }
}

impl StageClock {
    pub(crate) const fn start(now: DateTime<Utc>) -> Self {
        Self { since: now, stood_ms: 0, standing_since: None, approval_asked: None }
    }

    /// Lets the clock stand or go on.
    pub(crate) fn stand(&mut self, standing: bool, now: DateTime<Utc>) {
        match (standing, self.standing_since) {
            (true, None) => self.standing_since = Some(now),
            (false, Some(since)) => {
                self.stood_ms += (now - since).num_milliseconds().max(0);
                self.standing_since = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Returns for how long the stage has been held, without the time for which the clock stood.
    #[must_use]
    pub fn held(&self, now: DateTime<Utc>) -> std::time::Duration {
        let until = self.standing_since.unwrap_or(now);
        let held = until - self.since - chrono::TimeDelta::milliseconds(self.stood_ms);
        held.to_std().unwrap_or_default()
    }
}

#[cfg(test)]
mod storm;

#[cfg(test)]
mod tests;
