//! Promotions: good releases reach everybody, bad ones nobody for long, and nothing of it stays.

use crate::load::Seen;
use crate::manifests;
use crate::trial::By;

mod bad;

mod drains;

mod economy;

mod evidence;

mod good;

mod people;

mod testers;

mod way_back;

/// Short stages, judged by a threshold.
const CANARY: &str = "
  strategy: canary
  stages:
    - { share: 33%, hold: 5s, deadline: 90s }
    - { share: 100%, hold: 5s, deadline: 90s }
  evidence: { judge: threshold, interval: 2s, window: 6s, looks: 2, min_requests: 20 }
  prepare: { deadline: 60s }
  rollback_drain: 2s
  auto_rollback:
    conditions: [error_rate > 5%, response_time_p95 > 1000ms]
";

const BLUE_GREEN: &str = "
  strategy: blue-green
  stages:
    - { share: 0%, hold: 5s, deadline: 90s }
    - { share: 100%, hold: 8s, deadline: 90s }
  health_check: { path: /ready, interval: 2s, threshold: 3 }
  evidence: { judge: threshold, interval: 2s, window: 6s, looks: 2, min_requests: 20 }
  prepare: { deadline: 60s }
  rollback_drain: 2s
  auto_rollback:
    conditions: [error_rate > 5%, response_time_p95 > 1000ms, health_check_failures > 3]
";

/// podinfo's own path.
fn probing_podinfo(policy: &str) -> String {
    policy.replace("path: /ready,", "path: /readyz,")
}

fn podinfo() -> String {
    manifests::podinfo("shop", "v1", 2)
}

fn app() -> String {
    manifests::app("shop", "v1", 2)
}

/// Whether nobody else works on this machine, so that milliseconds mean something: `GATE_STORM=full`, one test at a
/// time. Else the limits are those that no wrong order of writes, retry or lost wake-up would keep.
fn is_alone() -> bool {
    std::env::var("GATE_STORM").is_ok_and(|how| how == "full")
}

/// Requests that a user would complain of.
fn failed(seen: &[Seen]) -> Vec<&Seen> {
    seen.iter().filter(|one| !one.answer.as_ref().is_ok_and(crate::load::Answer::is_good)).collect()
}

#[track_caller]
pub(crate) fn none_failed(what: &str, seen: &[Seen]) {
    let failed = failed(seen);
    for told in crate::load::silent(seen) {
        eprintln!("{what}: {told}");
    }
    assert!(failed.is_empty(), "{what}: {} of {}: {failed:#?}", failed.len(), seen.len());
    let (first, last) = (seen.first().unwrap(), seen.last().unwrap());
    let seconds = (last.sent - first.sent).as_seconds_f64();
    // The pace is 100/s.
    let least = if is_alone() { 90.0 } else { 20.0 };
    assert!(seen.len() as f64 >= least * seconds, "{what}: {} in {seconds} s", seen.len());
}

const fn named(by: By) -> &'static str {
    match by {
        By::Service => "service",
        By::Routes => "routes",
    }
}
