//! A route of gate's own over one that somebody else keeps applying: the user's is never written.
//!
//! It has the same parents, hostnames and rules, each match multiplied by the HTTP methods: of two
//! routes for the same path the one that names the method is more specific, and wins. CONNECT and
//! TRACE are left out; such requests stay with the user's route, which is to say with stable.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::super::super::names;
use super::super::super::snapshot::Snapshot;
use super::super::super::write::Kind;
use super::backends::{self, Note};
use super::made;
use crate::policy::Testers;

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// As the API has it.
const RULES_MAX: usize = 16;
/// Of one rule, and of all rules together, as the API has it.
const MATCHES_MAX: (usize, usize) = (64, 128);
/// Who applies objects again and again, in whatever way.
const APPLIERS: [&str; 3] = ["argocd-controller", "kustomize-controller", "helm-controller"];
/// Marks of the same on an object.
const MARKS: [&str; 3] =
    ["argocd.argoproj.io/", "kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/"];
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Returns the name of gate's route over a user's.
#[must_use]
pub fn name(route: &str) -> String {
    names::fitting(route, "-gate")
}

/// Returns whether somebody keeps applying a route, so that an edit in place would be lost.
#[must_use]
pub fn is_needed(route: &DynamicObject) -> bool {
    let meta = &route.metadata;
    let entries = meta.managed_fields.as_deref().unwrap_or_default();
    // What a gateway's controller applies is the status.
    let mut spec = entries.iter().filter(|entry| entry.subresource.is_none());
    let applied = spec.any(|entry| {
        let manager = entry.manager.as_deref().unwrap_or_default();
        let applies = entry.operation.as_deref() == Some("Apply") && manager != names::MANAGER;
        applies || APPLIERS.contains(&manager)
    });
    let keys = || meta.labels.iter().chain(&meta.annotations).flat_map(BTreeMap::keys);
    let marked = keys().any(|key| MARKS.iter().any(|mark| key.starts_with(mark)));
    applied || (marked && keys().any(|key| key == LAST_APPLIED))
}

/// Returns why no route can be laid over this one.
#[must_use]
pub fn refuses(route: &DynamicObject, seen: &Snapshot) -> Option<String> {
    let name = route.metadata.name.as_deref().unwrap_or_default();
    let held = format!("the HTTPRoute {name} is applied again and again by somebody else");
    let parts: Vec<Vec<Value>> = rules(route).flat_map(|rule| parts(rule, Asks::METHOD)).collect();
    if rules(route).flat_map(matches_of).any(|one| one.get("method").is_some()) {
        return Some(format!(
            "{held}, and matches methods itself: none of gate's can go before it"
        ));
    }
    if parts.len() > RULES_MAX {
        return Some(format!("{held}, and has too many rules for one of gate's over it"));
    }
    let (rule_max, all_max) = MATCHES_MAX;
    if parts.iter().any(|part| part.len() > rule_max)
        || parts.iter().map(Vec::len).sum::<usize>() > all_max
    {
        return Some(format!("{held}, and has too many matches for one of gate's over it"));
    }
    let finer = seen.routes.iter().find(|(other, object)| {
        other.as_str() != name
            && !made::is_ours(&object.metadata)
            && shares_a_parent(route, object)
            && rules(object).flat_map(matches_of).any(is_fine)
    });
    finer.map(|(other, _)| {
        format!("{held}, and one of gate's over it would go before the HTTPRoute {other}, which matches headers or parameters")
    })
}

/// What a route of gate's own asks of a request beside what the user's asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asks<'a> {
    /// One of the methods: else the user's would be as specific.
    pub method: bool,
    /// The header of the testers.
    pub header: Option<&'a Testers>,
}

impl Asks<'_> {
    /// A route over the user's, for everybody.
    pub const METHOD: Self = Self { method: true, header: None };

    fn of(self, one: &Value) -> Vec<Value> {
        let mut one = one.clone();
        if let Some(Testers { header, value }) = self.header {
            let mut headers = one["headers"].as_array().cloned().unwrap_or_default();
            headers.push(json!({ "type": "Exact", "name": header, "value": value }));
            one["headers"] = Value::Array(headers);
        }
        if !self.method {
            return vec![one];
        }
        let with = |method: &&str| {
            let mut one = one.clone();
            one["method"] = json!(method);
            one
        };
        METHODS.iter().map(with).collect()
    }
}

/// Returns a route of gate's own over a user's, the candidate at weight 0; `None` until the target is there.
#[must_use]
pub fn route(
    seen: &Snapshot,
    name: &str,
    of: &DynamicObject,
    asks: Asks<'_>,
    services: &[String],
    (revision, now): (&str, DateTime<Utc>),
) -> Option<DynamicObject> {
    let mut object = made::object(seen, Kind::HttpRoute, name, revision)?;
    let laid = laid(of, asks, services);
    let backends = laid.iter().map(|laid| laid.backends.clone()).enumerate();
    let rules = backends.filter(|(_, refs)| !backends::pairs(refs, services).is_empty());
    let note = json!(Note { at: now, rules: rules.collect() }).to_string();
    object.metadata.annotations = Some(BTreeMap::from([(names::ORIGINAL.to_owned(), note)]));
    object.data = json!({ "spec": spec(of, laid) });
    Some(object)
}

