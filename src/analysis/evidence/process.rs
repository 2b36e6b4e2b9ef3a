//! All evidence of one promotion, block by block.
//!
//! A block is judged with what the baseline had taught *before* it (φ, placebo, tail); only then the
//! baseline learns from it. So everything that is estimated is predictable, and the tests stay fair.

use serde::{Deserialize, Serialize};

use super::absolute::AbsoluteTest;
use super::blocks::{Block, blocks_in};
use super::config::{
    ALPHA, ALPHA_TOL, ATTRIBUTION_E, BAKE_S, GOOD_PROBES, Q_ABS, R_ERR, R_LAT, SETTLE_S,
    TOL_ERR_ABS, TOL_LAT_RATIO, WARMUP_S, WATCH,
};
use super::health::HealthTest;
use super::joint::{Joint, Window};
use super::latency::{Histograms, tolerance_ratios};
use super::likelihood::{Seen, multiples};
use super::limits::Limits;
use super::numbers::log_sum;
use super::onset::Onset;
use super::parts::{Part, Parts};
use super::pass::PassEvidence;
use super::recording::Reason;
use super::relative::{RelTest, Weight};
use super::share::ShareTest;
use super::stream::Baseline;

/// Least evidence of a latency comparison without data; only so that its logarithm is a number.
const NO_LATENCY_EVIDENCE: f64 = 1e-9;

