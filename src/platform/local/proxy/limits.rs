//! Every limit of the proxy, with its unit and the reason for its default.

use std::time::Duration;

use super::assign::Salt;

/// Client connections at once; the next one waits in the kernel's backlog and is counted as held.
pub const CLIENTS_MAX: usize = 10_000;

/// Bytes of a request's or response's head; more is answered with 431 or taken for a broken answer.
/// nginx takes 4 × 8 KiB.
pub const HEADER_BYTES_MAX: usize = 32 * 1024;

/// Header lines of a head.
pub const HEADER_LINES_MAX: usize = 128;

/// Idle connections kept to one instance.
pub const POOL_IDLE_MAX: usize = 128;

/// What the proxy tolerates. The defaults are meant for an application on the same host.
#[derive(Clone, Debug)]
pub struct Limits {
    pub clients_max: usize,
    pub header_bytes_max: usize,
    /// From a client's connection, or the end of its last request, to the end of the next head:
    /// it ends idle connections and those that dribble their headers (60 s, as nginx).
    pub client_idle: Duration,
    /// Without a byte of a body moving between client and proxy (60 s, as nginx).
    pub client_stall: Duration,
    /// To open a connection to an instance (2 s: it is on this host). Then stable takes the request;
    /// where there is nobody else it is tried again within `response_head`.
    pub connect: Duration,
    /// From the request, or the last byte of its body, to the response's head (60 s, as nginx).
    pub response_head: Duration,
    /// Between two pieces of a response's body (5 min: server-sent events may be quiet for long).
    pub response_stall: Duration,
    /// Without a byte in either direction of an upgraded connection (1 h).
    pub upgrade_idle: Duration,
    /// An unused connection to an instance. 4 s: below the 5 s after which Node.js and uvicorn
    /// close theirs, so that a request rarely meets a connection that is just being closed.
    pub pool_idle: Duration,
    pub pool_idle_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients_max: CLIENTS_MAX,
            header_bytes_max: HEADER_BYTES_MAX,
            client_idle: Duration::from_secs(60),
            client_stall: Duration::from_secs(60),
            connect: Duration::from_secs(2),
            response_head: Duration::from_secs(60),
            response_stall: Duration::from_secs(300),
            upgrade_idle: Duration::from_secs(3600),
            pool_idle: Duration::from_secs(4),
            pool_idle_max: POOL_IDLE_MAX,
        }
    }
}

/// What a proxy is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Upper bounds of the latency classes in milliseconds, rising; see
    /// [`bounds_ms`](crate::plan::bounds_ms).
    pub bounds_ms: Vec<f64>,
    pub salt: Salt,
    pub limits: Limits,
}
