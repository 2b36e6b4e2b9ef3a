//! What one look says: must it go back, may it go on, does a person hold it.

use chrono::{DateTime, Utc};

use super::step::{Waiting, after};
use super::{Because, Observation, State, WouldHave};
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
