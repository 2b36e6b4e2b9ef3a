//! HTTPRoutes: is there one to split, does its gateway have it, and may it be written.

use std::collections::BTreeSet;

use kube::api::DynamicObject;
use serde_json::Value;

use super::{Found, Question, Surroundings, listed};
use crate::platform::kubernetes::router::gateway_api::overlay;
use crate::platform::kubernetes::router::{GatewayApi, Router};
use crate::platform::kubernetes::snapshot::Snapshot;

/// A feature of the Gateway API (`GatewayClass.status.supportedFeatures`).
const METHOD_MATCHING: &str = "HTTPRouteMethodMatching";

pub(super) fn check(asked: &Question<'_>, around: &Surroundings, found: &mut Found) {
    let Router::GatewayApi(router) = asked.router else { return };
    if around.routes_served.seen() == Some(&false) {
        found.refuse(
            "gateway_api",
            "the API server has no HTTPRoutes: the CRD httproutes.gateway.networking.k8s.io (v1) is missing",
            "install the Gateway API, or use `traffic.router: service`",
        );
        return;
    }
    if router.routes.is_empty() {
        found.refuse(
            "route",
            format!("no HTTPRoute has {} as a backend", listed(&router.services)),
            "name a route that has (`traffic.route`), or use `traffic.router: service`",
        );
    }
    for name in &router.routes {
        match asked.seen.routes.get(name) {
            Some(route) => each(name, route, router, found),
            None => found.refuse(
                "route",
                format!("there is no HTTPRoute {name}"),
                "check `traffic.route`",
            ),
        }
    }
}

fn each(name: &str, route: &DynamicObject, router: &GatewayApi, found: &mut Found) {
    for (parent, kind, why) in refused(route) {
        found.warn(
            "route",
            format!("HTTPRoute {name} is not {kind} by {parent}: {why}"),
            "a share is believed only where the gateway has taken the route",
        );
    }
    let rules = rules(route).collect::<Vec<_>>();
    let split = rules.iter().filter(|rule| backends(rule).any(|(backend, _)| is(router, backend)));
    let beside: BTreeSet<&str> = split
        .flat_map(|rule| backends(rule))
        .filter(|(backend, weight)| !is(router, backend) && *weight > 0)
        .map(|(backend, _)| backend)
        .collect();
    let beside: Vec<&str> = beside.into_iter().collect();
    if !beside.is_empty() {
        found.warn(
            "route",
            format!(
                "HTTPRoute {name} sends to {} beside {}: a share is a part of all of it",
                listed(&beside),
                listed(&router.services)
            ),
            "end the other split first if it is one of versions",
        );
    }
}

fn is(router: &GatewayApi, backend: &str) -> bool {
    router.services.iter().any(|service| service == backend)
}

pub(super) fn rules(route: &DynamicObject) -> impl Iterator<Item = &Value> {
    list(route.data.pointer("/spec/rules"))
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

/// The Services that a rule sends to, with their weights; 1 where none is written (the API's default).
fn backends(rule: &Value) -> impl Iterator<Item = (&str, u64)> {
    let services = list(rule.get("backendRefs")).filter(|backend| {
        backend.get("kind").and_then(Value::as_str).unwrap_or("Service") == "Service"
    });
    services.filter_map(|backend| {
        let weight = backend.get("weight").and_then(Value::as_u64).unwrap_or(1);
        Some((backend.get("name")?.as_str()?, weight))
    })
}

/// Which parents have not taken a route: their names, what they deny, and why.
fn refused(route: &DynamicObject) -> impl Iterator<Item = (&str, &'static str, &str)> {
    list(route.data.pointer("/status/parents")).flat_map(|parent| {
        let name = parent.pointer("/parentRef/name").and_then(Value::as_str).unwrap_or_default();
        list(parent.get("conditions")).filter_map(move |condition| {
            let text = |key: &str| condition.get(key).and_then(Value::as_str);
            let kind = match text("type")? {
                "Accepted" => "accepted",
                "ResolvedRefs" => "resolved",
                _ => return None,
            };
            (text("status") == Some("False"))
                .then(|| (name, kind, text("message").or(text("reason")).unwrap_or_default()))
        })
    })
}

/// Returns the routes that gate lays its own over.
pub(super) fn overlaid<'a>(seen: &'a Snapshot, router: &GatewayApi) -> Vec<&'a DynamicObject> {
    let routes = router.routes.iter().filter_map(|name| seen.routes.get(name));
    routes.filter(|route| overlay::is_needed(route)).collect()
}

/// Returns namespace and name of the gateways of some routes.
pub(super) fn gateways(routes: &[&DynamicObject], namespace: &str) -> BTreeSet<(String, String)> {
    let parents = routes.iter().flat_map(|route| list(route.data.pointer("/spec/parentRefs")));
    let gateways = parents.filter(|parent| {
        parent.get("kind").and_then(Value::as_str).unwrap_or("Gateway") == "Gateway"
    });
    let text = |parent: &Value, key: &str| parent.get(key)?.as_str().map(str::to_owned);
    gateways
        .filter_map(|parent| {
            let namespace = text(parent, "namespace").unwrap_or_else(|| namespace.to_owned());
            Some((namespace, text(parent, "name")?))
        })
        .collect()
}

/// Returns whether a GatewayClass says that its routes can match by HTTP method.
pub(super) fn matches_methods(class: &DynamicObject) -> bool {
    // Objects with a name since v1.1 of the Gateway API, plain names before.
    list(class.data.pointer("/status/supportedFeatures"))
        .any(|feature| feature.get("name").unwrap_or(feature) == METHOD_MATCHING)
}
