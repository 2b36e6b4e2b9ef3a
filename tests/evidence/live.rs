//! Live promotions of the real binary, with real processes and load: each is recorded, and judged again
//! from its recording. Then it is explained.

use std::path::Path;

use serde_json::Value;

use crate::common::{Gate, Ran};

/// `judge`, its keys, and one condition more than the judge needs.
fn app(evidence: &str, stages: &str) -> String {
    format!(
        r#"app: live
listen: 127.0.0.1:0
admin: 127.0.0.1:0
stable: v1
health_check: {{ path: /health, interval: 1s, threshold: 3 }}
deployment:
  strategy: canary
  stages: {stages}
  evidence: {evidence}
  prepare: {{ deadline: 30s }}
  auto_rollback:
    conditions: ["error_rate > 5%", "response_time_p95 > 1000ms", "error_rate > 1.3x baseline"]
releases:
  v1: {{ command: ["{{gate}}", example-app, --version, v1] }}
  v2: {{ command: ["{{gate}}", example-app, --version, v2] }}
  broken: {{ command: ["{{gate}}", example-app, --version, broken, --error-rate, "0.30"] }}
"#
    )
}

/// A promotion in a folder of its own; further commands run beside it.
struct Live {
    promoted: Gate,
    ran: Ran,
}

impl Live {
    fn promote(release: &str, evidence: &str, stages: &str) -> Self {
        let line = format!("promote ./app.yaml --release {release} --load 200 --output json");
        let mut promoted = Gate::line(&line).file("app.yaml", &app(evidence, stages));
        let ran = promoted.run();
        Self { promoted, ran }
    }

    fn folder(&self) -> &Path {
        self.promoted.folder()
    }

    fn gate(&self, line: &str) -> Ran {
        let state = self.folder().join("state");
        let inside = |word: &str| match word.strip_prefix("./") {
            Some(file) => self.folder().join(file).to_str().unwrap().to_owned(),
            None => word.to_owned(),
        };
        let words: Vec<String> = line.split_whitespace().map(inside).collect();
        Gate::new(words.iter().map(String::as_str))
            .env("GATE_STATE_DIR", state.to_str().unwrap())
            .run()
    }

    /// The judgements in the journal, in order.
    fn judgements(&self) -> Vec<(Value, Value)> {
        let folder = self.folder().join("state/local/live/history");
        let file = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
        let lines = std::fs::read_to_string(file).unwrap();
        let records = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records
            .map(|line| line["record"].clone())
            .filter(|record| record["kind"] == "observed")
            .map(|record| (record["look"].clone(), record["judgement"].clone()))
            .collect()
    }

    /// Records it, judges the recording again, and compares every verdict with the journal's.
    fn verdicts_are_the_same(&self) {
        let recorded = self.gate("record local/live --out ./live.jsonl");
        assert_eq!(recorded.code, 0, "{}", recorded.all());
        let recording = std::fs::read_to_string(self.folder().join("live.jsonl")).unwrap();
        let lines = recording.lines().skip(1).map(|line| serde_json::from_str(line).unwrap());
        let before = lines.filter(|line: &Value| line["at_s"].as_f64() <= Some(0.0));
        assert!(before.count() > 1, "what the proxy counted before is taught, and recorded");
        let backtest = self.gate("backtest ./app-policy.yaml ./live.jsonl --output json");
        assert_eq!(backtest.code, 0, "{}", backtest.all());
        let mut lines: Vec<Value> =
            backtest.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let result = lines.pop().unwrap();
        assert_eq!((&result["dropped_lines"], &result["dropped_samples"]), (&0.into(), &0.into()));
        let judged = self.judgements();
        // The first breach ends it; what the way back sees after is judged by both as a breach.
        let judged: Vec<_> =
            judged.iter().filter(|(look, _)| look["at_s"].as_f64() > Some(0.0)).collect();
        assert_eq!(judged.len(), lines.len(), "{}", backtest.stdout);
        for ((look, live), again) in judged.iter().zip(&lines) {
            assert_eq!(look["at_s"].as_f64(), again["at_s"].as_f64());
            assert_eq!(live["verdict"], again["verdict"], "{live}\n{again}");
            assert_eq!(live["judged_on"], again["judged_on"]);
            // Bit for bit: both are floats that were read from what the judge printed.
            assert_eq!(live["confidence"], again["confidence"]);
        }
    }
}

/// The app file's deployment block as a policy of its own.
fn write_policy(live: &Live, evidence: &str, stages: &str) {
    let app = app(evidence, stages);
    let start = app.find("deployment:").unwrap();
    let policy = app[start..].split("releases:").next().unwrap();
    let policy = policy.replace(
        "  strategy: canary\n",
        "  strategy: canary\n  health_check: { path: /health, interval: 1s, threshold: 3 }\n",
    );
    std::fs::write(live.folder().join("app-policy.yaml"), policy).unwrap();
}

#[test]
fn a_bad_release_is_judged_again_and_explained() {
    let (evidence, stages) = ("{ interval: 2s }", "[{ share: 50%, hold: 30s }]");
    let live = Live::promote("broken", evidence, stages);
    assert_eq!(live.ran.code, 3, "{}", live.ran.all());
    write_policy(&live, evidence, stages);
    live.verdicts_are_the_same();
    let told = live.gate("explain local/live");
    assert_eq!(told.code, 0, "{}", told.all());
    for part in
        ["local/live: broken rolled back", "of its requests failed", "% sure", "suspected since"]
    {
        assert!(told.stdout.contains(part), "no {part:?} in\n{}", told.stdout);
    }
    let told = live.gate("explain local/live --output json");
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(
        (&told["schema"], &told["result"]),
        (&"gate.explanation/v1".into(), &"rolled_back".into())
    );
    assert!(told["confidence"].as_f64().unwrap() >= 0.99, "{told}");
    assert!(told["stages"][0]["requests"].as_u64().unwrap() > 100, "{told}");
}

#[test]
fn a_good_release_is_judged_again_and_explained() {
    let (evidence, stages) = (
        "{ judge: threshold, interval: 1s }",
        "[{ share: 20%, hold: 3s }, { share: 100%, hold: 3s }]",
    );
    let live = Live::promote("v2", evidence, stages);
    assert_eq!(live.ran.code, 0, "{}", live.ran.all());
    write_policy(&live, evidence, stages);
    let recorded = live.gate("record local/live --out ./live.jsonl");
    assert!(recorded.code == 0 && recorded.stdout.contains("looks of v2"), "{}", recorded.all());
    let backtest = live.gate("backtest ./app-policy.yaml ./live.jsonl --output json");
    let result: Value = serde_json::from_str(backtest.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(result["result"], "promoted", "{}", backtest.all());
    let told = live.gate("explain local/live");
    assert!(told.stdout.contains("Every stage was proven"), "{}", told.all());
}

#[test]
fn what_is_not_recorded_cannot_be_told() {
    for line in
        ["record local/live --out x.jsonl", "explain local/live", "explain local/live --id 2026"]
    {
        let ran = Gate::line(line).run();
        assert!(ran.code == 2 && ran.stderr.contains("of local/live is recorded"), "{}", ran.all());
    }
}
