//! What is said of the mistakes that people make.

use insta::assert_snapshot;

use super::refused;

/// A whole policy but for one piece, which begins in line 4, column 3.
fn with(piece: &str) -> String {
    format!(
        "deployment:\n  strategy: canary\n  auto_rollback: {{ conditions: [error_rate > 5%] }}\n  {piece}\n"
    )
}

/// Asserts that the piece is refused with exactly this one mistake, at this place.
fn check(piece: &str, place: &str, part: &str) {
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
        ("evidence: { queries: [up] }", "4:24", "expected a table, found a list"),
        ("evidence: { min_requests: -1 }", "4:29", "a whole number from 1"),
        ("insufficient_traffic: roll_back", "4:25", "did you mean `rollback`?"),
        ("insufficient_traffic: health-only", "4:25", "did you mean `health_only`?"),
        ("drain: 2h", "4:10", "between 0s and 1h"),
        ("drain: [10s]", "4:10", "expected a text, found a list"),
        ("hold_max: 30s", "4:13", "between 1m and 30days"),
        ("traffic: { router: ~ }", "4:22", "expected a text, found nothing"),
        ("traffic: { ignore_services: api }", "4:31", "expected a list, found `api`"),
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

/// Returns what is printed for these conditions under these further keys.
fn conditions(conditions: &[&str], more: &str) -> String {
    let list: String = conditions.iter().map(|c| format!("      - {c}\n")).collect();
    let text =
        format!("deployment:\n  strategy: canary\n{more}  auto_rollback:\n    conditions:\n{list}");
    refused(text.as_bytes()).to_string()
}

#[test]
fn mistakes_of_shape_and_of_meaning_come_together() {
    let text = "\
deployment:
  strategy: canary
  stages:
    - { share: 5%, hold: 60s }
    - { share: 5%, hold: 20s }
    - { share: 100, hold: 10 }
  health-check: { path: health }
  auto_rollback:
    conditions:
      - error_rate > 5
      - eror_rate > 5%
      - response_time_p95 >= 1000ms
";
    assert_snapshot!(refused(text.as_bytes()), @r#"
    error: the shares of the stages must rise
     --> policy.yaml:5:16
      |
    5 |     - { share: 5%, hold: 20s }
      |                ^^ not above the stage before: 5 %
      |
      = help: a canary only grows until it is promoted or rolled back

    error: the evidence judge needs a hold of at least 30s
     --> policy.yaml:5:26
      |
    5 |     - { share: 5%, hold: 20s }
      |                          ^^^
      |
      = help: a shorter one lets regressions pass; `evidence: { judge: threshold }` can do with less

    error: a share needs its unit
     --> policy.yaml:6:16
      |
    6 |     - { share: 100, hold: 10 }
      |                ^^^
      |
      = help: did you mean `100%`?

    error: a duration needs a unit
     --> policy.yaml:6:27
      |
    6 |     - { share: 100, hold: 10 }
      |                           ^^
      |
      = help: did you mean `10s`?

    error: unknown key `health-check`
     --> policy.yaml:7:3
      |
    7 |   health-check: { path: health }
      |   ^^^^^^^^^^^^
      |
      = help: did you mean `health_check`?

    error: an error rate needs a unit
      --> policy.yaml:10:22
       |
    10 |       - error_rate > 5
       |                      ^
       |
       = help: did you mean `5%`?

    error: gate knows no metric `eror_rate`
      --> policy.yaml:11:9
       |
    11 |       - eror_rate > 5%
       |         ^^^^^^^^^
       |
       = help: did you mean `error_rate`?

    error: `>=` can't be used here: limits are strict
      --> policy.yaml:12:27
       |
    12 |       - response_time_p95 >= 1000ms
       |                           ^^
       |
       = help: write `response_time_p95 > 1000ms`

    8 errors in policy.yaml
    "#);
}

#[test]
fn the_looser_of_two_limits_is_the_mistake() {
    assert_snapshot!(conditions(&["error_rate > 5%", "error_rate > 2%"], ""), @r#"
    error: `error_rate > 5%` is a second limit of the same kind
     --> policy.yaml:5:9
      |
    5 |       - error_rate > 5%
      |         ^^^^^^^^^^^^^^^
      |
      = note: the stricter one is in line 6
      = help: `error_rate > 2%` is the stricter one: remove this

    1 error in policy.yaml
    "#);
    assert_snapshot!(
        conditions(&["response_time_p95 > 300ms", "response_time_p99 > 2s"], ""),
        @r#"
    error: `response_time_p99 > 2000ms` is a second limit of the same kind
     --> policy.yaml:6:9
      |
    6 |       - response_time_p99 > 2s
      |         ^^^^^^^^^^^^^^^^^^^^^^
      |
      = note: the stricter one is in line 5
      = help: `response_time_p95 > 300ms` is the stricter one: remove this; the evidence judge takes one limit for all quantiles

    1 error in policy.yaml
    "#
    );
    assert_snapshot!(
        conditions(&["traffic_share < 0.5x asked", "traffic_share < 0.4x asked"], ""),
        @r#"
    error: `traffic_share < 0.4x asked` is a second limit of the same kind
     --> policy.yaml:6:9
      |
    6 |       - traffic_share < 0.4x asked
      |         ^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
      = note: the stricter one is in line 5
      = help: `traffic_share < 0.5x asked` is the stricter one: remove this

    1 error in policy.yaml
    "#
    );
}

#[test]
fn queries_belong_to_the_threshold_judge() {
    let known = "  evidence: { queries: { queue_depth: up } }\n";
    assert_snapshot!(conditions(&["queue_depth > 200"], known), @r#"
    error: the evidence judge can't judge the query `queue_depth`
     --> policy.yaml:6:9
      |
    6 |       - queue_depth > 200
      |         ^^^^^^^^^^^^^^^^^
      |
      = help: it needs counts; set `evidence: { judge: threshold }`

    1 error in policy.yaml
    "#);
    let threshold =
        "  evidence: { judge: threshold, queries: { queue_depth: up, error_rate: up, X: up } }\n";
    assert_snapshot!(conditions(&["queue_dept > 200"], threshold), @r#"
    error: `error_rate` is a metric of gate's own
     --> policy.yaml:3:61
      |
    3 |   evidence: { judge: threshold, queries: { queue_depth: up, error_rate: up, X: up } }
      |                                                             ^^^^^^^^^^
      |
      = help: give the query another name

    error: `X` can't be the name of a query
     --> policy.yaml:3:77
      |
    3 |   evidence: { judge: threshold, queries: { queue_depth: up, error_rate: up, X: up } }
      |                                                                             ^
      |
      = help: use small letters, digits and `_`, at most 64 of them

    error: there is no query `queue_dept`
     --> policy.yaml:6:9
      |
    6 |       - queue_dept > 200
      |         ^^^^^^^^^^^^^^^^
      |
      = help: did you mean `queue_depth`?

    3 errors in policy.yaml
    "#);
}

#[test]
fn blue_green_has_its_own_shares() {
    let text = "\
deployment:
  strategy: blue-green
  stages: [{ share: 10% }, { share: 100% }]
  auto_rollback: { conditions: [error_rate > 5%] }
";
    assert_snapshot!(refused(text.as_bytes()), @r#"
    error: blue-green has two stages: 0% and 100%
     --> policy.yaml:3:21
      |
    3 |   stages: [{ share: 10% }, { share: 100% }]
      |                     ^^^
      |
      = help: use `strategy: canary` for shares in between

    1 error in policy.yaml
    "#);
}

#[test]
fn a_misspelt_strategy_is_told() {
    for word in ["blue_green", "BlueGreen", "bluegren"] {
        let text = with("").replace("canary", word);
        assert!(refused(text.as_bytes()).to_string().contains("did you mean `blue-green`?"));
    }
}

#[test]
fn a_condition_is_one_text() {
    assert_snapshot!(conditions(&["error_rate: 5%"], ""), @r#"
    error: expected a condition, found a table
     --> policy.yaml:5:9
      |
    5 |       - error_rate: 5%
      |         ^^^^^^^^^^^^^^
      |
      = help: write `error_rate > LIMIT` as one text

    1 error in policy.yaml
    "#);
    assert_snapshot!(conditions(&["\"err\\x6fr_rate > 5\""], ""), @r#"
    error: an error rate needs a unit
     --> policy.yaml:5:9
      |
    5 |       - "err\x6fr_rate > 5"
      |         ^^^^^^^^^^^^^^^^^^^
      |
      = help: did you mean `5%`?

    1 error in policy.yaml
    "#);
}

#[test]
fn nothing_to_roll_back_on_is_a_mistake() {
    assert_snapshot!(refused(b"deployment:\n  strategy: blue-green\n"), @r#"
    error: no condition says when to roll back
     --> policy.yaml:2:3
      |
    2 |   strategy: blue-green
      |   ^^^^^^^^
      |
      = help: add `auto_rollback: { conditions: ["error_rate > 5%"] }`, or `enabled: false` to only observe

    1 error in policy.yaml
    "#);
}

#[test]
fn a_broken_file_is_told_with_line_and_column() {
    assert_snapshot!(refused(b"deployment:\n  stages: [{ share: 5% }\n  strategy: canary\n"), @r#"
    error: not YAML: illegal placement of ':' indicator
     --> policy.yaml:3:11
      |
    3 |   strategy: canary
      |           ^

    1 error in policy.yaml
    "#);
    assert_snapshot!(refused(b"deployment:\n  strategy: canary\n\tdrain: 5s\n"), @r#"
    error: a tab can't indent YAML
     --> policy.yaml:3:1
      |
    3 |     drain: 5s
      | ^^^^
      |
      = help: use spaces

    1 error in policy.yaml
    "#);
    assert_snapshot!(refused(b""), @r#"
    error: the file is empty
    --> policy.yaml:1:1

    1 error in policy.yaml
    "#);
}

#[test]
fn mistakes_are_data_too() {
    let report = refused(with("drain: 10").as_bytes());
    assert_snapshot!(serde_json::to_string_pretty(&report.findings()).unwrap(), @r#"
    [
      {
        "severity": "error",
        "file": "policy.yaml",
        "line": 4,
        "column": 10,
        "message": "a duration needs a unit",
        "help": "did you mean `10s`?"
      }
    ]
    "#);
}

#[test]
fn a_mistake_that_an_alias_repeats_is_told_once() {
    check("stages: [&s { share: 5, hold: 60s }, *s]", "4:24", "did you mean `5%`?");
}
