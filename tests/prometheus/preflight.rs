//! `gate plan` and `gate preflight` where a real Prometheus remembers the traffic of the last hours.

use serde_json::Value;

use crate::common::{Gate, Ran};
use crate::past::{Instance, now, past};
use crate::promotion::{app, free_port};
use crate::real::RealPrometheus;

const STABLE: &str = "127.0.0.1:19001";
const STAGES: &str = "[{ share: 50%, hold: 30s, deadline: 60s }]";

/// Two hours of a stable that is scraped and serves at this pace.
fn steady(every: i64, rps: u64) -> Instance {
    let ages = (0..=7200 / every).rev().map(|k| k * every);
    let samples = ages.map(|age| (age, rps * (7200 - age).unsigned_abs())).collect();
    Instance { name: STABLE, samples }
}

async fn remembering(every: i64, rps: u64) -> Option<RealPrometheus> {
    RealPrometheus::remembering(past(now(), &[steady(every, rps)])).await
}

fn gate(command: &str, url: &str) -> Ran {
    let ports = ["19001".to_owned(), "19002".to_owned()];
    let line = format!("{command} app.yaml --release v2");
    Gate::line(&line).file("app.yaml", &app(url, "interval: 5s", STAGES, ports, "")).run()
}

fn lines(ran: &Ran) -> Vec<Value> {
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_traffic_of_the_last_hours_proves_the_stages() {
    let Some(prometheus) = remembering(15, 100).await else { return };
    let ran = gate("preflight --output json", &prometheus.url());
    assert_eq!(ran.code, 0, "{}", ran.all());
    let told = &lines(&ran)[0];
    assert_eq!((&told["provable"], &told["measured"]), (&true.into(), &true.into()));
    assert_eq!(told["source_interval_s"], 15.0);
    let rps = told["requests_per_s"].as_f64().unwrap();
    assert!((95.0..105.0).contains(&rps), "{told}");
    let errors = told["stable_error_share"].as_f64().unwrap();
    assert!((0.009..0.011).contains(&errors), "{told}");
    let caught = told["stages"][0]["catches_errors_share"].as_f64().unwrap();
    assert!(caught > 0.0 && caught < 0.5, "{told}");

    let ran = gate("plan --output json", &prometheus.url());
    assert_eq!(ran.code, 0, "{}", ran.all());
    let told = lines(&ran);
    assert_eq!(told[0]["judge"]["source_interval_s"], 15.0);
    assert_eq!(told[0]["judge"]["preset"], "plain");
    assert_eq!(told[0]["judge"]["bounds_ms"], serde_json::json!([100.0, 1000.0]));
    assert_eq!(told[1]["provable"], true);
    let ran = gate("plan", &prometheus.url());
    for part in ["preset plain, scraped every 15 s", "requests/s (measured over 2 h)"] {
        assert!(ran.stdout.contains(part), "no {part:?} in {}", ran.all());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_traffic_or_too_rare_scrapes_are_said_before() {
    let Some(little) = remembering(15, 1).await else { return };
    let ran = gate("preflight", &little.url());
    assert_eq!(ran.code, 2, "{}", ran.all());
    assert!(ran.stderr.contains("stage 1 needs about 85 requests"), "{}", ran.all());
    let Some(rare) = remembering(90, 100).await else { return };
    let ran = gate("preflight", &rare.url());
    assert_eq!(ran.code, 7, "{}", ran.all());
    assert!(ran.stderr.contains("scraped every 90 s"), "{}", ran.all());
}

#[test]
fn a_server_that_is_not_there_refuses_preflight_but_not_the_plan() {
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let ran = gate("preflight --rps 100", &nobody);
    assert_eq!(ran.code, 7, "{}", ran.all());
    assert!(ran.stderr.contains("can't be judged with: no connection"), "{}", ran.all());
    let ran = gate("plan", &nobody);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert!(ran.stdout.contains("how often it scrapes was not measured"), "{}", ran.all());
    assert!(ran.stderr.contains("note: the metrics server"), "{}", ran.all());
    let ran = gate("plan --rps 100", &nobody);
    assert!(ran.code == 0 && ran.stdout.contains("can the traffic prove"), "{}", ran.all());
}
