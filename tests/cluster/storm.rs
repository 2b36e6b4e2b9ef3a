//! Storms: the gate is killed, the API server refuses or is gone, copies of stable die; then it is calm,
//! and the gate is started again.
//!
//! Whatever happens, no run ends with traffic on a condemned version or on nothing, none without an
//! explanation, and the next start finishes all of them. `GATE_STORM=full` runs more of them, a number so
//! many; `GATE_SEED` begins elsewhere.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::Cluster;
use crate::dice::{self, Dice};
use crate::gitops::autoscaler;
use crate::killed::{is_event, kill};
use crate::load::{Connections, Seen, tally};
use crate::manifests;
use crate::namespace::WAIT_MAX;
use crate::poll;
use crate::trial::{By, Running, SHOP, Trial};
use crate::weather::{Sky, Weather};

/// Runs in CI, and at full length.
const RUNS: u64 = 10;
const RUNS_FULL: u64 = 60;
/// At one time: each has an application, and a gate.
const WIDTH: usize = 3;

/// How long the weather is bad, or nobody runs the gate.
const BAD: Duration = Duration::from_secs(3);

/// Users wait no longer than so for an answer of anybody.
const NOTHING_MAX: chrono::TimeDelta = chrono::TimeDelta::seconds(2);

const CANARY: &str = "
  strategy: canary
  stages:
    - { share: 50%, hold: 3s, deadline: 60s }
    - { share: 100%, hold: 3s, deadline: 60s }
";

const BLUE_GREEN: &str = "
  strategy: blue-green
  stages:
    - { share: 0%, hold: 1s, deadline: 60s }
    - { share: 100%, hold: 5s, deadline: 60s }
";

const JUDGED: &str =
    "  evidence: { judge: threshold, interval: 1s, window: 3s, looks: 2, min_requests: 15 }
  prepare: { deadline: 90s }
  rollback_drain: 2s
  auto_rollback:
    conditions: [error_rate > 5%]
";

const HEADER: (&str, &str) = ("x-release", "next");
const TESTED: &str = "  traffic: { router: gateway-api, route: shop, testers: { header: x-release, value: next } }\n";

/// The events of which a storm draws its moments.
const MOMENTS: [&str; 8] = [
    "promotion.started",
    "stage.entered",
    "share.asked",
    "share.seen",
    "stage.passed",
    "rollback.started",
    "rollback.verified",
    "adoption.started",
];

const SKIES: [Sky; 8] = [
    Sky::Refuses(409),
    Sky::Refuses(422),
    Sky::Refuses(500),
    Sky::Denies,
    Sky::Busy,
    Sky::Silent,
    Sky::Slow(Duration::from_millis(700)),
    Sky::Gone,
];

/// What happens in one run, and when.
#[derive(Clone, Debug)]
struct Storm {
    seed: u64,
    strategy: &'static str,
    by: By,
    release: &'static str,
    /// The gate is killed at the so-manieth of its events.
    killed_at: u64,
    /// The API server, from the so-manieth event.
    sky: Sky,
    sky_at: u64,
    /// A copy of stable dies as the way back begins.
    copy_dies: bool,
    /// By routes, some come with a header that leads to the release.
    testers: bool,
}

impl Storm {
    fn of(seed: u64) -> Self {
        let mut dice = Dice::of(seed);
        let pick = |dice: &mut Dice, count: usize| {
            usize::try_from(dice.below(u64::try_from(count).unwrap())).unwrap()
        };
        let strategy = [CANARY, BLUE_GREEN][pick(&mut dice, 2)];
        let by = [By::Service, By::Routes][pick(&mut dice, 2)];
        Self {
            seed,
            strategy,
            by,
            release: ["v2", "broken"][pick(&mut dice, 2)],
            killed_at: 1 + dice.below(9),
            sky: SKIES[pick(&mut dice, SKIES.len())],
            sky_at: 1 + dice.below(9),
            copy_dies: dice.below(2) == 0,
            testers: by == By::Routes && dice.below(2) == 0,
        }
    }

