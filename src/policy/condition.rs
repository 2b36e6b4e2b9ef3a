//! What a policy may demand of a release, as types that cannot be wrong.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::amount::tidy;
use super::grammar::parse;

/// One limit. It is breached when the comparison that it is written as becomes true.
///
/// `Display` prints the form in which a policy writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String")]
#[serde(try_from = "String")]
pub enum Condition {
    /// `error_rate > 5%`: the candidate's errors by its requests; a fraction in (0, 0.9].
    ErrorRate { limit: f64 },
    /// `response_time_p95 > 1000ms`
    ResponseTime { quantile: Quantile, limit: Duration },
    /// `health_check_failures > 3`: failed probes of the candidate in the health window
    HealthCheckFailures { limit: u32 },
    /// `error_rate > 1.3x baseline`; the ratio in [1.05, 10]
    ErrorRateRatio { ratio: f64 },
    /// `response_time_p95 > 1.1x baseline`; the ratio in [1.05, 10]
    ResponseTimeRatio { quantile: Quantile, ratio: f64 },
    /// `traffic_share < 0.5x asked`; the factor in (0, 1)
    TrafficShare { factor: f64 },
    /// `queue_depth > 200`: a named query of the policy (`evidence.queries`)
    Query { name: String, comparison: Comparison, limit: f64 },
}

/// Which side of the limit is the bad one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    Above,
    Below,
}

/// A quantile of the response time: the digits as they are written (`95`, `999`, `99.9`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantile {
    digits: String,
}

impl Quantile {
    /// Returns the quantile that the digits after `response_time_p` name: `50`, `95`, `999` or `99.9`.
    ///
    /// One or two digits are a percentage; more are the digits after "0."; with a point, a percentage.
    /// `None` when it does not lie strictly between 0 and 1.
    #[must_use]
    pub fn parse(digits: &str) -> Option<Self> {
        let plain = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        let well_formed = match digits.split_once('.') {
            None => plain(digits),
            Some((whole, part)) => plain(whole) && plain(part),
        };
        let quantile = Self { digits: digits.to_owned() };
        let lies_inside = |q: f64| q > 0.0 && q < 1.0;
        (well_formed && digits.len() <= 8 && lies_inside(quantile.fraction())).then_some(quantile)
    }

    /// Returns the quantile as a fraction, 0.95 for `p95`.
    #[must_use]
    pub fn fraction(&self) -> f64 {
        let number = |s: &str| s.parse::<f64>().unwrap_or(f64::NAN);
        if self.digits.contains('.') || self.digits.len() <= 2 {
            number(&self.digits) / 100.0
        } else {
            number(&format!("0.{}", self.digits))
        }
    }
}

impl fmt::Display for Quantile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.digits)
    }
}

impl Condition {
    /// Returns the quantile of a condition on response times.
    #[must_use]
    pub fn quantile(&self) -> Option<&Quantile> {
        match self {
            Self::ResponseTime { quantile, .. } | Self::ResponseTimeRatio { quantile, .. } => {
                Some(quantile)
            }
            Self::ErrorRate { .. }
            | Self::HealthCheckFailures { .. }
            | Self::ErrorRateRatio { .. }
            | Self::TrafficShare { .. }
            | Self::Query { .. } => None,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ErrorRate { limit } => write!(f, "error_rate > {}%", tidy(limit * 100.0)),
            Self::ResponseTime { quantile, limit } => {
                write!(f, "response_time_{quantile} > {}ms", tidy(limit.as_secs_f64() * 1000.0))
            }
            Self::HealthCheckFailures { limit } => write!(f, "health_check_failures > {limit}"),
            Self::ErrorRateRatio { ratio } => write!(f, "error_rate > {ratio}x baseline"),
            Self::ResponseTimeRatio { quantile, ratio } => {
                write!(f, "response_time_{quantile} > {ratio}x baseline")
            }
            Self::TrafficShare { factor } => write!(f, "traffic_share < {factor}x asked"),
            Self::Query { name, comparison, limit } => {
                let sign = match comparison {
                    Comparison::Above => '>',
                    Comparison::Below => '<',
                };
                write!(f, "{name} {sign} {limit}")
            }
        }
    }
}

impl From<Condition> for String {
    fn from(condition: Condition) -> Self {
        condition.to_string()
    }
}

impl TryFrom<String> for Condition {
    type Error = ConditionError;

    fn try_from(text: String) -> Result<Self, ConditionError> {
        parse(&text)
    }
}

/// Why a text is not a condition. Byte offsets count from the text's start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConditionError {
    pub message: String,
    pub help: Option<String>,
    pub at: std::ops::Range<usize>,
}
