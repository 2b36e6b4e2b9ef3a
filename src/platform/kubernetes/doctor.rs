//! What an interrupted promotion left behind, and the writes that repair it.
//!
//! Everything is found by labels, notes and names on the objects: the record may be gone. The order is the
//! one of every exit: traffic first, then pods, then objects, and gate's name last. As long as stable can't
//! take the traffic nothing is written at all: with all of it on the candidate, that is the service.

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use serde_json::Value;

use super::removal::Removal;
use super::router::Order;
use super::snapshot::{Rollout, Snapshot, has_condition, label};
use super::write::{Kind, Write};
use super::{autoscaler, names};
use crate::share::Share;

/// One thing that should not be there when no promotion runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    pub kind: Kind,
    pub name: String,
    /// The promotion that it belongs to, as far as it says so.
    pub revision: Option<String>,
    /// That is the promotion of the record.
    pub recorded: bool,
    pub trace: Trace,
}

/// What makes it one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Gate has made it, and users' requests go to it.
    Serving,
    /// Gate has made it.
    Made,
    /// The user's, changed, with a note of what it was.
    Changed,
    /// The user's, as it was, but with gate among those who own its fields.
    Owned,
}

/// What is next.
#[derive(Clone, Debug, PartialEq)]
pub enum Repair {
    /// Nothing is left.
    Done,
    Write(Vec<Write>),
    /// Nothing can be written before this is so.
    Wait(String),
}

/// Returns what is left, by kind and name.
#[must_use]
pub fn findings(seen: &Snapshot, target: &str, revision: Option<&str>) -> Vec<Leftover> {
    let list = List { target, revision };
    let mut found = Vec::new();
    let candidate = seen.candidate.iter().map(|own| (&own.metadata, serves_pods(seen)));
    found.extend(list.made(Kind::Deployment, candidate));
    let pods = seen.candidate_pods().map(|pod| (&pod.metadata, is_behind(seen, &pod.metadata)));
    found.extend(list.made(Kind::Pod, pods));
    let services = seen.services.values().map(|service| {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        (&service.metadata, weight(seen, name) > 0)
    });
    found.extend(list.made(Kind::Service, services));
    let routes = seen.routes.values();
    found.extend(list.made(Kind::HttpRoute, routes.map(|own| (&own.metadata, false))));
    let scalers = seen.autoscalers.values();
    let kind = Kind::HorizontalPodAutoscaler;
    found.extend(list.made(kind, scalers.map(|own| (&own.metadata, false))));
    found.extend(list.users(kind, autoscaler::of(seen, target).map(|own| &own.metadata)));
    found.extend(list.users(Kind::Deployment, seen.target.iter().map(|own| &own.metadata)));
    let of_target = |name: &str| is_of_target(seen, name);
    let services = seen.services.iter().filter(|(name, _)| of_target(name));
    found.extend(list.users(Kind::Service, services.map(|(_, own)| &own.metadata)));
    let routes = seen
        .routes
        .values()
        .filter(|route| backends(route).filter_map(|it| it.get("name")?.as_str()).any(of_target));
    found.extend(list.users(Kind::HttpRoute, routes.map(|own| &own.metadata)));
    found
}

/// Whether a Service selects the target's pods, as it is or as gate has narrowed it.
fn is_of_target(seen: &Snapshot, service: &str) -> bool {
    let target = seen.target.as_ref();
    let labels = target.and_then(|it| it.data.pointer("/spec/template/metadata/labels"));
    let selector = seen.services.get(service).and_then(|it| it.spec.as_ref()?.selector.as_ref());
    selector.is_some_and(|selector| {
        selector.iter().all(|(key, value)| {
            let narrowed = [names::REVISION, names::TEMPLATE_HASH].contains(&key.as_str());
            let has = labels.and_then(|labels| labels.get(key)?.as_str()) == Some(value);
            narrowed || has
        })
    })
}

/// Whose leftovers are listed.
#[derive(Clone, Copy)]
struct List<'a> {
    target: &'a str,
    revision: Option<&'a str>,
}

