//! How a condition is written: `METRIC > LIMIT`, or `METRIC < LIMIT` where less is worse.
//!
//! | written | read as |
//! |---|---|
//! | `error_rate > 5%` | [`Condition::ErrorRate`], in (0, 90 %] |
//! | `response_time_p95 > 1000ms`, `> 1s` | [`Condition::ResponseTime`], above 0 |
//! | `health_check_failures > 3` | [`Condition::HealthCheckFailures`] |
//! | `error_rate > 1.3x baseline` | [`Condition::ErrorRateRatio`], in [1.05, 10] |
//! | `response_time_p95 > 1.1x baseline` | [`Condition::ResponseTimeRatio`], in [1.05, 10] |
//! | `traffic_share < 0.5x asked` | [`Condition::TrafficShare`], in (0, 1) |
//! | `queue_depth > 200` | [`Condition::Query`] |
//!
//! Blanks don't matter. What `Display` prints reads as the same condition again.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use super::amount::{Amount, Unit, tidy};
use super::condition::{Comparison, Condition, ConditionError, Quantile};
use super::diagnostic::{did_you_mean, nearest};
use super::words::{Parsed, Parts, error};

/// The largest error limit: above it "every request fails" could not be told from the limit.
const ERROR_LIMIT_MAX: f64 = 0.9;

/// Times the baseline. Below, chance alone would breach it; above, it is no limit.
const RATIOS: RangeInclusive<f64> = 1.05..=10.0;

/// The largest limit of a response time: more is a slip in the unit.
const LATENCY_MAX: Duration = Duration::from_secs(3600);

/// The most failed probes that can be asked for: the window that they are counted in grows with them.
const FAILURES_MAX: u32 = 1000;

/// The longest name of a query, in bytes.
const NAME_BYTES_MAX: usize = 64;

const ERROR_RATE: &str = "error_rate";
const RESPONSE_TIME: &str = "response_time_p";
const HEALTH: &str = "health_check_failures";
const SHARE: &str = "traffic_share";

/// The metrics that gate knows by itself, as they are proposed to a user.
pub(super) const METRICS: [&str; 5] =
    [ERROR_RATE, "response_time_p95", "response_time_p99", HEALTH, SHARE];

/// Reads one condition. A name that gate does not know is a [`Condition::Query`] if its limit is a
/// plain number; whether there is such a query is for the policy to say.
///
/// # Errors
/// What is wrong, where in the text, and a hint.
pub fn parse(text: &str) -> Parsed<Condition> {
    let parts = Parts::of(text)?;
    let metric = Metric::of(&parts)?;
    check_operator(&parts, &metric)?;
    match metric {
        Metric::ErrorRate => error_rate(&parts),
        Metric::ResponseTime(quantile) => response_time(&parts, quantile),
        Metric::HealthCheckFailures => health_check_failures(&parts),
        Metric::TrafficShare => traffic_share(&parts),
        Metric::Named => query(&parts),
    }
}

/// Returns whether the name of a query would hide one of gate's own metrics.
#[must_use]
pub(super) fn is_reserved(name: &str) -> bool {
    METRICS.contains(&name) || name.starts_with(RESPONSE_TIME)
}

/// Returns whether a name is written as the names of queries are: `[a-z_][a-z0-9_]*`.
#[must_use]
pub(super) fn is_name(name: &str) -> bool {
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    begins && name.len() <= NAME_BYTES_MAX && name.bytes().all(letter)
}

enum Metric {
    ErrorRate,
    ResponseTime(Quantile),
    HealthCheckFailures,
    TrafficShare,
    Named,
}

impl Metric {
    fn of(parts: &Parts<'_>) -> Parsed<Self> {
        match parts.metric {
            ERROR_RATE => Ok(Self::ErrorRate),
            HEALTH => Ok(Self::HealthCheckFailures),
            SHARE => Ok(Self::TrafficShare),
            "response_time" => Err(error("a response time needs its quantile", &parts.metric_at)
                .help("write `response_time_p95` for the 95th percentile")),
            name => match name.strip_prefix(RESPONSE_TIME) {
                Some(digits) => Ok(Self::ResponseTime(quantile(digits, &parts.metric_at)?)),
                None => Ok(Self::Named),
            },
        }
    }
}

