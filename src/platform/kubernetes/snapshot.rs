//! What is known of the cluster at one moment: the objects that matter to one target, as the watches
//! have them. Everything that the platform decides is a function of this.
//!
//! Deployments, routes and autoscalers are kept as they came: what gate copies or restores must not
//! lose a field that this version of gate does not know.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DynamicObject;
use serde_json::Value;

use super::{names, template};

#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The user's Deployment; `None`: it is not there.
    pub target: Option<DynamicObject>,
    /// The candidate's Deployment.
    pub candidate: Option<DynamicObject>,
    /// ReplicaSets that the target's selector matches, by name.
    pub replica_sets: BTreeMap<String, DynamicObject>,
    /// Pods that the target's selector matches, by name; those that are ending as well.
    pub pods: BTreeMap<String, Pod>,
    /// Pods of the promotion's candidate, by name; those that are ending as well. With readiness
    /// isolation they are among `pods` too.
    pub candidates: BTreeMap<String, Pod>,
    /// All of the namespace, by name.
    pub services: BTreeMap<String, Service>,
    /// All of the namespace, by name.
    pub slices: BTreeMap<String, EndpointSlice>,
    /// HTTPRoutes of the namespace, by name; empty where the router needs none.
    pub routes: BTreeMap<String, DynamicObject>,
    /// HorizontalPodAutoscalers of the namespace, by name.
    pub autoscalers: BTreeMap<String, DynamicObject>,
}

/// What of a Deployment the gate reads. Absent numbers are 0, as Kubernetes leaves them out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    pub wanted: u32,
    pub total: u32,
    pub updated: u32,
    pub ready: u32,
    pub available: u32,
    /// The controller has seen the newest `spec`.
    pub observed: bool,
    pub paused: bool,
}

impl Snapshot {
    /// Returns the pods of the candidate that are not ending.
    pub fn candidate_pods(&self) -> impl Iterator<Item = &Pod> {
        self.candidates.values().filter(|pod| pod.metadata.deletion_timestamp.is_none())
    }

    /// Returns the ReplicaSet that runs the target's present template: with the hash that names stable.
    #[must_use]
    pub fn stable_set(&self) -> Option<&DynamicObject> {
        self.set_of(&template::hash(self.target.as_ref()?.data.pointer("/spec/template")?))
    }

    /// Returns the ReplicaSet of the target whose template has this hash (of gate's own making: see
    /// [`template::hash`]).
    #[must_use]
    pub fn set_of(&self, template_hash: &str) -> Option<&DynamicObject> {
        let uid = self.target.as_ref()?.metadata.uid.as_deref()?;
        let mut own = self.replica_sets.values().filter(|set| controlled_by(&set.metadata, uid));
        own.find(|set| {
            template::of_set(set).is_some_and(|own| template::hash(&own) == template_hash)
        })
    }

    /// Returns stable's `pod-template-hash`; `None` until its ReplicaSet is there.
    #[must_use]
    pub fn stable_hash(&self) -> Option<&str> {
        label(self.stable_set()?.metadata.labels.as_ref(), names::TEMPLATE_HASH)
    }

    /// Returns the pods of stable's present template, those that are ending left out.
    pub fn stable_pods(&self) -> impl Iterator<Item = &Pod> {
        let uid = self.stable_set().and_then(|set| set.metadata.uid.as_deref());
        self.pods.values().filter(move |pod| {
            pod.metadata.deletion_timestamp.is_none()
                && uid.is_some_and(|uid| controlled_by(&pod.metadata, uid))
        })
    }
}

/// Returns whether an object is controlled by the one with this uid.
#[must_use]
pub fn controlled_by(object: &ObjectMeta, uid: &str) -> bool {
    let owners = object.owner_references.as_deref().unwrap_or_default();
    owners.iter().any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

#[must_use]
pub fn label<'a>(labels: Option<&'a BTreeMap<String, String>>, key: &str) -> Option<&'a str> {
    labels?.get(key).map(String::as_str)
}

/// Returns whether a pod has a condition with status `True`.
#[must_use]
pub fn has_condition(pod: &Pod, kind: &str) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
    conditions
        .unwrap_or_default()
        .iter()
        .any(|condition| condition.type_ == kind && condition.status == "True")
}

impl Rollout {
    /// Reads a Deployment.
    #[must_use]
    pub fn of(deployment: &DynamicObject) -> Self {
        let number = |path: &str| {
            let number = deployment.data.pointer(path).and_then(Value::as_u64);
            u32::try_from(number.unwrap_or(0)).unwrap_or(u32::MAX)
        };
        let generation = deployment.metadata.generation.unwrap_or(0);
        let observed =
            deployment.data.pointer("/status/observedGeneration").and_then(Value::as_i64);
        Self {
            // The API server fills in 1 where nothing is written.
            wanted: deployment
                .data
                .pointer("/spec/replicas")
                .map_or(1, |_| number("/spec/replicas")),
            total: number("/status/replicas"),
            updated: number("/status/updatedReplicas"),
            ready: number("/status/readyReplicas"),
            available: number("/status/availableReplicas"),
            observed: observed.is_some_and(|observed| observed >= generation),
            paused: deployment.data.pointer("/spec/paused") == Some(&Value::Bool(true)),
        }
    }

    /// Returns whether every copy is of the present template and available.
    #[must_use]
    pub const fn complete(&self) -> bool {
        self.observed
            && self.updated == self.wanted
            && self.total == self.wanted
            && self.available == self.wanted
    }
}
