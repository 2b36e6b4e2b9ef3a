//! What needs no host.

use std::process::Stdio;

use serde_json::Value;

use crate::common::{Gate, Ran};

const APP: &str = include_str!("../../examples/local/checkout.yaml");
const SEED: &str = include_str!("../../policies/seed.yaml");

const BAD_POLICY: &str = "\
deployment:
  strategy: canarry
  stages:
    - { share: 120%, hold: 5 }
  auto_rollback:
    conditions:
      - error_rate > 5
      - latency_p95 > 1000ms
";

const TESTERS: &str =
    "  traffic: { router: gateway-api, testers: { header: x-release, value: next } }\n";

/// An app file without a policy of its own.
fn bare_app() -> String {
    let start = APP.find("deployment:").unwrap();
    let end = APP.find("# {gate} is this binary").unwrap();
    format!("{}{}", &APP[..start], &APP[end..])
}

fn run(line: &str) -> Ran {
    let gate = Gate::line(line).file("app.yaml", APP).file("bad.yaml", BAD_POLICY);
    gate.file("testers.yaml", &format!("{SEED}{TESTERS}")).run()
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
fn exits(line: &str, code: i32, said: &str) {
    let ran = run(line);
    assert_eq!(ran.code, code, "{line}\n{}", ran.all());
    assert!(ran.stderr.contains(said), "{line}: no {said:?} in\n{}", ran.stderr);
    assert_eq!(ran.stdout, "", "{line}: a mistake is no answer");
}

#[test]
fn mistakes_of_usage_exit_with_2() {
    exits("", 2, "Usage");
    exits("frobnicate", 2, "unrecognized subcommand");
    exits("--output yaml version", 2, "invalid value");
    exits("--output yaml version", 2, "invalid value");
    exits("--color sometimes version", 2, "invalid value");
    exits("--timeout soon version", 2, "invalid value");
    exits("-q -v version", 2, "cannot be used with");
    exits("plan", 2, "required");
    exits("plan app.yaml", 2, "--release");
    exits("plan local/../x --release v2", 2, "not the name of an app");
    exits("plan nothing.yaml --release v2", 2, "can't read nothing.yaml");
    exits("plan app.yaml --release v3", 2, "has no release `v3`");
    exits("plan app.yaml --release v2 --policy canry", 2, "did you mean `canary`?");
    exits("plan app.yaml --release v2 --policy bad.yaml", 2, "bad.yaml:2:13");
    for command in ["plan", "promote"] {
        let line = format!("{command} app.yaml --release v2 --policy testers.yaml");
        exits(&line, 2, "leave `traffic.testers` out of the policy");
    }
    exits("promote app.yaml --release v3", 2, "has no release `v3`");
    exits("promote app.yaml --release v2 --policy bad.yaml", 2, "bad.yaml:2:13");
    exits("promote app.yaml --release v2 --on-cancel detach", 2, "needs a host");
    exits("promote app.yaml --release v2 --load 0", 2, "`--load 0` can't be made");
    exits("approve local/checkout --stage 0", 2, "invalid value");
    exits("status", 2, "no app is known here");
    exits("serve nothing.yaml", 2, "can't read nothing.yaml");
    exits("history local/checkout --id x", 2, "no promotion \"x\"");
    exits("validate", 2, "required");
    exits("completions cobol", 2, "invalid value");
}

#[test]
fn a_host_that_is_not_there_exits_with_6() {
    for line in [
        "plan local/checkout --release v2",
        "promote local/checkout --release v2",
        "status local/checkout",
        "abort local/checkout",
        "hold local/checkout",
        "resume local/checkout",
        "approve local/checkout",
        "retry local/checkout",
        "rollback local/checkout",
    ] {
        exits(line, 6, "start it with `gate serve");
    }
    exits("abort app.yaml", 6, "start it with `gate serve app.yaml`");
}

#[test]
fn a_promotion_that_never_began_has_a_result_for_programs() {
    let ran = run("promote local/checkout --release v2 --output json");
    let lines = objects(&ran.stdout);
    assert_eq!(ran.code, 6);
    assert_eq!(lines.len(), 1);
    let expected = [
        ("schema", Value::from("gate.result/v1")),
        ("result", "error".into()),
        ("exit_code", 6.into()),
        ("target", "local/checkout".into()),
        ("candidate_revision", "v2".into()),
        ("traffic", "unchanged".into()),
    ];
    for (key, value) in expected {
        assert_eq!(lines[0][key], value, "{key}");
    }
}

#[test]
fn help() {
    insta::assert_snapshot!(run("--help").all());
}

#[test]
fn help_of_promote() {
    insta::assert_snapshot!(run("promote -h").all());
}

#[test]
fn plan_of_an_app_file() {
    insta::assert_snapshot!(run("plan app.yaml --release v2").all());
}

#[test]
fn plan_of_a_blue_green_policy() {
    insta::assert_snapshot!(run("plan app.yaml --release v2 --policy blue-green").all());
}

#[test]
fn a_dry_run_is_the_plan() {
    let plan = run("plan app.yaml --release v2");
    let dry = run("promote app.yaml --release v2 --dry-run");
    assert_eq!(plan.all(), dry.all());
}

#[test]
fn the_plan_says_where_the_policy_came_from() {
    let source = |gate: Gate, line: &str| {
        let ran = gate.run_line(line);
        objects(&ran.stdout)[0]["policy_source"].as_str().unwrap().to_owned()
    };
    let gate = || Gate::new([]).file("app.yaml", &bare_app());
    let line = "plan app.yaml --release v2 --output json";
    assert_eq!(source(gate(), line), "the built-in canary");
    assert_eq!(source(gate().file(".gate.yaml", SEED), line), ".gate.yaml");
    let own = Gate::new([]).file("app.yaml", APP).file(".gate.yaml", SEED);
    assert_eq!(source(own, line), "the app file of checkout");
    let named = gate().file(".gate.yaml", SEED).file("mine.yml", SEED);
    assert_eq!(source(named, &format!("{line} --policy mine.yml")), "mine.yml");
    let shipped = source(gate(), &format!("{line} --policy cautious"));
    assert_eq!(shipped, "cautious (shipped with gate)");
}

#[test]
fn a_plan_for_programs_is_one_object() {
    let ran = run("plan app.yaml --release v2 --output json");
    let [plan] = objects(&ran.stdout).try_into().unwrap();
    assert_eq!(plan["schema"], "gate.plan/v1");
    assert_eq!(plan["least_s"], 90.0);
    assert_eq!(plan["stages"].as_array().unwrap().len(), 3);
    assert_eq!(plan["hash"].as_str().unwrap().len(), 64);
}

#[test]
fn validate_says_every_mistake_of_every_file() {
    let ran = run("validate app.yaml bad.yaml nothing.yaml");
    insta::assert_snapshot!(ran.all());
}

#[test]
fn validate_for_programs() {
    let ran = run("validate app.yaml bad.yaml --output json");
    assert_eq!(ran.code, 2);
    let findings = objects(&ran.stdout);
    assert!(findings.len() >= 4, "{}", ran.stdout);
    for finding in &findings {
        assert_eq!(finding["schema"], "gate.finding/v1");
        assert_eq!(finding["file"], "bad.yaml");
        assert!(finding["line"].as_u64().unwrap() > 1);
    }
}

#[test]
fn what_is_valid_exits_with_0() {
    let ran = run("validate app.yaml");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "app.yaml: a valid app file\n"));
    assert_eq!(run("validate app.yaml --output json").stdout, "");
}

