//! What this router makes: the candidate's Services, one for each of the user's that is a backend.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::super::super::names::{self, REVISION, TARGET};
use super::super::super::snapshot::{Snapshot, label};
use super::super::super::write::{Kind, Op, Write, pointer};

/// What of a port is the same behind the candidate's Service; a node's port can't be.
const PORT: [&str; 5] = ["name", "port", "protocol", "targetPort", "appProtocol"];

/// Returns whether gate has made an object.
#[must_use]
pub fn is_ours(object: &ObjectMeta) -> bool {
    label(object.labels.as_ref(), TARGET).is_some()
}

/// Returns an object of gate's own, without content. It carries traffic, so it is owned by the user's
/// Deployment, and goes with that alone; `None` until that is there.
#[must_use]
pub fn object(seen: &Snapshot, kind: Kind, name: &str, revision: &str) -> Option<DynamicObject> {
    let target = &seen.target.as_ref()?.metadata;
    let deployment = Kind::Deployment.resource();
    let mut object = DynamicObject::new(name, &kind.resource());
    object.metadata.namespace.clone_from(&target.namespace);
    object.metadata.labels = Some(BTreeMap::from([
        (TARGET.to_owned(), names::target_label(target.name.as_deref()?)),
        (REVISION.to_owned(), revision.to_owned()),
    ]));
    object.metadata.owner_references = Some(vec![OwnerReference {
        api_version: deployment.api_version,
        kind: deployment.kind,
        name: target.name.clone()?,
        uid: target.uid.clone()?,
        controller: None,
        block_owner_deletion: Some(false),
    }]);
    Some(object)
}

/// Returns the write that makes the candidate's Service beside a user's, or aims one that is left from
/// another promotion at this one; `None` where it is so, or can't be.
#[must_use]
pub fn service(seen: &Snapshot, of: &str, revision: &str) -> Option<Write> {
    let name = names::candidate(of);
    let Some(present) = seen.services.get(&name) else {
        let mut object = object(seen, Kind::Service, &name, revision)?;
        object.data = json!({ "spec": spec(seen.services.get(of)?, revision) });
        return Some(Write::Create { kind: Kind::Service, object: Box::new(object) });
    };
    let revision_of = label(present.metadata.labels.as_ref(), REVISION);
    if !is_ours(&present.metadata) || revision_of == Some(revision) {
        return None;
    }
    let labelled = pointer(&["metadata", "labels", REVISION]);
    let selected = pointer(&["spec", "selector", REVISION]);
    let ops = vec![
        Op::Test { path: labelled.clone(), value: json!(revision_of) },
        Op::Add { path: labelled, value: json!(revision) },
        Op::Add { path: selected, value: json!(revision) },
    ];
    Some(Write::Patch { kind: Kind::Service, name, ops })
}

fn spec(of: &Service, revision: &str) -> Value {
    let spec = serde_json::to_value(&of.spec).unwrap_or_default();
    let ports = spec.get("ports").and_then(Value::as_array).into_iter().flatten();
    let ports: Vec<Value> = ports
        .map(|port| PORT.iter().filter_map(|key| Some((*key, port.get(key)?.clone()))).collect())
        .collect();
    let mut own = json!({ "selector": { REVISION: revision }, "ports": ports });
    if spec.get("clusterIP").and_then(Value::as_str) == Some("None") {
        own["clusterIP"] = json!("None");
    }
    own
}
