//! One request on its way: refuse or choose, send, answer.
//!
//! A request is sent a second time only if not a byte of the first attempt left: the connection
//! could not be opened, or it turned out to be closed before the request was written. hyper hands
//! such a request back, and one that was begun it does not. Where the candidate can't be reached
//! the request goes to stable; the candidate's failure is counted all the same, so that such a
//! request counts once for each of the two.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use http::header::{
    CONTENT_TYPE, EXPECT, HOST, HeaderValue, SET_COOKIE, TRANSFER_ENCODING, UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::answer;
use super::body::{Answer, Progress, Relay, Upload};
use super::headers;
use super::instance::{Exchange, Instance};
use super::limits::Limits;
use super::line::{Line, Unanswered};
use super::serve::Client;
use super::tally::Failure;
use super::tunnel;

/// Attempts to send a request to one instance.
const ATTEMPTS_MAX: usize = 2;

/// Serves one request. It never fails: what goes wrong becomes an answer.
pub(super) async fn forward(
    shared: Arc<Shared>,
    client: Arc<Client>,
    mut request: Request<Incoming>,
) -> Response<Answer> {
    let arrived = Instant::now();
    if let Some(refusal) = refusal(&request) {
        return refusal;
    }
    let Some(choice) = shared.router.choose(request.headers(), arrived) else {
        shared.unserved.fetch_add(1, Relaxed);
        return answer::nobody_serves();
    };
    let upgrade = headers::upgrade(request.headers())
        .filter(|_| request.version() == Version::HTTP_11)
        .map(|protocol| (protocol, hyper::upgrade::on(&mut request)));
    let (protocol, upgraded) = upgrade.unzip();
    let outgoing = outgoing(request, client.peer, protocol, choice.exchange.instance().addr);
    let delivered = deliver(&shared, choice.exchange, outgoing, arrived).await;
    let mut response = match delivered {
        Ok(delivered) => match upgraded {
            Some(upgraded) if delivered.response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                tunnel::start(&shared, client, upgraded, delivered)
            }
            Some(_) | None => relay(delivered, &shared.limits),
        },
        Err(Refusal(status, words)) => answer::text(status, words),
    };
    if let Some(cookie) = choice.set_cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

/// An answer's head, and what carries the rest.
pub(super) struct Delivered {
    pub(super) response: Response<Incoming>,
    pub(super) line: Line,
    pub(super) exchange: Exchange,
}

/// Refuses what no application behind a proxy can answer.
fn refusal(request: &Request<Incoming>) -> Option<Response<Answer>> {
    if request.method() == Method::CONNECT {
        return Some(answer::text(StatusCode::METHOD_NOT_ALLOWED, answer::CONNECT));
    }
    let hosts = request.headers().get_all(HOST).iter().count();
    let has_host = hosts == 1 || request.version() == Version::HTTP_10 || has_authority(request);
    // RFC 9112 § 3.2: a request with no Host or several must be answered with 400.
    (hosts > 1 || !has_host).then(|| answer::text(StatusCode::BAD_REQUEST, answer::HOST))
}

fn has_authority(request: &Request<Incoming>) -> bool {
    request.uri().authority().is_some()
}

