//! A URL to POST to. What is secret in it (user, password, path and query: many receivers know their
//! callers by those alone) is in no text that this file returns.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// One try, from the look-up of the name to the end of the answer.
const TRY_LIMIT: Duration = Duration::from_secs(5);
/// An answer's body is read so far, so that the receiver is not cut off, and not used.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Far above any URL in use.
const URL_BYTES_MAX: usize = 8 * 1024;

const AGENT: &str = concat!("gate/", env!("CARGO_PKG_VERSION"));

/// Where events are posted. `Display` and `Debug` show the host and nothing else.
#[derive(Clone)]
pub struct Webhook {
    host: String,
    port: u16,
    path: Uri,
    host_header: HeaderValue,
    authorization: Option<HeaderValue>,
}

/// A URL that can't be posted to. It does not repeat the URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAWebhook {
    #[error("it is no URL")]
    NoUrl,
    #[error("it is longer than {URL_BYTES_MAX} bytes")]
    TooLong,
    #[error(
        "https needs TLS, which this gate does not have yet: name a relay on this host, such as http://127.0.0.1:PORT/"
    )]
    NeedsTls,
    #[error("its scheme is not http")]
    OtherScheme,
    #[error("it names no host")]
    NoHost,
}

/// Why one try failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    #[error("{webhook} can't be reached: {why}")]
    Unreachable { webhook: String, why: String },
    #[error("{webhook} gave no answer within {TRY_LIMIT:?}")]
    TooSlow { webhook: String },
    #[error("{webhook} answered {status}")]
    Refused { webhook: String, status: u16 },
}

impl PostError {
    /// Returns whether another try may do better.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TooSlow { .. } => true,
            Self::Refused { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
        }
    }
}

impl FromStr for Webhook {
    type Err = NotAWebhook;

    fn from_str(url: &str) -> Result<Self, NotAWebhook> {
        if url.len() > URL_BYTES_MAX {
            return Err(NotAWebhook::TooLong);
        }
        let url: Uri = url.parse().map_err(|_| NotAWebhook::NoUrl)?;
        match url.scheme_str() {
            Some("http") => {}
            Some("https") => return Err(NotAWebhook::NeedsTls),
            Some(_) => return Err(NotAWebhook::OtherScheme),
            None => return Err(NotAWebhook::NoUrl),
        }
        let authority = url.authority().ok_or(NotAWebhook::NoHost)?;
        let host = authority.host();
        let address = match authority.port_u16() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let user = authority.as_str().rsplit_once('@').map(|(user, _)| user);
        let basic = user.map(|user| format!("Basic {}", STANDARD.encode(decoded(user))));
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(80),
            path: path.parse().map_err(|_| NotAWebhook::NoUrl)?,
            host_header: HeaderValue::from_str(&address).map_err(|_| NotAWebhook::NoHost)?,
            authorization: basic.and_then(|basic| HeaderValue::from_str(&basic).ok()).map(
                |mut basic| {
                    basic.set_sensitive(true);
                    basic
                },
            ),
        })
    }
}

/// `%40` in a user or password stands for the byte that the URL's own grammar takes.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        let mut ahead = bytes.clone();
        let hex = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16));
        let coded = if byte == b'%' { hex(ahead.next()).zip(hex(ahead.next())) } else { None };
        match coded {
            Some((high, low)) => {
                out.push((high * 16 + low) as u8);
                bytes = ahead;
            }
            None => out.push(byte),
        }
    }
    out
}

impl fmt::Display for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}/…", self.host_header.to_str().unwrap_or_default())
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhook({self})")
    }
}

impl Webhook {
    /// Posts one JSON document, once.
    ///
    /// # Errors
    /// It can't be reached, is slow, or answers with anything but 2xx.
    pub async fn post(&self, body: Bytes) -> Result<(), PostError> {
        let webhook = self.to_string();
        match tokio::time::timeout(TRY_LIMIT, self.exchange(body)).await {
            Err(_) => Err(PostError::TooSlow { webhook }),
            Ok(Err(why)) => Err(PostError::Unreachable { webhook, why }),
            Ok(Ok(status)) if status.is_success() => Ok(()),
            Ok(Ok(status)) => Err(PostError::Refused { webhook, status: status.as_u16() }),
        }
    }

    /// A connection for each event: they are seldom.
    async fn exchange(&self, body: Bytes) -> Result<StatusCode, String> {
        let said = |error: &dyn fmt::Display| error.to_string();
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(|error| said(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| said(&error))?;
        // It ends when the sender is dropped; what goes wrong is told to the request.
        tokio::spawn(async move { drop(connection.await) });
        let answer = sender.send_request(self.request(body)).await.map_err(|error| said(&error))?;
        let status = answer.status();
        let _ = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok(status)
    }

    fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.host_header.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        request
    }
}
