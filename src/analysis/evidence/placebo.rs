//! The placebo: every baseline pod is judged like a candidate, against its peers.
//!
//! Whatever the model gets wrong about a service, it gets wrong about the baseline's pods too. The
//! candidate must look worse than any of them has ever looked: with M the largest log-evidence of
//! any pod at any time, and Q pods, `M − ln Q` (between 0 and 12 nats) is taken off the candidate's.
//! In a calm service M stays below ln Q and nothing is taken off.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::{CAP_B, PLACEBO_MAX, PLACEBO_PODS, R_ARM_B};
use super::dispersion::{Events, PodId};
use super::likelihood::{Seen, two_samples};
use super::numbers::{ln, log_add, log_mean, logs};
use super::relative::cap_a;

/// What is taken off the two arms of the candidate, in nats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Raises {
    pub a: f64,
    pub b: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Placebo {
    slots: BTreeMap<PodId, Slot>,
    /// Slots ever given away: first come, and none comes back.
    used: u32,
    max_a: f64,
    max_b: f64,
}

/// The two arms of one pod: ln L of each alternative.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Slot {
    #[serde(with = "logs")]
    a: Vec<f64>,
    #[serde(with = "logs")]
    b: Vec<f64>,
}

impl Placebo {
    /// Takes in one block of at least two pods, in the order of their names. `masses`: the onset
    /// mass of a pod's first block, and of each later one.
    pub(super) fn update(
        &mut self,
        events: &[(PodId, Events)],
        ratios: &[f64],
        phi: f64,
        masses: (f64, f64),
    ) {
        let total = Events::total(events.iter().map(|(_, e)| e));
        for (pod, own) in events {
            let new = !self.slots.contains_key(pod);
            if new && self.used >= PLACEBO_PODS {
                continue;
            }
            let slot = self.slots.entry(*pod).or_insert_with(|| Slot::new(ratios));
            let seen = Seen {
                bad: own.bad,
                all: own.all,
                base_bad: total.bad - own.bad,
                base_all: total.all - own.all,
            };
            slot.update(
                &two_samples(&seen, ratios, 1.0),
                ratios,
                phi,
                if new { masses.0 } else { masses.1 },
            );
            self.used += u32::from(new);
            raise(&mut self.max_a, &slot.a);
            raise(&mut self.max_b, &slot.b);
        }
    }

    pub(super) fn leave(&mut self, pod: PodId) {
        self.slots.remove(&pod);
    }

    pub(super) fn raises(&self) -> Raises {
        if self.used == 0 {
            return Raises::default();
        }
        let pods = f64::from(self.used).ln();
        let raise = |max: f64| (max - pods).clamp(0.0, PLACEBO_MAX);
        Raises { a: raise(self.max_a), b: raise(self.max_b) }
    }
}

/// Raises a maximum to the mean of a pod's alternatives. No mean exceeds its largest term, so
/// most pods cost a comparison.
fn raise(max: &mut f64, log_l: &[f64]) {
    if log_l.iter().any(|log_l| log_l > max) {
        *max = max.max(log_mean(log_l));
    }
}

impl Slot {
    fn new(ratios: &[f64]) -> Self {
        let in_b = ratios.iter().filter(|r| **r >= R_ARM_B).count();
        Self { a: vec![f64::NEG_INFINITY; ratios.len()], b: vec![f64::NEG_INFINITY; in_b] }
    }

    fn update(&mut self, llr: &[f64], ratios: &[f64], phi: f64, mass: f64) {
        let (log_mass, cap) = (ln(mass), cap_a(phi, 1.0));
        for (log_l, l) in self.a.iter_mut().zip(llr) {
            *log_l = log_add(*log_l, log_mass) + (l / phi).min(cap);
        }
        let strong = llr.iter().zip(ratios).filter(|(_, r)| **r >= R_ARM_B);
        for (log_l, (l, _)) in self.b.iter_mut().zip(strong) {
            *log_l = log_add(*log_l, log_mass) + l.min(CAP_B);
        }
    }
}
