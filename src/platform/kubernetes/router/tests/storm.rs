//! Anything may happen between any two writes: in the end all is as ordered, and then as it was.

use proptest::prelude::*;
use serde_json::json;

use super::cluster::Cluster;
use super::walk::{ALL, EVERY, Kept, Walk, part, percent};
use crate::platform::kubernetes::write::Kind;
use crate::share::Share;

#[derive(Clone, Debug)]
enum Event {
    /// Ordered from now on.
    Order(u8),
    /// Ordered, and waited for.
    Reached(u8),
    /// A turn of which only the writes with a bit here get through.
    Turn(u64),
    Kubelet,
    Endpoints,
    Gateway,
    /// Somebody applies the user's objects as they are in Git.
    Reset,
    /// Somebody labels a Service, or adds a condition to a pod: nothing that matters.
    Unrelated,
    /// A pod of the candidate is replaced.
    Replaced(u32),
    /// A turn of a stage of 0 %, of which only these writes get through.
    LetIn(u64),
    /// Somebody deletes the testers' route.
    TestersDeleted,
    /// Somebody gives it another host, and all weights to one backend.
    TestersEdited,
}

/// None, the first one or two, all, and all but the first one or two.
const SENT: [u64; 6] = [0, 0b1, 0b11, EVERY, EVERY << 1, EVERY << 2];

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => prop::sample::select(vec![0, 5, 25, 50, 100]).prop_map(Event::Order),
        2 => prop::sample::select(vec![0, 25, 100]).prop_map(Event::Reached),
        6 => prop::sample::select(SENT.to_vec()).prop_map(Event::Turn),
        3 => Just(Event::Kubelet),
        3 => Just(Event::Endpoints),
        3 => Just(Event::Gateway),
        1 => Just(Event::Reset),
        1 => Just(Event::Unrelated),
        1 => (0_u32..4).prop_map(Event::Replaced),
        3 => prop::sample::select(SENT.to_vec()).prop_map(Event::LetIn),
        1 => Just(Event::TestersDeleted),
        1 => Just(Event::TestersEdited),
    ]
}

/// The testers' route over the user's.
const TESTERS: &str = "shop-gate-testers";

/// A forced apply: what the manifest says is as there, what it does not name stays.
fn reset(walk: &mut Walk) {
    let selectors =
        [("web", json!({ "app": "web" })), ("web-front", json!({ "app": "web", "tier": "front" }))];
    for (name, selector) in selectors {
        let mut service = walk.cluster.get(Kind::Service, name).unwrap().clone();
        service["spec"]["selector"] = selector;
        walk.cluster.put(Kind::Service, name, service);
    }
    if let Some(route) = walk.cluster.get(Kind::HttpRoute, "shop") {
        let mut route = route.clone();
        route["spec"] = Cluster::route()["spec"].clone();
        walk.cluster.put(Kind::HttpRoute, "shop", route);
    }
    walk.safe = false;
}

fn happen(walk: &mut Walk, event: &Event, share: Share) {
    match event {
        Event::Order(_) => {}
        Event::Reached(_) => drop(walk.drive(share)),
        Event::Turn(sent) => drop(walk.turn(share, *sent)),
        Event::Kubelet => walk.cluster.kubelet(),
        Event::Endpoints => walk.cluster.endpoints(),
        Event::Gateway => walk.cluster.gateway(),
        Event::Reset => reset(walk),
        Event::Unrelated => {
            let mut service = walk.cluster.get(Kind::Service, "web").unwrap().clone();
            service["metadata"]["labels"] = json!({ "team": "shop" });
            walk.cluster.put(Kind::Service, "web", service);
        }
        Event::LetIn(sent) => drop(walk.let_in(*sent)),
        Event::TestersDeleted => {
            walk.cluster.objects.remove(&(Kind::HttpRoute, TESTERS.into()));
        }
        Event::TestersEdited => {
            if let Some(route) = walk.cluster.get(Kind::HttpRoute, TESTERS) {
                let mut route = route.clone();
                route["spec"]["hostnames"] = json!(["other.example"]);
                walk.cluster.put(Kind::HttpRoute, TESTERS, route);
            }
        }
        Event::Replaced(index) => {
            let name = format!("candidate-{index}");
            let others =
                walk.cluster.of(Kind::Pod).filter(|(other, _)| other.starts_with("candidate-"));
            // The disruption budget of the candidate.
            if others.count() > 1
                && walk.cluster.objects.remove(&(Kind::Pod, name.clone())).is_some()
            {
                let label = walk.label();
                let label = label.as_ref().map(|(key, value)| (key.as_str(), value.as_str()));
                walk.cluster.candidate_pod(&name, label);
            }
        }
    }
}

