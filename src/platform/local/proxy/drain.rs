//! Ending an instance's work before its process ends.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::instance::{Instance, Kind};

/// Between two cuts of what is left: a connection that was just being opened is met by the next.
const CUT_PAUSE: Duration = Duration::from_millis(2);

/// After so many cuts what still counts as open is left to its own time-outs.
const CUTS_MAX: usize = 500;

/// How long an instance may finish what it has begun, from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grace {
    pub requests: Duration,
    /// For upgraded connections and event streams, which have no end of their own.
    pub streams: Duration,
}

/// What did not end within its grace and was cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    pub cut_requests: usize,
    pub cut_streams: usize,
}

impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cut_requests, cut_streams } = self;
        write!(
            f,
            "had not ended all that it had begun within its drain: {cut_requests} requests (answered \
             with 503 where no answer had begun) and {cut_streams} streams were cut"
        )
    }
}

/// Waits for what is in flight, cuts what is left, and returns when no connection is open.
pub(super) async fn drain(instance: &Arc<Instance>, grace: Grace) -> Drained {
    let now = Instant::now();
    instance.pool.close();
    let (cut_requests, cut_streams) = tokio::join!(
        end(instance, Kind::Request, now + grace.requests),
        end(instance, Kind::Stream, now + grace.streams),
    );
    // Requests that became streams after all streams had ended, beside those that are cut but
    // not gone yet.
    let late = instance.open(Kind::Stream).saturating_sub(cut_streams);
    close(instance).await;
    Drained { cut_requests, cut_streams: cut_streams + late }
}

/// Returns how many had to be cut.
async fn end(instance: &Instance, kind: Kind, due: Instant) -> usize {
    let ended = instance.until(|instance| instance.open(kind) == 0);
    if timeout_at(due, ended).await.is_ok() {
        return 0;
    }
    let left = instance.open(kind);
    instance.cut(kind);
    left
}

async fn close(instance: &Instance) {
    for _ in 0..CUTS_MAX {
        let open = [instance.open(Kind::Request), instance.open(Kind::Stream)];
        if instance.connections() == 0 && open == [0, 0] {
            return;
        }
        instance.cut(Kind::Request);
        instance.cut(Kind::Stream);
        sleep(CUT_PAUSE).await;
    }
}
