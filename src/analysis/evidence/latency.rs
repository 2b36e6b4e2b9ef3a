//! Quantiles of the latency from few wide buckets.
//!
//! Latencies are nearly log-normal, so the normal score of the part of requests below a bound is
//! nearly linear in the bound's logarithm:
//!
//! ```text
//! z_k = −Φ⁻¹(x_k/n)      x_k: requests slower than bound k, held half an event away from 0 and n
//! ```
//!
//! A quantile is where the interpolated z reaches Φ⁻¹(p). Exact for log-normal latencies: on classic
//! buckets 261.7 ms where 261.7 is true and linear interpolation inside the bucket gives 293.6.

use serde::{Deserialize, Serialize};

use super::config::{BLOCK_S, RECENT_DECAY};
use super::normal;
use super::numbers::add_to;

/// Slopes of z in ln(bound) that a latency may have; outside, the buckets say too little.
const SLOPES: (f64, f64) = (0.3, 8.0);
/// How far a quantile may lie outside of the two bounds that it is taken from, in their distance.
const BEYOND: (f64, f64) = (-0.5, 1.5);
/// Largest ratio of exceedances that a tolerated slow-down may excuse.
const RATIO_MAX: f64 = 20.0;

/// Normal scores at the bounds, forced to increase.
fn normal_scores(n: f64, exceed: &[f64]) -> Vec<f64> {
    let n = n.max(1.0);
    let mut top = f64::NEG_INFINITY;
    let score = |(k, x): (usize, &f64)| {
        let z = -normal::quantile((x / n).clamp(0.5 / n, 1.0 - 0.5 / n));
        top = top.max(z + 1e-9 * k as f64);
        top
    };
    exceed.iter().enumerate().map(score).collect()
}

/// The quantile `p` of the latency in the bounds' unit; `None` without data. At least two bounds.
fn quantile(p: f64, n: f64, exceed: &[f64], bounds: &[f64]) -> Option<f64> {
    if n <= 0.0 || bounds.len() < 2 {
        return None;
    }
    let (z, zp) = (normal_scores(n, exceed), normal::quantile(p));
    let k = z.iter().filter(|v| **v < zp).count().clamp(1, bounds.len() - 1);
    let along = (zp - z[k - 1]) / (z[k] - z[k - 1]).max(1e-9);
    let (low, high) = (bounds[k - 1].ln(), bounds[k].ln());
    Some((low + along.clamp(BEYOND.0, BEYOND.1) * (high - low)).exp())
}

/// At the bound k: the ratio of exceedances that a slow-down by each tolerated factor would cause,
/// `P(X > b/tol) / P(X > b)`.
pub(super) fn tolerance_ratios(
    n: f64,
    exceed: &[f64],
    bounds: &[f64],
    tolerances: [f64; 2],
) -> impl Fn(usize) -> [f64; 2] {
    let z = normal_scores(n, exceed);
    move |k: usize| {
        let i = k.max(1);
        let slope = (z[i] - z[i - 1]) / (bounds[i].ln() - bounds[i - 1].ln());
        let now = normal::cdf(-z[k]).max(1e-12);
        tolerances.map(|tolerance| {
            let slowed = z[k] - tolerance.ln() * slope.clamp(SLOPES.0, SLOPES.1);
            (normal::cdf(-slowed) / now).clamp(1.0, RATIO_MAX)
        })
    }
}

/// Requests, and those slower than each bound: of the candidate and of the baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pair {
    candidate: Vec<f64>,
    baseline: Vec<f64>,
}

impl Pair {
    fn decay(&mut self, keep: f64) {
        self.candidate.iter_mut().chain(&mut self.baseline).for_each(|v| *v *= keep);
    }

    fn quantiles(&self, q: f64, bounds: &[f64]) -> Quantiles {
        let of = |h: &[f64]| quantile(q, h[0], &h[1..], bounds);
        Quantiles {
            candidate: of(&self.candidate),
            baseline: of(&self.baseline),
            requests: self.candidate[0],
        }
    }
}

/// One quantile of both arms, in milliseconds; `None` without requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quantiles {
    pub candidate: Option<f64>,
    pub baseline: Option<f64>,
    /// Of the candidate; weighted where old ones fade.
    pub requests: f64,
}

impl Quantiles {
    /// The candidate's by the baseline's; 0 where one of them is unknown.
    pub(super) fn ratio(&self) -> f64 {
        self.candidate.zip(self.baseline).map_or(0.0, |(c, b)| c / b)
    }
}

/// Latencies of both arms beside each other, after the candidate's warm-up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Histograms {
    /// With a half-life of 2 min.
    recent: Pair,
    all: Pair,
}

impl Histograms {
    pub(super) fn new(bounds: usize) -> Self {
        let empty = Pair { candidate: vec![0.0; 1 + bounds], baseline: vec![0.0; 1 + bounds] };
        Self { recent: empty.clone(), all: empty }
    }

    /// Takes in the counters of one joint window.
    pub(super) fn add(&mut self, candidate: &[f64], baseline: &[f64], block_s: f64) {
        self.recent.decay(RECENT_DECAY.powf(block_s / BLOCK_S));
        for pair in [&mut self.recent, &mut self.all] {
            for (histogram, window) in
                [(&mut pair.candidate, candidate), (&mut pair.baseline, baseline)]
            {
                histogram[0] += window[0];
                add_to(&mut histogram[1..], &window[2..]);
            }
        }
    }

    /// The quantiles of the last minutes.
    pub(super) fn recent(&self, q: f64, bounds: &[f64]) -> Quantiles {
        self.recent.quantiles(q, bounds)
    }

    /// The quantiles of the last minutes or of all time, whichever look worse for the candidate.
    pub(super) fn worst(&self, q: f64, bounds: &[f64]) -> Quantiles {
        let (recent, all) = (self.recent.quantiles(q, bounds), self.all.quantiles(q, bounds));
        if all.ratio() > recent.ratio() { all } else { recent }
    }
}
