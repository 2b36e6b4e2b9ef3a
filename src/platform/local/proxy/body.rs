//! Bodies on their way through: never more than one piece is held.
//!
//! [`Upload`] goes from client to instance, [`Answer`] from instance to client. Both know who
//! stands still when nothing moves: only the instance's standing still is its revision's error.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::instance::Exchange;
use super::line::Line;
use super::tally::Failure;

/// How far a request's body is, told to the one who waits for the answer.
#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    moved_ms: AtomicU64,
    stands: AtomicU8,
}

const AT_INSTANCE: u8 = 0;
const AT_CLIENT: u8 = 1;
const DONE: u8 = 2;

impl Progress {
    fn new() -> Arc<Self> {
        let (moved_ms, stands) = (AtomicU64::new(0), AtomicU8::new(AT_INSTANCE));
        Arc::new(Self { began: Instant::now(), moved_ms, stands })
    }

    /// When the last piece went on.
    pub(super) fn moved(&self) -> Instant {
        self.began + Duration::from_millis(self.moved_ms.load(Relaxed))
    }

    /// Whether the next piece is the client's to send.
    pub(super) fn is_at_client(&self) -> bool {
        self.stands.load(Relaxed) == AT_CLIENT
    }

    fn step(&self) {
        let elapsed = self.began.elapsed().as_millis();
        self.moved_ms.store(u64::try_from(elapsed).unwrap_or(u64::MAX), Relaxed);
    }
}

/// A request's body.
#[derive(Debug)]
pub(super) struct Upload {
    inner: Incoming,
    progress: Option<Arc<Progress>>,
}

impl Upload {
    pub(super) fn new(inner: Incoming) -> Self {
        let progress = (!inner.is_end_stream()).then(Progress::new);
        Self { inner, progress }
    }

    /// `None` for a request without a body.
    pub(super) fn progress(&self) -> Option<Arc<Progress>> {
        self.progress.clone()
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Some(progress) = &self.progress {
            let stands = match &polled {
                // A client that breaks off is the one that everybody waits for.
                Poll::Pending | Poll::Ready(Some(Err(_))) => AT_CLIENT,
                Poll::Ready(Some(Ok(_))) if !self.inner.is_end_stream() => AT_INSTANCE,
                Poll::Ready(Some(Ok(_)) | None) => DONE,
            };
            if polled.is_ready() {
                progress.step();
            }
            progress.stands.store(stands, Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A response's body: the proxy's own words, or what the instance sends.
#[derive(Debug)]
pub(super) enum Answer {
    Own(Full<Bytes>),
    Relayed(Box<Relay>),
}

/// Why a relayed body broke off.
#[derive(Debug, thiserror::Error)]
pub(super) enum BrokenBody {
    #[error("the instance's answer broke off")]
    Broke(#[source] hyper::Error),
    #[error("the instance's answer stood still")]
    Stalled,
}

/// The instance's body. When it has been read, its connection goes back to the pool; when it is
/// dropped before that, the client is gone and the connection is closed.
#[derive(Debug)]
pub(super) struct Relay {
    inner: Incoming,
    exchange: Option<Exchange>,
    line: Option<Line>,
    stall: Stall,
}

impl Relay {
    pub(super) fn new(inner: Incoming, exchange: Exchange, line: Line, stall: Duration) -> Self {
        let stall = Stall { limit: stall, moved: Instant::now(), timer: None };
        let mut relay = Self { inner, exchange: Some(exchange), line: Some(line), stall };
        if relay.inner.is_end_stream() {
            relay.finish();
        }
        relay
    }

    fn finish(&mut self) {
        if let (Some(exchange), Some(line)) = (self.exchange.take(), self.line.take()) {
            exchange.instance().pool.give(line);
        }
    }

    fn broke(&mut self) {
        self.line = None;
        if let Some(mut exchange) = self.exchange.take()
            && !exchange.is_cut()
        {
            exchange.fail(Failure::Body);
        }
    }

    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.stall.moved = Instant::now();
                if frame.is_trailers() || self.inner.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.broke();
                Poll::Ready(Some(Err(BrokenBody::Broke(error))))
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(self.stall.poll(cx));
                self.broke();
                Poll::Ready(Some(Err(BrokenBody::Stalled)))
            }
        }
    }
}

/// A time-out that is moved by writing down a time: the timer is only set once the body is awaited.
#[derive(Debug)]
struct Stall {
    limit: Duration,
    moved: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer =
            self.timer.get_or_insert_with(|| Box::pin(sleep_until(self.moved + self.limit)));
        loop {
            ready!(timer.as_mut().poll(cx));
            let due = self.moved + self.limit;
            if due <= Instant::now() {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BrokenBody;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenBody>>> {
        match &mut *self {
            Self::Own(text) => Pin::new(text).poll_frame(cx).map_err(|never| match never {}),
            Self::Relayed(relay) => relay.poll_piece(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(text) => text.is_end_stream(),
            Self::Relayed(relay) => relay.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(text) => text.size_hint(),
            Self::Relayed(relay) => relay.inner.size_hint(),
        }
    }
}
