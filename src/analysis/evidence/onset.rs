//! When a regression may begin: the prior masses of the onset mixture.
//!
//! Half of the mass lies on the first block with users, a tenth is split evenly over the later stages
//! (a higher share is a new chance to break), and the rest is uniform over the planned length of
//! the promotion. Together they are 1: one α for the whole promotion, which no stage spends anew.
//!
//! The metrics' clock counts blocks with users; health has a clock of its own, from the promotion's
//! first block, so that it can breach at share 0.

use serde::{Deserialize, Serialize};

use super::config::{MASS_START, MASS_STEPS};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Onset {
    first: f64,
    uniform: f64,
    /// Blocks that the uniform mass is spread over.
    horizon: u64,
    of_a_stage: f64,
    stages_left: u64,
    /// Of stages that were entered since the last block with users.
    due: f64,
    blocks_with_users: u64,
    blocks: u64,
}

impl Onset {
    /// `stages`: those with a share above 0.
    pub(super) fn new(horizon: u64, stages: u64) -> Self {
        let later = stages.saturating_sub(1);
        let (first, steps) =
            if later > 0 { (MASS_START, MASS_STEPS) } else { (MASS_START + MASS_STEPS, 0.0) };
        Self {
            first,
            uniform: (1.0 - first - steps) / horizon.max(1) as f64,
            horizon,
            of_a_stage: if later > 0 { steps / later as f64 } else { 0.0 },
            stages_left: later,
            due: 0.0,
            blocks_with_users: 0,
            blocks: 0,
        }
    }

    /// Masses of the first block and of each later one.
    pub(super) const fn masses(&self) -> (f64, f64) {
        (self.first, self.uniform)
    }

    /// A later stage with a share is entered for the first time.
    pub(super) fn enter_stage(&mut self) {
        if self.stages_left > 0 {
            self.stages_left -= 1;
            self.due += self.of_a_stage;
        }
    }

    /// Mass of stages that were entered; due once.
    pub(super) const fn take_due(&mut self) -> f64 {
        std::mem::replace(&mut self.due, 0.0)
    }

    pub(super) fn of_metrics(&self, due: f64) -> f64 {
        self.at(self.blocks_with_users, due)
    }

    pub(super) fn of_health(&self, due: f64) -> f64 {
        self.at(self.blocks, due)
    }

    fn at(&self, block: u64, due: f64) -> f64 {
        let first = if block == 0 { self.first } else { 0.0 };
        let uniform = if block < self.horizon { self.uniform } else { 0.0 };
        first + due + uniform
    }

    pub(super) const fn blocks_with_users(&self) -> u64 {
        self.blocks_with_users
    }

    pub(super) fn tick(&mut self, has_users: bool) {
        self.blocks += 1;
        self.blocks_with_users += u64::from(has_users);
    }
}
