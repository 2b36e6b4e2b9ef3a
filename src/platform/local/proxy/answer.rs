//! The proxy's own words. They say what happened and nothing of what is behind the proxy.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::Full;

use super::body::Answer;

/// What happened, in words for people and in RFC 9209's for programs: whoever finds a 502 in a log
/// can tell by `Proxy-Status` whether the application could not be reached, broke off, or was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Words {
    /// An error of RFC 9209, and what else it should say.
    error: &'static str,
    text: &'static str,
}

const fn words(error: &'static str, text: &'static str) -> Words {
    Words { error, text }
}

pub(super) const REFUSED: Words = words("connection_refused", "the application can't be reached");
pub(super) const NO_CONNECTION: Words =
    words("connection_timeout", "the application can't be reached");
pub(super) const UNREACHABLE: Words =
    words("destination_unavailable", "the application can't be reached");
pub(super) const NO_MEANS: Words =
    words("connection_limit_reached", "the gate has no means left to reach the application");
pub(super) const BROKEN: Words =
    words("connection_terminated", "the application ended the connection without an answer");
pub(super) const LATE: Words =
    words("http_response_timeout", "the application did not answer in time");
pub(super) const STALLED: Words =
    words("http_request_error", "the request's body did not arrive in time");
pub(super) const INCOMPLETE: Words = words("http_request_error", "the request's body broke off");
pub(super) const CUT: Words = words(
    "proxy_internal_response; details=\"drained\"",
    "the request was ended because its instance is shut down",
);
pub(super) const CONNECT: Words = words("http_request_denied", "this is no forward proxy");
pub(super) const HOST: Words = words("http_request_error", "one Host header is needed");
const NOBODY: Words =
    words("destination_unavailable", "no instance of the application can serve now");

/// Not among the header names that `http` knows.
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

pub(super) fn text(status: StatusCode, words: Words) -> Response<Answer> {
    let body = Bytes::from(format!("{} {}\n", status.as_str(), words.text));
    let mut response = Response::new(Answer::Own(Full::new(body)));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, plain);
    if let Ok(status) = HeaderValue::try_from(format!("gate; error={}", words.error)) {
        headers.insert(PROXY_STATUS, status);
    }
    response
}

pub(super) fn nobody_serves() -> Response<Answer> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, NOBODY);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
