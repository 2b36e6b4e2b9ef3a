//! What gate leaves on a user's object while it changes it, and how that goes away again.
//!
//! The note ([`ORIGINAL`]) says what was there. The entry in `metadata.managedFields` comes with every
//! write: left behind, it would make the user's next server-side apply fail with a conflict that names
//! gate. It is removed by name; an empty apply would delete the fields that only gate owns.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::super::names::{MANAGER, ORIGINAL};
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

/// Returns whether gate is among those who have written the object.
#[must_use]
pub fn has_entry(object: &ObjectMeta) -> bool {
    entries(object).next().is_some()
}

/// Returns what removes gate's entries from `metadata.managedFields`; nothing where there is none. It
/// has to be the last write of all, and a write of its own: any other change makes the entry anew.
#[must_use]
pub fn disown(object: &ObjectMeta) -> Vec<Op> {
    let mut indexes: Vec<usize> = entries(object).collect();
    // From the end, so that no index moves before its turn.
    indexes.reverse();
    let ops = indexes.into_iter().flat_map(|index| {
        let path = pointer(&["metadata", "managedFields", &index.to_string()]);
        [Op::Test { path: format!("{path}/manager"), value: json!(MANAGER) }, Op::Remove { path }]
    });
    ops.collect()
}

fn entries(object: &ObjectMeta) -> impl Iterator<Item = usize> {
    let entries = object.managed_fields.as_deref().unwrap_or_default().iter().enumerate();
    let own = entries.filter(|(_, entry)| entry.manager.as_deref() == Some(MANAGER));
    own.map(|(index, _)| index)
}