fn quantile(digits: &str, at: &Range<usize>) -> Parsed<Quantile> {
    Quantile::parse(digits).ok_or_else(|| {
        error(format!("`p{digits}` is not a quantile strictly between 0 and 1"), at)
            .help("write `p50`, `p95`, `p999` or `p99.9`")
    })
}

fn check_operator(parts: &Parts<'_>, metric: &Metric) -> Parsed<()> {
    let right = match metric {
        Metric::TrafficShare => parts.operator == "<",
        Metric::Named => matches!(parts.operator, "<" | ">"),
        Metric::ErrorRate | Metric::ResponseTime(_) | Metric::HealthCheckFailures => {
            parts.operator == ">"
        }
    };
    if right {
        return Ok(());
    }
    let small = parts.operator.starts_with(['<', '≤']);
    let (sign, why) = match metric {
        Metric::TrafficShare if small => ("<", "limits are strict"),
        Metric::TrafficShare => ("<", "a share breaches when it is too small"),
        Metric::Named if small => ("<", "limits are strict"),
        Metric::ErrorRate | Metric::ResponseTime(_) | Metric::HealthCheckFailures if small => {
            (">", "it breaches when it is too large")
        }
        Metric::ErrorRate
        | Metric::ResponseTime(_)
        | Metric::HealthCheckFailures
        | Metric::Named => (">", "limits are strict"),
    };
    let Parts { metric, operator, limit, .. } = parts;
    Err(error(format!("`{operator}` can't be used here: {why}"), &parts.operator_at)
        .help(format!("write `{metric} {sign} {limit}`")))
}

fn error_rate(parts: &Parts<'_>) -> Parsed<Condition> {
    let (amount, unit) = parts.amount("5%")?;
    let fraction = amount.value / 100.0;
    match unit {
        Unit::Percent if fraction > 0.0 && fraction <= ERROR_LIMIT_MAX => {
            Ok(Condition::ErrorRate { limit: fraction })
        }
        Unit::Percent => Err(parts.out_of_range("an error limit lies above 0 and is at most 90%")),
        Unit::TimesBaseline => Ok(Condition::ErrorRateRatio { ratio: ratio(parts, &amount)? }),
        Unit::None
        | Unit::Times
        | Unit::Milliseconds
        | Unit::Seconds
        | Unit::TimesAsked
        | Unit::Unknown => {
            Err(parts.wrong_unit(&amount, "an error rate", error_rate_help(&amount, unit)))
        }
    }
}

fn error_rate_help(amount: &Amount<'_>, unit: Unit) -> String {
    let number = amount.number;
    match unit {
        Unit::None if amount.value < 1.0 => {
            format!("did you mean `{}%`?", tidy(amount.value * 100.0))
        }
        Unit::None => format!("did you mean `{number}%`?"),
        Unit::Times | Unit::TimesAsked => format!("did you mean `{number}x baseline`?"),
        Unit::Percent
        | Unit::Milliseconds
        | Unit::Seconds
        | Unit::TimesBaseline
        | Unit::Unknown => "write `5%` or `1.3x baseline`".to_owned(),
    }
}

fn ratio(parts: &Parts<'_>, amount: &Amount<'_>) -> Parsed<f64> {
    if RATIOS.contains(&amount.value) {
        return Ok(amount.value);
    }
    Err(parts.out_of_range("a ratio to the baseline lies between 1.05x and 10x"))
}

