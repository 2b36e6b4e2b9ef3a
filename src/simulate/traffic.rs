//! Simulated traffic of one promotion: what every pod does between two of its samples.
//!
//! Requests and errors are Poisson with rates that change from second to second (a shared load that
//! wanders, incidents, bursts, the candidate's fault); a window's count is drawn at once, from the sum of
//! its seconds' rates, which is the same law. Latencies are log-normal (median 115 ms, σ 0.5, so p95
//! 262 ms). Every pod is sampled at its own moment of the interval, as by a real scraper.

use super::dice::Dice;
use super::scenario::{HISTORY_S, Scenario};
use crate::analysis::evidence::normal;

const LATENCY_MEDIAN_MS: f64 = 115.0;
const LATENCY_SIGMA: f64 = 0.5;
/// Standard deviation and 10 s autocorrelation of the log load.
const LOAD_SD: f64 = 0.2;
const LOAD_MEMORY: f64 = 0.9;
const LOAD_STEP_S: usize = 10;
const HOUR_S: f64 = 3600.0;
/// Seconds between two health probes of a pod.
const PROBE_S: u32 = 5;

/// One pod from one of its samples to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    /// Requests, errors, slower than each bound.
    pub(super) counts: Vec<f64>,
    /// The process restarted: its counters begin with these counts.
    pub(super) restarted: bool,
    pub(super) missing: bool,
    pub(super) failed_probes: u64,
}

/// All pods of one promotion.
#[derive(Clone, Debug)]
pub(super) struct Traffic {
    /// Of each pod, window by window.
    pub(super) baseline: Vec<Vec<Window>>,
    pub(super) candidate: Vec<Vec<Window>>,
    /// Bad requests of the candidate beyond the baseline's, expected, up to each second of the promotion.
    pub(super) excess: Vec<f64>,
}

/// Probes of one pod in one window.
pub(super) fn probes_per_window(scenario: &Scenario) -> u64 {
    u64::from((scenario.scrape / PROBE_S).max(1))
}

/// P(latency > `bound_ms`) when everything is slower by `factor`.
pub(super) fn slower_than(bound_ms: f64, factor: f64) -> f64 {
    normal::cdf(-((bound_ms / LATENCY_MEDIAN_MS).ln() - factor.ln()) / LATENCY_SIGMA)
}

/// Share and candidate pods, second by second from the history's beginning.
struct Schedule {
    share: Vec<f64>,
    pods: Vec<usize>,
}

impl Schedule {
    fn new(scenario: &Scenario) -> Self {
        let seconds = (HISTORY_S + scenario.horizon) as usize;
        let (mut share, mut pods) = (vec![0.0; seconds], vec![0; seconds]);
        for (begin, of_stage) in scenario.schedule() {
            let from = ((HISTORY_S + begin) as usize).min(seconds);
            share[from..].fill(of_stage);
            pods[from..].fill(scenario.candidate_pods(of_stage));
        }
        Self { share, pods }
    }
}

impl Traffic {
    pub(super) fn draw(scenario: &Scenario, dice: &mut Dice) -> Self {
        let schedule = Schedule::new(scenario);
        let seconds = schedule.share.len();
        let shared = match scenario.shared_rate > 0.0 {
            true => bursts(seconds, scenario.shared_rate, dice, |_| scenario.shared_dur as usize),
            false => vec![false; seconds],
        };
        let world = World { scenario, load: load(seconds, dice), shared, schedule };
        let mut excess = vec![0.0; scenario.horizon as usize];
        let pods = scenario.n_base as usize;
        let baseline = (0..pods).map(|_| world.pod(Pod::Baseline, &mut excess, dice)).collect();
        let most = world.schedule.pods.iter().copied().max().unwrap_or(0);
        let candidate =
            (0..most).map(|n| world.pod(Pod::Candidate(n), &mut excess, dice)).collect();
        let mut sum = 0.0;
        for second in &mut excess {
            sum += *second;
            *second = sum;
        }
        Self { baseline, candidate, excess }
    }
}

/// The shared load: an AR(1) process in logarithms, of mean 1.
fn load(seconds: usize, dice: &mut Dice) -> Vec<f64> {
    let mut log = LOAD_SD * dice.normal();
    let noise = LOAD_SD * (1.0 - LOAD_MEMORY * LOAD_MEMORY).sqrt();
    let mut load = Vec::with_capacity(seconds + LOAD_STEP_S);
    while load.len() < seconds {
        load.resize(load.len() + LOAD_STEP_S, (log - LOAD_SD * LOAD_SD / 2.0).exp());
        log = LOAD_MEMORY * log + noise * dice.normal();
    }
    load.truncate(seconds);
    load
}

