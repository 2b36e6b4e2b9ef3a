//! What the server says, and why it may say nothing.
//!
//! The client crate's own types are not used for answers: its `get()` reads an answer of any
//! length, and its native histograms do not read those of servers before version 3.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use serde::Deserialize;

use super::native::Native;
use super::{ANSWER_BYTES_MAX, CredentialsError, SERIES_MAX};
use crate::analysis::Unknown;

/// How much of a server's words stands in a message, in characters.
const WORDS_MAX: usize = 200;

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QueryError {
    #[error("no connection: {0}")]
    Connection(String),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("the answer broke off: {0}")]
    BrokenOff(String),
    #[error("the answer is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    #[error(
        "an HTML page in place of an answer (status {status}): is a login page or another server at this address?"
    )]
    Html { status: u16 },
    #[error("it does not let gate in (status {status}): check the credentials")]
    Forbidden { status: u16 },
    #[error("status {status}")]
    Status { status: u16 },
    #[error("it is no answer of a Prometheus: {0}")]
    NotAnAnswer(String),
    #[error("it refuses the query: {kind}: {message}")]
    Refused { kind: String, message: String },
    #[error(
        "{series} series in one answer, over {SERIES_MAX}: the selector takes in too much, or a label holds raw paths or user ids"
    )]
    TooManySeries { series: usize },
    #[error("{0} is a native histogram where a number is needed")]
    NativeHistogram(String),
    #[error("{0}")]
    Shape(String),
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

impl QueryError {
    /// Returns whether the source as a whole is not there: another question would fare no better.
    #[must_use]
    pub const fn is_source_dead(&self) -> bool {
        match self {
            Self::Connection(_)
            | Self::TimedOut(_)
            | Self::BrokenOff(_)
            | Self::Html { .. }
            | Self::Forbidden { .. }
            | Self::Status { .. }
            | Self::NotAnAnswer(_)
            | Self::Credentials(_) => true,
            Self::TooLarge
            | Self::Refused { .. }
            | Self::TooManySeries { .. }
            | Self::NativeHistogram(_)
            | Self::Shape(_) => false,
        }
    }
}

impl From<QueryError> for Unknown {
    fn from(error: QueryError) -> Self {
        Self::SourceDown { what: error.to_string() }
    }
}

#[derive(Deserialize)]
struct Envelope {
    status: String,
    data: Option<Data>,
    #[serde(rename = "errorType")]
    kind: Option<String>,
    error: Option<String>,
}

/// The data of an answer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase", tag = "resultType", content = "result")]
pub enum Data {
    Vector(Vec<Series>),
    Matrix(Vec<Series>),
    Scalar(Point),
    String(Point),
}

/// One series: `value` of a vector, `values` of a matrix.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Series {
    pub metric: BTreeMap<String, String>,
    pub value: Option<Point>,
    #[serde(default)]
    pub values: Vec<Point>,
    /// In place of `value`.
    pub histogram: Option<NativePoint>,
    /// In place of, or between, `values`.
    #[serde(default)]
    pub histograms: Vec<NativePoint>,
}

/// A moment in Unix seconds, and what was there: Prometheus writes numbers as text.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Point(pub f64, pub String);

/// A moment in Unix seconds, and the histogram that was there.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct NativePoint(pub f64, pub Native);

impl Point {
    /// Returns the value, which may be NaN or infinite; `None` if it is no number at all.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        self.1.parse().ok()
    }
}

impl Data {
    /// Reads an answer.
    ///
    /// # Errors
    /// It is none, it is a refusal, or there is too much in it.
    pub fn parse(status: u16, body: &[u8]) -> Result<Self, QueryError> {
        let Ok(envelope) = serde_json::from_slice::<Envelope>(body) else {
            return Err(no_answer(status, body));
        };
        match envelope {
            Envelope { status: word, data: Some(data), .. } if word == "success" => data.checked(),
            Envelope { kind, error, .. } => Err(QueryError::Refused {
                kind: kind.unwrap_or_else(|| format!("status {status}")),
                message: shortened(&error.unwrap_or_else(|| "no reason given".to_owned())),
            }),
        }
    }

    fn checked(self) -> Result<Self, QueryError> {
        let series = match &self {
            Self::Vector(series) | Self::Matrix(series) => series.as_slice(),
            Self::Scalar(_) | Self::String(_) => &[],
        };
        if series.len() > SERIES_MAX {
            return Err(QueryError::TooManySeries { series: series.len() });
        }
        Ok(self)
    }
}

impl Series {
    /// Returns what kind of answer a native histogram is where a number was asked for.
    pub(super) fn no_number(&self) -> QueryError {
        if self.histogram.is_none() && self.histograms.is_empty() {
            return QueryError::Shape("a series has no value".to_owned());
        }
        let name = self.metric.get("__name__").cloned();
        QueryError::NativeHistogram(name.unwrap_or_else(|| "the answer".to_owned()))
    }
}

/// Something that is no JSON of a Prometheus: what is it?
fn no_answer(status: u16, body: &[u8]) -> QueryError {
    let text = String::from_utf8_lossy(&body[..body.len().min(4 * WORDS_MAX)]);
    match status {
        401 | 403 => QueryError::Forbidden { status },
        _ if text.trim_start().starts_with('<') => QueryError::Html { status },
        200 => QueryError::NotAnAnswer(match serde_json::from_slice::<Envelope>(body) {
            Err(error) => format!("{error}: {}", shortened(text.trim())),
            Ok(_) => shortened(text.trim()),
        }),
        _ => QueryError::Status { status },
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(WORDS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Returns the words of what is behind an error: the layers above it only say that something failed.
pub(super) fn root(error: &dyn Error) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    shortened(&root.to_string())
}
