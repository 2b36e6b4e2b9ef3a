//! The way forward: from waiting for a start to a release that stable has taken over.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::back::{CLEANUP_DEADLINE, condemn_or_park};
use super::step::{Decision, Waiting, after};
use super::{
    Because, Effect, End, Observation, ParkedBecause, Phase, StageClock, State, Workload, World,
    WouldHave,
};
use crate::analysis::{Cause, JudgedOn, Unknown, Verdict};
use crate::plan::{Plan, Stage};
use crate::policy::InsufficientTraffic;
use crate::share::Share;

/// So many resets of the share by somebody else …
const FIGHT_RESETS: usize = 3;
/// … within so long are a fight.
const FIGHT_WINDOW: TimeDelta = TimeDelta::minutes(10);
/// What a judge would say of a hold or an approval that ran out.
const NOBODY_ANSWERED: &str = "nobody_answered";

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
    if candidate.is_some_and(|candidate| fits(candidate, share)) {
        if let Some(waiting) = held_by_person(plan, seen) {
            return stay_or_expire(plan, state, seen, waiting);
        }
        state.enter(Phase::Shifting { stage: 0 }, seen.now);
        return shift(plan, state, seen, 0);
    }
    let until = after(resumed(&state, seen), plan.prepare_deadline);
    let trouble = candidate.and_then(|candidate| candidate.trouble.as_ref());
    if seen.now >= until || trouble.is_some_and(|trouble| trouble.gave_up) {
        return condemn_or_park(plan, state, not_ready(candidate), seen);
    }
    let for_what = trouble.map_or_else(
        || "the candidate to be ready".to_owned(),
        |trouble| format!("the candidate to be ready ({})", trouble.what),
    );
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
        return condemn_or_park(plan, state, Because::NoProof(why), seen);
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
    if !raises || world.candidate.as_ref().is_some_and(|c| fits(c, asked.share)) {
        if raises && let Some(waiting) = person {
            return stay(state, waiting);
        }
        let waiting = Waiting::until(format!("{} to be seen", asked.share), until);
        return Decision { state, effects: vec![Effect::SetShare { share: asked.share }], waiting };
    }
    let waiting = Waiting::until("the candidate to have what this share needs", until);
    Decision { state, effects: vec![Effect::EnsureCandidate { share: asked.share }], waiting }
}

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
    let candidate = seen.world.as_ref().and_then(|world| world.candidate.as_ref());
    let needs = next.map_or(asked.share, |next| next.share);
    if !candidate.is_some_and(|candidate| fits(candidate, needs)) {
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

fn start_adopting(plan: &Plan, mut state: State, seen: &Observation) -> Decision {
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
    let given_back = world.share == Some(Share::ZERO) && world.stable.revision == plan.release.hash;
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
    let effects = if has_adopted(plan, world) {
        vec![Effect::SetShare { share: Share::ZERO }]
    } else {
        Vec::new() // stable lost copies meanwhile: the candidate keeps serving until they are back
    };
    Decision { state, effects, waiting: Waiting::until("traffic to be back at stable", until) }
}

// ---- what a look says

/// Returns why it must go back now, if it must. A promotion that only observes notes it instead.
fn condemned(plan: &Plan, state: &mut State, seen: &Observation, stage: usize) -> Option<Because> {
    let candidate = seen.world.as_ref().and_then(|world| world.candidate.as_ref());
    let dead = candidate.and_then(|candidate| candidate.trouble.as_ref()).filter(|t| t.gave_up);
    let because = match (&seen.judged, dead) {
        (_, Some(trouble)) if trouble.its_own => {
            Because::Breach(vec![Cause::in_words(trouble.what.clone())])
        }
        (Some(judged), _) => match &judged.verdict {
            Verdict::Breach { causes } => Because::Breach(causes.clone()),
            Verdict::Pass | Verdict::Unknown { .. } => return None,
        },
        (None, _) => return None,
    };
    if plan.observe_only {
        state.would_have.get_or_insert(WouldHave { because, stage, at: seen.now });
        return None;
    }
    Some(because)
}

/// Returns on what this look lets the stage pass, if it does.
fn passes(plan: &Plan, seen: &Observation) -> Option<JudgedOn> {
    let judged = seen.judged.as_ref()?;
    let too_little = plan.insufficient_traffic == InsufficientTraffic::HealthOnly
        && judged.stage_requests < plan.judge.min_requests;
    match &judged.verdict {
        Verdict::Pass => Some(judged.judged_on),
        Verdict::Unknown { .. } if too_little && judged.healthy => Some(JudgedOn::Health),
        Verdict::Unknown { .. } | Verdict::Breach { .. } => {
            plan.observe_only.then_some(judged.judged_on)
        }
    }
}

fn held_by_person(plan: &Plan, seen: &Observation) -> Option<Waiting> {
    let hold = seen.asks.held()?;
    let until = after(hold.at, plan.hold_max);
    Some(Waiting::person(format!("{} to resume (it was held)", hold.by), Some(until)))
}

/// Returns from when a phase's deadline counts: a hold stops it, and it begins anew with the resume.
fn resumed(state: &State, seen: &Observation) -> DateTime<Utc> {
    seen.asks.resume.as_ref().map_or(state.since, |resume| resume.at.max(state.since))
}

fn not_ready(candidate: Option<&Workload>) -> Because {
    match candidate.and_then(|candidate| candidate.trouble.as_ref()) {
        Some(trouble) if trouble.its_own => {
            Because::Breach(vec![Cause::in_words(trouble.what.clone())])
        }
        Some(trouble) => Because::NoProof(vec![Unknown::SourceDown { what: trouble.what.clone() }]),
        None => Because::NoProof(vec![Unknown::NoData { arm: "candidate".into() }]),
    }
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

fn reasons(seen: &Observation) -> Vec<Unknown> {
    match seen.judged.as_ref().map(|judged| &judged.verdict) {
        Some(Verdict::Unknown { why }) => why.clone(),
        Some(Verdict::Pass | Verdict::Breach { .. }) | None => Vec::new(),
    }
}

pub(super) fn has_adopted(plan: &Plan, world: &World) -> bool {
    world.stable.revision == plan.release.hash && world.stable.complete()
}

/// Returns whether the candidate has the instances that a share needs.
fn fits(candidate: &Workload, share: Share) -> bool {
    candidate.complete() && candidate.sized_for >= share
}

// ---- where it leads

const fn stay(state: State, waiting: Waiting) -> Decision {
    Decision { state, effects: Vec::new(), waiting }
}

/// Keeps the candidate's instances there as long as they may be needed.
fn keep_candidate(
    plan: &Plan,
    state: State,
    seen: &Observation,
    share: Share,
    waiting: Waiting,
) -> Decision {
    let lacks = |world: &World| {
        world.stable.revision == plan.stable.hash
            && !world.candidate.as_ref().is_some_and(|candidate| fits(candidate, share))
    };
    let lacking = seen.world.as_ref().is_some_and(lacks);
    let effects = if lacking { vec![Effect::EnsureCandidate { share }] } else { Vec::new() };
    Decision { state, effects, waiting }
}

/// A person's hold or a pending approval has a limit; past it, it ends as a deadline does.
fn stay_or_expire(plan: &Plan, state: State, seen: &Observation, waiting: Waiting) -> Decision {
    if waiting.until.is_some_and(|until| seen.now >= until) {
        let why = vec![Unknown::Judge { word: NOBODY_ANSWERED.into() }];
        return condemn_or_park(plan, state, Because::NoProof(why), seen);
    }
    stay(state, waiting)
}

/// The deadline passed without proof: back, or to a person, as the policy says.
fn unproven(
    plan: &Plan,
    mut state: State,
    seen: &Observation,
    stage: usize,
    share: Share,
) -> Decision {
    let why = reasons(seen);
    match plan.insufficient_traffic {
        InsufficientTraffic::Rollback | InsufficientTraffic::HealthOnly => {
            condemn_or_park(plan, state, Because::NoProof(why), seen)
        }
        InsufficientTraffic::Hold => {
            let why = ParkedBecause::NoProof(why);
            state.enter(Phase::Parked { stage, share, why: why.clone() }, seen.now);
            stay_parked(plan, state, seen, stage, share, &why)
        }
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
