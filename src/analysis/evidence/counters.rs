//! Cumulative counters of pods to increments.
//!
//! * A sample that is not `2 + bounds` believable numbers is as if the pod had not reported: the next
//!   good one carries the gap, so nothing is lost.
//! * A counter below its last value: the process restarted, everything since is new.
//! * A baseline pod that is seen for the first time is a reference point only, because its counters
//!   are old; a candidate pod was born with this promotion, so its counters start at 0. For the same
//!   reason a candidate pod is never forgotten: if it came back, it would count twice.
//! * More errors or slow requests than requests are cut to the requests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::{COUNT_MAX, PODS_MAX};
use super::recording::Sample;
use super::stream::Increments;
use crate::analysis::PerArm;

/// Which revision a pod is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arm {
    Baseline,
    Candidate,
}

impl<T> PerArm<T> {
    pub(super) const fn of(&self, arm: Arm) -> &T {
        match arm {
            Arm::Baseline => &self.baseline,
            Arm::Candidate => &self.candidate,
        }
    }

    pub(super) const fn of_mut(&mut self, arm: Arm) -> &mut T {
        match arm {
            Arm::Baseline => &mut self.baseline,
            Arm::Candidate => &mut self.candidate,
        }
    }
}

/// The last believable sample of every pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct LastSamples {
    /// Counters in a sample.
    width: usize,
    last: PerArm<BTreeMap<String, Vec<f64>>>,
    /// Samples that could not be used.
    pub bad: u64,
}

impl LastSamples {
    pub(super) fn new(width: usize) -> Self {
        let last = PerArm { baseline: BTreeMap::new(), candidate: BTreeMap::new() };
        Self { width, last, bad: 0 }
    }

    /// Increments of the pods of one arm that have a believable sample, and remembers the samples.
    pub(super) fn increments(
        &mut self,
        arm: Arm,
        samples: &BTreeMap<String, Sample>,
    ) -> Increments {
        let mut increments = Increments::new();
        for (pod, sample) in samples {
            match sample.as_deref().and_then(|now| self.increment(arm, pod, now)) {
                Some(increment) => {
                    increments.insert(pod.clone(), increment);
                }
                None => self.bad += 1,
            }
        }
        increments
    }

    fn increment(&mut self, arm: Arm, pod: &str, now: &[f64]) -> Option<Vec<f64>> {
        let believable = |v: &f64| (0.0..=COUNT_MAX).contains(v);
        if now.len() != self.width || !now.iter().all(believable) {
            return None;
        }
        let last = self.last.of_mut(arm);
        let full = last.len() >= PODS_MAX;
        let mut increment: Vec<f64> = match last.get_mut(pod) {
            None if full => return None,
            None => {
                last.insert(pod.to_owned(), now.to_vec());
                match arm {
                    Arm::Baseline => vec![0.0; now.len()],
                    Arm::Candidate => now.to_vec(),
                }
            }
            Some(before) => {
                let restarted = now.iter().zip(&*before).any(|(a, b)| a < b);
                let grown = |(a, b): (&f64, &f64)| if restarted { *a } else { a - b };
                let increment = now.iter().zip(&*before).map(grown).collect();
                before.copy_from_slice(now);
                increment
            }
        };
        let requests = increment[0];
        increment.iter_mut().for_each(|v| *v = v.min(requests));
        Some(increment)
    }

    /// A baseline pod that left is new when it comes back.
    pub(super) fn forget_baseline(&mut self, pod: &str) {
        self.last.baseline.remove(pod);
    }
}
