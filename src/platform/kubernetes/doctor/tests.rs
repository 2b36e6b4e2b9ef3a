//! A cluster in small: what the writes of a repair do to a snapshot, until nothing is left.

use std::time::Duration;

use kube::api::DynamicObject;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Repair, Says, Trace, findings, next};
use crate::platform::kubernetes::removal::Removal;
use crate::platform::kubernetes::router::{PlainService, Router};
use crate::platform::kubernetes::snapshot::Snapshot;
use crate::platform::kubernetes::write::{Kind, Op, Write};
use crate::share::Share;

const REVISION: &str = "p-1";

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn router() -> Router {
    Router::Service(PlainService { services: vec!["web".into()] })
}

/// What an interrupted promotion may have left.
#[derive(Clone, Copy, Debug)]
struct Left {
    candidate: bool,
    pods: bool,
    serving: bool,
    stable_ready: bool,
    scaler_held: bool,
    own_scaler: bool,
    own_service: bool,
    entry: bool,
}

const NOTHING: Left = Left {
    candidate: false,
    pods: false,
    serving: false,
    stable_ready: true,
    scaler_held: false,
    own_scaler: false,
    own_service: false,
    entry: false,
};

fn labels() -> Value {
    json!({ "gate.rs/target": "web", "gate.rs/revision": REVISION })
}

fn deployment(name: &str, uid: &str, labels: Value, image: &str) -> DynamicObject {
    read(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "uid": uid, "labels": labels, "generation": 1 },
        "spec": { "replicas": 1, "template": {
            "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [{ "name": "web", "image": image }] } } },
        "status": { "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1 },
    }))
}

fn owner(uid: &str) -> Value {
    json!([{ "apiVersion": "v1", "kind": "K", "name": "n", "uid": uid, "controller": true }])
}

fn snapshot(left: Left) -> Snapshot {
    let mut target = deployment("web", "d", json!({}), "web:1");
    let template = target.data["spec"]["template"].clone();
    let set = read(json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": { "template": template },
        "metadata": { "name": "web-1", "uid": "s", "ownerReferences": owner("d") },
    }));
    let ready = if left.stable_ready { "True" } else { "False" };
    let pod = read(json!({
        "metadata": { "name": "web-1-a", "ownerReferences": owner("s") },
        "status": { "conditions": [{ "type": "Ready", "status": ready }] },
    }));
    let mut seen = Snapshot {
        replica_sets: [("web-1".into(), set)].into(),
        pods: [("web-1-a".into(), pod)].into(),
        services: [service("web", json!({}))].into(),
        ..Snapshot::default()
    };
    if left.entry {
        let entries = json!([{ "manager": "kubectl" }, { "manager": "gate" }]);
        target.metadata.managed_fields = read(entries);
    }
    seen.target = Some(target);
    seen.candidate = left.candidate.then(|| deployment("web-candidate", "c", labels(), "web:2"));
    if left.pods {
        let pod = read(json!({ "metadata": { "name": "web-candidate-a", "labels": labels() } }));
        seen.candidates.insert("web-candidate-a".into(), pod);
        let slice = json!({
            "addressType": "IPv4", "metadata": { "name": "web-x", "labels": { "kubernetes.io/service-name": "web" } },
            "endpoints": [{ "addresses": ["10.0.0.1"], "conditions": { "ready": left.serving },
                "targetRef": { "kind": "Pod", "name": "web-candidate-a" } }],
        });
        seen.slices.insert("web-x".into(), read(slice));
    }
    let held = left.scaler_held.then(|| json!({ "gate.rs/original": "{\"behavior\":null}" }));
    seen.autoscalers.extend([scaler("web", "web", json!({}), held)]);
    if left.own_scaler {
        seen.autoscalers.extend([scaler("web-candidate", "web-candidate", labels(), None)]);
    }
    if left.own_service {
        seen.services.extend([service("web-candidate", labels())]);
    }
    seen
}

fn service(name: &str, labels: Value) -> (String, k8s_openapi::api::core::v1::Service) {
    let service = json!({ "metadata": { "name": name, "uid": name, "labels": labels }, "spec": { "selector": { "app": "web" } } });
    (name.into(), read(service))
}

fn scaler(name: &str, of: &str, labels: Value, notes: Option<Value>) -> (String, DynamicObject) {
    let behavior = notes.as_ref().map(|_| json!({ "scaleDown": { "selectPolicy": "Disabled" } }));
    let scaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": { "name": name, "uid": name, "labels": labels, "annotations": notes },
        "spec": { "scaleTargetRef": { "kind": "Deployment", "name": of }, "behavior": behavior },
    });
    (name.into(), read(scaler))
}

fn patched(object: &DynamicObject, ops: &[Op]) -> DynamicObject {
    let ops: Vec<Value> = ops.iter().map(Op::to_json).collect();
    let patch: json_patch::Patch = read(Value::from(ops));
    let mut value = serde_json::to_value(object).unwrap();
    json_patch::patch(&mut value, &patch).unwrap();
    read(value)
}

