//! What the tests share: small applications, a proxy before them, and a client that sees bytes.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::super::{Backend, Config, Limits, Proxy, Routes, Salt};
use crate::share::Share;

/// No test waits longer than this for something that must come.
pub(super) const SOON: Duration = Duration::from_secs(20);

pub(super) type AnyBody = BoxBody<Bytes, Infallible>;

pub(super) fn text(words: impl Into<Bytes>) -> AnyBody {
    Full::new(words.into()).boxed()
}

fn loopback() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

/// Starts an application that answers each request by this function.
pub(super) fn app<F, R>(answer: F) -> SocketAddr
where
    F: Fn(Request<Incoming>) -> R + Send + Sync + 'static,
    R: Future<Output = Response<AnyBody>> + Send,
{
    let listener = loopback();
    let addr = listener.local_addr().unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let answered = answer(request);
                    async move { Ok::<_, Infallible>(answered.await) }
                });
                let connection =
                    server::Builder::new().serve_connection(TokioIo::new(stream), service);
                let _ = connection.with_upgrades().await;
            });
        }
    });
    addr
}

/// Starts an application that says its own name.
pub(super) fn named(name: &'static str) -> SocketAddr {
    app(move |_| async move { Response::new(text(name)) })
}

/// Starts an application that does with each connection what it likes.
pub(super) fn raw<F, R>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> R + Send + Sync + 'static,
    R: Future<Output = ()> + Send,
{
    let listener = loopback();
    let addr = listener.local_addr().unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let serve = Arc::new(serve);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let serve = Arc::clone(&serve);
            tokio::spawn(async move { serve(stream).await });
        }
    });
    addr
}

/// Returns an address at which nobody listens.
pub(super) fn nobody() -> SocketAddr {
    loopback().local_addr().unwrap()
}

pub(super) fn proxy() -> Proxy {
    proxy_with(Limits::default())
}

pub(super) fn proxy_with(limits: Limits) -> Proxy {
    let config = Config { bounds_ms: vec![50.0, 1000.0], salt: Salt([7; 16]), limits };
    Proxy::start(loopback(), config).unwrap()
}

pub(super) fn backend(name: &str, addr: SocketAddr) -> Backend {
    Backend { revision: name.to_owned(), instance: format!("{name}-0"), addr, in_traffic: true }
}

/// Routes everything to one application, the instance `app-0`.
pub(super) fn only(addr: SocketAddr) -> Routes {
    Routes { stable: Some(backend("app", addr)), ..Routes::default() }
}

/// Routes to the instances `stable-0` and `candidate-0`.
pub(super) fn both(stable: SocketAddr, candidate: SocketAddr, percent: f64) -> Routes {
    Routes {
        stable: Some(backend("stable", stable)),
        candidate: Some(backend("candidate", candidate)),
        share: Share::from_percent(percent).unwrap(),
        sticky: None,
    }
}

/// Starts a proxy with default limits before one application.
pub(super) fn before(addr: SocketAddr) -> Proxy {
    let proxy = proxy();
    proxy.set_routes(only(addr));
    proxy
}

pub(super) struct Client<B>(pub(super) client::SendRequest<B>);

impl<B> Client<B>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    pub(super) async fn connect(to: SocketAddr) -> Self {
        let stream = TcpStream::connect(to).await.unwrap();
        let (sender, connection) = client::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        Self(sender)
    }

    pub(super) async fn send(&mut self, request: Request<B>) -> Response<Incoming> {
        timeout(SOON, async {
            self.0.ready().await.unwrap();
            self.0.send_request(request).await.unwrap()
        })
        .await
        .unwrap()
    }
}

pub(super) fn request(path: &str) -> http::request::Builder {
    Request::builder().uri(path).header("host", "shop.example")
}

/// Sends one GET over a connection of its own; returns status and body.
pub(super) async fn get(proxy: &Proxy) -> (u16, String) {
    let mut client = Client::connect(proxy.addr()).await;
    let response = client.send(request("/").body(text("")).unwrap()).await;
    let status = response.status().as_u16();
    (status, words(response).await)
}

pub(super) async fn words(response: Response<Incoming>) -> String {
    let body = timeout(SOON, response.into_body().collect()).await.unwrap().unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

/// Sends bytes and returns everything that comes back until the other side closes.
pub(super) async fn talk(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is an end like any other.
    let _ = timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the proxy must close");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads until the text has come.
pub(super) async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(end) {
        let mut piece = [0; 4096];
        let length = timeout(SOON, stream.read(&mut piece)).await.unwrap().unwrap();
        assert!(length > 0, "closed after {:?}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&piece[..length]);
    }
    String::from_utf8_lossy(&seen).into_owned()
}

/// Waits until the condition holds, for a bounded time.
pub(super) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let due = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < due, "{what}: not within {SOON:?}");
        sleep(Duration::from_millis(2)).await;
    }
}

/// Returns `requests, errors` of an instance.
pub(super) fn counted(proxy: &Proxy, instance: &str) -> [u64; 2] {
    let counters = &proxy.counters()[instance].0;
    [counters[0] as u64, counters[1] as u64]
}
