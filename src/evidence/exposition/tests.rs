use proptest::prelude::*;

use super::*;

/// What podinfo 6.9 exposes, shortened; `le` cut to three buckets.
const PODINFO: &str = r#"# HELP go_gc_duration_seconds A summary of the pause duration.
# TYPE go_gc_duration_seconds summary
go_gc_duration_seconds{quantile="0"} NaN
# HELP http_request_duration_seconds Seconds spent serving HTTP requests.
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{method="GET",path="root",status="200",le="0.005"} 90
http_request_duration_seconds_bucket{method="GET",path="root",status="200",le="0.1"} 95
http_request_duration_seconds_bucket{method="GET",path="root",status="200",le="+Inf"} 100
http_request_duration_seconds_sum{method="GET",path="root",status="200"} 16.48
http_request_duration_seconds_count{method="GET",path="root",status="200"} 100
http_request_duration_seconds_bucket{method="GET",path="root",status="503",le="0.005"} 1
http_request_duration_seconds_bucket{method="GET",path="root",status="503",le="0.1"} 2
http_request_duration_seconds_bucket{method="GET",path="root",status="503",le="+Inf"} 7
http_request_duration_seconds_count{method="GET",path="root",status="503"} 7
# TYPE http_requests_total counter
http_requests_total{status="200"} 101
http_requests_total{status="404"} 3
http_requests_total{status="503"} 7
"#;

/// express-prom-bundle: only a histogram.
const EXPRESS: &str = r#"up 1
http_request_duration_seconds_bucket{le="0.5",status_code="200",method="GET",path="/"} 4 1700000000000
http_request_duration_seconds_bucket{le="+Inf",status_code="200",method="GET",path="/"} 5
http_request_duration_seconds_count{status_code="200",method="GET",path="/"} 5
http_request_duration_seconds_bucket{le="0.5",status_code="500",method="GET",path="/"} 0
http_request_duration_seconds_bucket{le="+Inf",status_code="500",method="GET",path="/"} 2
http_request_duration_seconds_count{status_code="500",method="GET",path="/"} 2
"#;

/// OpenMetrics: exemplars, `_created`, a unit, a class in place of a status, `# EOF`.
const OPENMETRICS: &str = r##"# TYPE http_requests counter
# UNIT http_request_duration_seconds seconds
http_requests_total{handler="/a\"b\\c\nd, }# x",status="2xx"} 10.0 1520879607.789
http_requests_created{handler="/",status="2xx"} 1.605281325e9
http_requests_total{handler="/",status="5xx"} 2 # {trace_id="KOO5S4vxi0o"} 0.67
http_request_duration_seconds_bucket{le="1.0"} 11 # {trace_id="oHg5SJYRHA0"} 9.8 1520879607.789
http_request_duration_seconds_bucket{le="+Inf"} 12
# EOF
"##;

#[test]
fn real_dialects_are_summed() {
    let check = |text: &str, bounds_ms: &[f64], row: &[f64]| {
        assert_eq!(counters(text, Preset::Plain, bounds_ms), Ok(Counters(row.to_vec())));
    };
    check(PODINFO, &[5.0, 100.0], &[111.0, 7.0, 16.0, 10.0]);
    check(PODINFO, &[], &[111.0, 7.0]);
    check(EXPRESS, &[500.0], &[7.0, 2.0, 3.0]);
    check(OPENMETRICS, &[1000.0], &[12.0, 2.0, 1.0]);
    // A counter without a status: the histogram's count has one.
    check(&format!("http_requests_total 9\n{EXPRESS}"), &[500.0], &[7.0, 2.0, 3.0]);
}

/// gate's example before its first request: its counter has no series, its histogram has no status.
const UNASKED: &str = r#"http_request_duration_seconds_count 0
http_request_duration_seconds_bucket{le="0.005"} 0
http_request_duration_seconds_bucket{le="+Inf"} 0
"#;

#[test]
fn nothing_has_failed_where_nothing_was_asked() {
    assert_eq!(counters(UNASKED, Preset::Plain, &[5.0]), Ok(Counters(vec![0.0; 3])));
    assert_eq!(bounds(UNASKED, Preset::Plain), Ok(vec![5.0]));
    let asked = UNASKED.replace("count 0", "count 1");
    let why = counters(&asked, Preset::Plain, &[5.0]).unwrap_err();
    assert_eq!(why, ExpositionError::NoStatus { of: "http_request_duration_seconds_count" });
}

#[test]
fn the_bounds_are_those_that_every_series_has() {
    assert_eq!(bounds(PODINFO, Preset::Plain), Ok(vec![5.0, 100.0]));
    assert_eq!(bounds(OPENMETRICS, Preset::Plain), Ok(vec![1000.0]));
    let finer = "http_request_duration_seconds_bucket{le=\"0.25\",status_code=\"500\"} 0\n";
    assert_eq!(bounds(&format!("{EXPRESS}{finer}"), Preset::Plain), Ok(vec![500.0]));
    for bound in bounds(PODINFO, Preset::Plain).unwrap() {
        counters(PODINFO, Preset::Plain, &[bound]).unwrap();
    }
}

