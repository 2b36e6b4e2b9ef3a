//! Whose fields are whose: gate leaves no trace of its own on the user's objects.
//!
//! After a perfect restoration `gate` would still be named in `metadata.managedFields`, and the user's
//! next server-side apply would conflict with it. So the entry goes, by a patch of the list itself;
//! an empty apply would delete the fields that only gate owns.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use super::names;
use super::write::{Kind, Op, Write};

/// Returns whether gate is among those who have written the object.
#[must_use]
pub fn has_entry(object: &ObjectMeta) -> bool {
    entries(object).next().is_some()
}

/// Returns the write that takes gate's entries out of an object; `None`: it has none. It has to be the
/// last write of all, and a write of its own: any other change makes the entry anew.
#[must_use]
pub fn disown(kind: Kind, object: &ObjectMeta) -> Option<Write> {
    // From the end, so that an index stays what it was.
    let ops: Vec<Op> = entries(object)
        .rev()
        .flat_map(|index| {
            let path = format!("/metadata/managedFields/{index}");
            let value = json!(names::MANAGER);
            [Op::Test { path: format!("{path}/manager"), value }, Op::Remove { path }]
        })
        .collect();
    let name = object.name.clone()?;
    (!ops.is_empty()).then_some(Write::Patch { kind, name, ops })
}

fn entries(object: &ObjectMeta) -> impl DoubleEndedIterator<Item = usize> {
    let entries = object.managed_fields.as_deref().unwrap_or_default().iter().enumerate();
    let own = entries.filter(|(_, entry)| entry.manager.as_deref() == Some(names::MANAGER));
    own.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::disown;
    use crate::platform::kubernetes::write::{Kind, Op, Write};

    #[test]
    fn only_gates_entries_go_and_the_last_goes_first() {
        let object = |managers: &[&str]| {
            let entries: Vec<_> =
                managers.iter().map(|manager| json!({ "manager": manager })).collect();
            serde_json::from_value(json!({ "name": "web", "managedFields": entries })).unwrap()
        };
        assert_eq!(disown(Kind::Service, &object(&["kubectl", "argocd"])), None);
        let Some(Write::Patch { ops, .. }) =
            disown(Kind::Service, &object(&["gate", "kubectl", "gate"]))
        else {
            panic!("no write");
        };
        let removed: Vec<_> = ops
            .iter()
            .filter_map(|op| match op {
                Op::Remove { path } => Some(path.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(removed, ["/metadata/managedFields/2", "/metadata/managedFields/0"]);
    }
}
