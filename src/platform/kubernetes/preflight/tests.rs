//! A healthy target finds nothing worse than notes; each change to it finds what it should, and no more.

use kube::api::DynamicObject;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Finding, Level, Looked, Question, Surroundings, judged};
use crate::plan::{LOCAL_DEFAULTS, Plan, Release};
use crate::platform::kubernetes::router::{GatewayApi, PlainService, Router};
use crate::platform::kubernetes::snapshot::Snapshot;
use crate::policy::{self, Policy};
use crate::share::Share;

/// JSON of the objects, so that a test changes them as a user would write them.
struct Scene {
    deployment: Value,
    pods_ready: usize,
    service: Value,
    route: Value,
    autoscaler: Option<Value>,
    router: Router,
    policy: Policy,
    gitops_ok: bool,
    around: Surroundings,
}

const BLUE_GREEN: [f64; 2] = [0.0, 100.0];
const CANARY: [f64; 2] = [50.0, 100.0];

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn scene() -> Scene {
    let container = json!({
        "name": "web", "image": "acme/web:1", "readinessProbe": { "httpGet": { "path": "/", "port": 80 } },
        "resources": { "requests": { "cpu": "500m", "memory": "64Mi" } },
    });
    Scene {
        deployment: json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "uid": "d", "generation": 1 },
            "spec": {
                "replicas": 4, "selector": { "matchLabels": { "app": "web" } },
                "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1 } },
                "template": {
                    "metadata": { "labels": { "app": "web", "tier": "front" } },
                    "spec": { "containers": [container] },
                },
            },
            "status": { "observedGeneration": 1, "replicas": 4, "updatedReplicas": 4, "readyReplicas": 4, "availableReplicas": 4 },
        }),
        pods_ready: 4,
        service: json!({ "metadata": { "name": "web" }, "spec": { "selector": { "app": "web" } } }),
        route: json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": { "name": "shop" },
            "spec": { "parentRefs": [{ "name": "edge" }], "rules": [{ "backendRefs": [{ "name": "web", "port": 80 }] }] },
        }),
        autoscaler: None,
        router: Router::Service(PlainService { services: vec!["web".into()] }),
        policy: policy::shipped("canary").unwrap(),
        gitops_ok: false,
        around: Surroundings { minor: Looked::Seen(34), ..Surroundings::default() },
    }
}

fn gateway() -> Scene {
    let router = GatewayApi {
        routes: vec!["shop".into()],
        services: vec!["web".into()],
        key: "app".into(),
        value: "web-candidate".into(),
        testers: None,
    };
    let around = Surroundings { routes_served: Looked::Seen(true), ..scene().around };
    Scene { router: Router::GatewayApi(router), around, ..scene() }
}

impl Scene {
    fn snapshot(&self) -> Snapshot {
        let template = &self.deployment["spec"]["template"];
        let set = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": { "name": "web-1", "uid": "s", "ownerReferences": [owner("Deployment", "d")] },
            "spec": { "template": template },
        });
        let pod = |at: usize| {
            let name = format!("web-1-{at}");
            let condition = json!({ "type": "Ready", "status": "True" });
            let pod = json!({
                "metadata": { "name": name, "ownerReferences": [owner("ReplicaSet", "s")] },
                "status": { "conditions": [condition] },
            });
            (name, read(pod))
        };
        let name = |value: &Value| value["metadata"]["name"].as_str().unwrap().to_owned();
        let autoscalers = self.autoscaler.iter().map(|it| (name(it), read(it.clone())));
        Snapshot {
            target: Some(read(self.deployment.clone())),
            replica_sets: [("web-1".to_owned(), read::<DynamicObject>(set))].into(),
            pods: (0..self.pods_ready).map(pod).collect(),
            services: [(name(&self.service), read(self.service.clone()))].into(),
            routes: [(name(&self.route), read(self.route.clone()))].into(),
            autoscalers: autoscalers.collect(),
            ..Snapshot::default()
        }
    }

    fn found(&self, percent: [f64; 2]) -> Vec<Finding> {
        self.found_in(&self.snapshot(), percent)
    }

    fn found_in(&self, seen: &Snapshot, percent: [f64; 2]) -> Vec<Finding> {
        let release =
            |name: &str| Release { name: name.into(), hash: name.into(), irreversible: false };
        let mut plan =
            Plan::new(&self.policy, "", "web", release("v1"), release("v2"), LOCAL_DEFAULTS);
        plan.stages.truncate(2);
        for (stage, percent) in plan.stages.iter_mut().zip(percent) {
            stage.share = Share::from_percent(percent).unwrap();
        }
        let asked = Question {
            seen,
            plan: &plan,
            policy: &self.policy,
            router: &self.router,
            template: &self.deployment["spec"]["template"],
            target: "web",
            gitops_ok: self.gitops_ok,
            pods_proxy: false,
            watchdog: false,
        };
        judged(&asked, &self.around)
    }

    fn pod_spec(&mut self) -> &mut Value {
        &mut self.deployment["spec"]["template"]["spec"]
    }
}

