//! Stable takes the release, or gets its old template back: the only writes to the user's Deployment.
//!
//! Only what differs is written, each place with a test of what was there: an edit by somebody else is
//! never overwritten, and the fields that were not released stay whose they were. The Deployment's
//! `strategy` is never changed; stable has no traffic while it rolls.

use kube::api::DynamicObject;
use serde_json::Value;

use super::write::{Kind, Op, Write};

/// Returns the write that changes a Deployment's template; `None`: it has it already.
#[must_use]
pub fn retemplate(target: &DynamicObject, to: &Value) -> Option<Write> {
    let from = target.data.pointer("/spec/template")?;
    let mut ops = Vec::new();
    differences(from, to, "/spec/template", &mut ops);
    let name = target.metadata.name.clone()?;
    (!ops.is_empty()).then_some(Write::Patch { kind: Kind::Deployment, name, ops })
}

/// Lists what leads from one value to another. Lists of one length are compared item by item, others
/// are replaced whole.
fn differences(from: &Value, to: &Value, path: &str, ops: &mut Vec<Op>) {
    match (from, to) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                let path = format!("{path}{}", super::write::pointer(&[key]));
                match after.get(key) {
                    Some(wanted) => differences(value, wanted, &path, ops),
                    None if value.is_null() => {}
                    None => {
                        ops.push(Op::Test { path: path.clone(), value: value.clone() });
                        ops.push(Op::Remove { path });
                    }
                }
            }
            for (key, value) in after {
                if !before.contains_key(key) && !value.is_null() {
                    let path = format!("{path}{}", super::write::pointer(&[key]));
                    ops.push(Op::Add { path, value: value.clone() });
                }
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (index, (value, wanted)) in before.iter().zip(after).enumerate() {
                differences(value, wanted, &format!("{path}/{index}"), ops);
            }
        }
        (from, to) if from == to => {}
        (from, to) => {
            ops.push(Op::Test { path: path.to_owned(), value: from.clone() });
            ops.push(Op::Replace { path: path.to_owned(), value: to.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::api::DynamicObject;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::retemplate;
    use crate::platform::kubernetes::write::{Kind, Op, Write};

    fn web(template: Value) -> DynamicObject {
        let mut object = DynamicObject::new("web", &Kind::Deployment.resource());
        object.data = json!({ "spec": { "template": template } });
        object
    }

    fn ops(from: Value, to: &Value) -> Vec<Op> {
        match retemplate(&web(from), to) {
            Some(Write::Patch { ops, .. }) => ops,
            None => Vec::new(),
            Some(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_image_is_one_test_and_one_replacement() {
        let pods =
            |image: &str| json!({ "spec": { "containers": [{ "name": "web", "image": image }] } });
        let path = "/spec/template/spec/containers/0/image".to_owned();
        let expected = [
            Op::Test { path: path.clone(), value: json!("web:1") },
            Op::Replace { path, value: json!("web:2") },
        ];
        assert_eq!(ops(pods("web:1"), &pods("web:2")), expected);
        assert_eq!(ops(pods("web:2"), &pods("web:2")), []);
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-z/~]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z/~]{1,3}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_writes_lead_where_they_should(from in value(), to in value()) {
            let ops: Vec<Value> = ops(from.clone(), &to).iter().map(Op::to_json).collect();
            let patch: json_patch::Patch = serde_json::from_value(Value::from(ops)).unwrap();
            let mut seen = json!({ "spec": { "template": from } });
            json_patch::patch(&mut seen, &patch).unwrap();
            prop_assert_eq!(&seen["spec"]["template"], &to);
        }
    }
}
