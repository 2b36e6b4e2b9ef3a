//! What a route's controllers say of it.

use kube::api::DynamicObject;
use serde_json::Value;

/// How much has to be true of a route for its weights to be what the data plane does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// Accepted as it is now, and every backend found.
    Resolved,
    /// Accepted as it is now: enough for a way back, which must not wait for a backend that is gone.
    Accepted,
    /// Whoever has ever taken it has seen what it is now, whatever they say of it: a way back must not
    /// wait for a route that nobody takes either.
    Seen,
}

/// Returns whether every parent of a route says so of its newest generation.
#[must_use]
pub fn is(route: &DynamicObject, needed: Needed) -> bool {
    let list = |path: &str| route.data.pointer(path).and_then(Value::as_array);
    let Some(parents) = list("/spec/parentRefs").filter(|parents| !parents.is_empty()) else {
        return false;
    };
    let status = list("/status/parents").map_or(&[][..], Vec::as_slice);
    parents.iter().all(|parent| {
        let own = |told: &&Value| told.get("parentRef").is_some_and(|other| same(parent, other));
        let mut own = status.iter().filter(own).peekable();
        let is_taken = own.peek().is_some() || needed == Needed::Seen;
        is_taken && own.all(|told| agrees(route, told, needed))
    })
}

fn agrees(route: &DynamicObject, told: &Value, needed: Needed) -> bool {
    let conditions = told.get("conditions").and_then(Value::as_array);
    let holds = |kind: &str, must: bool| {
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|condition| {
            let generation = condition.get("observedGeneration").and_then(Value::as_i64);
            condition.get("type").and_then(Value::as_str) == Some(kind)
                && generation >= Some(route.metadata.generation.unwrap_or(0))
                && (!must || condition.get("status").and_then(Value::as_str) == Some("True"))
        })
    };
    holds("Accepted", needed != Needed::Seen) && holds("ResolvedRefs", needed == Needed::Resolved)
}

/// What is left out of one may be filled in, in the other; what tells parents apart is in both.
fn same(one: &Value, other: &Value) -> bool {
    ["name", "sectionName", "port"].iter().all(|key| one.get(key) == other.get(key))
        && match (one.get("namespace"), other.get("namespace")) {
            (Some(one), Some(other)) => one == other,
            (None, Some(_)) | (Some(_) | None, None) => true,
        }
}
