//! Connections that are kept alive between requests.

use std::error::Error;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::report::VERSION_LENGTH_MAX;

const AGENT: &str = concat!("gate-load/", env!("CARGO_PKG_VERSION"));

pub(super) type Connection = SendRequest<Empty<Bytes>>;

/// What came back, its body read to the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Of the header `x-version`.
    pub(super) version: Option<String>,
}

/// Why nothing came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Refused,
    /// The connection ended before the answer did.
    Reset,
    TimedOut,
    Other,
}

pub(super) struct Connections {
    address: SocketAddr,
    path: Uri,
    host: HeaderValue,
    /// The last one given back is taken first, so that those which are too many grow old and close.
    idle: Mutex<Vec<Connection>>,
}

impl Connections {
    pub(super) fn to(address: SocketAddr, url: &Uri) -> Self {
        let path = url.path_and_query().cloned().map_or_else(Uri::default, Uri::from);
        let authority = url.authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok());
        let host = authority.unwrap_or(HeaderValue::from_static("localhost"));
        Self { address, path, host, idle: Mutex::default() }
    }

    /// Sends one request and reads the answer.
    pub(super) async fn exchange(&self) -> Result<(Answer, Connection), Failure> {
        loop {
            let (mut connection, reused) = match self.take_idle() {
                Some(idle) => (idle, true),
                None => (self.open().await?, false),
            };
            match connection.try_send_request(self.request()).await {
                Ok(response) => {
                    let answer = read(response).await?;
                    return Ok((answer, connection));
                }
                // The peer had closed the idle connection and the request never left: that says
                // nothing of the peer, and every client would send it on another connection.
                Err(error) if reused && error.message().is_some() => {}
                Err(error) => return Err(kind(&error.into_error())),
            }
        }
    }

    /// Keeps a connection for another request, when it can take one.
    pub(super) async fn give_back(&self, mut connection: Connection) {
        if connection.ready().await.is_ok() {
            self.idle().push(connection);
        }
    }

    fn take_idle(&self) -> Option<Connection> {
        self.idle().pop()
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(self.address).await.map_err(|e| kind_of_io(e.kind()))?;
        // Only slower, if it fails.
        let _ = stream.set_nodelay(true);
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| kind(&e))?;
        // It ends when the sender is dropped; what goes wrong is told to the request.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    fn request(&self) -> Request<Empty<Bytes>> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = self.path.clone();
        request.headers_mut().insert(HOST, self.host.clone());
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        request
    }
}

async fn read(response: hyper::Response<hyper::body::Incoming>) -> Result<Answer, Failure> {
    let status = response.status();
    let version = response.headers().get("x-version").and_then(|value| value.to_str().ok());
    let version = version.map(|text| text.chars().take(VERSION_LENGTH_MAX).collect());
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame.map_err(|error| kind(&error))?;
    }
    Ok(Answer { status, version })
}

fn kind(error: &hyper::Error) -> Failure {
    let io = error.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    match io {
        Some(io) => kind_of_io(io.kind()),
        None if error.is_incomplete_message() || error.is_canceled() || error.is_closed() => {
            Failure::Reset
        }
        None => Failure::Other,
    }
}

const fn kind_of_io(kind: ErrorKind) -> Failure {
    match kind {
        ErrorKind::ConnectionRefused => Failure::Refused,
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof
        | ErrorKind::NotConnected => Failure::Reset,
        ErrorKind::TimedOut => Failure::TimedOut,
        _other => Failure::Other,
    }
}
