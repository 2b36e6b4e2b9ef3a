//! The only place that asks what time it is.

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};

pub trait Clock {
    fn now(&self) -> DateTime<Utc>;

    fn sleep(&self, length: Duration) -> impl Future<Output = ()> + Send;
}

/// The machine's clock. It reads the wall clock once and goes on by the monotonic one, so that a
/// clock that is set while a promotion runs neither shortens nor stretches a hold.
#[derive(Clone, Debug)]
pub struct SystemClock {
    wall: DateTime<Utc>,
    since: tokio::time::Instant,
}

impl SystemClock {
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn start() -> Self {
        Self { wall: Utc::now(), since: tokio::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        self.wall + self.since.elapsed()
    }

    fn sleep(&self, length: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(length)
    }
}

/// Returns how long this machine has been up; the time that it slept counts as well.
#[must_use]
pub fn since_boot() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let part = |part: i64| u64::try_from(part).unwrap_or_default();
    Duration::from_secs(part(now.tv_sec)) + Duration::from_nanos(part(now.tv_nsec))
}
