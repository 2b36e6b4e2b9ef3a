//! Autoscalers: while a promotion runs stable's may not scale down, and the candidate has its own.
//!
//! Stable is idle while the candidate has the traffic; an autoscaler would take the copies away that
//! the way back needs. `minReplicas` does not hold it: whoever re-applies the manifest sets it back.
//! A `behavior` that the manifest does not have survives that.

use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::candidate::owner;
use super::names;
use super::snapshot::Snapshot;
use super::write::{Kind, Op, Write, pointer};

/// Returns the autoscaler of a Deployment.
#[must_use]
pub fn of<'a>(seen: &'a Snapshot, deployment: &str) -> Option<&'a DynamicObject> {
    seen.autoscalers.values().find(|scaler| {
        let aim = |key: &str| scaler.data.pointer(&format!("/spec/scaleTargetRef/{key}"));
        aim("kind").and_then(Value::as_str) == Some("Deployment")
            && aim("name").and_then(Value::as_str) == Some(deployment)
    })
}

/// Returns the write that keeps stable's copies; `None`: they are kept.
#[must_use]
pub fn hold(scaler: &DynamicObject) -> Option<Write> {
    let behavior = scaler.data.pointer("/spec/behavior").filter(|value| !value.is_null());
    let policy = behavior.and_then(|behavior| behavior.pointer("/scaleDown/selectPolicy"));
    if policy.and_then(Value::as_str) == Some("Disabled") {
        return None;
    }
    let mut held = behavior.cloned().unwrap_or_else(|| json!({}));
    held["scaleDown"]["selectPolicy"] = json!("Disabled");
    let mut ops = Vec::new();
    if let Some(behavior) = behavior {
        ops.push(Op::Test { path: "/spec/behavior".into(), value: behavior.clone() });
    }
    ops.push(Op::Add { path: "/spec/behavior".into(), value: held });
    if original(scaler).is_none() {
        if scaler.metadata.annotations.is_none() {
            ops.push(Op::Add { path: "/metadata/annotations".into(), value: json!({}) });
        }
        let path = pointer(&["metadata", "annotations", names::ORIGINAL]);
        let was = json!({ "behavior": behavior }).to_string();
        ops.push(Op::Add { path, value: json!(was) });
    }
    let name = scaler.metadata.name.clone()?;
    Some(Write::Patch { kind: Kind::HorizontalPodAutoscaler, name, ops })
}

/// Returns the write that gives stable's autoscaler back as it was; `None`: it is.
#[must_use]
pub fn restore(scaler: &DynamicObject) -> Option<Write> {
    let written = original(scaler)?;
    let was: Value = serde_json::from_str(written).unwrap_or(Value::Null);
    let mut ops = Vec::new();
    let note = pointer(&["metadata", "annotations", names::ORIGINAL]);
    ops.push(Op::Test { path: note.clone(), value: json!(written) });
    ops.push(Op::Remove { path: note });
    let has = scaler.data.pointer("/spec/behavior").is_some_and(|value| !value.is_null());
    match was.get("behavior").filter(|value| !value.is_null()) {
        Some(behavior) => {
            ops.push(Op::Add { path: "/spec/behavior".into(), value: behavior.clone() });
        }
        None if has => ops.push(Op::Remove { path: "/spec/behavior".into() }),
        None => {}
    }
    let annotations = scaler.metadata.annotations.as_ref();
    if annotations.is_some_and(|annotations| annotations.len() == 1) {
        ops.push(Op::Remove { path: "/metadata/annotations".into() });
    }
    let name = scaler.metadata.name.clone()?;
    Some(Write::Patch { kind: Kind::HorizontalPodAutoscaler, name, ops })
}

fn original(scaler: &DynamicObject) -> Option<&str> {
    scaler.metadata.annotations.as_ref()?.get(names::ORIGINAL).map(String::as_str)
}

