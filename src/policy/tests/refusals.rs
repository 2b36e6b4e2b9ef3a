//! What is said of the mistakes that people make.

use super::refused;

/// A whole policy but for one piece, which begins in line 4, column 3.
pub(super) fn with(piece: &str) -> String {
    format!(
        "deployment:\n  strategy: canary\n  auto_rollback: {{ conditions: [error_rate > 5%] }}\n  {piece}\n"
    )
}

/// Asserts that the piece is refused with exactly this one mistake, at this place.
pub(super) fn check(piece: &str, place: &str, part: &str) {
    let report = refused(with(piece).as_bytes());
    let findings = report.findings();
    let [only] = findings.as_slice() else { panic!("{piece}: {report}") };
    let said = format!("{}; {}", only.message, only.help.as_deref().unwrap_or_default());
    assert_eq!(format!("{}:{}", only.line, only.column), place, "{piece}: {said}");
    assert!(said.contains(part), "{piece}: {said}");
}

#[test]
fn each_mistake_is_told_with_its_place() {
    let table = [
        ("stage: []", "4:3", "unknown key `stage`; did you mean `stages`?"),
        ("xyz: 1", "4:3", "unknown key `xyz`; known here: strategy, stages"),
        ("strategy: canary", "4:3", "the key `strategy` is written twice"),
        ("? [a, b]\n  : c", "4:5", "a key must be a word"),
        ("drain: !!js 10s", "4:15", "the tag `!!js` means nothing here"),
        ("<<: 5", "4:7", "`<<` takes in a table"),
        ("stages:", "4:9", "expected a list, found nothing"),
        ("stages: 5%", "4:11", "expected a list, found `5%`"),
        ("stages: []", "4:11", "there is no stage"),
        ("stages: [5%]", "4:12", "expected a table, found `5%`"),
        ("stages: [{ hold: 60s }]", "4:14", "the key `share` is missing"),
        ("stages: [{ share: 100 }]", "4:21", "a share needs its unit; did you mean `100%`?"),
        ("stages: [{ share: 0.5 }]", "4:21", "did you mean `50%`?"),
        ("stages: [{ share: all }]", "4:21", "expected a share of traffic, found `all`"),
        ("stages: [{ share: 101% }]", "4:21", "between 0% and 100%"),
        ("stages: [{ share: -1% }]", "4:21", "between 0% and 100%"),
        ("stages: [{ share: 5.001% }]", "4:21", "exact to 0.01%; the nearest is `5%`"),
        ("stages: [{ share: 5ms }]", "4:22", "`ms` is not a unit of a share"),
        ("stages: [{ share: 50% }, { share: 50% }, { share: 100% }]", "4:37", "must rise"),
        ("stages: [{ share: 5% }, { share: 100%, hold: 29s }]", "4:48", "at least 30s"),
        ("stages: [{ share: 100%, hold: 60 }]", "4:33", "needs a unit; did you mean `60s`?"),
        ("stages: [{ share: 100%, hold: soon }]", "4:33", "expected a duration, found `soon`"),
        ("stages: [{ share: 100%, hold: -5s }]", "4:33", "expected a duration"),
        ("stages: [{ share: 100%, hold: 30days }]", "4:33", "between 1s and 7days"),
        (
            "stages: [{ share: 100%, hold: 5m, deadline: 4m }]",
            "4:47",
            "before the hold of 5m is over",
        ),
        ("stages: [{ share: 100%, deadline: 59s }]", "4:37", "before the hold of 1m is over"),
        ("stages: [{ share: 100%, approval: yes }]", "4:37", "expected `true` or `false`"),
        ("stages: [{ share: 100%, approval: \"true\" }]", "4:37", "expected `true` or `false`"),
        ("health_check: { interval: 5s }", "4:19", "the key `path` is missing"),
        ("health_check: { path: health }", "4:25", "did you mean `/health`?"),
        ("health_check: { path: /, interval: 31s }", "4:38", "between 1s and 30s"),
        ("health_check: { path: /, threshold: 0 }", "4:39", "from 1 to 100, found `0`"),
        ("health_check: { path: /, threshold: 2.5 }", "4:39", "a whole number from 1 to 100"),
        ("health_check: { path: /, port: 65536 }", "4:34", "from 1 to 65535"),
        ("evidence: { judge: threshhold }", "4:22", "did you mean `threshold`?"),
        ("evidence: { judge: statistics }", "4:22", "known here: evidence, threshold"),
        ("evidence: { interval: 16s }", "4:25", "between 1s and 15s"),
        ("evidence: { interval: 500ms }", "4:25", "between 1s and 15s"),
        ("evidence: { judge: threshold, looks: 0 }", "4:40", "from 1 to 100"),
        ("evidence: { judge: threshold, interval: 10s, window: 5s }", "4:56", "shorter than the"),
        ("evidence: { queries: [up] }", "4:24", "expected a table, found a list"),
        ("evidence: { min_requests: -1 }", "4:29", "a whole number from 1"),
        ("insufficient_traffic: roll_back", "4:25", "did you mean `rollback`?"),
        ("insufficient_traffic: health-only", "4:25", "did you mean `health_only`?"),
        ("drain: 2h", "4:10", "between 0s and 1h"),
        ("drain: [10s]", "4:10", "expected a text, found a list"),
        ("hold_max: 30s", "4:13", "between 1m and 30days"),
        ("traffic: { router: ~ }", "4:22", "expected a text, found nothing"),
        ("traffic: { router: istio }", "4:22", "known here: service, gateway-api"),
        ("traffic: { router: gatway-api }", "4:22", "did you mean `gateway-api`?"),
        ("traffic: { router: service, route: shop }", "4:31", "no use for `route`"),
        (
            "traffic: { router: service, testers: { header: x, value: y } }",
            "4:31",
            "no use for `testers`",
        ),
        ("traffic: { ignore_services: api }", "4:31", "expected a list, found `api`"),
        ("traffic: { tester: {} }", "4:14", "did you mean `testers`?"),
        ("traffic: { testers: { header: x } }", "4:25", "the key `value` is missing"),
        ("traffic: { testers: { value: x } }", "4:25", "the key `header` is missing"),
        ("traffic: { testers: { header: ~, value: x } }", "4:33", "expected a text, found nothing"),
        ("traffic: { testers: { header: x, value: '' } }", "4:43", "expected a text"),
        ("traffic: { testers: { header: ':path', value: x } }", "4:33", "name of a header"),
        ("traffic: { testers: { header: x y, value: x } }", "4:33", "letters, digits and !#$"),
        ("traffic: { testers: { header: größe, value: x } }", "4:33", "at most 256"),
        ("traffic: { testers: { header: Host, value: x } }", "4:33", "names the application"),
        ("traffic: { testers: { header: x, value: ' y' } }", "4:43", "begins or ends with"),
        ("traffic: { testers: { header: x, value: 'y ' } }", "4:43", "begins or ends with"),
        ("traffic: { testers: { header: x, value: \"y\\tz\" } }", "4:43", "control character"),
        ("freeze: [{ from: Fri 16:00, to: Mon 08:00 }]", "4:14", "the key `zone` is missing"),
        (
            "freeze: [{ from: Fri, to: Mon 08:00, zone: UTC }]",
            "4:20",
            "expected a moment, found `Fri`",
        ),
        ("freeze: [{ from: 24:00, to: 06:00, zone: UTC }]", "4:20", "expected a moment"),
        ("freeze: [{ from: Fri 16:00, to: 08:00, zone: UTC }]", "4:35", "in the same form"),
        ("freeze: [{ from: 08:00, to: 08:00, zone: UTC }]", "4:31", "the window is empty"),
        (
            "freeze: [{ from: 2026-12-24 18:00, to: 2026-12-23 18:00, zone: UTC }]",
            "4:42",
            "ends before it begins",
        ),
        ("freeze: [{ from: 22:00, to: 06:00, zone: Europe/Berln }]", "4:44", "`Europe/Berlin`?"),
        ("freeze: [{ from: 22:00, to: 06:00, zone: CEST+1 }]", "4:44", "an IANA name"),
    ];
    for (piece, place, part) in table {
        check(piece, place, part);
    }
}

