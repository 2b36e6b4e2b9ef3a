//! The way back. It needs no metrics, no health of the candidate, and no second chance: every
//! look at the world repeats the one write until the share is seen at 0.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::result::share_of;
use super::step::{Decision, Waiting, after};
use super::{Because, Effect, End, Observation, ParkedBecause, Phase, State, WayBack, World};
use crate::plan::Plan;
use crate::share::Share;

/// What is left of a candidate may take so long to go before the promotion ends without it.
pub(super) const CLEANUP_DEADLINE: Duration = Duration::from_secs(600);
/// A way back that is not seen to work after so long is said to be ineffective.
const INEFFECTIVE_AFTER: Duration = Duration::from_secs(60);

/// Turns round. From here on no effect raises the candidate's share.
pub(super) fn condemn(state: &mut State, because: Because, now: DateTime<Utc>) {
    let stage = state.stage();
    state.back = Some(WayBack {
        because,
        decided: now,
        stage,
        safe: None,
        last_assigned: None,
        drained: None,
        ineffective: false,
    });
    state.enter(Phase::RollingBack, now);
}

/// Turns round by the gate's own decision, or parks where the release can't be undone.
pub(super) fn condemn_or_park(
    plan: &Plan,
    mut state: State,
    because: Because,
    seen: &Observation,
) -> Decision {
    if !plan.release.irreversible {
        condemn(&mut state, because, seen.now);
        return roll_back(plan, state, seen);
    }
    let last = if state.phase == Phase::Adopting { plan.stages.len().saturating_sub(1) } else { 0 };
    let stage = state.stage().unwrap_or(last);
    let seen_share = seen.world.as_ref().and_then(|world| world.share);
    let share = seen_share.unwrap_or_else(|| share_of(plan, &state));
    let why = ParkedBecause::Irreversible(because);
    state.enter(Phase::Parked { stage, share, why }, seen.now);
    let waiting = Waiting::person(
        "a person: it should go back, but this release can't be undone; abort or resume",
        None,
    );
    Decision { state, effects: Vec::new(), waiting }
}

pub(super) fn roll_back(plan: &Plan, mut state: State, seen: &Observation) -> Decision {
    let Some(world) = &seen.world else {
        // The write needs no reading: it is the same whatever would be seen.
        let waiting = Waiting::until("the platform to answer", after(seen.now, INEFFECTIVE_AFTER));
        return Decision { state, effects: vec![SET_TO_ZERO], waiting };
    };
    // A router may let the candidate serve at share 0 while stable can't: then it is still needed.
    let needed = world.stable.ready == 0 && candidate_serves(world);
    let back = at_old_revision(plan, &state, world);
    if world.is_given_back() && back && !needed {
        return end_candidate(state, world, seen.now);
    }
    let (effects, for_what) = if !back {
        (vec![Effect::RestoreStable], "stable to be back at its old release")
    } else if needed {
        // Everything to nothing would be worse: the first ready copy of stable takes over.
        (Vec::new(), "the first ready copy of stable; until then the candidate keeps serving")
    } else {
        (vec![SET_TO_ZERO], "the candidate's share to be seen at 0 %")
    };
    let since = state.back.as_ref().map_or(state.since, |back| back.decided);
    if let Some(back) = state.back.as_mut() {
        (back.safe, back.drained) = (None, None); // somebody moved it again
        back.ineffective |= seen.now >= after(back.decided, INEFFECTIVE_AFTER);
    }
    let waiting = Waiting::until(for_what, after(since, INEFFECTIVE_AFTER));
    Decision { state, effects, waiting }
}

const SET_TO_ZERO: Effect = Effect::SetShare { share: Share::ZERO };

/// Traffic is safe: what is left is to end the candidate.
fn end_candidate(mut state: State, world: &World, now: DateTime<Utc>) -> Decision {
    let mut safe_since = now;
    if let Some(back) = state.back.as_mut() {
        safe_since = *back.safe.get_or_insert(now);
        let quiet = world.candidate.is_none() || world.connections == Some(0);
        if quiet && back.drained.is_none() {
            back.drained = Some(now);
        }
    }
    let until = after(safe_since, CLEANUP_DEADLINE);
    if world.candidate.is_none() || now >= until {
        state.enter(Phase::Ended { end: End::RolledBack }, now);
        return Decision { state, effects: Vec::new(), waiting: Waiting::nothing() };
    }
    let waiting = Waiting::until("the candidate to finish what it has begun", until);
    Decision { state, effects: vec![Effect::RemoveCandidate], waiting }
}

/// Returns whether stable runs what is gone back to: its old release or, where a newer one has taken
/// this promotion's place, whatever it was given.
fn at_old_revision(plan: &Plan, state: &State, world: &World) -> bool {
    let superseded = matches!(state.back, Some(WayBack { because: Because::Superseded(_), .. }));
    world.stable.revision == plan.stable.hash
        || (superseded && world.stable.revision != plan.release.hash)
}

fn candidate_serves(world: &World) -> bool {
    world.candidate.as_ref().is_some_and(|candidate| candidate.ready > 0)
}
