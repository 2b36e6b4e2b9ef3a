//! The reverse proxy in front of the revisions: it splits traffic by share and counts per instance.
//!
//! The host owns a [`Proxy`] and tells it [`Routes`]; users connect to its listener. What it
//! promises:
//!
//! * The share is exact (`assign`), and a change of it is one write ([`Proxy::set_share`]) that
//!   the next assigned request obeys.
//! * A request is never sent twice once a byte of it has left (`forward`), and nothing is ever sent
//!   to nothing while one revision can serve (`route`).
//! * Bodies are streamed both ways, piece by piece, and upgraded connections are passed through
//!   (`body`, `tunnel`). Nothing is queued: a slow reader slows its writer down.
//! * Everything has a limit (`limits`), and whatever fails is counted as an error of the revision that
//!   caused it, of no other, and never as one if the client gave up (`tally`).
//!
//! It speaks HTTP/1.1 on both sides, by hyper. Why hyper: `docs/proxy.md`.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::analysis::Counters;
use crate::share::Share;

mod limits;
mod route;

mod assign;
mod sticky;

mod serve;

mod answer;
mod body;
mod forward;
mod headers;
mod stall;
mod tunnel;

mod drain;
mod instance;
mod line;
mod tally;

mod admin;
mod metrics;

#[cfg(test)]
mod tests;

pub use admin::Admin;
pub use assign::Salt;
pub use drain::{Drained, Grace};
pub use limits::{CLIENTS_MAX, Config, HEADER_BYTES_MAX, HEADER_LINES_MAX, Limits, POOL_IDLE_MAX};
pub use metrics::CONTENT_TYPE;
pub use route::{Assigned, Backend, Routes};
pub use sticky::Sticky;

use instance::Kind;
use route::Router;
use serve::Stage;

/// How long connections that were told to end now are waited for.
const CUT_WAIT: Duration = Duration::from_secs(1);

/// A running proxy. Dropping it cuts every connection; [`Proxy::shutdown`] ends it in good order.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    addr: SocketAddr,
    accept: JoinHandle<()>,
}

/// What the tasks of all connections share.
#[derive(Debug)]
struct Shared {
    router: Router,
    limits: Limits,
    stage: watch::Sender<Stage>,
    /// Free places for clients.
    places: Arc<Semaphore>,
    held: AtomicU64,
    accept_errors: AtomicU64,
    unserved: AtomicU64,
}

impl Proxy {
    /// Serves on a bound listener, in tasks of the present runtime. Until routes are set, every
    /// request is answered with 503.
    ///
    /// # Errors
    ///
    /// The listener can't be used by the runtime.
    pub fn start(listener: TcpListener, config: Config) -> io::Result<Self> {
        let (addr, listener) = listening(listener)?;
        let bounds = config.bounds_ms.iter().map(|bound| from_ms(*bound)).collect();
        let shared = Arc::new(Shared {
            router: Router::new(bounds, config.salt, config.limits.pool_idle_max),
            stage: watch::Sender::new(Stage::Serving),
            places: Arc::new(Semaphore::new(config.limits.clients_max)),
            held: AtomicU64::new(0),
            accept_errors: AtomicU64::new(0),
            unserved: AtomicU64::new(0),
            limits: config.limits,
        });
        let accept = tokio::spawn(serve::accept(Arc::clone(&shared), listener));
        tokio::spawn(close_idle(Arc::downgrade(&shared)));
        Ok(Self { shared, addr, accept })
    }

    /// Where users connect.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Replaces all routes at once. Requests under way stay where they are.
    pub fn set_routes(&self, routes: Routes) {
        self.shared.router.set_routes(routes);
    }

    /// Changes the candidate's share: one write. Every request that is assigned after it obeys.
    pub fn set_share(&self, share: Share) {
        self.shared.router.set_share(share);
    }

    /// Returns the share as it was asked for.
    #[must_use]
    pub fn share(&self) -> Share {
        self.shared.router.share()
    }

    /// Returns how many requests each arm was assigned; the difference of two is the share seen.
    #[must_use]
    pub fn assigned(&self) -> Assigned {
        self.shared.router.assigned()
    }

    /// Returns when the last request was assigned to the candidate.
    #[must_use]
    pub fn last_to_candidate(&self) -> Option<Instant> {
        self.shared.router.last_candidate()
    }

