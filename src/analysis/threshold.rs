//! The threshold judge: what users of Flagger and Argo Rollouts know.
//!
//! A condition is read from the counts of a sliding window. It breaches when it is broken at
//! [`looks`](crate::plan::JudgePlan::looks) looks in a row; what cannot be read is `Unknown`, and an
//! unknown look neither adds to that row nor ends it. A stage passes when every condition is
//! read and kept, on at least `min_requests` requests of the candidate in this stage.
//!
//! Three guards keep it from condemning a release for what is not its doing; each is one sentence
//! in the policy's reference (`interface`, "how it is read"):
//! * while the baseline serves, an absolute limit breaches only if the candidate is worse by
//!   [`WORSE_ERRORS`] or [`WORSE_LATENCY`]; else both suffer, and that is a shared incident;
//! * a relative limit on errors also needs [`EXCESS_MIN`] more errors than the baseline's rate
//!   explains: with a baseline that never fails every single error would be an infinite ratio;
//! * failed probes must be three times as frequent as the baseline's, and more than a flake rate
//!   of 5 % explains.
//!
//! It has no guarantee against false alarms and gives no confidence; that is the evidence judge's.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::{
    Cause, Counters, JudgedOn, Judgement, Look, PerArm, ProbeCount, Reading, Unknown, Verdict,
};
use crate::plan::Plan;
use crate::policy::Condition;

mod read;
mod window;

use read::Said;
pub use read::{EXCESS_MIN, WORSE_ERRORS, WORSE_LATENCY};
use window::{Slice, Start, Window, increments};

/// Least window of the count of failed probes, in seconds.
const HEALTH_WINDOW_S: f64 = 60.0;
/// Good probes in a row without which nothing passes at share 0.
const GOOD_PROBES: u64 = 4;

/// Plain data; stored and restored after any look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judge {
    conditions: Vec<Condition>,
    bounds_ms: Vec<f64>,
    window_s: f64,
    health_window_s: f64,
    looks: u32,
    min_requests: u64,
    stage: Option<usize>,
    /// Candidate requests in this stage.
    stage_requests: f64,
    good_probes: u64,
    last: PerArm<BTreeMap<String, Counters>>,
    /// What each look of the window brought, oldest first.
    slices: VecDeque<Slice>,
    probes: VecDeque<(f64, PerArm<ProbeCount>)>,
    /// Per condition: looks in a row at which it was broken.
    broken: Vec<u32>,
}

