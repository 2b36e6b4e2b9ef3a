//! What would a policy do? Thousands of simulated promotions, judged by the judge itself.
//!
//! A [`Scenario`] says what the traffic is like and what is wrong with the candidate; [`simulate`] says
//! how often, and how soon, the policy finds it, or how often it condemns a release that is good.
//! The schedule of shares is the scenario's own, whatever the verdicts say.
//!
//! Same seed, same result, with any number of threads: each replicate draws from a sequence of its own.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde::Serialize;

use crate::analysis::evidence::Refused;
use crate::policy::{Condition, JudgeKind};

mod scenario;

mod replicate;

mod traffic;

mod dice;

pub use scenario::{Buckets, DEFAULT_SHARE, HISTORY_S, Kind, Scenario};

use replicate::Outcome;

pub const SCHEMA: &str = "gate.simulation/v1";
/// Replicates of one simulation: bounds memory and time.
pub const REPS_MAX: u64 = 1_000_000;

/// What came of all replicates: `gate.simulation/v1`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Simulation {
    pub schema: &'static str,
    pub scenario: String,
    pub kind: Kind,
    pub judge: JudgeKind,
    pub reps: u64,
    pub seed: u64,
    /// Of all; with kind `null` the rate of false rollbacks.
    pub rolled_back_share: f64,
    /// Rolled back before the onset.
    pub early_share: f64,
    /// Not rolled back within the horizon, of those that were not early.
    pub missed_share: f64,
    /// From the onset, over those that were rolled back after it.
    pub detect_s: Detection,
    pub pass_s: Passing,
    /// Until the rollback or the end, of those that were not early.
    pub bad_requests: BadRequests,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Detection {
    pub median: Option<f64>,
    pub p90: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Passing {
    pub median: Option<f64>,
    /// Replicates with a pass before any rollback.
    pub reached_share: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BadRequests {
    pub median: Option<f64>,
}

/// Why nothing was simulated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SimulationError {
    #[error("scenario {scenario}: {key} must be {rule}")]
    Scenario { scenario: String, key: &'static str, rule: &'static str },
    #[error("between 1 and {max} replicates can be simulated", max = REPS_MAX)]
    Reps,
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Simulates `reps` promotions (times the scenario's own multiplier) under these conditions.
///
/// # Errors
/// A scenario that makes no sense, or conditions that the evidence judge refuses.
pub fn simulate(
    scenario: &Scenario,
    policy: &[Condition],
    reps: u64,
    seed: u64,
) -> Result<Simulation, SimulationError> {
    simulate_with(
        scenario,
        policy,
        reps,
        seed,
        thread::available_parallelism().map_or(1, NonZero::get),
    )
}

fn simulate_with(
    scenario: &Scenario,
    policy: &[Condition],
    reps: u64,
    seed: u64,
    threads: usize,
) -> Result<Simulation, SimulationError> {
    if let Some((key, rule)) = scenario.mistakes().first() {
        return Err(SimulationError::Scenario { scenario: scenario.name.clone(), key, rule });
    }
    let reps = reps.saturating_mul(u64::from(scenario.reps));
    if reps == 0 || reps > REPS_MAX {
        return Err(SimulationError::Reps);
    }
    let next = AtomicU64::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let replicate = next.fetch_add(1, Ordering::Relaxed);
            if replicate >= reps {
                return Ok::<_, Refused>(done);
            }
            let mut dice = dice::Dice::of(seed, &scenario.name, replicate);
            done.push(replicate::run(scenario, policy, &mut dice)?);
        }
    };
    let outcomes = thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut outcomes = work()?;
        for worker in workers {
            // A worker that panicked has a bug; it goes on here, where it would be seen.
            let done = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            outcomes.extend(done?);
        }
        Ok::<_, Refused>(outcomes)
    })?;
    Ok(summary(scenario, seed, &outcomes))
}

/// The order of the outcomes does not matter: everything is a count or a quantile.
fn summary(scenario: &Scenario, seed: u64, outcomes: &[Outcome]) -> Simulation {
    let onset = f64::from(scenario.onset);
    let early = |outcome: &&Outcome| outcome.breached_s.is_some_and(|s| s <= onset);
    let share = |part: usize, of: usize| if of == 0 { 0.0 } else { part as f64 / of as f64 };
    let all = outcomes.len();
    let early_count = outcomes.iter().filter(early).count();
    let in_time: Vec<&Outcome> = outcomes.iter().filter(|outcome| !early(outcome)).collect();
    let detected = sorted(in_time.iter().filter_map(|o| o.breached_s).map(|s| s - onset));
    let passed = sorted(outcomes.iter().filter_map(|o| o.passed_s));
    let bad = sorted(in_time.iter().map(|o| o.bad_requests));
    Simulation {
        schema: SCHEMA,
        scenario: scenario.name.clone(),
        kind: scenario.kind,
        judge: JudgeKind::Evidence,
        reps: all as u64,
        seed,
        rolled_back_share: share(early_count + detected.len(), all),
        early_share: share(early_count, all),
        missed_share: share(in_time.len() - detected.len(), in_time.len()),
        detect_s: Detection { median: quantile(&detected, 0.5), p90: quantile(&detected, 0.9) },
        pass_s: Passing { median: quantile(&passed, 0.5), reached_share: share(passed.len(), all) },
        bad_requests: BadRequests { median: quantile(&bad, 0.5) },
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The smallest value that at least the part `q` of the values does not exceed.
fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let rank = (q * sorted.len().saturating_sub(1) as f64).ceil() as usize;
    sorted.get(rank).copied()
}

#[cfg(test)]
mod tests;
