//! Writes to the cluster: each with a precondition, none with a choice.
//!
//! What is to be written is decided by pure functions of a [`Snapshot`](super::snapshot::Snapshot);
//! this is how it is said and sent. A write whose precondition fails (409, 422) changes nothing: the
//! next turn observes again and decides anew.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ApiResource, DynamicObject};
use serde_json::Value;

/// The kinds of objects that gate reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Deployment,
    ReplicaSet,
    Pod,
    Service,
    EndpointSlice,
    ConfigMap,
    HorizontalPodAutoscaler,
    HttpRoute,
}

/// One request that changes something.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// One that is there already is left as it is: it is ours by its labels, or the name is taken,
    /// and the next look tells.
    Create { kind: Kind, object: Box<DynamicObject> },
    /// A JSON Patch (RFC 6902): `ops` begins with the tests that must hold.
    Patch { kind: Kind, name: String, ops: Vec<Op> },
    /// The same on the object's status.
    PatchStatus { kind: Kind, name: String, ops: Vec<Op> },
    /// Only the object with this uid; one that is gone already is fine.
    Delete { kind: Kind, name: String, uid: String },
    /// Ends every pod with these labels in one request.
    EndPods { selector: String, grace_s: u32 },
}

impl Write {
    /// Removes an object, unless it is going already.
    #[must_use]
    pub fn delete(kind: Kind, meta: &ObjectMeta) -> Option<Self> {
        let (name, uid) = (meta.name.clone()?, meta.uid.clone()?);
        meta.deletion_timestamp.is_none().then_some(Self::Delete { kind, name, uid })
    }
}

/// One operation of a JSON Patch. Paths are JSON pointers (RFC 6901): see [`pointer()`].
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    Test { path: String, value: Value },
    Add { path: String, value: Value },
    Replace { path: String, value: Value },
    Remove { path: String },
}

impl Kind {
    #[must_use]
    pub fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = match self {
            Self::Deployment => ("apps", "v1", "Deployment", "deployments"),
            Self::ReplicaSet => ("apps", "v1", "ReplicaSet", "replicasets"),
            Self::Pod => ("", "v1", "Pod", "pods"),
            Self::Service => ("", "v1", "Service", "services"),
            Self::EndpointSlice => ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
            Self::ConfigMap => ("", "v1", "ConfigMap", "configmaps"),
            Self::HorizontalPodAutoscaler => {
                ("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
            }
            Self::HttpRoute => ("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
        };
        let api_version =
            if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        ApiResource {
            group: group.into(),
            version: version.into(),
            api_version,
            kind: kind.into(),
            plural: plural.into(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.resource().kind)
    }
}

impl Op {
    /// Returns it as RFC 6902 writes it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match self {
            Self::Test { path, value } => {
                serde_json::json!({ "op": "test", "path": path, "value": value })
            }
            Self::Add { path, value } => {
                serde_json::json!({ "op": "add", "path": path, "value": value })
            }
            Self::Replace { path, value } => {
                serde_json::json!({ "op": "replace", "path": path, "value": value })
            }
            Self::Remove { path } => serde_json::json!({ "op": "remove", "path": path }),
        }
    }
}

/// Joins parts to a JSON pointer, with `/` and `~` in them escaped.
#[must_use]
pub fn pointer(parts: &[&str]) -> String {
    parts.iter().fold(String::new(), |mut path, part| {
        path.push('/');
        path.push_str(&part.replace('~', "~0").replace('/', "~1"));
        path
    })
}

/// Returns the test that nobody has written the object since it was read.
#[must_use]
pub fn unchanged(version: &str) -> Op {
    Op::Test { path: "/metadata/resourceVersion".into(), value: Value::String(version.to_owned()) }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { kind, object } => {
                write!(f, "creating {kind} {}", object.metadata.name.as_deref().unwrap_or_default())
            }
            Self::Patch { kind, name, .. } => write!(f, "changing {kind} {name}"),
            Self::PatchStatus { kind, name, .. } => {
                write!(f, "changing the status of {kind} {name}")
            }
            Self::Delete { kind, name, .. } => write!(f, "deleting {kind} {name}"),
            Self::EndPods { selector, .. } => write!(f, "ending the pods {selector}"),
        }
    }
}
