//! The whole of it against an API server that is one in name only, over real HTTP.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::api::DynamicObject;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::analysis::ProbeCount;
use crate::plan::{Defaults, Release};
use crate::platform::kubernetes::watching::Slot;
use crate::rollout::{TestersAre, Workload, World};

/// What the API server does with a request.
#[derive(Clone, Debug)]
enum Reply {
    Is(u16, String),
    /// From something before it.
    NotIts(u16, String),
    /// No answer, ever.
    Hang,
    /// The connection ends.
    Reset,
}

#[derive(Clone, Debug, Default)]
struct Script {
    /// By the end of the path.
    replies: Arc<Mutex<BTreeMap<String, Reply>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    fn on(&self, path: &str, reply: Reply) {
        self.replies.lock().unwrap().insert(path.to_owned(), reply);
    }

    fn asked(&self, path: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.ends_with(path)).count()
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Broken> {
        let path = request.uri().path().to_owned();
        let reply = {
            let replies = self.replies.lock().unwrap();
            replies.iter().find(|(end, _)| path.ends_with(end.as_str())).map(|(_, r)| r.clone())
        };
        self.asked.lock().unwrap().push(path);
        let answer =
            |status: u16, body: String| Response::builder().status(status).body(body.into());
        let response = match reply.unwrap_or_else(|| told(404, "not found")) {
            Reply::Is(status, body) => {
                answer(status, body).map(|mut response: Response<Full<Bytes>>| {
                    let id = http::HeaderValue::from_static("1");
                    response.headers_mut().insert("audit-id", id);
                    response
                })
            }
            Reply::NotIts(status, body) => answer(status, body),
            Reply::Hang => std::future::pending().await,
            Reply::Reset => return Err(Broken),
        };
        Ok(response.unwrap())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the connection ends")]
struct Broken;

fn told(code: u16, message: &str) -> Reply {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "message": message, "code": code });
    Reply::Is(code, status.to_string())
}

async fn serve(script: Script) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            let script = script.clone();
            let service = service_fn(move |request| script.clone().answer(request));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

/// Probes and scrapes of the tests are as close as this.
const APART: Duration = Duration::from_millis(5);
const PACE: Pace = Pace { apart: APART, interval: Duration::from_millis(10) };

fn access(address: SocketAddr) -> Access {
    let uri = format!("http://{address}").parse().unwrap();
    Access::to(kube::Config::new(uri), "shop".into()).unwrap()
}

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

fn pod(name: &str, owner: &str) -> DynamicObject {
    object(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "uid": name,
            "ownerReferences": [{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": owner, "controller": true }],
        },
        "spec": { "containers": [{ "name": "web", "ports": [{ "containerPort": 8080, "name": "http" }] }] },
        "status": {
            "phase": "Running", "podIP": "10.0.0.1",
            "conditions": [{ "type": "ContainersReady", "status": "True" }],
        },
    }))
}

/// A world with one pod of stable, `old`, and one of the candidate, `new`.
async fn world(address: SocketAddr) -> (Access, Watched) {
    let access = access(address);
    let watched = Watched::start(&access, Vec::new());
    let template = json!({ "metadata": {}, "spec": { "containers": [] } });
    let owner = json!([{ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "web", "controller": true }]);
    watched.learn(
        Slot::Target,
        object(json!({ "metadata": { "name": "web", "uid": "web" }, "spec": { "template": template } })),
    );
    watched.learn(
        Slot::ReplicaSets,
        object(json!({
            "metadata": { "name": "set", "uid": "set", "ownerReferences": owner },
            "spec": { "template": template },
        })),
    );
    watched.learn(Slot::Pods, pod("old", "set"));
    watched.learn(Slot::CandidatePods, pod("new", "other"));
    (access, watched)
}

fn plan(health: bool, source: &str) -> Plan {
    let mut policy = crate::policy::built_in();
    policy.evidence.source = Some(source.to_owned());
    policy.health_check = health.then(|| HealthCheck {
        path: "/healthz".into(),
        interval: Duration::from_secs(10),
        threshold: 2,
        status: None,
        body: None,
        port: None,
    });
    let named = |name: &str| Release { name: name.into(), hash: name.into(), irreversible: false };
    let defaults = Defaults { interval: Duration::from_secs(5), window: Duration::from_secs(60) };
    let mut plan = Plan::new(&policy, "", "deployment/web", named("v1"), named("v2"), defaults);
    plan.judge.bounds_ms = vec![100.0];
    plan
}

