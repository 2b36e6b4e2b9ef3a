//! What one instance did: requests, errors, and how long its answers took.
//!
//! A request is counted once, when the head of its answer is there or will not come. Its latency
//! is the time from its arrival to that moment, because streams and tunnels have no end. A client
//! that gives up is counted with the time it waited (its answer would have taken at least as long)
//! and is no error of the revision. A body that breaks off later makes its request an error.

use std::array;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::StatusCode;

use crate::analysis::Counters;

/// The status that the counters know a request by which its client gave up (nginx's number).
pub(super) const CLIENT_GONE: u16 = 499;

const CODE_MIN: usize = 100;
const CODES: usize = 500;

/// How a request became an error of the revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The instance answered with a 5xx.
    Answer5xx,
    /// No connection could be opened: no byte was sent.
    Connect,
    /// No head of a response in time.
    Timeout,
    /// The connection ended, or no HTTP came, before the head was there.
    Broken,
    /// The response's body broke off or stood still for too long.
    Body,
}

impl Failure {
    pub(super) const ALL: [Self; 5] =
        [Self::Answer5xx, Self::Connect, Self::Timeout, Self::Broken, Self::Body];

    /// Returns the word for it in the metrics.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Answer5xx => "answer_5xx",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::Body => "body",
        }
    }
}

/// Cumulative counters; each is read and written without a lock.
#[derive(Debug)]
pub(super) struct Tally {
    bounds: Arc<[Duration]>,
    /// Requests by latency class: class k took at most bound k, the last one more than all.
    classes: Box<[AtomicU64]>,
    failures: [AtomicU64; Failure::ALL.len()],
    codes: Box<[AtomicU64]>,
    micros: AtomicU64,
}

impl Tally {
    pub(super) fn new(bounds: Arc<[Duration]>) -> Self {
        let classes = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self {
            bounds,
            classes,
            failures: array::from_fn(|_| AtomicU64::new(0)),
            codes: (0..=CODES).map(|_| AtomicU64::new(0)).collect(),
            micros: AtomicU64::new(0),
        }
    }

    /// Counts one request: the status that its client got, and how long it took.
    pub(super) fn count(&self, status: u16, took: Duration) {
        let class = self.bounds.partition_point(|bound| *bound < took);
        self.classes[class].fetch_add(1, Relaxed);
        self.codes[usize::from(status).saturating_sub(CODE_MIN).min(CODES)].fetch_add(1, Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Counts an error; its request is counted by [`Tally::count`].
    pub(super) fn fail(&self, failure: Failure) {
        self.failures[failure as usize].fetch_add(1, Relaxed);
    }

    /// Returns `requests, errors, slower than bound 1, …`. Errors are read first, so that they are
    /// never more than the requests.
    pub(super) fn counters(&self) -> Counters {
        let errors = self.failures().map(|(_, count)| count).sum::<u64>();
        let classes = self.classes();
        let mut slower = vec![0; classes.len()];
        let mut sum = 0;
        for (class, count) in classes.iter().enumerate().rev() {
            sum += count;
            slower[class] = sum;
        }
        // `slower[0]` is everything; `slower[k]` is what took longer than bound k.
        let requests = slower.remove(0);
        let counters = [requests, errors].into_iter().chain(slower);
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 requests")]
        Counters(counters.map(|count| count as f64).collect())
    }

    pub(super) fn failures(&self) -> impl Iterator<Item = (Failure, u64)> {
        Failure::ALL
            .into_iter()
            .map(|failure| (failure, self.failures[failure as usize].load(Relaxed)))
    }

    /// Returns the status codes that were seen. Codes above 599 are counted as 600.
    pub(super) fn codes(&self) -> impl Iterator<Item = (u16, u64)> {
        let codes = (100..).zip(self.codes.iter().map(|count| count.load(Relaxed)));
        codes.filter(|(_, count)| *count > 0)
    }

    pub(super) fn classes(&self) -> Vec<u64> {
        self.classes.iter().map(|count| count.load(Relaxed)).collect()
    }

    pub(super) fn bounds(&self) -> &[Duration] {
        &self.bounds
    }

    pub(super) fn seconds(&self) -> f64 {
        Duration::from_micros(self.micros.load(Relaxed)).as_secs_f64()
    }
}

/// Returns the failure that a status is, if it is one.
pub(super) fn failure_of(status: StatusCode) -> Option<Failure> {
    status.is_server_error().then_some(Failure::Answer5xx)
}
