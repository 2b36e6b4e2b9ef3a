//! As much of an API server as a record needs: ConfigMaps of one namespace, preconditions, watches;
//! and faults on demand. The same tests run on a real one where there is one (`ground`).

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::channel::Channel;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) url: String,
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
    _accept: Arc<Abort>,
}

#[derive(Debug)]
struct Abort(JoinHandle<()>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Value>,
    version: u64,
    /// Patches that were asked for.
    patches: Vec<Value>,
    /// Each patch waits so long before it is done.
    delay: Duration,
    /// Codes that the next patches are answered with; they are not done.
    refusals: VecDeque<u16>,
    /// Of watches that are to bring what is there.
    streams: Streams,
    /// Reads that were asked for: `get`, `list`, `watch`, or `stream` for one that is to bring what is there.
    reads: Vec<&'static str>,
    /// What is older than this version is forgotten: a watch that has come less far is told 410.
    oldest: u64,
    /// The next write is done, and its answer never comes: the client is told to try again.
    loses_answer: bool,
}

/// What becomes of a watch that is to bring what is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Streams {
    #[default]
    Told,
    /// As an API server that has it switched off says it.
    Refused(u16),
    /// Without the bookmark at its end.
    Endless,
}

type Body = BoxBody<Bytes, Infallible>;

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let changes = watch::Sender::new(0);
        let (own, tell) = (Arc::clone(&state), changes.clone());
        let accept = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (state, changes) = (Arc::clone(&own), tell.clone());
                let service = service_fn(move |request| {
                    let (state, changes) = (Arc::clone(&state), changes.clone());
                    async move { Ok::<_, Infallible>(answer(request, state, changes).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, state, changes, _accept: Arc::new(Abort(accept)) }
    }

    /// From now on each patch takes so long.
    pub(super) fn slow(&self, delay: Duration) {
        self.state.lock().unwrap().delay = delay;
    }

    /// The next patches fail.
    pub(super) fn refuse(&self, codes: &[u16]) {
        self.state.lock().unwrap().refusals.extend(codes);
    }

    pub(super) fn lose_answer(&self) {
        self.state.lock().unwrap().loses_answer = true;
    }

    pub(super) fn streams(&self, streams: Streams) {
        self.state.lock().unwrap().streams = streams;
    }

    /// Forgets every version up to the next one, as an API server whose store was compacted.
    pub(super) fn forget(&self) {
        let mut state = self.state.lock().unwrap();
        state.version += 1;
        state.oldest = state.version;
        drop(state);
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn reads(&self, what: &str) -> usize {
        self.state.lock().unwrap().reads.iter().filter(|read| **read == what).count()
    }

    pub(super) fn patches(&self) -> Vec<Value> {
        self.state.lock().unwrap().patches.clone()
    }

    /// Changes an object as anybody might.
    pub(super) fn edit(&self, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut state = self.state.lock().unwrap();
        let mut object = state.objects[name].clone();
        edit(&mut object);
        state.put(name, object);
        drop(state);
        self.changes.send_modify(|count| *count += 1);
    }
}

impl State {
    fn put(&mut self, name: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(name.to_owned(), object.clone());
        object
    }

    fn patch(&mut self, name: &str, patch: &Value) -> Result<Value, u16> {
        self.patches.push(patch.clone());
        if let Some(code) = self.refusals.pop_front() {
            return Err(code);
        }
        let mut object = self.objects.get(name).cloned().ok_or(404_u16)?;
        let patch =
            serde_json::from_value::<json_patch::Patch>(patch.clone()).map_err(|_| 400_u16)?;
        json_patch::patch(&mut object, &patch).map_err(|_| 422_u16)?;
        Ok(self.put(name, object))
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
) -> Response<Body> {
    let method = request.method().clone();
    let is_write = method != Method::GET;
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let name = path.rsplit_once("configmaps/").map(|(_, name)| name.to_owned());
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let only =
        query.split('&').find_map(|part| part.strip_prefix("fieldSelector=metadata.name%3D"));
    if !is_write {
        state.lock().unwrap().reads.push(match &name {
            Some(_) => "get",
            None if query.contains("sendInitialEvents=true") => "stream",
            None if query.contains("watch=true") => "watch",
            None => "list",
        });
    }
    let done = match (method, name) {
        (Method::GET, None) if query.contains("watch=true") => {
            let streams =
                query.contains("sendInitialEvents=true").then_some(state.lock().unwrap().streams);
            match streams {
                Some(Streams::Refused(code)) => Err(code),
                Some(Streams::Told | Streams::Endless) | None => {
                    let only = only.unwrap_or_default().to_owned();
                    return follow(
                        state,
                        changes.subscribe(),
                        only,
                        &query,
                        streams == Some(Streams::Told),
                    );
                }
            }
        }
        (Method::GET, None) => list(&state.lock().unwrap(), only),
        (Method::GET, Some(name)) => {
            state.lock().unwrap().objects.get(&name).cloned().ok_or(404_u16)
        }
        (Method::POST, None) => create(&mut state.lock().unwrap(), body),
        (Method::PATCH, Some(name)) => {
            let delay = state.lock().unwrap().delay;
            tokio::time::sleep(delay).await;
            state.lock().unwrap().patch(&name, &body)
        }
        (Method::DELETE, Some(name)) => state.lock().unwrap().objects.remove(&name).ok_or(404_u16),
        (method, name) => panic!("{method} {name:?}"),
    };
    changes.send_modify(|count| *count += 1);
    let is_lost = is_write && std::mem::take(&mut state.lock().unwrap().loses_answer);
    match done {
        Ok(_) if is_lost => respond(504, &json!({})),
        Ok(object) => respond(200, &object),
        Err(code) => respond(code, &status(code)),
    }
}

fn status(code: u16) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "message": "refused", "reason": reason(code), "metadata": {} })
}