/// Makes the client's request the one that the instance gets.
fn outgoing(
    request: Request<Incoming>,
    peer: SocketAddr,
    protocol: Option<HeaderValue>,
    addr: SocketAddr,
) -> Request<Upload> {
    let (mut head, body) = request.into_parts();
    let trailers = headers::takes_trailers(&head.headers);
    headers::remove_hop_by_hop(&mut head.headers);
    // The proxy says `100 Continue` itself, when the instance's connection takes the body.
    head.headers.remove(EXPECT);
    if let Some(host) = head.uri.authority().and_then(|host| host.as_str().parse().ok()) {
        // RFC 9112 § 3.2.2: the host of an absolute target counts.
        head.headers.insert(HOST, host);
    } else if let Ok(addr) = HeaderValue::try_from(addr.to_string()) {
        // HTTP/1.0 needs no host, HTTP/1.1 does.
        head.headers.entry(HOST).or_insert(addr);
    }
    head.uri = origin_form(head.uri);
    head.version = Version::HTTP_11;
    headers::set_forwarded(&mut head.headers, peer);
    if body.size_hint().exact().is_none() {
        // Without it hyper would send a GET without its body.
        head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if trailers {
        headers::set_takes_trailers(&mut head.headers);
    }
    if let Some(protocol) = protocol {
        headers::set_upgrade(&mut head.headers, protocol);
    }
    Request::from_parts(head, Upload::new(body))
}

fn origin_form(uri: Uri) -> Uri {
    if uri.authority().is_none() {
        return uri;
    }
    uri.into_parts().path_and_query.map_or_else(|| Uri::from_static("/"), Uri::from)
}

/// Brings the request to the chosen instance, or to stable if that can't be reached.
///
/// On one host a connection that nobody refuses and nobody takes waits before an application that
/// is too busy to accept. A request for which there is nobody else waits there as long as one that
/// has been sent waits for its answer.
async fn deliver(
    shared: &Shared,
    mut exchange: Exchange,
    request: Request<Upload>,
    arrived: Instant,
) -> Result<Delivered, Refusal> {
    let mut reached = attempt(exchange.instance(), request, &shared.limits).await;
    while let Err(Missed::Unreachable(request, why)) = reached {
        let other = shared.router.instead_of(&exchange, arrived);
        let waits = why == Unreached::TimedOut
            && arrived.elapsed() < shared.limits.response_head
            && !exchange.is_cut();
        match other {
            Some(stable) => {
                match why {
                    Unreached::NoMeans => exchange.excused(StatusCode::SERVICE_UNAVAILABLE),
                    Unreached::Refused | Unreached::TimedOut | Unreached::Other => {
                        exchange.unanswered(StatusCode::BAD_GATEWAY, Failure::Connect);
                    }
                }
                exchange = stable;
            }
            None if waits => {}
            None => {
                reached = Err(Missed::Unreachable(request, why));
                break;
            }
        }
        reached = attempt(exchange.instance(), *request, &shared.limits).await;
    }
    conclude(exchange, reached)
}

/// What the client is told instead of an answer.
struct Refusal(StatusCode, answer::Words);

fn conclude(
    mut exchange: Exchange,
    reached: Result<(Response<Incoming>, Line), Missed>,
) -> Result<Delivered, Refusal> {
    let missed = match reached {
        Ok((response, line)) => {
            exchange.answered(response.status());
            return Ok(Delivered { response, line, exchange });
        }
        Err(missed) => missed,
    };
    let (status, failure, words) = match missed {
        Missed::ClientStalled => (StatusCode::REQUEST_TIMEOUT, None, answer::STALLED),
        Missed::ClientBroke => (StatusCode::BAD_REQUEST, None, answer::INCOMPLETE),
        Missed::Unreachable(..) | Missed::Broken | Missed::Late if exchange.is_cut() => {
            (StatusCode::SERVICE_UNAVAILABLE, None, answer::CUT)
        }
        Missed::Unreachable(_, Unreached::NoMeans) => {
            (StatusCode::SERVICE_UNAVAILABLE, None, answer::NO_MEANS)
        }
        Missed::Unreachable(_, why) => {
            (StatusCode::BAD_GATEWAY, Some(Failure::Connect), why.words())
        }
        Missed::Broken => (StatusCode::BAD_GATEWAY, Some(Failure::Broken), answer::BROKEN),
        Missed::Late => (StatusCode::GATEWAY_TIMEOUT, Some(Failure::Timeout), answer::LATE),
    };
    match failure {
        Some(failure) => exchange.unanswered(status, failure),
        None => exchange.excused(status),
    }
    Err(Refusal(status, words))
}

/// Why no connection would take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unreached {
    Refused,
    TimedOut,
    /// The proxy itself has no descriptor, port or memory left: that is no revision's fault.
    NoMeans,
    Other,
}

