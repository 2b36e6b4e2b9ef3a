//! Seeded draws.
//!
//! `SplitMix64` (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014): the n-th
//! number is a hash of `key + n·γ`, so every replicate has a sequence of its own that needs nothing
//! but its key, and the number of threads changes nothing. It passes `BigCrush`; nothing here is secret.
//!
//! Counts are drawn by inversion from the mode outwards (Kemp 1986): exact, one uniform a draw, and as
//! many steps as the standard deviation is wide.

use std::sync::LazyLock;

use statrs::function::factorial;

use crate::analysis::evidence::normal;

/// Golden-ratio increment of `SplitMix64`.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Factorials that are looked up: what a pod counts in a minute at 60 requests/s.
const FACTORIALS: usize = 4096;

/// ln k! of small k.
static LN_FACTORIAL: LazyLock<Vec<f64>> =
    LazyLock::new(|| (0..FACTORIALS as u64).map(factorial::ln_factorial).collect());

fn ln_factorial(k: f64) -> f64 {
    LN_FACTORIAL.get(k as usize).copied().unwrap_or_else(|| factorial::ln_factorial(k as u64))
}

const fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A chance and its logarithms, which many draws share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Odds {
    p: f64,
    ln_p: f64,
    /// ln(1 − p)
    ln_q: f64,
}

impl Odds {
    pub(super) fn new(p: f64) -> Self {
        Self { p, ln_p: p.ln(), ln_q: (-p).ln_1p() }
    }
}

/// A sequence of draws.
#[derive(Clone, Debug)]
pub(super) struct Dice {
    state: u64,
}

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self { state: mix(seed.wrapping_add(GAMMA)) }
    }

    /// The sequence of one replicate of a named scenario.
    pub(super) fn of(seed: u64, name: &str, replicate: u64) -> Self {
        let name =
            name.bytes().fold(0, |hash: u64, byte| mix(hash ^ u64::from(byte)).wrapping_add(GAMMA));
        Self::new(mix(mix(seed.wrapping_add(GAMMA)) ^ name).wrapping_add(mix(replicate)))
    }

    const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GAMMA);
        mix(self.state)
    }

    /// Strictly between 0 and 1.
    pub(super) fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// A whole number from 0 to below `n`, which is not 0.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        ((self.uniform() * n as f64) as u64).min(n.saturating_sub(1))
    }

    pub(super) fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    pub(super) fn normal(&mut self) -> f64 {
        normal::quantile(self.uniform())
    }

    pub(super) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.uniform().ln()
    }

    /// Trials up to and including the first success.
    pub(super) fn geometric(&mut self, p: f64) -> f64 {
        if p >= 1.0 { 1.0 } else { (self.uniform().ln() / (-p).ln_1p()).floor() + 1.0 }
    }

    pub(super) fn poisson(&mut self, mean: f64) -> f64 {
        if mean <= 0.0 {
            return 0.0;
        }
        let mode = mean.floor();
        let at_mode = match mode > 0.0 {
            true => (mode * mean.ln() - mean - ln_factorial(mode)).exp(),
            false => (-mean).exp(),
        };
        self.outwards(mode, f64::INFINITY, at_mode, |k| mean / k)
    }

    /// Successes of `n` trials.
    pub(super) fn binomial(&mut self, n: f64, odds: &Odds) -> f64 {
        let Odds { p, ln_p, ln_q } = *odds;
        if n <= 0.0 || p <= 0.0 {
            return 0.0;
        }
        if p >= 1.0 {
            return n;
        }
        let mode = ((n + 1.0) * p).floor().min(n);
        let at_mode = match mode > 0.0 {
            true => {
                let [all, some, rest] = [n, mode, n - mode].map(ln_factorial);
                (all - some - rest + mode * ln_p + (n - mode) * ln_q).exp()
            }
            false => (n * ln_q).exp(),
        };
        self.outwards(mode, n, at_mode, |k| (n - k + 1.0) / k * (p / (1.0 - p)))
    }

    /// Events that come in geometric clusters of this mean size.
    pub(super) fn clusters(&mut self, mean: f64, size: f64) -> f64 {
        if size <= 1.0 {
            return self.poisson(mean);
        }
        let clusters = self.poisson(mean / size) as u64;
        (0..clusters).map(|_| self.geometric(1.0 / size)).sum()
    }

    /// Draws from a law on 0..=`last` with one mode. `ratio(k)`: probability of k by that of k − 1.
    fn outwards(&mut self, mode: f64, last: f64, at_mode: f64, ratio: impl Fn(f64) -> f64) -> f64 {
        let mut left = self.uniform() - at_mode;
        let (mut low, mut p_low) = (mode, at_mode);
        let (mut high, mut p_high) = (mode, at_mode);
        while left > 0.0 {
            if low > 0.0 {
                p_low /= ratio(low);
                low -= 1.0;
                left -= p_low;
                if left <= 0.0 {
                    return low;
                }
            }
            if high < last {
                high += 1.0;
                p_high *= ratio(high);
                left -= p_high;
                if left <= 0.0 {
                    return high;
                }
            }
            // What rounding has left over belongs nowhere in particular.
            if p_low + p_high < 1e-18 {
                break;
            }
        }
        mode
    }
}
