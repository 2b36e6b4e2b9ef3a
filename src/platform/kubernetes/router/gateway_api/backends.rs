//! The backends of a route: the candidate's beside the user's, and how the weights are shared out.
//!
//! Every backend of the user's has a partner, appended to its rule, so that no index moves. The two
//! together keep the weight that the user's had, times a factor that makes the share exact; a backend
//! of somebody else in the same rule gets the same factor, so its part stays as it is.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use kube::api::DynamicObject;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::super::names;
use super::super::super::write::{Op, pointer};
use super::super::residue;
use crate::share::Share;

/// The largest weight that the API takes.
const WEIGHT_MAX: u64 = 1_000_000;
/// How long a new backend at weight 0 stays so: the data plane is ready for it later than the
/// route is accepted. Measured: 1 s was enough.
const SETTLE: TimeDelta = TimeDelta::seconds(2);

/// What gate notes on a route: when it put its backends there, and the rules as they were.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub at: DateTime<Utc>,
    /// By the index of the rule: its `backendRefs`.
    pub rules: BTreeMap<usize, Vec<Value>>,
}

/// A backend of the user's and its partner, as indexes of one rule's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    pub user: usize,
    pub candidate: Option<usize>,
}

/// Returns the note on a route; one that can't be read is none.
#[must_use]
pub fn noted(route: &DynamicObject) -> Option<Note> {
    serde_json::from_str(residue::noted(&route.metadata)?).ok()
}

/// Returns the backends of each rule.
pub fn rules(route: &DynamicObject) -> impl Iterator<Item = (usize, &[Value])> {
    let rules = route.data.pointer("/spec/rules").and_then(Value::as_array);
    rules.into_iter().flatten().enumerate().map(|(index, rule)| (index, refs(rule)))
}

