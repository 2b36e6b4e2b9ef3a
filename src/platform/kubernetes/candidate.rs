//! The candidate: a second Deployment beside the user's, of the release's template.
//!
//! It is told apart by the label [`REVISION`](super::names::REVISION), which is known before the first
//! write. The *user's Deployment* owns it, not the promotion's record: deleting a record must never
//! delete what carries traffic. Of the user's metadata only labels are copied, without those by which
//! a GitOps tool knows its own: it would prune what it has not made.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::DynamicObject;
use serde_json::{Map, Value, json};

use super::names;
use super::router::Isolation;
use super::write::{Kind, Op, Write, pointer};
use crate::share::Share;

/// Labels by which tools know what they manage.
const TRACKING_LABELS: [&str; 2] = ["app.kubernetes.io/instance", "app.kubernetes.io/managed-by"];
/// The same as prefixes.
const TRACKING_PREFIXES: [&str; 4] =
    ["argocd.argoproj.io/", "helm.sh/", "kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/"];
/// The longest that Kubernetes takes: a pod that is kept out is not one that has failed.
const PROGRESS_DEADLINE_SECONDS: i64 = 2_147_483_647;

/// What a candidate is made from.
#[derive(Clone, Copy, Debug)]
pub struct Recipe<'a> {
    pub target: &'a DynamicObject,
    /// The release's pod template.
    pub template: &'a Value,
    /// The promotion's id.
    pub revision: &'a str,
    pub isolation: &'a Isolation,
}

impl Recipe<'_> {
    /// Returns the Deployment, with copies enough for a share.
    #[must_use]
    pub fn deployment(&self, copies: u32, sized_for: Share) -> DynamicObject {
        let name = self.target.metadata.name.as_deref().unwrap_or_default();
        let mut object = DynamicObject::new(&names::candidate(name), &Kind::Deployment.resource());
        object.metadata.namespace.clone_from(&self.target.metadata.namespace);
        object.metadata.labels = Some(self.labels());
        object.metadata.annotations =
            Some([(names::SIZED_FOR.to_owned(), sized_for.to_string())].into());
        object.metadata.owner_references = Some(vec![owner(self.target)]);
        let mut spec = self.target.data.get("spec").cloned().unwrap_or_else(|| json!({}));
        spec["replicas"] = json!(copies);
        spec["selector"] = json!({ "matchLabels": { names::REVISION: self.revision } });
        spec["template"] = self.pods();
        spec["progressDeadlineSeconds"] = json!(PROGRESS_DEADLINE_SECONDS);
        spec["revisionHistoryLimit"] = json!(0);
        if let Some(spec) = spec.as_object_mut() {
            spec.remove("paused");
        }
        object.data = json!({ "spec": spec });
        object
    }

    fn labels(&self) -> std::collections::BTreeMap<String, String> {
        let own = self.target.metadata.labels.clone().unwrap_or_default();
        let mut labels: std::collections::BTreeMap<_, _> =
            own.into_iter().filter(|(key, _)| !is_tracking(key)).collect();
        let name = self.target.metadata.name.as_deref().unwrap_or_default();
        labels.insert(names::TARGET.into(), names::target_label(name));
        labels.insert(names::REVISION.into(), self.revision.to_owned());
        labels
    }

    fn pods(&self) -> Value {
        let name = self.target.metadata.name.as_deref().unwrap_or_default();
        let mut template = self.template.clone();
        let labels = object(&mut template["metadata"]["labels"]);
        labels.insert(names::REVISION.into(), json!(self.revision));
        labels.insert(names::TARGET.into(), json!(names::target_label(name)));
        match self.isolation {
            Isolation::Label { key, value } => drop(labels.insert(key.clone(), json!(value))),
            Isolation::Readiness => {
                let gates = &mut template["spec"]["readinessGates"];
                let mut all = gates.as_array().cloned().unwrap_or_default();
                all.push(json!({ "conditionType": names::SERVE }));
                *gates = json!(all);
            }
        }
        template
    }
}

/// Returns the map in a value, an empty one in the place of anything else.
fn object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().unwrap_or_else(|| unreachable!("it was made an object"))
}

fn is_tracking(label: &str) -> bool {
    TRACKING_LABELS.contains(&label)
        || TRACKING_PREFIXES.iter().any(|prefix| label.starts_with(prefix))
}

/// Returns a reference to the user's Deployment as an owner. It does not control, and blocks nothing.
#[must_use]
pub fn owner(target: &DynamicObject) -> OwnerReference {
    OwnerReference {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        name: target.metadata.name.clone().unwrap_or_default(),
        uid: target.metadata.uid.clone().unwrap_or_default(),
        controller: None,
        block_owner_deletion: Some(false),
    }
}

/// Returns the share that a candidate's copies are enough for.
#[must_use]
pub fn sized_for(candidate: &DynamicObject) -> Share {
    let annotations = candidate.metadata.annotations.as_ref();
    let written = annotations.and_then(|all| all.get(names::SIZED_FOR));
    written
        .and_then(|share| share.trim_end_matches(['%', ' ']).parse().ok())
        .and_then(Share::from_percent)
        .unwrap_or(Share::ZERO)
}

/// Returns the write that gives a candidate copies enough for a higher share.
#[must_use]
pub fn resize(candidate: &DynamicObject, copies: u32, sized_for: Share) -> Write {
    let name = candidate.metadata.name.clone().unwrap_or_default();
    let revision = candidate.metadata.labels.as_ref().and_then(|all| all.get(names::REVISION));
    let ops = vec![
        Op::Test {
            path: pointer(&["metadata", "labels", names::REVISION]),
            value: json!(revision),
        },
        Op::Replace { path: "/spec/replicas".into(), value: json!(copies) },
        Op::Add {
            path: pointer(&["metadata", "annotations", names::SIZED_FOR]),
            value: json!(sized_for.to_string()),
        },
    ];
    Write::Patch { kind: Kind::Deployment, name, ops }
}
