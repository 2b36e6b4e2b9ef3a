//! The grammar of conditions.

use proptest::prelude::*;

use super::super::{Comparison, Condition, Quantile, parse_condition};

#[test]
fn conditions_read_as_they_are_written() {
    let latency = |digits, ms| Condition::ResponseTime {
        quantile: Quantile::parse(digits).unwrap(),
        limit: std::time::Duration::from_millis(ms),
    };
    let query =
        |comparison, limit| Condition::Query { name: "queue_depth".into(), comparison, limit };
    let table = [
        ("error_rate > 5%", Condition::ErrorRate { limit: 0.05 }),
        ("error_rate>0.5 %", Condition::ErrorRate { limit: 0.005 }),
        ("  error_rate  >  90%  ", Condition::ErrorRate { limit: 0.9 }),
        ("response_time_p95 > 1000ms", latency("95", 1000)),
        ("response_time_p999 > 1.5 s", latency("999", 1500)),
        ("response_time_p99.9 >2s", latency("99.9", 2000)),
        ("health_check_failures > 3", Condition::HealthCheckFailures { limit: 3 }),
        ("health_check_failures > 0", Condition::HealthCheckFailures { limit: 0 }),
        ("error_rate > 1.3x baseline", Condition::ErrorRateRatio { ratio: 1.3 }),
        ("error_rate > 1.05 x  baseline", Condition::ErrorRateRatio { ratio: 1.05 }),
        (
            "response_time_p50 > 10xbaseline",
            Condition::ResponseTimeRatio { quantile: Quantile::parse("50").unwrap(), ratio: 10.0 },
        ),
        ("traffic_share < 0.5x asked", Condition::TrafficShare { factor: 0.5 }),
        ("queue_depth > 200", query(Comparison::Above, 200.0)),
        ("queue_depth < -0.25", query(Comparison::Below, -0.25)),
        ("response_time_p95 > 3600s", latency("95", 3_600_000)),
    ];
    for (text, expected) in table {
        assert_eq!(parse_condition(text).unwrap(), expected, "{text}");
    }
    assert!(parse_condition("_depth2 > 1").is_ok());
}

#[test]
fn a_condition_is_stored_as_it_is_written() {
    for text in ["error_rate > 5%", "response_time_p99.9 > 1500ms", "queue_depth < -0.25"] {
        let condition = parse_condition(text).unwrap();
        assert_eq!(serde_json::to_value(&condition).unwrap(), text);
        assert_eq!(serde_json::from_value::<Condition>(text.into()).unwrap(), condition);
    }
    let error = serde_json::from_value::<Condition>("error_rate > 5".into()).unwrap_err();
    assert_eq!(error.to_string(), "an error rate needs a unit");
}

/// Returns what is pointed at, the message and the hint.
fn refusal(text: &str) -> (String, String, String) {
    match parse_condition(text) {
        Ok(condition) => panic!("`{text}` was read as {condition:?}"),
        Err(error) => (text[error.at].to_owned(), error.message, error.help.unwrap_or_default()),
    }
}

