//! How mistakes are printed, and that all of a file come at once.

use insta::assert_snapshot;

use super::refusals::{check, with};
use super::refused;

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
