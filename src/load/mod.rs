//! Bounded load on an application of this machine: `gate load`, `gate promote --load`, the demo.
//!
//! An open loop: request `k` is due at `k / rps` after the start, whatever became of those before it,
//! and its latency counts from when it was due. So a server that stalls is seen to stall; a generator
//! that waits for answers would send less just then and report that all is well (coordinated
//! omission). Times are good to the runtime's timer, a millisecond.
//!
//! It can do no harm: loopback only, and rate, length, connections and time-outs have limits. It ends
//! by itself, and at once when its handle is dropped.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::Uri;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

mod connections;
mod latency;
mod report;

pub use latency::Latencies;
pub use report::{Failed, LatencyReport, LoadReport, VersionReport};

use connections::Connections;
use report::Tally;

/// Requests per second.
pub const RPS_MAX: f64 = 20_000.0;
pub const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);
/// Requests in flight, each on a connection of its own.
pub const CONNECTIONS_MAX: usize = 4096;
/// Enough for 100 requests a second of which a quarter hangs until the time-out.
pub const CONNECTIONS_DEFAULT: usize = 256;
/// From the moment at which a request is due to the end of its answer.
pub const REQUEST_MAX: Duration = Duration::from_secs(10);

/// The arguments of `gate load`.
#[derive(Clone, Debug, clap::Args)]
pub struct LoadArgs {
    /// http://127.0.0.1:PORT/PATH
    pub url: String,

    /// Requests per second
    #[arg(long, value_name = "N")]
    pub rps: f64,

    /// How long, such as 30s
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub duration: Duration,

    /// Connections at most; a request that finds none free is not sent, and counted
    #[arg(long, value_name = "N", default_value_t = CONNECTIONS_DEFAULT)]
    pub connections: usize,
}

/// Why there is no load.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    #[error("{url:?} is no http URL; write http://127.0.0.1:PORT/PATH")]
    Url { url: String },
    #[error("{host} is not this machine: load goes to 127.0.0.1, [::1] or localhost only")]
    NotLoopback { host: String },
    #[error("{what} must lie between {least} and {most}")]
    OutOfRange { what: &'static str, least: &'static str, most: &'static str },
}

/// What to send where, within the limits.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    url: Uri,
    address: SocketAddr,
    rps: f64,
    duration: Duration,
    connections: usize,
}

impl Load {
    /// # Errors
    /// The URL is none, or not of this machine; a figure is out of its range.
    pub fn new(
        url: &str,
        rps: f64,
        duration: Duration,
        connections: usize,
    ) -> Result<Self, LoadError> {
        let out_of = |what, least, most| Err(LoadError::OutOfRange { what, least, most });
        if !(rps > 0.0 && rps <= RPS_MAX) {
            return out_of("the rate", "more than 0", "20000 requests a second");
        }
        if duration.is_zero() || duration > DURATION_MAX {
            return out_of("the duration", "more than 0 s", "24 h");
        }
        if !(1..=CONNECTIONS_MAX).contains(&connections) {
            return out_of("the number of connections", "1", "4096");
        }
        let (url, address) = loopback(url)?;
        Ok(Self { url, address, rps, duration, connections })
    }

    /// Returns how many requests are due in all.
    #[must_use]
    pub fn requests(&self) -> u64 {
        (self.duration.as_secs_f64() * self.rps).round().max(1.0) as u64
    }

    /// Returns when a request is due, counted from the start.
    #[must_use]
    pub fn due(&self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / self.rps)
    }

    /// Begins. Needs a tokio runtime with I/O and time.
    #[must_use]
    pub fn start(self) -> Running {
        let tally = Arc::new(Mutex::new(Tally::new(&self)));
        let task = tokio::spawn(drive(self, Arc::clone(&tally)));
        Running { tally, task }
    }
}

/// Load that is being made. Dropping it ends the load.
#[derive(Debug)]
pub struct Running {
    tally: Arc<Mutex<Tally>>,
    task: JoinHandle<()>,
}

impl Running {
    /// Returns what has happened up to now.
    #[must_use]
    pub fn report(&self) -> LoadReport {
        locked(&self.tally).report()
    }

    /// Waits for the end: of the duration, and then of the answers.
    pub async fn finish(mut self) -> LoadReport {
        // It ends by itself; an error could only be a panic, and what was counted still holds.
        let _ = (&mut self.task).await;
        self.report()
    }

    /// Ends the load now. Requests in flight are cut off and stay `in_flight` in the report.
    #[must_use]
    pub fn stop(self) -> LoadReport {
        self.task.abort();
        self.report()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Makes the load of `gate load`: until its end, or until the user ends it.
///
/// # Errors
/// See [`LoadError`].
pub async fn run(args: &LoadArgs) -> Result<LoadReport, LoadError> {
    let load = Load::new(&args.url, args.rps, args.duration, args.connections)?;
    let mut running = load.start();
    tokio::select! {
        _ = &mut running.task => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(running.stop())
}

fn loopback(url: &str) -> Result<(Uri, SocketAddr), LoadError> {
    let wrong = || LoadError::Url { url: url.to_owned() };
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    if uri.scheme_str() != Some("http") {
        return Err(wrong());
    }
    let host = uri.host().ok_or_else(wrong)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    // Names are not looked up: an answer could be any machine.
    let ip = if bare.eq_ignore_ascii_case("localhost") {
        Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
    } else {
        bare.parse().ok().filter(IpAddr::is_loopback)
    };
    let ip = ip.ok_or_else(|| LoadError::NotLoopback { host: host.to_owned() })?;
    let address = SocketAddr::new(ip, uri.port_u16().unwrap_or(80));
    Ok((uri, address))
}

async fn drive(load: Load, tally: Arc<Mutex<Tally>>) {
    let begin = Instant::now();
    let connections = Arc::new(Connections::to(load.address, &load.url));
    let mut in_flight = JoinSet::new();
    for number in 0..load.requests() {
        let due = begin + load.due(number);
        sleep_until(due).await;
        while in_flight.try_join_next().is_some() {}
        if in_flight.len() >= load.connections {
            locked(&tally).not_sent();
        } else {
            locked(&tally).sent();
            in_flight.spawn(request(due, Arc::clone(&connections), Arc::clone(&tally)));
        }
    }
    // Each has its own time-out; this one is for a runtime that is far behind.
    let _ = timeout(REQUEST_MAX * 2, in_flight.join_all()).await;
}

async fn request(due: Instant, connections: Arc<Connections>, tally: Arc<Mutex<Tally>>) {
    let answer = timeout_at(due + REQUEST_MAX, connections.exchange()).await;
    match answer {
        Ok(Ok((answer, connection))) => {
            locked(&tally).answered(&answer, due.elapsed());
            connections.give_back(connection).await;
        }
        Ok(Err(failure)) => locked(&tally).failed(failure),
        Err(_elapsed) => locked(&tally).failed(connections::Failure::TimedOut),
    }
}

/// Counters are whole after every change, so a panic elsewhere leaves nothing half-done.
fn locked(tally: &Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