fn metrics(requests: u32) -> Reply {
    let text = format!(
        "http_requests_total{{code=\"200\"}} {requests}\nhttp_requests_total{{code=\"503\"}} 2\n\
         http_request_duration_seconds_bucket{{le=\"0.1\"}} {requests}\n\
         http_request_duration_seconds_bucket{{le=\"+Inf\"}} {requests}\n"
    );
    Reply::Is(200, text)
}

const NEW: &str = "/pods/new:8080/proxy/metrics";
const OLD: &str = "/pods/old:8080/proxy/metrics";
const NEW_HEALTH: &str = "/pods/new:8080/proxy/healthz";
const OLD_HEALTH: &str = "/pods/old:8080/proxy/healthz";

fn no_world() -> World {
    let none = Workload {
        revision: String::new(),
        ready: 0,
        wanted: 0,
        sized_for: Share::ZERO,
        trouble: None,
    };
    World {
        share: None,
        testers: TestersAre::Out,
        stable: none,
        candidate: None,
        retiring: false,
        last_assigned: None,
        connections: None,
    }
}

/// Looks until what was seen is enough.
async fn look_until(evidence: &mut KubeEvidence, mut enough: impl FnMut(&Look) -> bool) -> Look {
    let search = async {
        loop {
            let look = evidence.look(&no_world()).await;
            if enough(&look) {
                return look;
            }
            tokio::time::sleep(APART).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), search).await.unwrap()
}

async fn start(script: &Script, plan: &Plan) -> KubeEvidence {
    let (access, watched) = world(serve(script.clone()).await).await;
    KubeEvidence::start_paced(access, watched, plan, (PACE, PACE))
}

#[tokio::test]
async fn pods_are_counted_by_their_own_metrics() {
    let script = Script::default();
    script.on(NEW, metrics(7));
    script.on(OLD, metrics(5));
    let mut evidence = start(&script, &plan(false, "metrics")).await;
    let (mut old, mut new) = (None, None);
    let look = look_until(&mut evidence, |look| {
        old = old.take().or_else(|| look.baseline.get("old").cloned());
        new = new.take().or_else(|| look.candidate.get("new").cloned());
        old.is_some() && new.is_some() && look.expected == PerArm { baseline: 1, candidate: 1 }
    })
    .await;
    assert_eq!(old, Some(Counters(vec![7.0, 2.0, 0.0])));
    assert_eq!(new, Some(Counters(vec![9.0, 2.0, 0.0])));
    assert!(look.candidate_healthy, "ready is healthy where nothing is probed");
    assert_eq!(look.probes, PerArm::default());
    assert_eq!(script.asked("/proxy/healthz"), 0);
}

/// The candidate's metrics answer so; the reason names the pod, the port, the path and the answer.
async fn check_missing(reply: Reply, words: &str) {
    let script = Script::default();
    script.on(NEW, reply);
    script.on(OLD, metrics(1));
    script.on("/version", Reply::Is(200, "{}".into()));
    let mut evidence = start(&script, &plan(false, "proxy")).await;
    let look = look_until(&mut evidence, |look| look.missing.is_some()).await;
    let said = look.missing.unwrap().to_string();
    assert_eq!(
        said,
        format!("the source can't be read: pod new, port 8080, path /metrics: {words}")
    );
    assert!(look.candidate.is_empty());
    look_until(&mut evidence, |look| look.baseline.contains_key("old")).await;
}

#[tokio::test]
async fn metrics_that_cant_be_read_are_missing_with_what_was_answered() {
    check_missing(Reply::Is(404, "no such page".into()), "status 404 Not Found").await;
    check_missing(Reply::Is(503, "starting".into()), "status 503 Service Unavailable").await;
    check_missing(
        Reply::Is(200, "<html>hello</html>\n".into()),
        "an HTML page in place of metrics",
    )
    .await;
    check_missing(Reply::Is(200, "up 1\n".into()), "no series of http_requests_total").await;
    let refused = told(503, "error trying to reach service: dial tcp: connect: connection refused");
    check_missing(refused, "not reached: dial tcp: connect: connection refused").await;
    let forbidden = told(403, "pods \"new:8080\" is forbidden");
    check_missing(forbidden, "the API server: 403 pods \"new:8080\" is forbidden").await;
    let busy = Reply::Is(429, "Too many requests, please try again later.".into());
    check_missing(busy, "the API server: 429 Too many requests, please try again later.").await;
    let balancer = Reply::NotIts(502, "<html>".into());
    check_missing(balancer, "something before the API server answers 502 Bad Gateway").await;
}

