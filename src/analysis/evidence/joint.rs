//! Joint windows: both arms are compared over the same time, or not at all.
//!
//! While one arm does not report, increments of the other stay pending (counters are cumulative, so
//! nothing is lost); the next joint window weighs at most double.

use serde::{Deserialize, Serialize};

use super::blocks::{Block, merge};
use super::config::GAP_MAX;
use super::numbers::add_to;
use super::stream::{Increments, totals};

/// What both arms did since the last joint window.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Window {
    /// Both arms have reported; otherwise everything below is empty.
    pub on: bool,
    /// Every candidate pod has reported.
    pub complete: bool,
    /// Blocks that the window counts for.
    pub gap: f64,
    /// Of each baseline pod.
    pub by_pod: Increments,
    pub baseline: Vec<f64>,
    pub candidate: Vec<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Joint {
    baseline: Increments,
    candidate: Vec<f64>,
    /// Blocks in a row without a joint window.
    stale: u64,
    /// Blocks in a row in which a candidate pod was silent.
    incomplete: u64,
    /// Of either count: from here on the silence is no accident.
    limit: u64,
}

impl Joint {
    pub(super) fn new(width: usize, limit: u64) -> Self {
        Self {
            baseline: Increments::new(),
            candidate: vec![0.0; width],
            stale: 0,
            incomplete: 0,
            limit,
        }
    }

    /// Takes in a block with users, and gives out what can be compared now.
    pub(super) fn take(&mut self, block: &Block) -> Window {
        // Mostly nothing is pending, and a whole map is copied faster than its pods one by one.
        if self.baseline.is_empty() {
            self.baseline.clone_from(&block.baseline);
        } else {
            for (pod, increment) in &block.baseline {
                merge(&mut self.baseline, pod, increment.clone());
            }
        }
        add_to(&mut self.candidate, &block.candidate);
        let complete = block.candidate_is_complete();
        // Pods that stay silent must not blind the judge to the others: after a minute those that do
        // report are judged, for a breach only.
        let partial =
            !complete && !block.seen.candidate.is_empty() && self.incomplete >= self.limit;
        let on = (complete || partial) && (block.baseline_is_fresh() || block.has_all_users());
        let width = self.candidate.len();
        let (by_pod, candidate) = if on {
            (
                std::mem::take(&mut self.baseline),
                std::mem::replace(&mut self.candidate, vec![0.0; width]),
            )
        } else {
            (Increments::new(), vec![0.0; width])
        };
        let gap = (self.stale as f64 + 1.0).min(GAP_MAX);
        Window { on, complete, gap, baseline: totals(&by_pod, width), by_pod, candidate }
    }

    /// Share 0: nothing is compared, nothing is pending.
    pub(super) fn clear(&mut self) -> Window {
        let width = self.candidate.len();
        *self = Self::new(width, self.limit);
        let zero = vec![0.0; width];
        Window {
            on: false,
            complete: false,
            gap: 1.0,
            by_pod: Increments::new(),
            baseline: zero.clone(),
            candidate: zero,
        }
    }

    /// A block with users is over.
    pub(super) const fn tick(&mut self, window: &Window) {
        self.stale = if window.on { 0 } else { self.stale + 1 };
        self.incomplete = if window.complete { 0 } else { self.incomplete + 1 };
    }

    /// No joint window for a minute.
    pub(super) const fn is_stale(&self) -> bool {
        self.stale >= self.limit
    }
}