    /// Returns every instance's counters, also of those that have no route any more, until
    /// [`Proxy::forget`].
    #[must_use]
    pub fn counters(&self) -> BTreeMap<String, Counters> {
        let instances = self.shared.router.instances();
        instances.iter().map(|one| (one.name.clone(), one.tally().counters())).collect()
    }

    /// Returns the bounds that latencies are counted by, rising.
    #[must_use]
    pub fn bounds(&self) -> Vec<Duration> {
        self.shared.router.bounds().to_vec()
    }

    /// Counts latencies by these bounds (milliseconds, rising) from now on. If they differ from the
    /// present ones, every instance's counters begin anew at 0.
    pub fn set_bounds(&self, bounds_ms: &[f64]) {
        self.shared.router.set_bounds(bounds_ms.iter().map(|bound| from_ms(*bound)).collect());
    }

    /// Drops an instance's counters. It does nothing while the instance has a route, and returns
    /// whether there was something to drop.
    #[expect(clippy::must_use_candidate, reason = "it is called for what it does")]
    pub fn forget(&self, instance: &str) -> bool {
        self.shared.router.forget(instance)
    }

    /// Returns the instance's requests, upgraded connections and streams that have not ended.
    #[must_use]
    pub fn in_flight(&self, instance: &str) -> usize {
        let instance = self.shared.router.instance(instance);
        instance.map_or(0, |one| one.open(Kind::Request) + one.open(Kind::Stream))
    }

    /// Returns how many connections to the instance are open, also unused ones.
    #[must_use]
    pub fn connections(&self, instance: &str) -> usize {
        self.shared.router.instance(instance).map_or(0, |one| one.connections())
    }

    /// Ends an instance's work: waits for what it has begun, as long as the grace says, cuts what is
    /// left, closes all connections to it. Its route has to be taken away before.
    pub async fn drain(&self, instance: &str, grace: Grace) -> Drained {
        match self.shared.router.instance(instance) {
            Some(instance) => drain::drain(&instance, grace).await,
            None => Drained::default(),
        }
    }

    /// Returns the metrics as text of the media type [`CONTENT_TYPE`].
    ///
    /// # Errors
    ///
    /// Only if a metric can't be written as text.
    pub fn metrics(&self) -> Result<String, std::fmt::Error> {
        metrics::render(&self.shared)
    }

    /// Stops accepting, lets every connection end with the request that it carries, and cuts what
    /// is left at the deadline. Returns how many connections were cut.
    pub async fn shutdown(&self, deadline: Duration) -> usize {
        self.shared.stage.send_replace(Stage::Closing);
        if self.shared.is_empty_within(deadline).await {
            return 0;
        }
        let left = self.shared.clients();
        self.shared.stage.send_replace(Stage::Cut);
        self.shared.is_empty_within(CUT_WAIT).await;
        left
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accept.abort();
        self.shared.stage.send_replace(Stage::Cut);
    }
}

impl Shared {
    /// Client connections that are open.
    fn clients(&self) -> usize {
        self.limits.clients_max.saturating_sub(self.places.available_permits())
    }

    async fn is_empty_within(&self, limit: Duration) -> bool {
        let places = u32::try_from(self.limits.clients_max).unwrap_or(u32::MAX);
        // A place that can't be had belongs to a connection that is still open.
        timeout(limit, self.places.acquire_many(places)).await.is_ok()
    }

    fn is_serving(&self) -> bool {
        *self.stage.borrow() == Stage::Serving
    }
}

fn listening(listener: TcpListener) -> io::Result<(SocketAddr, tokio::net::TcpListener)> {
    listener.set_nonblocking(true)?;
    Ok((listener.local_addr()?, tokio::net::TcpListener::from_std(listener)?))
}

fn from_ms(bound: f64) -> Duration {
    // A bound that is no length of time is one that nothing exceeds.
    Duration::try_from_secs_f64(bound / 1000.0).unwrap_or(Duration::MAX)
}

/// Closes connections to instances that were unused for too long, as long as the proxy lives.
async fn close_idle(shared: Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        let idle = shared.limits.pool_idle;
        shared.router.instances().iter().for_each(|one| one.pool.close_idle(idle));
        drop(shared);
        sleep(idle / 2).await;
    }
}