#[test]
fn schemas_are_json() {
    for line in ["schema", "schema policy", "schema app", "schema app --output json"] {
        let schema: Value = serde_json::from_str(&run(line).stdout).unwrap();
        assert!(schema["properties"].is_object(), "{line}");
    }
}

#[test]
fn completions_and_the_manual_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = run(&format!("completions {shell}"));
        assert!(ran.code == 0 && ran.stdout.contains("promote"), "{shell}");
    }
    let page = run("man").stdout;
    assert!(page.contains(".TH gate 1") && page.contains("promote"), "{page}");
}

#[test]
fn version() {
    let version = env!("CARGO_PKG_VERSION");
    for line in ["version", "--version", "-V"] {
        assert_eq!(run(line).stdout, format!("gate {version}\n"));
    }
    let [object] = objects(&run("version --output json").stdout).try_into().unwrap();
    assert_eq!(object["version"], version);
}

#[test]
fn init_never_overwrites() {
    let mut gate = Gate::line("init app.yaml").file("app.yaml", &bare_app());
    let ran = gate.run();
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "wrote .gate.yaml\n"));
    assert_eq!(ran.stderr, "next: gate plan app.yaml --release v2\n");
    let policy = gate.folder().join(".gate.yaml");
    std::fs::write(&policy, "mine").unwrap();
    let again = gate.run();
    assert_eq!(again.code, 2);
    assert!(again.stderr.contains("`--force` replaces it"), "{}", again.stderr);
    assert_eq!(std::fs::read_to_string(&policy).unwrap(), "mine");
    let forced = gate.run_line("init --force");
    assert_eq!(forced.code, 0);
    assert_eq!(gate.run_line("validate .gate.yaml").stdout, ".gate.yaml: a valid policy\n");
}

#[test]
fn history_of_nothing() {
    let ran = run("history local/checkout");
    assert_eq!(ran.stdout, "nothing is recorded of local/checkout\n");
    assert_eq!(run("history local/checkout --output json").stdout, "");
}

#[test]
fn colour_only_where_it_is_asked_for() {
    let line = "plan app.yaml --release v2";
    assert!(!run(line).stdout.contains('\x1b'), "piped");
    assert!(run(&format!("--color always {line}")).stdout.contains('\x1b'));
    assert!(!run(&format!("--color never {line}")).stdout.contains('\x1b'));
    let json = run(&format!("--color always --output json {line}"));
    assert!(!json.stdout.contains('\x1b'), "JSON");
    let quiet = Gate::line(line).file("app.yaml", APP).env("NO_COLOR", "1").run();
    assert!(!quiet.stdout.contains('\x1b'), "NO_COLOR");
    assert!(!run("validate bad.yaml").stdout.contains('\x1b'), "piped findings");
}

#[test]
fn a_reader_that_goes_away_is_quiet() {
    for line in ["schema", "man", "completions bash", "plan app.yaml --release v2", "--help"] {
        let mut gate = Gate::line(line).file("app.yaml", APP);
        let command = gate.command().stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}");
        assert_eq!(output.stderr, b"", "{line}");
    }
}
