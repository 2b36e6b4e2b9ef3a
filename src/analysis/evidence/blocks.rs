//! Blocks: the units in which evidence is made.
//!
//! A block is as long as 15 s, or the interval of the looks or of the source if that is longer. Caps,
//! masses and pseudo-counts are per block and never rescaled: were they divided among shorter looks,
//! a regression would be found later; were they whole at each, 10 s of errors at a release's start
//! would roll it back. A look inside a block judges a *copy* of what is known with what the block
//! has brought so far. Within a block `min(LR^(1/φ), cap)` is a concave function of a fair game, so a
//! provisional value is a fair continuation, and α holds at every look.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::config::GOOD_PROBES;
use super::counters::Arm;
use super::numbers::add_to;
use super::stream::Increments;
use crate::analysis::{PerArm, ProbeCount};

/// Tolerance with which the end of a block is met, in blocks.
pub(super) const BLOCK_TOLERANCE: f64 = 1e-9;

/// How many blocks cover so many seconds; never fewer than `least`.
pub(super) fn blocks_in(seconds: f64, block_s: f64, least: u64) -> u64 {
    least.max((seconds / block_s - BLOCK_TOLERANCE).ceil() as u64)
}

/// What the looks of one block have brought so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Block {
    pub baseline: Increments,
    /// All pods together.
    pub candidate: Vec<f64>,
    /// Pods that have reported.
    pub seen: PerArm<BTreeSet<String>>,
    /// Asked, as a fraction; one for the whole block.
    pub share: f64,
    /// Pods that should report.
    pub expected: PerArm<u32>,
    pub probes: PerArm<ProbeCount>,
    pub looks: u64,
}

impl Block {
    pub(super) fn new(width: usize, share: f64, expected: PerArm<u32>) -> Self {
        Self {
            baseline: Increments::new(),
            candidate: vec![0.0; width],
            seen: PerArm { baseline: BTreeSet::new(), candidate: BTreeSet::new() },
            share,
            expected,
            probes: PerArm::default(),
            looks: 0,
        }
    }

    pub(super) fn has_users(&self) -> bool {
        self.share > 0.0
    }

    /// Whether the candidate serves everybody: nothing is left to compare it with.
    pub(super) fn has_all_users(&self) -> bool {
        self.share >= 1.0
    }

    /// Takes in the increments of one look; counters beyond the block's width are not needed.
    pub(super) fn add(&mut self, arm: Arm, increments: Increments) {
        let width = self.candidate.len();
        for (pod, mut increment) in increments {
            increment.truncate(width);
            match arm {
                Arm::Candidate => add_to(&mut self.candidate, &increment),
                Arm::Baseline => merge(&mut self.baseline, &pod, increment),
            }
            self.seen.of_mut(arm).insert(pod);
        }
    }

    pub(super) fn add_probes(&mut self, arm: Arm, probes: ProbeCount) {
        let sum = self.probes.of_mut(arm);
        sum.failed = sum.failed.saturating_add(probes.failed);
        sum.sent = sum.sent.saturating_add(probes.sent);
    }

    /// At least half of the baseline's pods, and at least one, have reported.
    pub(super) fn baseline_is_fresh(&self) -> bool {
        self.seen.baseline.len() as u64 >= u64::from(self.expected.baseline).div_ceil(2).max(1)
    }

    /// Every candidate pod has reported, and there is one.
    pub(super) fn candidate_is_complete(&self) -> bool {
        let expected = self.expected.candidate as usize;
        expected >= 1 && self.seen.candidate.len() >= expected
    }

    /// So many good probes in a row are enough for every candidate pod, and there is one.
    pub(super) fn is_probed(&self, good_probes: u64) -> bool {
        let expected = u64::from(self.expected.candidate);
        expected >= 1 && good_probes >= GOOD_PROBES.saturating_mul(expected)
    }
}

/// Adds a pod's increments to what is there of it.
pub(super) fn merge(into: &mut Increments, pod: &str, increment: Vec<f64>) {
    match into.get_mut(pod) {
        Some(sum) => add_to(sum, &increment),
        None => {
            into.insert(pod.to_owned(), increment);
        }
    }
}