fn owner(kind: &str, uid: &str) -> Value {
    json!({ "apiVersion": "apps/v1", "kind": kind, "name": "web", "uid": uid, "controller": true })
}

fn words(found: &[Finding]) -> Vec<(Level, &'static str)> {
    found.iter().map(|finding| (finding.level, finding.check)).collect()
}

/// What a change finds beyond what the healthy scene does.
#[track_caller]
fn check_at(
    base: fn() -> Scene,
    percent: [f64; 2],
    change: impl FnOnce(&mut Scene),
    expected: &[(Level, &'static str)],
) -> Vec<Finding> {
    let healthy = base().found(percent);
    let mut scene = base();
    change(&mut scene);
    let found: Vec<Finding> =
        scene.found(percent).into_iter().filter(|finding| !healthy.contains(finding)).collect();
    assert_eq!(words(&found), expected, "{found:#?}");
    for finding in &found {
        assert!(finding.level == Level::Note || finding.remedy.is_some(), "{finding:?}");
    }
    found
}

#[track_caller]
fn check(change: impl FnOnce(&mut Scene), expected: &[(Level, &'static str)]) -> Vec<Finding> {
    check_at(scene, CANARY, change, expected)
}

use Level::{Note, Refuse, Warn};

#[test]
fn a_healthy_target_has_notes_only() {
    let found = words(&scene().found(CANARY));
    assert_eq!(found, [(Note, "service"), (Note, "kept_alive"), (Note, "surge")]);
    let found = words(&gateway().found(CANARY));
    assert_eq!(found, [(Note, "service"), (Note, "direct_clients"), (Note, "surge")]);
}

#[test]
fn without_a_target_nothing_else_is_said() {
    let found = scene().found_in(&Snapshot::default(), CANARY);
    assert_eq!(words(&found), [(Refuse, "target")]);
}

#[test]
fn a_stable_that_does_not_serve_is_no_way_back() {
    check(|it| it.deployment["spec"]["paused"] = json!(true), &[(Refuse, "paused")]);
    check(|it| it.pods_ready = 0, &[(Refuse, "ready")]);
    check(|it| it.pods_ready = 3, &[(Warn, "ready")]);
    check(|it| it.deployment["status"]["updatedReplicas"] = json!(2), &[(Refuse, "ready")]);
    check(|it| it.deployment["status"]["observedGeneration"] = json!(0), &[(Refuse, "ready")]);
    let mut none = scene();
    none.deployment["spec"]["replicas"] = json!(0);
    assert!(words(&none.found(BLUE_GREEN)).contains(&(Refuse, "ready")));
}

#[test]
fn two_revisions_at_once_need_a_word_where_they_look_wrong() {
    let recreate = |it: &mut Scene| {
        it.deployment["spec"]["strategy"] =
            json!({ "type": "Recreate", "rollingUpdate": { "maxSurge": 1 } });
    };
    check(recreate, &[(Refuse, "side_by_side")]);
    let said = |it: &mut Scene| {
        recreate(it);
        it.policy.side_by_side = true;
    };
    check(said, &[(Note, "side_by_side")]);
    let mounted = |mode: Option<&str>| {
        let modes = mode.map(|mode| ("data".to_owned(), vec![mode.to_owned()]));
        move |it: &mut Scene| {
            it.pod_spec()["volumes"] =
                json!([{ "name": "d", "persistentVolumeClaim": { "claimName": "data" } }]);
            it.around.claims.extend(modes);
        }
    };
    check(mounted(Some("ReadWriteOnce")), &[(Refuse, "side_by_side")]);
    check(mounted(Some("ReadWriteMany")), &[]);
    check(mounted(None), &[(Warn, "side_by_side")]);
    check(|it| it.around.leases = Looked::Seen(true), &[(Warn, "leader")]);
    check(|it| it.around.leases = Looked::Seen(false), &[]);
}

#[test]
fn what_is_not_gated_is_said() {
    let probe = |it: &mut Scene| it.pod_spec()["containers"][0]["readinessProbe"] = Value::Null;
    check(probe, &[(Warn, "readiness")]);
    check(|it| it.deployment["spec"]["revisionHistoryLimit"] = json!(0), &[(Note, "history")]);
    let from = |it: &mut Scene| {
        it.pod_spec()["containers"][0]["envFrom"] = json!([{ "configMapRef": { "name": "settings" } }, { "secretRef": { "name": "keys" } }]);
    };
    let found = check(from, &[(Note, "configuration")]);
    assert!(found[0].what.contains("ConfigMap settings, Secret keys"), "{found:?}");
    check(|it| it.around.minor = Looked::Seen(28), &[(Warn, "version")]);
    check(|it| it.around.minor = Looked::Seen(29), &[]);
    let denied = |it: &mut Scene| {
        it.around.quotas = Looked::Not("ResourceQuotas (this account may not)".into());
        it.around.budgets = Looked::Not("PodDisruptionBudgets (this account may not)".into());
    };
    let found = check(denied, &[(Note, "not_looked")]);
    assert!(found[0].what.starts_with("could not look at PodDisruptionBudgets (this"), "{found:?}");
}

#[test]
fn a_service_that_can_not_split_is_refused() {
    let found = |change: fn(&mut Value)| {
        let mut scene = scene();
        change(&mut scene.service);
        scene.found(CANARY).into_iter().find(|finding| finding.level == Refuse).unwrap()
    };
    let other = found(|it| it["spec"]["selector"] = json!({ "app": "other" }));
    assert_eq!((other.check, other.what.contains("selector")), ("service", false));
    let bare = found(|it| it["spec"] = json!({}));
    assert!(bare.what.contains("has no selector"), "{bare:?}");
    let external = found(|it| it["spec"] = json!({ "type": "ExternalName", "externalName": "x" }));
    assert!(external.what.contains("is an ExternalName"), "{external:?}");
    check(
        |it| it.service["spec"]["publishNotReadyAddresses"] = json!(true),
        &[(Refuse, "not_ready_addresses")],
    );
    let sticky = |it: &mut Scene| it.service["spec"]["sessionAffinity"] = json!("ClientIP");
    check(sticky, &[(Refuse, "session_affinity")]);
    check_at(scene, BLUE_GREEN, sticky, &[]);
    check_at(gateway, CANARY, sticky, &[]);
}

#[test]
fn what_makes_a_share_another_one_is_said() {
    check(|it| it.service["spec"]["clusterIP"] = json!("None"), &[(Warn, "headless")]);
    let local = |it: &mut Scene| it.service["spec"]["internalTrafficPolicy"] = json!("Local");
    check(local, &[(Warn, "locality")]);
    check_at(scene, BLUE_GREEN, local, &[]);
    check_at(gateway, CANARY, local, &[]);
    let near = |it: &mut Scene| it.service["spec"]["trafficDistribution"] = json!("PreferClose");
    check(near, &[(Warn, "locality")]);
    check(|it| it.service["spec"]["type"] = json!("LoadBalancer"), &[(Note, "load_balancer")]);
    let unknown = |it: &mut Scene| it.policy.traffic.ignore_services = vec!["nobody".into()];
    check(unknown, &[(Warn, "service")]);
    // Four pods can't make 5 %.
    let found = scene().found([5.0, 100.0]);
    let share = found.iter().find(|finding| finding.check == "share").unwrap();
    assert!(share.level == Warn && share.what.starts_with("stage 1 asks for 5 %"), "{share:?}");
    assert!(gateway().found([5.0, 100.0]).iter().all(|finding| finding.check != "share"));
}

#[test]
fn who_selects_pods_sees_the_candidates_or_not() {
    let budget = |it: &mut Scene| {
        let selector = json!({ "matchLabels": { "app": "web" } });
        let budget = json!({ "metadata": { "name": "web" }, "spec": { "selector": selector } });
        it.around.budgets = Looked::Seen(vec![read(budget)]);
    };
    check(budget, &[(Warn, "disruption_budget")]);
    let found = check_at(gateway, CANARY, budget, &[(Warn, "unseen")]);
    assert!(found[0].what.ends_with("PodDisruptionBudget web"), "{found:?}");
    let all = |it: &mut Scene| {
        let policy = |name: &str, selector: Value| {
            read(json!({ "metadata": { "name": name }, "spec": { "podSelector": selector } }))
        };
        let expression = json!({ "matchExpressions": [{ "key": "app", "operator": "In", "values": ["web", "api"] }] });
        it.around.policies = Looked::Seen(vec![
            policy("everybody", json!({})),
            policy("front", json!({ "matchLabels": { "tier": "front" } })),
            policy("web", expression),
        ]);
        let monitor = json!({
            "apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": { "name": "pods" },
            "spec": { "selector": { "matchLabels": { "app": "web" } } },
        });
        it.around.monitors = Looked::Seen(vec![read(monitor)]);
    };
    check(all, &[]);
    let found = check_at(gateway, CANARY, all, &[(Warn, "unseen")]);
    assert!(found[0].what.ends_with("by NetworkPolicy web, PodMonitor pods"), "{found:?}");
    // A Service that would select the candidate's pods whatever the share.
    let leak = |it: &mut Scene| it.service["spec"]["selector"] = json!({ "tier": "front" });
    check_at(gateway, CANARY, leak, &[(Refuse, "service")]);
    check(leak, &[]);
}

#[test]
fn a_quota_without_room_is_told_before() {
    let quota = |hard: Value, used: Value, scopes: Value| {
        move |it: &mut Scene| {
            let quota = json!({ "metadata": { "name": "small" }, "spec": { "scopes": scopes }, "status": { "hard": hard, "used": used } });
            it.around.quotas = Looked::Seen(vec![read(quota)]);
        }
    };
    let none = || json!(null);
    check(quota(json!({ "pods": "20" }), json!({ "pods": "4" }), none()), &[]);
    let found =
        check(quota(json!({ "pods": "6" }), json!({ "pods": "4" }), none()), &[(Warn, "quota")]);
    assert!(found[0].what.starts_with("ResourceQuota small has room for 2 of pods"), "{found:?}");
    check(
        quota(json!({ "requests.cpu": "3" }), json!({ "requests.cpu": "2" }), none()),
        &[(Warn, "quota")],
    );
    check(quota(json!({ "limits.cpu": "3" }), json!({ "limits.cpu": "2" }), none()), &[]);
    // It is for other pods, as far as can be told.
    check(quota(json!({ "pods": "4" }), json!({ "pods": "4" }), json!(["BestEffort"])), &[]);
}

fn nodes(count: usize) -> Looked<Vec<k8s_openapi::api::core::v1::Node>> {
    let node = |at: usize| {
        let name = format!("node-{at}");
        read(json!({ "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } } }))
    };
    Looked::Seen((0..count).map(node).collect())
}

#[test]
fn one_pod_a_node_needs_as_many_nodes() {
    let port = |count: usize| {
        move |it: &mut Scene| {
            it.pod_spec()["containers"][0]["ports"] =
                json!([{ "containerPort": 80, "hostPort": 80 }]);
            it.around.nodes = nodes(count);
        }
    };
    check(port(4), &[(Refuse, "placement")]);
    check(port(8), &[]);
    let unknown = |it: &mut Scene| {
        port(0)(it);
        it.around.nodes = Looked::Nothing;
    };
    check(unknown, &[(Warn, "placement")]);
    let apart = |app: &'static str, count: usize| {
        move |it: &mut Scene| {
            let term = json!({ "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": { "app": app } } });
            it.pod_spec()["affinity"] = json!({ "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [term] } });
            it.around.nodes = nodes(count);
        }
    };
    check(apart("web", 4), &[(Refuse, "placement")]);
    check(apart("web", 8), &[]);
    check(apart("other", 1), &[]);
    let spread = |unsatisfiable: &'static str| {
        move |it: &mut Scene| {
            it.pod_spec()["topologySpreadConstraints"] = json!([{
                "topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": unsatisfiable,
                "labelSelector": { "matchLabels": { "app": "web" } },
            }]);
        }
    };
    check(spread("DoNotSchedule"), &[(Warn, "topology_spread")]);
    check(spread("ScheduleAnyway"), &[]);
    check_at(gateway, CANARY, spread("DoNotSchedule"), &[]);
}

#[test]
fn a_route_must_be_there_and_lead_to_the_target() {
    let absent = |it: &mut Scene| it.around.routes_served = Looked::Seen(false);
    check_at(gateway, CANARY, absent, &[(Refuse, "gateway_api")]);
    let none = |it: &mut Scene| {
        if let Router::GatewayApi(router) = &mut it.router {
            router.routes.clear();
        }
    };
    check_at(gateway, CANARY, none, &[(Refuse, "route")]);
    let renamed = |it: &mut Scene| it.route["metadata"]["name"] = json!("other");
    check_at(gateway, CANARY, renamed, &[(Refuse, "route")]);
    let denied = |it: &mut Scene| {
        let condition =
            json!({ "type": "Accepted", "status": "False", "reason": "NotAllowedByListeners" });
        it.route["status"] =
            json!({ "parents": [{ "parentRef": { "name": "edge" }, "conditions": [condition] }] });
    };
    let found = check_at(gateway, CANARY, denied, &[(Warn, "route")]);
    assert!(found[0].what.contains("not accepted by edge: NotAllowedByListeners"), "{found:?}");
    let beside = |weight: u64| {
        move |it: &mut Scene| {
            it.route["spec"]["rules"][0]["backendRefs"] =
                json!([{ "name": "web" }, { "name": "old", "weight": weight }]);
        }
    };
    check_at(gateway, CANARY, beside(1), &[(Warn, "route")]);
    check_at(gateway, CANARY, beside(0), &[]);
}

#[test]
fn who_would_put_it_back_is_refused_unless_told() {
    let argo = json!({ "argocd.argoproj.io/tracking-id": "shop:apps/Deployment:prod/web" });
    let managed = |it: &mut Scene| it.deployment["metadata"]["annotations"] = argo.clone();
    check(managed, &[(Refuse, "gitops")]);
    let told = |it: &mut Scene| {
        managed(it);
        it.gitops_ok = true;
    };
    check(told, &[(Warn, "gitops")]);
    let by_hand = |it: &mut Scene| {
        it.deployment["metadata"]["annotations"] =
            json!({ "kubectl.kubernetes.io/last-applied-configuration": "{}" });
    };
    check(by_hand, &[(Note, "gitops")]);
    let in_place = |it: &mut Scene| it.route["metadata"]["annotations"] = argo.clone();
    check_at(gateway, CANARY, in_place, &[(Refuse, "gitops")]);
    let applied = |it: &mut Scene| {
        let entry =
            json!({ "manager": "kustomize-controller", "operation": "Apply", "fieldsV1": {} });
        it.route["metadata"]["managedFields"] = json!([entry]);
    };
    check_at(gateway, CANARY, applied, &[(Note, "gitops")]);
    let unable = |it: &mut Scene| {
        applied(it);
        it.around.method_matching = Looked::Seen(false);
    };
    check_at(gateway, CANARY, unable, &[(Refuse, "gitops")]);
    let methods = |it: &mut Scene| {
        applied(it);
        it.route["spec"]["rules"][0]["matches"] = json!([{ "method": "GET" }]);
    };
    check_at(gateway, CANARY, methods, &[(Refuse, "gitops")]);
    let keda = |it: &mut Scene| {
        it.autoscaler = Some(json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": { "name": "keda-hpa-web", "ownerReferences": [{ "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "web", "uid": "k" }] },
            "spec": { "scaleTargetRef": { "kind": "Deployment", "name": "web" } },
        }));
    };
    check(keda, &[(Warn, "autoscaler")]);
}