impl List<'_> {
    /// What gate has made for the target, each with whether users' requests go to it.
    fn made<'o>(
        &self,
        kind: Kind,
        objects: impl Iterator<Item = (&'o ObjectMeta, bool)>,
    ) -> Vec<Leftover> {
        let own = objects.filter(|(meta, _)| is_made_for(meta, self.target));
        own.map(|(meta, serves)| {
            self.leftover(kind, meta, if serves { Trace::Serving } else { Trace::Made })
        })
        .collect()
    }

    /// What of the user's bears gate's traces.
    fn users<'o>(
        &self,
        kind: Kind,
        objects: impl IntoIterator<Item = &'o ObjectMeta>,
    ) -> Vec<Leftover> {
        let trace = |meta: &ObjectMeta| {
            if label(meta.labels.as_ref(), names::TARGET).is_some() {
                return None;
            }
            if label(meta.annotations.as_ref(), names::ORIGINAL).is_some() {
                return Some(Trace::Changed);
            }
            let entries = meta.managed_fields.as_deref().unwrap_or_default();
            let ours = entries.iter().any(|entry| entry.manager.as_deref() == Some(names::MANAGER));
            ours.then_some(Trace::Owned)
        };
        let found = objects.into_iter().filter_map(|meta| Some((meta, trace(meta)?)));
        found.map(|(meta, trace)| self.leftover(kind, meta, trace)).collect()
    }

    fn leftover(&self, kind: Kind, meta: &ObjectMeta, trace: Trace) -> Leftover {
        let revision = label(meta.labels.as_ref(), names::REVISION).map(str::to_owned);
        Leftover {
            kind,
            name: meta.name.clone().unwrap_or_default(),
            recorded: revision.is_some() && revision.as_deref() == self.revision,
            revision,
            trace,
        }
    }
}

fn is_made_for(meta: &ObjectMeta, target: &str) -> bool {
    label(meta.labels.as_ref(), names::TARGET) == Some(&names::target_label(target))
}

/// Whether a pod is a ready endpoint of a Service that is not of gate's own making.
fn is_behind(seen: &Snapshot, pod: &ObjectMeta) -> bool {
    seen.slices.values().any(|slice| {
        let service = label(slice.metadata.labels.as_ref(), "kubernetes.io/service-name");
        let own = service.and_then(|service| seen.services.get(service)).is_some_and(|service| {
            label(service.metadata.labels.as_ref(), names::TARGET).is_some()
        });
        let mut ready = slice.endpoints.iter().filter(|endpoint| {
            // Unknown counts as ready (the EndpointSlice API).
            let conditions = endpoint.conditions.as_ref();
            conditions.is_none_or(|conditions| conditions.ready != Some(false))
        });
        !own && ready
            .any(|endpoint| endpoint.target_ref.as_ref().is_some_and(|it| it.name == pod.name))
    })
}

fn serves_pods(seen: &Snapshot) -> bool {
    seen.candidates.values().any(|pod| is_behind(seen, &pod.metadata))
        || seen.services.values().any(|service| {
            let made = label(service.metadata.labels.as_ref(), names::REVISION).is_some();
            made && weight(seen, service.metadata.name.as_deref().unwrap_or_default()) > 0
        })
}

/// The weight that routes give a Service, of all of them together; 1 where none is written.
fn weight(seen: &Snapshot, service: &str) -> u64 {
    let backends = seen.routes.values().flat_map(backends);
    let own =
        backends.filter(|backend| backend.get("name").and_then(Value::as_str) == Some(service));
    own.map(|backend| backend.get("weight").and_then(Value::as_u64).unwrap_or(1)).sum()
}

fn backends(route: &DynamicObject) -> impl Iterator<Item = &Value> {
    let rules = route.data.pointer("/spec/rules").and_then(Value::as_array).into_iter().flatten();
    rules
        .filter_map(|rule| rule.get("backendRefs"))
        .flat_map(|backends| backends.as_array().into_iter().flatten())
}

/// Returns what is to be written next, or awaited; asked again after each until it is [`Repair::Done`].
///
/// `order` is for no share; where objects of other promotions are left, they are repaired as well.
#[must_use]
pub fn repair(seen: &Snapshot, removal: &Removal<'_>, order: &Order<'_>) -> Repair {
    let adopted = order.adopted || runs_the_release(seen);
    let order = Order { share: Share::ZERO, adopted, ..*order };
    let says = Says {
        share: removal.router.share(seen, &order),
        writes: removal.router.next(seen, &order),
    };
    next(seen, removal, order.revision, says)
}

/// What the router says to an order for no share.
#[derive(Debug)]
struct Says {
    share: Option<Share>,
    writes: Vec<Write>,
}

