//! Conditions as recordings write them, until they are read by the policy's own parser.

use std::time::Duration;

use crate::policy::{Condition, Quantile};

pub(super) const ALL: [&str; 6] = [
    "error_rate > 5%",
    "response_time_p95 > 1000ms",
    "health_check_failures > 3",
    "error_rate > 1.3x baseline",
    "response_time_p95 > 1.1x baseline",
    "traffic_share < 0.5x asked",
];

pub(super) fn conditions(texts: &[impl AsRef<str>]) -> Vec<Condition> {
    texts.iter().map(|text| condition(text.as_ref())).collect()
}

pub(super) fn condition(text: &str) -> Condition {
    let words: Vec<&str> = text.split_whitespace().collect();
    let number = |text: &str, end: &str| text.strip_suffix(end).and_then(|n| n.parse::<f64>().ok());
    let quantile = words[0].strip_prefix("response_time_p").and_then(Quantile::parse);
    match (quantile, words.as_slice()) {
        (None, ["error_rate", ">", n]) => {
            Condition::ErrorRate { limit: number(n, "%").unwrap() / 100.0 }
        }
        (None, ["health_check_failures", ">", n]) => {
            Condition::HealthCheckFailures { limit: n.parse().unwrap() }
        }
        (None, ["error_rate", ">", n, "baseline"]) => {
            Condition::ErrorRateRatio { ratio: number(n, "x").unwrap() }
        }
        (None, ["traffic_share", "<", n, "asked"]) => {
            Condition::TrafficShare { factor: number(n, "x").unwrap() }
        }
        (Some(quantile), [_, ">", n]) => {
            let ms = number(n, "ms").or_else(|| number(n, "s").map(|s| s * 1000.0)).unwrap();
            Condition::ResponseTime { quantile, limit: Duration::from_secs_f64(ms / 1000.0) }
        }
        (Some(quantile), [_, ">", n, "baseline"]) => {
            Condition::ResponseTimeRatio { quantile, ratio: number(n, "x").unwrap() }
        }
        _ => panic!("{text}: not a condition"),
    }
}
