//! What one look says: must it go back, may it go on, does a person hold it.

use chrono::{DateTime, Utc};

use super::step::{Waiting, after};
use super::{Because, Observation, State, Trouble, WouldHave};
use crate::analysis::{Cause, JudgedOn, Unknown, Verdict};
use crate::plan::Plan;
use crate::policy::InsufficientTraffic;

/// Returns why it must go back now, if it must. A promotion that only observes notes it instead.
pub(super) fn condemned(
    plan: &Plan,
    state: &mut State,
    seen: &Observation,
    stage: usize,
) -> Option<Because> {
    let candidate = seen.world.as_ref().and_then(|world| world.candidate.as_ref());
    let dead = candidate.and_then(|candidate| candidate.trouble.as_ref()).filter(|t| t.gave_up);
    let because = match (&seen.judged, its_fault(dead)) {
        (_, Some(fault)) => fault,
        (Some(judged), None) => match &judged.verdict {
            Verdict::Breach { causes } => Because::Breach(causes.clone()),
            Verdict::Pass | Verdict::Unknown { .. } => return None,
        },
        (None, None) => return None,
    };
    if plan.observe_only {
        state.would_have.get_or_insert(WouldHave { because, stage, at: seen.now });
        return None;
    }
    Some(because)
}

/// Returns what the release is to blame for, if this trouble is its own.
pub(super) fn its_fault(trouble: Option<&Trouble>) -> Option<Because> {
    let own = trouble.filter(|trouble| trouble.its_own)?;
    Some(Because::Breach(vec![Cause::in_words(own.what.clone())]))
}

/// Returns why a stage whose time has passed goes back: what the release itself lacks to be
/// complete, else `why` there is no proof. Where the gate only observes, nothing is condemned.
pub(super) fn out_of_time(plan: &Plan, seen: &Observation, why: Vec<Unknown>) -> Because {
    let candidate = seen.world.as_ref().and_then(|world| world.candidate.as_ref());
    let lacking = candidate
        .filter(|candidate| candidate.revision == plan.release.hash && !candidate.complete())
        .filter(|_| !plan.observe_only);
    its_fault(lacking.and_then(|candidate| candidate.trouble.as_ref()))
        .unwrap_or(Because::NoProof(why))
}

/// Returns on what this look lets the stage pass, if it does.
pub(super) fn passes(plan: &Plan, seen: &Observation) -> Option<JudgedOn> {
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

pub(super) fn held_by_person(plan: &Plan, seen: &Observation) -> Option<Waiting> {
    let hold = seen.asks.held()?;
    let until = after(hold.at, plan.hold_max);
    Some(Waiting::person(format!("{} to resume (it was held)", hold.by), Some(until)))
}

/// Returns from when a phase's deadline counts: a hold stops it, and it begins anew with the resume.
pub(super) fn resumed(state: &State, seen: &Observation) -> DateTime<Utc> {
    seen.asks.resume.as_ref().map_or(state.since, |resume| resume.at.max(state.since))
}

pub(super) fn reasons(seen: &Observation) -> Vec<Unknown> {
    match seen.judged.as_ref().map(|judged| &judged.verdict) {
        Some(Verdict::Unknown { why }) => why.clone(),
        Some(Verdict::Pass | Verdict::Breach { .. }) | None => Vec::new(),
    }
}
