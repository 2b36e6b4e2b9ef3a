//! How weights are shared out, and what comes back when the note does not help.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::walk::percent;
use crate::platform::kubernetes::router::gateway_api::backends::{
    joined, original, weight, weights,
};
use crate::platform::kubernetes::router::{gateway_api, service};
use crate::share::Share;

fn services() -> Vec<String> {
    vec!["web".into(), "api".into()]
}

fn rule(backends: &[(&str, u64)]) -> Vec<Value> {
    backends.iter().map(|(name, weight)| json!({ "name": name, "weight": weight })).collect()
}

/// The user's backends, a share, and the weights with the partners at the end.
#[track_caller]
fn check(before: &[(&str, u64)], share: f64, expected: &[u64]) {
    let before = rule(before);
    let refs = joined(&before, &services());
    assert_eq!(weights(&refs, &services(), Some(&before), percent(share)), expected);
}

#[test]
fn a_share_is_exact_and_other_backends_keep_their_part() {
    check(&[("web", 1)], 5.0, &[95, 5]);
    check(&[("web", 1)], 100.0, &[0, 100]);
    check(&[("web", 100)], 12.34, &[8766, 1234]);
    check(&[("web", 1), ("blog", 3)], 25.0, &[75, 300, 25]);
    check(&[("web", 7), ("api", 3), ("blog", 2)], 10.0, &[630, 270, 200, 70, 30]);
    check(&[("web", 0), ("blog", 1)], 50.0, &[0, 100, 0]);
    check(&[("blog", 3), ("web", 1_000_000)], 50.0, &[3, 500_000, 500_000]);
}

#[test]
fn without_a_note_the_weights_go_back_to_the_users() {
    let refs = rule(&[("web", 75), ("blog", 300), ("web-candidate", 25)]);
    let expected = rule(&[("web", 100), ("blog", 300)]);
    assert_eq!(original(&refs, &services(), None), expected);
    // Somebody has made another rule of it since.
    let noted = rule(&[("web", 1), ("shop", 1)]);
    assert_eq!(original(&refs, &services(), Some(&noted)), expected);
    let noted = vec![json!({ "name": "web" }), json!({ "name": "blog", "weight": 3 })];
    assert_eq!(original(&refs, &services(), Some(&noted)), noted);
}

#[test]
fn copies_are_as_many_as_a_share_needs() {
    // share, stable's copies, by pods, by weight
    let table = [
        (0.0, 4, 1, 1),
        (5.0, 4, 1, 1),
        (25.0, 4, 1, 1),
        (50.0, 4, 4, 2),
        (60.0, 10, 10, 6),
        (25.0, 10, 3, 3),
        (99.0, 4, 4, 4),
        (100.0, 4, 4, 4),
        (100.0, 0, 1, 1),
        (5.0, 100, 5, 5),
    ];
    for (share, stable, pods, weights) in table {
        let seen =
            (service::copies(percent(share), stable), gateway_api::copies(percent(share), stable));
        assert_eq!(seen, (pods, weights), "{share} % of {stable}");
    }
}

proptest! {
    #[test]
    fn weights_are_exact_wherever_the_api_has_room(
        own in 1_u64..=100, other in 0_u64..=100, points in 0_u16..=10_000,
    ) {
        let before = rule(&[("blog", other), ("web", own)]);
        let refs = joined(&before, &services());
        let share = Share::from_basis_points(points).unwrap();
        let weights = weights(&refs, &services(), Some(&before), share);
        let (blog, stable, candidate) = (weights[0], weights[1], weights[2]);
        prop_assert_eq!(candidate * 10_000, (stable + candidate) * u64::from(points));
        prop_assert_eq!(blog * own, (stable + candidate) * other);
        prop_assert!(weights.iter().all(|weight| *weight <= 1_000_000));
        let mut weighted = refs.clone();
        for (backend, weight) in weighted.iter_mut().zip(weights) {
            backend["weight"] = json!(weight);
        }
        prop_assert_eq!(original(&weighted, &services(), Some(&before)), before);
        let plain = original(&weighted, &services(), None);
        prop_assert_eq!(weight(&plain[0]) * own, weight(&plain[1]) * other);
    }
}
