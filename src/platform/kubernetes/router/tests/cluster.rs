//! A cluster in memory: it takes gate's writes as the API server does, and its controllers run when told.

use std::collections::{BTreeMap, BTreeSet};

use kube::api::DynamicObject;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::platform::kubernetes::names::{MANAGER, REVISION, SERVE, TEMPLATE_HASH};
use crate::platform::kubernetes::snapshot::Snapshot;
use crate::platform::kubernetes::template;
use crate::platform::kubernetes::write::{Kind, Op, Write};

pub(super) const ID: &str = "p-1";

#[derive(Clone, Debug, Default)]
pub(super) struct Cluster {
    pub(super) objects: BTreeMap<(Kind, String), Value>,
    version: u64,
    /// The routes' rules as the data plane has them.
    pub(super) routed: BTreeMap<String, Value>,
}

fn pods_template(version: u32) -> Value {
    json!({
        "metadata": { "labels": { "app": "web", "tier": "front" } },
        "spec": { "containers": [{ "name": "web", "image": format!("acme/web:{version}") }] },
    })
}

impl Cluster {
    /// Stable with so many pods behind two Services.
    pub(super) fn new(stable: u32) -> Self {
        let mut cluster = Self::default();
        cluster.put(
            Kind::Deployment,
            "web",
            json!({
                "spec": {
                    "replicas": stable,
                    "selector": { "matchLabels": { "app": "web" } },
                    "template": pods_template(1),
                },
                "status": { "readyReplicas": stable },
            }),
        );
        cluster.put(Kind::Service, "web", json!({
            "metadata": { "annotations": { "team": "shop" } },
            "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": 8080, "nodePort": 30080 }] },
        }));
        cluster.put(Kind::Service, "web-front", json!({
            "spec": { "selector": { "app": "web", "tier": "front" }, "ports": [{ "port": 81 }] },
        }));
        cluster.put(Kind::Service, "blog", json!({ "spec": { "selector": { "app": "blog" } } }));
        cluster.roll(1, stable);
        cluster.run();
        cluster
    }

    /// With a route whose rules are the target's, shared, and somebody else's.
    pub(super) fn with_route(stable: u32) -> Self {
        let mut cluster = Self::new(stable);
        cluster.put(Kind::HttpRoute, "shop", Self::route());
        cluster.run();
        cluster
    }

    pub(super) fn route() -> Value {
        json!({ "spec": {
            "parentRefs": [{ "name": "edge", "sectionName": "http" }],
            "hostnames": ["shop.example"],
            "rules": [
                { "backendRefs": [{ "name": "web", "port": 80 }] },
                {
                    "matches": [{ "path": { "type": "PathPrefix", "value": "/news" } }],
                    "backendRefs": [
                        { "name": "blog", "port": 80, "weight": 3 },
                        { "name": "web-front", "port": 81, "weight": 7 },
                    ],
                },
                {
                    "matches": [{ "path": { "type": "PathPrefix", "value": "/blog" } }],
                    "backendRefs": [{ "name": "blog", "port": 80 }],
                },
            ],
        }})
    }

    pub(super) fn put(&mut self, kind: Kind, name: &str, object: Value) {
        self.version += 1;
        let mut object = object;
        let old = self.objects.get(&(kind, name.to_owned()));
        let generation =
            old.map_or(1, |old| generation(old) + u64::from(old["spec"] != object["spec"]));
        if let (Some(old), true) = (old, kind == Kind::HttpRoute) {
            object["status"] = old["status"].clone();
        }
        let uid = old.map_or_else(
            || json!(format!("uid-{kind}-{name}-{}", self.version)),
            |old| old["metadata"]["uid"].clone(),
        );
        let resource = kind.resource();
        object["apiVersion"] = json!(resource.api_version);
        object["kind"] = json!(resource.kind);
        object["metadata"]["name"] = json!(name);
        object["metadata"]["namespace"] = json!("shop");
        object["metadata"]["uid"] = uid;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        object["metadata"]["generation"] = json!(generation);
        self.objects.insert((kind, name.to_owned()), object);
    }

    pub(super) fn get(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.objects.get(&(kind, name.to_owned()))
    }

    /// Rolls stable to a version: the new ReplicaSet and all of its pods, none of the old.
    pub(super) fn roll(&mut self, version: u32, pods: u32) {
        let hash = format!("hash{version}");
        let target = self.objects.get_mut(&(Kind::Deployment, "web".into())).unwrap();
        target["spec"]["template"] = pods_template(version);
        let uid = target["metadata"]["uid"].clone();
        let mut own = pods_template(version);
        own["metadata"]["labels"][TEMPLATE_HASH] = json!(hash);
        self.put(
            Kind::ReplicaSet,
            &format!("web-{hash}"),
            json!({
                "metadata": {
                    "labels": { "app": "web", TEMPLATE_HASH: hash },
                    "ownerReferences": [owner("Deployment", "web", &uid)],
                },
                "spec": { "template": own },
            }),
        );
        self.objects.retain(|(kind, name), _| {
            *kind != Kind::Pod
                || !name.starts_with("web-hash")
                || name.starts_with(&format!("web-{hash}-"))
        });
        for index in 0..pods {
            self.stable_pod(&hash, index);
        }
    }

    pub(super) fn stable_pod(&mut self, hash: &str, index: u32) {
        let set = self.get(Kind::ReplicaSet, &format!("web-{hash}")).unwrap();
        let uid = set["metadata"]["uid"].clone();
        self.put(
            Kind::Pod,
            &format!("web-{hash}-{index}"),
            json!({
                "metadata": {
                    "labels": { "app": "web", "tier": "front", TEMPLATE_HASH: hash },
                    "ownerReferences": [owner("ReplicaSet", &format!("web-{hash}"), &uid)],
                },
                "status": { "conditions": [{ "type": "ContainersReady", "status": "True" }] },
            }),
        );
    }

    /// Gives the candidate so many copies: a label is another, or a readiness gate is there.
    pub(super) fn scale_candidate(&mut self, pods: u32, label: Option<(&str, &str)>) {
        let mut spec = json!({ "replicas": pods });
        spec["template"] = pods_template(2);
        self.put(Kind::Deployment, "web-candidate", json!({ "spec": spec }));
        for index in 0..pods {
            if self.get(Kind::Pod, &format!("candidate-{index}")).is_none() {
                self.candidate_pod(&format!("candidate-{index}"), label);
            }
        }
    }

    pub(super) fn candidate_pod(&mut self, name: &str, label: Option<(&str, &str)>) {
        let mut labels =
            json!({ "app": "web", "tier": "front", TEMPLATE_HASH: "hash2", REVISION: ID });
        let mut spec = json!({});
        match label {
            Some((key, value)) => labels[key] = json!(value),
            None => spec = json!({ "readinessGates": [{ "conditionType": SERVE }] }),
        }
        self.put(
            Kind::Pod,
            name,
            json!({
                "metadata": { "labels": labels },
                "spec": spec,
                "status": { "conditions": [{ "type": "ContainersReady", "status": "True" }] },
            }),
        );
    }

    pub(super) fn end_candidate(&mut self) {
        self.objects
            .retain(|(kind, name), _| *kind != Kind::Pod || !name.starts_with("candidate-"));
        self.objects.remove(&(Kind::Deployment, "web-candidate".into()));
        self.run();
    }

    /// Takes a write as the API server does; `false`: a condition did not hold, nothing is changed.
    pub(super) fn write(&mut self, write: &Write) -> bool {
        match write {
            Write::Create { kind, object } => {
                let name = object.metadata.name.clone().unwrap();
                if self.get(*kind, &name).is_none() {
                    self.put(*kind, &name, serde_json::to_value(object).unwrap());
                }
                true
            }
            Write::Patch { kind, name, ops } => self.patch(*kind, name, ops, false),
            Write::PatchStatus { kind, name, ops } => self.patch(*kind, name, ops, true),
            Write::Delete { kind, name, uid } => {
                let key = (*kind, name.clone());
                let same =
                    self.objects.get(&key).is_some_and(|it| it["metadata"]["uid"] == json!(uid));
                same.then(|| self.objects.remove(&key)).is_some()
            }
            Write::EndPods { .. } => panic!("no router ends pods"),
        }
    }

    fn patch(&mut self, kind: Kind, name: &str, ops: &[Op], status: bool) -> bool {
        assert!(matches!(ops.first(), Some(Op::Test { .. }) | Some(Op::Remove { .. })), "{ops:?}");
        let Some(mut object) = self.get(kind, name).cloned() else { return false };
        let mut rest = Vec::new();
        for op in ops {
            let absent = |path: &str| object.pointer(path).is_none_or(Value::is_null);
            match op {
                // The API server's `test` for null holds where nothing is.
                Op::Test { path, value: Value::Null } if absent(path) => {}
                op => rest.push(op.to_json()),
            }
        }
        let patch: json_patch::Patch = serde_json::from_value(json!(rest)).unwrap();
        if json_patch::patch(&mut object, &patch).is_err() {
            return false;
        }
        let meta = &mut object["metadata"];
        if meta["annotations"] == json!({}) {
            meta.as_object_mut().unwrap().remove("annotations");
        }
        let paths = rest.iter().map(|op| op["path"].as_str().unwrap());
        let disowned = paths.clone().any(|path| path.starts_with("/metadata/managedFields"));
        if !disowned && !status {
            let entries = meta["managedFields"].as_array().cloned().unwrap_or_default();
            let others = entries.into_iter().filter(|entry| entry["manager"] != MANAGER);
            let own = json!({ "manager": MANAGER, "operation": "Update" });
            meta["managedFields"] = others.chain([own]).collect();
        }
        let of_status = paths.filter(|path| path.starts_with("/status")).count();
        assert!(status == (of_status > 0), "the status is written through its own path: {rest:?}");
        self.put(kind, name, object);
        true
    }

    /// All controllers.
    pub(super) fn run(&mut self) {
        self.kubelet();
        self.endpoints();
        self.gateway();
    }

    /// Pods are ready when their containers are, and their gates open.
    pub(super) fn kubelet(&mut self) {
        for ((kind, _), pod) in &mut self.objects {
            if *kind != Kind::Pod {
                continue;
            }
            let holds = |wanted: &str| {
                let all = pod["status"]["conditions"].as_array().unwrap().iter();
                all.clone().filter(|one| one["type"] == wanted).count() <= 1
                    && all.clone().any(|one| one["type"] == wanted && one["status"] == "True")
            };
            let gated = pod["spec"]["readinessGates"].is_array();
            let ready = holds("ContainersReady") && (!gated || holds(SERVE));
            let conditions = pod["status"]["conditions"].as_array_mut().unwrap();
            conditions.retain(|one| one["type"] != "Ready");
            let status = if ready { "True" } else { "False" };
            conditions.insert(0, json!({ "type": "Ready", "status": status }));
        }
    }

    /// EndpointSlices are what the selectors match.
    pub(super) fn endpoints(&mut self) {
        let services: Vec<(String, Value)> = self
            .of(Kind::Service)
            .map(|(name, service)| (name.to_owned(), service["spec"]["selector"].clone()))
            .collect();
        self.objects.retain(|(kind, _), _| *kind != Kind::EndpointSlice);
        for (name, selector) in services {
            let endpoints: Vec<Value> = self
                .of(Kind::Pod)
                .filter(|(_, pod)| matches(&selector, &pod["metadata"]["labels"]))
                .map(|(pod_name, pod)| {
                    json!({
                        "addresses": ["10.0.0.1"],
                        "conditions": { "ready": is_ready(pod) },
                        "targetRef": { "kind": "Pod", "name": pod_name },
                    })
                })
                .collect();
            let endpoints = if endpoints.is_empty() { Value::Null } else { json!(endpoints) };
            self.put(
                Kind::EndpointSlice,
                &format!("{name}-x1"),
                json!({
                    "metadata": { "labels": { "kubernetes.io/service-name": name } },
                    "addressType": "IPv4",
                    "endpoints": endpoints,
                }),
            );
        }
    }

    /// Routes are accepted, and are what the data plane does.
    pub(super) fn gateway(&mut self) {
        let services: BTreeSet<String> =
            self.of(Kind::Service).map(|(name, _)| name.to_owned()).collect();
        self.routed.clear();
        for ((kind, name), route) in &mut self.objects {
            if *kind != Kind::HttpRoute {
                continue;
            }
            let rules = route["spec"]["rules"].clone();
            let mut refs = rules
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|rule| rule["backendRefs"].as_array().unwrap());
            let resolved = refs.all(|backend| services.contains(backend["name"].as_str().unwrap()));
            let generation = generation(route);
            let condition = |kind: &str, holds: bool| {
                json!({
                    "type": kind, "status": if holds { "True" } else { "False" }, "observedGeneration": generation,
                })
            };
            let parent = route["spec"]["parentRefs"][0].clone();
            route["status"] = json!({ "parents": [{
                "parentRef": parent, "controllerName": "test",
                "conditions": [condition("Accepted", true), condition("ResolvedRefs", resolved)],
            }]});
            self.routed.insert(name.clone(), rules);
        }
    }

    pub(super) fn of(&self, wanted: Kind) -> impl Iterator<Item = (&str, &Value)> {
        let objects = self.objects.iter().filter(move |((kind, _), _)| *kind == wanted);
        objects.map(|((_, name), object)| (name.as_str(), object))
    }

    /// Returns the ready pods behind a Service, as its slice has them: the candidate's, and the others.
    pub(super) fn behind(&self, service: &str) -> (usize, usize) {
        let slice = self.get(Kind::EndpointSlice, &format!("{service}-x1"));
        let endpoints = slice.and_then(|slice| slice["endpoints"].as_array()).into_iter().flatten();
        let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
        let names = ready.filter_map(|endpoint| endpoint["targetRef"]["name"].as_str());
        let (candidate, others): (Vec<_>, Vec<_>) =
            names.partition(|name| name.starts_with("candidate-"));
        (candidate.len(), others.len())
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let target_uid = "web";
        Snapshot {
            target: self.one(Kind::Deployment, target_uid),
            candidate: self.one(Kind::Deployment, "web-candidate"),
            replica_sets: self.parsed(Kind::ReplicaSet, |_| true),
            pods: self.parsed(Kind::Pod, |pod| pod["metadata"]["labels"]["app"] == "web"),
            candidates: self.parsed(Kind::Pod, |pod| pod["metadata"]["labels"][REVISION] == ID),
            services: self.parsed(Kind::Service, |_| true),
            slices: self.parsed(Kind::EndpointSlice, |_| true),
            routes: self.parsed(Kind::HttpRoute, |_| true),
            autoscalers: BTreeMap::new(),
        }
    }

    fn one(&self, kind: Kind, name: &str) -> Option<DynamicObject> {
        self.get(kind, name).map(|object| serde_json::from_value(object.clone()).unwrap())
    }

    fn parsed<T: DeserializeOwned>(
        &self,
        kind: Kind,
        is: impl Fn(&Value) -> bool,
    ) -> BTreeMap<String, T> {
        self.of(kind)
            .filter(|(_, object)| is(object))
            .map(|(name, object)| {
                (name.to_owned(), serde_json::from_value(object.clone()).unwrap())
            })
            .collect()
    }

    /// Returns what users would see of the objects that gate may write, and who else is said to own them.
    pub(super) fn users_view(&self) -> BTreeMap<(Kind, String), Value> {
        let mut view = self.objects.clone();
        view.retain(|(kind, _), _| matches!(kind, Kind::Service | Kind::HttpRoute));
        for object in view.values_mut() {
            let object = object.as_object_mut().unwrap();
            object.remove("status");
            let meta = object["metadata"].as_object_mut().unwrap();
            meta.remove("resourceVersion");
            meta.remove("generation");
            if meta.get("managedFields") == Some(&json!([])) {
                meta.remove("managedFields");
            }
        }
        view
    }

    pub(super) fn template(&self) -> Value {
        let set = self.one(Kind::Deployment, "web").unwrap();
        assert!(template::of_set(&set).is_some());
        set.data["spec"]["template"].clone()
    }
}

fn owner(kind: &str, name: &str, uid: &Value) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true })
}

fn generation(object: &Value) -> u64 {
    object["metadata"]["generation"].as_u64().unwrap_or(1)
}

pub(super) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

fn matches(selector: &Value, labels: &Value) -> bool {
    selector.as_object().is_some_and(|selector| {
        !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    })
}