#[test]
fn each_problem_is_its_own_unknown() {
    let check = |text: &str, words: &str| {
        let unknown = Unknown::from(counters(text, Preset::Plain, &[100.0]).unwrap_err());
        assert!(unknown.to_string().contains(words), "{unknown}");
        unknown
    };
    check("", "no data from the application: no series of http_requests_total");
    check("up 1\n", "no series of http_requests_total");
    check("\n<!DOCTYPE html><html></html>", "HTML page");
    check("http_requests_total{status=\"200\"} 1\nhttp 502 bad gateway\n", "line 2");
    check("# EOF\nup 1\n", "after # EOF");
    check("http_requests_total 3\n", "no label that tells failed requests");
    check("http_requests_total{status=\"200\"} 3\n", "no series of http_request_duration_seconds");
    check(EXPRESS, "no bucket at 100 ms");
    assert_eq!(TEXT_BYTES_MAX, 8_388_608);
    check(&" ".repeat(TEXT_BYTES_MAX), "no series");
    check(&" ".repeat(TEXT_BYTES_MAX + 1), "longer than");
    for value in ["NaN", "+Inf", "-1"] {
        let unknown =
            check(&format!("http_requests_total{{code=\"200\"}} {value}\n"), "not a number");
        assert_eq!(unknown, Unknown::NotANumber { of: "http_requests_total".into() });
    }
    let mixed = "http_requests_total{status=\"200\"} 3\nhttp_requests_total 3\n";
    check(mixed, "no label that tells failed requests");
}

#[test]
fn a_label_that_grows_is_refused() {
    let check = |name: &'static str, label: &str| {
        let one = |n: usize| format!("{name}{{status=\"200\",user=\"{n}\"{label}}} 1\n");
        let many: String = (0..SERIES_MAX).map(one).collect();
        let got = bounds(&many, Preset::Plain);
        assert!(!matches!(got, Err(ExpositionError::TooManySeries { .. })), "{got:?}");
        let got = bounds(&format!("{many}{}", one(SERIES_MAX)), Preset::Plain);
        assert_eq!(got, Err(ExpositionError::TooManySeries { of: name }));
    };
    check("http_requests_total", "");
    check("http_request_duration_seconds_count", "");
    check("http_request_duration_seconds_bucket", ",le=\"1\"");
}

#[test]
fn a_preset_has_a_name() {
    assert_eq!(Preset::named("plain"), Some(Preset::Plain));
    assert_eq!(Preset::named("plan"), None);
}

#[test]
fn a_series_without_the_bucket_is_not_counted_as_slow() {
    let other = "http_request_duration_seconds_bucket{le=\"+Inf\",status_code=\"204\"} 100\n";
    let got = counters(&format!("{EXPRESS}{other}"), Preset::Plain, &[500.0]);
    assert!(matches!(got, Err(ExpositionError::NoBucket { .. })), "{got:?}");
}

#[test]
fn a_line_is_read_or_refused() {
    let read = |line: &str| samples(line).next().unwrap().map(|sample| sample.value);
    for line in ["a 1", "a{} 1", "a{b=\"c\",} 1", "a { b = \"c\" , d=\"\" } 1 -12", "a:b 1e0\r"] {
        assert_eq!(read(line), Ok(1.0), "{line}");
    }
    for line in [
        "1a 1",
        "a",
        "a x",
        "a{",
        "a{b} 1",
        "a{b=c} 1",
        "a{b=\"c} 1",
        "a{b=\"c\" d=\"e\"} 1",
        "a{=\"c\"} 1",
        "a 1 2 3",
        "a 1 x",
        "{\"a\"} 1",
        "é 1",
        "a{b:c=\"d\"} 1",
    ] {
        assert!(read(line).is_err(), "{line}");
    }
    let escaped = samples(OPENMETRICS).next().unwrap().unwrap();
    assert_eq!(escaped.label("handler"), Some("/a\"b\\c\nd, }# x"));
}

proptest! {
    #[test]
    fn garbage_never_panics(text in "\\PC{0,200}") {
        let _ = counters(&text, Preset::Plain, &[100.0]);
        let _ = bounds(&text, Preset::Plain);
    }

    #[test]
    fn damaged_metrics_never_panic(at in 0..PODINFO.len(), with in any::<char>(), cut in any::<bool>()) {
        let rest = if cut { "" } else { &PODINFO[at..] };
        let _ = counters(&format!("{}{with}{rest}", &PODINFO[..at]), Preset::Plain, &[5.0]);
    }

    #[test]
    fn any_label_value_comes_back(value in "\\PC{0,20}|[\\\\\"n\n]{0,8}") {
        let written = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let line = format!("a{{b=\"{written}\"}} 1");
        let sample = samples(&line).next().unwrap().unwrap();
        prop_assert_eq!(sample.label("b"), Some(value.as_str()));
    }
}
