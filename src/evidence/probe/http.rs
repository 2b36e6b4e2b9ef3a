//! One GET on a connection of its own, so that a listener which no longer accepts is seen.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONNECTION, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::{Failure, Http, connect};

/// How much of a body is read, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 64 * 1024;

const AGENT: &str = concat!("gate-probe/", env!("CARGO_PKG_VERSION"));

/// Asks without a time-out; the caller has one.
pub(super) async fn ask(http: &Http, at: SocketAddr) -> Result<(), Failure> {
    let request = request(http, at)?;
    let (sender, connection) =
        http1::handshake(TokioIo::new(connect(at).await?)).await.map_err(|e| broken(&e))?;
    let exchange = exchange(http, sender, request);
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // The peer has closed. What it sent before is still there to be read; if there is nothing,
        // the connection knows better why than the request that waits for it.
        ended = connection => match (exchange.await, ended) {
            (Err(Failure::Broken { .. }), Err(why)) => Err(broken(&why)),
            (answer, _) => answer,
        },
    }
}

fn request(http: &Http, at: SocketAddr) -> Result<Request<Empty<Bytes>>, Failure> {
    let wrong = |what: &str, text: &str| Failure::CanNotAsk { what: format!("{what} {text:?}") };
    if !http.path.starts_with('/') {
        return Err(wrong("the path must begin with a slash:", &http.path));
    }
    let mut request = Request::get(&http.path)
        .header(USER_AGENT, AGENT)
        .header(CONNECTION, "close")
        .body(Empty::new())
        .map_err(|_| wrong("not a path:", &http.path))?;
    for (name, value) in &http.headers {
        let name = name.parse::<HeaderName>().map_err(|_| wrong("not a header name:", name))?;
        let value =
            value.parse::<HeaderValue>().map_err(|_| wrong("not a header value:", value))?;
        request.headers_mut().insert(name, value);
    }
    if !request.headers().contains_key(HOST) {
        let host = at.to_string().parse::<HeaderValue>();
        request.headers_mut().insert(HOST, host.map_err(|_| wrong("not a host:", ""))?);
    }
    Ok(request)
}

async fn exchange(
    http: &Http,
    mut sender: SendRequest<Empty<Bytes>>,
    request: Request<Empty<Bytes>>,
) -> Result<(), Failure> {
    let response = sender.send_request(request).await.map_err(|e| broken(&e))?;
    let code = response.status().as_u16();
    if !http.expect_status.contains(&code) {
        return Err(Failure::Status { code, expected: http.expect_status.clone() });
    }
    match &http.body_match {
        None => Ok(()),
        Some(wanted) => body_holds(response, wanted).await,
    }
}

async fn body_holds(response: Response<Incoming>, wanted: &str) -> Result<(), Failure> {
    let mut body = Limited::new(response.into_body(), BODY_BYTES_MAX);
    let mut text = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            Err(error) if error.is::<LengthLimitError>() => break,
            Err(error) => return Err(Failure::Broken { what: error.to_string() }),
        }
    }
    let holds = String::from_utf8_lossy(&text).contains(wanted);
    if holds { Ok(()) } else { Err(Failure::Body { wanted: wanted.to_owned() }) }
}

fn broken(error: &hyper::Error) -> Failure {
    Failure::Broken { what: error.to_string() }
}