#[test]
fn the_ends_of_every_range_are_allowed() {
    for piece in [
        "stages: [{ share: 0% }, { share: 0.01% }, { share: 100% }]",
        "stages: [{ share: 100%, hold: 30s, deadline: 30s }]",
        "stages: [{ share: 100%, hold: 7days, deadline: 7days }]",
        "evidence: { judge: threshold }\n  stages: [{ share: 100%, hold: 1s }]",
        "evidence: { judge: threshold, interval: 15s, window: 15s, looks: 100, min_requests: 1 }",
        "evidence: { interval: 1s }",
        "health_check: { path: /, interval: 1s, threshold: 1, port: 65535 }",
        "health_check: { path: /, interval: 30s, threshold: 100, port: 1 }",
        "drain: 0s\n  rollback_drain: 1h\n  hold_max: 1m\n  approval_timeout: 30days",
        "prepare: { deadline: 1s }\n  adopt: { deadline: 24h }",
        "prepare: {}\n  traffic: {}\n  evidence: {}\n  freeze: []",
    ] {
        super::policy(&with(piece));
    }
}

/// How long the name and the value of the testers' header are, and what is said against it.
#[track_caller]
fn check_lengths(name: usize, value: usize, expected: Option<&str>) {
    let (name, value) = ("x".repeat(name), "é".repeat(value));
    let text = with(&format!("traffic: {{ testers: {{ header: {name}, value: {value} }} }}"));
    let Some(expected) = expected else {
        super::policy(&text);
        return;
    };
    let report = refused(text.as_bytes());
    let [only] = report.notes() else { panic!("{report}") };
    assert!(only.message.contains(expected), "{report}");
}