fn next(seen: &Snapshot, removal: &Removal<'_>, revision: &str, says: Says) -> Repair {
    if let Some(first) = make_safe(seen, removal.target, says) {
        return first;
    }
    let mut revisions = revisions(seen, removal.target);
    revisions.insert(revision.to_owned());
    for revision in &revisions {
        let writes = Removal { revision, ..*removal }.next(seen);
        if !writes.is_empty() {
            return Repair::Write(writes);
        }
    }
    if seen.candidate.as_ref().is_some_and(|own| is_made_for(&own.metadata, removal.target))
        || !seen.candidates.is_empty()
    {
        return Repair::Wait("the candidate's pods end".to_owned());
    }
    let rest = rest(seen, removal.target);
    if !rest.is_empty() {
        return Repair::Write(rest);
    }
    match findings(seen, removal.target, None).into_iter().next() {
        None => Repair::Done,
        // Of another router: this one does not know how it was.
        Some(leftover) => {
            Repair::Wait(format!("somebody repairs what is of another router: {leftover}"))
        }
    }
}

/// Takes the traffic from the candidate; `None`: it has none.
fn make_safe(seen: &Snapshot, target: &str, says: Says) -> Option<Repair> {
    let made = seen.candidate.iter().any(|own| is_made_for(&own.metadata, target));
    let present = made || !seen.candidates.is_empty();
    let safe = says.share == Some(Share::ZERO) || !present;
    if safe && !serves_pods(seen) {
        return None;
    }
    if let Some(why) = stable_is_no_way_back(seen) {
        let why = format!("{why}: the candidate keeps its traffic until stable can take it");
        return Some(Repair::Wait(why));
    }
    if says.writes.is_empty() {
        return Some(Repair::Wait("the candidate is not seen without traffic yet".to_owned()));
    }
    Some(Repair::Write(says.writes))
}

/// Why stable can't take the traffic.
fn stable_is_no_way_back(seen: &Snapshot) -> Option<&'static str> {
    let Some(target) = &seen.target else { return Some("the Deployment is gone") };
    let rollout = Rollout::of(target);
    if rollout.wanted == 0 {
        return Some("stable is scaled to 0");
    }
    if !rollout.observed || rollout.updated < rollout.wanted || rollout.total > rollout.updated {
        return Some("stable still rolls out");
    }
    let ready = seen.stable_pods().any(|pod| has_condition(pod, "Ready"));
    (!ready).then_some("stable has no ready copy")
}

/// Whether stable has the candidate's containers already: an adoption went through.
fn runs_the_release(seen: &Snapshot) -> bool {
    let containers = |deployment: &Option<DynamicObject>| {
        let spec = deployment.as_ref()?.data.pointer("/spec/template/spec")?;
        Some((spec.get("containers")?.clone(), spec.get("initContainers").cloned()))
    };
    let of_candidate = containers(&seen.candidate);
    of_candidate.is_some() && containers(&seen.target) == of_candidate
}

/// The promotions that have left something of a target.
fn revisions(seen: &Snapshot, target: &str) -> BTreeSet<String> {
    let found = findings(seen, target, None).into_iter();
    found.filter_map(|leftover| leftover.revision).collect()
}

/// What gate has made and no exit of this router removes: of another router, or of an older gate. What a
/// route names stays until that is repaired.
fn rest(seen: &Snapshot, target: &str) -> Vec<Write> {
    let of = |kind: Kind, meta: &ObjectMeta| {
        is_made_for(meta, target).then(|| Write::delete(kind, meta)).flatten()
    };
    let routes = seen.routes.values().filter_map(|own| of(Kind::HttpRoute, &own.metadata));
    let named = |meta: &ObjectMeta| {
        let mut names = seen.routes.values().flat_map(backends).filter_map(|it| it.get("name"));
        names.any(|name| name.as_str() == meta.name.as_deref())
    };
    let services = seen.services.values().map(|own| &own.metadata).filter(|meta| !named(meta));
    let services = services.filter_map(|meta| of(Kind::Service, meta));
    let kind = Kind::HorizontalPodAutoscaler;
    let scalers = seen.autoscalers.values().filter_map(|own| of(kind, &own.metadata));
    routes.chain(services).chain(scalers).collect()
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, name, revision, trace, .. } = self;
        write!(f, "{kind} {name}")?;
        if let Some(revision) = revision {
            write!(f, " of promotion {revision}")?;
        }
        f.write_str(match trace {
            Trace::Serving => ": made by gate, and still has traffic",
            Trace::Made => ": made by gate",
            Trace::Changed => ": changed by gate, with a note of what it was",
            Trace::Owned => ": as it was, with gate among the owners of its fields",
        })
    }
}

#[cfg(test)]
mod tests;
