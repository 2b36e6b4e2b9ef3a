//! How soon is a bad release taken back, live? Whole promotions of the real binary on the local platform, with real
//! processes under real load: 200 requests/s, looks every 5 s, blocks of 15 s.
//!
//! `cargo bench --bench live` promotes ten releases with 8 points more errors and ten harmless ones, two at a time,
//! which takes about a quarter of an hour, and prints what was found beside the limits:
//!
//! * at a share of 10 %, from the moment at which the share was seen to the verdict: median 45 s, 90th percentile 60 s;
//! * every bad release is rolled back, and every harmless one is promoted.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and may fail")]

use std::process::{Command, ExitCode, Stdio};

use serde_json::Value;

const GATE: &str = env!("CARGO_BIN_EXE_gate");
const RUNS: usize = 10;
const RPS: u32 = 200;

const MEDIAN_LIMIT_S: f64 = 45.0;
const P90_LIMIT_S: f64 = 60.0;

/// The example's app, but that the bad release fails 8 % of its requests, and with one long stage for it to fail in.
const APP: &str = r#"
app: live
listen: 127.0.0.1:0
admin: 127.0.0.1:0
stable: v1
health_check: { path: /health, interval: 2s, threshold: 3 }
deployment:
  strategy: canary
  stages: STAGES
  evidence: { interval: 5s }
  prepare: { deadline: 30s }
  auto_rollback:
    conditions:
      - error_rate > 5%
      - response_time_p95 > 1000ms
      - health_check_failures > 3
      - error_rate > 1.3x baseline
releases:
  v1: { command: ["{gate}", example-app, --version, v1] }
  bad: { command: ["{gate}", example-app, --version, bad, --error-rate, "0.08"] }
  good: { command: ["{gate}", example-app, --version, good] }
"#;

const LONG: &str = "[{ share: 10%, hold: 10m }]";
const SHORT: &str =
    "[{ share: 10%, hold: 30s }, { share: 50%, hold: 30s }, { share: 100%, hold: 30s }]";

fn main() -> ExitCode {
    let good = std::thread::spawn(|| runs("good", SHORT));
    let bad = runs("bad", LONG);
    let good = good.join().unwrap();
    let count = |results: &[Value], word: &str| {
        results.iter().filter(|result| result["result"] == word).count()
    };
    let mut times: Vec<f64> =
        bad.iter().filter_map(|result| result["detected_after_s"].as_f64()).collect();
    times.sort_by(f64::total_cmp);
    let at = |part: f64| {
        let rank = (part * times.len() as f64).ceil() as usize;
        times.get(rank.saturating_sub(1)).copied().unwrap_or(f64::INFINITY)
    };
    let (median, p90) = (at(0.5), at(0.9));
    let (back, promoted) = (count(&bad, "rolled_back"), count(&good, "promoted"));
    println!("| {RPS} requests/s, {RUNS} runs each | seen | limit |");
    println!("|---|---|---|");
    println!("| 8 points of errors at 10 %: rolled back | {back} of {RUNS} | {RUNS} |");
    println!("| … after, median | {median:.0} s | {MEDIAN_LIMIT_S:.0} s |");
    println!("| … after, 90th percentile | {p90:.0} s | {P90_LIMIT_S:.0} s |");
    println!("| harmless at 10, 50, 100 %: promoted | {promoted} of {RUNS} | {RUNS} |");
    println!("every time, in seconds: {times:?}");
    let kept = back == RUNS && promoted == RUNS;
    if kept && median <= MEDIAN_LIMIT_S && p90 <= P90_LIMIT_S {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// One after the other; returns their results.
fn runs(release: &'static str, stages: &str) -> Vec<Value> {
    (0..RUNS).map(|_| promote(release, stages)).collect()
}

fn promote(release: &str, stages: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("app.yaml"), APP.replace("STAGES", stages)).unwrap();
    let output = Command::new(GATE)
        .args(["promote", "./app.yaml", "--release", release, "--output", "json"])
        .args(["--load", &RPS.to_string()])
        .env("GATE_STATE_DIR", folder.path().join("state"))
        .current_dir(folder.path())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut results = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let result = results.rfind(|line| line["schema"] == "gate.result/v1").unwrap();
    println!("{release}: {} {}", result["result"], result["reason"]);
    result
}