#[test]
fn a_testers_header_is_as_long_as_the_gateway_api_takes_it() {
    check_lengths(1, 1, None);
    check_lengths(256, 4096, None);
    check_lengths(257, 1, Some("the name of a header"));
    check_lengths(1, 4097, Some("at most 4096 characters, this has 4097"));
    let marks = "traffic: { testers: { header: \"a!#$%&'*+-.^_`|~9\", value: a b } }";
    super::policy(&with(marks));
}

#[test]
fn blue_green_takes_its_own_two_stages_only() {
    let stages = |stages: &str| {
        format!(
            "deployment:\n  strategy: blue-green\n  auto_rollback: {{ enabled: false }}\n  stages: [{stages}]\n"
        )
    };
    super::policy(&stages(
        "{ share: 0%, hold: 1m, approval: true }, { share: 100%, deadline: 1h }",
    ));
    for (written, column) in [
        ("{ share: 0% }", 21),
        ("{ share: 100% }", 21),
        ("{ share: 0% }, { share: 50% }", 36),
        ("{ share: 0% }, { share: 100% }, { share: 100% }", 53),
    ] {
        let report = refused(stages(written).as_bytes());
        let places: Vec<usize> = report.findings().iter().map(|f| f.column).collect();
        assert_eq!(places, [column], "{report}");
    }
}

#[test]
fn the_threshold_judge_tells_quantiles_apart() {
    let judged = |conditions: &str| {
        format!(
            "deployment:\n  strategy: canary\n  evidence: {{ judge: threshold, queries: {{ depth: up }} }}\n  \
             auto_rollback: {{ conditions: [depth > 1, {conditions}] }}\n"
        )
    };
    super::policy(&judged("response_time_p95 > 1s, response_time_p99 > 2s, depth < 0"));
    for twice in ["response_time_p95 > 1s, response_time_p95 > 2s", "depth > 2", "depth > 1"] {
        assert_eq!(refused(judged(twice).as_bytes()).notes().len(), 1, "{twice}");
    }
}

#[test]
fn of_two_limits_the_one_that_breaches_sooner_stays() {
    let all_quantiles = "; the evidence judge takes one limit for all quantiles";
    let (threshold, evidence) = ("judge: threshold, queries: { depth: up }", "judge: evidence");
    // who judges, the two limits, which of them goes, and what is said besides
    let table = [
        (threshold, ["depth > 1", "depth > 2"], 1, ""),
        (threshold, ["depth < 1", "depth < 2"], 0, ""),
        (evidence, ["traffic_share < 0.4x asked", "traffic_share < 0.5x asked"], 0, ""),
        (evidence, ["response_time_p95 > 2000ms", "response_time_p95 > 1000ms"], 0, ""),
        (evidence, ["response_time_p95 > 1000ms", "response_time_p99 > 2000ms"], 1, all_quantiles),
        (evidence, ["error_rate > 1.3x baseline", "error_rate > 1.2x baseline"], 0, ""),
        (evidence, ["health_check_failures > 3", "health_check_failures > 3"], 1, ""),
    ];
    for (judge, limits, looser, why) in table {
        let text = format!(
            "deployment:\n  strategy: canary\n  evidence: {{ {judge} }}\n  \
             auto_rollback: {{ conditions: [\"{}\", \"{}\"] }}\n",
            limits[0], limits[1]
        );
        let report = refused(text.as_bytes());
        let [only] = report.notes() else { panic!("{report}") };
        assert_eq!(
            only.message,
            format!("`{}` is a second limit of the same kind", limits[looser])
        );
        let help = format!("`{}` is the stricter one: remove this{why}", limits[1 - looser]);
        assert_eq!(only.help.as_deref(), Some(help.as_str()));
    }
}
