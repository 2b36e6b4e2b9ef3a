//! Users: requests at a steady pace from inside the cluster's network, each written down.
//!
//! Nothing is tried twice: what a user would have seen is what is counted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, timeout};

use crate::cluster::{Cluster, runtime};
use crate::namespace::WAIT_MAX;
use crate::poll;

/// From the connection to the end of the answer.
const ANSWER_MAX: Duration = Duration::from_secs(3);
const TOO_LATE: &str = "in time";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connections {
    /// One for each request.
    Fresh,
    /// One for each user, as long as it lives; a new one after a failure.
    Kept,
}

/// Who is asked for what, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    /// `HOST:PORT`.
    pub(crate) address: String,
    /// The header `host`, which routes go by.
    pub(crate) host: String,
    pub(crate) path: String,
    /// One header more.
    pub(crate) header: Option<(&'static str, &'static str)>,
    pub(crate) connections: Connections,
    pub(crate) users: u32,
    /// From one request of a user to the next.
    pub(crate) pace: Duration,
}

impl Visit {
    /// Ten users, each with ten requests a second: 100 requests/s.
    pub(crate) fn new(address: &str, host: &str, connections: Connections) -> Self {
        let (address, host) = (address.to_owned(), host.to_owned());
        let pace = Duration::from_millis(100);
        Self { address, host, path: "/".to_owned(), header: None, connections, users: 10, pace }
    }
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// When it was sent, and when the answer was whole or it failed.
    pub(crate) sent: DateTime<Utc>,
    pub(crate) done: DateTime<Utc>,
    pub(crate) answer: Result<Answer, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The release that answered: `x-version` (gate's example), or podinfo's message. Empty where neither is.
    pub(crate) version: String,
}

impl Answer {
    pub(crate) fn is_good(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl Seen {
    /// A release's name (`v1`), the status where it was no success, or what went wrong.
    pub(crate) fn outcome(&self) -> String {
        match &self.answer {
            Ok(answer) if answer.is_good() => answer.version.clone(),
            Ok(answer) => format!("{} {}", answer.status, answer.version).trim_end().to_owned(),
            Err(error) => error.clone(),
        }
    }
}

impl Seen {
    /// Nothing came back within the time that is given.
    pub(crate) fn is_silent(&self) -> bool {
        self.answer.as_ref().is_err_and(|error| error.contains(TOO_LATE))
    }
}

/// Says of each request that nothing came back for when that was, and how many others were answered meanwhile: none,
/// and the machine stood still.
pub(crate) fn silent(seen: &[Seen]) -> Vec<String> {
    let told = seen.iter().filter(|one| one.is_silent()).map(|one| {
        let meanwhile = |other: &&Seen| other.done > one.sent && other.done < one.done;
        let others = seen.iter().filter(meanwhile).filter(|other| !other.is_silent()).count();
        format!("{}: {}, {others} others were answered meanwhile", one.sent, one.outcome())
    });
    told.collect()
}

/// Counts requests by their outcome.
pub(crate) fn tally<'a>(seen: impl IntoIterator<Item = &'a Seen>) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for one in seen {
        *tally.entry(one.outcome()).or_default() += 1;
    }
    tally
}

/// Sends one request from inside the cluster's network, on a connection of its own.
pub(crate) fn once(cluster: &Cluster, visit: &Visit) -> Seen {
    cluster.run(seen(visit, None)).0
}

/// Waits until requests are answered well: a Service or a route is ready some time after its pods are.
#[track_caller]
pub(crate) fn until_answered(cluster: &Cluster, visit: &Visit) {
    let good = |seen: &Seen| seen.answer.as_ref().is_ok_and(Answer::is_good);
    poll::until("an answer", WAIT_MAX, || Some(once(cluster, visit)).filter(good));
}

/// Users that come until they are told to go.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Seen>>>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(cluster: &'static Cluster, visit: Visit) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, written) = (Arc::clone(&stop), Arc::clone(&seen));
        let thread = std::thread::spawn(move || {
            cluster.move_in();
            runtime().block_on(async {
                let mut users = tokio::task::JoinSet::new();
                for number in 0..visit.users {
                    let late = visit.pace * number / visit.users;
                    users.spawn(user(
                        visit.clone(),
                        late,
                        Arc::clone(&stopped),
                        Arc::clone(&written),
                    ));
                }
                users.join_all().await;
            });
        });
        Self { stop, seen, thread: Some(thread) }
    }

    pub(crate) fn so_far(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Ends the load when the requests in flight are answered.
    pub(crate) fn stop(mut self) -> Vec<Seen> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
        self.so_far()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

async fn user(visit: Visit, late: Duration, stop: Arc<AtomicBool>, written: Arc<Mutex<Vec<Seen>>>) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + late, visit.pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kept = None;
    loop {
        ticks.tick().await;
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let (one, connection) = seen(&visit, kept.take()).await;
        kept = connection.filter(|_| visit.connections == Connections::Kept);
        written.lock().unwrap().push(one);
    }
}

async fn seen(visit: &Visit, kept: Option<Connection>) -> (Seen, Option<Connection>) {
    let sent = Utc::now();
    let reached = Reached::default();
    let (answer, connection) = match timeout(ANSWER_MAX, request(visit, kept, &reached)).await {
        Err(_elapsed) => (Err(reached.too_late()), None),
        Ok(Err(error)) => (Err(error), None),
        Ok(Ok((answer, connection))) => (Ok(answer), Some(connection)),
    };
    (Seen { sent, done: Utc::now(), answer }, connection)
}

type Connection = SendRequest<Empty<Bytes>>;

/// How far a request came: the address that it was sent from, once it was connected.
#[derive(Default)]
struct Reached(OnceLock<SocketAddr>);

impl Reached {
    fn too_late(&self) -> String {
        match self.0.get() {
            None => format!("no connection {TOO_LATE}"),
            Some(from) => format!("no answer {TOO_LATE}, from {from}"),
        }
    }
}

/// A kept connection that the other side has announced to close is replaced, one that breaks is a failure.
async fn request(
    visit: &Visit,
    kept: Option<Connection>,
    reached: &Reached,
) -> Result<(Answer, Connection), String> {
    let mut connection = match kept {
        Some(connection) if !connection.is_closed() => connection,
        Some(_) | None => connect(&visit.address, reached).await?,
    };
    connection.ready().await.map_err(|error| say(&error))?;
    let mut request = http::Request::get(&visit.path).header("host", &visit.host);
    if let Some((name, value)) = visit.header {
        request = request.header(name, value);
    }
    let response = connection.send_request(request.body(Empty::new()).unwrap()).await;
    let (head, body) = response.map_err(|error| say(&error))?.into_parts();
    let body = body.collect().await.map_err(|error| say(&error))?.to_bytes();
    let named = head.headers.get("x-version").and_then(|version| version.to_str().ok());
    let version = named.map(str::to_owned).or_else(|| podinfo_message(&body)).unwrap_or_default();
    Ok((Answer { status: head.status.as_u16(), version }, connection))
}

async fn connect(address: &str, reached: &Reached) -> Result<Connection, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| say(&error))?;
    if let Ok(from) = stream.local_addr() {
        let _first = reached.0.set(from);
    }
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| say(&error))?;
    // It ends with its sender; what goes wrong reaches the request.
    tokio::spawn(connection);
    Ok(sender)
}

fn podinfo_message(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    Some(body["message"].as_str()?.to_owned())
}

/// An error with its causes: the innermost tells what happened.
fn say(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
