//! Simulated traffic of one promotion, second by second, and what a scraper sees of it.
//!
//! Requests and errors are Poisson with rates that change from second to second (a shared load that
//! wanders, incidents, bursts, the candidate's fault); what a pod counts between two of its samples is
//! drawn at once, from the sum of its seconds' rates, which is the same law. Latencies are log-normal
//! (median 115 ms, σ 0.5, so p95 262 ms). Every pod is sampled at its own moment of the interval, as
//! by a real scraper, and probed every 5 s.

use super::bursts::Bursts;
use super::dice::{Dice, Odds};
use super::scenario::{HISTORY_S, Kind, Scenario};
use crate::analysis::evidence::normal;
use crate::analysis::{PerArm, ProbeCount};

const LATENCY_MEDIAN_MS: f64 = 115.0;
const LATENCY_SIGMA: f64 = 0.5;
/// Standard deviation and 10 s autocorrelation of the log load.
const LOAD_SD: f64 = 0.2;
const LOAD_MEMORY: f64 = 0.9;
const LOAD_STEP_S: i64 = 10;
pub(super) const HOUR_S: f64 = 3600.0;
/// Seconds between two health probes of a pod.
const PROBE_S: i64 = 5;
/// Stands in the tails of the histogram for what is too rare to divide by.
const RAREST: f64 = 1e-300;

/// P(latency > `bound_ms`) when everything is slower by `factor`.
pub(super) fn slower_than(bound_ms: f64, factor: f64) -> f64 {
    normal::cdf(-((bound_ms / LATENCY_MEDIAN_MS).ln() - factor.ln()) / LATENCY_SIGMA)
}

/// Both revisions and what they have done so far.
#[derive(Clone, Debug)]
pub(super) struct Traffic<'a> {
    scenario: &'a Scenario,
    dice: Dice,
    /// The second that comes next; 0 is the promotion's first, history lies before.
    second: i64,
    log_load: f64,
    load: f64,
    incidents: Bursts,
    pub(super) pods: PerArm<Vec<Pod>>,
    /// Bad requests of the candidate beyond the baseline's, expected, so far.
    pub(super) excess: f64,
}

/// One pod as it is scraped and probed.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub(super) name: String,
    /// At its newest sample: requests, errors, slower than each bound.
    pub(super) counters: Vec<f64>,
    /// A sample has come since it was last asked for.
    pub(super) fresh: bool,
    pub(super) probes: ProbeCount,
    candidate: bool,
    error: f64,
    bursts: Bursts,
    /// Where in the interval it is sampled.
    offset: i64,
    /// The second of its next sample.
    next_sample: i64,
    /// Part of its requests that is slower than each bound, in each [`Latency`].
    slower: Vec<[f64; 4]>,
    /// Of those slower than the bound before, the part that is slower than each bound, usually.
    usually: Vec<Odds>,
    /// Part of its requests beyond the usual p95 that the fault alone puts there.
    slow_excess: f64,
    sums: Sums,
}

/// The states that a second's latencies may be in, as columns of [`Pod::slower`].
#[derive(Clone, Copy)]
enum Latency {
    Usual,
    Faulty,
    Troubled,
    Both,
}

/// Since the last sample, summed over seconds.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    seconds: f64,
    ok: f64,
    errors: f64,
    faulty: f64,
    incident: f64,
    burst: f64,
}

/// What is the same for all pods in one second.
struct Second {
    at: i64,
    /// Requests.
    asked: f64,
    share: f64,
    /// Candidate pods that serve.
    active: usize,
    incident: bool,
    drift: f64,
    /// Of the candidate's fault.
    effect: bool,
    /// Health is probed.
    probed: bool,
}

impl<'a> Traffic<'a> {
    /// Traffic that begins at a second, with this many candidate pods at most.
    pub(super) fn new(
        scenario: &'a Scenario,
        bounds_ms: &[f64],
        candidates: usize,
        start: i64,
        mut dice: Dice,
    ) -> Self {
        let mut pods = |arm: &str, count: usize| -> Vec<Pod> {
            let name = |n: usize| format!("{arm}{n}");
            (0..count)
                .map(|n| Pod::new(name(n), arm == "c", scenario, bounds_ms, start, &mut dice))
                .collect()
        };
        let pods = PerArm {
            baseline: pods("b", scenario.n_base as usize),
            candidate: pods("c", candidates),
        };
        let incidents = Bursts::new(scenario.shared_rate, start, &mut dice);
        let log_load = LOAD_SD * dice.normal();
        Self { scenario, dice, second: start, log_load, load: 1.0, incidents, pods, excess: 0.0 }
    }

