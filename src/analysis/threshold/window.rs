//! What the looks of the window have brought, and what can be read from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::quantile::quantile_ms;
use super::super::{Counters, ProbeCount};
use crate::policy::Quantile;

/// Probes that a healthy instance may fail by chance.
const FLAKE_RATE: f64 = 0.05;
/// Chance at which a count of failed probes counts as more than flakes.
pub(super) const FLAKE_CHANCE: f64 = 0.01;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Slice {
    pub(super) at_s: f64,
    pub(super) baseline: Vec<f64>,
    pub(super) candidate: Vec<f64>,
}

/// One arm's counts in the window.
pub(super) struct Window<'a> {
    pub(super) counts: Vec<f64>,
    pub(super) bounds: &'a [f64],
}

/// Whether a counter that is seen for the first time began at 0.
#[derive(Clone, Copy)]
pub(super) enum Start {
    /// A candidate was born with this promotion.
    AtZero,
    /// A baseline's counters are old: the first sample is a reference point only.
    Unknown,
}

/// Sums what the instances' counters have grown by. A counter below its last value began anew; a
/// sample that is senseless is passed over, and the next one carries the gap.
pub(super) fn increments(
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
    pub(super) fn requests(&self) -> f64 {
        self.counts[0]
    }

    pub(super) fn errors(&self) -> f64 {
        self.counts[1]
    }

    pub(super) fn error_rate(&self) -> f64 {
        if self.requests() > 0.0 { self.errors() / self.requests() } else { 0.0 }
    }

    pub(super) fn quantile(&self, quantile: &Quantile) -> Option<f64> {
        quantile_ms(quantile.fraction(), self.requests(), &self.counts[2..], self.bounds)
    }

    /// Returns the share of requests slower than a limit that has a bound of its own; there are requests.
    pub(super) fn slower_share(&self, limit_ms: f64) -> Option<f64> {
        let k = self.bounds.iter().position(|bound| (bound - limit_ms).abs() < 1e-9)?;
        Some(self.counts[2 + k] / self.requests())
    }
}

impl ProbeCount {
    pub(super) const fn add(&mut self, other: Self) {
        self.failed += other.failed;
        self.sent += other.sent;
    }

    pub(super) fn rate(self) -> f64 {
        if self.sent > 0 { self.failed as f64 / self.sent as f64 } else { 0.0 }
    }
}

/// Returns the chance of at least so many failed probes if each fails by chance at the flake rate:
/// the upper tail of a binomial distribution.
pub(super) fn more_than_flakes(probes: ProbeCount) -> f64 {
    let (sent, odds) = (probes.sent as f64, FLAKE_RATE / (1.0 - FLAKE_RATE));
    let mut term = (sent * (1.0 - FLAKE_RATE).ln()).exp();
    let mut below = 0.0;
    for k in 0..probes.failed.min(probes.sent) {
        below += term;
        term *= (sent - k as f64) / (k as f64 + 1.0) * odds;
    }
    (1.0 - below).max(0.0)
}
