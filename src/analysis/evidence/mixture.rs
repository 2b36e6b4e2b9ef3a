//! Evidence for regressions that begin at an unknown time: the onset mixture.
//!
//! For each alternative j (how bad), and for each block t as a possible beginning, there is one
//! likelihood ratio; their mean with prior masses w (Σ w ≤ 1) is again a fair game against a
//! harmless release (Shiryaev–Roberts). It needs no history, for each alternative one number:
//!
//! ```text
//! L ← (L + w)·exp(l)          E = mean over j of L  +  1 − Σ w
//! ```
//!
//! Mass that falls due while there is no data is *owed*, and given with the next data.
//!
//! The factor κ = L/(L+w) is the posterior probability that the regression had begun before. With
//! it come, for free, the counts *since the most plausible onset*: `c ← κ·c + c_now`.

use serde::{Deserialize, Serialize};

use super::likelihood::Seen;
use super::numbers::{arg_max, ln, log_add, log_mean, logs};

/// Evidence of one kind against several alternatives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Mixture {
    /// ln L of each alternative.
    #[serde(with = "logs")]
    log_l: Vec<f64>,
    /// Σ w so far; never above 1 but for rounding.
    used: f64,
    owed: f64,
    /// Since the most plausible onset, of each alternative; empty where nobody asks.
    counts: Vec<Seen>,
}

impl Mixture {
    pub(super) fn new(alternatives: usize) -> Self {
        Self { counts: vec![Seen::default(); alternatives], ..Self::without_counts(alternatives) }
    }

    pub(super) fn without_counts(alternatives: usize) -> Self {
        Self {
            log_l: vec![f64::NEG_INFINITY; alternatives],
            used: 0.0,
            owed: 0.0,
            counts: Vec::new(),
        }
    }

    /// Lets the onset mass of one block fall due without data.
    pub(super) fn owe(&mut self, mass: f64) {
        self.owed += mass;
    }

    /// Takes in one block: the log-likelihood ratio of each alternative.
    pub(super) fn update(&mut self, llr: impl Iterator<Item = f64>, mass: f64, seen: &Seen) {
        let mass = mass + std::mem::take(&mut self.owed);
        let log_mass = ln(mass);
        for (j, (log_l, l)) in self.log_l.iter_mut().zip(llr).enumerate() {
            let new = log_add(*log_l, log_mass);
            if let Some(counts) = self.counts.get_mut(j) {
                let keep = if new > f64::NEG_INFINITY { (*log_l - new).exp() } else { 0.0 };
                counts.follow(keep, *seen);
            }
            *log_l = new + l;
        }
        self.used += mass;
    }

    /// ln E
    pub(super) fn log_e(&self) -> f64 {
        log_add(log_mean(&self.log_l), ln(1.0 - self.used))
    }

    /// What was counted since the most plausible onset of the most plausible alternative.
    pub(super) fn best_counts(&self) -> Seen {
        self.counts.get(arg_max(&self.log_l)).copied().unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) const fn used(&self) -> f64 {
        self.used
    }
}