fn storm(kept: Kept, testers: bool, events: &[Event]) {
    let begin = if testers && kept != Kept::Plain { Walk::with_testers } else { Walk::new };
    let mut walk = begin(kept);
    reset(&mut walk);
    let mut share = Share::ZERO;
    for event in events {
        if let Event::Order(ordered) | Event::Reached(ordered) = event {
            share = percent(f64::from(*ordered));
            walk.safe = false;
            walk.size(share);
        }
        happen(&mut walk, event, share);
        walk.safe |= walk.is_given_back(share) && !matches!(event, Event::LetIn(_));
    }
    walk.size(share);
    walk.drive(share);
    let exact = match kept {
        Kept::Plain => share.is_zero() || share.is_full(),
        Kept::InPlace | Kept::Overlay => true,
    };
    let seen = part(&walk.cluster);
    assert!(!exact || (seen - share.fraction()).abs() < 1e-9, "{share}: {seen}");
    walk.end();
    let mut before = Walk::new(kept);
    let labels = walk.cluster.get(Kind::Service, "web").unwrap()["metadata"]["labels"].clone();
    if !labels.is_null() {
        let mut service = before.cluster.get(Kind::Service, "web").unwrap().clone();
        service["metadata"]["labels"] = labels;
        before.cluster.put(Kind::Service, "web", service);
    }
    assert_eq!(without_uids(&walk.cluster), without_uids(&before.cluster));
    assert_eq!(walk.router.disturbed(&walk.cluster.snapshot()), Vec::<String>::new());
}

/// Two clusters count differently.
fn without_uids(cluster: &Cluster) -> Vec<serde_json::Value> {
    let objects = cluster.users_view().into_values().map(|mut object| {
        object["metadata"].as_object_mut().unwrap().remove("uid");
        object
    });
    objects.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_happens_between_two_writes(
        kept in prop::sample::select(ALL.to_vec()),
        testers in any::<bool>(),
        events in prop::collection::vec(event(), 0..40),
    ) {
        storm(kept, testers, &events);
    }
}

#[test]
fn what_somebody_resets_is_named_and_asserted_again() {
    for (kept, expected) in [
        (Kept::Plain, vec!["Service web", "Service web-front"]),
        (Kept::InPlace, vec!["HTTPRoute shop"]),
        (Kept::Overlay, vec![]),
    ] {
        let mut walk = Walk::new(kept);
        walk.size(Share::FULL);
        walk.drive(Share::FULL);
        assert_eq!(walk.router.disturbed(&walk.cluster.snapshot()), Vec::<String>::new());
        reset(&mut walk);
        assert_eq!(walk.router.disturbed(&walk.cluster.snapshot()), expected);
        walk.drive(Share::FULL);
        assert_eq!(part(&walk.cluster), 1.0, "{kept:?}");
        walk.end();
    }
}

#[test]
fn a_route_that_changes_under_gates_own_stops_the_promotion_at_0() {
    let mut walk = Walk::new(Kept::Overlay);
    walk.size(Share::FULL);
    walk.drive(percent(50.0));
    let mut route = walk.cluster.get(Kind::HttpRoute, "shop").unwrap().clone();
    route["spec"]["hostnames"] = json!(["other.example"]);
    walk.cluster.put(Kind::HttpRoute, "shop", route);
    assert_eq!(walk.router.disturbed(&walk.cluster.snapshot()), ["HTTPRoute shop"]);
    for _ in 0..3 {
        walk.turn(percent(50.0), EVERY);
        walk.cluster.run();
    }
    assert_eq!((walk.seen(percent(50.0)), part(&walk.cluster)), (Some(Share::ZERO), 0.0));
}
