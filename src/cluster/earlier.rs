//! What a way back goes back to: what passed before, as the record remembers it, else what Kubernetes
//! keeps of the Deployment. Pure.

use std::collections::BTreeMap;

use kube::api::DynamicObject;
use serde_json::Value;

use super::ledger::Ledger;
use super::requests::Stopped;
use crate::platform::kubernetes::snapshot::{Snapshot, controlled_by};
use crate::platform::kubernetes::template;

/// Kubernetes' own annotation of a Deployment and its ReplicaSets: which of its revisions it is.
const REVISION_ANNOTATION: &str = "deployment.kubernetes.io/revision";

/// Returns the template that is meant: by its number, its image, or how its hash begins; without a name the newest
/// that passed before the present one. Where the gate has promoted before, what it remembers is all that is gone
/// back to unasked: the newest ReplicaSet may be what was gone back from.
///
/// # Errors
/// There is none such.
pub(super) fn template(
    seen: &Snapshot,
    target: &DynamicObject,
    ledger: Option<&Ledger>,
    to: Option<&str>,
) -> Result<Value, Stopped> {
    let present = target.data.pointer("/spec/template").cloned().unwrap_or(Value::Null);
    if to.is_some_and(|to| is_called(to, revision(target), &present)) {
        return Ok(present);
    }
    let remembered = ledger.map(|ledger| &ledger.remembered);
    if let Some(passed) = remembered.and_then(|remembered| remembered.way_back(to)) {
        return Ok(passed.template.clone());
    }
    let past = past(seen, target, &template::hash(&present));
    let found = match to {
        Some(to) => {
            past.iter().rev().find(|(number, template)| is_called(to, Some(**number), template))
        }
        None if remembered.is_some_and(|remembered| remembered.has_promoted()) => None,
        None => past.iter().next_back(),
    };
    found.map(|(_, template)| template.clone()).ok_or_else(|| nothing(&past, to))
}

/// Returns the templates that the Deployment had before, by their number.
fn past(seen: &Snapshot, target: &DynamicObject, present: &str) -> BTreeMap<u64, Value> {
    let uid = target.metadata.uid.as_deref().unwrap_or_default();
    let own = seen.replica_sets.values().filter(|set| controlled_by(&set.metadata, uid));
    own.filter_map(|set| Some((revision(set)?, template::of_set(set)?)))
        .filter(|(_, template)| template::hash(template) != present)
        .collect()
}

fn revision(object: &DynamicObject) -> Option<u64> {
    object.metadata.annotations.as_ref()?.get(REVISION_ANNOTATION)?.parse().ok()
}

fn is_called(to: &str, number: Option<u64>, template: &Value) -> bool {
    (number.is_some() && to.parse().ok() == number)
        || template::images(template).iter().any(|image| image.image == to)
        || template::hash(template).starts_with(to)
}

fn nothing(past: &BTreeMap<u64, Value>, to: Option<&str>) -> Stopped {
    let known =
        past.iter().map(|(number, past)| format!("{number} ({})", template::name(past, None)));
    let known = known.collect::<Vec<_>>().join(", ");
    let hint = match (known.is_empty(), to) {
        (true, _) => "the Deployment has no earlier ReplicaSet".to_owned(),
        (false, Some(_)) => format!("it has {known}"),
        (false, None) => format!("it has {known}: name one with --to"),
    };
    let message = match to {
        Some(to) => format!("there is no earlier revision {to:?}"),
        None => "there is nothing to go back to".to_owned(),
    };
    Stopped::refused(message, Some(hint))
}
