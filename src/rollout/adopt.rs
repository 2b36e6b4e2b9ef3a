//! The end of the way forward: stable takes the release, gets the traffic back, and what is left goes.

use super::back::{CLEANUP_DEADLINE, condemn_or_park};
use super::forward::{keep_candidate, stay};
use super::look::condemned;
use super::step::{Decision, Waiting, after};
use super::{Effect, End, Observation, Phase, State, World};
use crate::plan::Plan;
use crate::share::Share;

pub(super) fn start_adopting(plan: &Plan, mut state: State, seen: &Observation) -> Decision {
    state.enter(Phase::Adopting, seen.now);
    let waiting =
        Waiting::until("stable to take the release", after(seen.now, plan.adopt_deadline));
    Decision { state, effects: vec![Effect::Adopt], waiting }
}

/// Stable takes the release; the candidate keeps serving, and is still judged.
pub(super) fn adopt(plan: &Plan, mut state: State, seen: &Observation) -> Decision {
    if seen.world.as_ref().is_some_and(|world| has_adopted(plan, world)) {
        state.enter(Phase::Cleaning, seen.now);
        return clean(plan, state, seen);
    }
    let last = plan.stages.len().saturating_sub(1);
    if let Some(because) = condemned(plan, &mut state, seen, last) {
        return condemn_or_park(plan, state, because, seen);
    }
    let until = after(state.since, plan.adopt_deadline);
    if seen.now >= until {
        state.enter(Phase::Ended { end: End::AdoptionStuck }, seen.now);
        return stay(state, Waiting::nothing());
    }
    let waiting = Waiting::until("stable to take the release", until);
    let mut next = keep_candidate(plan, state, seen, Share::FULL, waiting);
    let candidate = seen.world.as_ref().and_then(|world| world.candidate.as_ref());
    let serves = candidate.is_some_and(|candidate| candidate.ready > 0);
    if serves && seen.world.as_ref().is_some_and(|world| world.share != Some(Share::FULL)) {
        next.effects.push(Effect::SetShare { share: Share::FULL }); // somebody moved it
    }
    next.effects.push(Effect::Adopt);
    next
}

/// Stable runs the release: traffic is given back to it, then what was the candidate goes.
pub(super) fn clean(plan: &Plan, mut state: State, seen: &Observation) -> Decision {
    let until = after(state.since, CLEANUP_DEADLINE);
    let Some(world) = &seen.world else {
        return stay(state, Waiting::until("the platform to answer", until));
    };
    if world.stable.revision == plan.stable.hash {
        // The world has lost the adoption: what was decided on it is decided again.
        state.enter(Phase::Adopting, seen.now);
        return adopt(plan, state, seen);
    }
    // What was released or, where somebody was faster, a newer one still: stable is the user's again.
    let given_back = world.is_given_back();
    let gone = world.candidate.is_none() && !world.retiring;
    if given_back && (gone || seen.now >= until) {
        state.enter(Phase::Ended { end: End::Promoted }, seen.now);
        return stay(state, Waiting::nothing());
    }
    if given_back {
        let waiting = Waiting::until("the old revision to finish what it has begun", until);
        return Decision { state, effects: vec![Effect::RemoveCandidate], waiting };
    }
    if seen.now >= until {
        state.enter(Phase::Ended { end: End::AdoptionStuck }, seen.now);
        return stay(state, Waiting::nothing());
    }
    let effects = if world.stable.complete() {
        vec![Effect::SetShare { share: Share::ZERO }]
    } else {
        Vec::new() // stable lost copies meanwhile: the candidate keeps serving until they are back
    };
    Decision { state, effects, waiting: Waiting::until("traffic to be back at stable", until) }
}

pub(super) fn has_adopted(plan: &Plan, world: &World) -> bool {
    world.stable.revision == plan.release.hash && world.stable.complete()
}
