//! The object that holds a record: a ConfigMap, and the few requests that are made of it.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::ledger::{Ledger, Texts, Unreadable};
use crate::platform::PlatformError;
use crate::platform::kubernetes::access::{Access, told};
use crate::platform::kubernetes::names;
use crate::platform::kubernetes::write::{Op, pointer};

/// What became of a write.
#[derive(Debug)]
pub(super) enum Sent {
    Done,
    /// There is no such object.
    Missing,
    /// A precondition does not hold; nothing is written.
    Changed,
    Failed(PlatformError),
}

pub(super) fn api(access: &Access) -> Api<ConfigMap> {
    Api::namespaced(access.client.clone(), &access.namespace)
}

/// Returns the object of a record.
///
/// # Errors
/// The API server refuses or does not answer.
pub(super) async fn get(access: &Access, name: &str) -> Result<Option<ConfigMap>, PlatformError> {
    access.ask(&format!("reading the record {name}"), api(access).get_opt(name)).await
}

/// Sends a JSON Patch.
pub(super) async fn patch(access: &Access, name: &str, ops: &[Op]) -> Sent {
    let ops = Value::Array(ops.iter().map(Op::to_json).collect());
    let patch = match serde_json::from_value(ops) {
        Ok(patch) => Patch::Json::<()>(patch),
        Err(error) => return Sent::Failed(PlatformError { what: error.to_string() }),
    };
    let api = api(access);
    let params = PatchParams { field_manager: Some(names::MANAGER.into()), ..Default::default() };
    sent(access, name, async { api.patch(name, &params, &patch).await.map(drop) }).await
}

/// Makes the object. One that is there is [`Sent::Changed`].
pub(super) async fn create(access: &Access, object: &ConfigMap) -> Sent {
    let name = object.metadata.name.clone().unwrap_or_default();
    let api = api(access);
    let params = PostParams { field_manager: Some(names::MANAGER.into()), ..Default::default() };
    sent(access, &name, async { api.create(&params, object).await.map(drop) }).await
}

async fn sent(
    access: &Access,
    name: &str,
    request: impl Future<Output = kube::Result<()>>,
) -> Sent {
    let what = format!("writing the record {name}");
    let code = |error: &kube::Error| match error {
        kube::Error::Api(status) => status.code,
        _ => 0,
    };
    // The answer is an answer, whatever it says: only silence is a failure of the way there.
    match access.ask(&what, async { Ok(request.await) }).await {
        Ok(Ok(())) => Sent::Done,
        Ok(Err(error)) => match code(&error) {
            404 => Sent::Missing,
            409 | 422 => Sent::Changed,
            _ => Sent::Failed(told(&what, &error)),
        },
        Err(silent) => Sent::Failed(silent),
    }
}

/// Returns a new object for a record.
pub(super) fn new(target: &str, owner: &str, ledger: &Ledger) -> ConfigMap {
    let annotations = [(names::OWNER, owner), (names::RUNS, ledger.folded.id.as_str())];
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(names::record(target)),
            labels: Some(BTreeMap::from([owned((names::TARGET, &names::target_label(target)))])),
            annotations: Some(annotations.map(owned).into()),
            ..Default::default()
        },
        data: Some(ledger.texts()),
        ..Default::default()
    }
}

/// Reads a record.
///
/// # Errors
/// See [`Ledger::read`].
pub(super) fn ledger(object: &ConfigMap) -> Result<Ledger, Unreadable> {
    let nothing = Texts::new();
    let owner = annotations(&object.metadata).get(names::OWNER).map(String::as_str);
    Ledger::read(object.data.as_ref().unwrap_or(&nothing), owner)
}

pub(super) fn annotations(meta: &ObjectMeta) -> &BTreeMap<String, String> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    meta.annotations.as_ref().unwrap_or(&NONE)
}

/// Returns the place of an annotation.
pub(super) fn annotation(key: &str) -> String {
    pointer(&["metadata", "annotations", key])
}

/// Returns what writes an annotation, whether it is there or not.
pub(super) fn annotate(key: &str, value: &str) -> Op {
    Op::Add { path: annotation(key), value: json!(value) }
}

/// Returns what writes these texts over what is there.
pub(super) fn put<'a>(texts: impl IntoIterator<Item = (&'a String, &'a String)>) -> Vec<Op> {
    let op = |(key, text): (&String, &String)| Op::Add {
        path: pointer(&["data", key]),
        value: json!(text),
    };
    texts.into_iter().map(op).collect()
}
