//! What is told of one object, taken into the snapshot: nothing that is older takes the place of what is known.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::{DynamicObject, ObjectMeta};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::Slot;
use crate::platform::kubernetes::snapshot::Snapshot;

impl Snapshot {
    pub(super) fn put(&mut self, slot: Slot, object: DynamicObject) {
        let name = object.name_any();
        match slot {
            Slot::Target => newer(&mut self.target, object),
            Slot::Candidate => newer(&mut self.candidate, object),
            Slot::ReplicaSets => insert(&mut self.replica_sets, name, object),
            Slot::Pods => insert_as(&mut self.pods, name, object),
            Slot::CandidatePods => insert_as(&mut self.candidates, name, object),
            Slot::Services => insert_as(&mut self.services, name, object),
            Slot::Slices => insert_as(&mut self.slices, name, object),
            Slot::Routes => insert(&mut self.routes, name, object),
            Slot::Autoscalers => insert(&mut self.autoscalers, name, object),
        }
    }

    pub(super) fn knows(&self, slot: Slot, name: &str) -> bool {
        match slot {
            Slot::Target => self.target.is_some(),
            Slot::Candidate => self.candidate.is_some(),
            Slot::ReplicaSets => self.replica_sets.contains_key(name),
            Slot::Pods => self.pods.contains_key(name),
            Slot::CandidatePods => self.candidates.contains_key(name),
            Slot::Services => self.services.contains_key(name),
            Slot::Slices => self.slices.contains_key(name),
            Slot::Routes => self.routes.contains_key(name),
            Slot::Autoscalers => self.autoscalers.contains_key(name),
        }
    }

    pub(super) fn remove(&mut self, slot: Slot, name: &str) {
        match slot {
            Slot::Target => self.target = None,
            Slot::Candidate => self.candidate = None,
            Slot::ReplicaSets => drop(self.replica_sets.remove(name)),
            Slot::Pods => drop(self.pods.remove(name)),
            Slot::CandidatePods => drop(self.candidates.remove(name)),
            Slot::Services => drop(self.services.remove(name)),
            Slot::Slices => drop(self.slices.remove(name)),
            Slot::Routes => drop(self.routes.remove(name)),
            Slot::Autoscalers => drop(self.autoscalers.remove(name)),
        }
    }

    /// Forgets what a new list does not have.
    pub(super) fn keep(&mut self, slot: Slot, listed: &BTreeSet<String>) {
        let is = |object: &Option<DynamicObject>| {
            object.as_ref().is_some_and(|object| listed.contains(&object.name_any()))
        };
        match slot {
            Slot::Target if !is(&self.target) => self.target = None,
            Slot::Candidate if !is(&self.candidate) => self.candidate = None,
            Slot::Target | Slot::Candidate => {}
            Slot::ReplicaSets => self.replica_sets.retain(|name, _| listed.contains(name)),
            Slot::Pods => self.pods.retain(|name, _| listed.contains(name)),
            Slot::CandidatePods => self.candidates.retain(|name, _| listed.contains(name)),
            Slot::Services => self.services.retain(|name, _| listed.contains(name)),
            Slot::Slices => self.slices.retain(|name, _| listed.contains(name)),
            Slot::Routes => self.routes.retain(|name, _| listed.contains(name)),
            Slot::Autoscalers => self.autoscalers.retain(|name, _| listed.contains(name)),
        }
    }
}

/// The answer to a write may be here before the watch tells what was before it.
fn newer(known: &mut Option<DynamicObject>, object: DynamicObject) {
    if known.as_ref().is_none_or(|known| !is_older(&object.metadata, &known.metadata)) {
        *known = Some(object);
    }
}

fn insert(known: &mut BTreeMap<String, DynamicObject>, name: String, object: DynamicObject) {
    if known.get(&name).is_none_or(|known| !is_older(&object.metadata, &known.metadata)) {
        known.insert(name, object);
    }
}

fn insert_as<K: Resource<DynamicType = ()> + DeserializeOwned>(
    known: &mut BTreeMap<String, K>,
    name: String,
    object: DynamicObject,
) {
    if known.get(&name).is_some_and(|known| is_older(&object.metadata, known.meta())) {
        return;
    }
    // One that this version can't read is as good as not there.
    match object.try_parse() {
        Ok(read) => drop(known.insert(name, read)),
        Err(_) => drop(known.remove(&name)),
    }
}

/// Versions of one object rise as numbers; where they are none, the newest to come counts.
fn is_older(object: &ObjectMeta, known: &ObjectMeta) -> bool {
    let version = |object: &ObjectMeta| object.resource_version.as_ref()?.parse().ok();
    let pair: Option<(u64, u64)> = version(object).zip(version(known));
    pair.is_some_and(|(new, old)| new < old) && object.uid == known.uid
}

#[cfg(test)]
pub(super) mod tests {
    use kube::api::DynamicObject;
    use serde_json::json;

    use super::{Slot, Snapshot};
    use crate::platform::kubernetes::write::Kind;

    pub(in super::super) fn object(kind: Kind, version: &str, image: &str) -> DynamicObject {
        let mut object = DynamicObject::new("web", &kind.resource());
        object.metadata.uid = Some("u".into());
        object.metadata.resource_version = Some(version.into());
        object.data = json!({ "spec": { "containers": [{ "name": "web", "image": image }] } });
        object
    }

    #[test]
    fn an_answer_that_comes_late_hides_nothing_that_is_newer() {
        let mut seen = Snapshot::default();
        for (version, image) in [("9", "web:1"), ("11", "web:3"), ("10", "web:2")] {
            seen.put(Slot::CandidatePods, object(Kind::Pod, version, image));
            seen.put(Slot::Routes, object(Kind::HttpRoute, version, image));
            seen.put(Slot::Target, object(Kind::Deployment, version, image));
        }
        let pod = seen.candidates["web"].spec.as_ref().unwrap();
        assert_eq!(pod.containers[0].image.as_deref(), Some("web:3"));
        let versions = [&seen.routes["web"], seen.target.as_ref().unwrap()];
        assert!(versions.iter().all(|o| o.metadata.resource_version.as_deref() == Some("11")));
    }

    #[test]
    fn an_object_that_was_made_anew_takes_the_place_of_the_old_one() {
        let mut seen = Snapshot::default();
        seen.put(Slot::CandidatePods, object(Kind::Pod, "11", "web:1"));
        let mut anew = object(Kind::Pod, "10", "web:2");
        anew.metadata.uid = Some("v".into());
        seen.put(Slot::CandidatePods, anew);
        assert_eq!(seen.candidates["web"].metadata.uid.as_deref(), Some("v"));
    }
}