/// Returns the backends of one rule.
#[must_use]
pub fn refs(rule: &Value) -> &[Value] {
    rule.get("backendRefs").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Returns the Service of a backend; `None` for another kind, or one of another namespace.
#[must_use]
pub fn service(backend: &Value) -> Option<&str> {
    let is = |key: &str, default: &str| {
        backend.get(key).and_then(Value::as_str).is_none_or(|value| value == default)
    };
    let here = is("group", "") && is("kind", "Service") && backend.get("namespace").is_none();
    backend.get("name").and_then(Value::as_str).filter(|_| here)
}

/// Returns a backend's weight; 1 where none is written, as the API has it.
#[must_use]
pub fn weight(backend: &Value) -> u64 {
    backend.get("weight").and_then(Value::as_u64).unwrap_or(1)
}

/// Returns the backends that are one of these Services, with their partners.
#[must_use]
pub fn pairs(refs: &[Value], services: &[String]) -> Vec<Pair> {
    let mut taken = BTreeSet::new();
    let ours = refs.iter().enumerate().filter_map(|(index, backend)| {
        let name = service(backend)?;
        services.iter().any(|service| service == name).then(|| (index, names::candidate(name)))
    });
    ours.map(|(user, partner)| {
        let candidate = (0..refs.len()).find(|index| {
            !taken.contains(index) && service(&refs[*index]) == Some(partner.as_str())
        });
        taken.extend(candidate);
        Pair { user, candidate }
    })
    .collect()
}

/// Returns a rule with a partner at weight 0 for every backend that has none.
#[must_use]
pub fn joined(refs: &[Value], services: &[String]) -> Vec<Value> {
    let mut joined = refs.to_vec();
    for pair in pairs(refs, services).into_iter().filter(|pair| pair.candidate.is_none()) {
        let mut partner = refs[pair.user].clone();
        partner["name"] = json!(service(&partner).map(names::candidate));
        partner["weight"] = json!(0);
        joined.push(partner);
    }
    joined
}

/// Returns a rule as it was before gate: as noted, where the note fits; else without the partners,
/// whose weight goes back to the user's.
#[must_use]
pub fn original(refs: &[Value], services: &[String], noted: Option<&Vec<Value>>) -> Vec<Value> {
    let pairs = pairs(refs, services);
    let partners: BTreeSet<usize> = pairs.iter().filter_map(|pair| pair.candidate).collect();
    let mut plain = refs.to_vec();
    for pair in &pairs {
        if let Some(candidate) = pair.candidate {
            plain[pair.user]["weight"] = json!(weight(&refs[pair.user]) + weight(&refs[candidate]));
        }
    }
    let plain: Vec<Value> = plain
        .into_iter()
        .enumerate()
        .filter_map(|(index, backend)| (!partners.contains(&index)).then_some(backend))
        .collect();
    let fits = |noted: &&Vec<Value>| {
        noted.len() == plain.len() && noted.iter().zip(&plain).all(|(one, other)| same(one, other))
    };
    noted.filter(fits).cloned().unwrap_or(plain)
}

/// Two backends are the same when they differ in nothing but the weight.
fn same(one: &Value, other: &Value) -> bool {
    let unweighted = |backend: &Value| {
        let mut backend = backend.clone();
        backend.as_object_mut().and_then(|fields| fields.remove("weight"));
        backend
    };
    unweighted(one) == unweighted(other)
}

/// Returns the weights of a joined rule for a share, by index.
#[must_use]
pub fn weights(
    refs: &[Value],
    services: &[String],
    noted: Option<&Vec<Value>>,
    share: Share,
) -> Vec<u64> {
    let pairs = pairs(refs, services);
    let partner = |index: usize| pairs.iter().any(|pair| pair.candidate == Some(index));
    let users: Vec<usize> = (0..refs.len()).filter(|index| !partner(*index)).collect();
    let before = original(refs, services, noted);
    let (mut weights, scaled) = (vec![0; refs.len()], scaled(&before, share));
    for (index, weight) in users.into_iter().zip(scaled) {
        weights[index] = weight;
    }
    for pair in pairs {
        if let Some(candidate) = pair.candidate {
            let all = weights[pair.user];
            weights[candidate] = (all * u64::from(share.basis_points()) + 5_000) / 10_000;
            weights[pair.user] = all - weights[candidate];
        }
    }
    weights
}

/// Returns the user's weights times what makes the share of each a whole number: 100, or 10 000 where
/// that is not enough, or what the API's largest weight has room for.
fn scaled(before: &[Value], share: Share) -> Vec<u64> {
    let divisor = before.iter().map(weight).fold(0, greatest_common_divisor).max(1);
    let plain: Vec<u64> = before.iter().map(|backend| weight(backend) / divisor).collect();
    let wanted = if share.basis_points().is_multiple_of(100) { 100 } else { 10_000 };
    let room = WEIGHT_MAX / plain.iter().copied().max().unwrap_or(1).max(1);
    let factor = room.clamp(1, wanted);
    plain.into_iter().map(|weight| weight * factor).collect()
}

fn greatest_common_divisor(one: u64, other: u64) -> u64 {
    if other == 0 { one } else { greatest_common_divisor(other, one % other) }
}

/// Returns what writes these weights to a rule; nothing where they are so. The conditions are the
/// backends at their places, and nothing else: the way back must not be refused for an edit elsewhere.
#[must_use]
pub fn write(rule: usize, refs: &[Value], weights: &[u64]) -> Vec<Op> {
    let rule = rule.to_string();
    let changed: Vec<(usize, u64)> = (0..refs.len())
        .zip(weights.iter().copied())
        .filter(|(index, wanted)| weight(&refs[*index]) != *wanted)
        .collect();
    let at = |index: usize, key: &str| {
        pointer(&["spec", "rules", &rule, "backendRefs", &index.to_string(), key])
    };
    let tests = changed.iter().map(|(index, _)| Op::Test {
        path: at(*index, "name"),
        value: refs[*index]["name"].clone(),
    });
    let writes = changed
        .iter()
        .map(|(index, wanted)| Op::Add { path: at(*index, "weight"), value: json!(wanted) });
    tests.chain(writes).collect()
}

/// Returns what puts another list of backends in the place of one that is still as it was read.
#[must_use]
pub fn replace(rule: usize, present: &[Value], wanted: &[Value]) -> [Op; 2] {
    let path = pointer(&["spec", "rules", &rule.to_string(), "backendRefs"]);
    [
        Op::Test { path: path.clone(), value: json!(present) },
        Op::Replace { path, value: json!(wanted) },
    ]
}

/// Returns whether a route that was given its partners then is ready for weights now.
#[must_use]
pub fn has_settled(at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    // A note from the future was written under another clock: then it is as good as old.
    (now - at).abs() >= SETTLE
}
