//! The simulator against its laws, and the judge against the simulator.

use proptest::prelude::*;

use super::dice::{Dice, Odds};
use super::{Buckets, Kind, Question, Scenario, Simulation, SimulationError, simulate};
use crate::analysis::evidence::Refused;
use crate::policy::{JudgeKind, Policy, shipped};

fn all_conditions() -> Policy {
    shipped("all-conditions").unwrap()
}

fn ask(
    scenario: &Scenario,
    policy: &Policy,
    reps: u64,
    seed: u64,
    threads: usize,
) -> Result<Simulation, SimulationError> {
    let threads = std::num::NonZero::new(threads).unwrap();
    simulate(&Question { scenario, policy, judge: JudgeKind::Evidence, reps, seed, threads })
}

/// Mean and variance.
type Moments = (f64, f64);

/// Those of many draws.
fn moments(mut draw: impl FnMut() -> f64) -> Moments {
    const DRAWS: usize = 20_000;
    let values: Vec<f64> = (0..DRAWS).map(|_| draw()).collect();
    let mean = values.iter().sum::<f64>() / DRAWS as f64;
    (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / DRAWS as f64)
}

#[test]
fn draws_follow_their_laws() {
    let mut dice = Dice::new(5);
    let cases: [(&str, Moments, Moments); 8] = [
        ("uniform", moments(|| dice.uniform()), (0.5, 1.0 / 12.0)),
        ("normal", moments(|| dice.normal()), (0.0, 1.0)),
        ("exponential", moments(|| dice.exponential(3.0)), (3.0, 9.0)),
        ("small poisson", moments(|| dice.poisson(0.3)), (0.3, 0.3)),
        ("large poisson", moments(|| dice.poisson(450.0)), (450.0, 450.0)),
        ("small binomial", moments(|| dice.binomial(9.0, &Odds::new(0.1))), (0.9, 0.81)),
        ("large binomial", moments(|| dice.binomial(900.0, &Odds::new(0.97))), (873.0, 26.19)),
        ("clusters", moments(|| dice.clusters(6.0, 5.0)), (6.0, 54.0)),
    ];
    for (law, (mean, variance), (true_mean, true_variance)) in cases {
        assert!((mean - true_mean).abs() < 0.04 * true_variance.sqrt(), "{law}: mean {mean}");
        assert!((variance / true_variance - 1.0).abs() < 0.06, "{law}: variance {variance}");
    }
}

#[test]
fn draws_stay_in_their_range() {
    let mut dice = Dice::new(6);
    for _ in 0..20_000 {
        let p = dice.uniform();
        let drawn = dice.binomial(7.0, &Odds::new(p));
        assert!((0.0..=7.0).contains(&drawn) && drawn.fract() == 0.0);
        assert!(dice.below(3) < 3);
    }
    assert_eq!(
        (
            dice.poisson(0.0),
            dice.binomial(5.0, &Odds::new(1.0)),
            dice.binomial(5.0, &Odds::new(0.0))
        ),
        (0.0, 5.0, 0.0)
    );
}

fn short(name: &str) -> Scenario {
    Scenario { name: name.into(), n_base: 4, share: Some(0.2), horizon: 600, ..Scenario::default() }
}

fn run(scenario: &Scenario, reps: u64) -> Simulation {
    ask(scenario, &all_conditions(), reps, 7, 1).unwrap()
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let scenario = Scenario { kind: Kind::Err, err_add: 0.05, ..short("threads") };
    let with = |threads| ask(&scenario, &all_conditions(), 12, 3, threads).unwrap();
    assert_eq!(with(1), with(2));
    assert_eq!(with(1), with(5));
    let other = ask(&scenario, &all_conditions(), 12, 4, 1).unwrap();
    assert_ne!(with(1).bad_requests, other.bad_requests);
}

#[test]
fn good_releases_pass_and_stay() {
    for scenario in [
        short("calm"),
        Scenario { pod_rate: 6.0, ..short("bursts") },
        Scenario { cluster: 5.0, base_err: 0.01, ..short("clusters") },
        Scenario { shared_rate: 6.0, ..short("incidents") },
        Scenario { miss: 0.2, restarts: 4.0, outage: Some((200.0, 120.0)), ..short("gaps") },
        Scenario { probe_out: Some((100.0, 90.0)), flake: 0.01, ..short("prober") },
        Scenario { cold: Some((30.0, 2.0)), buckets: Buckets::Native, ..short("cold") },
    ] {
        let simulation = run(&scenario, 12);
        assert_eq!(simulation.rolled_back_share, 0.0, "{simulation:?}");
    }
    assert_eq!(run(&short("calm"), 12).pass_s.reached_share, 1.0);
}

