//! Does the candidate get the requests that it was given? Finds crashes, hangs, crash loops before
//! the first metric, routing errors and wrong selectors.
//!
//! Of n requests in a joint window the candidate's part is compared with θ = factor × asked share,
//! against θ·{0.5, 0.1, 0.002}. Request counts are never independent (pooled connections, sessions),
//! so the evidence is tempered hard (× 0.2) and capped at 2 nats a block, and the first 30 s after a
//! change of the share are left out.

use serde::{Deserialize, Serialize};

use super::config::{Q_SHARE, SHARE_CAP, SHARE_TEMPER};
use super::likelihood::{Seen, multiples, one_sample};
use super::mixture::Mixture;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ShareTest {
    /// The part of its asked share that a candidate gets at least.
    pub factor: f64,
    mixture: Mixture,
}

impl ShareTest {
    pub(super) fn new(factor: f64) -> Self {
        Self { factor, mixture: Mixture::new(Q_SHARE.len()) }
    }

    pub(super) fn owe(&mut self, mass: f64) {
        self.mixture.owe(mass);
    }

    /// Takes in the requests of one joint window; `share` lies strictly between 0 and 1.
    pub(super) fn step(&mut self, candidate: f64, baseline: f64, share: f64, mass: f64) {
        let theta = self.factor * share;
        let all = candidate + baseline;
        let llr = one_sample(candidate, all, theta, &multiples(theta, Q_SHARE));
        let seen = Seen { bad: candidate, all, base_bad: baseline, base_all: all };
        let tempered = llr.into_iter().map(|l| (SHARE_TEMPER * l).min(SHARE_CAP));
        self.mixture.update(tempered, mass, &seen);
    }

    pub(super) fn log_e(&self) -> f64 {
        self.mixture.log_e()
    }

    /// The candidate's requests (`bad`) and all requests since the most plausible onset.
    pub(super) fn since_onset(&self) -> Seen {
        self.mixture.best_counts()
    }

    /// The requests are as few as the limit says, not merely evidence of few.
    pub(super) fn is_low(&self, share: f64) -> bool {
        let seen = self.since_onset();
        seen.bad <= self.factor * share * seen.all.max(1e-9)
    }

    #[cfg(test)]
    pub(super) const fn used(&self) -> f64 {
        self.mixture.used()
    }
}
