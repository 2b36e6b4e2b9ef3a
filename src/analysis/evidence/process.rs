//! All evidence of one promotion, block by block.
//!
//! A block is judged with what the baseline had taught *before* it (φ, placebo, tail); only then the
//! baseline learns from it. So everything that is estimated is predictable, and the tests stay fair.

use serde::{Deserialize, Serialize};

use super::absolute::AbsoluteTest;
use super::blocks::{Block, blocks_in};
use super::config::{BAKE_S, Q_ABS, R_ERR, R_LAT, SETTLE_S, TOL_LAT_RATIO, WARMUP_S};
use super::health::HealthTest;
use super::joint::{Joint, Window};
use super::latency::{Histograms, tolerance_ratios};
use super::likelihood::{Seen, WORSE_ERRORS, WORSE_LATENCIES, multiples};
use super::limits::Limits;
use super::onset::Onset;
use super::parts::{Part, Parts};
use super::pass::PassEvidence;
use super::recording::Reason;
use super::relative::{RelTest, Weight};
use super::share::ShareTest;
use super::stream::Baseline;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Evidence {
    pub limits: Limits,
    /// Latency bounds in milliseconds; none where the policy has no limit of the response time.
    pub bounds: Vec<f64>,
    block_s: f64,
    onset: Onset,
    joint: Joint,
    pub errors: RelTest,
    /// Of each bound: the tolerances are the policy's, and that of the attribution.
    pub latencies: Vec<RelTest>,
    pub absolute: Vec<AbsoluteTest>,
    pub share: ShareTest,
    pub health: HealthTest,
    pub pass: PassEvidence,
    pub histograms: Histograms,
    /// Blocks of this stage.
    pub age: u64,
    /// Blocks since the last change of the share.
    share_age: u64,
    /// Age from which on the stage may pass, in blocks.
    pub bake: u64,
    /// Share of the last block with users.
    pub last_share: f64,
    /// Nothing is left to compare with, and stable fails its probes.
    pub shared_incident: bool,
    /// The bound from which on a slow request breaches, and the one from which on it fails the pass.
    latency_bounds: Option<(usize, usize)>,
}

/// What one block says, alone and with everything before it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Judged {
    pub log_e: f64,
    pub parts: Parts,
    pub may_pass: bool,
    pub no_data: bool,
    pub reason: Reason,
    /// An absolute limit that both revisions break.
    pub excused: Option<Part>,
    pub window: Window,
    /// Bounds at which latencies were compared.
    pub tail: Vec<bool>,
}

impl Evidence {
    /// `health_blocks`: length of the health window; `stale_limit`: blocks of silence that are no accident.
    pub(super) fn new(
        limits: Limits,
        bounds: Vec<f64>,
        block_s: f64,
        onset: Onset,
        (health_blocks, stale_limit): (u64, u64),
    ) -> Self {
        let latency_bounds = limits.latency.and_then(|latency| {
            let breach = bounds.iter().position(|b| *b >= latency.limit)?;
            Some((breach, bounds.iter().rposition(|b| *b <= latency.limit)?))
        });
        Self {
            joint: Joint::new(2 + bounds.len(), stale_limit),
            errors: RelTest::new(R_ERR, 1),
            latencies: vec![RelTest::new(R_LAT, 2); bounds.len()],
            absolute: absolute_tests(&limits, latency_bounds),
            share: ShareTest::new(limits.share_factor()),
            health: HealthTest::new(health_blocks),
            pass: PassEvidence::new(limits.error, limits.latency.map(|l| l.theta())),
            histograms: Histograms::new(bounds.len()),
            age: 0,
            share_age: 0,
            bake: blocks_in(BAKE_S, block_s, 2),
            last_share: 0.0,
            shared_incident: false,
            latency_bounds,
            limits,
            bounds,
            block_s,
            onset,
        }
    }

    /// Only the pass evidence and the age start anew; E goes on. `later`: a stage with users after
    /// another one, for the first time.
    pub(super) fn enter_stage(&mut self, hold_s: f64, later: bool) {
        self.pass.restart();
        self.age = 0;
        self.share_age = 0;
        self.bake = blocks_in(BAKE_S.min(hold_s), self.block_s, 2);
        if later {
            self.onset.enter_stage();
        }
    }

    pub(super) const fn change_share(&mut self) {
        self.share_age = 0;
    }

    /// Until the stage is old enough to pass, in seconds.
    pub(super) fn bake_left_s(&self) -> f64 {
        self.bake.saturating_sub(self.age) as f64 * self.block_s
    }

    /// The latency bound from which on a slow request fails the pass.
    pub(super) fn pass_bound(&self) -> Option<usize> {
        self.latency_bounds.map(|(_, pass)| pass)
    }

