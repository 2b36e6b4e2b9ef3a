//! Connections to an instance, and the pool of those that are free.
//!
//! A free connection may still be finishing (its last bytes are being read), so the pool takes the
//! newest that is ready and leaves the others; nothing waits in a queue. There are never more
//! connections than requests in flight plus [`Limits::pool_idle_max`].

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::body::Upload;
use super::instance::{Cutter, Instance, Kind, Open};
use super::limits::{HEADER_LINES_MAX, Limits};

/// One connection to an instance. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Line {
    sender: SendRequest<Upload>,
    streams: Arc<AtomicBool>,
    free_since: Instant,
}

/// What became of a request that got no answer.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// No byte of it was sent, so it can be sent elsewhere.
    Unsent(Box<Request<Upload>>),
    /// At least its first bytes were sent.
    Broken,
}

impl Line {
    pub(super) async fn open(instance: &Arc<Instance>, limits: &Limits) -> io::Result<Self> {
        let open = Open::new(instance);
        let stream = timeout(limits.connect, TcpStream::connect(instance.addr)).await??;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::Builder::new()
            .max_headers(HEADER_LINES_MAX)
            .max_header_size(limits.header_bytes_max)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let streams = Arc::new(AtomicBool::new(false));
        tokio::spawn(drive(connection, open, instance.cutter(), Arc::clone(&streams)));
        Ok(Self { sender, streams, free_since: Instant::now() })
    }

    pub(super) async fn send(
        &mut self,
        request: Request<Upload>,
    ) -> Result<Response<Incoming>, Unanswered> {
        self.sender.try_send_request(request).await.map_err(|mut error| {
            error
                .take_message()
                .map_or(Unanswered::Broken, |request| Unanswered::Unsent(Box::new(request)))
        })
    }

    /// Its present answer has no end of its own.
    pub(super) fn carries_stream(&self) {
        self.streams.store(true, Relaxed);
    }
}

/// Runs the connection until it ends, nobody holds its [`Line`] any more, or it is cut.
async fn drive(
    connection: Connection<TokioIo<TcpStream>, Upload>,
    open: Open,
    cutter: Cutter,
    streams: Arc<AtomicBool>,
) {
    let kind = || if streams.load(Relaxed) { Kind::Stream } else { Kind::Request };
    tokio::select! {
        // How it ended is told to the request that it carried.
        _ = connection.with_upgrades() => {}
        () = cutter.cut(kind) => {}
    }
    drop(open);
}

#[derive(Debug)]
pub(super) struct Pool {
    free: Mutex<Free>,
    idle_max: usize,
}

#[derive(Debug)]
struct Free {
    lines: VecDeque<Line>,
    closed: bool,
}

impl Pool {
    pub(super) fn new(idle_max: usize) -> Self {
        Self { free: Mutex::new(Free { lines: VecDeque::new(), closed: false }), idle_max }
    }

    /// Takes the newest free connection that is ready.
    pub(super) fn take(&self) -> Option<Line> {
        let lines = &mut self.lock().lines;
        let mut at = lines.len();
        while at > 0 {
            at -= 1;
            if lines[at].sender.is_closed() {
                lines.remove(at);
            } else if lines[at].sender.is_ready() {
                return lines.remove(at);
            }
        }
        None
    }

    /// Gives a connection back after its answer was read.
    pub(super) fn give(&self, mut line: Line) {
        line.streams.store(false, Relaxed);
        line.free_since = Instant::now();
        let mut free = self.lock();
        if !free.closed && free.lines.len() < self.idle_max {
            free.lines.push_back(line);
        }
    }

    /// Drops those that were free for longer than this, or were closed from the other side.
    pub(super) fn close_idle(&self, longer_than: Duration) {
        self.lock()
            .lines
            .retain(|line| line.free_since.elapsed() <= longer_than && !line.sender.is_closed());
    }

    /// Closes the free ones, and every other as soon as it is given back.
    pub(super) fn close(&self) {
        let mut free = self.lock();
        free.closed = true;
        free.lines.clear();
    }

    pub(super) fn reopen(&self) {
        self.lock().closed = false;
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        // No code that holds the lock leaves the pool half changed.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
