//! What traffic can prove: by the judge itself, so only its shape is checked here.

use super::{ALL, conditions};
use crate::analysis::evidence::{Assumed, Outlook, outlook};

const ASSUMED: Assumed = Assumed {
    rps: 200.0,
    error_rate: 0.001,
    share: 0.1,
    hold_s: 60.0,
    deadline_s: 600.0,
    interval_s: 5.0,
};

fn ask(assumed: Assumed) -> Outlook {
    outlook(&conditions(&ALL), &[100.0, 1000.0], &assumed).unwrap()
}

#[test]
fn a_calm_stage_passes_when_its_hold_is_over() {
    assert_eq!(ask(ASSUMED).passes_after_s, Some(60.0));
    assert_eq!(ask(Assumed { hold_s: 90.0, ..ASSUMED }).passes_after_s, Some(90.0));
}

#[test]
fn more_traffic_catches_smaller_regressions() {
    let shown: Vec<f64> = [200.0, 2000.0]
        .map(|rps| ask(Assumed { rps, ..ASSUMED }).catches_errors.unwrap_or(1.0))
        .to_vec();
    assert!(shown.is_sorted_by(|a, b| a > b), "{shown:?}");
    let longer = ask(Assumed { hold_s: 300.0, ..ASSUMED }).catches_errors;
    assert!(longer < ask(ASSUMED).catches_errors);
}

#[test]
fn without_traffic_nothing_is_proven() {
    let idle = ask(Assumed { rps: 0.0, ..ASSUMED });
    assert_eq!((idle.passes_after_s, idle.requests_in_hold), (None, 0.0));
    let little = ask(Assumed { rps: 1.0, ..ASSUMED });
    assert_eq!(little.passes_after_s, None, "60 requests are fewer than 85");
    assert_eq!(little.requests_needed, 85.0);
    let enough = ask(Assumed { rps: 3.0, ..ASSUMED });
    assert!(enough.passes_after_s.is_some_and(|s| (250.0..600.0).contains(&s)), "{enough:?}");
}

#[test]
fn a_stage_says_what_it_still_needs() {
    let (mut judge, lines) = super::golden::judge_of("n07-one-baseline-pod");
    let mut waited = false;
    for line in &lines {
        let Some(verdict) = judge.look(line) else { continue };
        let told = judge.explain();
        let left = told.requests_left.unwrap_or(f64::INFINITY);
        if verdict.may_pass {
            assert_eq!((left, told.bake_left_s), (0.0, 0.0));
            let out = told.ruled_out_above.unwrap();
            assert!(out > told.errors / told.requests && out < 0.05, "{told:?}");
            assert!(waited);
            return;
        }
        waited |= left > 0.0 && told.bake_left_s > 0.0;
    }
    panic!("it never passed");
}