const fn reason(code: u16) -> &'static str {
    match code {
        404 => "NotFound",
        409 => "Conflict",
        410 => "Expired",
        422 => "Invalid",
        _ => "Unknown",
    }
}

fn list(state: &State, only: Option<&str>) -> Result<Value, u16> {
    let named = state.objects.iter().filter(|(name, _)| only.is_none_or(|only| only == *name));
    let items: Vec<&Value> = named.map(|(_, object)| object).collect();
    let version = state.version.to_string();
    let kind = "ConfigMapList";
    Ok(
        json!({ "kind": kind, "apiVersion": "v1", "metadata": { "resourceVersion": version }, "items": items }),
    )
}

fn create(state: &mut State, mut object: Value) -> Result<Value, u16> {
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    if state.objects.contains_key(&name) {
        return Err(409);
    }
    object["metadata"]["namespace"] = json!("shop");
    Ok(state.put(&name, object))
}

/// Tells what has become of one object whenever something has changed.
fn follow(
    state: Arc<Mutex<State>>,
    mut changes: watch::Receiver<u64>,
    name: String,
    query: &str,
    marks_all: bool,
) -> Response<Body> {
    let from = query.split('&').find_map(|part| part.strip_prefix("resourceVersion="));
    let mut told: u64 = from.and_then(|version| version.parse().ok()).unwrap_or(0);
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(16);
    tokio::spawn(async move {
        let mut before: Option<Value> = None;
        let mut mark = marks_all.then(|| {
            let version = state.lock().unwrap().version.to_string();
            let all = json!({ "resourceVersion": version, "annotations": { "k8s.io/initial-events-end": "true" } });
            let object = json!({ "kind": "ConfigMap", "apiVersion": "v1", "metadata": all });
            json!({ "type": "BOOKMARK", "object": object })
        });
        loop {
            let (now, oldest) = {
                let state = state.lock().unwrap();
                (state.objects.get(&name).cloned(), state.oldest)
            };
            if (1..oldest).contains(&told) {
                let event = json!({ "type": "ERROR", "object": status(410) });
                // Whoever watched may have gone.
                let _ = sender.send_data(Bytes::from(format!("{event}\n"))).await;
                return;
            }
            let version = |object: &Value| -> u64 {
                object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
            };
            let event = match &now {
                Some(object) if version(object) > told => {
                    told = version(object);
                    Some(json!({ "type": "MODIFIED", "object": object }))
                }
                None => before.take().map(|object| json!({ "type": "DELETED", "object": object })),
                Some(_) => None,
            };
            before = now;
            for event in event.into_iter().chain(mark.take()) {
                if sender.send_data(Bytes::from(format!("{event}\n"))).await.is_err() {
                    return;
                }
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    });
    let response = Response::builder().header("content-type", "application/json");
    response.body(body.boxed()).unwrap()
}

fn respond(code: u16, body: &Value) -> Response<Body> {
    let response = Response::builder().status(code).header("content-type", "application/json");
    response.body(Full::new(Bytes::from(body.to_string())).boxed()).unwrap()
}
