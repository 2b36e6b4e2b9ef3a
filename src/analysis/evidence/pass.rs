//! Proof that the absolute limits hold, anew in each stage.
//!
//! For each limit θ: the mean over q = θ·{0.5, 0.2, 0.05} of Π exp(l(q; θ)/φ) must reach 1/β = 20: if
//! the release ran at its limit, a stage would let it pass by chance at most once in twenty. About
//! 85 requests without an error prove 5 %. A policy without a limit of the error rate asks for those
//! 85 (times φ) requests.

use serde::{Deserialize, Serialize};

use super::config::{BETA, PASS_REQUESTS, Q_PASS};
use super::likelihood::{Seen, multiples, one_sample};
use super::numbers::log_mean;

/// Evidence for one absolute limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Proof {
    theta: f64,
    log: Vec<f64>,
}

impl Proof {
    fn new(theta: f64) -> Self {
        Self { theta, log: vec![0.0; Q_PASS.len()] }
    }

    fn step(&mut self, bad: f64, all: f64, phi: f64) {
        let llr = one_sample(bad, all, self.theta, &multiples(self.theta, Q_PASS));
        for (log, l) in self.log.iter_mut().zip(llr) {
            *log += l / phi;
        }
    }

    fn is_enough(&self) -> bool {
        log_mean(&self.log) >= (1.0 / BETA).ln()
    }
}

/// What one stage has proven so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct PassEvidence {
    error: Option<Proof>,
    latency: Option<Proof>,
    /// Errors and requests of both arms in the joint windows of this stage.
    seen: Seen,
}

impl PassEvidence {
    /// The rates of bad events that the limits allow, where there are limits.
    pub(super) fn new(error: Option<f64>, latency: Option<f64>) -> Self {
        Self {
            error: error.map(Proof::new),
            latency: latency.map(Proof::new),
            seen: Seen::default(),
        }
    }

    /// A new stage proves everything anew.
    pub(super) fn restart(&mut self) {
        *self =
            Self::new(self.error.as_ref().map(|p| p.theta), self.latency.as_ref().map(|p| p.theta));
    }

    /// Takes in one joint window: errors and requests, and the slow requests with their dispersion.
    pub(super) fn step(&mut self, errors: &Seen, phi: f64, slow: Option<(f64, f64)>) {
        self.seen.follow(1.0, *errors);
        if let Some(proof) = &mut self.error {
            proof.step(errors.bad, errors.all, phi);
        }
        if let (Some(proof), Some((slow, phi))) = (&mut self.latency, slow) {
            proof.step(slow, errors.all, phi);
        }
    }

    /// `phi`: the present dispersion of errors.
    pub(super) fn is_proven(&self, phi: f64) -> bool {
        let enough = match &self.error {
            Some(proof) => proof.is_enough(),
            None => self.seen.all >= PASS_REQUESTS * phi,
        };
        enough && self.latency.as_ref().is_none_or(Proof::is_enough)
    }

    /// Requests that the stage asks for where no limit of the error rate does.
    pub(super) fn requests_needed(&self, phi: f64) -> Option<u64> {
        self.error.is_none().then(|| (PASS_REQUESTS * phi).ceil() as u64)
    }

    pub(super) const fn seen(&self) -> &Seen {
        &self.seen
    }
}