fn send(seen: &mut Snapshot, write: &Write) {
    match write {
        Write::EndPods { selector, .. } => {
            assert_eq!(selector, "gate.rs/revision=p-1");
            seen.candidates.clear();
            seen.slices.clear();
        }
        Write::Delete { kind: Kind::Deployment, uid, .. } => {
            assert_eq!(uid, "c", "only the candidate is deleted");
            seen.candidate = None;
        }
        Write::Delete { kind: Kind::Service, name, .. } => drop(seen.services.remove(name)),
        Write::Delete { kind: Kind::HorizontalPodAutoscaler, name, .. } => {
            drop(seen.autoscalers.remove(name));
        }
        Write::Patch { kind: Kind::HorizontalPodAutoscaler, name, ops } => {
            let scaler = patched(&seen.autoscalers[name], ops);
            seen.autoscalers.insert(name.clone(), scaler);
        }
        Write::Patch { kind: Kind::Deployment, name, ops } if name == "web" => {
            seen.target = seen.target.as_ref().map(|target| patched(target, ops));
        }
        other => panic!("nobody expects {other:?}"),
    }
}

fn ask(seen: &Snapshot, share: Option<Share>, writes: Vec<Write>) -> Repair {
    let router = router();
    let condemned = Some(Duration::from_secs(5));
    let removal = Removal { router: &router, target: "web", revision: REVISION, condemned };
    next(seen, &removal, REVISION, Says { share, writes })
}

/// Repairs until it is done or waits; returns the writes.
fn repaired(seen: &mut Snapshot) -> (Vec<Write>, Repair) {
    /// Turns that any repair takes at most.
    const TURNS_MAX: usize = 10;
    let mut sent = Vec::new();
    for _ in 0..TURNS_MAX {
        match ask(seen, Some(Share::ZERO), Vec::new()) {
            Repair::Write(writes) => {
                assert!(!writes.is_empty());
                writes.iter().for_each(|write| send(seen, write));
                sent.extend(writes);
            }
            end => return (sent, end),
        }
    }
    panic!("no end after {sent:?}");
}

#[test]
fn where_nothing_is_left_nothing_is_done() {
    let seen = snapshot(NOTHING);
    assert_eq!(findings(&seen, "web", None), []);
    assert_eq!(ask(&seen, None, Vec::new()), Repair::Done);
}

#[test]
fn with_all_the_traffic_on_the_candidate_nothing_is_written_before_stable_can_take_it() {
    let mut seen = snapshot(Left {
        candidate: true,
        pods: true,
        serving: true,
        stable_ready: false,
        scaler_held: true,
        ..NOTHING
    });
    let traffic = || vec![Write::EndPods { selector: "the router's write".into(), grace_s: 2 }];
    for share in [Some(Share::FULL), None, Some(Share::ZERO)] {
        let repair = ask(&seen, share, traffic());
        assert!(
            matches!(&repair, Repair::Wait(why) if why.starts_with("stable has no ready copy")),
            "{repair:?}"
        );
    }
    // Stable rolls: some copies are ready, and the old ones are going.
    let mut rolling = snapshot(Left { candidate: true, pods: true, serving: true, ..NOTHING });
    let status = |seen: &mut Snapshot, key: &str, value: u32| {
        seen.target.as_mut().unwrap().data["status"][key] = json!(value);
    };
    status(&mut rolling, "replicas", 2);
    assert!(
        matches!(ask(&rolling, None, traffic()), Repair::Wait(why) if why.starts_with("stable still rolls out"))
    );
    status(&mut rolling, "replicas", 1);
    assert_eq!(ask(&rolling, None, traffic()), Repair::Write(traffic()));
    // Written, and not seen yet: the pods stay.
    assert!(matches!(ask(&rolling, None, Vec::new()), Repair::Wait(_)));
    // The router is content, and yet a user's Service has the pod: it is believed.
    assert!(matches!(ask(&rolling, Some(Share::ZERO), Vec::new()), Repair::Wait(_)));
    seen.target = None;
    assert!(
        matches!(ask(&seen, None, traffic()), Repair::Wait(why) if why.starts_with("the Deployment is gone"))
    );
}

#[test]
fn pods_end_before_their_deployment_goes_and_the_users_objects_come_last() {
    let mut seen = snapshot(Left {
        candidate: true,
        pods: true,
        scaler_held: true,
        own_scaler: true,
        own_service: true,
        entry: true,
        ..NOTHING
    });
    let (writes, end) = repaired(&mut seen);
    let words: Vec<String> = writes
        .iter()
        .map(|write| match write {
            Write::EndPods { grace_s, .. } => format!("end pods in {grace_s} s"),
            Write::Delete { kind, name, .. } => format!("delete {kind} {name}"),
            Write::Patch { kind, name, .. } => format!("patch {kind} {name}"),
            Write::PatchStatus { .. } | Write::Create { .. } => panic!("{write:?}"),
        })
        .collect();
    let order = |word: &str| words.iter().position(|known| known == word).expect(word);
    assert!(order("end pods in 5 s") < order("delete Deployment web-candidate"), "{words:?}");
    assert!(order("delete Deployment web-candidate") < order("patch HorizontalPodAutoscaler web"));
    assert!(order("patch HorizontalPodAutoscaler web") < order("patch Deployment web"));
    assert!(order("delete Deployment web-candidate") < order("delete Service web-candidate"));
    assert_eq!(end, Repair::Done);
}

