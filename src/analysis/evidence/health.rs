//! gate's own probes: they need no metrics and no users.
//!
//! `health_check_failures > N` has two halves that must both hold. The count: more than N failures of
//! the candidate in the health window, at least three times as often as the baseline's. And the
//! evidence: against the 5 % flakes of a healthy instance, alternatives of 20, 50 and 95 %. A prober
//! that is down hits both arms and breaches nothing; the count alone would breach for certain, in
//! an hour, for an instance with 1 % flakes.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::config::{CAP_FAST, HEALTH_RATIO, HEALTH_THETA, Q_HEALTH};
use super::likelihood::{Seen, one_sample};
use super::mixture::Mixture;
use crate::analysis::{PerArm, ProbeCount};

/// Failed and sent probes of both arms.
pub(super) type Probes = PerArm<ProbeCount>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct HealthTest {
    mixture: Mixture,
    /// Of the blocks in the health window, newest first: candidate's failed, baseline's failed, baseline's sent.
    recent: VecDeque<(u64, u64, u64)>,
    /// Length of the health window, in blocks.
    window: usize,
}

impl HealthTest {
    pub(super) fn new(window: u64) -> Self {
        let window = usize::try_from(window).unwrap_or(usize::MAX);
        Self { mixture: Mixture::new(Q_HEALTH.len()), recent: VecDeque::new(), window }
    }

    /// Takes in the probes of one block.
    pub(super) fn step(&mut self, probes: &Probes, mass: f64) {
        let seen = Seen {
            bad: probes.candidate.failed as f64,
            all: probes.candidate.sent as f64,
            base_bad: probes.baseline.failed as f64,
            base_all: probes.baseline.sent as f64,
        };
        let llr = one_sample(seen.bad, seen.all, HEALTH_THETA, Q_HEALTH);
        self.mixture.update(llr.into_iter().map(|l| l.min(CAP_FAST)), mass, &seen);
        self.recent.push_front((
            probes.candidate.failed,
            probes.baseline.failed,
            probes.baseline.sent,
        ));
        self.recent.truncate(self.window);
    }

    pub(super) fn log_e(&self) -> f64 {
        self.mixture.log_e()
    }

    /// Failed probes in the health window: the candidate's, and the baseline's.
    pub(super) fn failed(&self) -> (u64, u64) {
        let add = |sum: (u64, u64), p: &(u64, u64, u64)| {
            (sum.0.saturating_add(p.0), sum.1.saturating_add(p.1))
        };
        self.recent.iter().fold((0, 0), add)
    }

    /// More failures than the limit allows, and clearly more often than the baseline's.
    pub(super) fn is_bad(&self, limit: u32) -> bool {
        let seen = self.mixture.best_counts();
        let often =
            seen.bad / seen.all.max(1.0) >= HEALTH_RATIO * seen.base_bad / seen.base_all.max(1.0);
        self.failed().0 > u64::from(limit) && often
    }

    /// At least half of the stable revision's probes have failed: nothing can be said of the candidate.
    pub(super) fn stable_fails(&self) -> bool {
        let sent = self.recent.iter().fold(0, |sum: u64, p| sum.saturating_add(p.2));
        sent > 0 && self.failed().1 as f64 >= sent as f64 / 2.0
    }

    #[cfg(test)]
    pub(super) const fn used(&self) -> f64 {
        self.mixture.used()
    }
}
