//! Past deployments, judged from what a real Prometheus remembers of them: bit for bit as from the recording that
//! somebody would have made then.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use gate::clock::{Clock, SystemClock};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::real::RealPrometheus;

const STEP: i64 = 15;
const HOUR: i64 = 3600;
/// A sample is evidence so long.
const STALE: i64 = 60;
/// Prometheus repeats a sample so long; versions before 3 at the last moment of it, too.
const LOOKBACK: i64 = 300;

const POLICY: &str = "\
deployment:
  strategy: canary
  stages: [{share: 20%, hold: 2m}, {share: 100%, hold: 1m}]
  auto_rollback:
    conditions:
      - error_rate > 5%
      - response_time_p95 > 500ms
      - health_check_failures > 3
      - error_rate > 1.3x baseline
";

/// One pod of the past; times are seconds before the end of the range.
struct Pod {
    name: String,
    from: i64,
    until: i64,
    /// When its process began anew.
    restarts: Vec<i64>,
    failed_percent: i64,
}

impl Pod {
    fn new(name: &str, from: i64, until: i64) -> Self {
        Self { name: name.into(), from, until, restarts: Vec::new(), failed_percent: 0 }
    }

    fn restarted(self, at: i64) -> Self {
        Self { restarts: vec![at], ..self }
    }

    fn failing(self, failed_percent: i64) -> Self {
        Self { failed_percent, ..self }
    }

    /// Ages of its samples, oldest first: every 15 s, but none while the server was away.
    fn samples(&self) -> impl Iterator<Item = i64> {
        let (from, until) = (self.from, self.until);
        (until..=from).rev().filter(move |age| (from - age) % STEP == 0 && !is_gap(*age))
    }

    /// `requests, errors, over 100 ms, over 1 s`
    fn counters(&self, age: i64) -> [i64; 4] {
        let since = self.restarts.iter().copied().filter(|at| *at >= age).min();
        let requests = 20 * (since.unwrap_or(self.from) - age + 1);
        [requests, requests / 500 + requests * self.failed_percent / 100, requests / 50, 0]
    }
}

/// The server was away twice: long before the deployment, and late in it, longer than its memory of a sample.
fn is_gap(age: i64) -> bool {
    (7000..7600).contains(&age) || (1000..1420).contains(&age)
}

/// A deployment an hour ago, beside a baseline whose pods come, go and restart. The pods' samples are at
/// different seconds.
fn pods(failed_percent: i64) -> Vec<Pod> {
    let (old, stable, new) = ("5b8f7c6d49", "6c9d8f7b54", "7d4b9c5f68");
    vec![
        Pod::new(&format!("web-{old}-bbbbb"), 3 * HOUR - 4, 2 * HOUR + 1801),
        Pod::new(&format!("web-{stable}-ccccc"), 9300, 0),
        Pod::new(&format!("web-{stable}-ddddd"), 9302, 0).restarted(3001),
        Pod::new(&format!("web-{stable}-fffff"), 9287, 2203),
        Pod::new(&format!("web-{stable}-ggggg"), 2194, 0),
        Pod::new(&format!("web-{new}-hhhhh"), HOUR, 0).failing(failed_percent),
        Pod::new(&format!("web-{new}-jjjjj"), HOUR - 23, 0).failing(failed_percent).restarted(2500),
        // Other people's pods: another Deployment's, and a DaemonSet's.
        Pod::new("web-api-7d4b9c5f68-kkkkk", HOUR, 0).failing(50),
        Pod::new("web-api-lllll", HOUR, 0).failing(50),
    ]
}

