//! What a policy asks of this judge, checked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::config::{
    BOUNDS_MAX, DISASTER_THETA, DISASTER_THETA_MAX, Q_DISASTER, SHARE_THETA, TOL_ERR_RATIO,
    TOL_LAT_RATIO,
};
use super::parts::{Part, Parts};
use crate::policy::Condition;

/// Largest absolute limit of the error rate: above it there is nothing left to find.
const ERROR_MAX: f64 = 0.9;
/// Smallest quantile with a limit: below it "slower than the limit" is nearly every request.
const QUANTILE_MIN: f64 = 0.1;
const RATIOS: std::ops::RangeInclusive<f64> = 1.05..=10.0;

/// A policy or a recording that can't be judged. Nothing was judged.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    #[error("there is no condition to judge")]
    NoCondition,
    #[error("{condition}: gauges have no proof; use `judge: threshold` for them")]
    NotForThisJudge { condition: String },
    #[error(
        "{condition}: a second limit of this kind on the same metric would never be reached first"
    )]
    TwoOfAKind { condition: String },
    #[error("{condition}: {rule}")]
    OutOfRange { condition: String, rule: &'static str },
    #[error("latency bounds must be at most {max} rising numbers of milliseconds above 0")]
    Bounds { max: usize },
    #[error("a limit of the response time needs at least two latency bounds")]
    TooFewBounds,
    #[error(
        "no latency bounds around {limit_ms} ms: it could never be passed or never be breached"
    )]
    NoBoundsAround { limit_ms: f64 },
    #[error("samples every {seconds} s are too rare: scrape at least every 60 s")]
    TooRare { seconds: f64 },
    #[error("the first line is not the header of a gate.recording/v1: {what}")]
    NotARecording { what: String },
    #[error("header: {what}")]
    Header { what: &'static str },
}

/// A quantile of the response time and what it may be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct QuantileLimit {
    /// As a fraction.
    pub q: f64,
    /// Milliseconds, or a ratio to the baseline's.
    pub limit: f64,
}

impl QuantileLimit {
    /// The rate of slow requests that an absolute limit allows.
    pub(super) fn theta(self) -> f64 {
        1.0 - self.q
    }
}

/// Which limit a condition is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Error,
    Latency,
    Health,
    ErrorRatio,
    LatencyRatio,
    Share,
}

impl Kind {
    /// The parts of the evidence that speak for this condition.
    pub(super) const fn parts(self) -> &'static [Part] {
        match self {
            Self::Error => &[Part::ErrAbs, Part::Disaster],
            Self::Latency => &[Part::LatAbs],
            Self::Health => &[Part::Health],
            Self::ErrorRatio => &[Part::ErrRel],
            Self::LatencyRatio => &[Part::LatRel],
            Self::Share => &[Part::Share],
        }
    }
}

/// A condition as the policy states it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Stated {
    pub kind: Kind,
    pub text: String,
}

/// The limits of a policy: at most one of a kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Limits {
    /// In the policy's order.
    pub stated: Vec<Stated>,
    /// The parts of the evidence, with their shares of α.
    pub weights: Parts,
    pub error: Option<f64>,
    pub latency: Option<QuantileLimit>,
    pub health: Option<u32>,
    pub error_ratio: Option<f64>,
    pub latency_ratio: Option<QuantileLimit>,
    pub share: Option<f64>,
}

impl Limits {
    /// # Errors
    /// A condition that this judge has no proof for, or limits that could never be reached.
    pub(super) fn read(conditions: &[Condition]) -> Result<Self, Refused> {
        let mut limits = Self {
            stated: Vec::new(),
            weights: Parts::weights(&[]),
            error: None,
            latency: None,
            health: None,
            error_ratio: None,
            latency_ratio: None,
            share: None,
        };
        for condition in conditions {
            limits.state(condition)?;
        }
        let has_disaster = !limits.disaster_rates().is_empty();
        let parts: Vec<Part> = limits
            .stated
            .iter()
            .flat_map(|stated| stated.kind.parts())
            .copied()
            .filter(|part| *part != Part::Disaster || has_disaster)
            .collect();
        if parts.is_empty() {
            return Err(Refused::NoCondition);
        }
        limits.weights = Parts::weights(&parts);
        Ok(limits)
    }