#[test]
fn bad_releases_are_found() {
    for (scenario, median) in [
        (Scenario { kind: Kind::Err, err_add: 0.2, ..short("errors") }, 60.0),
        (Scenario { kind: Kind::Lat, lat_mult: 4.0, rps: 100.0, ..short("slow") }, 165.0),
        (Scenario { kind: Kind::Hang, hang: 1.0, onset: 120, ..short("hang") }, 120.0),
        (Scenario { kind: Kind::Health, unhealthy: 0.9, onset: 120, ..short("ill") }, 60.0),
    ] {
        let simulation = run(&scenario, 12);
        assert_eq!((simulation.missed_share, simulation.early_share), (0.0, 0.0), "{simulation:?}");
        assert!(simulation.detect_s.median.is_some_and(|s| s <= median), "{simulation:?}");
        assert!(simulation.bad_requests.median.is_some_and(f64::is_finite));
    }
}

#[test]
fn stages_raise_the_share() {
    let stages = Some(vec![(0, 0.0), (120, 1.0)]);
    let scenario = Scenario { kind: Kind::Err, err_add: 1.0, stages, ..short("switch") };
    let found = run(&scenario, 6);
    assert_eq!(found.missed_share, 0.0);
    assert!(found.detect_s.median.is_some_and(|s| (135.0..=165.0).contains(&s)), "{found:?}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let error =
        |scenario: &Scenario| ask(scenario, &all_conditions(), 1, 1, 1).map_err(|e| e.to_string());
    for (scenario, message) in [
        (Scenario { rps: f64::NAN, ..short("x") }, "scenario x: rps must be"),
        (Scenario { share: Some(1.5), ..short("x") }, "share must be"),
        (Scenario { scrape: 7, ..short("x") }, "scrape must be"),
        (Scenario { horizon: 601, ..short("x") }, "horizon must be"),
        (Scenario { n_base: 0, ..short("x") }, "n_base must be"),
        (Scenario { stages: Some(vec![]), ..short("x") }, "stages must be"),
        (Scenario { reps: 0, ..short("x") }, "replicates"),
    ] {
        let said = error(&scenario).err().unwrap_or_default();
        assert!(said.contains(message), "{said}");
    }
    let nothing = Policy { conditions: Vec::new(), ..all_conditions() };
    let refused = ask(&short("x"), &nothing, 1, 1, 1);
    assert_eq!(refused, Err(Refused::NoCondition.into()));
}

#[test]
fn a_scenario_is_read_as_it_is_written() {
    let scenario: Scenario = serde_json::from_str(
        r#"{"name": "bursty", "kind": "err", "stages": [[0, 0.01], [720, 0.05]], "buckets": "native"}"#,
    )
    .unwrap();
    assert_eq!((scenario.kind, scenario.buckets), (Kind::Err, Buckets::Native));
    assert_eq!(scenario.schedule(), [(0, 0.01), (720, 0.05)]);
    let quiet: Scenario = serde_json::from_str(r#"{"kind": null}"#).unwrap();
    assert_eq!(
        (quiet.kind, quiet.schedule(), quiet.fixes_schedule()),
        (Kind::Null, vec![(0, 0.05)], false)
    );
    assert!(serde_json::from_str::<Scenario>(r#"{"weight": 0.1}"#).is_err());
    assert_eq!(Buckets::Native.bounds_ms().len(), 22);
}

#[test]
fn the_result_is_printed_as_documented() {
    let mut simulation = run(&short("calm"), 2);
    simulation.bad_requests.median = Some(10.0);
    insta::assert_snapshot!(serde_json::to_string(&simulation).unwrap(), @r#"{"schema":"gate.simulation/v1","scenario":"calm","kind":"null","judge":"evidence","reps":2,"seed":7,"rolled_back_share":0.0,"early_share":0.0,"missed_share":1.0,"detect_s":{"median":null,"p90":null},"pass_s":{"median":60.0,"reached_share":1.0},"bad_requests":{"median":10.0}}"#);
}

fn staged() -> Policy {
    let text = "deployment:\n  strategy: canary\n  stages: [{share: 20%}, {share: 100%}]\n  \
                auto_rollback: { conditions: [\"error_rate > 5%\", \"error_rate > 1.3x baseline\"] }";
    crate::policy::read(std::path::Path::new("staged"), text.as_bytes()).unwrap().value
}

#[test]
fn the_stages_of_a_policy_run_closed_loop() {
    let quiet = Scenario { n_base: 4, name: "closed".into(), ..Scenario::default() };
    let good = ask(&quiet, &staged(), 8, 3, 1).unwrap();
    assert_eq!((good.promoted_share, good.rolled_back_share), (Some(1.0), 0.0), "{good:?}");
    let took = good.duration_s.and_then(|d| d.median).unwrap();
    assert!((120.0..200.0).contains(&took), "{took}");
    assert_eq!(good, ask(&quiet, &staged(), 8, 3, 5).unwrap());

    let broken = Scenario { kind: Kind::Err, err_add: 0.3, ..quiet.clone() };
    let bad = ask(&broken, &staged(), 8, 3, 2).unwrap();
    assert_eq!((bad.promoted_share, bad.rolled_back_share), (Some(0.0), 1.0), "{bad:?}");
    assert!(bad.duration_s.and_then(|d| d.median).is_some_and(|s| s < 100.0), "{bad:?}");

    let fixed = Scenario { share: Some(0.2), horizon: 300, ..quiet };
    assert_eq!(ask(&fixed, &staged(), 2, 3, 1).unwrap().promoted_share, None);
}

#[test]
fn the_threshold_judge_can_be_asked() {
    let question = |scenario: &Scenario| {
        let (policy, threads) = (all_conditions(), std::num::NonZero::<usize>::MIN);
        let judge = JudgeKind::Threshold;
        simulate(&Question { scenario, policy: &policy, judge, reps: 6, seed: 1, threads }).unwrap()
    };
    let found = question(&Scenario { kind: Kind::Err, err_add: 0.3, ..short("errors") });
    assert_eq!((found.judge, found.missed_share), (JudgeKind::Threshold, 0.0));
    assert!(found.detect_s.median.is_some_and(|s| s >= 45.0), "three looks in a row: {found:?}");
}

#[track_caller]
fn reads(text: &str, said: &str) {
    let report = super::read(std::path::Path::new("s.yaml"), text.as_bytes());
    let report = report.err().map(|report| report.to_string()).unwrap_or_default();
    assert!(report.contains(said), "{text:?}: no {said:?} in\n{report}");
}

#[test]
fn mistakes_of_a_file_are_told_with_their_place() {
    reads("kind: err\nrsp: 50\n", "unknown key `rsp`");
    reads("kind: err\nrsp: 50\n", "did you mean `rps`?");
    reads("weight: 0.05\n", "it is called `share`");
    reads("rps: many\n", "s.yaml:1:6");
    reads("kind: odd\n", "s.yaml:1:7");
    reads("kind: err\nshare: 1.5\n", "s.yaml:2:8");
    reads("a: 1\nscrape: 7\nrps: -1\n", "unknown key `a`");
    reads("scrape: 7\nrps: -1\n", "rps must be between 0 and 100000");
    reads("- 1\n", "a scenario is a table of keys, not a list");
    reads("rps: 5\nrps: 6\n", "rps");
    reads("", "the file is empty");
}

#[test]
fn a_file_is_a_scenario() {
    let text =
        "kind: null\nstages: [[0, 0.01], [720, 0.05]]\nbuckets: native\noutage: [900, 180]\n";
    let read = super::read(std::path::Path::new("dir/quiet.yaml"), text.as_bytes()).unwrap().value;
    assert_eq!((read.name.as_str(), read.kind), ("quiet", Kind::Null));
    assert_eq!(read.schedule(), [(0, 0.01), (720, 0.05)]);
    assert_eq!((read.buckets, read.outage), (Buckets::Native, Some((900.0, 180.0))));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_no_mistake_can_be_simulated(
        load in (0.0..500.0f64, 0.0..=1.0f64, 0.0..=1.0f64, 1u32..6),
        effect in (0.0..1e3f64, 0.0..=1.0f64, 0.01..100.0f64, 0u32..200, any::<u32>()),
        bursts in (0.0..1e4f64, 0.0..1e300f64, 0.0..=1.0f64, 0.01..1e6f64),
        dirt in (1.0..50.0f64, 0.0..5.0f64, 0.0..=1.0f64, 0.0..1e4f64),
        stages in prop::collection::btree_map(0u32..400, 0.0..=1.0f64, 1..4),
        scrape in prop::sample::select(vec![1u32, 5, 15, 60]),
        native in any::<bool>(),
    ) {
        let scenario = Scenario {
            rps: load.0, base_err: load.1, hang: load.2, n_base: load.3,
            err_mult: effect.0, err_add: effect.1, lat_mult: effect.2, onset: effect.3, duration: effect.4,
            pod_rate: bursts.0, pod_dur: bursts.1, pod_err: bursts.2, pod_lat: bursts.3,
            shared_rate: bursts.0, shared_dur: effect.4,
            cluster: dirt.0, pod_het: dirt.1, lat_het: dirt.1, miss: dirt.2, restarts: dirt.3, drift: dirt.0,
            stages: Some(stages.into_iter().collect()),
            buckets: if native { Buckets::Native } else { Buckets::Classic },
            scrape, horizon: 240, name: "any".into(), kind: Kind::Err, ..Scenario::default()
        };
        prop_assert_eq!(scenario.mistakes(), vec![]);
        let simulation = ask(&scenario, &all_conditions(), 1, 1, 1).unwrap();
        prop_assert!(simulation.bad_requests.median.is_none_or(f64::is_finite), "{:?}", simulation);
        prop_assert!((0.0..=1.0).contains(&simulation.missed_share));
    }
}