/// The pods as OpenMetrics.
fn exposition(pods: &[Pod], end: i64) -> String {
    let (mut requests, mut buckets, mut up) = (String::new(), String::new(), String::new());
    for pod in pods {
        let labels = format!(r#"namespace="shop",pod="{0}",instance="{0}""#, pod.name);
        for age in pod.samples() {
            let (at, [all, failed, slow, _]) = (end - age, pod.counters(age));
            let _ = writeln!(up, "up{{{labels}}} 1 {at}");
            for (status, n) in [("200", all - failed), ("503", failed)] {
                let _ = writeln!(
                    requests,
                    r#"http_requests_total{{{labels},status="{status}"}} {n} {at}"#
                );
            }
            for (le, n) in [("0.1", all - slow), ("1", all), ("+Inf", all)] {
                let name = "http_request_duration_seconds_bucket";
                let _ = writeln!(buckets, r#"{name}{{{labels},le="{le}"}} {n} {at}"#);
            }
        }
    }
    format!(
        "# TYPE http_requests counter\n{requests}# TYPE http_request_duration_seconds histogram\n{buckets}# TYPE up gauge\n{up}# EOF\n"
    )
}

/// The recording that a look every 15 s would have made.
fn recording(pods: &[Pod]) -> String {
    let arm = |hash: &str| -> Vec<&Pod> {
        let prefix = format!("web-{hash}-");
        pods.iter().filter(|pod| pod.name.starts_with(&prefix)).collect()
    };
    let (baseline, candidate) = (arm("6c9d8f7b54"), arm("7d4b9c5f68"));
    let zero = HOUR + STEP;
    let mut lines = vec![json!({
        "schema": "gate.recording/v1", "bounds_ms": [100, 1000], "interval_s": 15,
        "horizon_s": 1200, "stages": [{"at_s": 0, "share": null, "hold_s": 120}],
    })];
    let mut heard = BTreeMap::new();
    let mut share = 0.0;
    let first = zero + (3 * HOUR - zero) / STEP * STEP;
    for age in (0..=first).rev().filter(|age| (first - age) % STEP == 0) {
        let (samples, expected) = look(&baseline, age, &mut heard);
        let (fresh, new) = look(&candidate, age, &mut heard);
        let at_s = zero - age;
        if at_s <= 0 && samples.is_empty() {
            continue;
        }
        let mut line = json!({"at_s": at_s, "baseline": samples, "candidate": fresh,
            "probes": {"baseline": [0, 0], "candidate": [0, 0]}});
        if expected + new > 0 {
            line["expected"] = json!({"baseline": expected, "candidate": new});
            share = (10_000.0 * new as f64 / (expected + new) as f64).round() / 10_000.0;
        }
        line["share"] = json!(if at_s > 0 { share } else { 0.0 });
        lines.push(line);
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The samples that are new at this age, and how many pods the server knows.
fn look<'a>(
    pods: &[&'a Pod],
    age: i64,
    heard: &mut BTreeMap<&'a str, i64>,
) -> (BTreeMap<&'a str, [i64; 4]>, usize) {
    let (mut samples, mut known) = (BTreeMap::new(), 0);
    for pod in pods {
        let Some(newest) = pod.samples().filter(|sample| *sample >= age).last() else { continue };
        known += usize::from(newest - age <= LOOKBACK);
        if newest - age <= STALE && heard.insert(&pod.name, newest) != Some(newest) {
            samples.insert(pod.name.as_str(), pod.counters(newest));
        }
    }
    (samples, known)
}

fn gate(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gate"));
    command.args(args).env_clear().env("HOME", folder).current_dir(folder).output().unwrap()
}

/// What went to stdout, line by line.
fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

struct Site {
    prometheus: RealPrometheus,
    folder: TempDir,
    until: String,
}

impl Site {
    /// A Prometheus with a past, and beside it the recording of the same.
    async fn with(pods: Vec<Pod>) -> Option<Self> {
        let now = SystemClock::start().now();
        let end = now.timestamp();
        let prometheus = RealPrometheus::remembering(exposition(&pods, end)).await?;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("policy.yaml"), POLICY).unwrap();
        std::fs::write(folder.path().join("then.jsonl"), recording(&pods)).unwrap();
        Some(Self { prometheus, folder, until: now.format("%Y-%m-%dT%H:%M:%SZ").to_string() })
    }

    fn run(&self, args: &[&str]) -> Output {
        let url = self.prometheus.url();
        let past = ["--prometheus", &url, "--range", "3h", "--until", &self.until];
        gate(self.folder.path(), &[args, &past].concat())
    }

    fn backtest(&self, target: &str, more: &[&str]) -> Output {
        let args = ["backtest", "policy.yaml", target, "--output", "json"];
        self.run(&[&args, more].concat())
    }

    /// The past's verdicts and those of a file: the same but for the name.
    fn check_file(&self, past: &[Value], file: &str) {
        let args = ["backtest", "policy.yaml", file, "--output", "json"];
        let mut then = lines(&gate(self.folder.path(), &args));
        assert_eq!(then.len(), past.len(), "{file}");
        then.last_mut().unwrap()["target"] = json!("deployment/web");
        for (then, past) in then.iter().zip(past) {
            assert_eq!(then.to_string(), past.to_string(), "{file}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_deployment_of_the_past_would_have_been_rolled_back() {
    let Some(site) = Site::with(pods(8)).await else { return };
    let past = lines(&site.backtest("deployment/web", &[]));
    let result = past.last().unwrap();
    assert_eq!(
        (&result["result"], &result["target"]),
        (&json!("rolled_back"), &json!("deployment/web"))
    );
    assert_eq!((&result["looks"], &result["dropped_samples"]), (&json!(241), &json!(0)));
    let detected = result["detected_after_s"].as_f64().unwrap();
    assert!((15.0..=90.0).contains(&detected), "{result}");
    let reasons: BTreeSet<&str> = past.iter().filter_map(|line| line["reason"].as_str()).collect();
    assert!(reasons.iter().any(|reason| reason.starts_with("breach:err_")), "{reasons:?}");
    site.check_file(&past, "then.jsonl");
    let written =
        site.run(&["record", "deployment/web", "--policy", "policy.yaml", "--out", "now.jsonl"]);
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    site.check_file(&past, "now.jsonl");
    // A person is told who was judged, and what would have become of it.
    let told = site.run(&["backtest", "policy.yaml", "deployment/web", "-n", "shop"]);
    let (said, answer) =
        (String::from_utf8_lossy(&told.stderr), String::from_utf8_lossy(&told.stdout));
    assert!(said.contains("7d4b9c5f68 after 6c9d8f7b54, first seen at 20"), "{said}");
    assert!(answer.contains("deployment/web would have been rolled back"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_deployment_of_the_past_would_have_been_promoted() {
    let Some(site) = Site::with(pods(0)).await else { return };
    let past = lines(&site.backtest("deployment/web", &[]));
    assert_eq!(past.last().unwrap()["result"], "promoted");
    site.check_file(&past, "then.jsonl");
    // In the gap nobody knew.
    let blind = past.iter().filter(|line| line["no_data"] == json!(true)).count();
    assert!((20..=30).contains(&blind), "{blind}");
    // The same by name, and by matchers.
    let named = ["--baseline", "6c9d8f7b54", "--candidate", "7d4b9c5f68", "-n", "shop"];
    assert_eq!(lines(&site.backtest("deployment/web", &named)), past);
    let matchers =
        ["--baseline", "pod=~\"web-6c9d8f7b54-.*\"", "--candidate", "pod=~\"web-7d4b9c5f68-.*\""];
    let by_hand = lines(&site.backtest("anything", &matchers));
    assert_eq!(by_hand[..by_hand.len() - 1], past[..past.len() - 1]);
    let asked = [matchers.as_slice(), &["--share", "50%"]].concat();
    assert_eq!(lines(&site.backtest("anything", &asked)).last().unwrap()["result"], "promoted");
}

/// A plain rolling update: the old pods end a minute after the new ones have begun.
#[tokio::test(flavor = "multi_thread")]
async fn when_the_old_pods_have_gone_absolute_limits_alone_decide() {
    let mut pods = pods(0);
    for pod in pods.iter_mut().filter(|pod| pod.name.contains("6c9d8f7b54")) {
        (pod.until, pod.restarts) = (HOUR - 60, Vec::new());
    }
    pods.retain(|pod| pod.until <= pod.from);
    let Some(site) = Site::with(pods).await else { return };
    let past = lines(&site.backtest("deployment/web", &[]));
    let mut reasons: Vec<&str> = past.iter().filter_map(|line| line["reason"].as_str()).collect();
    reasons.dedup();
    // For five minutes the server does not know that the old ones have gone. Then the candidate serves everybody.
    let began = ["bake", "passed", "waiting_for_data", "no_data", "passed"];
    assert_eq!(reasons[..began.len()], began);
    assert_eq!(past.last().unwrap()["result"], "promoted");
    site.check_file(&past, "then.jsonl");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_not_be_found_is_said() {
    let Some(site) = Site::with(pods(0)).await else { return };
    let url = site.prometheus.url();
    let dead = "http://127.0.0.1:1";
    for (url, args, code, said) in [
        (url.as_str(), "deployment/api", 2, "no series of http_requests_total of api's pods"),
        (&url, "deployment/web -n other", 2, "no series of http_requests_total of web's pods"),
        (&url, "deployment/web --range 50m", 2, "were both there when the range began"),
        (
            &url,
            "deployment/web --range 50m --candidate 7d4b9c5f68 --baseline 6c9d8f7b54",
            2,
            "7d4b9c5f68 was there already when the range began",
        ),
        (&url, "deployment/web --candidate x", 2, "x is no revision of the range; there are 5b8f"),
        (&url, "deployment/web --candidate a=\"b\"", 2, "matchers are of both"),
        (&url, "web", 2, "nothing tells whose series are of web"),
        (&url, "deployment/web --range 32d", 2, "at most 31 days"),
        (dead, "deployment/web", 6, "no connection"),
    ] {
        let range = if args.contains("--range") { "" } else { "--range 3h" };
        let line = format!(
            "backtest policy.yaml --prometheus {url} {range} --until {} {args}",
            site.until
        );
        let ran = gate(site.folder.path(), &line.split_whitespace().collect::<Vec<_>>());
        let stderr = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.code() == Some(code) && stderr.contains(said), "{args}: {stderr}");
    }
}
