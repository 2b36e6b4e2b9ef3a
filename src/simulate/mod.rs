//! What would a policy do? Thousands of simulated promotions, judged by the judge itself.
//!
//! A [`Scenario`] says what the traffic is like and what is wrong with the candidate; [`simulate`] says
//! how often, and how soon, the policy finds it, or how often it condemns a release that is good.
//! A scenario with a share or stages of its own fixes the schedule, whatever the verdicts say.
//! Otherwise the policy's stages run through the engine, closed loop: a verdict moves the share.
//!
//! Same seed, same result, with any number of threads: each replicate draws from a sequence of its own.

use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde::Serialize;

use crate::analysis::evidence::Refused;
use crate::plan::Plan;
use crate::policy::{JudgeKind, Policy};

mod scenario;

mod read;

mod replicate;

mod closed;

mod traffic;

mod bursts;

mod dice;

pub use read::read;
pub use scenario::{Buckets, DEFAULT_SHARE, HISTORY_S, Kind, Scenario};

use dice::Dice;

pub const SCHEMA: &str = "gate.simulation/v1";
/// Replicates of one simulation: bounds memory and time.
pub const REPS_MAX: u64 = 1_000_000;

/// What is asked of the simulator.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub scenario: &'a Scenario,
    pub policy: &'a Policy,
    pub judge: JudgeKind,
    /// Times the scenario's own multiplier.
    pub reps: u64,
    pub seed: u64,
    pub threads: NonZero<usize>,
}

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
    /// Closed loop only, as is the duration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub promoted_share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_s: Option<Detection>,
    /// Every time to detection, rising.
    #[serde(skip)]
    pub detected_s: Vec<f64>,
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
    #[error("no runtime: {what}")]
    Runtime { what: String },
}

/// What became of one promotion.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Outcome {
    /// Seconds after its start.
    breached_s: Option<f64>,
    /// First pass before any breach.
    passed_s: Option<f64>,
    /// Bad requests beyond the baseline's, until the breach or the end.
    bad_requests: f64,
    /// How it ended, where its verdicts decided that.
    promoted: Option<Promoted>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Promoted {
    yes: bool,
    duration_s: f64,
}

impl Question<'_> {
    /// Whether the policy's own stages run, closed loop.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        !self.scenario.fixes_schedule() && !self.policy.stages.is_empty()
    }

    /// # Errors
    /// What keeps it from being answered.
    fn check(&self) -> Result<u64, SimulationError> {
        let scenario = self.scenario;
        if let Some((key, rule)) = scenario.mistakes().first() {
            return Err(SimulationError::Scenario { scenario: scenario.name.clone(), key, rule });
        }
        let reps = self.reps.saturating_mul(u64::from(scenario.reps));
        if reps == 0 || reps > REPS_MAX { Err(SimulationError::Reps) } else { Ok(reps) }
    }
}

/// How replicates are run: what they share, made once.
enum Way {
    Fixed,
    Closed(Box<Plan>),
}

/// Simulates the promotions of a question.
///
/// # Errors
/// A scenario that makes no sense, or conditions that the judge refuses.
pub fn simulate(question: &Question<'_>) -> Result<Simulation, SimulationError> {
    let reps = question.check()?;
    let way = match question.is_closed() {
        true => Way::Closed(Box::new(closed::plan(question))),
        false => Way::Fixed,
    };
    let next = AtomicU64::new(0);
    let work = || run_replicates(question, &way, reps, &next);
    let outcomes = thread::scope(|scope| {
        let workers: Vec<_> = (1..question.threads.get()).map(|_| scope.spawn(work)).collect();
        let mut outcomes = work()?;
        for worker in workers {
            // A worker that panicked has a bug; it goes on here, where it would be seen.
            let done = worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            outcomes.extend(done?);
        }
        Ok::<_, SimulationError>(outcomes)
    })?;
    Ok(summary(question, &outcomes))
}

/// One worker: takes the next replicate until there is none.
fn run_replicates(
    question: &Question<'_>,
    way: &Way,
    reps: u64,
    next: &AtomicU64,
) -> Result<Vec<Outcome>, SimulationError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| SimulationError::Runtime { what: error.to_string() })?;
    let mut done = Vec::new();
    loop {
        let replicate = next.fetch_add(1, Ordering::Relaxed);
        if replicate >= reps {
            return Ok(done);
        }
        let dice = Dice::of(question.seed, &question.scenario.name, replicate);
        done.push(match way {
            Way::Fixed => replicate::run(question, dice)?,
            Way::Closed(plan) => closed::run(question, plan, &runtime, dice)?,
        });
    }
}

/// The order of the outcomes does not matter: everything is a count or a quantile.
fn summary(question: &Question<'_>, outcomes: &[Outcome]) -> Simulation {
    let scenario = question.scenario;
    let onset = f64::from(scenario.onset);
    let early = |outcome: &&Outcome| outcome.breached_s.is_some_and(|s| s <= onset);
    let share = |part: usize, of: usize| if of == 0 { 0.0 } else { part as f64 / of as f64 };
    let all = outcomes.len();
    let early_count = outcomes.iter().filter(early).count();
    let in_time: Vec<&Outcome> = outcomes.iter().filter(|outcome| !early(outcome)).collect();
    let detected_s = sorted(in_time.iter().filter_map(|o| o.breached_s).map(|s| s - onset));
    let passed = sorted(outcomes.iter().filter_map(|o| o.passed_s));
    let bad = sorted(in_time.iter().map(|o| o.bad_requests));
    let ended: Vec<Promoted> = outcomes.iter().filter_map(|o| o.promoted).collect();
    let durations = sorted(ended.iter().map(|ended| ended.duration_s));
    let promoted = ended.iter().filter(|ended| ended.yes).count();
    Simulation {
        schema: SCHEMA,
        scenario: scenario.name.clone(),
        kind: scenario.kind,
        judge: question.judge,
        reps: all as u64,
        seed: question.seed,
        rolled_back_share: share(early_count + detected_s.len(), all),
        early_share: share(early_count, all),
        missed_share: share(in_time.len() - detected_s.len(), in_time.len()),
        detect_s: Detection::of(&detected_s),
        pass_s: Passing { median: quantile(&passed, 0.5), reached_share: share(passed.len(), all) },
        bad_requests: BadRequests { median: quantile(&bad, 0.5) },
        promoted_share: question.is_closed().then(|| share(promoted, all)),
        duration_s: question.is_closed().then(|| Detection::of(&durations)),
        detected_s,
    }
}

impl Detection {
    fn of(sorted: &[f64]) -> Self {
        Self { median: quantile(sorted, 0.5), p90: quantile(sorted, 0.9) }
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
