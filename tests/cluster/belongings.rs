//! The user's objects, before and after.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::namespace::{Namespace, WAIT_MAX};
use crate::poll;
use crate::trial::SHOP;

/// What a user has written, or could.
const KINDS: &str = "deployments,services,httproutes,horizontalpodautoscalers,poddisruptionbudgets,\
    networkpolicies,serviceaccounts,roles,rolebindings,leases,jobs";

/// What Kubernetes makes of it.
const MADE: &str = "pods,replicasets,configmaps,endpointslices";

/// All objects of a namespace but the record, without what Kubernetes itself writes on them; the images of containers
/// apart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Belongings {
    objects: BTreeMap<String, Value>,
    /// Of the application.
    pub(crate) images: Vec<String>,
}

impl Belongings {
    pub(crate) fn of(space: &Namespace<'_>) -> Self {
        let (mut objects, mut images) = (BTreeMap::new(), Vec::new());
        for object in space.get(KINDS)["items"].as_array().unwrap() {
            let mut object = object.clone();
            strip(&mut object);
            let name = name(&object);
            if name == format!("Deployment/{SHOP}") {
                images = take_images(&mut object);
            }
            objects.insert(name, object);
        }
        Self { objects, images }
    }

    /// Checks that all is as it was, but that the application has this image; the gate has left its record, and
    /// nothing else.
    #[track_caller]
    pub(crate) fn are_still(&self, space: &Namespace<'_>, image: &str) {
        self.are_still_with(space, &[image], &["kube-root-ca.crt", &format!("{SHOP}-gate")]);
    }

    /// The same of an application with several containers.
    #[track_caller]
    pub(crate) fn are_still_of(&self, space: &Namespace<'_>, images: &[&str]) {
        self.are_still_with(space, images, &["kube-root-ca.crt", &format!("{SHOP}-gate")]);
    }

    /// The same, where the record was deleted.
    #[track_caller]
    pub(crate) fn are_still_without_record(&self, space: &Namespace<'_>, image: &str) {
        self.are_still_with(space, &[image], &["kube-root-ca.crt"]);
    }

    #[track_caller]
    fn are_still_with(&self, space: &Namespace<'_>, images: &[&str], maps: &[&str]) {
        let now = Self::of(space);
        assert_eq!(now.images, images);
        for (name, object) in &self.objects {
            assert_eq!(now.objects.get(name), Some(object), "{name}");
        }
        assert_eq!(names(&now), names(self), "objects that are new, or gone");
        no_trace(space);
        let found = space.get("configmaps");
        let found: Vec<_> = found["items"].as_array().unwrap().iter().map(plain_name).collect();
        assert_eq!(found, maps);
    }
}

fn names(belongings: &Belongings) -> Vec<&String> {
    belongings.objects.keys().collect()
}

/// Waits until nothing of the gate is there but the record: the garbage collector takes what the Deployment has owned;
/// that is not the gate's own time.
#[track_caller]
pub(crate) fn no_trace(space: &Namespace<'_>) {
    poll::until("no trace of the gate", WAIT_MAX, || traces(space).is_empty().then_some(()));
}

/// Returns the objects that the gate has marked, or that belong to a candidate.
fn traces(space: &Namespace<'_>) -> Vec<String> {
    let all = space.get(&format!("{KINDS},{MADE}"));
    let ours = all["items"].as_array().unwrap().iter().filter(|object| {
        let record = name(object) == format!("ConfigMap/{SHOP}-gate");
        let text = object["metadata"].to_string() + &object["spec"].to_string();
        !record && (text.contains("gate.rs/") || text.contains(r#""manager":"gate""#))
    });
    ours.map(name).collect()
}

fn plain_name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap().to_owned()
}

fn name(object: &Value) -> String {
    format!("{}/{}", object["kind"].as_str().unwrap(), plain_name(object))
}

/// Takes out what changes with every write, or is Kubernetes' own.
fn strip(object: &mut Value) {
    let managers = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let own = managers.iter().filter(|entry| entry["subresource"].is_null());
    let managers: BTreeSet<_> = own.map(|entry| entry["manager"].to_string()).collect();
    let metadata = object["metadata"].as_object_mut().unwrap();
    for key in ["managedFields", "resourceVersion", "generation"] {
        metadata.remove(key);
    }
    metadata.insert("managers".into(), json!(managers));
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, _| !key.starts_with("deployment.kubernetes.io/"));
    }
    object.as_object_mut().unwrap().remove("status");
}

fn take_images(deployment: &mut Value) -> Vec<String> {
    let containers = deployment["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap();
    let images = containers.iter_mut().map(|container| container["image"].take());
    images.map(|image| image.as_str().unwrap().to_owned()).collect()
}
