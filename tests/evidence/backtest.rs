//! Every recording of `tests/golden` gives its verdicts through the binary.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::{Gate, Ran};

/// How far a number may be off.
const TOLERANCE: f64 = 1e-6;

fn golden(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

fn read(file: &str) -> String {
    std::fs::read_to_string(golden(file)).unwrap()
}

fn names() -> Vec<String> {
    let files = std::fs::read_dir(golden("")).unwrap();
    let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> =
        files.filter_map(|file| file.strip_suffix(".jsonl").map(str::to_owned)).collect();
    names.retain(|name| !name.ends_with(".verdicts"));
    names.sort();
    names
}

/// The policy of a recording, as a user would write it.
fn policy(name: &str) -> String {
    let conditions: Value =
        serde_json::from_str(&read(&format!("{name}.conditions.json"))).unwrap();
    let conditions = conditions["conditions"].as_array().unwrap();
    let rows: Vec<String> =
        conditions.iter().map(|row| format!("      - {}\n", row.as_str().unwrap())).collect();
    let head = "deployment:\n  strategy: canary\n  auto_rollback:\n    conditions:\n";
    format!("{head}{}", rows.concat())
}

fn backtest(name: &str, more: &[&str]) -> Ran {
    let recording = golden(&format!("{name}.jsonl"));
    let args = ["backtest", "policy.yaml", recording.to_str().unwrap()];
    Gate::new(args.into_iter().chain(more.iter().copied())).file("policy.yaml", &policy(name)).run()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Compares what was printed with what must come out, number by number.
fn same(name: &str, got: &Value, want: &Value) {
    match (got, want) {
        (Value::Number(got), Value::Number(want)) => {
            let (got, want) = (got.as_f64().unwrap(), want.as_f64().unwrap());
            assert!((got - want).abs() <= TOLERANCE, "{name}: {got} is not {want}");
        }
        (Value::Object(got), Value::Object(want)) => {
            assert!(got.keys().all(|key| want.contains_key(key)), "{name}: {got:?}");
            for (key, want) in want {
                same(&format!("{name}.{key}"), &got[key], want);
            }
        }
        (got, want) => assert_eq!(got, want, "{name}"),
    }
}

#[test]
fn every_golden_recording_gives_its_verdicts() {
    let names = names();
    assert_eq!(names.len(), 38);
    for name in names {
        let ran = backtest(&name, &["--output", "json"]);
        assert_eq!(ran.code, 0, "{name}: {}", ran.stderr);
        let mut got = lines(&ran.stdout);
        let result = got.pop().unwrap();
        let want = lines(&read(&format!("{name}.verdicts.jsonl")));
        assert_eq!(got.len(), want.len(), "{name}");
        for (got, want) in got.iter().zip(&want) {
            same(&format!("{name} at {}", want["at_s"]), got, want);
        }
        assert_eq!(result["schema"], "gate.result/v1", "{name}");
        assert_eq!(result["looks"], want.len(), "{name}");
        let breached = want.iter().any(|line| line["verdict"] == "breach");
        assert_eq!(result["result"] == "rolled_back", breached, "{name}: {result}");
        let exit_code = if breached { 3 } else { result["exit_code"].as_i64().unwrap() };
        assert_eq!(result["exit_code"], exit_code, "{name}");
    }
}

#[test]
fn what_cannot_be_used_is_counted() {
    let ran = backtest("n19-dirty", &["--output", "json"]);
    let result = lines(&ran.stdout).pop().unwrap();
    let (lines, samples) = (&result["dropped_lines"], &result["dropped_samples"]);
    assert!(lines.as_u64().unwrap() > 0 && samples.as_u64().unwrap() > 0, "{result}");
    let said = format!("dropped: {lines} lines, {samples} samples that can't be used");
    assert!(ran.stderr.contains(&said), "{}", ran.stderr);
}

#[test]
fn the_threshold_judge_finds_it_too() {
    let ran = backtest("g1-err-5pp", &["--output", "json", "--judge", "threshold"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let lines = lines(&ran.stdout);
    let result = lines.last().unwrap();
    assert_eq!(result["judge"], "threshold");
    let breach = lines.iter().find(|line| line["verdict"] == "breach").unwrap();
    assert_eq!(breach["schema"], "gate.verdict/v1");
    assert_eq!((&breach["log_e"], &breach["confidence"]), (&Value::Null, &Value::Null));
    assert!(breach["reason"].as_str().unwrap().starts_with("breach:err_"), "{breach}");
    assert_eq!(result["duration_s"].as_f64(), breach["at_s"].as_f64());
}

#[test]
fn people_get_a_story() {
    let story = backtest("g1-err-5pp", &[]);
    insta::assert_snapshot!(story.all().replace(golden("").to_str().unwrap(), ""));
}

#[test]
fn what_is_no_recording_is_refused() {
    for (text, said) in [
        ("", "r.jsonl:1: the first line is not the header of a gate.recording/v1"),
        ("{}", "r.jsonl:1: the first line is not the header"),
        ("{\"schema\":\"gate.recording/v1\",\"interval_s\":0}", "interval_s lies above 0"),
        ("{\"schema\":\"gate.recording/v1\",\"interval_s\":90}", "latency bounds"),
    ] {
        let ran = Gate::line("backtest all-conditions r.jsonl").file("r.jsonl", text).run();
        assert_eq!(ran.code, 2, "{}", ran.all());
        assert!(ran.stderr.contains(said), "{}", ran.all());
    }
    let ran = Gate::line("backtest all-conditions deployment/web").run();
    assert!(ran.code == 2 && ran.stderr.contains("--prometheus URL"), "{}", ran.all());
    let ran = Gate::line("backtest all-conditions nothing.jsonl").run();
    assert!(ran.code == 2 && ran.stderr.contains("can't read nothing.jsonl"), "{}", ran.all());
}
