//! The proxy's own words. They say what happened and nothing of what is behind the proxy.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use http_body_util::Full;

use super::body::Answer;

pub(super) const UNREACHABLE: &str = "the application can't be reached";
pub(super) const BROKEN: &str = "the application ended the connection without an answer";
pub(super) const LATE: &str = "the application did not answer in time";
pub(super) const STALLED: &str = "the request's body did not arrive in time";
pub(super) const INCOMPLETE: &str = "the request's body broke off";
pub(super) const CUT: &str = "the request was ended because its instance is shut down";
const NOBODY: &str = "no instance of the application can serve now";

pub(super) fn text(status: StatusCode, words: &'static str) -> Response<Answer> {
    let body = Bytes::from(format!("{} {words}\n", status.as_str()));
    let mut response = Response::new(Answer::Own(Full::new(body)));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

pub(super) fn nobody_serves() -> Response<Answer> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, NOBODY);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}