    /// Takes in one block. `good_probes`: of the candidate, in a row since the stage began; `commit`:
    /// the block is over.
    pub(super) fn judge(
        &mut self,
        block: &Block,
        base: &Baseline,
        good_probes: u64,
        commit: bool,
    ) -> Judged {
        let tail = base.tail();
        let users = block.has_users();
        let due = if users { self.onset.take_due() } else { 0.0 };
        let window = if users {
            self.last_share = block.share;
            let window = self.joint.take(block);
            self.take_window(&window, block, base, &tail, self.onset.of_metrics(due));
            window
        } else {
            self.joint.clear()
        };
        self.health.step(&block.probes, self.onset.of_health(due));
        let (parts, excused) = self.parts(base, &tail);
        if commit {
            self.age += 1;
            self.share_age += 1;
            self.onset.tick(users);
            if users {
                self.joint.tick(&window);
            }
        }
        let mut judged = Judged {
            log_e: parts.log_sum(),
            parts,
            may_pass: false,
            no_data: users && !window.on && self.joint.is_stale(),
            reason: Reason::Passed,
            excused,
            window,
            tail,
        };
        self.decide(&mut judged, block, base.errors.phi(), good_probes);
        judged
    }

    fn take_window(
        &mut self,
        window: &Window,
        block: &Block,
        base: &Baseline,
        tail: &[bool],
        mass: f64,
    ) {
        self.take_errors(window, block, base, mass);
        if !self.bounds.is_empty() {
            self.take_latencies(window, block, base, tail, mass);
        }
        if !block.has_all_users() {
            let settled = self.share_age >= blocks_in(SETTLE_S, self.block_s, 1);
            if window.on && window.complete && settled {
                self.share.step(window.candidate[0], window.baseline[0], block.share, mass);
            } else {
                self.share.owe(mass);
            }
        }
        if window.on {
            let slow = self
                .latency_bounds
                .map(|(_, k)| (window.candidate[2 + k], base.latencies[k].phi()));
            self.pass.step(&seen(window, 1), base.errors.phi(), slow);
        }
    }

    fn take_errors(&mut self, window: &Window, block: &Block, base: &Baseline, mass: f64) {
        let (seen, phi) = (seen(window, 1), base.errors.phi());
        let weight = Weight { mass, phi, gap: window.gap };
        let luck = base.errors.bad_luck(phi, block.expected.candidate);
        // At 100 % there is nothing to compare with: the comparison stands still, its mass is owed.
        if window.on && !block.has_all_users() {
            self.errors.step(
                &seen,
                &WORSE_ERRORS,
                weight,
                &[self.limits.error_tolerance().max(luck)],
            );
        } else {
            self.errors.owe(mass);
        }
        for test in self.absolute.iter_mut().filter(|test| test.part != Part::LatAbs) {
            if window.on { test.step(&seen, weight) } else { test.owe(mass) }
        }
    }

    fn take_latencies(
        &mut self,
        window: &Window,
        block: &Block,
        base: &Baseline,
        tail: &[bool],
        mass: f64,
    ) {
        let warm = self.onset.blocks_with_users() >= blocks_in(WARMUP_S, self.block_s, 1);
        let on = window.on && warm;
        let tolerances = [self.limits.latency_tolerance(), TOL_LAT_RATIO];
        let nulls = tolerance_ratios(base.total[0], &base.total[2..], &self.bounds, tolerances);
        for (k, test) in self.latencies.iter_mut().enumerate().filter(|(k, _)| tail[*k]) {
            if on && !block.has_all_users() {
                let phi = base.latencies[k].phi();
                let luck = base.latencies[k].bad_luck(phi, block.expected.candidate);
                let weight = Weight { mass, phi, gap: window.gap };
                test.step(
                    &seen(window, 2 + k),
                    &WORSE_LATENCIES,
                    weight,
                    &nulls(k).map(|null| null.max(luck)),
                );
            } else {
                test.owe(mass);
            }
        }
        for test in self.absolute.iter_mut().filter(|test| test.part == Part::LatAbs) {
            let phi = base.latencies[test.column - 2].phi();
            let weight = Weight { mass, phi, gap: window.gap };
            if on { test.step(&seen(window, test.column), weight) } else { test.owe(mass) }
        }
        if on {
            self.histograms.add(&window.candidate, &window.baseline, self.block_s);
        }
    }

    /// Onset masses that were given out, of every test.
    #[cfg(test)]
    pub(super) fn used(&self) -> Vec<f64> {
        let relative = self.latencies.iter().chain([&self.errors]).flat_map(RelTest::used);
        let absolute = self.absolute.iter().map(AbsoluteTest::used);
        relative.chain(absolute).chain([self.share.used(), self.health.used()]).collect()
    }
}

fn absolute_tests(limits: &Limits, latency_bounds: Option<(usize, usize)>) -> Vec<AbsoluteTest> {
    let mut tests = Vec::new();
    if let Some(theta) = limits.error {
        tests.push(AbsoluteTest::new(Part::ErrAbs, 1, theta, multiples(theta, Q_ABS)));
    }
    let disaster = limits.disaster_rates();
    if !disaster.is_empty() {
        tests.push(AbsoluteTest::new(Part::Disaster, 1, limits.disaster_theta(), disaster));
    }
    if let (Some(latency), Some((k, _))) = (limits.latency, latency_bounds) {
        let theta = latency.theta();
        tests.push(AbsoluteTest::new(Part::LatAbs, 2 + k, theta, multiples(theta, Q_ABS)));
    }
    tests
}

/// Bad events of one column, of both arms.
fn seen(window: &Window, column: usize) -> Seen {
    Seen {
        bad: window.candidate[column],
        all: window.candidate[0],
        base_bad: window.baseline[column],
        base_all: window.baseline[0],
    }
}
