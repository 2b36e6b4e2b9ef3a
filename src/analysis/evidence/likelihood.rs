//! How much better one rate explains what was counted than another: log-likelihood ratios.
//!
//! Both have expectation ≤ 1 (as eˡ) when the release is harmless, for every rate that the traffic
//! may have at that moment. That is all that the guarantee of the judge rests on: factors of mean
//! ≤ 1 multiply to a process that reaches 1/α with probability ≤ α (Ville 1939), however often one
//! looks.
//!
//! **Two samples.** Of `s` bad events in both arms, and exposures n₁ and n₂, the candidate's part is
//! Binomial(s, ρ), ρ = n₁/(n₁+n₂), if both have the same rate, whatever that rate is: shared
//! incidents cancel. For Bernoulli requests the part is hypergeometric, which the binomial
//! dominates in convex order (Hoeffding 1963), so the mean is ≤ 1 there too. For the ratio r
//! against the tolerated ratio r₀:
//!
//! ```text
//! l = s₁·ln(r/r₀) − s·[ln1p((r−1)ρ) − ln1p((r₀−1)ρ)]
//! ```
//!
//! **One sample.** `l = s·ln(q/θ) + (n−s)·[ln1p(−q) − ln1p(−θ)]`; mean ≤ 1 for every rate on the
//! good side of θ.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::config::{R_ERR, R_LAT};
use super::numbers::ln_1p;

/// Bad events and all events of the candidate, and of the baseline beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "[f64; 4]", into = "[f64; 4]")]
pub struct Seen {
    pub bad: f64,
    pub all: f64,
    pub base_bad: f64,
    pub base_all: f64,
}

impl From<[f64; 4]> for Seen {
    fn from([bad, all, base_bad, base_all]: [f64; 4]) -> Self {
        Self { bad, all, base_bad, base_all }
    }
}

impl From<Seen> for [f64; 4] {
    fn from(seen: Seen) -> Self {
        [seen.bad, seen.all, seen.base_bad, seen.base_all]
    }
}

impl Seen {
    /// Forgets all but the part `keep` of what was, and adds what is new.
    pub fn follow(&mut self, keep: f64, new: Self) {
        self.bad = keep * self.bad + new.bad;
        self.all = keep * self.all + new.all;
        self.base_bad = keep * self.base_bad + new.base_bad;
        self.base_all = keep * self.base_all + new.base_all;
    }

    /// The candidate's part of all events.
    fn rho(&self) -> f64 {
        let all = self.all + self.base_all;
        if all > 0.0 { self.all / all } else { 0.0 }
    }

    /// `s₁·ln r − s·ln1p((r−1)ρ)`. Mostly nothing bad has happened, and then nothing is said: logarithms are
    /// what a block costs.
    fn weigh(&self, rho: f64, r: f64, ln_r: impl FnOnce() -> f64) -> f64 {
        let total = self.bad + self.base_bad;
        if total == 0.0 {
            return 0.0;
        }
        let own = if self.bad == 0.0 { 0.0 } else { self.bad * ln_r() };
        own - total * ln_1p((r - 1.0) * rho)
    }
}

/// Alternatives to "just as good", with their logarithms: a block needs them for every pod.
#[derive(Debug)]
pub(super) struct Ratios {
    pub of: &'static [f64],
    ln: Vec<f64>,
}

/// Of error rates.
pub(super) static WORSE_ERRORS: LazyLock<Ratios> = LazyLock::new(|| Ratios::new(R_ERR));
/// Of exceedances of a latency bound.
pub(super) static WORSE_LATENCIES: LazyLock<Ratios> = LazyLock::new(|| Ratios::new(R_LAT));

impl Ratios {
    pub(super) fn new(of: &'static [f64]) -> Self {
        Self { of, ln: of.iter().map(|r| r.ln()).collect() }
    }

    /// [`two_samples`] with r₀ = 1, where its second term is 0.
    pub(super) fn llr(&self, seen: Seen) -> impl Iterator<Item = f64> {
        let rho = seen.rho();
        self.of.iter().zip(&self.ln).map(move |(r, ln)| seen.weigh(rho, *r, || *ln))
    }
}

/// Log-likelihood ratios of "arm 1 has r·r₀ times the rate of arm 2" against r₀.
pub(super) fn two_samples(seen: &Seen, ratios: &[f64], r0: f64) -> Vec<f64> {
    let rho = seen.rho();
    let weigh = |r: f64| seen.weigh(rho, r, || r.ln());
    let null = weigh(r0);
    ratios.iter().map(|r| weigh(r * r0) - null).collect()
}

/// Log-likelihood ratios of the rates q against θ; all rates lie strictly between 0 and 1.
pub(super) fn one_sample(bad: f64, all: f64, theta: f64, rates: &[f64]) -> Vec<f64> {
    let log_ratio =
        |q: f64| bad * (q / theta).ln() + (all - bad) * ((-q).ln_1p() - (-theta).ln_1p());
    rates.iter().map(|q| log_ratio(*q)).collect()
}

/// Multiples of a limit, none above [`super::config::Q_MAX`].
pub(super) fn multiples(of: f64, factors: &[f64]) -> Vec<f64> {
    factors.iter().map(|f| (f * of).min(super::config::Q_MAX)).collect()
}