impl Unreached {
    fn of(error: &io::Error) -> Self {
        use rustix::io::Errno;
        match (error.kind(), Errno::from_io_error(error)) {
            (io::ErrorKind::ConnectionRefused, _) => Self::Refused,
            (io::ErrorKind::TimedOut, _) => Self::TimedOut,
            (
                _,
                Some(
                    Errno::MFILE
                    | Errno::NFILE
                    | Errno::ADDRNOTAVAIL
                    | Errno::NOBUFS
                    | Errno::NOMEM,
                ),
            ) => Self::NoMeans,
            _other => Self::Other,
        }
    }

    const fn words(self) -> answer::Words {
        match self {
            Self::Refused => answer::REFUSED,
            Self::TimedOut => answer::NO_CONNECTION,
            Self::NoMeans => answer::NO_MEANS,
            Self::Other => answer::UNREACHABLE,
        }
    }
}

/// Why there is no answer.
enum Missed {
    /// No byte was sent, and why no connection would take it.
    Unreachable(Box<Request<Upload>>, Unreached),
    Broken,
    Late,
    ClientStalled,
    ClientBroke,
}

async fn attempt(
    instance: &Arc<Instance>,
    request: Request<Upload>,
    limits: &Limits,
) -> Result<(Response<Incoming>, Line), Missed> {
    let progress = request.body().progress();
    let mut unsent = Box::new(request);
    // A connection that closes while a request is handed to it says no more than that.
    let mut why = Unreached::Other;
    for attempt in 0..ATTEMPTS_MAX {
        // A second attempt takes a fresh connection: the other free ones may be closed as well.
        let pooled = (attempt == 0).then(|| instance.pool.take()).flatten();
        let line = match pooled {
            Some(line) => Ok(line),
            None => Line::open(instance, limits).await,
        };
        let mut line = match line {
            Ok(line) => line,
            Err(error) => {
                why = Unreached::of(&error);
                continue;
            }
        };
        match answer_head(&mut line, *unsent, progress.as_deref(), limits).await? {
            Ok(response) => return Ok((response, line)),
            Err(returned) => unsent = returned,
        }
    }
    Err(Missed::Unreachable(unsent, why))
}

/// Sends the request and waits for the answer's head; a request that was not sent comes back.
async fn answer_head(
    line: &mut Line,
    request: Request<Upload>,
    progress: Option<&Progress>,
    limits: &Limits,
) -> Result<Result<Response<Incoming>, Box<Request<Upload>>>, Missed> {
    let upgrades = request.headers().contains_key(UPGRADE);
    let mut due = Instant::now() + limits.response_head;
    let mut sending = std::pin::pin!(line.send(request));
    loop {
        tokio::select! {
            sent = &mut sending => return match sent {
                // Nobody asked for another protocol, so what follows could not be read.
                Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS && !upgrades => {
                    Err(Missed::Broken)
                }
                Ok(response) => Ok(Ok(response)),
                Err(Unanswered::Unsent(request)) => Ok(Err(request)),
                Err(Unanswered::Broken) if progress.is_some_and(Progress::is_at_client) => {
                    Err(Missed::ClientBroke)
                }
                Err(Unanswered::Broken) => Err(Missed::Broken),
            },
            () = sleep_until(due) => {
                let moved = progress.map_or(due, |progress| progress.moved() + limits.response_head);
                if progress.is_none() || moved <= due {
                    let at_client = progress.is_some_and(Progress::is_at_client);
                    return Err(if at_client { Missed::ClientStalled } else { Missed::Late });
                }
                due = moved;
            }
        }
    }
}

fn relay(delivered: Delivered, limits: &Limits) -> Response<Answer> {
    let Delivered { response, line, mut exchange } = delivered;
    let (mut head, body) = response.into_parts();
    headers::remove_hop_by_hop(&mut head.headers);
    head.version = Version::HTTP_11;
    if is_event_stream(head.headers.get(CONTENT_TYPE)) {
        exchange.becomes_stream();
        line.carries_stream();
    }
    let relay = Relay::new(body, exchange, line, limits.response_stall);
    Response::from_parts(head, Answer::Relayed(Box::new(relay)))
}

fn is_event_stream(content_type: Option<&HeaderValue>) -> bool {
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"))
}
