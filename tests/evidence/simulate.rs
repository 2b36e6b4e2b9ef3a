//! `gate simulate`: scenario files, the answer, and that threads change nothing.

use std::path::Path;

use serde_json::Value;

use crate::common::Gate;

const BAD: &str =
    "name: bad\nkind: err\nrps: 50\nshare: 0.2\nerr_add: 0.2\nn_base: 4\nhorizon: 300\n";

fn json(line: &str, scenario: &str) -> Value {
    let ran = Gate::line(line).file("s.yaml", scenario).run();
    assert_eq!(ran.code, 0, "{}", ran.all());
    serde_json::from_str(ran.stdout.trim_end()).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_answer_with_any_number_of_threads() {
    let line =
        "simulate all-conditions --scenario s.yaml --reps 20 --seed 7 --output json --threads";
    let one = json(&format!("{line} 1"), BAD);
    assert_eq!(one, json(&format!("{line} 2"), BAD));
    assert_eq!(one, json(&format!("{line} 5"), BAD));
    assert_ne!(one, json(&format!("{line} 1").replace("--seed 7", "--seed 8"), BAD));
    let keys: Vec<&str> = one.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys.join(" "),
        "schema scenario kind judge reps seed rolled_back_share early_share missed_share detect_s pass_s bad_requests"
    );
    assert_eq!((&one["schema"], &one["kind"]), (&"gate.simulation/v1".into(), &"err".into()));
    assert_eq!((&one["missed_share"], &one["reps"]), (&0.0.into(), &20.into()));
}

#[test]
fn a_policy_with_stages_runs_closed_loop() {
    let scenario = "kind: null\nrps: 200\nn_base: 2\nscrape: 5\n";
    let found = json("simulate cautious --scenario s.yaml --reps 3 --output json", scenario);
    assert_eq!((&found["scenario"], &found["kind"]), (&"s".into(), &"null".into()));
    assert_eq!(found["promoted_share"], 1.0, "{found}");
    assert!(found["duration_s"]["median"].as_f64().unwrap() > 60.0, "{found}");
    let fixed = json("simulate all-conditions --scenario s.yaml --reps 3 --output json", scenario);
    assert_eq!(fixed.get("promoted_share"), None);
}

#[test]
fn people_get_an_answer_in_one_sentence() {
    let ran = Gate::line("simulate all-conditions --scenario s.yaml --reps 60 --seed 3")
        .file("s.yaml", BAD)
        .run();
    insta::assert_snapshot!(ran.all());
    let both =
        Gate::line("simulate all-conditions --scenario . --reps 20 --judge evidence,threshold")
            .file("s.yaml", BAD)
            .file("t.yaml", "kind: null\nshare: 0.2\nn_base: 4\nhorizon: 300\n")
            .run();
    insta::assert_snapshot!(both.all());
}

#[test]
fn mistakes_have_a_place() {
    for (scenario, said) in [
        ("kind: err\nweight: 0.05\n", "s.yaml:2:1"),
        ("kind: err\nweight: 0.05\n", "it is called `share`"),
        ("kind: err\nshare: 5\n", "s.yaml:2:8"),
        ("rps: [1]\n", "s.yaml:1:6"),
    ] {
        let line = "simulate all-conditions --scenario s.yaml";
        let ran = Gate::line(line).file("s.yaml", scenario).run();
        assert!(ran.code == 2 && ran.stderr.contains(said), "no {said:?} in {}", ran.all());
    }
    let ran = Gate::line("simulate all-conditions --scenario nowhere.yaml").run();
    assert!(ran.code == 2 && ran.stderr.contains("can't read nowhere.yaml"), "{}", ran.all());
    let ran = Gate::line("simulate all-conditions --scenario . --reps 0").run();
    assert_eq!(ran.code, 2, "{}", ran.all());
}

#[test]
fn every_shipped_scenario_can_be_simulated() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/scenarios");
    let mut names = std::collections::BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let read = gate::simulate::read(&path, &std::fs::read(&path).unwrap());
        let checked = read.unwrap_or_else(|report| panic!("{report}"));
        assert!(checked.value.fixes_schedule(), "{}: as the reference", path.display());
        assert!(names.insert(checked.value.name), "{} has another's name", path.display());
    }
    assert_eq!(names.len(), 91);
}