#[test]
fn a_deployment_of_the_users_that_has_the_name_is_left_alone() {
    let mut seen = snapshot(NOTHING);
    seen.candidate = Some(deployment("web-candidate", "theirs", json!({ "app": "web" }), "web:9"));
    assert_eq!(findings(&seen, "web", None), []);
    assert_eq!(ask(&seen, None, Vec::new()), Repair::Done);
}

#[test]
fn what_is_left_is_told() {
    let left = Left {
        candidate: true,
        pods: true,
        serving: true,
        scaler_held: true,
        entry: true,
        ..NOTHING
    };
    let found = findings(&snapshot(left), "web", Some(REVISION));
    let told: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "Deployment web-candidate of promotion p-1: made by gate, and still has traffic",
            "Pod web-candidate-a of promotion p-1: made by gate, and still has traffic",
            "HorizontalPodAutoscaler web: changed by gate, with a note of what it was",
            "Deployment web: as it was, with gate among the owners of its fields",
        ]
    );
    assert_eq!(found.iter().filter(|leftover| leftover.recorded).count(), 2);
    let other = findings(&snapshot(left), "web", Some("p-2"));
    assert!(other.iter().all(|leftover| !leftover.recorded));
    assert_eq!(
        findings(&snapshot(left), "other", None).len(),
        1,
        "the target's is told by whoever asks"
    );
}

#[test]
fn a_candidates_service_serves_while_a_route_gives_it_weight() {
    let route = |weight: u64| {
        let backend = json!({ "name": "web-candidate", "weight": weight });
        let route = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": { "name": "shop" },
            "spec": { "rules": [{ "backendRefs": [{ "name": "web" }, backend] }] },
        });
        ("shop".to_owned(), read::<DynamicObject>(route))
    };
    let mut seen = snapshot(Left { own_service: true, ..NOTHING });
    seen.routes.extend([route(30)]);
    let trace = |seen: &Snapshot| findings(seen, "web", None)[0].trace;
    assert_eq!(trace(&seen), Trace::Serving);
    assert!(matches!(ask(&seen, None, Vec::new()), Repair::Wait(_)));
    seen.routes.extend([route(0)]);
    assert_eq!(trace(&seen), Trace::Made);
    // A route names it still: deleting it would make that route's rule fail.
    assert!(
        matches!(ask(&seen, None, Vec::new()), Repair::Wait(why) if why.contains("Service web-candidate"))
    );
    seen.routes.clear();
    assert!(matches!(ask(&seen, None, Vec::new()), Repair::Write(_)));
}

#[test]
fn only_what_leads_to_the_target_is_its_leftover() {
    let mut seen = snapshot(NOTHING);
    let note = |seen: &mut Snapshot, selector: Value| {
        let service = json!({
            "metadata": { "name": "web", "annotations": { "gate.rs/original": "{}" } }, "spec": { "selector": selector },
        });
        seen.services.extend([("web".to_owned(), read(service))]);
        findings(seen, "web", None).len()
    };
    assert_eq!(note(&mut seen, json!({ "app": "other" })), 0);
    assert_eq!(note(&mut seen, json!({ "app": "web" })), 1);
    assert_eq!(note(&mut seen, json!({ "app": "web", "pod-template-hash": "5d" })), 1);
    assert_eq!(note(&mut seen, json!({ "app": "web", "gate.rs/revision": "p-1" })), 1);
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": { "name": "shop", "managedFields": [{ "manager": "gate" }] },
        "spec": { "rules": [{ "backendRefs": [{ "name": "web" }] }] },
    });
    seen.routes.extend([("shop".to_owned(), read(route))]);
    assert_eq!(findings(&seen, "web", None).len(), 2);
}

prop_compose! {
    fn left()(bits in any::<[bool; 8]>()) -> Left {
        let [candidate, pods, serving, stable_ready, scaler_held, own_scaler, own_service, entry] = bits;
        Left { candidate, pods, serving, stable_ready, scaler_held, own_scaler, own_service, entry }
    }
}

proptest! {
    #[test]
    fn it_ends_with_nothing_left_or_with_the_traffic_where_it_is(left in left()) {
        let mut seen = snapshot(left);
        let (writes, end) = repaired(&mut seen);
        if left.pods && left.serving {
            prop_assert!(writes.is_empty(), "{writes:?}");
            prop_assert!(matches!(end, Repair::Wait(_)));
        } else {
            prop_assert_eq!(end, Repair::Done);
            prop_assert_eq!(findings(&seen, "web", None), []);
        }
    }
}
