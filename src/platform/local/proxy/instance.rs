//! One process behind the proxy: what runs there now, and the connections to it.
//!
//! Everything open is counted by a guard ([`Exchange`], [`Open`]), so that it is right whichever
//! way a request ends. Cutting is a message to the tasks that own the connections: requests then
//! see their connection end.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::StatusCode;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::line::Pool;
use super::route::Backend;
use super::tally::{CLIENT_GONE, Failure, Tally, failure_of};

/// How often each kind of connection was cut. One that is older than the last cut of its kind ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cuts {
    requests: u32,
    /// Those that have no end of their own: upgraded connections and event streams.
    streams: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Stream,
}

impl Cuts {
    fn since(self, before: Self, kind: Kind) -> bool {
        match kind {
            Kind::Request => self.requests != before.requests,
            Kind::Stream => self.streams != before.streams,
        }
    }
}

#[derive(Debug)]
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) revision: String,
    pub(super) addr: SocketAddr,
    tally: RwLock<Arc<Tally>>,
    pub(super) pool: Pool,
    /// Whether it is the candidate now, for the metrics' label.
    pub(super) candidate: AtomicBool,
    requests: AtomicUsize,
    streams: AtomicUsize,
    connections: AtomicUsize,
    /// Told whenever one of the three counts reaches zero.
    less: Notify,
    cuts: watch::Sender<Cuts>,
}

impl Instance {
    pub(super) fn new(backend: &Backend, tally: Arc<Tally>, pool_idle_max: usize) -> Self {
        Self {
            name: backend.instance.clone(),
            revision: backend.revision.clone(),
            addr: backend.addr,
            tally: RwLock::new(tally),
            pool: Pool::new(pool_idle_max),
            candidate: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            less: Notify::new(),
            cuts: watch::Sender::new(Cuts::default()),
        }
    }

    pub(super) fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts into a new tally from now on.
    pub(super) fn count_anew(&self, tally: Arc<Tally>) {
        *self.tally.write().unwrap_or_else(PoisonError::into_inner) = tally;
    }

    pub(super) fn is(&self, backend: &Backend) -> bool {
        self.addr == backend.addr && self.revision == backend.revision
    }

    /// Requests (streams apart), or streams, that have not ended.
    pub(super) fn open(&self, kind: Kind) -> usize {
        match kind {
            Kind::Request => self.requests.load(SeqCst),
            Kind::Stream => self.streams.load(SeqCst),
        }
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    /// Waits until the condition holds; it is asked again whenever a count has reached zero.
    pub(super) async fn until(&self, condition: impl Fn(&Self) -> bool) {
        loop {
            let mut less = std::pin::pin!(self.less.notified());
            less.as_mut().enable();
            if condition(self) {
                return;
            }
            less.await;
        }
    }

    pub(super) fn cut(&self, kind: Kind) {
        self.cuts.send_modify(|cuts| match kind {
            Kind::Request => cuts.requests = cuts.requests.wrapping_add(1),
            Kind::Stream => cuts.streams = cuts.streams.wrapping_add(1),
        });
    }

    /// Returns what tells of cuts from now on.
    pub(super) fn cutter(&self) -> Cutter {
        let cuts = self.cuts.subscribe();
        let before = *cuts.borrow();
        Cutter { cuts, before }
    }

    fn leave(&self, count: &AtomicUsize) {
        if count.fetch_sub(1, SeqCst) == 1 {
            self.less.notify_waiters();
        }
    }
}

/// Tells the owner of a connection when to end it.
#[derive(Debug)]
pub(super) struct Cutter {
    cuts: watch::Receiver<Cuts>,
    before: Cuts,
}

impl Cutter {
    /// Waits until connections of this kind are cut; the kind may change meanwhile.
    pub(super) async fn cut(mut self, kind: impl Fn() -> Kind) {
        // An error means that the instance is gone, and with it every reason to go on.
        let _ = self.cuts.wait_for(|now| now.since(self.before, kind())).await;
    }
}

/// One open connection to the instance.
#[derive(Debug)]
pub(super) struct Open(Arc<Instance>);

impl Open {
    pub(super) fn new(instance: &Arc<Instance>) -> Self {
        instance.connections.fetch_add(1, SeqCst);
        Self(Arc::clone(instance))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.leave(&self.0.connections);
    }
}

/// One request from its assignment to the end of its answer, however it ends.
#[derive(Debug)]
pub(super) struct Exchange {
    instance: Arc<Instance>,
    arrived: Instant,
    kind: Kind,
    counted: bool,
    failed: bool,
    cuts_before: Cuts,
}

impl Exchange {
    pub(super) fn begin(instance: &Arc<Instance>, arrived: Instant) -> Self {
        instance.requests.fetch_add(1, SeqCst);
        Self {
            instance: Arc::clone(instance),
            arrived,
            kind: Kind::Request,
            counted: false,
            failed: false,
            cuts_before: *instance.cuts.borrow(),
        }
    }

    pub(super) fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// The instance answered.
    pub(super) fn answered(&mut self, status: StatusCode) {
        self.count(status.as_u16());
        if let Some(failure) = failure_of(status) {
            self.fail(failure);
        }
    }

    /// The instance did not answer, and the client is told so with this status.
    pub(super) fn unanswered(&mut self, status: StatusCode, failure: Failure) {
        self.count(status.as_u16());
        if !self.is_cut() {
            self.fail(failure);
        }
    }

    /// The proxy ended it for a reason that is not the revision's.
    pub(super) fn excused(&mut self, status: StatusCode) {
        self.count(status.as_u16());
    }

    /// The body broke off; a request is one error at most.
    pub(super) fn fail(&mut self, failure: Failure) {
        if !self.failed {
            self.failed = true;
            self.instance.tally().fail(failure);
        }
    }

    /// It has no end of its own: from here it has the grace of streams.
    pub(super) fn becomes_stream(&mut self) {
        if self.kind == Kind::Request {
            self.kind = Kind::Stream;
            self.instance.streams.fetch_add(1, SeqCst);
            self.instance.leave(&self.instance.requests);
        }
    }

    /// Whether the proxy itself ended it, so that its end is not the revision's error.
    pub(super) fn is_cut(&self) -> bool {
        self.instance.cuts.borrow().since(self.cuts_before, self.kind)
    }

    fn count(&mut self, status: u16) {
        self.counted = true;
        self.instance.tally().count(status, self.waited());
    }

    fn waited(&self) -> Duration {
        self.arrived.elapsed()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.counted {
            self.count(CLIENT_GONE);
        }
        self.instance.leave(match self.kind {
            Kind::Request => &self.instance.requests,
            Kind::Stream => &self.instance.streams,
        });
    }
}
