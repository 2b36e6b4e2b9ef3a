//! The operators' side: `/metrics` and `/healthz` on a listener of their own.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::metrics;
use super::{Proxy, Shared, listening};

/// Operators' connections at once; more wait.
const CONNECTIONS_MAX: usize = 32;

/// A connection ends after this long, whatever it does: a scrape takes milliseconds.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);

/// After an error of `accept`.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The admin listener. Dropping it ends it.
#[derive(Debug)]
pub struct Admin {
    addr: SocketAddr,
    accept: JoinHandle<()>,
}

impl Admin {
    /// Serves what is to be known of the proxy.
    ///
    /// # Errors
    ///
    /// The listener can't be used by the runtime.
    pub fn start(listener: TcpListener, proxy: &Proxy) -> io::Result<Self> {
        let (addr, listener) = listening(listener)?;
        let accept = tokio::spawn(accept(listener, Arc::clone(&proxy.shared)));
        Ok(Self { addr, accept })
    }

    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

async fn accept(listener: tokio::net::TcpListener, shared: Arc<Shared>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(&request, &shared);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            // Errors are the operator's connection's, and too late is an end like any other.
            let _ = timeout(CONNECTION_LIFE, connection).await;
            drop(place);
        });
    }
}

fn answer(request: &Request<Incoming>, shared: &Arc<Shared>) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".into());
    }
    match request.uri().path() {
        "/healthz" if shared.is_serving() => text(StatusCode::OK, "ok\n".into()),
        "/healthz" => text(StatusCode::SERVICE_UNAVAILABLE, "closing\n".into()),
        "/metrics" => metrics::render(shared).map_or_else(
            |_| text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics can't be written\n".into()),
            |metrics| {
                let mut response = text(StatusCode::OK, metrics);
                let media_type = HeaderValue::from_static(metrics::CONTENT_TYPE);
                response.headers_mut().insert(CONTENT_TYPE, media_type);
                response
            },
        ),
        _ => text(StatusCode::NOT_FOUND, "there is /metrics and /healthz\n".into()),
    }
}

fn text(status: StatusCode, words: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(words)));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}
