//! What the baseline teaches, before a promotion and during it: which of its pods are there, how
//! bad events of each kind spread over them, and how bad they have looked by chance.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::config::LAT_TAIL;
use super::dispersion::{Dispersion, Events, PODS_FOR_BAD_LUCK, PodId};
use super::likelihood::{Ratios, WORSE_ERRORS, WORSE_LATENCIES};
use super::numbers::{add_to, sum};
use super::placebo::{Placebo, Raises};

/// Increments of each pod in one window: `requests, errors, slower than bound 1, …`.
pub(super) type Increments = BTreeMap<String, Vec<f64>>;

/// One kind of bad event of the baseline: errors, or requests slower than one bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stream {
    dispersion: Dispersion,
    placebo: Placebo,
    /// Present pods.
    pods: usize,
}

impl Stream {
    pub(super) fn new(cells: &[u64]) -> Self {
        Self { dispersion: Dispersion::new(cells), placebo: Placebo::default(), pods: 0 }
    }

    pub(super) fn phi(&self) -> f64 {
        self.dispersion.phi(self.pods)
    }

    pub(super) fn bad_luck(&self, phi: f64, pods_candidate: u32) -> f64 {
        self.dispersion.bad_luck(phi, self.pods, pods_candidate)
    }

    pub(super) fn raises(&self) -> Raises {
        self.placebo.raises()
    }

    /// Learns from one block after it was judged. `ratios`: the placebo's alternatives, if it runs.
    pub(super) fn learn(
        &mut self,
        events: &[(PodId, Events)],
        ratios: Option<&Ratios>,
        masses: (f64, f64),
    ) {
        self.pods = events.len();
        if let Some(ratios) = ratios
            && self.pods >= PODS_FOR_BAD_LUCK
        {
            let phi = self.phi();
            self.placebo.update(events, ratios, phi, masses);
        }
        self.dispersion.update(events);
    }

    /// A pod leaves; what it has taught stays, and its slot stays spent.
    fn leave(&mut self, pod: PodId) {
        self.pods = self.pods.saturating_sub(1);
        self.dispersion.leave(pod);
        self.placebo.leave(pod);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Presence {
    id: PodId,
    /// Blocks without a sample in which the arm as a whole reported.
    silent: u64,
}

/// The baseline as it is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Baseline {
    pub errors: Stream,
    /// Of each bound.
    pub latencies: Vec<Stream>,
    /// Everything since the first line: requests, errors, slower than each bound.
    pub total: Vec<f64>,
    present: BTreeMap<String, Presence>,
    next_id: PodId,
    /// Silent blocks after which a pod has left.
    absent_after: u64,
    /// Onset masses of the placebo: of a pod's first block, and of each later one.
    masses: (f64, f64),
}

impl Baseline {
    pub(super) fn new(bounds: usize, cells: &[u64], absent_after: u64, masses: (f64, f64)) -> Self {
        Self {
            errors: Stream::new(cells),
            latencies: vec![Stream::new(cells); bounds],
            total: vec![0.0; 2 + bounds],
            present: BTreeMap::new(),
            next_id: 0,
            absent_after,
            masses,
        }
    }

    /// Part of all baseline requests that is bad in the sense of column `column` of the counters.
    pub(super) fn rate(&self, column: usize) -> f64 {
        self.total[column] / self.total[0].max(1.0)
    }

    /// Which bounds lie in the baseline's upper tail: the only ones where latencies are compared.
    pub(super) fn tail(&self) -> Vec<bool> {
        let in_tail = |column| (LAT_TAIL.0..=LAT_TAIL.1).contains(&self.rate(column));
        (2..self.total.len()).map(in_tail).collect()
    }

    /// Learns from one window. `tail`: as it was when the window was judged; history: as it is now.
    pub(super) fn learn(&mut self, window: &Increments, tail: Option<&[bool]>) {
        let sums = totals(window, self.total.len());
        add_to(&mut self.total, &sums);
        let tail = tail.map_or_else(|| self.tail(), <[bool]>::to_vec);
        let present: Vec<(PodId, Option<&Vec<f64>>)> =
            self.present.iter().map(|(name, pod)| (pod.id, window.get(name))).collect();
        let of = |column: usize| -> Vec<(PodId, Events)> {
            let events = |v: &Vec<f64>| Events { bad: v[column], all: v[0] };
            present.iter().map(|(id, v)| (*id, v.map(events).unwrap_or_default())).collect()
        };
        self.errors.learn(&of(1), Some(&WORSE_ERRORS), self.masses);
        for (k, stream) in self.latencies.iter_mut().enumerate() {
            stream.learn(&of(2 + k), tail[k].then_some(&WORSE_LATENCIES), self.masses);
        }
    }

    /// Pods that report for the first time, or again after they had left, are present from now on.
    pub(super) fn join(&mut self, reported: &BTreeSet<String>) {
        for name in reported {
            if !self.present.contains_key(name) {
                self.present.insert(name.clone(), Presence { id: self.next_id, silent: 0 });
                self.next_id += 1;
            }
        }
    }

    /// Counts the silence of pods in a block in which the arm as a whole reported; returns the names
    /// of those that have left.
    pub(super) fn mark_silent(&mut self, reported: &BTreeSet<String>) -> Vec<String> {
        for (name, pod) in &mut self.present {
            pod.silent = if reported.contains(name) { 0 } else { pod.silent + 1 };
        }
        let absent_after = self.absent_after;
        let left: Vec<_> =
            self.present.extract_if(.., |_, pod| pod.silent >= absent_after).collect();
        for (_, pod) in &left {
            self.errors.leave(pod.id);
            self.latencies.iter_mut().for_each(|stream| stream.leave(pod.id));
        }
        left.into_iter().map(|(name, _)| name).collect()
    }
}

/// Sum of all pods, for each of the `width` columns.
pub(super) fn totals(window: &Increments, width: usize) -> Vec<f64> {
    (0..width).map(|column| sum(window.values().map(|v| v[column]))).collect()
}
