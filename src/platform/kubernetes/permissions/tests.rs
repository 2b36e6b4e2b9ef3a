use serde_json::Value;

use super::{Permission, Scope, needed, role};
use crate::platform::kubernetes::router::{GatewayApi, PlainService, Router};
use crate::policy::Testers;

fn service() -> Router {
    Router::Service(PlainService { services: vec!["web".into(), "web-admin".into()] })
}

fn gateway() -> Router {
    Router::GatewayApi(GatewayApi {
        routes: vec!["shop".into()],
        services: vec!["web".into()],
        key: "app".into(),
        value: "web-candidate".into(),
        testers: None,
    })
}

fn scope(router: &Router) -> Scope<'_> {
    Scope { target: "web", router, autoscaler: None, pods_proxy: false, watchdog: false }
}

fn words(scope: &Scope<'_>) -> Vec<String> {
    needed(scope).iter().map(ToString::to_string).collect()
}

#[test]
fn a_plain_service_needs_this_and_no_more() {
    let expected = [
        "create configmaps",
        "get configmaps web-gate",
        "list configmaps web-gate",
        "patch configmaps web-gate",
        "watch configmaps web-gate",
        "deletecollection pods",
        "list pods",
        "watch pods",
        "get pods/log",
        "patch pods/status",
        "list services",
        "watch services",
        "get services web, web-admin",
        "patch services web, web-admin",
        "create deployments.apps",
        "delete deployments.apps web-candidate",
        "get deployments.apps web, web-candidate",
        "list deployments.apps web, web-candidate",
        "patch deployments.apps web, web-candidate",
        "watch deployments.apps web, web-candidate",
        "list replicasets.apps",
        "watch replicasets.apps",
        "list horizontalpodautoscalers.autoscaling",
        "watch horizontalpodautoscalers.autoscaling",
        "list endpointslices.discovery.k8s.io",
        "watch endpointslices.discovery.k8s.io",
    ];
    assert_eq!(words(&scope(&service())), expected);
}

/// Returns what a scope needs beyond another one.
fn more(scope: &Scope<'_>, than: &Scope<'_>) -> Vec<String> {
    let less = words(than);
    words(scope).into_iter().filter(|word| !less.contains(word)).collect()
}

#[test]
fn each_choice_adds_what_it_needs() {
    let (service, gateway) = (service(), gateway());
    let plain = scope(&service);
    assert_eq!(
        more(&Scope { router: &gateway, ..plain }, &plain),
        [
            "create services",
            "delete services web-candidate",
            "get services web-candidate",
            "patch services web-candidate",
            "create httproutes.gateway.networking.k8s.io",
            "list httproutes.gateway.networking.k8s.io",
            "watch httproutes.gateway.networking.k8s.io",
            "delete httproutes.gateway.networking.k8s.io shop-gate",
            "get httproutes.gateway.networking.k8s.io shop, shop-gate",
            "patch httproutes.gateway.networking.k8s.io shop, shop-gate",
        ]
    );
    let mut with_testers = gateway.clone();
    if let Router::GatewayApi(router) = &mut with_testers {
        router.testers = Some(Testers { header: "x-release".into(), value: "next".into() });
    }
    assert_eq!(
        more(&Scope { router: &with_testers, ..plain }, &Scope { router: &gateway, ..plain }),
        [
            "delete httproutes.gateway.networking.k8s.io shop-gate, shop-gate-testers",
            "get httproutes.gateway.networking.k8s.io shop, shop-gate, shop-gate-testers",
            "patch httproutes.gateway.networking.k8s.io shop, shop-gate, shop-gate-testers",
        ]
    );
    assert_eq!(more(&Scope { pods_proxy: true, ..plain }, &plain), ["get pods/proxy"]);
    assert_eq!(
        more(&Scope { autoscaler: Some("web"), ..plain }, &plain),
        [
            "create horizontalpodautoscalers.autoscaling",
            "delete horizontalpodautoscalers.autoscaling web-candidate",
            "get horizontalpodautoscalers.autoscaling web, web-candidate",
            "patch horizontalpodautoscalers.autoscaling web, web-candidate",
        ]
    );
    let watched = more(&Scope { watchdog: true, ..plain }, &plain);
    assert!(watched.contains(&"create roles.rbac.authorization.k8s.io".to_owned()), "{watched:?}");
    // With a mesh no pod's status is written, and the user's Services stay as they are.
    let gone = more(&plain, &Scope { router: &gateway, ..plain });
    assert_eq!(
        gone,
        ["patch pods/status", "get services web, web-admin", "patch services web, web-admin"]
    );
}

#[test]
fn the_role_is_yaml_with_exactly_these_permissions() {
    let router = gateway();
    let scope =
        Scope { autoscaler: Some("web"), pods_proxy: true, watchdog: true, ..scope(&router) };
    let permissions = needed(&scope);
    let yaml = role("web", "shop", &permissions);
    let (role, binding) = yaml.split_once("---\n").unwrap();
    let role: Value = serde_saphyr::from_str(role).unwrap();
    assert_eq!((&role["kind"], &role["metadata"]["namespace"]), (&"Role".into(), &"shop".into()));
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().map(|v| v.as_str().unwrap().to_owned()).collect()
    };
    let mut granted = Vec::new();
    for rule in role["rules"].as_array().unwrap() {
        for verb in texts(&rule["verbs"]) {
            granted.push(Permission {
                group: texts(&rule["apiGroups"]).concat(),
                resource: texts(&rule["resources"]).concat(),
                names: texts(&rule["resourceNames"]),
                verb: permissions.iter().find(|p| p.verb == verb).unwrap().verb,
            });
        }
    }
    granted.sort();
    let mut expected = permissions;
    expected.sort();
    assert_eq!(granted, expected);
    let binding: Value = serde_saphyr::from_str(binding).unwrap();
    assert_eq!(binding["roleRef"]["name"], role["metadata"]["name"]);
}
