//! One GET to a pod through the API server's proxy, and whose answer it is.
//!
//! What the API server says for itself (a permission that is missing, too many requests, a pod that
//! it does not know) is no evidence against the pod; that it can't reach the pod is.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, USER_AGENT};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde::Deserialize;

use super::place::Place;
use crate::platform::kubernetes::access::{Access, told};

/// With it the API server's proxy begins what it says of a pod that it can't reach.
const UNREACHED: &str = "error trying to reach service: ";
/// What the tunnel to the nodes says when it is down itself: no pod is to blame.
const NO_TUNNEL: &str = "No agent available";
/// What the API server's own limit of requests answers, as plain text.
const TOO_MANY: &str = "Too many requests, please try again later.";
/// Every answer that passes through an API server carries it. One without is of something before it: a
/// load balancer, a login page.
const THROUGH_API_SERVER: &str = "audit-id";

/// The API server may take so long to say that it is there.
const ALIVE_LIMIT: Duration = Duration::from_secs(1);
/// Bytes of an answer that are needed to tell the API server's own from a pod's.
const STATUS_BYTES_MAX: usize = 64 * 1024;
/// How much of somebody's words stands in a message, in characters.
const WORDS_MAX: usize = 200;

/// A pod's own answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Not more than was asked for.
    pub(super) body: Bytes,
    /// There was more.
    pub(super) cut: bool,
}

/// Why there is no answer of the pod.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Silence {
    /// It could not be reached, hung up, or was silent while the API server was not.
    #[error("{0}")]
    Pods(String),
    /// The API server refused or could not be asked: nothing is known of the pod.
    #[error("{0}")]
    Servers(String),
}

enum Lost {
    Head(kube::Error),
    Body(String),
}

/// Asks a pod. Ends within `limit`, and [`ALIVE_LIMIT`] more where it is not clear who was silent.
pub(super) async fn get(
    access: &Access,
    place: &Place,
    (limit, bytes_max): (Duration, usize),
    accept: &str,
) -> Result<Answer, Silence> {
    let request = Request::get(place.behind_proxy(&access.namespace))
        .header(ACCEPT, accept)
        .header(USER_AGENT, concat!("gate/", env!("CARGO_PKG_VERSION")))
        .body(Body::empty())
        .map_err(|error| Silence::Servers(error.to_string()))?;
    let bytes_max = bytes_max.max(STATUS_BYTES_MAX);
    match tokio::time::timeout(limit, exchange(access, request, bytes_max)).await {
        Ok(Ok(answer)) => match told_by_server(&answer) {
            Some(silence) => Err(silence),
            None => Ok(answer),
        },
        Ok(Err(Lost::Head(error))) => Err(Silence::Servers(told("the API server", &error).what)),
        Ok(Err(Lost::Body(why))) => {
            Err(whose(access, format!("the answer broke off: {why}")).await)
        }
        Err(_) => {
            let limit = humantime::format_duration(limit);
            Err(whose(access, format!("no answer within {limit}")).await)
        }
    }
}

async fn exchange(
    access: &Access,
    request: Request<Body>,
    bytes_max: usize,
) -> Result<Answer, Lost> {
    let response = access.client.send(request).await.map_err(Lost::Head)?;
    let (head, mut body) = response.into_parts();
    let (mut read, mut cut) = (BytesMut::new(), false);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Lost::Body(error.to_string()))?;
        let data = frame.data_ref().map_or(&[][..], |data| data);
        let room = bytes_max - read.len();
        read.extend_from_slice(&data[..data.len().min(room)]);
        if data.len() > room {
            cut = true;
            break;
        }
    }
    Ok(Answer { status: head.status, headers: head.headers, body: read.freeze(), cut })
}

/// Nobody answered: the pod was silent if the API server is not.
async fn whose(access: &Access, what: String) -> Silence {
    let Ok(request) = Request::get("/version").body(Body::empty()) else {
        return Silence::Servers(what);
    };
    let alive = tokio::time::timeout(ALIVE_LIMIT, access.client.send(request)).await;
    // That it refuses is an answer; that it has no time for answers may be why there was none.
    let busy =
        |status: StatusCode| status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    match alive {
        Ok(Ok(answer)) if !busy(answer.status()) => Silence::Pods(what),
        Ok(Ok(_) | Err(_)) | Err(_) => {
            Silence::Servers(format!("the API server is not there: {what}"))
        }
    }
}