    /// Lets one second pass with this share of the candidate's.
    pub(super) fn pass(&mut self, share: f64) {
        let s = self.scenario;
        let at = self.second;
        self.second += 1;
        if at.rem_euclid(LOAD_STEP_S) == 0 {
            self.load = (self.log_load - LOAD_SD * LOAD_SD / 2.0).exp();
            let noise = LOAD_SD * (1.0 - LOAD_MEMORY * LOAD_MEMORY).sqrt();
            self.log_load = LOAD_MEMORY * self.log_load + noise * self.dice.normal();
        }
        let incident = self.incidents.is_on(at, &mut self.dice, |_| i64::from(s.shared_dur));
        let drifts = s.drift > 0.0 && s.drift != 1.0 && at > 0;
        let drift = if drifts { s.drift.powf(at as f64 / f64::from(s.horizon)) } else { 1.0 };
        let active = s.candidate_pods(share);
        let second = Second {
            at,
            asked: s.rps * self.load,
            share,
            active,
            incident,
            drift,
            effect: s.has_effect(at),
            probed: at.rem_euclid(PROBE_S) == 0,
        };
        for pod in &mut self.pods.baseline {
            pod.pass(s, &second, 0, &mut self.dice);
        }
        for (n, pod) in self.pods.candidate.iter_mut().enumerate() {
            self.excess += pod.pass(s, &second, n, &mut self.dice);
        }
    }
}

impl Pod {
    fn new(
        name: String,
        candidate: bool,
        s: &Scenario,
        bounds_ms: &[f64],
        start: i64,
        dice: &mut Dice,
    ) -> Self {
        let error = s.base_err * (s.pod_het * dice.normal() - s.pod_het * s.pod_het / 2.0).exp();
        let slowness = (s.lat_het * dice.normal()).exp();
        let faulty = s.cold.map_or(s.lat_mult, |(_, factor)| factor);
        let troubled = if s.pod_rate > 0.0 { s.pod_lat } else { s.shared_lat };
        let slower = |bound: &f64| {
            [1.0, faulty, troubled, troubled * faulty]
                .map(|factor| slower_than(bound / slowness, factor))
        };
        let offset = dice.below(u64::from(s.scrape)) as i64;
        let slower: Vec<[f64; 4]> = bounds_ms.iter().map(slower).collect();
        let before = std::iter::once(1.0).chain(slower.iter().map(|of| of[0]));
        let usually =
            slower.iter().zip(before).map(|(of, before)| part_of(of[0], before)).collect();
        Self {
            name,
            counters: vec![0.0; 2 + bounds_ms.len()],
            fresh: false,
            probes: ProbeCount::default(),
            candidate,
            error,
            bursts: Bursts::new(s.pod_rate, start, dice),
            offset,
            // The start is a multiple of the interval.
            next_sample: start + offset,
            slower,
            usually,
            slow_excess: slow_excess(s),
            sums: Sums::default(),
        }
    }

    /// Lets one second pass; returns the expected bad requests that only the candidate has.
    fn pass(&mut self, s: &Scenario, second: &Second, n: usize, dice: &mut Dice) -> f64 {
        let length = |dice: &mut Dice| (1.0 + dice.exponential(s.pod_dur)) as i64;
        let burst = s.pod_rate > 0.0 && self.bursts.is_on(second.at, dice, length);
        let demand = self.demand(s, second, n);
        let incident_errors = if second.incident { s.shared_err } else { 0.0 };
        let burst_errors = if burst { s.pod_err } else { 0.0 };
        let usual = (self.error * second.drift).max(incident_errors).max(burst_errors).min(1.0);
        let effect = self.candidate && second.effect;
        let (requests, errors) = match effect {
            true => (demand * (1.0 - s.hang), (usual * s.err_mult + s.err_add).clamp(0.0, 1.0)),
            false => (demand, usual),
        };
        let cold = |(length, _): (f64, f64)| {
            self.candidate && second.at >= 0 && (second.at as f64) < length
        };
        self.sums.seconds += 1.0;
        self.sums.ok += requests * (1.0 - errors);
        self.sums.errors += requests * errors;
        self.sums.faulty += f64::from(s.cold.map_or(effect, cold));
        self.sums.incident += f64::from(second.incident);
        self.sums.burst += f64::from(burst);
        if second.probed {
            self.probe(s, second.at, effect, dice);
        }
        if second.at == self.next_sample {
            self.next_sample += i64::from(s.scrape);
            self.sample(s, second.at, dice);
        }
        let bad = match (effect, s.kind) {
            (false, _) => 0.0,
            (true, Kind::Lat) => self.slow_excess,
            (true, Kind::Null | Kind::Err | Kind::Hang | Kind::Health) => errors - usual + s.hang,
        };
        bad * demand
    }