    fn state(&mut self, condition: &Condition) -> Result<(), Refused> {
        let text = condition.to_string();
        if let Some(rule) = broken_rule(condition) {
            return Err(Refused::OutOfRange { condition: text, rule });
        }
        let kind = match condition {
            Condition::ErrorRate { limit } => {
                self.error = Some(*limit);
                Kind::Error
            }
            Condition::ResponseTime { quantile, limit } => {
                self.latency =
                    Some(QuantileLimit { q: quantile.fraction(), limit: milliseconds(*limit) });
                Kind::Latency
            }
            Condition::HealthCheckFailures { limit } => {
                self.health = Some(*limit);
                Kind::Health
            }
            Condition::ErrorRateRatio { ratio } => {
                self.error_ratio = Some(*ratio);
                Kind::ErrorRatio
            }
            Condition::ResponseTimeRatio { quantile, ratio } => {
                self.latency_ratio = Some(QuantileLimit { q: quantile.fraction(), limit: *ratio });
                Kind::LatencyRatio
            }
            Condition::TrafficShare { factor } => {
                self.share = Some(*factor);
                Kind::Share
            }
            Condition::Query { .. } => return Err(Refused::NotForThisJudge { condition: text }),
        };
        if self.stated.iter().any(|stated| stated.kind == kind) {
            return Err(Refused::TwoOfAKind { condition: text });
        }
        self.stated.push(Stated { kind, text });
        Ok(())
    }

    /// # Errors
    /// Latency bounds that make no sense, or that the limits can't be judged with.
    pub(super) fn check_bounds(&self, bounds: &[f64]) -> Result<(), Refused> {
        let rising = bounds.windows(2).all(|pair| pair[0] < pair[1]);
        let positive = bounds.iter().all(|b| b.is_finite() && *b > 0.0);
        if !rising || !positive || bounds.len() > BOUNDS_MAX {
            return Err(Refused::Bounds { max: BOUNDS_MAX });
        }
        let (Some(first), Some(last)) = (bounds.first(), bounds.last()) else {
            return if self.want_latency() { Err(Refused::TooFewBounds) } else { Ok(()) };
        };
        if self.want_latency() && bounds.len() < 2 {
            return Err(Refused::TooFewBounds);
        }
        match self.latency {
            Some(latency) if !(*first..=*last).contains(&latency.limit) => {
                Err(Refused::NoBoundsAround { limit_ms: latency.limit })
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) const fn want_latency(&self) -> bool {
        self.latency.is_some() || self.latency_ratio.is_some()
    }

    pub(super) fn error_tolerance(&self) -> f64 {
        self.error_ratio.unwrap_or(TOL_ERR_RATIO)
    }

    pub(super) fn latency_tolerance(&self) -> f64 {
        self.latency_ratio.map_or(TOL_LAT_RATIO, |limit| limit.limit)
    }

    pub(super) fn share_factor(&self) -> f64 {
        self.share.unwrap_or(SHARE_THETA)
    }

    /// Error rate from which on a release is a disaster.
    pub(super) fn disaster_theta(&self) -> f64 {
        self.error.map_or(DISASTER_THETA, |limit| DISASTER_THETA.max(2.0 * limit))
    }

    /// Alternatives above it; none where the limit leaves no room.
    pub(super) fn disaster_rates(&self) -> Vec<f64> {
        let theta = self.disaster_theta();
        let room = self.error.is_some() && theta < DISASTER_THETA_MAX;
        Q_DISASTER.iter().copied().filter(|q| room && *q > theta).collect()
    }

    /// The condition that a part speaks for.
    pub(super) fn stated_for(&self, part: Part) -> Option<&Stated> {
        self.stated.iter().find(|stated| stated.kind.parts().contains(&part))
    }
}

/// The rule that a condition's number breaks, if it does.
fn broken_rule(condition: &Condition) -> Option<&'static str> {
    let (ok, rule) = match condition {
        Condition::ErrorRate { limit } => (
            *limit > 0.0 && *limit <= ERROR_MAX,
            "an error limit lies above 0 % and at most at 90 %",
        ),
        Condition::ResponseTime { quantile, limit } => (
            !limit.is_zero() && quantile.fraction() >= QUANTILE_MIN,
            "a limit of the response time lies above 0 ms, its quantile at p10 or higher",
        ),
        Condition::ErrorRateRatio { ratio } | Condition::ResponseTimeRatio { ratio, .. } => {
            (RATIOS.contains(ratio), "a ratio lies between 1.05 and 10")
        }
        Condition::TrafficShare { factor } => {
            (*factor > 0.0 && *factor < 1.0, "the factor lies between 0 and 1")
        }
        Condition::HealthCheckFailures { .. } | Condition::Query { .. } => return None,
    };
    (!ok).then_some(rule)
}

/// By way of seconds, 1001 ms would become 1000.9999999999999.
fn milliseconds(limit: Duration) -> f64 {
    limit.as_nanos() as f64 / 1e6
}