    /// Runs it; returns a row of the table, and how long the next gate took to its end.
    fn run(&self, cluster: &'static Cluster) -> (String, Duration) {
        let manifests = manifests::app(SHOP, "v1", 2) + &autoscaler();
        let name = format!("storm-{}", self.seed);
        let trial = Trial::new(cluster, &name, &manifests, self.by);
        let weather = Weather::new(cluster);
        let users = trial.users(Connections::Fresh);
        let config = weather.kubeconfig();
        let traffic = if self.testers { TESTED } else { "" };
        let policy = format!("{}{JUDGED}{traffic}", self.strategy);
        let start = || {
            let more = ["--kubeconfig", config.to_str().unwrap()];
            trial.start_with(&format!("gate.test/app:{}", self.release), &policy, &more)
        };
        let mut gate = start();
        let killed = self.rage(&trial, &weather, &mut gate);
        weather.is(Sky::Clear);
        let began = Instant::now();
        let ran = if killed { start().end() } else { gate.end() };
        let took = began.elapsed();
        let line = ran.result();
        let (word, reason) = (line["result"].as_str().unwrap(), line["reason"].as_str().unwrap());
        assert!(!reason.is_empty(), "no explanation: {line:#}");
        self.is_at_rest(&trial, users.stop(), word);
        let kind = if self.strategy == CANARY { "canary" } else { "blue-green" };
        let row = format!(
            "| {} | {kind}, {:?}{} | {} | {:?} at {} | {} | {word} | {:.1} s |",
            self.seed,
            self.by,
            if self.testers { ", testers" } else { "" },
            self.release,
            self.sky,
            self.sky_at,
            if killed { self.killed_at.to_string() } else { "–".into() },
            took.as_secs_f64(),
        );
        (row, took)
    }

    /// Returns whether the gate was killed: it may have ended before.
    fn rage(&self, trial: &Trial, weather: &Weather, gate: &mut Running) -> bool {
        let mut bad_until = None;
        let mut dies = self.copy_dies;
        let killed = poll::within(WAIT_MAX * 2, || {
            if gate.has_ended() {
                return Some(false);
            }
            let lines = gate.lines();
            let moments = |line: &&Value| MOMENTS.iter().any(|moment| is_event(line, moment));
            let count = u64::try_from(lines.iter().filter(moments).count()).unwrap();
            if bad_until.is_none() && count >= self.sky_at {
                weather.is(self.sky);
                bad_until = Some(Instant::now() + BAD);
            }
            if bad_until.is_some_and(|until| Instant::now() >= until) {
                weather.is(Sky::Clear);
            }
            if dies && lines.iter().any(|line| is_event(line, "rollback.started")) {
                dies = false;
                lose_a_copy(trial);
            }
            (count >= self.killed_at).then_some(true)
        });
        let killed = killed.unwrap_or_else(|| panic!("no end: {:#?}", gate.lines()));
        if killed {
            kill(gate);
            std::thread::sleep(BAD);
        }
        killed
    }

    /// Checks who serves, that somebody always did, and that nothing is left.
    fn is_at_rest(&self, trial: &Trial, seen: Vec<Seen>, word: &str) {
        let serves = if word == "promoted" { "v2" } else { "v1" };
        let bad = self.release == "broken";
        assert!(!(bad && word == "promoted"), "a broken release was promoted");
        let good = seen.iter().filter(|one| one.outcome() == "v1" || one.outcome() == "v2");
        let mut last = seen[0].done;
        for one in good {
            assert!(one.done - last < NOTHING_MAX || bad, "nobody answered after {last}");
            last = one.done.max(last);
        }
        let users =
            if self.testers { trial.testers(HEADER) } else { trial.users(Connections::Fresh) };
        poll::until("users", WAIT_MAX, || (users.so_far().len() > 100).then_some(()));
        let after = tally(&users.stop());
        assert_eq!(after.keys().collect::<Vec<_>>(), [serves], "{after:?}");
        let candidates = trial.space.kubectl(&["get", "deployments,hpa", "--output=name"]);
        assert!(!candidates.contains("candidate"), "{candidates}");
        let scaler = trial.space.get("hpa/shop");
        assert_eq!(scaler["spec"].get("behavior"), None, "{scaler:#}");
    }
}

fn lose_a_copy(trial: &Trial) {
    let stable = "--selector=app=shop,!gate.rs/revision";
    let pods = trial.space.kubectl(&["get", "pods", stable, "--output=name"]);
    if let Some(pod) = pods.lines().next() {
        trial.space.kubectl(&["delete", pod, "--wait=false", "--grace-period=1"]);
    }
}

#[test]
fn every_storm_is_survived() {
    let Some(cluster) = Cluster::there() else { return };
    let asked = std::env::var("GATE_STORM").ok().and_then(|length| length.parse().ok());
    let runs = asked.unwrap_or(if dice::is_full() { RUNS_FULL } else { RUNS });
    let first = std::env::var("GATE_SEED").map_or(1, |seed| seed.parse().unwrap());
    let storms: Vec<Storm> = (first..first + runs).map(Storm::of).collect();
    let rows = Mutex::new(Vec::new());
    poll::at_once(&storms, WIDTH, |storm| {
        let row = storm.run(cluster);
        println!("{}", row.0);
        rows.lock().unwrap().push(row);
    });
    let slowest = rows.lock().unwrap().iter().map(|(_, took)| *took).max().unwrap_or_default();
    println!("{runs} storms from seed {first}; the slowest end {slowest:?} after the calm");
}
