//! What a person wants to know of a decision beyond its readings: what is ruled out, and what a stage that
//! has not passed still needs.

use super::config::WATCH;
use super::judge::Judge;
use super::pass::PassEvidence;
use super::stream::Stream;
use crate::analysis::{Cause, JudgedOn};

/// The present stage, as it stands after the last look.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Explained {
    /// E: a harmless promotion gets there with probability 1/E at most.
    pub e: f64,
    /// 1 − 1/max E
    pub confidence: f64,
    /// Candidate requests of this stage, and the errors among them.
    pub requests: f64,
    pub errors: f64,
    /// Error rates above this fraction are ruled out at 95 %.
    pub ruled_out_above: Option<f64>,
    /// Until the stage is old enough.
    pub bake_left_s: f64,
    /// Further candidate requests that the limits need, if they are as those before; `None`: they
    /// won't be proven so.
    pub requests_left: Option<f64>,
}

impl Judge {
    /// Explains where the stage stands.
    #[must_use]
    pub fn explain(&self) -> Explained {
        let pass: &PassEvidence = &self.evidence.pass;
        let (seen, phi) = (pass.seen(), self.errors_phi());
        let users = self.judged_on() == JudgedOn::All;
        Explained {
            e: self.log_e.exp(),
            confidence: self.confidence(),
            requests: seen.all,
            errors: seen.bad,
            ruled_out_above: pass.ruled_out(phi),
            bake_left_s: self.evidence.bake_left_s(),
            requests_left: match users {
                true => pass.more_requests(phi, self.latency_phi()),
                false => Some(0.0),
            },
        }
    }

    /// The causes of the first breach, as they were when it was found.
    #[must_use]
    pub fn causes(&self) -> &[Cause] {
        self.breach.as_ref().map_or(&[], |breach| &breach.causes)
    }

    /// 1 − 1/max E: "were the candidate no worse, at most one promotion in 1/(1−c) would show this".
    #[must_use]
    pub fn confidence(&self) -> f64 {
        1.0 - (-self.max_log_e).exp().min(1.0)
    }

    /// Whether health alone may end the stage, for policies with `insufficient_traffic: health_only`:
    /// fewer candidate requests than a verdict needs, no suspicion, baked, and probed as at share 0.
    #[must_use]
    pub fn passes_on_health(&self, min_requests: u64) -> bool {
        let few = self.evidence.pass.seen().all < min_requests as f64;
        let calm = self.breach.is_none() && self.log_e < WATCH.ln();
        few && calm && self.evidence.is_baked() && self.open.is_probed(self.good_probes)
    }

    pub(super) fn errors_phi(&self) -> f64 {
        self.base.errors.phi()
    }

    pub(super) fn latency_phi(&self) -> f64 {
        let bound = self.evidence.pass_bound();
        bound.and_then(|k| self.base.latencies.get(k)).map_or(1.0, Stream::phi)
    }
}
