//! A promotion told look by look, for tests: steady counters of as many pods as wanted.

use std::collections::BTreeMap;

use super::super::{Header, Judge, Line, StageTimes, VerdictLine};
use super::conditions;
use crate::analysis::{Counters, Look, PerArm, ProbeCount};
use crate::share::Share;

pub(super) const BOUNDS: [f64; 4] = [100.0, 500.0, 1000.0, 2500.0];
/// Part of the requests that is slower than each bound.
const SLOWER: [f64; 4] = [0.6, 0.03, 0.004, 0.0];

/// What happens between two looks.
#[derive(Clone, Copy)]
pub(super) struct Step {
    /// Of each pod.
    pub(super) requests: f64,
    /// Fractions.
    pub(super) errors: PerArm<f64>,
    /// Factor on the candidate's slow requests.
    pub(super) slower: f64,
    /// Failed probes out of 3.
    pub(super) failed: PerArm<u64>,
}

pub(super) const CALM: Step = Step {
    requests: 100.0,
    errors: PerArm { baseline: 0.0, candidate: 0.0 },
    slower: 1.0,
    failed: PerArm { baseline: 0, candidate: 0 },
};

pub(super) struct Story {
    pub(super) judge: Judge,
    pub(super) look: Look,
    interval_s: f64,
}

impl Story {
    /// One stage at this share, looks every `interval_s`.
    pub(super) fn new(policy: &[&str], share: f64, interval_s: f64) -> Self {
        Self::of_stages(policy, &[share], interval_s)
    }

    pub(super) fn of_stages(policy: &[&str], shares: &[f64], interval_s: f64) -> Self {
        let stage = |share: &f64| StageTimes { share: Some(*share), ..StageTimes::default() };
        let header = Header::new(BOUNDS.to_vec(), interval_s, shares.iter().map(stage).collect());
        let judge = Judge::new(&conditions(policy), &header).unwrap();
        let mut look = Look {
            at_s: 0.0,
            stage: 0,
            share: Share::from_fraction(shares[0]).unwrap(),
            baseline: BTreeMap::new(),
            candidate: BTreeMap::new(),
            expected: PerArm { baseline: 2, candidate: 1 },
            probes: PerArm::default(),
            candidate_healthy: true,
            queries: BTreeMap::new(),
            missing: None,
        };
        for pod in ["b0", "b1"] {
            look.baseline.insert(pod.into(), Counters(vec![1000.0, 1.0, 600.0, 30.0, 4.0, 0.0]));
        }
        look.candidate.insert("c0".into(), Counters(vec![0.0; 2 + BOUNDS.len()]));
        let mut story = Self { judge, look, interval_s };
        story.judge.look(&Line::from(&story.look));
        story
    }

    /// Lets time pass without looking.
    pub(super) fn pass(&mut self, step: Step) -> &Look {
        self.look.at_s += self.interval_s;
        let count = |counters: &mut Counters, errors: f64, slower: f64| {
            counters.0[0] += step.requests;
            counters.0[1] += (step.requests * errors).round();
            for (k, part) in SLOWER.iter().enumerate() {
                counters.0[2 + k] += (step.requests * (part * slower).min(1.0)).round();
            }
        };
        for counters in self.look.baseline.values_mut() {
            count(counters, step.errors.baseline, 1.0);
        }
        for counters in self.look.candidate.values_mut() {
            count(counters, step.errors.candidate, step.slower);
        }
        self.look.probes = PerArm {
            baseline: ProbeCount { failed: step.failed.baseline, sent: 3 },
            candidate: ProbeCount { failed: step.failed.candidate, sent: 3 },
        };
        &self.look
    }

    /// Lets time pass, and looks.
    pub(super) fn tell(&mut self, step: Step) -> VerdictLine {
        let line = Line::from(self.pass(step));
        self.judge.look(&line).unwrap()
    }

    /// Looks until the verdict's reason is this one; returns the number of looks.
    pub(super) fn tell_until(&mut self, step: Step, reason: &str) -> usize {
        const MOST: usize = 200;
        let mut reasons = Vec::new();
        for looks in 1..=MOST {
            reasons.push(self.tell(step).reason.to_string());
            if reasons[looks - 1] == reason {
                return looks;
            }
        }
        reasons.dedup();
        panic!("never {reason}, but {reasons:?}")
    }
}