impl Judge {
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let probe_s = plan.health_check.as_ref().map_or(0.0, |h| h.interval.as_secs_f64());
        let health_limit = |c: &Condition| match c {
            Condition::HealthCheckFailures { limit } => Some(f64::from(*limit)),
            _ => None,
        };
        let limit = plan.conditions.iter().find_map(health_limit).unwrap_or(0.0);
        Self {
            conditions: plan.conditions.clone(),
            bounds_ms: plan.judge.bounds_ms.clone(),
            window_s: plan.judge.window.as_secs_f64(),
            health_window_s: HEALTH_WINDOW_S.max(2.0 * (limit + 1.0) * probe_s),
            looks: plan.judge.looks.max(1),
            min_requests: plan.judge.min_requests,
            stage: None,
            stage_requests: 0.0,
            good_probes: 0,
            last: PerArm { baseline: BTreeMap::new(), candidate: BTreeMap::new() },
            slices: VecDeque::new(),
            probes: VecDeque::new(),
            broken: vec![0; plan.conditions.len()],
        }
    }

    /// Judges one look.
    pub fn judge(&mut self, look: &Look) -> Judgement {
        self.take_in(look);
        let judged_on = if look.share.is_zero() { JudgedOn::Health } else { JudgedOn::All };
        let (mut readings, mut causes, mut why) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..self.conditions.len() {
            let condition = self.conditions[i].clone();
            if judged_on == JudgedOn::Health && !needs_no_users(&condition) {
                continue;
            }
            let (mut reading, said) = self.read(&condition, look);
            match said {
                Said::Kept => self.broken[i] = 0,
                Said::Broken => self.broken[i] += 1,
                Said::Unknown(reason) => {
                    reading.unknown = Some(reason.clone());
                    why.push(reason);
                }
            }
            if self.broken[i] >= self.looks {
                causes.push(cause(&reading));
            } else if self.broken[i] > 0 {
                why.push(Unknown::Judge { word: "suspicion".into() });
            }
            readings.push(reading);
        }
        let verdict = if causes.is_empty() {
            why.extend(self.missing_for_pass(look, judged_on));
            why.sort();
            why.dedup();
            if why.is_empty() { Verdict::Pass } else { Verdict::Unknown { why } }
        } else {
            Verdict::Breach { causes }
        };
        let calm = self.broken.iter().all(|looks| *looks == 0);
        let healthy = calm && self.missing_for_pass(look, JudgedOn::Health).is_none();
        let stage_requests = self.stage_requests as u64;
        Judgement { verdict, readings, confidence: None, judged_on, healthy, stage_requests }
    }

    // ---- taking a look in

    fn take_in(&mut self, look: &Look) {
        if self.stage != Some(look.stage) {
            self.stage = Some(look.stage);
            self.stage_requests = 0.0;
            self.good_probes = 0;
            self.slices.clear(); // a window never mixes two shares
        }
        let width = 2 + self.bounds_ms.len();
        let baseline = increments(&mut self.last.baseline, &look.baseline, width, Start::Unknown);
        let candidate = increments(&mut self.last.candidate, &look.candidate, width, Start::AtZero);
        self.stage_requests += candidate[0];
        self.slices.push_back(Slice { at_s: look.at_s, baseline, candidate });
        self.probes.push_back((look.at_s, look.probes));
        let candidate = look.probes.candidate;
        self.good_probes =
            if candidate.failed > 0 { 0 } else { self.good_probes.saturating_add(candidate.sent) };
        let (from, health_from) = (look.at_s - self.window_s, look.at_s - self.health_window_s);
        while self.slices.front().is_some_and(|slice| slice.at_s <= from) {
            self.slices.pop_front();
        }
        while self.probes.front().is_some_and(|(at_s, _)| *at_s <= health_from) {
            self.probes.pop_front();
        }
    }

    fn window(&self, arm: impl Fn(&Slice) -> &Vec<f64>) -> Window<'_> {
        let mut counts = vec![0.0; 2 + self.bounds_ms.len()];
        for slice in &self.slices {
            counts.iter_mut().zip(arm(slice)).for_each(|(sum, new)| *sum += new);
        }
        Window { counts, bounds: &self.bounds_ms }
    }

    // ---- passing

    fn missing_for_pass(&self, look: &Look, judged_on: JudgedOn) -> Option<Unknown> {
        let probed = self.probes.iter().any(|(_, probes)| *probes != PerArm::default());
        let healthy = look.candidate_healthy && look.expected.candidate > 0;
        match judged_on {
            JudgedOn::Health => {
                let needed = GOOD_PROBES * u64::from(look.expected.candidate.max(1));
                let enough = !probed || self.good_probes >= needed;
                (!healthy || !enough).then_some(Unknown::CollectingProbes)
            }
            JudgedOn::All => {
                let (seen, needed) = (self.stage_requests as u64, self.min_requests);
                if let Some(reason) = &look.missing {
                    Some(reason.clone())
                } else if seen < needed {
                    Some(Unknown::TooFewRequests { seen, needed })
                } else {
                    (!healthy).then_some(Unknown::CollectingProbes)
                }
            }
        }
    }
}

const fn needs_no_users(condition: &Condition) -> bool {
    matches!(condition, Condition::HealthCheckFailures { .. } | Condition::Query { .. })
}

fn cause(reading: &Reading) -> Cause {
    Cause {
        condition: reading.condition.clone(),
        seen: reading.seen,
        limit: reading.limit,
        baseline: reading.baseline,
        confidence: None,
        requests: reading.requests,
    }
}

#[cfg(test)]
mod tests;
