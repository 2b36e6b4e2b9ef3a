//! The routes of the example application.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Channel, Full};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, UPGRADE};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep};

use super::ExampleApp;
use super::behaviour::Behaviour;
use super::metrics::Metrics;

type Body = BoxBody<Bytes, hyper::Error>;

const X_VERSION: HeaderName = HeaderName::from_static("x-version");
const X_INSTANCE: HeaderName = HeaderName::from_static("x-instance");
const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const JSON: &str = "application/json";

/// Limits of what a request may ask for.
const SLOW_MAX: Duration = Duration::from_secs(60);
const CHUNKS_MAX: u64 = 10_000;
const CHUNKS_IN_FLIGHT: usize = 4;

pub(super) struct Service {
    version: HeaderValue,
    instance: HeaderValue,
    home: Bytes,
    behaviour: Behaviour,
    started: Instant,
    requests: AtomicU64,
    metrics: Metrics,
}

impl Service {
    pub(super) fn new(app: ExampleApp) -> Self {
        let instance = std::process::id();
        let home = serde_json::json!({ "version": app.version, "instance": instance });
        let printable = HeaderValue::from_str(&app.version);
        Self {
            version: printable.unwrap_or(HeaderValue::from_static("unprintable")),
            instance: HeaderValue::from(instance),
            home: Bytes::from(format!("{home}\n")),
            behaviour: app.behaviour,
            started: Instant::now(),
            requests: AtomicU64::new(0),
            metrics: Metrics::new(),
        }
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let mut response = match request.uri().path() {
            "/health" | "/ready" => self.health(),
            "/metrics" => say(StatusCode::OK, METRICS, self.metrics.text()),
            _user => self.user_request(request).await,
        };
        response.headers_mut().insert(X_VERSION, self.version.clone());
        response.headers_mut().insert(X_INSTANCE, self.instance.clone());
        response
    }

    fn health(&self) -> Response<Body> {
        if self.behaviour.healthy(self.started.elapsed()) {
            say(StatusCode::OK, TEXT, "ok\n")
        } else {
            say(StatusCode::SERVICE_UNAVAILABLE, TEXT, "not healthy, as it was told to be\n")
        }
    }

    /// A request that counts, and that may fare badly.
    async fn user_request(&self, request: Request<Incoming>) -> Response<Body> {
        let begun = Instant::now();
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        sleep(self.behaviour.latency(number)).await;
        if self.behaviour.hang {
            std::future::pending::<()>().await;
        }
        let response = if self.behaviour.fails(number) {
            say(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "failed, as it was told to\n")
        } else {
            self.route(request).await
        };
        self.metrics.answered(response.status(), begun.elapsed());
        response
    }

    async fn route(&self, request: Request<Incoming>) -> Response<Body> {
        match request.uri().path() {
            "/" => say(StatusCode::OK, JSON, self.home.clone()),
            "/slow" => {
                let asked = Duration::from_millis(number_in(&request, "ms").unwrap_or(1000));
                sleep(asked.min(SLOW_MAX)).await;
                say(StatusCode::OK, TEXT, "at last\n")
            }
            "/stream" => stream(&request),
            "/echo" if request.method() == Method::POST => echo(request),
            "/echo" => say(StatusCode::METHOD_NOT_ALLOWED, TEXT, "POST a body to get it back\n"),
            "/upgrade" => upgrade(request),
            _unknown => say(
                StatusCode::NOT_FOUND,
                TEXT,
                "there is /, /health, /ready, /metrics, /slow?ms=, /stream?chunks=&ms=, /echo, /upgrade\n",
            ),
        }
    }
}

fn say(code: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Body> {
    answer_with(code, kind, Full::new(text.into()).map_err(|never| match never {}).boxed())
}

fn answer_with(code: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Returns the number that the query gives for a name.
fn number_in(request: &Request<Incoming>, name: &str) -> Option<u64> {
    let pairs = request.uri().query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse().ok())
}

/// Sends chunks one by one, `ms` apart.
fn stream(request: &Request<Incoming>) -> Response<Body> {
    let chunks = number_in(request, "chunks").unwrap_or(5).min(CHUNKS_MAX);
    let apart = Duration::from_millis(number_in(request, "ms").unwrap_or(100)).min(SLOW_MAX);
    let (mut sender, body) = Channel::<Bytes, hyper::Error>::new(CHUNKS_IN_FLIGHT);
    tokio::spawn(async move {
        for number in 0..chunks {
            if sender.send_data(Bytes::from(format!("chunk {number}\n"))).await.is_err() {
                return; // The client has gone.
            }
            sleep(apart).await;
        }
    });
    answer_with(StatusCode::OK, TEXT, body.boxed())
}

/// Sends back what comes, while it comes.
fn echo(request: Request<Incoming>) -> Response<Body> {
    answer_with(StatusCode::OK, "application/octet-stream", request.into_body().boxed())
}

/// Takes over the connection and sends back every byte, whatever protocol was asked for.
fn upgrade(request: Request<Incoming>) -> Response<Body> {
    let Some(protocol) = request.headers().get(UPGRADE).cloned() else {
        return say(StatusCode::UPGRADE_REQUIRED, TEXT, "ask with `Connection: upgrade`\n");
    };
    tokio::spawn(async move {
        if let Ok(connection) = hyper::upgrade::on(request).await {
            let (mut reader, mut writer) = tokio::io::split(TokioIo::new(connection));
            // It ends with the client or with the application.
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        }
    });
    let mut response = say(StatusCode::SWITCHING_PROTOCOLS, TEXT, "");
    response.headers_mut().remove(CONTENT_TYPE);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE, protocol);
    response
}
