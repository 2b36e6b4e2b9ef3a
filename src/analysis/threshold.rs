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

use super::quantile::quantile_ms;
use super::{
    Answer, Cause, Counters, JudgedOn, Judgement, Look, PerArm, ProbeCount, Reading, Unknown,
    Verdict,
};
use crate::plan::Plan;
use crate::policy::{Comparison, Condition, Quantile};

/// An error rate is the candidate's own from this ratio to the baseline's on.
pub const WORSE_ERRORS: f64 = 1.5;
/// A response time is the candidate's own from this ratio to the baseline's on.
pub const WORSE_LATENCY: f64 = 1.1;
/// Errors beyond what the baseline's rate explains that a relative limit needs.
pub const EXCESS_MIN: f64 = 5.0;
/// Probes that a healthy instance may fail by chance.
const FLAKE_RATE: f64 = 0.05;
/// Chance at which a count of failed probes counts as more than flakes.
const FLAKE_CHANCE: f64 = 0.01;
/// Failed probes must be so many times as frequent as the baseline's.
const WORSE_PROBES: f64 = 3.0;
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

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Slice {
    at_s: f64,
    baseline: Vec<f64>,
    candidate: Vec<f64>,
}

/// One arm's counts in the window.
struct Window<'a> {
    counts: Vec<f64>,
    bounds: &'a [f64],
}

/// What a condition says at one look.
enum Said {
    Kept,
    Broken,
    Unknown(Unknown),
}

