//! Absolute limits: error rate, disaster, latency.
//!
//! Each is a one-sample test against the limit θ with alternatives above it, tempered by φ and capped
//! like arm A. A latency limit `p95 > 1000ms` is the limit θ = 5 % for the requests slower than the
//! first bound that is not below 1000 ms. The *disaster* is a second error limit at
//! max(30 %, 2 × limit) with a higher cap, which rolls back in two blocks instead of three.
//!
//! As long as a baseline serves, a broken limit must be the candidate's own: its rate ≥ 1.5 × the
//! baseline's, *and* evidence ≥ 5 that it is worse at all. Otherwise both arms break it, and that is an
//! incident, not a bad release.

use serde::{Deserialize, Serialize};

use super::config::{ATTRIBUTION_PRIOR, ATTRIBUTION_RATIO, CAP_FAST};
use super::likelihood::{Seen, one_sample};
use super::mixture::Mixture;
use super::parts::Part;
use super::relative::{Weight, cap_a};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct AbsoluteTest {
    pub part: Part,
    /// Column of the bad events in a pod's counters.
    pub column: usize,
    theta: f64,
    rates: Vec<f64>,
    mixture: Mixture,
}

impl AbsoluteTest {
    /// `rates` is not empty, and all lie above `theta`.
    pub(super) fn new(part: Part, column: usize, theta: f64, rates: Vec<f64>) -> Self {
        let mixture = Mixture::new(rates.len());
        Self { part, column, theta, rates, mixture }
    }

    pub(super) fn owe(&mut self, mass: f64) {
        self.mixture.owe(mass);
    }

    pub(super) fn step(&mut self, seen: &Seen, weight: Weight) {
        let Weight { mass, phi, gap } = weight;
        let cap = if self.part == Part::Disaster { CAP_FAST * gap } else { cap_a(phi, gap) };
        let llr = one_sample(seen.bad, seen.all, self.theta, &self.rates);
        self.mixture.update(llr.into_iter().map(|l| (l / phi).min(cap)), mass, seen);
    }

    pub(super) fn log_e(&self) -> f64 {
        self.mixture.log_e()
    }

    pub(super) fn since_onset(&self) -> Seen {
        self.mixture.best_counts()
    }

    /// The candidate's rate is clearly above the baseline's. `history`: the baseline's rate of all
    /// time, a weak prior.
    pub(super) fn stands_out(&self, history: f64) -> bool {
        let seen = self.since_onset();
        let baseline =
            (seen.base_bad + ATTRIBUTION_PRIOR * history) / (seen.base_all + ATTRIBUTION_PRIOR);
        seen.bad / seen.all.max(1e-9) >= ATTRIBUTION_RATIO * baseline
    }

    #[cfg(test)]
    pub(super) const fn used(&self) -> f64 {
        self.mixture.used()
    }
}
