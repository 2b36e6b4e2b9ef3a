//! A stage that is held: what lets it go on, what sends it back, and what makes it wait for a person.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::adopt::start_adopting;
use super::back::condemn_or_park;
use super::forward::{fits, keep_candidate, shift, stay, stay_or_expire};
use super::look::{condemned, held_by_person, out_of_time, passes, reasons};
use super::step::{Decision, Waiting, after};
use super::{Because, Effect, Observation, ParkedBecause, Phase, StageClock, State};
use crate::analysis::JudgedOn;
use crate::plan::{Plan, Stage};
use crate::policy::InsufficientTraffic;
use crate::share::Share;

/// So many resets of the share by somebody else …
const FIGHT_RESETS: usize = 3;

/// … within so long are a fight.
const FIGHT_WINDOW: TimeDelta = TimeDelta::minutes(10);

pub(super) fn hold(
    plan: &Plan,
    mut state: State,
    seen: &Observation,
    stage: usize,
    mut clock: StageClock,
) -> Decision {
    let Some(asked) = plan.stages.get(stage) else { return start_adopting(plan, state, seen) };
    if let Some(because) = condemned(plan, &mut state, seen, stage) {
        return condemn_or_park(plan, state, because, seen);
    }
    if let Some(share) = seen.world.as_ref().and_then(|world| world.share)
        && share != asked.share
    {
        return moved_by_somebody(plan, state, seen, stage, share.min(asked.share));
    }
    let passed_on = passes(plan, seen);
    let passed = passed_on.is_some();
    let over = clock.held(seen.now) >= asked.hold;
    let unapproved = asked.approval && !seen.asks.approved.contains_key(&stage);
    let person = held_by_person(plan, seen);
    let to_approve = unapproved && over && (passed || clock.approval_asked.is_some());
    clock.approval_asked =
        (to_approve && person.is_none()).then(|| clock.approval_asked.unwrap_or(seen.now));
    clock.stand(person.is_some() || clock.approval_asked.is_some(), seen.now);
    state.phase = Phase::Holding { stage, clock: clock.clone() };
    if let Some(waiting) = person {
        return stay_or_expire(plan, state, seen, waiting);
    }
    if let Some(asked_since) = clock.approval_asked {
        let until = after(asked_since, plan.approval_timeout);
        let waiting = Waiting::person(format!("approval of stage {}", stage + 1), Some(until));
        return stay_or_expire(plan, state, seen, waiting);
    }
    if let Some(on) = passed_on
        && over
        && seen.world.is_some()
    {
        return leave(plan, state, seen, stage, on);
    }
    let left = asked.deadline.saturating_sub(clock.held(seen.now));
    if left.is_zero() {
        return unproven(plan, state, seen, stage, asked.share);
    }
    let waiting = what_is_missing(seen, &clock, asked, after(seen.now, left));
    keep_candidate(plan, state, seen, asked.share, waiting)
}

/// A stage is left only once the candidate has what the next one needs, so that the verdict which
/// lets it go is never older than the look at which the share is raised.
fn leave(
    plan: &Plan,
    mut state: State,
    seen: &Observation,
    stage: usize,
    passed_on: JudgedOn,
) -> Decision {
    let Some(asked) = plan.stages.get(stage) else { return start_adopting(plan, state, seen) };
    let next = plan.stages.get(stage + 1);
    let needs = next.map_or(asked.share, |next| next.share);
    if !seen.world.as_ref().is_some_and(|world| fits(plan, world, needs)) {
        let Phase::Holding { clock, .. } = &state.phase else {
            return stay(state, Waiting::nothing());
        };
        let left = asked.deadline.saturating_sub(clock.held(seen.now));
        if left.is_zero() {
            return unproven(plan, state, seen, stage, asked.share);
        }
        let until = after(seen.now, left);
        let waiting = Waiting::until(format!("the candidate to have what {needs} needs"), until);
        return Decision {
            state,
            effects: vec![Effect::EnsureCandidate { share: needs }],
            waiting,
        };
    }
    state.stages_passed = stage + 1;
    if passed_on == JudgedOn::Health && !asked.share.is_zero() {
        state.passed_on_health.push(stage);
    }
    match next {
        Some(next) => {
            state.enter(Phase::Shifting { stage: stage + 1 }, seen.now);
            let until = after(seen.now, next.deadline);
            let waiting = Waiting::until(format!("{} to be seen", next.share), until);
            let effects = vec![Effect::SetShare { share: next.share }];
            Decision { state, effects, waiting }
        }
        None => start_adopting(plan, state, seen),
    }
}

