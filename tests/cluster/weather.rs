//! An API server in bad weather: a proxy before `kubectl proxy` that refuses, delays, or is not there.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::cluster::{Cluster, runtime};

/// Of a watch that is to bring what is there, and what an API server says that can't do that.
const STREAMED: &str = "sendInitialEvents=true";
const NO_STREAMS: &str = "ListOptions.meta.k8s.io \"\" is invalid: sendInitialEvents: Forbidden: sendInitialEvents \
is forbidden for watch unless the WatchList feature gate is enabled";

/// How the API server is. What is refused is refused to writes; reading goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sky {
    Clear,
    /// With its own words for this status.
    Refuses(u16),
    /// A webhook denies.
    Denies,
    /// 429 from something before it, which does not speak Kubernetes.
    Busy,
    /// A write has no answer.
    Silent,
    Slow(Duration),
    /// As an API server without streaming lists: a watch does not bring what is there.
    Listed,
    /// Nobody listens, and nothing that was open stays.
    Gone,
}

/// Ends with its value.
pub(crate) struct Weather {
    sky: watch::Sender<Sky>,
    kubectl: Child,
    folder: TempDir,
}

type Body = BoxBody<Bytes, hyper::Error>;

impl Weather {
    pub(crate) fn new(cluster: &'static Cluster) -> Self {
        let (kubectl, upstream) = kubectl_proxy(cluster);
        let (sky, changes) = watch::channel(Sky::Clear);
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            cluster.move_in();
            runtime().block_on(serve(upstream, changes, tell));
        });
        let address = told.recv().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "weather",
            "clusters": [{ "name": "weather", "cluster": { "server": format!("http://{address}") } }],
            "users": [{ "name": "weather", "user": {} }],
            "contexts": [{ "name": "weather", "context": { "cluster": "weather", "user": "weather" } }],
        });
        std::fs::write(folder.path().join("config"), config.to_string()).unwrap();
        Self { sky, kubectl, folder }
    }

    pub(crate) fn is(&self, sky: Sky) {
        self.sky.send_replace(sky);
    }

    /// The way to it.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("config")
    }
}

impl Drop for Weather {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

fn kubectl_proxy(cluster: &Cluster) -> (Child, SocketAddr) {
    let mut kubectl = cluster.kubectl_command();
    kubectl.args(["proxy", "--port=0"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = kubectl.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().rsplit(' ').next().unwrap().parse().unwrap();
    (child, address)
}

async fn serve(upstream: SocketAddr, sky: watch::Receiver<Sky>, tell: mpsc::Sender<SocketAddr>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    tell.send(listener.local_addr().unwrap()).unwrap();
    let mut end = sky.clone();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            changed = end.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let (ours, mut until) = (sky.clone(), sky.clone());
        tokio::spawn(async move {
            let answer = service_fn(move |request| answer(request, upstream, *ours.borrow()));
            let connection = server::Builder::new().serve_connection(TokioIo::new(stream), answer);
            tokio::select! {
                _ = connection => {}
                _ = until.wait_for(|sky| *sky == Sky::Gone) => {}
            }
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    upstream: SocketAddr,
    sky: Sky,
) -> Result<Response<Body>, Box<dyn std::error::Error + Send + Sync>> {
    let writes = !matches!(*request.method(), Method::GET | Method::HEAD);
    match sky {
        Sky::Slow(length) => tokio::time::sleep(length).await,
        Sky::Refuses(code) if writes => return Ok(refusal(code, "Unknown", "not today")),
        Sky::Denies if writes => {
            let what = r#"admission webhook "guard.test" denied the request: not today"#;
            return Ok(refusal(403, "Forbidden", what));
        }
        Sky::Busy if writes => {
            let body = Full::from("too many requests").map_err(|never| match never {}).boxed();
            let busy = Response::builder().status(429).header("content-type", "text/plain");
            return Ok(busy.body(body)?);
        }
        Sky::Silent if writes => std::future::pending().await,
        Sky::Listed if request.uri().query().is_some_and(|query| query.contains(STREAMED)) => {
            return Ok(refusal(422, "Invalid", NO_STREAMS));
        }
        Sky::Clear
        | Sky::Refuses(_)
        | Sky::Denies
        | Sky::Busy
        | Sky::Silent
        | Sky::Listed
        | Sky::Gone => {}
    }
    let stream = TcpStream::connect(upstream).await?;
    let (mut sender, connection) = client::handshake(TokioIo::new(stream)).await?;
    // It ends with its answer; what goes wrong reaches the request.
    tokio::spawn(connection);
    Ok(sender.send_request(request).await?.map(|body| body.boxed()))
}

fn refusal(code: u16, reason: &str, message: &str) -> Response<Body> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "message": message, "reason": reason, "code": code,
    });
    let body = Full::from(status.to_string()).map_err(|never| match never {}).boxed();
    let answer = Response::builder().status(code).header("content-type", "application/json");
    answer.body(body).unwrap()
}
