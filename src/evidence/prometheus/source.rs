//! One question, one bounded answer.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Once;
use std::time::Duration;

use http::header::AUTHORIZATION;
use prometheus_http_query::Client;
use reqwest::redirect;

use super::answer::{Data, QueryError, root};
use super::credentials::Login;
use super::expression::is_label;
use super::{ANSWER_BYTES_MAX, ANSWER_TIMEOUT, Credentials, CredentialsError};
use crate::evidence::presets::{PRESETS, Preset};
use crate::plan::JudgePlan;
use crate::policy::{EvidencePolicy, PRESET};

/// Named queries of one policy: each is a question of its own at every look.
pub const QUERIES_MAX: usize = 16;

/// A Prometheus, and what the application calls its metrics there. Clones share connections.
#[derive(Clone)]
pub struct Source {
    client: Client,
    login: Login,
    pub preset: &'static Preset,
    /// The label whose values are the instances: `instance`, in a cluster `pod`; `instance` also for the proxies that
    /// count for a Gateway's routes.
    pub instance: String,
    /// The policy's named queries.
    pub queries: BTreeMap<String, String>,
    /// See [`ANSWER_TIMEOUT`].
    pub timeout: Duration,
}

/// Why a policy's source can't be used. Nothing was asked yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("evidence.source: {url} is not an http or https URL: {why}")]
    Url { url: String, why: String },
    #[error(
        "evidence.source: a password does not belong in a policy; set GATE_PROMETHEUS_USER and GATE_PROMETHEUS_PASSWORD_FILE"
    )]
    PasswordInUrl,
    #[error("evidence.preset: there is no `{name}`; there are {}", names())]
    Preset { name: String },
    #[error("evidence.{what} needs a Prometheus to ask: set `source` to its URL")]
    NoSource { what: &'static str },
    #[error("evidence.queries: {0} are more than {QUERIES_MAX}")]
    TooManyQueries(usize),
    #[error("`{0}` is not the name of a label")]
    Label(String),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    #[error("the certificates can't be used: {0}")]
    Tls(String),
}

