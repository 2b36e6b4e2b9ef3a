//! How much more than by chance the baseline's bad events vary: φ, and the bad luck of bad nodes.
//!
//! Errors come in bursts and clusters. A test that takes them for independent finds "significant"
//! differences between pods of one and the same release. What the baseline's own pods show is what
//! the candidate may show as well:
//!
//! ```text
//! num += Σ (s_j − n_j·p)²     den += Σ n_j·p(1−p)(1−n_j/n)     p = Σs/Σn
//! φ = max over cell lengths of (num + φ0·κ)/(den + κ), between 1 and 10⁴
//! ```
//!
//! over the pods j of one cell (15 s, 1 min, 4 min: bursts have lengths). A ratio of sums, so sparse
//! counts are fine; p is the cell's own, so shared incidents cancel. With fewer than four pods,
//! neighbouring cells of the whole baseline stand in for pods (conservative: drift counts as well).
//!
//! Everything here is *predictable*: a block is judged with what was learned before it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::{HET_Z, PHI_KAPPA, PHI_MAX, PHI0};
use super::numbers::sum;

/// A baseline pod, by the number that it got when it joined.
pub(super) type PodId = u64;

/// Pods from which on they are compared with one another…
pub(super) const PODS_FOR_BAD_LUCK: usize = 3;
/// … and enough of them to do without the comparison of neighbouring cells.
const PODS_FOR_CELLS: usize = 4;

/// Bad events and all events of something in some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "(f64, f64)", into = "(f64, f64)")]
pub struct Events {
    pub bad: f64,
    pub all: f64,
}

impl From<(f64, f64)> for Events {
    fn from((bad, all): (f64, f64)) -> Self {
        Self { bad, all }
    }
}

impl From<Events> for (f64, f64) {
    fn from(events: Events) -> Self {
        (events.bad, events.all)
    }
}

impl Events {
    const fn add(&mut self, more: Self) {
        self.bad += more.bad;
        self.all += more.all;
    }

    pub fn total<'a>(cells: impl Iterator<Item = &'a Self> + Clone) -> Self {
        Self { bad: sum(cells.clone().map(|c| c.bad)), all: sum(cells.map(|c| c.all)) }
    }
}

/// Squared deviations from a common rate, and what binomial noise would give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Spread {
    num: f64,
    den: f64,
}

impl Spread {
    fn add(&mut self, cells: &[Events]) {
        let total = Events::total(cells.iter());
        let all = total.all.max(1e-9);
        let p = total.bad / all;
        self.num += sum(cells.iter().map(|c| (c.bad - c.all * p).powi(2)));
        self.den += sum(cells.iter().map(|c| c.all * p * (1.0 - p) * (1.0 - c.all / all)));
    }

    fn phi(self) -> f64 {
        (self.num + PHI0 * PHI_KAPPA) / (self.den + PHI_KAPPA)
    }
}

/// Cells of one length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Scale {
    /// Length of a cell, in blocks.
    length: u64,
    /// Blocks in the open cell.
    age: u64,
    /// The open cell: the pods that were there when it began, by their number.
    open: Vec<(PodId, Events)>,
    between_pods: Spread,
    between_cells: Spread,
    previous: Option<Events>,
}

impl Scale {
    const fn new(length: u64) -> Self {
        let none = Spread { num: 0.0, den: 0.0 };
        Self {
            length,
            age: 0,
            open: Vec::new(),
            between_pods: none,
            between_cells: none,
            previous: None,
        }
    }

    fn update(&mut self, events: &[(PodId, Events)]) {
        if self.age == 0 {
            // A pod joins at the start of a cell, never inside: half a cell would look like a lull.
            self.open.clear();
            self.open.extend(events.iter().map(|(pod, _)| (*pod, Events::default())));
            self.open.sort_by_key(|(pod, _)| *pod);
        }
        for (pod, new) in events {
            if let Ok(at) = self.open.binary_search_by_key(pod, |(pod, _)| *pod) {
                self.open[at].1.add(*new);
            }
        }
        self.age += 1;
        if self.age >= self.length {
            self.close();
        }
    }

    fn close(&mut self) {
        let cells: Vec<Events> = self.open.drain(..).map(|(_, cell)| cell).collect();
        self.between_pods.add(&cells);
        let now = Events::total(cells.iter());
        if let Some(before) = self.previous.replace(now) {
            self.between_cells.add(&[before, now]);
        }
        self.age = 0;
    }
}

/// What is known of one kind of bad event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Dispersion {
    scales: Vec<Scale>,
    /// Of each present pod since it joined.
    totals: BTreeMap<PodId, Events>,
}

impl Dispersion {
    /// `lengths` of the cells, in blocks; the first is one block.
    pub(super) fn new(lengths: &[u64]) -> Self {
        let scales = lengths.iter().map(|length| Scale::new(*length)).collect();
        Self { scales, totals: BTreeMap::new() }
    }

    /// Takes in one block: every present pod, also those without events.
    pub(super) fn update(&mut self, events: &[(PodId, Events)]) {
        for (pod, new) in events {
            self.totals.entry(*pod).or_default().add(*new);
        }
        for scale in &mut self.scales {
            scale.update(events);
        }
    }

    pub(super) fn leave(&mut self, pod: PodId) {
        self.totals.remove(&pod);
        for scale in &mut self.scales {
            scale.open.retain(|(open, _)| *open != pod);
        }
    }

    /// Variance by binomial variance, while so many baseline pods are present.
    pub(super) fn phi(&self, pods: usize) -> f64 {
        let mut phi = 1.0_f64;
        for scale in &self.scales {
            phi = phi.max(scale.between_pods.phi());
            if pods < PODS_FOR_CELLS {
                phi = phi.max(scale.between_cells.phi());
            }
        }
        phi.min(PHI_MAX)
    }

    /// Factor by which a candidate of so many pods may exceed the baseline because it drew bad nodes.
    ///
    /// τ is the persistent standard deviation of the log rate between pods: what their totals vary
    /// beyond φ, used only as far as it exceeds its own noise. The factor is
    /// `exp(z·τ·√(1/m_C + 1/m_B))`, with z widened for the few pods that τ is known from.
    pub(super) fn bad_luck(&self, phi: f64, pods: usize, pods_candidate: u32) -> f64 {
        if pods < PODS_FOR_BAD_LUCK {
            return 1.0;
        }
        let total = Events::total(self.totals.values());
        let all = total.all.max(1e-9);
        let p = total.bad / all;
        let expected = |f: fn(f64, f64) -> f64| {
            sum(self.totals.values().map(|c| f(c.all * p, 1.0 - c.all / all)))
        };
        let deviation = sum(self.totals.values().map(|c| (c.bad - c.all * p).powi(2)));
        let extra = deviation - self.phi_of_one_block() * expected(|e, h| e * h);
        let noise = phi * (2.0 * expected(|e, h| (e * h).powi(2))).sqrt();
        let visible = (extra / noise.max(1e-9) - 1.0).clamp(0.0, 1.0);
        let tau = (extra.max(0.0) * visible / expected(|e, h| e * e * h).max(1e-9)).sqrt();
        let z = HET_Z * (1.0 + 2.1 / (pods as f64 - 1.0));
        let pods_candidate = f64::from(pods_candidate.max(1));
        (z * tau * (1.0 / pods_candidate + 1.0 / pods as f64).sqrt()).exp()
    }

    fn phi_of_one_block(&self) -> f64 {
        self.scales.first().map_or(1.0, |scale| {
            (scale.between_pods.num / scale.between_pods.den.max(1e-9)).max(1.0)
        })
    }
}