#[tokio::test]
async fn an_answer_that_never_comes_leaves_the_others_alone() {
    let script = Script::default();
    script.on(NEW, Reply::Hang);
    script.on(OLD, metrics(1));
    let mut evidence = start(&script, &plan(false, "metrics")).await;
    let (begin, mut samples) = (Instant::now(), 0);
    look_until(&mut evidence, |look| {
        samples += look.baseline.len();
        samples >= 5
    })
    .await;
    let waits = begin.elapsed().as_secs() / scraping::SCRAPE_LIMIT.as_secs();
    assert!(script.asked(NEW) as u64 <= waits + 1, "it is not asked again while it waits");
}

#[tokio::test]
async fn a_refusal_of_the_api_server_is_not_asked_again_at_once() {
    let script = Script::default();
    script.on(NEW, told(503, "error trying to reach service: EOF"));
    let address = serve(script.clone()).await;
    let place = Place { pod: "new".into(), port: 8080, path: "/metrics".into(), tls: false };
    let found = scraping::counters(&access(address), &place, &[]).await;
    assert_eq!(
        found.unwrap_err().to_string(),
        "pod new, port 8080, path /metrics: not reached: EOF"
    );
    assert_eq!(script.asked(NEW), 1);
}

/// The candidate's health check answers so, after good answers: what its probes count.
async fn probed(reply: Reply, version: Reply) -> (ProbeCount, Vec<String>) {
    let script = Script::default();
    script.on(NEW_HEALTH, Reply::Is(200, "ok".into()));
    script.on(OLD_HEALTH, Reply::Is(200, "ok".into()));
    script.on("/version", version);
    let mut evidence = start(&script, &plan(true, "http://prometheus:9090")).await;
    look_until(&mut evidence, |look| look.candidate_healthy).await;
    script.on(NEW_HEALTH, reply);
    let before = script.asked(NEW_HEALTH);
    let mut seen = ProbeCount::default();
    look_until(&mut evidence, |look| {
        seen.failed += look.probes.candidate.failed;
        seen.sent += look.probes.candidate.sent;
        seen.failed >= 3 || script.asked(NEW_HEALTH) >= before + 5
    })
    .await;
    assert_eq!(script.asked("/proxy/metrics"), 0, "a metrics server counts");
    (seen, evidence.troubles())
}

async fn check_against_the_pod(reply: Reply, words: &str) {
    let (seen, troubles) = probed(reply, Reply::Is(403, "no".into())).await;
    assert!(seen.failed >= 3, "{seen:?} {troubles:?}");
    assert_eq!(troubles, [format!("pod new is no longer ready: {words}")]);
}

async fn check_not_against_the_pod(reply: Reply, version: Reply, words: &str) {
    let (seen, troubles) = probed(reply, version).await;
    assert_eq!(seen.failed, 0, "{troubles:?}");
    assert!(troubles.iter().all(|told| told.contains(words)), "{troubles:?}");
}

#[tokio::test]
async fn what_a_pod_does_counts_against_it() {
    check_against_the_pod(Reply::Is(503, "draining".into()), "status 503, expected 200 to 399")
        .await;
    check_against_the_pod(Reply::Is(429, "slow down".into()), "status 429, expected 200 to 399")
        .await;
    check_against_the_pod(
        told(503, "error trying to reach service: dial tcp: connect: connection refused"),
        "no usable answer: not reached: dial tcp: connect: connection refused",
    )
    .await;
    check_against_the_pod(Reply::Hang, "no usable answer: no answer within 1s").await;
}

#[tokio::test]
async fn what_the_api_server_does_counts_against_nobody() {
    let well = || Reply::Is(200, "{}".into());
    check_not_against_the_pod(told(403, "is forbidden"), well(), "403 is forbidden").await;
    check_not_against_the_pod(told(404, "pods \"new\" not found"), well(), "404").await;
    let busy = Reply::Is(429, "Too many requests, please try again later.\n".into());
    check_not_against_the_pod(busy, well(), "429 Too many requests").await;
    check_not_against_the_pod(Reply::NotIts(502, "<html>".into()), well(), "502").await;
    check_not_against_the_pod(Reply::NotIts(200, "log in".into()), well(), "200").await;
    check_not_against_the_pod(Reply::Reset, well(), "the API server").await;
    let down = Reply::Is(503, "etcd".into());
    check_not_against_the_pod(Reply::Hang, down, "the API server is not there").await;
}