/// Which tolerance a latency comparison must exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tolerance {
    /// The policy's own: for the relative condition.
    Policy,
    /// 1.10 and the absolute condition's quantile, always: whether a breach of the absolute limit is
    /// the candidate's own. With the policy's `3x baseline`, twice the baseline's would be excused.
    Attribution,
}

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
    age: u64,
    /// Blocks since the last change of the share.
    share_age: u64,
    /// Age from which on the stage may pass, in blocks.
    bake: u64,
    /// Share of the last block with users.
    pub last_share: f64,
    /// Nothing is left to compare with, and stable fails its probes.
    shared_incident: bool,
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
            self.errors.step(&seen, R_ERR, weight, &[self.limits.error_tolerance().max(luck)]);
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
                    R_LAT,
                    weight,
                    &nulls[k].map(|null| null.max(luck)),
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

    /// The weighted evidence of each part; and the absolute limit that both arms break, if there is one.
    fn parts(&mut self, base: &Baseline, tail: &[bool]) -> (Parts, Option<Part>) {
        self.shared_incident = self.last_share >= 1.0 && self.health.stable_fails();
        let err_rel = self.errors.worse.log_e(base.errors.raises());
        let absolute: Vec<(Part, f64, bool)> = self
            .absolute
            .iter()
            .map(|test| self.absolute_evidence(test, base, tail, err_rel))
            .collect();
        let breaks = |log_e: f64, own: bool| !own && log_e >= (1.0 / ALPHA).ln();
        let excused =
            absolute.iter().find(|(_, log_e, own)| breaks(*log_e, *own)).map(|found| found.0);
        let weighted = self.limits.weights.map(|part, weight| {
            let (log_e, counts) = match part {
                Part::ErrRel => (err_rel, self.errors_matter(base)),
                Part::LatRel => (self.latency_evidence(base, tail, Tolerance::Policy), true),
                Part::ErrAbs | Part::LatAbs | Part::Disaster => absolute
                    .iter()
                    .find(|found| found.0 == part)
                    .map_or((0.0, false), |(_, log_e, own)| (*log_e, *own)),
                Part::Share => (self.share.log_e(), self.share.is_low(self.last_share)),
                Part::Health => {
                    (self.health.log_e(), self.limits.health.is_some_and(|n| self.health.is_bad(n)))
                }
            };
            (if counts { log_e } else { log_e.min(0.0) }) + weight.ln()
        });
        (weighted, excused)
    }

    /// The error rate exceeds the tolerance, as a ratio and as a difference.
    fn errors_matter(&self, base: &Baseline) -> bool {
        let beyond = self.errors.beyond[0].log_e(base.errors.raises());
        let seen = self.errors.worse.since_onset();
        let candidate = seen.bad / seen.all.max(1e-9);
        let baseline = (seen.base_bad + 0.5) / (seen.base_all + 1.0);
        beyond >= (1.0 / ALPHA_TOL).ln() && candidate - baseline >= TOL_ERR_ABS
    }

    /// Mean of the bounds' evidence; each counts only beyond its tolerance, and only if the quantile
    /// has moved.
    fn latency_evidence(&self, base: &Baseline, tail: &[bool], tolerance: Tolerance) -> f64 {
        if self.bounds.is_empty() {
            return 0.0;
        }
        let (which, q, least) = match tolerance {
            Tolerance::Policy => {
                (0, self.limits.latency_ratio.map(|l| l.q), self.limits.latency_tolerance())
            }
            Tolerance::Attribution => (1, self.limits.latency.map(|l| l.q), TOL_LAT_RATIO),
        };
        let moved = q.is_some_and(|q| self.histograms.worst(q, &self.bounds).ratio() >= least);
        let used = tail.iter().filter(|t| **t).count().max(1) as f64;
        let mut values = vec![NO_LATENCY_EVIDENCE.ln()];
        for (k, test) in self.latencies.iter().enumerate().filter(|(k, _)| tail[*k]) {
            let raises = base.latencies[k].raises();
            let beyond = moved && test.beyond[which].log_e(raises) >= (1.0 / ALPHA_TOL).ln();
            let log_e = test.worse.log_e(raises);
            values.push((if beyond { log_e } else { log_e.min(0.0) }) - used.ln());
        }
        log_sum(&values)
    }

    /// ln E of an absolute limit, and whether the candidate breaks it on its own.
    fn absolute_evidence(
        &self,
        test: &AbsoluteTest,
        base: &Baseline,
        tail: &[bool],
        err_rel: f64,
    ) -> (Part, f64, bool) {
        let raise = if test.part == Part::ErrAbs { base.errors.raises().a } else { 0.0 };
        let log_e = test.log_e() - raise;
        if self.last_share >= 1.0 {
            return (test.part, log_e, !self.shared_incident);
        }
        let worse = if test.part == Part::LatAbs {
            self.latency_evidence(base, tail, Tolerance::Attribution)
        } else {
            err_rel
        };
        let own = worse >= ATTRIBUTION_E.ln() && test.stands_out(base.rate(test.column));
        (test.part, log_e, own)
    }

    fn decide(&self, judged: &mut Judged, block: &Block, phi: f64, good_probes: u64) {
        let breach = judged.log_e >= (1.0 / ALPHA).ln();
        let calm = judged.log_e < WATCH.ln();
        let baked = self.age >= self.bake;
        let expected = u64::from(block.expected.candidate);
        let (on, complete, proven, missing) = if block.has_users() {
            let Window { on, complete, .. } = judged.window;
            (on, complete, self.pass.is_proven(phi), Reason::CollectingEvidence)
        } else {
            let enough = expected >= 1 && good_probes >= GOOD_PROBES.saturating_mul(expected);
            (true, true, enough, Reason::CollectingProbes)
        };
        let clear = !breach && calm && !self.shared_incident;
        judged.may_pass = clear && proven && baked && on && complete;
        judged.reason = if breach {
            Reason::Breach(judged.parts.largest())
        } else if judged.may_pass {
            Reason::Passed
        } else if judged.no_data {
            Reason::NoData
        } else if judged.excused.is_some() || self.shared_incident {
            Reason::SharedIncident
        } else if !calm {
            Reason::Suspicion
        } else if !on {
            Reason::WaitingForData
        } else if !complete {
            Reason::CandidatePodSilent
        } else if !baked {
            Reason::Bake
        } else {
            missing
        };
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
