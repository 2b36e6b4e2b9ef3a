//! The note that gate leaves on a user's object while it changes it: what was there ([`ORIGINAL`]).
//!
//! What every write leaves besides, gate's name in `metadata.managedFields`, is
//! [`ownership`](super::super::ownership)'s.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::super::names::ORIGINAL;
use super::super::write::{Op, pointer};

/// Returns the note on an object.
#[must_use]
pub fn noted(object: &ObjectMeta) -> Option<&str> {
    object.annotations.as_ref()?.get(ORIGINAL).map(String::as_str)
}

/// Returns what puts the note on an object, or changes it.
#[must_use]
pub fn note(object: &ObjectMeta, text: String) -> Vec<Op> {
    if object.annotations.is_some() {
        let path = pointer(&["metadata", "annotations", ORIGINAL]);
        return vec![Op::Add { path, value: Value::String(text) }];
    }
    let path = pointer(&["metadata", "annotations"]);
    // The API server takes a test for null as "is not there": annotations that came meanwhile stay.
    vec![
        Op::Test { path: path.clone(), value: Value::Null },
        Op::Add { path, value: json!({ ORIGINAL: text }) },
    ]
}

/// Returns what takes the note off; nothing where there is none.
#[must_use]
pub fn unnote(object: &ObjectMeta) -> Vec<Op> {
    let path = pointer(&["metadata", "annotations", ORIGINAL]);
    noted(object).map(|_| Op::Remove { path }).into_iter().collect()
}