/// Returns whether gate's route is still what it would be if it were laid now, weights apart.
#[must_use]
pub fn fits(own: &DynamicObject, of: &DynamicObject, asks: Asks<'_>, services: &[String]) -> bool {
    let present = own.data.get("spec").cloned().unwrap_or_default();
    unweighted(present) == unweighted(spec(of, laid(of, asks, services)))
}

fn spec(of: &DynamicObject, laid: Vec<Laid>) -> Value {
    let mut spec = of.data.get("spec").cloned().unwrap_or_default();
    if let Some(rules) = spec.get_mut("rules") {
        *rules = laid.into_iter().map(|laid| laid.rule).collect();
    }
    spec
}

/// A rule of gate's own, and its backends as the user has written them.
struct Laid {
    rule: Value,
    backends: Vec<Value>,
}

fn laid(of: &DynamicObject, asks: Asks<'_>, services: &[String]) -> Vec<Laid> {
    let both = rules(of).zip(originals(of, services));
    both.flat_map(|(rule, (_, backends))| {
        let parts = parts(rule, asks);
        let mut rule = rule.clone();
        if parts.len() > 1 {
            // No two rules have one name.
            rule.as_object_mut().and_then(|fields| fields.remove("name"));
        }
        parts.into_iter().map(move |matches| {
            let mut rule = rule.clone();
            rule["matches"] = Value::Array(matches);
            if rule.get("backendRefs").is_some() {
                rule["backendRefs"] = Value::Array(backends::joined(&backends, services));
            }
            Laid { rule, backends: backends.clone() }
        })
    })
    .collect()
}

/// Returns the matches of each rule that a user's becomes: one, or where it replaces the prefix of a path one for
/// each match, for the API allows no more in such a rule.
fn parts(rule: &Value, asks: Asks<'_>) -> Vec<Vec<Value>> {
    let matches = matches(rule).iter().flat_map(|one| asks.of(one)).collect::<Vec<_>>();
    if replaces_prefix(rule) {
        matches.into_iter().map(|one| vec![one]).collect()
    } else {
        vec![matches]
    }
}

fn replaces_prefix(rule: &Value) -> bool {
    let filters =
        |of: &Value| of.get("filters").and_then(Value::as_array).cloned().unwrap_or_default();
    let of_backends = backends::refs(rule).iter().flat_map(filters);
    let paths = ["/urlRewrite/path", "/requestRedirect/path"];
    filters(rule).into_iter().chain(of_backends).any(|filter| {
        let types = paths.iter().filter_map(|path| filter.pointer(path)?.get("type"));
        types.into_iter().any(|kind| kind == "ReplacePrefixMatch")
    })
}

/// The backends of each rule as the user has written them.
fn originals(of: &DynamicObject, services: &[String]) -> impl Iterator<Item = (usize, Vec<Value>)> {
    let note = backends::noted(of);
    backends::rules(of).map(move |(index, refs)| {
        let noted = note.as_ref().and_then(|note| note.rules.get(&index));
        (index, backends::original(refs, services, noted))
    })
}

fn unweighted(mut spec: Value) -> Value {
    for rule in spec.get_mut("rules").and_then(Value::as_array_mut).into_iter().flatten() {
        let refs = rule.get_mut("backendRefs").and_then(Value::as_array_mut);
        for backend in refs.into_iter().flatten() {
            backend.as_object_mut().and_then(|fields| fields.remove("weight"));
        }
    }
    spec
}

pub(super) fn rules(route: &DynamicObject) -> impl Iterator<Item = &Value> {
    route.data.pointer("/spec/rules").and_then(Value::as_array).into_iter().flatten()
}

pub(super) fn matches_of(rule: &Value) -> impl Iterator<Item = &Value> {
    rule.get("matches").and_then(Value::as_array).into_iter().flatten()
}

/// Returns the matches of a rule; without any it matches every path.
fn matches(rule: &Value) -> Vec<Value> {
    let written: Vec<Value> = matches_of(rule).cloned().collect();
    let every = || vec![json!({ "path": { "type": "PathPrefix", "value": "/" } })];
    if written.is_empty() { every() } else { written }
}

fn is_fine(one: &Value) -> bool {
    one.get("headers").is_some() || one.get("queryParams").is_some()
}

pub(super) fn shares_a_parent(one: &DynamicObject, other: &DynamicObject) -> bool {
    let parents = |route: &DynamicObject| -> Vec<Value> {
        let parents = route.data.pointer("/spec/parentRefs").and_then(Value::as_array);
        parents.into_iter().flatten().filter_map(|parent| parent.get("name").cloned()).collect()
    };
    let others = parents(other);
    parents(one).iter().any(|parent| others.contains(parent))
}
