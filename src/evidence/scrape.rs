//! Asks one instance for its metrics.
//!
//! Everything that can go wrong is an [`Unknown`]: a source that is down says nothing about the
//! release. Nothing is tried twice here, because the counters are cumulative and the next look comes.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::exposition::TEXT_BYTES_MAX;
use crate::analysis::Unknown;

/// OpenMetrics first, as Prometheus asks.
pub const ACCEPTED: &str = "application/openmetrics-text; version=1.0.0, text/plain; version=0.0.4";

/// Where metrics are, when the address names no path.
const PATH: &str = "/metrics";

/// Why a scrape gave no text.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    #[error("{0} is no http address")]
    Address(String),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("no connection to {address}: {why}")]
    Connection { address: String, why: String },
    #[error("the answer broke off: {0}")]
    BrokenOff(String),
    #[error("status {0}")]
    Status(StatusCode),
    #[error("the answer is longer than {TEXT_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the answer is not UTF-8")]
    NotText,
    #[error("the answer is cut off")]
    CutOff,
}

impl From<ScrapeError> for Unknown {
    fn from(error: ScrapeError) -> Self {
        Self::SourceDown { what: error.to_string() }
    }
}

/// Returns the metrics text at `host:port`, or at an `http://` URL. Redirects are not followed.
///
/// # Errors
/// See [`ScrapeError`].
pub async fn scrape(address: &str, limit: Duration) -> Result<String, ScrapeError> {
    let uri = target(address).ok_or_else(|| ScrapeError::Address(address.to_owned()))?;
    tokio::time::timeout(limit, ask(&uri)).await.unwrap_or(Err(ScrapeError::TimedOut(limit)))
}

fn target(address: &str) -> Option<Uri> {
    let url =
        if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let uri: Uri = url.parse().ok()?;
    let mut parts = uri.into_parts();
    let path = parts.path_and_query.as_ref().map_or("/", |path| path.as_str());
    if path == "/" {
        parts.path_and_query = PATH.parse().ok();
    }
    let uri = Uri::from_parts(parts).ok()?;
    let usable =
        uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty());
    usable.then_some(uri)
}

async fn ask(uri: &Uri) -> Result<String, ScrapeError> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let lost = |why: String| ScrapeError::Connection { address: authority.to_owned(), why };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80)))
        .await
        .map_err(|error| lost(error.to_string()))?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| lost(error.to_string()))?;
    // It ends with the sender, so also when the limit drops this future.
    tokio::spawn(connection);
    let path = uri.path_and_query().map_or(PATH, |path| path.as_str());
    let request = Request::get(path)
        .header(HOST, authority)
        .header(ACCEPT, ACCEPTED)
        .header(USER_AGENT, concat!("gate/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|error| ScrapeError::Address(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(|error| lost(error.to_string()))?;
    if response.status() != StatusCode::OK {
        return Err(ScrapeError::Status(response.status()));
    }
    let (head, body) = response.into_parts();
    let body = Limited::new(body, TEXT_BYTES_MAX).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            ScrapeError::TooLarge
        } else {
            ScrapeError::BrokenOff(error.to_string())
        }
    })?;
    text_of(head.status, &head.headers, body.to_bytes())
}

/// Returns the text of an answer that was read to its end.
///
/// # Errors
/// It is not the whole text of an answer `200 OK`.
pub fn text_of(
    status: StatusCode,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<String, ScrapeError> {
    if status != StatusCode::OK {
        return Err(ScrapeError::Status(status));
    }
    let text = String::from_utf8(body.into()).map_err(|_| ScrapeError::NotText)?;
    if is_whole(headers, &text) { Ok(text) } else { Err(ScrapeError::CutOff) }
}

/// Half a text looks like counters that went backwards, so its end must be seen.
fn is_whole(headers: &HeaderMap, text: &str) -> bool {
    let says = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    if says.starts_with(b"application/openmetrics-text") {
        return text.trim_end().ends_with("# EOF");
    }
    let framed = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
    framed || text.ends_with('\n')
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Answers one request with these bytes, then closes; gives back the request.
    async fn answered(answer: &[u8], limit: Duration) -> (Result<String, ScrapeError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            // The client may hang up first: it has read enough.
            let _ = stream.write_all(answer).await;
            if answer.is_empty() {
                let _ = stream.read(&mut request).await;
            }
            String::from_utf8_lossy(&request[..length]).into_owned()
        };
        tokio::join!(scrape(&address, limit), serve)
    }

    async fn check(answer: &str, words: &str) {
        let (got, _) = answered(answer.as_bytes(), LIMIT).await;
        let unknown = Unknown::from(got.unwrap_err());
        assert!(unknown.to_string().contains(words), "{unknown}");
    }

    #[tokio::test]
    async fn the_text_is_returned_and_asked_for_as_prometheus_asks() {
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nup 1\n";
        let (got, request) = answered(ok.as_bytes(), LIMIT).await;
        assert_eq!(got.unwrap(), "up 1\n");
        assert!(request.starts_with("GET /metrics HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("accept: {ACCEPTED}\r\n")), "{request}");
    }

    #[tokio::test]
    async fn each_failure_has_its_own_words() {
        check("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", "status 503").await;
        check("HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", "status 302")
            .await;
        check("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nup", "broke off").await;
        check("HTTP/1.1 200 OK\r\n\r\nhttp_requests_total 12", "cut off").await;
        check("not http at all\r\n\r\n", "no connection").await;
        let openmetrics = "content-type: application/openmetrics-text; version=1.0.0";
        let text = format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n{openmetrics}\r\n\r\nup 1\n");
        check(&text, "cut off").await;
        let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "a 1\n".repeat(TEXT_BYTES_MAX / 4 + 1));
        check(&endless, "longer than").await;
        let (got, _) = answered(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n\xff", LIMIT).await;
        assert!(matches!(got, Err(ScrapeError::NotText)));
    }

    #[tokio::test]
    async fn a_source_that_never_answers_is_given_up() {
        let (got, _) = answered(b"", Duration::from_millis(50)).await;
        assert!(matches!(got, Err(ScrapeError::TimedOut(_))), "{got:?}");
    }

    #[tokio::test]
    async fn a_source_that_is_not_there_is_unknown() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let got = scrape(&address, LIMIT).await;
        assert!(matches!(got, Err(ScrapeError::Connection { .. })), "{got:?}");
    }

    #[test]
    fn addresses_are_completed_or_refused() {
        let check = |address: &str, url: Option<&str>| {
            assert_eq!(target(address).map(|uri| uri.to_string()).as_deref(), url, "{address}");
        };
        check("127.0.0.1:8081", Some("http://127.0.0.1:8081/metrics"));
        check("[::1]:8081", Some("http://[::1]:8081/metrics"));
        check("http://app:1/", Some("http://app:1/metrics"));
        check("http://app/stats?format=prometheus", Some("http://app/stats?format=prometheus"));
        check("https://app/metrics", None);
        check("", None);
        check("/metrics", None);
        check("a b", None);
    }
}