fn response_time(parts: &Parts<'_>, quantile: Quantile) -> Parsed<Condition> {
    let (amount, unit) = parts.amount("1000ms")?;
    let nanos_each = match unit {
        Unit::Milliseconds => 1e6,
        Unit::Seconds => 1e9,
        Unit::TimesBaseline => {
            let ratio = ratio(parts, &amount)?;
            return Ok(Condition::ResponseTimeRatio { quantile, ratio });
        }
        Unit::None | Unit::Percent | Unit::Times | Unit::TimesAsked | Unit::Unknown => {
            let help = response_time_help(&amount, unit);
            return Err(parts.wrong_unit(&amount, "a response time", help));
        }
    };
    // Saturates, so what is far too long is still too long; a negative number is 0.
    let limit = Duration::from_nanos((amount.value * nanos_each).round() as u64);
    if limit.is_zero() || limit > LATENCY_MAX {
        return Err(
            parts.out_of_range("a limit of response time lies above 0 and is at most 3600s")
        );
    }
    Ok(Condition::ResponseTime { quantile, limit })
}

fn response_time_help(amount: &Amount<'_>, unit: Unit) -> String {
    let number = amount.number;
    match unit {
        Unit::None if amount.value < 10.0 => format!("did you mean `{number}s`?"),
        Unit::None => format!("did you mean `{number}ms`?"),
        Unit::Times | Unit::TimesAsked => format!("did you mean `{number}x baseline`?"),
        Unit::Percent
        | Unit::Milliseconds
        | Unit::Seconds
        | Unit::TimesBaseline
        | Unit::Unknown => "write `1000ms`, `1s` or `1.1x baseline`".to_owned(),
    }
}

fn health_check_failures(parts: &Parts<'_>) -> Parsed<Condition> {
    let help = "write `health_check_failures > 3`";
    let (amount, unit) = parts.amount("3").map_err(|error| error.help(help))?;
    if unit != Unit::None {
        let begin = parts.limit_at.start;
        let at = begin + amount.unit_at.start..begin + amount.unit_at.end;
        return Err(error("failed probes are counted: the limit has no unit", &at).help(help));
    }
    match amount.number.parse::<u32>() {
        Ok(limit) if limit <= FAILURES_MAX => Ok(Condition::HealthCheckFailures { limit }),
        Ok(_) | Err(_) => Err(parts
            .out_of_range("the number of failed probes is whole, from 0 to 1000")
            .help(help)),
    }
}

fn traffic_share(parts: &Parts<'_>) -> Parsed<Condition> {
    let (amount, unit) = parts.amount("0.5x asked")?;
    if unit != Unit::TimesAsked {
        let help = match unit {
            Unit::Percent => format!("did you mean `{}x asked`?", amount.value / 100.0),
            Unit::None | Unit::Times | Unit::TimesBaseline => {
                format!("did you mean `{}x asked`?", amount.number)
            }
            Unit::Milliseconds | Unit::Seconds | Unit::TimesAsked | Unit::Unknown => {
                "write `0.5x asked`".to_owned()
            }
        };
        return Err(parts.wrong_unit(&amount, "a traffic share", help));
    }
    if amount.value > 0.0 && amount.value < 1.0 {
        return Ok(Condition::TrafficShare { factor: amount.value });
    }
    Err(parts.out_of_range("the part of the share asked for lies between 0x and 1x"))
}

fn query(parts: &Parts<'_>) -> Parsed<Condition> {
    let name = parts.metric;
    if !is_name(name) {
        return Err(unknown_metric(parts));
    }
    match Amount::parse(parts.limit) {
        Some(amount) if amount.unit.is_empty() => Ok(Condition::Query {
            name: name.to_owned(),
            comparison: if parts.operator == "<" { Comparison::Below } else { Comparison::Above },
            limit: amount.value,
        }),
        Some(amount)
            if nearest(name, METRICS).is_none() && Unit::of(amount.unit) == Unit::Unknown =>
        {
            Err(error("the limit of a query is a plain number", &parts.limit_at)
                .help(format!("write `{name} {} {}`", parts.operator, amount.number)))
        }
        Some(_) => Err(unknown_metric(parts)),
        None => Err(error(format!("`{}` is not a number", parts.limit), &parts.limit_at)),
    }
}

fn unknown_metric(parts: &Parts<'_>) -> ConditionError {
    let name = parts.metric;
    error(format!("gate knows no metric `{name}`"), &parts.metric_at)
        .help(did_you_mean(name, &METRICS))
}
