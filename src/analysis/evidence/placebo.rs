//! The placebo: every baseline pod is judged like a candidate, against its peers.
//!
//! Whatever the model gets wrong about a service, it gets wrong about the baseline's pods too. The
//! candidate must look worse than any of them has ever looked: with M the largest log-evidence of
//! any pod at any time, and Q pods, `M − ln Q` (between 0 and 12 nats) is taken off the candidate's.
//! In a calm service M stays below ln Q and nothing is taken off.
//!
//! Unlike the candidate's, these bets are kept as they are and not as logarithms: there are hundreds in a
//! block, most of which add nothing but their onset mass. What is too small for a float is less than that
//! mass, and what is too large ([`BET_MAX`]) has raised the bar as far as it goes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::{Deserialize, Serialize};

use super::config::{CAP_B, PLACEBO_MAX, PLACEBO_PODS, R_ARM_B};
use super::dispersion::{Events, PodId};
use super::likelihood::{Ratios, Seen};
use super::numbers::sum;
use super::relative::cap_a;

/// What is taken off the two arms of the candidate, in nats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Raises {
    pub a: f64,
    pub b: f64,
}

/// A pod's bet grows no further.
const BET_MAX: f64 = 1e300;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Placebo {
    slots: BTreeMap<PodId, Slot>,
    /// Slots ever given away: first come, and none comes back.
    used: u32,
    /// The largest capital of any pod at any time; 1 where none has won.
    max_a: f64,
    max_b: f64,
}

impl Default for Placebo {
    fn default() -> Self {
        Self { slots: BTreeMap::new(), used: 0, max_a: 1.0, max_b: 1.0 }
    }
}

/// The two arms of one pod: L of each alternative.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Slot {
    a: Vec<f64>,
    b: Vec<f64>,
}

impl Placebo {
    /// Takes in one block of at least two pods, in the order of their names. `masses`: the onset
    /// mass of a pod's first block, and of each later one.
    pub(super) fn update(
        &mut self,
        events: &[(PodId, Events)],
        ratios: &Ratios,
        phi: f64,
        masses: (f64, f64),
    ) {
        let total = Events::total(events.iter().map(|(_, e)| e));
        let mut llr = Vec::with_capacity(ratios.of.len());
        for (pod, own) in events {
            let (slot, new) = match self.slots.entry(*pod) {
                Entry::Occupied(slot) => (slot.into_mut(), false),
                Entry::Vacant(_) if self.used >= PLACEBO_PODS => continue,
                Entry::Vacant(free) => (free.insert(Slot::new(ratios.of)), true),
            };
            let seen = Seen {
                bad: own.bad,
                all: own.all,
                base_bad: total.bad - own.bad,
                base_all: total.all - own.all,
            };
            let mass = if new { masses.0 } else { masses.1 };
            llr.clear();
            llr.extend(ratios.llr(seen));
            slot.update(&llr, ratios.of, phi, mass);
            self.used += u32::from(new);
            self.max_a = self.max_a.max(mean(&slot.a));
            self.max_b = self.max_b.max(mean(&slot.b));
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
        let raise = |max: f64| (max.ln() - pods).clamp(0.0, PLACEBO_MAX);
        Raises { a: raise(self.max_a), b: raise(self.max_b) }
    }
}

fn mean(bets: &[f64]) -> f64 {
    sum(bets.iter().copied()) / bets.len() as f64
}

impl Slot {
    fn new(ratios: &[f64]) -> Self {
        let in_b = ratios.iter().filter(|r| **r >= R_ARM_B).count();
        Self { a: vec![0.0; ratios.len()], b: vec![0.0; in_b] }
    }

    /// L ← (L + w)·exp(l)
    fn update(&mut self, llr: &[f64], ratios: &[f64], phi: f64, mass: f64) {
        let bet = |l: &mut f64, log: f64| {
            let factor = if log == 0.0 { 1.0 } else { log.exp() };
            *l = ((*l + mass) * factor).min(BET_MAX);
        };
        let cap = cap_a(phi, 1.0);
        self.a.iter_mut().zip(llr).for_each(|(l, log)| bet(l, (log / phi).min(cap)));
        let strong = llr.iter().zip(ratios).filter(|(_, r)| **r >= R_ARM_B);
        self.b.iter_mut().zip(strong).for_each(|(l, (log, _))| bet(l, log.min(CAP_B)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::likelihood::WORSE_ERRORS;
    use super::*;

    /// A pod that comes too late is nobody's bar, however bad it is; nor does it take a slot that became free.
    #[test]
    fn the_first_pods_set_the_bar_and_no_others() {
        let events = |bad| Events { bad, all: 100.0 };
        let pods: Vec<_> = (0..=u64::from(PLACEBO_PODS)).map(|pod| (pod, events(1.0))).collect();
        let mut placebo = Placebo::default();
        placebo.update(&pods, &WORSE_ERRORS, 1.0, (0.1, 0.01));
        assert_eq!((placebo.used, placebo.slots.len()), (PLACEBO_PODS, PLACEBO_PODS as usize));
        placebo.leave(0);
        let (late, max) = (u64::from(PLACEBO_PODS), (placebo.max_a, placebo.max_b));
        placebo.update(&[(1, events(1.0)), (late, events(90.0))], &WORSE_ERRORS, 1.0, (0.1, 0.01));
        assert!(!placebo.slots.contains_key(&late) && placebo.used == PLACEBO_PODS);
        assert_eq!((placebo.max_a, placebo.max_b), max);
    }
}
