//! Is the candidate worse than the baseline, and by more than is tolerated?
//!
//! Two arms share the evidence, because how errors cluster is known only roughly:
//!
//! * **arm A**: `min(l/φ, max(2.5/√φ, 0.6))` a block: tempered by the dispersion. Fast where errors
//!   come one by one.
//! * **arm B**: `min(l, 0.9)` a block, only ratios ≥ 2: needs no φ. Its factor stays below 1 in the
//!   mean for clusters of any size (measured in the tests), and it is what finds a lasting regression
//!   in a bursty service.
//!
//! The caps mean that nothing that happens within one block can roll back: it takes three. A window
//! that was merged from several blocks weighs at most double (`gap`).
//!
//! *By more than is tolerated*: a second process of the same form, with the tolerated ratio r₀ as its
//! null, must reach 1/α_tol = 2 as well. Without it harmless changes of +5 % are found, and rolled
//! back, wherever there is enough traffic.

use serde::{Deserialize, Serialize};

use super::config::{CAP, CAP_B, CAP_MIN, R_ARM_B, R_TOL, W_ARM_A};
use super::likelihood::{Ratios, Seen, two_samples};
use super::mixture::Mixture;
use super::numbers::log_add;
use super::placebo::Raises;

/// Most nats that one block may add to a tempered arm.
pub(super) fn cap_a(phi: f64, gap: f64) -> f64 {
    (CAP / phi.sqrt()).max(CAP_MIN) * gap
}

/// How much one block may say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weight {
    /// Onset mass due in this block.
    pub mass: f64,
    /// Dispersion of the baseline; at least 1.
    pub phi: f64,
    /// Blocks that a merged window counts for; 1 or 2.
    pub gap: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct TwoArms {
    a: Mixture,
    b: Mixture,
}

impl TwoArms {
    fn new(ratios: &[f64], mixture: fn(usize) -> Mixture) -> Self {
        let in_b = ratios.iter().filter(|r| **r >= R_ARM_B).count();
        Self { a: mixture(ratios.len()), b: mixture(in_b) }
    }

    fn owe(&mut self, mass: f64) {
        self.a.owe(mass);
        self.b.owe(mass);
    }

    /// `llr`: one for each of the ratios.
    fn update(&mut self, llr: &[f64], ratios: &[f64], weight: Weight, seen: &Seen) {
        let Weight { mass, phi, gap } = weight;
        let cap = cap_a(phi, gap);
        self.a.update(llr.iter().map(|l| (l / phi).min(cap)), mass, seen);
        let strong = llr.iter().zip(ratios).filter(|(_, r)| **r >= R_ARM_B);
        self.b.update(strong.map(|(l, _)| l.min(CAP_B * gap)), mass, seen);
    }

    /// ln E of both arms, less what the placebo takes off.
    pub(super) fn log_e(&self, raises: Raises) -> f64 {
        let a = self.a.log_e() - raises.a + W_ARM_A.ln();
        let b = self.b.log_e() - raises.b + (1.0 - W_ARM_A).ln();
        log_add(a, b)
    }

    /// What was counted since the most plausible onset.
    pub(super) fn since_onset(&self) -> Seen {
        if self.b.log_e() > self.a.log_e() { &self.b } else { &self.a }.best_counts()
    }
}

/// Candidate against baseline for one kind of bad event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RelTest {
    /// Against "just as good".
    pub worse: TwoArms,
    /// Against each tolerated ratio.
    pub beyond: Vec<TwoArms>,
}

impl RelTest {
    pub(super) fn new(ratios: &[f64], tolerances: usize) -> Self {
        Self {
            worse: TwoArms::new(ratios, Mixture::new),
            beyond: vec![TwoArms::new(R_TOL, Mixture::without_counts); tolerances],
        }
    }

    /// A block without comparison: its mass is owed.
    pub(super) fn owe(&mut self, mass: f64) {
        self.worse.owe(mass);
        self.beyond.iter_mut().for_each(|test| test.owe(mass));
    }

    /// Takes in one block. `nulls`: the tolerated ratios, in the order of `beyond`.
    pub(super) fn step(&mut self, seen: &Seen, ratios: &Ratios, weight: Weight, nulls: &[f64]) {
        let llr: Vec<f64> = ratios.llr(*seen).collect();
        self.worse.update(&llr, ratios.of, weight, seen);
        for (test, r0) in self.beyond.iter_mut().zip(nulls) {
            test.update(&two_samples(seen, R_TOL, *r0), R_TOL, weight, seen);
        }
    }

    #[cfg(test)]
    pub(super) const fn used(&self) -> [f64; 2] {
        [self.worse.a.used(), self.worse.b.used()]
    }
}
