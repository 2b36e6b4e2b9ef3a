//! The revisions that a Deployment had before, as its ReplicaSets keep them.

use kube::api::DynamicObject;
use serde_json::Value;

use super::admission::{target_of, template_of};
use super::requests::Stopped;
use crate::platform::kubernetes::snapshot::{Snapshot, controlled_by};
use crate::platform::kubernetes::template;

/// Kubernetes' own annotation of a ReplicaSet: which of the Deployment's revisions it is.
const REVISION_ANNOTATION: &str = "deployment.kubernetes.io/revision";

/// Returns the template of a ReplicaSet of the Deployment: the newest before the present one, or the
/// one that is named by its number, its image, or how its hash begins.
pub(super) fn from_history(seen: &Snapshot, to: Option<&str>) -> Result<Value, Stopped> {
    let target = target_of(seen);
    let uid = target.metadata.uid.as_deref().unwrap_or_default();
    let present = template::hash(&template_of(target));
    let mut past: Vec<(u64, Value)> = seen
        .replica_sets
        .values()
        .filter(|set| controlled_by(&set.metadata, uid))
        .filter_map(|set| Some((revision(set)?, template::of_set(set)?)))
        .filter(|(_, template)| template::hash(template) != present)
        .collect();
    past.sort_by_key(|(revision, _)| *revision);
    let is_meant = |(revision, template): &&(u64, Value)| {
        to.is_none_or(|to| {
            to.parse() == Ok(*revision)
                || template::images(template).iter().any(|image| image.image == to)
                || template::hash(template).starts_with(to)
        })
    };
    let found = past.iter().rev().find(is_meant).map(|(_, template)| template.clone());
    found.ok_or_else(|| {
        let known =
            past.iter().map(|(n, template)| format!("{n} ({})", template::name(template, None)));
        let known = known.collect::<Vec<_>>().join(", ");
        let hint = if known.is_empty() {
            "the Deployment has no earlier ReplicaSet".to_owned()
        } else {
            format!("it has {known}")
        };
        let message = match to {
            Some(to) => format!("there is no earlier revision {to:?}"),
            None => "there is nothing to go back to".to_owned(),
        };
        Stopped::refused(message, Some(hint))
    })
}

fn revision(set: &DynamicObject) -> Option<u64> {
    set.metadata.annotations.as_ref()?.get(REVISION_ANNOTATION)?.parse().ok()
}