fn names() -> String {
    PRESETS.iter().map(|preset| preset.name).collect::<Vec<_>>().join(", ")
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.client.base_url().as_str();
        f.debug_struct("Source")
            .field("url", &url)
            .field("preset", &self.preset.name)
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Returns the source that a policy names by a URL; `None` if it names none, or the platform's own
    /// (`proxy`, `metrics`).
    ///
    /// `instance` is the label that the platform knows its instances by; `None`: the preset's.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn from_policy(
        policy: &EvidencePolicy,
        instance: Option<&str>,
        credentials: &Credentials,
    ) -> Result<Option<Self>, Refusal> {
        let Some(url) = policy.server() else {
            return match (&policy.source, &policy.preset, policy.queries.is_empty()) {
                (_, _, false) => Err(Refusal::NoSource { what: "queries" }),
                (None, Some(_), true) => Err(Refusal::NoSource { what: "preset" }),
                (Some(_), _, true) | (None, None, true) => Ok(None),
            };
        };
        let preset = policy.preset.as_deref().unwrap_or(PRESET);
        Self::named(url, preset, &policy.queries, instance, credentials).map(Some)
    }

    /// Returns the source of a promotion's plan; `None` if it has none that is a metrics server.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn of_plan(
        plan: &JudgePlan,
        instance: Option<&str>,
        credentials: &Credentials,
    ) -> Result<Option<Self>, Refusal> {
        let Some(url) = plan.server() else {
            return match plan.queries.is_empty() {
                true => Ok(None),
                false => Err(Refusal::NoSource { what: "queries" }),
            };
        };
        let preset = plan.preset.as_deref().unwrap_or(PRESET);
        Self::named(url, preset, &plan.queries, instance, credentials).map(Some)
    }

    /// The same with the credentials of this process.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn for_plan(plan: &JudgePlan, instance: Option<&str>) -> Result<Option<Self>, Refusal> {
        Self::of_plan(plan, instance, &Credentials::of_process()?)
    }

    fn named(
        url: &str,
        preset: &str,
        queries: &BTreeMap<String, String>,
        instance: Option<&str>,
        credentials: &Credentials,
    ) -> Result<Self, Refusal> {
        let known = Preset::named(preset);
        let preset = known.ok_or_else(|| Refusal::Preset { name: preset.to_owned() })?;
        let mut source = Self::new(url, preset, credentials)?;
        if let Some(label) = instance {
            source.instance = label.to_owned();
        }
        if !is_label(&source.instance) {
            return Err(Refusal::Label(source.instance));
        }
        if queries.len() > QUERIES_MAX {
            return Err(Refusal::TooManyQueries(queries.len()));
        }
        source.queries.clone_from(queries);
        Ok(source)
    }

    /// # Errors
    /// The URL or the credentials can't be used.
    pub fn new(
        url: &str,
        preset: &'static Preset,
        credentials: &Credentials,
    ) -> Result<Self, Refusal> {
        let bad = |why: &str| Refusal::Url { url: url.to_owned(), why: why.to_owned() };
        let parsed = reqwest::Url::parse(url).map_err(|error| bad(&error.to_string()))?;
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(Refusal::PasswordInUrl);
        }
        let is_tls = match parsed.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(bad(&format!("its scheme is {other}"))),
        };
        install_tls();
        let builder = reqwest::Client::builder()
            .user_agent(concat!("gate/", env!("CARGO_PKG_VERSION")))
            // A redirect is a login page, or would take the token to another host.
            .redirect(redirect::Policy::none());
        let builder = match is_tls {
            true => credentials.add_certificates(builder)?,
            // No authorities are loaded for what needs none: a bare container has none.
            false => builder.tls_certs_only([]),
        };
        let http = builder.build().map_err(|error| Refusal::Tls(root(&error)))?;
        let client = Client::from(http, url.trim_end_matches('/'))
            .map_err(|error| bad(&error.to_string()))?;
        Ok(Self {
            client,
            login: credentials.login.clone(),
            preset,
            instance: preset.instance.to_owned(),
            queries: BTreeMap::new(),
            timeout: ANSWER_TIMEOUT,
        })
    }

    /// Asks for the value of an expression now, by the server's clock.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn ask(&self, expression: &str) -> Result<Data, QueryError> {
        self.ask_at(expression, None).await
    }

    /// Asks for the value of an expression at a moment in whole Unix seconds; `None`: now.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn ask_at(&self, expression: &str, at: Option<i64>) -> Result<Data, QueryError> {
        let mut question = self.client.query(expression).timeout(self.timeout_ms());
        if let Some(at) = at {
            question = question.at(at);
        }
        if let Some(header) = self.login.header()? {
            question = question.header(AUTHORIZATION, header);
        }
        self.answer(question.post_raw()).await
    }

    /// Asks for the values of an expression at each `step` from `start` to `end`, in whole Unix seconds.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn ask_range(
        &self,
        expression: &str,
        (start, end): (i64, i64),
        step: Duration,
    ) -> Result<Data, QueryError> {
        let question = self.client.query_range(expression, start, end, step.as_secs_f64());
        let mut question = question.timeout(self.timeout_ms());
        if let Some(header) = self.login.header()? {
            question = question.header(AUTHORIZATION, header);
        }
        self.answer(question.post_raw()).await
    }

    fn timeout_ms(&self) -> i64 {
        i64::try_from(self.timeout.as_millis()).unwrap_or(i64::MAX)
    }

    async fn answer(
        &self,
        question: impl Future<Output = Result<reqwest::Response, prometheus_http_query::Error>>,
    ) -> Result<Data, QueryError> {
        let read = async {
            let mut response = question.await.map_err(|error| lost(&error))?;
            let mut body = Vec::new();
            while let Some(chunk) =
                response.chunk().await.map_err(|error| QueryError::BrokenOff(root(&error)))?
            {
                if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                    return Err(QueryError::TooLarge);
                }
                body.extend_from_slice(&chunk);
            }
            Data::parse(response.status().as_u16(), &body)
        };
        let timed_out = Err(QueryError::TimedOut(self.timeout));
        tokio::time::timeout(self.timeout, read).await.unwrap_or(timed_out)
    }
}

/// A question that got no answer at all: the server is not there, or hung up.
fn lost(error: &prometheus_http_query::Error) -> QueryError {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<reqwest::Error>());
    if cause.is_some_and(reqwest::Error::is_connect) {
        QueryError::Connection(root(error))
    } else if was_never_sent(error) {
        QueryError::BrokenOff(HUNG_UP.into())
    } else {
        QueryError::BrokenOff(root(error))
    }
}

/// A server that misses a client's certificate says so after the connection is there, and hangs up. Whether what it
/// said is read before the question is sent depends on who is faster.
const HUNG_UP: &str =
    "the server hung up before it was asked (over TLS: does it want a client's certificate?)";

fn was_never_sent(error: &prometheus_http_query::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Makes ring the process's one provider of cryptography. rustls panics at the first connection if
/// there is none, or if it must choose between two.
pub fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // An error says that somebody has installed one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
