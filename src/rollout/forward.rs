//! The way forward up to the first stage, and the change of the share before each.

use super::adopt::start_adopting;
use super::back::condemn_or_park;
use super::look::{condemned, held_by_person, its_fault, out_of_time, resumed};
use super::step::{Decision, Waiting, after};
use super::{Because, Effect, Observation, Phase, StageClock, State, TestersAre, Workload, World};
use crate::analysis::Unknown;
use crate::plan::Plan;
use crate::share::Share;

/// What a judge would say of a hold or an approval that ran out.
pub(super) const NOBODY_ANSWERED: &str = "nobody_answered";

/// The same of a candidate that was ready in time, and could not be reached by its testers.
const NOT_LET_IN: &str = "testers_not_let_in";

pub(super) fn wait(plan: &Plan, mut state: State, seen: &Observation) -> Decision {
    if let Some(until) = plan.frozen_until(seen.now) {
        return stay(state, Waiting::until("the freeze to end", until));
    }
    state.enter(Phase::Preparing, seen.now);
    prepare(plan, state, seen)
}

pub(super) fn prepare(plan: &Plan, mut state: State, seen: &Observation) -> Decision {
    let candidate = seen.world.as_ref().and_then(|world| world.candidate.as_ref());
    let share = plan.stages.first().map_or(Share::FULL, |stage| stage.share);
    if seen.world.as_ref().is_some_and(|world| fits(plan, world, share)) {
        if let Some(waiting) = held_by_person(plan, seen) {
            return stay_or_expire(plan, state, seen, waiting);
        }
        state.enter(Phase::Shifting { stage: 0 }, seen.now);
        return shift(plan, state, seen, 0);
    }
    let until = after(resumed(&state, seen), plan.prepare_deadline);
    let trouble = candidate.and_then(|candidate| candidate.trouble.as_ref());
    let complete = candidate.is_some_and(|candidate| is_complete(plan, candidate, share));
    if seen.now >= until || trouble.is_some_and(|trouble| trouble.gave_up) {
        let word = NOT_LET_IN.to_owned();
        let because = match complete {
            true => Because::NoProof(vec![Unknown::Judge { word }]),
            false => not_ready(candidate),
        };
        return condemn_or_park(plan, state, because, seen);
    }
    let for_what = match trouble {
        Some(trouble) => format!("the candidate to be ready ({})", trouble.what),
        None if complete => "its testers to be let in".to_owned(),
        None => "the candidate to be ready".to_owned(),
    };
    let waiting = Waiting::until(for_what, until);
    Decision { state, effects: vec![Effect::EnsureCandidate { share }], waiting }
}

pub(super) fn shift(plan: &Plan, mut state: State, seen: &Observation, stage: usize) -> Decision {
    let Some(asked) = plan.stages.get(stage) else { return start_adopting(plan, state, seen) };
    if let Some(because) = condemned(plan, &mut state, seen, stage) {
        return condemn_or_park(plan, state, because, seen);
    }
    state.judging_since.get_or_insert(seen.now);
    let person = held_by_person(plan, seen);
    let (until, word) = match person.as_ref().and_then(|hold| hold.until) {
        Some(until) => (until, NOBODY_ANSWERED),
        None => (after(resumed(&state, seen), asked.deadline), "share_not_seen"),
    };
    if seen.now >= until {
        let why = vec![Unknown::Judge { word: word.into() }];
        let because = match person {
            Some(_) => Because::NoProof(why),
            None => out_of_time(plan, seen, why),
        };
        return condemn_or_park(plan, state, because, seen);
    }
    let Some(world) = &seen.world else {
        return stay(state, Waiting::until("the platform to answer", until));
    };
    if world.share == Some(asked.share) {
        state.share_seen = Some(seen.now);
        state.enter(Phase::Holding { stage, clock: StageClock::start(seen.now) }, seen.now);
        return stay(state, Waiting::until("evidence", after(seen.now, asked.deadline)));
    }
    let raises = world.share.is_none_or(|share| share < asked.share);
    if !raises || fits(plan, world, asked.share) {
        if raises && let Some(waiting) = person {
            return stay(state, waiting);
        }
        let waiting = Waiting::until(format!("{} to be seen", asked.share), until);
        return Decision { state, effects: vec![Effect::SetShare { share: asked.share }], waiting };
    }
    let waiting = Waiting::until("the candidate to have what this share needs", until);
    Decision { state, effects: vec![Effect::EnsureCandidate { share: asked.share }], waiting }
}

fn not_ready(candidate: Option<&Workload>) -> Because {
    let trouble = candidate.and_then(|candidate| candidate.trouble.as_ref());
    its_fault(trouble).unwrap_or_else(|| {
        Because::NoProof(vec![match trouble {
            Some(trouble) => Unknown::SourceDown { what: trouble.what.clone() },
            None => Unknown::NoData { arm: "candidate".into() },
        }])
    })
}

/// Returns whether the candidate is the release, has the instances that a share needs, and its testers.
/// What an earlier promotion has left there is no candidate of this one.
pub(super) fn fits(plan: &Plan, world: &World, share: Share) -> bool {
    let testers = plan.traffic.as_ref().and_then(|traffic| traffic.testers.as_ref());
    world.candidate.as_ref().is_some_and(|candidate| is_complete(plan, candidate, share))
        && (testers.is_none() || world.testers == TestersAre::In)
}

fn is_complete(plan: &Plan, candidate: &Workload, share: Share) -> bool {
    candidate.revision == plan.release.hash && candidate.complete() && candidate.sized_for >= share
}

pub(super) const fn stay(state: State, waiting: Waiting) -> Decision {
    Decision { state, effects: Vec::new(), waiting }
}

/// Keeps the candidate's instances there as long as they may be needed.
pub(super) fn keep_candidate(
    plan: &Plan,
    state: State,
    seen: &Observation,
    share: Share,
    waiting: Waiting,
) -> Decision {
    let lacks =
        |world: &World| world.stable.revision == plan.stable.hash && !fits(plan, world, share);
    let lacking = seen.world.as_ref().is_some_and(lacks);
    let effects = if lacking { vec![Effect::EnsureCandidate { share }] } else { Vec::new() };
    Decision { state, effects, waiting }
}

/// A person's hold or a pending approval has a limit; past it, it ends as a deadline does.
pub(super) fn stay_or_expire(
    plan: &Plan,
    state: State,
    seen: &Observation,
    waiting: Waiting,
) -> Decision {
    if waiting.until.is_some_and(|until| seen.now >= until) {
        let why = vec![Unknown::Judge { word: NOBODY_ANSWERED.into() }];
        return condemn_or_park(plan, state, Because::NoProof(why), seen);
    }
    stay(state, waiting)
}