/// Returns the candidate's own autoscaler: a copy of stable's that never goes below what a stage needs.
#[must_use]
pub fn candidates(
    scaler: &DynamicObject,
    target: &DynamicObject,
    revision: &str,
    copies: u32,
) -> DynamicObject {
    let name = target.metadata.name.as_deref().unwrap_or_default();
    let candidate = names::candidate(name);
    let kind = Kind::HorizontalPodAutoscaler;
    let mut own = DynamicObject::new(&candidate, &kind.resource());
    own.metadata.namespace.clone_from(&scaler.metadata.namespace);
    own.metadata.labels = Some(
        [
            (names::TARGET.to_owned(), names::target_label(name)),
            (names::REVISION.to_owned(), revision.to_owned()),
        ]
        .into(),
    );
    own.metadata.owner_references = Some(vec![owner(target)]);
    let mut spec = scaler.data.get("spec").cloned().unwrap_or_else(|| json!({}));
    spec["scaleTargetRef"]["name"] = json!(candidate);
    spec["minReplicas"] = json!(copies);
    let most = spec["maxReplicas"].as_u64().unwrap_or(0).max(u64::from(copies));
    spec["maxReplicas"] = json!(most);
    if let Some(spec) = spec.as_object_mut() {
        spec.remove("behavior"); // stable's is held; the candidate's is free
    }
    own.data = json!({ "spec": spec });
    own
}

/// Returns the write that raises the least copies of the candidate's autoscaler; `None`: it has them.
#[must_use]
pub fn raise(own: &DynamicObject, copies: u32) -> Option<Write> {
    let least = own.data.pointer("/spec/minReplicas").and_then(Value::as_u64).unwrap_or(1);
    if least >= u64::from(copies) {
        return None;
    }
    let most = own.data.pointer("/spec/maxReplicas").and_then(Value::as_u64).unwrap_or(0);
    let mut ops = vec![Op::Add { path: "/spec/minReplicas".into(), value: json!(copies) }];
    if most < u64::from(copies) {
        ops.insert(0, Op::Add { path: "/spec/maxReplicas".into(), value: json!(copies) });
    }
    let name = own.metadata.name.clone()?;
    Some(Write::Patch { kind: Kind::HorizontalPodAutoscaler, name, ops })
}

#[cfg(test)]
mod tests {
    use kube::api::DynamicObject;
    use serde_json::{Value, json};

    use super::{hold, restore};
    use crate::platform::kubernetes::write::{Kind, Op, Write};

    fn scaler(behavior: &Value, annotations: Option<(&str, &str)>) -> DynamicObject {
        let mut object = DynamicObject::new("web", &Kind::HorizontalPodAutoscaler.resource());
        object.metadata.annotations =
            annotations.map(|(key, value)| [(key.to_owned(), value.to_owned())].into());
        object.data = json!({ "spec": { "minReplicas": 2, "behavior": behavior } });
        object
    }

    fn apply(object: &DynamicObject, write: Option<Write>) -> DynamicObject {
        let Some(Write::Patch { ops, .. }) = write else { panic!("{write:?}") };
        let ops: Vec<Value> = ops.iter().map(Op::to_json).collect();
        let patch: json_patch::Patch = serde_json::from_value(Value::from(ops)).unwrap();
        let mut seen = serde_json::to_value(object).unwrap();
        json_patch::patch(&mut seen, &patch).unwrap();
        serde_json::from_value(seen).unwrap()
    }

    #[track_caller]
    fn comes_back(behavior: &Value, annotations: Option<(&str, &str)>) {
        let before = scaler(behavior, annotations);
        let held = apply(&before, hold(&before));
        assert_eq!(
            held.data.pointer("/spec/behavior/scaleDown/selectPolicy"),
            Some(&json!("Disabled"))
        );
        assert_eq!(hold(&held), None, "held twice");
        let after = apply(&held, restore(&held));
        assert_eq!(restore(&after), None, "restored twice");
        let behavior = |object: &DynamicObject| {
            object.data["spec"].get("behavior").cloned().filter(|b| !b.is_null())
        };
        assert_eq!(behavior(&after), behavior(&before));
        assert_eq!(after.metadata.annotations, before.metadata.annotations);
    }

    #[test]
    fn what_is_held_comes_back_as_it_was() {
        comes_back(&Value::Null, None);
        comes_back(&Value::Null, Some(("team", "shop")));
        comes_back(&json!({ "scaleDown": { "selectPolicy": "Max" } }), None);
        comes_back(&json!({ "scaleUp": { "selectPolicy": "Max" } }), Some(("team", "shop")));
    }
}
