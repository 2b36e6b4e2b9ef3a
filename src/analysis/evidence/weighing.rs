//! From the tests to one number and one reason.

use std::cell::LazyCell;

use super::absolute::AbsoluteTest;
use super::blocks::Block;
use super::config::{ALPHA, ALPHA_TOL, ATTRIBUTION_E, TOL_ERR_ABS, TOL_LAT_RATIO, WATCH};
use super::joint::Window;
use super::numbers::log_sum;
use super::parts::{Part, Parts};
use super::process::{Evidence, Judged};
use super::recording::Reason;
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

/// Evidence against the candidate counts only if it matters: what is no evidence needs no guard.
fn guarded(log_e: f64, matters: impl FnOnce() -> bool) -> f64 {
    if log_e > 0.0 && !matters() { 0.0 } else { log_e }
}

impl Evidence {
    /// The weighted evidence of each part; and the absolute limit that both arms break, if there is one.
    pub(super) fn parts(&mut self, base: &Baseline, tail: &[bool]) -> (Parts, Option<Part>) {
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
            let log_e = match part {
                Part::ErrRel => guarded(err_rel, || self.errors_matter(base)),
                Part::LatRel => self.latency_evidence(base, tail, Tolerance::Policy),
                Part::ErrAbs | Part::LatAbs | Part::Disaster => absolute
                    .iter()
                    .find(|found| found.0 == part)
                    .map_or(0.0, |(_, log_e, own)| guarded(*log_e, || *own)),
                Part::Share => guarded(self.share.log_e(), || self.share.is_low(self.last_share)),
                Part::Health => guarded(self.health.log_e(), || {
                    self.limits.health.is_some_and(|n| self.health.is_bad(n))
                }),
            };
            log_e + weight.ln()
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
        let moved = LazyCell::new(|| {
            q.is_some_and(|q| self.histograms.worst(q, &self.bounds).ratio() >= least)
        });
        let used = tail.iter().filter(|t| **t).count().max(1) as f64;
        let mut values = vec![NO_LATENCY_EVIDENCE.ln()];
        for (k, test) in self.latencies.iter().enumerate().filter(|(k, _)| tail[*k]) {
            let raises = base.latencies[k].raises();
            let beyond = || test.beyond[which].log_e(raises) >= (1.0 / ALPHA_TOL).ln() && *moved;
            values.push(guarded(test.worse.log_e(raises), beyond) - used.ln());
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
        // What says nothing needs no excuse.
        if log_e <= 0.0 {
            return (test.part, log_e, true);
        }
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

    /// The stage is old enough to pass.
    pub(super) const fn is_baked(&self) -> bool {
        self.age >= self.bake
    }

    pub(super) fn decide(&self, judged: &mut Judged, block: &Block, phi: f64, good_probes: u64) {
        let breach = judged.log_e >= (1.0 / ALPHA).ln();
        let calm = judged.log_e < WATCH.ln();
        let baked = self.is_baked();
        let (on, complete, proven, missing) = if block.has_users() {
            let Window { on, complete, .. } = judged.window;
            (on, complete, self.pass.is_proven(phi), Reason::CollectingEvidence)
        } else {
            (true, true, block.is_probed(good_probes), Reason::CollectingProbes)
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