/// When something is on that begins so many times an hour.
fn bursts(
    seconds: usize,
    per_hour: f64,
    dice: &mut Dice,
    length: impl Fn(&mut Dice) -> usize,
) -> Vec<bool> {
    let mut on = vec![false; seconds];
    for start in 0..seconds {
        if dice.chance(per_hour / HOUR_S) {
            let end = start.saturating_add(length(dice)).min(seconds);
            on[start..end].fill(true);
        }
    }
    on
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pod {
    Baseline,
    /// The n-th one.
    Candidate(usize),
}

/// What is the same for all pods.
struct World<'a> {
    scenario: &'a Scenario,
    load: Vec<f64>,
    shared: Vec<bool>,
    schedule: Schedule,
}

/// Sums over the seconds of a window.
#[derive(Clone, Copy, Default)]
struct Sums {
    ok: f64,
    errors: f64,
    effect: f64,
    shared: f64,
    burst: f64,
}

impl World<'_> {
    fn pod(&self, pod: Pod, excess: &mut [f64], dice: &mut Dice) -> Vec<Window> {
        let s = self.scenario;
        let error = s.base_err * (s.pod_het * dice.normal() - s.pod_het * s.pod_het / 2.0).exp();
        let slowness = (s.lat_het * dice.normal()).exp();
        let length = |dice: &mut Dice| (1.0 + dice.exponential(s.pod_dur)) as usize;
        let burst = match s.pod_rate > 0.0 {
            true => bursts(self.load.len(), s.pod_rate, dice, length),
            false => vec![false; self.load.len()],
        };
        let (scrape, offset) = (s.scrape as usize, dice.below(u64::from(s.scrape)) as usize);
        let mut windows = Vec::with_capacity(self.load.len() / scrape);
        for n in 0..self.load.len() / scrape {
            // The first window is only a part of one: a reference point.
            let seconds =
                if n == 0 { 0..0 } else { offset + 1 + scrape * (n - 1)..offset + 1 + scrape * n };
            let mut sums = Sums::default();
            for second in seconds {
                self.second(pod, second, error, burst[second], &mut sums);
            }
            windows.push(self.window(pod, n, &sums, slowness, dice));
        }
        if let Pod::Candidate(n) = pod {
            self.add_excess(n, error, &burst, excess);
        }
        windows
    }

    /// Requests per second that the pod is asked for.
    fn demand(&self, pod: Pod, second: usize) -> f64 {
        let all = self.scenario.rps * self.load[second];
        let (share, pods) = (self.schedule.share[second], self.schedule.pods[second]);
        match pod {
            Pod::Baseline => all * (1.0 - share) / f64::from(self.scenario.n_base),
            Pod::Candidate(n) if n < pods => all * share / pods as f64,
            Pod::Candidate(_) => 0.0,
        }
    }

    /// Error rate of a second without the candidate's fault.
    fn usual_errors(&self, second: usize, error: f64, burst: bool) -> f64 {
        let s = self.scenario;
        let after_start = second.saturating_sub(HISTORY_S as usize) as f64;
        let drift =
            if s.drift > 0.0 { s.drift.powf(after_start / f64::from(s.horizon)) } else { 1.0 };
        let shared = if self.shared[second] { s.shared_err } else { 0.0 };
        let burst = if burst { s.pod_err } else { 0.0 };
        (error * drift).max(shared).max(burst).min(1.0)
    }

    fn second(&self, pod: Pod, second: usize, error: f64, burst: bool, sums: &mut Sums) {
        let s = self.scenario;
        let (mut requests, mut errors) =
            (self.demand(pod, second), self.usual_errors(second, error, burst));
        let time = second as i64 - i64::from(HISTORY_S);
        if pod != Pod::Baseline {
            if s.has_effect(time) {
                errors = (errors * s.err_mult + s.err_add).clamp(0.0, 1.0);
                requests *= 1.0 - s.hang;
            }
            let slow = match s.cold {
                Some((length, _)) => time >= 0 && (time as f64) < length,
                None => s.has_effect(time),
            };
            sums.effect += f64::from(slow);
        }
        sums.ok += requests * (1.0 - errors);
        sums.errors += requests * errors;
        sums.shared += f64::from(self.shared[second]);
        sums.burst += f64::from(burst);
    }

    fn window(&self, pod: Pod, n: usize, sums: &Sums, slowness: f64, dice: &mut Dice) -> Window {
        let s = self.scenario;
        let errors = dice.clusters(sums.errors, s.cluster);
        let requests = dice.poisson(sums.ok) + errors;
        let mut counts = vec![requests, errors];
        let (mut left, mut before) = (requests, 1.0);
        for bound in s.buckets.bounds_ms() {
            let slower = self.part_slower_than(bound / slowness, sums);
            left = dice.binomial(left, (slower / before).clamp(0.0, 1.0));
            counts.push(left);
            before = slower.max(1e-300);
        }
        let restarted = s.restarts > 0.0 && dice.chance(s.restarts * f64::from(s.scrape) / HOUR_S);
        if restarted {
            thin(&mut counts, dice);
        }
        let start = f64::from(s.scrape) * n as f64 - f64::from(HISTORY_S);
        let end = start + f64::from(s.scrape);
        let out = s.outage.is_some_and(|(begin, length)| end > begin && end <= begin + length);
        // The first sample of a pod is its reference point.
        let missing = n > 0 && (out || (s.miss > 0.0 && dice.chance(s.miss)));
        let failing = self.probe_failure(pod, start);
        let failed_probes = dice.binomial(probes_per_window(s) as f64, failing) as u64;
        Window { counts, restarted, missing, failed_probes }
    }

    /// Part of a window's requests above a bound: a mixture over the states that it was in.
    fn part_slower_than(&self, bound: f64, sums: &Sums) -> f64 {
        let s = self.scenario;
        let scrape = f64::from(s.scrape);
        let effect = (sums.effect / scrape).clamp(0.0, 1.0);
        let factor = s.cold.map_or(s.lat_mult, |(_, factor)| factor);
        let trouble = (sums.shared.max(sums.burst) / scrape).clamp(0.0, 1.0);
        let slowed = if s.pod_rate > 0.0 { s.pod_lat } else { s.shared_lat };
        let mixed = |by: f64| {
            (1.0 - effect) * slower_than(bound, by) + effect * slower_than(bound, by * factor)
        };
        (1.0 - trouble) * mixed(1.0) + if trouble > 0.0 { trouble * mixed(slowed) } else { 0.0 }
    }

    fn probe_failure(&self, pod: Pod, start: f64) -> f64 {
        let s = self.scenario;
        let out =
            s.probe_out.is_some_and(|(begin, length)| start >= begin && start < begin + length);
        let ill = pod != Pod::Baseline && s.unhealthy > 0.0 && s.has_effect(start as i64);
        match (out, ill) {
            (true, _) => 1.0,
            (false, true) => s.unhealthy.max(s.flake),
            (false, false) => s.flake,
        }
    }

    /// Errors and unanswered requests beyond the usual, or requests beyond the usual p95.
    fn add_excess(&self, n: usize, error: f64, burst: &[bool], excess: &mut [f64]) {
        let s = self.scenario;
        let p95 = LATENCY_MEDIAN_MS * (LATENCY_SIGMA * normal::quantile(0.95)).exp();
        let slow = if s.lat_mult > 1.0 { slower_than(p95, s.lat_mult) - 0.05 } else { 0.0 };
        for (time, sum) in
            excess.iter_mut().enumerate().filter(|(time, _)| s.has_effect(*time as i64))
        {
            let second = time + HISTORY_S as usize;
            let usual = self.usual_errors(second, error, burst[second]);
            let errors = (usual * s.err_mult + s.err_add).clamp(0.0, 1.0);
            let bad = match s.kind {
                super::Kind::Lat => slow,
                super::Kind::Null | super::Kind::Err | super::Kind::Hang | super::Kind::Health => {
                    errors - usual + s.hang
                }
            };
            *sum += bad * self.demand(Pod::Candidate(n), second);
        }
    }
}

/// A restart loses a part of the window's counts.
fn thin(counts: &mut [f64], dice: &mut Dice) {
    let keep = dice.uniform();
    counts.iter_mut().for_each(|count| *count = dice.binomial(*count, keep));
    counts[1] = counts[1].min(counts[0]);
    let mut most = counts[0];
    for slow in &mut counts[2..] {
        *slow = slow.min(most);
        most = *slow;
    }
}
