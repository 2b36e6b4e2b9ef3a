//! What a router can't do, said before anything is written.

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::walk::{Kept, Walk, percent};
use crate::platform::kubernetes::router::GatewayApi;
use crate::platform::kubernetes::router::gateway_api::overlay;
use crate::platform::kubernetes::write::Kind;
use crate::share::Share;

/// A change of the Service `web`, the share of a plan, and what is said against it.
#[track_caller]
fn check_plain(path: &str, value: Value, share: Share, expected: Option<&str>) {
    let mut walk = Walk::new(Kept::Plain);
    let service = walk.cluster.objects.get_mut(&(Kind::Service, "web".into())).unwrap();
    service["spec"][path] = value;
    let said = walk.router.refuses(&walk.cluster.snapshot(), &[Share::ZERO, share, Share::FULL]);
    assert_eq!(said.as_deref().map(|said| said.split(':').next().unwrap()), expected);
}

#[test]
fn plain_services_that_can_not_be_split_are_refused() {
    let sticky = "the Service web has sessionAffinity ClientIP";
    check_plain("sessionAffinity", json!("None"), percent(5.0), None);
    check_plain("sessionAffinity", json!("ClientIP"), percent(5.0), Some(sticky));
    check_plain("sessionAffinity", json!("ClientIP"), Share::FULL, None);
    let unready = "the Service web has publishNotReadyAddresses";
    check_plain("publishNotReadyAddresses", json!(true), Share::FULL, Some(unready));
}

#[track_caller]
fn check_route(change: impl FnOnce(&mut Cluster), route: Option<&str>, expected: Result<(), &str>) {
    let mut cluster = Cluster::with_route(2);
    change(&mut cluster);
    let said = GatewayApi::new(&cluster.snapshot(), &cluster.template(), route, &[]);
    match (said, expected) {
        (Ok(router), Ok(())) => {
            assert_eq!((router.key.as_str(), router.value.as_str()), ("app", "web-candidate"));
            assert_eq!(
                (router.routes, router.services),
                (vec!["shop".to_owned()], vec!["web".into(), "web-front".into()])
            );
        }
        (Err(said), Err(expected)) => assert!(said.contains(expected), "{said}"),
        (said, expected) => panic!("{said:?}, not {expected:?}"),
    }
}

fn applied(change: impl FnOnce(&mut Value)) -> impl FnOnce(&mut Cluster) {
    move |cluster| {
        let mut route = Cluster::route();
        route["metadata"]["managedFields"] = json!([{ "manager": "argocd", "operation": "Apply" }]);
        change(&mut route);
        cluster.put(Kind::HttpRoute, "shop", route);
    }
}

#[test]
fn routes_that_can_not_carry_weights_are_refused() {
    let selector = |name: &'static str, selector: Value| {
        move |cluster: &mut Cluster| {
            cluster.put(Kind::Service, name, json!({ "spec": { "selector": selector } }));
        }
    };
    check_route(|_| {}, None, Ok(()));
    check_route(|_| {}, Some("shop"), Ok(()));
    check_route(|_| {}, Some("nowhere"), Err("no HTTPRoute nowhere"));
    let blog = json!({ "spec": { "rules": [{ "backendRefs": [{ "name": "blog" }] }] } });
    check_route(
        |it| it.put(Kind::HttpRoute, "blog", blog),
        Some("blog"),
        Err("has no backend of web"),
    );
    check_route(
        selector("tier", json!({ "tier": "front" })),
        None,
        Err("no label is needed by all"),
    );
    check_route(selector("web-candidate", json!({ "app": "x" })), None, Err("is not gate's"));
    let full = |route: &mut Value| {
        let many: Vec<Value> = (0..16).map(|_| json!({ "name": "web" })).collect();
        route["spec"]["rules"][0]["backendRefs"] = json!(many);
    };
    check_route(applied(full), None, Err("no room"));
}

/// Who has written a route, and whether gate lays its own over it.
#[track_caller]
fn check_over(entry: Value, annotations: Value, expected: bool) {
    let mut route = Cluster::route();
    route["metadata"] = json!({ "managedFields": [entry], "annotations": annotations });
    let mut cluster = Cluster::with_route(1);
    cluster.put(Kind::HttpRoute, "shop", route);
    assert_eq!(overlay::is_needed(&cluster.snapshot().routes["shop"]), expected);
}

#[test]
fn a_route_is_laid_over_where_somebody_keeps_applying_the_users() {
    let entry =
        |manager: &str, operation: &str| json!({ "manager": manager, "operation": operation });
    check_over(entry("kubectl-edit", "Update"), json!({}), false);
    check_over(entry("flux", "Apply"), json!({}), true);
    check_over(entry("gate", "Apply"), json!({}), false);
    check_over(entry("argocd-controller", "Update"), json!({}), true);
    let mut status = entry("envoy-gateway", "Apply");
    status["subresource"] = json!("status");
    check_over(status, json!({}), false);
    let applied = "kubectl.kubernetes.io/last-applied-configuration";
    check_over(entry("kubectl", "Update"), json!({ applied: "{}" }), false);
    let marked = json!({ applied: "{}", "argocd.argoproj.io/tracking-id": "shop" });
    check_over(entry("kubectl", "Update"), marked, true);
}

#[test]
fn a_route_is_laid_over_only_where_it_wins_and_hides_nothing() {
    check_route(applied(|_| {}), None, Ok(()));
    let methods = |route: &mut Value| {
        route["spec"]["rules"][0]["matches"] = json!([{ "method": "GET" }]);
    };
    check_route(applied(methods), None, Err("matches methods itself"));
    let many = |route: &mut Value| {
        let many = vec![json!({ "path": { "type": "Exact", "value": "/x" } }); 10];
        route["spec"]["rules"][0]["matches"] = json!(many);
    };
    check_route(applied(many), None, Err("too many matches"));
    let finer = json!({ "spec": {
        "parentRefs": [{ "name": "edge" }],
        "rules": [{ "matches": [{ "headers": [{ "name": "x", "value": "y" }] }], "backendRefs": [{ "name": "blog" }] }],
    }});
    let beside = |it: &mut Cluster| {
        applied(|_| {})(it);
        it.put(Kind::HttpRoute, "testers", finer);
    };
    check_route(beside, None, Err("the HTTPRoute testers"));
}