impl Judge {
    #[must_use]
    pub fn new(plan: &Plan, bounds_ms: &[f64]) -> Self {
        let probe_s = plan.health_check.as_ref().map_or(0.0, |h| h.interval.as_secs_f64());
        let health_limit = |c: &Condition| match c {
            Condition::HealthCheckFailures { limit } => Some(f64::from(*limit)),
            _ => None,
        };
        let limit = plan.conditions.iter().find_map(health_limit).unwrap_or(0.0);
        Self {
            conditions: plan.conditions.clone(),
            bounds_ms: bounds_ms.to_vec(),
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

    // ---- reading conditions

    fn read(&self, condition: &Condition, look: &Look) -> (Reading, Said) {
        let candidate = self.window(|slice| &slice.candidate);
        let baseline = self.window(|slice| &slice.baseline);
        let mut reading = Reading {
            condition: condition.to_string(),
            seen: None,
            limit: None,
            baseline: None,
            requests: Some(candidate.requests() as u64),
            unknown: None,
        };
        let said = match condition {
            Condition::HealthCheckFailures { limit } => self.health(*limit, &mut reading),
            Condition::Query { name, comparison, limit } => {
                query(name, *comparison, *limit, look.queries.get(name), &mut reading)
            }
            Condition::TrafficShare { factor } => {
                self.traffic_share(*factor, look, &candidate, &baseline, &mut reading)
            }
            Condition::ErrorRate { .. }
            | Condition::ResponseTime { .. }
            | Condition::ErrorRateRatio { .. }
            | Condition::ResponseTimeRatio { .. } => match self.too_little(look, &candidate) {
                Some(reason) => Said::Unknown(reason),
                None => self.counted(condition, look, &candidate, &baseline, &mut reading),
            },
        };
        (reading, said)
    }

    fn too_little(&self, look: &Look, candidate: &Window<'_>) -> Option<Unknown> {
        if let Some(reason) = &look.missing {
            return Some(reason.clone());
        }
        let seen = candidate.requests() as u64;
        (seen < self.min_requests)
            .then_some(Unknown::TooFewRequests { seen, needed: self.min_requests })
    }

    /// Conditions on the counts of requests.
    fn counted(
        &self,
        condition: &Condition,
        look: &Look,
        candidate: &Window<'_>,
        baseline: &Window<'_>,
        reading: &mut Reading,
    ) -> Said {
        let comparable = !look.share.is_full() && baseline.requests() > 0.0;
        match condition {
            Condition::ErrorRate { limit } => {
                let (seen, base) = (candidate.error_rate(), baseline.error_rate());
                reading.fill(Some(seen), Some(*limit), comparable.then_some(base));
                let own = if comparable {
                    seen >= WORSE_ERRORS * base
                } else {
                    !self.stable_fails_probes()
                };
                absolute(condition, seen > *limit, own)
            }
            Condition::ResponseTime { quantile, limit } => {
                let limit_ms = limit.as_secs_f64() * 1000.0;
                let (seen, base) = (candidate.quantile(quantile), baseline.quantile(quantile));
                reading.fill(seen, Some(limit_ms), base.filter(|_| comparable));
                let Some(seen) = seen else { return Said::Unknown(no_latencies()) };
                let broken = candidate
                    .slower_share(limit_ms)
                    .map_or(seen > limit_ms, |share| share > 1.0 - quantile.fraction());
                let own = match base {
                    Some(base) if comparable => seen >= WORSE_LATENCY * base,
                    _ => !self.stable_fails_probes(),
                };
                absolute(condition, broken, own)
            }
            Condition::ErrorRateRatio { ratio } => {
                let (seen, base) = (candidate.error_rate(), baseline.error_rate());
                reading.fill(Some(seen), Some(ratio * base), Some(base));
                let excess = candidate.errors() - ratio * base * candidate.requests();
                relative(look, comparable, reading, excess >= EXCESS_MIN)
            }
            Condition::ResponseTimeRatio { quantile, ratio } => {
                let (seen, base) = (candidate.quantile(quantile), baseline.quantile(quantile));
                reading.fill(seen, base.map(|base| ratio * base), base);
                let enough = baseline.requests() >= self.min_requests as f64;
                match (seen, base) {
                    (Some(seen), Some(base)) => {
                        relative(look, comparable && enough, reading, seen > ratio * base)
                    }
                    _ => relative(look, false, reading, false),
                }
            }
            Condition::HealthCheckFailures { .. }
            | Condition::TrafficShare { .. }
            | Condition::Query { .. } => Said::Kept,
        }
    }

    fn health(&self, limit: u32, reading: &mut Reading) -> Said {
        let (mut candidate, mut baseline) = (ProbeCount::default(), ProbeCount::default());
        for (_, probes) in &self.probes {
            candidate.add(probes.candidate);
            baseline.add(probes.baseline);
        }
        reading.fill(
            Some(candidate.failed as f64),
            Some(f64::from(limit)),
            (baseline.sent > 0).then_some(baseline.failed as f64),
        );
        reading.requests = None;
        let own = candidate.rate() >= WORSE_PROBES * baseline.rate();
        if candidate.failed <= u64::from(limit) || more_than_flakes(candidate) > FLAKE_CHANCE {
            Said::Kept
        } else if own {
            Said::Broken
        } else {
            shared(&reading.condition)
        }
    }

    fn traffic_share(
        &self,
        factor: f64,
        look: &Look,
        candidate: &Window<'_>,
        baseline: &Window<'_>,
        reading: &mut Reading,
    ) -> Said {
        let (asked, total) = (look.share.fraction(), candidate.requests() + baseline.requests());
        reading.limit = Some(factor * asked);
        if look.share.is_full() {
            return Said::Kept; // there is nothing to divide
        }
        if let Some(reason) = &look.missing {
            return Said::Unknown(reason.clone());
        }
        if total < self.min_requests as f64 {
            let (seen, needed) = (total as u64, self.min_requests);
            return Said::Unknown(Unknown::TooFewRequests { seen, needed });
        }
        reading.seen = Some(candidate.requests() / total);
        let broken = candidate.requests() < factor * asked * total;
        if broken { Said::Broken } else { Said::Kept }
    }

    fn stable_fails_probes(&self) -> bool {
        let mut stable = ProbeCount::default();
        self.probes.iter().for_each(|(_, probes)| stable.add(probes.baseline));
        stable.sent > 0 && stable.failed * 2 >= stable.sent
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

/// Whether a counter that is seen for the first time began at 0.
#[derive(Clone, Copy)]
enum Start {
    /// A candidate was born with this promotion.
    AtZero,
    /// A baseline's counters are old: the first sample is a reference point only.
    Unknown,
}

/// Sums what the instances' counters have grown by. A counter below its last value began anew; a
/// sample that is senseless is passed over, and the next one carries the gap.
fn increments(
    last: &mut BTreeMap<String, Counters>,
    now: &BTreeMap<String, Counters>,
    width: usize,
    start: Start,
) -> Vec<f64> {
    let mut sum = vec![0.0; width];
    for (instance, counters) in now {
        let values = &counters.0;
        if values.len() != width || !values.iter().all(|v| v.is_finite() && *v >= 0.0) {
            continue;
        }
        let before = match (last.get(instance), start) {
            (Some(before), _) => before.0.clone(),
            (None, Start::AtZero) => vec![0.0; width],
            (None, Start::Unknown) => values.clone(),
        };
        let began_anew = values.iter().zip(&before).any(|(new, old)| new < old);
        for (k, value) in values.iter().enumerate() {
            sum[k] += if began_anew { *value } else { value - before[k] };
        }
        last.insert(instance.clone(), counters.clone());
    }
    sum
}

impl Window<'_> {
    fn requests(&self) -> f64 {
        self.counts[0]
    }

    fn errors(&self) -> f64 {
        self.counts[1]
    }

    fn error_rate(&self) -> f64 {
        if self.requests() > 0.0 { self.errors() / self.requests() } else { 0.0 }
    }

    fn quantile(&self, quantile: &Quantile) -> Option<f64> {
        quantile_ms(quantile.fraction(), self.requests(), &self.counts[2..], self.bounds)
    }

    /// Returns the share of requests slower than a limit that has a bound of its own; there are requests.
    fn slower_share(&self, limit_ms: f64) -> Option<f64> {
        let k = self.bounds.iter().position(|bound| (bound - limit_ms).abs() < 1e-9)?;
        Some(self.counts[2 + k] / self.requests())
    }
}

impl ProbeCount {
    const fn add(&mut self, other: Self) {
        self.failed += other.failed;
        self.sent += other.sent;
    }

    fn rate(self) -> f64 {
        if self.sent > 0 { self.failed as f64 / self.sent as f64 } else { 0.0 }
    }
}

impl Reading {
    const fn fill(&mut self, seen: Option<f64>, limit: Option<f64>, baseline: Option<f64>) {
        (self.seen, self.limit, self.baseline) = (seen, limit, baseline);
    }
}

const fn needs_no_users(condition: &Condition) -> bool {
    matches!(condition, Condition::HealthCheckFailures { .. } | Condition::Query { .. })
}

fn absolute(condition: &Condition, broken: bool, own: bool) -> Said {
    match (broken, own) {
        (false, _) => Said::Kept,
        (true, true) => Said::Broken,
        (true, false) => shared(&condition.to_string()),
    }
}

/// At 100 % there is nothing to compare with, which is said nowhere to be a fault; below it, a
/// baseline without data leaves the question open.
fn relative(look: &Look, comparable: bool, reading: &mut Reading, broken: bool) -> Said {
    match (look.share.is_full(), comparable) {
        (true, _) => {
            reading.fill(reading.seen, None, None);
            Said::Kept
        }
        (false, false) => Said::Unknown(Unknown::NoData { arm: "baseline".into() }),
        (false, true) if broken => Said::Broken,
        (false, true) => Said::Kept,
    }
}

fn query(
    name: &str,
    comparison: Comparison,
    limit: f64,
    answer: Option<&Answer>,
    reading: &mut Reading,
) -> Said {
    reading.limit = Some(limit);
    reading.requests = None;
    match answer {
        Some(Answer::Value(value)) if value.is_finite() => {
            reading.seen = Some(*value);
            let broken = match comparison {
                Comparison::Above => *value > limit,
                Comparison::Below => *value < limit,
            };
            if broken { Said::Broken } else { Said::Kept }
        }
        Some(Answer::Value(_)) => Said::Unknown(Unknown::NotANumber { of: name.to_owned() }),
        Some(Answer::Unknown(reason)) => Said::Unknown(reason.clone()),
        None => Said::Unknown(Unknown::NoData { arm: format!("query {name}") }),
    }
}

fn shared(condition: &str) -> Said {
    Said::Unknown(Unknown::SharedIncident { condition: condition.to_owned() })
}

fn no_latencies() -> Unknown {
    Unknown::Judge { word: "no_latencies".into() }
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

/// Returns the chance of at least so many failed probes if each fails by chance at the flake rate:
/// the upper tail of a binomial distribution.
fn more_than_flakes(probes: ProbeCount) -> f64 {
    let (sent, odds) = (probes.sent as f64, FLAKE_RATE / (1.0 - FLAKE_RATE));
    let mut term = (sent * (1.0 - FLAKE_RATE).ln()).exp();
    let mut below = 0.0;
    for k in 0..probes.failed.min(probes.sent) {
        below += term;
        term *= (sent - k as f64) / (k as f64 + 1.0) * odds;
    }
    (1.0 - below).max(0.0)
}

#[cfg(test)]
mod tests;
