//! One step: the order in which things are looked at. What they lead to is in `forward` and `back`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Because, Effect, Observation, Phase, State, VerdictSeen, adopt, back, forward, stage};
use crate::plan::Plan;

/// What to do now.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub state: State,
    /// To be asked for in this order.
    pub effects: Vec<Effect>,
    pub waiting: Waiting,
}

/// Why nothing more happens: what is waited for, until when at most, and who must act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Plain words, for the user.
    pub for_what: String,
    /// The moment at which the gate acts by itself, whatever happens.
    pub until: Option<DateTime<Utc>>,
    /// A person must act.
    pub on_person: bool,
}

impl Waiting {
    pub(super) fn until(for_what: impl Into<String>, until: DateTime<Utc>) -> Self {
        Self { for_what: for_what.into(), until: Some(until), on_person: false }
    }

    pub(super) fn person(for_what: impl Into<String>, until: Option<DateTime<Utc>>) -> Self {
        Self { for_what: for_what.into(), until, on_person: true }
    }

    pub(super) fn nothing() -> Self {
        Self { for_what: "nothing: it has ended".into(), until: None, on_person: false }
    }
}

/// Decides. Pure: the same plan, state and observation give the same answer.
///
/// Each phase may lead to the next in the same call (a share that is seen already needs no second
/// look), but never through a stage: leaving one takes a look of its own.
#[must_use]
pub fn step(plan: &Plan, state: &State, seen: &Observation) -> Decision {
    let mut state = state.clone();
    note(&mut state, seen);
    if let Some(because) = stop(plan, &state, seen) {
        back::condemn(&mut state, because, seen.now);
    }
    match state.phase.clone() {
        Phase::Ended { .. } => Decision { state, effects: Vec::new(), waiting: Waiting::nothing() },
        Phase::RollingBack => back::roll_back(plan, state, seen),
        Phase::Waiting => forward::wait(plan, state, seen),
        Phase::Preparing => forward::prepare(plan, state, seen),
        Phase::Shifting { stage } => forward::shift(plan, state, seen, stage),
        Phase::Holding { stage: at, clock } => stage::hold(plan, state, seen, at, clock),
        Phase::Parked { stage: at, share, why } => {
            stage::stay_parked(plan, state, seen, at, share, &why)
        }
        Phase::Adopting => adopt::adopt(plan, state, seen),
        Phase::Cleaning => adopt::clean(plan, state, seen),
    }
}

/// A person's abort, or a newer release: looked at before anything that needs to see the world.
///
/// Once stable has taken the release there is nothing to go back to by a change of share; from then
/// on an abort is too late, and another promotion is the way back.
fn stop(plan: &Plan, state: &State, seen: &Observation) -> Option<Because> {
    let adopted = || seen.world.as_ref().is_some_and(|world| adopt::has_adopted(plan, world));
    match state.phase {
        Phase::RollingBack | Phase::Cleaning | Phase::Ended { .. } => None,
        Phase::Adopting if adopted() => None,
        Phase::Waiting
        | Phase::Preparing
        | Phase::Shifting { .. }
        | Phase::Holding { .. }
        | Phase::Parked { .. }
        | Phase::Adopting => {
            let abort = seen.asks.abort.clone().map(Because::Aborted);
            abort.or_else(|| seen.asks.superseded.clone().map(Because::Superseded))
        }
    }
}

/// Notes what is only told: the verdict, and when a request was last given to a condemned candidate.
fn note(state: &mut State, seen: &Observation) {
    if let Some(judged) = &seen.judged {
        let (word, evidence_lost) = (judged.verdict.word(), judged.verdict.evidence_lost());
        state.verdict = Some(VerdictSeen { word, evidence_lost });
    }
    let last = seen.world.as_ref().and_then(|world| world.last_assigned);
    if let (Some(back), Some(last)) = (state.back.as_mut(), last) {
        back.last_assigned = Some(back.last_assigned.map_or(last, |known| known.max(last)));
    }
}

impl State {
    /// Goes into another phase.
    pub(super) fn enter(&mut self, phase: Phase, now: DateTime<Utc>) {
        self.phase = phase;
        self.since = now;
    }
}

/// Adds a policy's duration to a moment; one that is out of range is for ever.
pub(super) fn after(moment: DateTime<Utc>, length: Duration) -> DateTime<Utc> {
    chrono::TimeDelta::from_std(length)
        .ok()
        .and_then(|length| moment.checked_add_signed(length))
        .unwrap_or(DateTime::<Utc>::MAX_UTC)
}
