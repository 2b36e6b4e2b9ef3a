//! The judge against its reference, against its mathematics, and against anything at all.

mod anything;
mod dice;
mod golden;
mod live;
mod mathematics;
mod numerics;
mod outlook;
mod rules;
mod story;

use crate::policy::{Condition, parse_condition};

/// Every condition that this judge knows.
const ALL: [&str; 6] = [
    "error_rate > 5%",
    "response_time_p95 > 1000ms",
    "health_check_failures > 3",
    "error_rate > 1.3x baseline",
    "response_time_p95 > 1.1x baseline",
    "traffic_share < 0.5x asked",
];

fn conditions(texts: &[impl AsRef<str>]) -> Vec<Condition> {
    texts.iter().map(|text| parse_condition(text.as_ref()).unwrap()).collect()
}
