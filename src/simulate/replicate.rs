//! One simulated promotion, judged as a recording is.

use std::collections::BTreeMap;

use super::dice::Dice;
use super::scenario::{HISTORY_S, Scenario};
use super::traffic::{Traffic, Window, probes_per_window};
use crate::analysis::evidence::{Header, Judge, Line, Refused, Sample, StageTimes, Word};
use crate::analysis::{PerArm, ProbeCount};
use crate::policy::Condition;

/// What became of one promotion.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Outcome {
    /// Seconds after its start.
    pub(super) breached_s: Option<f64>,
    /// First pass before any breach.
    pub(super) passed_s: Option<f64>,
    /// Bad requests beyond the baseline's, until the breach or the end.
    pub(super) bad_requests: f64,
}

/// The header that all replicates of a scenario share.
pub(super) fn header(scenario: &Scenario) -> Header {
    let stage = |(begin, share): (u32, f64)| StageTimes {
        at_s: Some(f64::from(begin)),
        share: Some(share),
        ..StageTimes::default()
    };
    let stages = scenario.schedule().into_iter().map(stage).collect();
    let bounds = scenario.buckets.bounds_ms();
    Header {
        horizon_s: Some(f64::from(scenario.horizon)),
        ..Header::new(bounds, f64::from(scenario.scrape), stages)
    }
}

/// # Errors
/// Those of [`Judge::new`].
pub(super) fn run(
    scenario: &Scenario,
    policy: &[Condition],
    dice: &mut Dice,
) -> Result<Outcome, Refused> {
    let mut judge = Judge::new(policy, &header(scenario))?;
    let traffic = Traffic::draw(scenario, dice);
    let mut pods = PerArm {
        baseline: Counting::all("b", &traffic.baseline),
        candidate: Counting::all("c", &traffic.candidate),
    };
    let mut outcome =
        Outcome { bad_requests: excess_until(&traffic, f64::INFINITY), ..Outcome::default() };
    let windows = (HISTORY_S + scenario.horizon) / scenario.scrape;
    for n in 0..windows {
        let line = line(scenario, n, &mut pods);
        let Some(verdict) = judge.look(&line) else { continue };
        match verdict.verdict {
            Word::Breach => {
                outcome.breached_s = Some(verdict.at_s);
                outcome.bad_requests = excess_until(&traffic, verdict.at_s);
                break;
            }
            Word::Pass => outcome.passed_s = outcome.passed_s.or(Some(verdict.at_s)),
            Word::Unknown => {}
        }
    }
    Ok(outcome)
}

fn excess_until(traffic: &Traffic, seconds: f64) -> f64 {
    let most = traffic.excess.len();
    let end = if seconds < most as f64 { seconds as usize } else { most };
    end.checked_sub(1).map_or(0.0, |last| traffic.excess[last])
}

/// A pod's counters as it exports them.
struct Counting<'a> {
    name: String,
    windows: &'a [Window],
    counters: Vec<f64>,
}

impl<'a> Counting<'a> {
    fn all(arm: &str, pods: &'a [Vec<Window>]) -> Vec<Self> {
        let pod = |(n, windows): (usize, &'a Vec<Window>)| Self {
            name: format!("{arm}{n}"),
            windows,
            counters: vec![0.0; windows.first().map_or(0, |window| window.counts.len())],
        };
        pods.iter().enumerate().map(pod).collect()
    }

    fn count(&mut self, n: usize) {
        let window = &self.windows[n];
        if window.restarted {
            self.counters.fill(0.0);
        }
        for (counter, count) in self.counters.iter_mut().zip(&window.counts) {
            *counter += count;
        }
    }
}

/// The line of window `n`, as a recording would have it.
fn line(scenario: &Scenario, n: u32, pods: &mut PerArm<Vec<Counting>>) -> Line {
    let begin = n * scenario.scrape;
    let at_s = f64::from(begin + scenario.scrape) - f64::from(HISTORY_S);
    let now = scenario.schedule().into_iter().rfind(|stage| HISTORY_S + stage.0 <= begin);
    let share = now.map_or(0.0, |stage| stage.1);
    let active = now.map_or(0, |stage| scenario.candidate_pods(stage.1));
    for pod in pods.baseline.iter_mut().chain(&mut pods.candidate) {
        pod.count(n as usize);
    }
    let (baseline, candidate) =
        (&pods.baseline[..], &pods.candidate[..active.min(pods.candidate.len())]);
    let samples = |pods: &[Counting]| -> BTreeMap<String, Sample> {
        let fresh = pods.iter().filter(|pod| !pod.windows[n as usize].missing);
        fresh.map(|pod| (pod.name.clone(), Some(pod.counters.clone()))).collect()
    };
    let probes = |pods: &[Counting]| {
        let failed = pods.iter().map(|pod| pod.windows[n as usize].failed_probes).sum();
        Some(ProbeCount { failed, sent: probes_per_window(scenario) * pods.len() as u64 })
    };
    Line {
        at_s: Some(at_s),
        stage: None,
        share: Some(share),
        samples: PerArm { baseline: samples(baseline), candidate: samples(candidate) },
        expected: PerArm { baseline: Some(scenario.n_base), candidate: Some(active as u32) },
        probes: PerArm { baseline: probes(baseline), candidate: probes(candidate) },
    }
}
