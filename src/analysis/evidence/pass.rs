//! Proof that the absolute limits hold, anew in each stage.
//!
//! For each limit θ: the mean over q = θ·{0.5, 0.2, 0.05} of Π exp(l(q; θ)/φ) must reach 1/β = 20: if
//! the release ran at its limit, a stage would let it pass by chance at most once in twenty. About
//! 85 requests without an error prove 5 %. A policy without a limit of the error rate asks for those
//! 85 (times φ) requests.

use serde::{Deserialize, Serialize};

use super::config::{BETA, PASS_REQUESTS, Q_MAX, Q_PASS};
use super::likelihood::{Seen, multiples, one_sample};
use super::numbers::log_mean;

/// Requests beyond which no proof is waited for.
const REQUESTS_MAX: f64 = 1e9;
/// No error rate below this is told apart from none.
const RATE_MIN: f64 = 1e-7;
/// Of an interval, until it is as narrow as a float.
const HALVINGS: usize = 60;

/// Evidence for one absolute limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Proof {
    theta: f64,
    log: Vec<f64>,
    /// Bad requests and all of this stage.
    bad: f64,
    all: f64,
}

impl Proof {
    fn new(theta: f64) -> Self {
        Self { theta, log: vec![0.0; Q_PASS.len()], bad: 0.0, all: 0.0 }
    }

    fn step(&mut self, bad: f64, all: f64, phi: f64) {
        let llr = one_sample(bad, all, self.theta, &multiples(self.theta, Q_PASS));
        for (log, l) in self.log.iter_mut().zip(llr) {
            *log += l / phi;
        }
        self.bad += bad;
        self.all += all;
    }

    fn is_enough(&self) -> bool {
        log_mean(&self.log) >= (1.0 / BETA).ln()
    }

    /// Further requests that the proof needs if they are as those before; `None`: it won't come so.
    ///
    /// Each alternative's evidence grows by a constant per request, so the mean of all is convex, and from
    /// below the bar it crosses it once.
    fn more_requests(&self, phi: f64) -> Option<f64> {
        let rate = if self.all > 0.0 { self.bad / self.all } else { 0.0 };
        let gain = one_sample(rate, 1.0, self.theta, &multiples(self.theta, Q_PASS));
        let is_enough = |requests: f64| {
            let after = self.log.iter().zip(&gain).map(|(log, gain)| log + requests * gain / phi);
            log_mean(&after.collect::<Vec<f64>>()) >= (1.0 / BETA).ln()
        };
        crossing(0.0, REQUESTS_MAX, is_enough)
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

    /// Further requests of the candidate that this stage needs if they are as those before.
    pub(super) fn more_requests(&self, errors_phi: f64, latency_phi: f64) -> Option<f64> {
        let errors = match &self.error {
            Some(proof) => proof.more_requests(errors_phi)?,
            None => (PASS_REQUESTS * errors_phi - self.seen.all).max(0.0),
        };
        let latency = match &self.latency {
            Some(proof) => proof.more_requests(latency_phi)?,
            None => 0.0,
        };
        Some(errors.max(latency))
    }

    /// The least error rate that this stage's requests rule out at 1 − β: were it the candidate's, its
    /// few errors would have been seen at most once in twenty stages, however often one looks.
    pub(super) fn ruled_out(&self, phi: f64) -> Option<f64> {
        let Seen { bad, all, .. } = self.seen;
        let is_out = |theta: f64| {
            let llr = one_sample(bad, all, theta, &multiples(theta, Q_PASS));
            let tempered: Vec<f64> = llr.into_iter().map(|l| l / phi).collect();
            log_mean(&tempered) >= (1.0 / BETA).ln()
        };
        // A smaller rate is always harder to rule out: ln(1−cθ) − ln(1−θ) rises with θ for c < 1.
        crossing(RATE_MIN, Q_MAX, is_out)
    }

    pub(super) const fn seen(&self) -> &Seen {
        &self.seen
    }
}

/// Where a condition that is false below and true above begins to hold; `None`: not up to `most`.
fn crossing(least: f64, most: f64, holds: impl Fn(f64) -> bool) -> Option<f64> {
    if holds(least) {
        return Some(least);
    }
    if !holds(most) {
        return None;
    }
    let (mut low, mut high) = (least, most);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if holds(middle) { high = middle } else { low = middle }
    }
    Some(high)
}
