//! A Service's selector: whole as the user has it, or narrowed to one revision by one more key.
//!
//! What the user has is always the present selector without gate's key, so an edit that somebody makes
//! meanwhile is kept. The note on the Service tells gate's key from one of the user's.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use serde_json::json;

use super::super::names::{REVISION, TEMPLATE_HASH};
use super::super::ownership;
use super::super::write::{Kind, Op, Write, pointer};
use super::residue;

type Selector = BTreeMap<String, String>;

/// To which pods of those that the user's selector names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Narrowed<'a> {
    /// To all.
    No,
    /// Those with this pod-template-hash.
    Stable(&'a str),
    /// Those of this promotion.
    Candidate(&'a str),
}

/// Returns how a Service is narrowed now.
#[must_use]
pub fn narrowed(service: &Service) -> Narrowed<'_> {
    let key = |key: &str| present(service)?.get(key).map(String::as_str);
    match (key(REVISION), key(TEMPLATE_HASH)) {
        (Some(revision), _) => Narrowed::Candidate(revision),
        (None, Some(hash)) if hash_is_ours(service) => Narrowed::Stable(hash),
        (None, Some(_) | None) => Narrowed::No,
    }
}

/// Returns the selector without what gate has added; `None` where a Service has none.
#[must_use]
pub fn original(service: &Service) -> Option<Selector> {
    let mut selector = present(service)?.clone();
    selector.remove(REVISION);
    if hash_is_ours(service) {
        selector.remove(TEMPLATE_HASH);
    }
    Some(selector)
}

/// Returns the write that narrows a Service so, or gives the user's selector back; `None` where it is
/// so. Its only condition is the present selector: an edit of anything else must not stop the way back.
#[must_use]
pub fn narrow(name: &str, service: &Service, to: Narrowed<'_>) -> Option<Write> {
    let (present, original) = (present(service)?, original(service)?);
    let note = residue::noted(&service.metadata);
    let mut wanted = original.clone();
    let marks = match to {
        Narrowed::No => residue::unnote(&service.metadata),
        Narrowed::Stable(_) | Narrowed::Candidate(_) => {
            let text = json!({ "selector": original }).to_string();
            let known = note == Some(text.as_str());
            if known { Vec::new() } else { residue::note(&service.metadata, text) }
        }
    };
    match to {
        Narrowed::No => None,
        Narrowed::Stable(hash) => wanted.insert(TEMPLATE_HASH.into(), hash.into()),
        Narrowed::Candidate(revision) => wanted.insert(REVISION.into(), revision.into()),
    };
    if *present == wanted && marks.is_empty() {
        return None;
    }
    let path = pointer(&["spec", "selector"]);
    let mut ops = vec![
        Op::Test { path: path.clone(), value: json!(present) },
        Op::Replace { path, value: json!(wanted) },
    ];
    ops.extend(marks);
    Some(Write::Patch { kind: Kind::Service, name: name.to_owned(), ops })
}

/// Returns whether somebody else has widened what gate had narrowed: gate takes its note along.
#[must_use]
pub fn was_reset(service: &Service) -> bool {
    residue::noted(&service.metadata).is_some() && narrowed(service) == Narrowed::No
}

fn present(service: &Service) -> Option<&Selector> {
    service.spec.as_ref()?.selector.as_ref().filter(|selector| !selector.is_empty())
}

/// A note without the key, or, where the note was lost, gate's entry among those who wrote the object.
fn hash_is_ours(service: &Service) -> bool {
    match residue::noted(&service.metadata) {
        Some(note) => {
            let noted: serde_json::Value = serde_json::from_str(note).unwrap_or_default();
            noted.pointer(&pointer(&["selector", TEMPLATE_HASH])).is_none()
        }
        None => ownership::has_entry(&service.metadata),
    }
}