/// A Kubernetes `Status`, as far as it matters.
#[derive(Deserialize)]
struct Status {
    kind: String,
    #[serde(rename = "apiVersion")]
    api_version: String,
    #[serde(default)]
    message: String,
}

/// Returns what the API server said in place of the pod; `None`: the answer is the pod's own.
fn told_by_server(answer: &Answer) -> Option<Silence> {
    let status = answer.status;
    if !answer.headers.contains_key(THROUGH_API_SERVER) {
        let what = format!("something before the API server answers {status}");
        return Some(Silence::Servers(what));
    }
    if status.is_success() || status.is_redirection() {
        return None;
    }
    let own = serde_json::from_slice::<Status>(&answer.body)
        .ok()
        .filter(|own| own.kind == "Status" && own.api_version == "v1");
    if let Some(own) = own {
        let message: String = own.message.chars().take(WORDS_MAX).collect();
        return Some(match message.strip_prefix(UNREACHED) {
            Some(why) if !why.contains(NO_TUNNEL) => Silence::Pods(format!("not reached: {why}")),
            Some(_) | None => {
                Silence::Servers(format!("the API server: {} {message}", status.as_u16()))
            }
        });
    }
    let is = |text: &str| answer.body.trim_ascii() == text.as_bytes();
    (status == StatusCode::TOO_MANY_REQUESTS && is(TOO_MANY))
        .then(|| Silence::Servers(format!("the API server: 429 {TOO_MANY}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Some(true)`: against the pod; `Some(false)`: the API server's own; `None`: the pod's answer.
    #[track_caller]
    fn check(status: u16, passed: bool, body: &str, expected: Option<bool>, words: &str) {
        let mut headers = HeaderMap::new();
        if passed {
            headers.insert(THROUGH_API_SERVER, http::HeaderValue::from_static("1"));
        }
        let status = StatusCode::from_u16(status).unwrap();
        let body = Bytes::copy_from_slice(body.as_bytes());
        let silence = told_by_server(&Answer { status, headers, body, cut: false });
        let against = silence.as_ref().map(|silence| matches!(silence, Silence::Pods(_)));
        assert_eq!(against, expected, "{silence:?}");
        let said = silence.map(|silence| silence.to_string()).unwrap_or_default();
        assert_eq!(said, words);
    }

    fn told(message: &str) -> String {
        serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "code": 0,
        })
        .to_string()
    }

    #[test]
    fn the_api_servers_own_answers_are_told_apart() {
        // Recorded from Kubernetes 1.34.4.
        let refused =
            "error trying to reach service: dial tcp 10.244.0.22:8081: connect: connection refused";
        check(
            503,
            true,
            &told(refused),
            Some(true),
            "not reached: dial tcp 10.244.0.22:8081: connect: connection refused",
        );
        let tls =
            "error trying to reach service: tls: first record does not look like a TLS handshake";
        check(503, true, &told(tls), Some(true), &tls.replace(UNREACHED, "not reached: "));
        let forbidden =
            r#"pods "web:8080" is forbidden: User "bob" cannot get resource "pods/proxy""#;
        check(
            403,
            true,
            &told(forbidden),
            Some(false),
            &format!("the API server: 403 {forbidden}"),
        );
        let gone = r#"pods "web" not found"#;
        check(404, true, &told(gone), Some(false), r#"the API server: 404 pods "web" not found"#);
        let busy = "Too many requests, please try again later.\n";
        check(429, true, busy, Some(false), &format!("the API server: 429 {TOO_MANY}"));
        let tunnel = "error trying to reach service: No agent available";
        check(503, true, &told(tunnel), Some(false), &format!("the API server: 503 {tunnel}"));
        let balancer = "<html>502 Bad Gateway</html>";
        let words = "something before the API server answers 502 Bad Gateway";
        check(502, false, balancer, Some(false), words);
        let words = "something before the API server answers 200 OK";
        check(200, false, "<html>log in</html>", Some(false), words);
    }

    #[test]
    fn everything_else_is_the_pods_own() {
        check(200, true, &told("a pod may say this"), None, "");
        check(302, true, "", None, "");
        check(403, true, "who are you?", None, "");
        check(429, true, "slow down", None, "");
        check(500, true, "", None, "");
        check(503, true, "starting", None, "");
        check(503, true, r#"{"kind":"Status","apiVersion":"v2","message":"down"}"#, None, "");
        check(404, true, "", None, "");
    }
}