#[tokio::test]
async fn failures_before_the_first_good_answer_are_no_evidence() {
    const LATE: &str = "/pods/late:8080/proxy/healthz";
    let script = Script::default();
    script.on(NEW_HEALTH, Reply::Is(200, "ok".into()));
    script.on(LATE, Reply::Is(503, "starting".into()));
    let (access, watched) = world(serve(script.clone()).await).await;
    let plan = plan(true, "http://prometheus:9090");
    let mut evidence = KubeEvidence::start_paced(access, watched.clone(), &plan, (PACE, PACE));
    look_until(&mut evidence, |look| look.candidate_healthy).await;
    watched.learn(Slot::CandidatePods, pod("late", "other"));
    let mut failed = 0;
    let look = look_until(&mut evidence, |look| {
        failed += look.probes.candidate.failed;
        script.asked(LATE) >= 5
    })
    .await;
    assert_eq!(failed, 0);
    assert!(!look.candidate_healthy, "one pod is not ready yet");
    script.on(LATE, Reply::Is(200, "ok".into()));
    look_until(&mut evidence, |look| look.candidate_healthy).await;
    script.on(LATE, Reply::Is(500, "broken".into()));
    look_until(&mut evidence, |look| look.probes.candidate.failed > 0).await;
}

#[tokio::test]
async fn what_was_ready_before_gate_came_is_judged_at_once() {
    let script = Script::default();
    script.on(OLD_HEALTH, Reply::Is(500, "broken".into()));
    script.on(NEW_HEALTH, Reply::Is(500, "broken".into()));
    let mut evidence = start(&script, &plan(true, "http://prometheus:9090")).await;
    let mut failed = [0, 0];
    look_until(&mut evidence, |look| {
        failed[0] += look.probes.baseline.failed;
        failed[1] += look.probes.candidate.failed;
        failed.iter().all(|failed| *failed > 0)
    })
    .await;
}

#[tokio::test]
async fn bounds_are_stables_own() {
    let script = Script::default();
    script.on(OLD, metrics(1));
    let (access, watched) = world(serve(script.clone()).await).await;
    let seen = watched.snapshot().unwrap();
    assert_eq!(own_bounds_ms(&access, &seen).await, Ok(vec![100.0]));
    script.on(OLD, Reply::Is(200, "http_requests_total{code=\"200\"} 1\n".into()));
    assert_eq!(own_bounds_ms(&access, &seen).await, Ok(vec![]));
    script.on(OLD, Reply::Is(200, "up 1\n".into()));
    let why = own_bounds_ms(&access, &seen).await.unwrap_err().to_string();
    assert!(why.contains("pod old, port 8080, path /metrics: no series of"), "{why}");
    let nobody = own_bounds_ms(&access, &Snapshot::default()).await.unwrap_err().to_string();
    assert!(nobody.contains("no pod that runs"), "{nobody}");
}

#[tokio::test]
async fn tasks_end_with_the_evidence() {
    let script = Script::default();
    script.on(OLD, metrics(1));
    let mut evidence = start(&script, &plan(true, "metrics")).await;
    look_until(&mut evidence, |look| look.baseline.contains_key("old")).await;
    drop(evidence);
    let quiet = async {
        loop {
            let before = script.asked("");
            tokio::time::sleep(APART * 40).await;
            if script.asked("") == before {
                return;
            }
        }
    };
    // What was under way when they were aborted may still arrive, but not for long.
    tokio::time::timeout(Duration::from_secs(20), quiet).await.unwrap();
}

#[tokio::test]
async fn a_world_that_is_not_known_is_a_reason() {
    let script = Script::default();
    let access = access(serve(script).await);
    let watch =
        crate::platform::kubernetes::watching::Watch { slot: Slot::Pods, name: None, labels: None };
    let watched = Watched::start(&access, vec![watch]);
    let mut evidence = KubeEvidence::start(access, watched, &plan(false, "metrics"));
    let look = evidence.look(&no_world()).await;
    assert!(look.missing.unwrap().to_string().contains("does not tell about Pod objects"));
    assert!(!look.candidate_healthy);
}

#[test]
fn the_interval_is_stretched_by_many_pods() {
    let wished = Duration::from_secs(5);
    assert_eq!(interval(wished, 0), wished);
    assert_eq!(interval(wished, 10), wished);
    assert_eq!(interval(wished, 40), Duration::from_secs(20));
}

#[test]
fn a_url_is_a_metrics_server() {
    let check = |source, counting| assert_eq!(Counting::of(source), counting, "{source}");
    check("proxy", Counting::OwnMetrics);
    check("metrics", Counting::OwnMetrics);
    check("http://prometheus:9090", Counting::Server);
    check("https://prometheus.example/tenant", Counting::Server);
}

#[tokio::test]
async fn a_metrics_server_is_told_the_pods_by_name() {
    let (_, watched) = world(serve(Script::default()).await).await;
    let named = |name: &str| BTreeMap::from([(name.to_owned(), name.to_owned())]);
    let expected = Arms::Instances(PerArm { baseline: named("old"), candidate: named("new") });
    assert_eq!(arms(&watched.snapshot().unwrap()), expected);
}
