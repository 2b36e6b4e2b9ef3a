//! Whole promotions of the real binary on the local platform, judged by what a real Prometheus scrapes.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::common::Gate;
use crate::real::{RealPrometheus, Setup};
use crate::relay::{FAILS, HTML, Relay, Way};

/// Everything that is waited for, however slow the machine.
const WAIT_MAX: Duration = Duration::from_secs(150);

/// Short stages, judged by a threshold at every second.
const QUICK: &str = "judge: threshold, interval: 1s, window: 8s, looks: 2, min_requests: 20, \
                     queries: { up: \"count(up == 1)\" }";
const STAGES: &str =
    "[{ share: 50%, hold: 2s, deadline: 60s }, { share: 100%, hold: 2s, deadline: 60s }]";

/// An application whose releases are scraped, and the way to their Prometheus.
struct Site {
    /// Ends with the site.
    _prometheus: RealPrometheus,
    relay: Relay,
    ports: [u16; 2],
}

/// A promotion that runs.
struct Running {
    gate: Gate,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `source` is quoted as it is; the second release is the candidate.
pub(crate) fn app(
    source: &str,
    evidence: &str,
    stages: &str,
    ports: [String; 2],
    bad: &str,
) -> String {
    let [stable, candidate] = ports;
    format!(
        r#"app: shop
listen: 127.0.0.1:0
admin: 127.0.0.1:0
stable: v1
health_check: {{ path: /health, interval: 1s, threshold: 3 }}
deployment:
  strategy: canary
  health_check: {{ path: /health, interval: 1s, threshold: 3 }}
  stages: {stages}
  evidence: {{ source: "{source}", {evidence} }}
  drain: 1s
  rollback_drain: 1s
  auto_rollback:
    conditions: [error_rate > 5%, response_time_p95 > 1000ms{}]
releases:
  v1: {{ command: ["{{gate}}", example-app, --version, v1], port: {stable} }}
  v2: {{ command: ["{{gate}}", example-app, --version, v2{bad}], port: {candidate} }}
"#,
        if evidence.contains("queries") { ", up < 1" } else { "" }
    )
}

impl Site {
    async fn new() -> Option<Self> {
        let ports = [free_port(), free_port()];
        let addresses = ports.map(|port| format!("127.0.0.1:{port}"));
        let prometheus =
            RealPrometheus::start(Setup { addresses: &addresses, ..Setup::default() })?;
        let relay = Relay::before(prometheus.address().to_owned()).await;
        Some(Self { _prometheus: prometheus, relay, ports })
    }

    fn promote(&self, evidence: &str, stages: &str, bad: &str) -> Running {
        let ports = self.ports.map(|port| port.to_string());
        let app = app(&self.relay.url(), evidence, stages, ports, bad);
        Running::start(&app)
    }
}

impl Running {
    fn start(app: &str) -> Self {
        let line = "promote app.yaml --release v2 --load 100 --output json";
        let mut gate = Gate::line(line).file("app.yaml", app);
        let folder = gate.folder().to_owned();
        let line = gate.command();
        let known = line.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let mut child = Command::new(line.get_program())
            .args(line.get_args())
            .env_clear()
            .envs(known)
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.join("said")).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { gate, child, lines }
    }

    async fn line(&mut self) -> Option<Value> {
        let line = tokio::time::timeout(WAIT_MAX, self.lines.next_line()).await;
        let Ok(line) = line else { panic!("nothing new after {WAIT_MAX:?}: {}", self.said()) };
        line.unwrap().map(|line| serde_json::from_str(&line).unwrap())
    }

    /// Waits for an event, and returns its message.
    async fn event(&mut self, name: &str) -> String {
        while let Some(line) = self.line().await {
            if line["event"] == name {
                return line["message"].as_str().unwrap().to_owned();
            }
        }
        panic!("it ended before {name}: {}", self.said());
    }

    /// Waits for a look that says this of why there is no verdict.
    async fn unknown(&self, words: &str) {
        let seen = async {
            let says = |(_, judged): &(Value, Value)| judged["why"].to_string().contains(words);
            while !self.journal().0.iter().any(says) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let waited = tokio::time::timeout(WAIT_MAX, seen).await;
        assert!(waited.is_ok(), "it never said {words}: {}", self.said());
    }

    /// Waits for the end: exit code and result.
    async fn end(&mut self) -> (i32, Value) {
        let mut last = Value::Null;
        while let Some(line) = self.line().await {
            last = line;
        }
        let status = tokio::time::timeout(WAIT_MAX, self.child.wait()).await.unwrap().unwrap();
        (status.code().unwrap(), last)
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.gate.folder().join("said")).unwrap()
    }

    fn records(&self) -> String {
        let folder = self.gate.folder().join("state/local/shop/history");
        let file = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
        std::fs::read_to_string(file).unwrap()
    }

    /// Returns how often something has happened, as the journal tells.
    fn times(&self, event: &str) -> usize {
        self.records().matches(&format!("\"event\":\"{event}\"")).count()
    }

