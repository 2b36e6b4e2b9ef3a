//! What a router can't do, said before anything is written.

use serde_json::{Value, json};

use super::cluster::Cluster;
use super::walk::{Kept, Walk, percent};
use crate::platform::kubernetes::router::GatewayApi;
use crate::platform::kubernetes::router::gateway_api::overlay;
use crate::platform::kubernetes::write::Kind;
use crate::policy::{Testers, Traffic};
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
    let traffic = Traffic { route: route.map(str::to_owned), ..Traffic::default() };
    let said = GatewayApi::new(&cluster.snapshot(), &cluster.template(), &traffic);
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

/// The API allows such a rule one match.
pub(super) fn rewrites(rule: &mut Value) {
    let path = json!({ "type": "ReplacePrefixMatch", "replacePrefixMatch": "/" });
    rule["filters"] = json!([{ "type": "URLRewrite", "urlRewrite": { "path": path } }]);
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
    // One rule for each method: seven, and the other two.
    check_route(applied(|route| rewrites(&mut route["spec"]["rules"][1])), None, Ok(()));
    let more = |route: &mut Value| {
        route["spec"]["rules"].as_array_mut().unwrap().iter_mut().for_each(rewrites);
    };
    check_route(applied(more), None, Err("too many rules"));
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

/// A change of what is there, and what is then said against testers who send `x-release`.
#[track_caller]
fn check_testers(change: impl FnOnce(&mut Cluster), expected: Option<&str>) {
    let mut cluster = Cluster::with_route(2);
    change(&mut cluster);
    let testers = Some(Testers { header: "x-release".into(), value: "next".into() });
    let seen = cluster.snapshot();
    let new = |testers| {
        let traffic = Traffic { testers, ..Traffic::default() };
        GatewayApi::new(&seen, &cluster.template(), &traffic).map(drop)
    };
    assert_eq!(new(None), Ok(()), "it is the testers that are refused");
    let said = new(testers).err();
    match expected {
        Some(expected) => {
            assert!(said.as_ref().is_some_and(|it| it.contains(expected)), "{said:?}")
        }
        None => assert_eq!(said, None),
    }
}

/// The user's route with these matches in its first rule.
fn matching(matches: Value) -> impl FnOnce(&mut Cluster) {
    move |cluster| {
        let mut route = Cluster::route();
        route["spec"]["rules"][0]["matches"] = matches;
        cluster.put(Kind::HttpRoute, "shop", route);
    }
}

/// A route of somebody else with one match.
fn beside(name: &'static str, parent: &str, one: Value) -> impl FnOnce(&mut Cluster) {
    let route = json!({ "spec": {
        "parentRefs": [{ "name": parent }],
        "rules": [{ "matches": [one], "backendRefs": [{ "name": "blog" }] }],
    }});
    move |cluster| cluster.put(Kind::HttpRoute, name, route)
}

#[test]
fn testers_who_can_not_be_told_apart_are_refused_with_the_route() {
    check_testers(|_| {}, None);
    check_testers(applied(|_| {}), None);
    let headers = |count: usize| -> Value {
        (0..count).map(|at| json!({ "name": format!("h{at}"), "value": "y" })).collect()
    };
    check_testers(matching(json!([{ "headers": headers(15) }])), None);
    let full = "a match of the HTTPRoute shop has 16 headers";
    check_testers(matching(json!([{ "method": "GET" }, { "headers": headers(16) }])), Some(full));
    let own = |name: &str| json!({ "headers": [{ "name": name, "value": "y" }] });
    let itself = "the HTTPRoute shop matches the header x-release itself";
    check_testers(matching(json!([own("X-Release")])), Some(itself));
    check_testers(matching(json!([own("x-releases")])), None);
    let other = "the HTTPRoute hand-made matches the header x-release itself";
    check_testers(beside("hand-made", "edge", own("x-release")), Some(other));
    check_testers(beside("hand-made", "another", own("x-release")), None);
    check_testers(
        |it| it.put(Kind::HttpRoute, "shop-gate-testers", Cluster::route()),
        Some("the HTTPRoute shop-gate-testers is not gate's"),
    );
}

#[test]
fn testers_do_not_go_before_another_route_that_matches_parameters() {
    let query = json!({ "queryParams": [{ "name": "beta", "value": "1" }] });
    let past = "would go before the HTTPRoute beta, which matches parameters";
    check_testers(beside("beta", "edge", query.clone()), Some(past));
    check_testers(beside("beta", "another", query.clone()), None);
    check_testers(beside("beta", "edge", json!({ "method": "GET" })), None);
    for finer in [json!({ "method": "GET" }), json!({ "headers": [{ "name": "h", "value": "y" }] })]
    {
        let mut one = query.clone();
        one.as_object_mut().unwrap().extend(finer.as_object().unwrap().clone());
        check_testers(beside("beta", "edge", one), None);
    }
    // The user's own rules keep their order among themselves.
    check_testers(matching(json!([query])), None);
}