    /// Requests that it is asked for in a second.
    fn demand(&self, s: &Scenario, second: &Second, n: usize) -> f64 {
        match (self.candidate, n < second.active) {
            (false, _) => second.asked * (1.0 - second.share) / f64::from(s.n_base),
            (true, true) => second.asked * second.share / second.active as f64,
            (true, false) => 0.0,
        }
    }

    fn probe(&mut self, s: &Scenario, at: i64, effect: bool, dice: &mut Dice) {
        let time = at as f64;
        let out = s.probe_out.is_some_and(|(begin, length)| time >= begin && time < begin + length);
        let ill = if effect { s.unhealthy } else { 0.0 };
        let failing = if out { 1.0 } else { ill.max(s.flake) };
        self.probes.sent += 1;
        self.probes.failed += u64::from(dice.chance(failing));
    }

    /// The scraper comes by.
    fn sample(&mut self, s: &Scenario, at: i64, dice: &mut Dice) {
        let sums = std::mem::take(&mut self.sums);
        let mut counts = self.draw(s, &sums, dice);
        if s.restarts > 0.0 && dice.chance(s.restarts * f64::from(s.scrape) / HOUR_S) {
            thin(&mut counts, dice);
            self.counters.fill(0.0);
        }
        self.counters.iter_mut().zip(&counts).for_each(|(counter, count)| *counter += count);
        // The end of the interval that the sample belongs to.
        let end = (at - self.offset + i64::from(s.scrape)) as f64;
        let out = s.outage.is_some_and(|(begin, length)| end > begin && end <= begin + length);
        let missed = s.miss > 0.0 && dice.chance(s.miss);
        self.fresh |= !out && !missed;
    }

    /// What it has counted since its last sample.
    fn draw(&self, s: &Scenario, sums: &Sums, dice: &mut Dice) -> Vec<f64> {
        let errors = dice.clusters(sums.errors, s.cluster);
        let requests = dice.poisson(sums.ok) + errors;
        let mut counts = Vec::with_capacity(self.counters.len());
        counts.extend([requests, errors]);
        let faulty = sums.faulty / sums.seconds;
        let troubled = sums.incident.max(sums.burst) / sums.seconds;
        let calm = faulty == 0.0 && troubled == 0.0;
        let mixed = |slower: &[f64; 4]| {
            let of = |state: Latency| slower[state as usize];
            let calm = (1.0 - faulty) * of(Latency::Usual) + faulty * of(Latency::Faulty);
            let rough = (1.0 - faulty) * of(Latency::Troubled) + faulty * of(Latency::Both);
            (1.0 - troubled) * calm + troubled * rough
        };
        let (mut left, mut before) = (requests, 1.0);
        for (slower, usual) in self.slower.iter().zip(&self.usually) {
            left = match calm {
                true => dice.binomial(left, usual),
                false => {
                    let part = mixed(slower);
                    dice.binomial(left, &part_of(part, std::mem::replace(&mut before, part)))
                }
            };
            counts.push(left);
        }
        counts
    }
}

fn slow_excess(s: &Scenario) -> f64 {
    let p95 = LATENCY_MEDIAN_MS * (LATENCY_SIGMA * normal::quantile(0.95)).exp();
    if s.lat_mult > 1.0 { slower_than(p95, s.lat_mult) - 0.05 } else { 0.0 }
}

/// The part of those above one bound that is above the next.
fn part_of(part: f64, before: f64) -> Odds {
    Odds::new((part / before.max(RAREST)).clamp(0.0, 1.0))
}

/// A restart loses a part of what was counted.
fn thin(counts: &mut [f64], dice: &mut Dice) {
    let keep = Odds::new(dice.uniform());
    counts.iter_mut().for_each(|count| *count = dice.binomial(*count, &keep));
    counts[1] = counts[1].min(counts[0]);
    let mut most = counts[0];
    for slow in &mut counts[2..] {
        *slow = slow.min(most);
        most = *slow;
    }
}

/// When history begins.
pub(super) const fn history_start() -> i64 {
    -(HISTORY_S as i64)
}