    /// Looks and judgements in the journal, and the history before them.
    fn journal(&self) -> (Vec<(Value, Value)>, Vec<Value>) {
        let (mut judged, mut learned) = (Vec::new(), Vec::new());
        for line in self.records().lines() {
            // The last line may be written just now.
            let Ok(mut line) = serde_json::from_str::<Value>(line) else { continue };
            let record = line["record"].take();
            match record["kind"].as_str().unwrap() {
                "observed" => judged.push((record["look"].clone(), record["judgement"].clone())),
                "learned" => learned.extend(record["looks"].as_array().unwrap().clone()),
                _ => {}
            }
        }
        (judged, learned)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_comes_and_goes_holds_but_never_condemns() {
    let Some(site) = Site::new().await else { return };
    let mut running = site.promote(QUICK, STAGES, "");
    let faults = [
        (HTML, "an HTML page in place of an answer"),
        (FAILS, "status 500"),
        (Way::Down, "the answer broke off"),
        (Way::Slow(Duration::from_secs(30)), "no answer yet after 2s"),
    ];
    running.event("promotion.started").await;
    let (way, words) = faults[0];
    site.relay.go(way);
    let message = running.event("evidence.lost").await;
    assert!(message.contains(words), "{message:?} has no {words:?}");
    for (way, words) in &faults[1..] {
        site.relay.go(*way);
        running.unknown(words).await;
    }
    site.relay.go(Way::Open);
    running.event("evidence.back").await;
    let (code, result) = running.end().await;
    assert_eq!((code, &result["result"]), (0, &"promoted".into()), "{result} {}", running.said());
    assert_eq!(running.times("evidence.lost"), 1, "nothing but what was done to it is a loss");
    let (judged, _) = running.journal();
    let answers = judged.iter().filter_map(|(look, _)| look["queries"]["up"]["value"].as_f64());
    assert!(answers.into_iter().any(|up| up == 2.0), "the named query is asked");
    assert!(judged.iter().any(|(look, _)| !look["candidate"].as_object().unwrap().is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_stays_away_is_inconclusive() {
    let Some(site) = Site::new().await else { return };
    let stages = "[{ share: 50%, hold: 2s, deadline: 10s }]";
    let mut running = site.promote(QUICK, stages, r#", --error-rate, "0.30""#);
    running.event("promotion.started").await;
    site.relay.go(Way::Down);
    let (code, result) = running.end().await;
    assert_eq!((code, &result["result"]), (5, &"inconclusive".into()), "{result}");
    let (judged, _) = running.journal();
    let looks = judged.len();
    let asked = site.relay.refused();
    assert!(
        asked <= looks,
        "{asked} questions in {looks} looks: one each, without the named query"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_release_is_rolled_back_and_judged_again_to_the_bit() {
    let Some(site) = Site::new().await else { return };
    let mut running =
        site.promote("interval: 2s", "[{ share: 50%, hold: 30s }]", r#", --error-rate, "0.30""#);
    let (code, result) = running.end().await;
    assert_eq!((code, &result["result"]), (3, &"rolled_back".into()), "{result}{}", running.said());

    let (judged, learned) = running.journal();
    assert!(!learned.is_empty(), "the judge is taught what was before");
    let recorded = running.gate.run_line("record local/shop --out shop.jsonl");
    assert_eq!(recorded.code, 0, "{}", recorded.all());
    let folder = running.gate.folder();
    let recording = std::fs::read_to_string(folder.join("shop.jsonl")).unwrap();
    let lines: Vec<Value> =
        recording.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["source_interval_s"], 1.0);
    let before = lines[1..].iter().filter(|line| line["at_s"].as_f64() <= Some(0.0));
    assert_eq!(before.count(), learned.len());

    let app = std::fs::read_to_string(folder.join("app.yaml")).unwrap();
    let policy = app[app.find("deployment:").unwrap()..].split("releases:").next().unwrap();
    std::fs::write(folder.join("policy.yaml"), policy).unwrap();
    let again = running.gate.run_line("backtest policy.yaml shop.jsonl --output json");
    assert_eq!(again.code, 0, "{}", again.all());
    let mut verdicts: Vec<Value> =
        again.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = verdicts.pop().unwrap();
    assert_eq!((&told["dropped_lines"], &told["dropped_samples"]), (&0.into(), &0.into()));
    assert_eq!(judged.len(), verdicts.len());
    for ((look, live), again) in judged.iter().zip(&verdicts) {
        assert_eq!(look["at_s"].as_f64(), again["at_s"].as_f64());
        assert_eq!(live["verdict"], again["verdict"], "{live}\n{again}");
        // Bit for bit: both are floats that were read from what the judge printed.
        assert_eq!(live["confidence"], again["confidence"]);
    }
    let explained = running.gate.run_line("explain local/shop");
    assert!(explained.stdout.contains("of its requests failed"), "{}", explained.all());
}

#[test]
fn what_cannot_be_asked_is_refused_before_anything_begins() {
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let ports = || [free_port().to_string(), free_port().to_string()];
    let promote = |app: &str| {
        Gate::line("promote app.yaml --release v2 --output json").file("app.yaml", app).run()
    };
    let ran = promote(&app(&nobody, QUICK, STAGES, ports(), ""));
    assert_eq!(ran.code, 7, "{}", ran.all());
    assert!(ran.stdout.contains("can't be judged with: no connection"), "{}", ran.all());
    let [one, _] = ports();
    let ran = promote(&app(&nobody, QUICK, STAGES, [one, "auto".into()], ""));
    assert_eq!(ran.code, 2, "{}", ran.all());
    assert!(
        ran.stderr.contains("`port: auto` can't be scraped by a static config"),
        "{}",
        ran.all()
    );
    let preset = format!("preset: nginx, {QUICK}");
    let ran = promote(&app(&nobody, &preset, STAGES, ports(), ""));
    assert!(ran.code == 2 && ran.stderr.contains("there is no `nginx`"), "{}", ran.all());
}
