//! How long one look takes: 16 baseline pods, 4 candidate pods, 6 latency bounds, all six conditions.
//!
//! `cargo bench --bench judge` prints microseconds per look. The goal is 100 µs: a host may judge a
//! hundred promotions without noticing.
#![expect(clippy::print_stdout, reason = "the figures are the answer")]
#![expect(clippy::unwrap_used, reason = "a bench may fail")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gate::analysis::evidence::{Header, Judge, StageTimes};
use gate::analysis::{Counters, Look, PerArm, ProbeCount};
use gate::policy::{Condition, Quantile};
use gate::share::Share;

const LOOKS: usize = 3000;
const INTERVAL_S: f64 = 5.0;
const BOUNDS_MS: [f64; 6] = [50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0];
/// Part of the requests that is slower than each bound.
const SLOWER: [f64; 6] = [0.95, 0.6, 0.06, 0.02, 0.004, 0.001];

fn main() {
    let stage = StageTimes { share: Some(0.2), ..StageTimes::default() };
    let header = Header::new(BOUNDS_MS.to_vec(), INTERVAL_S, vec![stage]);
    let mut judge = Judge::new(&conditions(), &header).unwrap();
    let mut look = first_look();
    let (mut inside, mut ends) = (Vec::new(), Vec::new());
    for n in 0..LOOKS {
        advance(&mut look, n);
        let start = Instant::now();
        std::hint::black_box(judge.judge_live(&look));
        let took = start.elapsed();
        if n % 3 == 2 { ends.push(took) } else { inside.push(took) }
    }
    let bytes = serde_json::to_string(&judge).unwrap().len();
    let start = Instant::now();
    let copy = judge.clone();
    println!("clone of the judge       {:>8.1} us", start.elapsed().as_secs_f64() * 1e6);
    drop(copy);
    report("look inside a block", &mut inside);
    report("look that ends a block", &mut ends);
    println!("state                    {bytes:>8} bytes of JSON");
}

fn report(name: &str, times: &mut [Duration]) {
    times.sort();
    let us = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1e6;
    println!("{name:<24} {:>8.1} us median {:>8.1} us p99", us(50), us(99));
}

fn conditions() -> Vec<Condition> {
    let quantile = Quantile::parse("95").unwrap();
    vec![
        Condition::ErrorRate { limit: 0.05 },
        Condition::ResponseTime { quantile: quantile.clone(), limit: Duration::from_secs(1) },
        Condition::HealthCheckFailures { limit: 3 },
        Condition::ErrorRateRatio { ratio: 1.3 },
        Condition::ResponseTimeRatio { quantile, ratio: 1.1 },
        Condition::TrafficShare { factor: 0.5 },
    ]
}

fn first_look() -> Look {
    let pods = |arm: &str, pods: usize| {
        let counters = Counters(vec![0.0; 2 + BOUNDS_MS.len()]);
        (0..pods).map(|n| (format!("{arm}-{n}"), counters.clone())).collect()
    };
    Look {
        at_s: 0.0,
        stage: 0,
        share: Share::from_fraction(0.2).unwrap(),
        baseline: pods("v1", 16),
        candidate: pods("v2", 4),
        expected: PerArm { baseline: 16, candidate: 4 },
        probes: PerArm {
            baseline: ProbeCount { failed: 0, sent: 16 },
            candidate: ProbeCount { failed: 0, sent: 4 },
        },
        candidate_healthy: true,
        queries: BTreeMap::new(),
        missing: None,
    }
}

/// Some requests more for every pod, a few of them bad, not the same everywhere.
fn advance(look: &mut Look, n: usize) {
    look.at_s += INTERVAL_S;
    for (pod, counters) in look.baseline.values_mut().chain(look.candidate.values_mut()).enumerate()
    {
        let requests = 100.0 + ((n * 7 + pod * 13) % 31) as f64;
        counters.0[0] += requests;
        counters.0[1] += f64::from((n + pod).is_multiple_of(5));
        for (k, part) in SLOWER.iter().enumerate() {
            counters.0[2 + k] += (requests * part).round();
        }
    }
}