#[test]
fn what_is_no_condition_is_pointed_at() {
    // text, what the caret stands under, a part of message or hint
    let table = [
        ("error_rate > 5", "5", "did you mean `5%`?"),
        ("error_rate > 0.05", "0.05", "did you mean `5%`?"),
        ("error_rate > 0.999", "0.999", "did you mean `99.9%`?"),
        ("error_rate > 1", "1", "did you mean `1%`?"),
        ("error_rate > 0", "0", "did you mean `0%`?"),
        ("error_rate > 5ms", "ms", "not a unit of an error rate"),
        ("error_rate > 1.3x", "x", "did you mean `1.3x baseline`?"),
        ("error_rate > 1.3x asked", "x asked", "did you mean `1.3x baseline`?"),
        ("error_rate > 5% baseline", "% baseline", "write `5%` or `1.3x baseline`"),
        ("error_rate > 0%", "0%", "lies above 0 and is at most 90%"),
        ("error_rate > -5%", "-5%", "lies above 0 and is at most 90%"),
        ("error_rate > 90.1%", "90.1%", "lies above 0 and is at most 90%"),
        ("error_rate > NaN%", "NaN%", "is not a number"),
        ("error_rate > inf%", "inf%", "is not a number"),
        ("error_rate > 1e3%", "e3%", "not a unit"),
        ("error_rate > 0.1234567890123456%", "0.1234567890123456%", "is not a number"),
        ("error_rate > 1.2.3%", "1.2.3%", "is not a number"),
        ("error_rate >= 5%", ">=", "write `error_rate > 5%`"),
        ("error_rate >= 5%", ">=", "limits are strict"),
        ("error_rate < 5%", "<", "write `error_rate > 5%`"),
        ("error_rate < 5%", "<", "it breaches when it is too large"),
        ("error_rate ≤ 5%", "≤", "it breaches when it is too large"),
        ("error_rate ≥ 5%", "≥", "write `error_rate > 5%`"),
        ("error_rate => 5%", "=>", "write `error_rate > 5%`"),
        ("error_rate > 1.04x baseline", "1.04x baseline", "between 1.05x and 10x"),
        ("error_rate > 11x baseline", "11x baseline", "between 1.05x and 10x"),
        ("error_rate", "error_rate", "needs `>` and a limit"),
        ("error_rate >", ">", "no limit"),
        ("> 5%", ">", "no metric"),
        ("", "", "needs `>` and a limit"),
        ("error_rates > 5%", "error_rates", "did you mean `error_rate`?"),
        ("eror_rate > 1.3x baseline", "eror_rate", "did you mean `error_rate`?"),
        ("Error_Rate > 5%", "Error_Rate", "did you mean `error_rate`?"),
        ("latency > 100ms", "latency", "known here: error_rate, response_time_p95"),
        ("response_time > 1s", "response_time", "write `response_time_p95`"),
        ("response_time_p95 > 1000", "1000", "did you mean `1000ms`?"),
        ("response_time_p95 > 2", "2", "did you mean `2s`?"),
        ("response_time_p95 > 9.9", "9.9", "did you mean `9.9s`?"),
        ("response_time_p95 > 10", "10", "did you mean `10ms`?"),
        ("response_time_p95 > 1m", "m", "write `1000ms`, `1s`"),
        ("response_time_p95 > 5%", "%", "write `1000ms`, `1s`"),
        ("response_time_p95 > 0ms", "0ms", "above 0"),
        ("response_time_p95 > -1s", "-1s", "above 0"),
        ("response_time_p95 > 3601s", "3601s", "at most 3600s"),
        ("response_time_p0 > 1s", "response_time_p0", "strictly between 0 and 1"),
        ("response_time_p100. > 1s", "response_time_p100.", "not a quantile"),
        ("response_time_p100.0 > 1s", "response_time_p100.0", "strictly between 0 and 1"),
        ("response_time_p99. > 1s", "response_time_p99.", "not a quantile"),
        ("response_time_p.5 > 1s", "response_time_p.5", "not a quantile"),
        ("response_time_p1e0 > 1s", "response_time_p1e0", "not a quantile"),
        ("response_time_p123456789 > 1s", "response_time_p123456789", "not a quantile"),
        ("response_time_p > 1s", "response_time_p", "not a quantile"),
        ("response_time_pxx > 1s", "response_time_pxx", "not a quantile"),
        ("health_check_failures > 3%", "%", "the limit has no unit"),
        ("health_check_failures > 2.5", "2.5", "whole"),
        ("health_check_failures > -1", "-1", "whole"),
        ("health_check_failures > 1001", "1001", "from 0 to 1000"),
        ("health_check_failures > many", "many", "write `health_check_failures > 3`"),
        ("traffic_share > 0.5x asked", ">", "write `traffic_share < 0.5x asked`"),
        ("traffic_share > 0.5x asked", ">", "a share breaches when it is too small"),
        ("traffic_share <= 0.5x asked", "<=", "limits are strict"),
        ("traffic_share < 50%", "%", "did you mean `0.5x asked`?"),
        ("traffic_share < 0.5", "0.5", "did you mean `0.5x asked`?"),
        ("traffic_share < 1x asked", "1x asked", "between 0x and 1x"),
        ("traffic_share < 0x asked", "0x asked", "between 0x and 1x"),
        ("queue_depth > 200 items", "200 items", "write `queue_depth > 200`"),
        ("queue_depth >= 200", ">=", "write `queue_depth > 200`"),
        ("queue_depth <= 200", "<=", "write `queue_depth < 200`"),
        ("queue depth > 200", "queue depth", "no metric `queue depth`"),
        ("2depth > 200", "2depth", "no metric `2depth`"),
    ];
    for (text, caret, part) in table {
        let (pointed_at, message, help) = refusal(text);
        assert_eq!(pointed_at, caret, "{text}: {message}");
        assert!(format!("{message}\n{help}").contains(part), "{text}: {message}; {help}");
    }
}

/// A decimal number of at most 15 digits, as a person might write it.
fn decimal(whole: std::ops::Range<u32>) -> impl Strategy<Value = String> {
    (whole, proptest::option::of("[0-9]{1,9}"))
        .prop_map(|(whole, part)| part.map_or(whole.to_string(), |part| format!("{whole}.{part}")))
}

fn written() -> impl Strategy<Value = String> {
    let quantile =
        || prop_oneof!["[1-9]", "[1-9][0-9]", "[1-9][0-9]{2,4}", "[1-9][0-9]\\.[0-9]{1,3}"];
    prop_oneof![
        decimal(0..91).prop_map(|n| format!("error_rate > {n}%")),
        decimal(1..11).prop_map(|n| format!("error_rate > {n}x baseline")),
        (quantile(), decimal(0..3601)).prop_map(|(q, n)| format!("response_time_p{q} > {n}s")),
        (quantile(), decimal(0..100_000)).prop_map(|(q, n)| format!("response_time_p{q} > {n}ms")),
        (quantile(), decimal(1..11))
            .prop_map(|(q, n)| format!("response_time_p{q} > {n}x baseline")),
        (0..1001_u32).prop_map(|n| format!("health_check_failures > {n}")),
        decimal(0..1).prop_map(|n| format!("traffic_share < {n}x asked")),
        ("[a-z_][a-z0-9_]{0,20}", "[<>]", "-?", decimal(0..100_000))
            .prop_map(|(name, sign, minus, n)| format!("{name} {sign} {minus}{n}")),
    ]
}

proptest! {
    #[test]
    fn what_is_printed_reads_as_the_same_condition(text in written()) {
        if let Ok(condition) = parse_condition(&text) {
            prop_assert_eq!(parse_condition(&condition.to_string()), Ok(condition));
        }
    }

    #[test]
    fn any_text_is_a_condition_or_pointed_at(text in "\\PC{0,40}|[a-z_]{1,12} ?[<>=]{0,2} ?[-0-9.]{0,6}\\PC{0,6}") {
        if let Err(error) = parse_condition(&text) {
            prop_assert!(text.get(error.at.clone()).is_some(), "{:?} of {:?}", error, text);
        }
    }
}