pub(super) fn stay_parked(
    plan: &Plan,
    mut state: State,
    seen: &Observation,
    stage: usize,
    share: Share,
    why: &ParkedBecause,
) -> Decision {
    let irreversible = matches!(why, ParkedBecause::Irreversible(_));
    if !irreversible && let Some(because) = condemned(plan, &mut state, seen, stage) {
        return condemn_or_park(plan, state, because, seen);
    }
    if seen.asks.resume.as_ref().is_some_and(|resume| resume.at > state.since) {
        state.resets.clear();
        state.enter(Phase::Shifting { stage }, seen.now);
        return shift(plan, state, seen, stage);
    }
    let until = after(state.since, plan.hold_max);
    if !irreversible && seen.now >= until {
        let because = match why {
            ParkedBecause::NoProof(why) => Because::NoProof(why.clone()),
            ParkedBecause::Fight | ParkedBecause::Irreversible(_) => Because::NoProof(Vec::new()),
        };
        return condemn_or_park(plan, state, because, seen);
    }
    let for_what = match why {
        ParkedBecause::Fight => "a person: somebody else keeps moving the share",
        ParkedBecause::NoProof(_) => "a person: the deadline passed without proof",
        ParkedBecause::Irreversible(_) => "a person: it should go back but can't be undone",
    };
    let waiting = Waiting::person(for_what, (!irreversible).then_some(until));
    let seen_share = seen.world.as_ref().and_then(|world| world.share);
    let effects = if seen_share.map_or(share.is_zero(), |seen| seen > share) {
        vec![Effect::SetShare { share }] // parked, it may lose share but never gain it
    } else {
        Vec::new()
    };
    Decision { state, effects, waiting }
}

fn what_is_missing(
    seen: &Observation,
    clock: &StageClock,
    asked: &Stage,
    deadline: DateTime<Utc>,
) -> Waiting {
    let left: Duration = asked.hold.saturating_sub(clock.held(seen.now));
    if !left.is_zero() {
        return Waiting::until("the hold to be over", after(seen.now, left));
    }
    let reasons = reasons(seen);
    let words: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    let for_what = if words.is_empty() { "the next look".to_owned() } else { words.join("; ") };
    Waiting::until(for_what, deadline)
}

/// The deadline passed without proof: back, or to a person, as the policy says. What the release
/// itself is to blame for is no want of proof.
fn unproven(
    plan: &Plan,
    mut state: State,
    seen: &Observation,
    stage: usize,
    share: Share,
) -> Decision {
    match (out_of_time(plan, seen, reasons(seen)), plan.insufficient_traffic) {
        (Because::NoProof(why), InsufficientTraffic::Hold) => {
            let why = ParkedBecause::NoProof(why);
            state.enter(Phase::Parked { stage, share, why: why.clone() }, seen.now);
            stay_parked(plan, state, seen, stage, share, &why)
        }
        (because, _) => condemn_or_park(plan, state, because, seen),
    }
}

/// Somebody else moved the share: it is asked for again, and the hold begins anew; but never a tug
/// of war. What can't be undone keeps what it has then, all else goes to 0.
fn moved_by_somebody(
    plan: &Plan,
    mut state: State,
    seen: &Observation,
    stage: usize,
    left: Share,
) -> Decision {
    state.resets.retain(|at| seen.now - *at < FIGHT_WINDOW);
    state.resets.push(seen.now);
    if state.resets.len() >= FIGHT_RESETS {
        let share = if plan.release.irreversible { left } else { Share::ZERO };
        let why = ParkedBecause::Fight;
        state.enter(Phase::Parked { stage, share, why: why.clone() }, seen.now);
        return stay_parked(plan, state, seen, stage, share, &why);
    }
    state.enter(Phase::Shifting { stage }, seen.now);
    shift(plan, state, seen, stage)
}
