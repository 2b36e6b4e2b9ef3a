//! Who else writes what gate is about to write.

use kube::api::DynamicObject;

use super::{Found, Level, Question, Surroundings, routes};
use crate::platform::kubernetes::autoscaler;
use crate::platform::kubernetes::gitops::{Claim, Field, Threat, claim};
use crate::platform::kubernetes::router::Router;
use crate::platform::kubernetes::write::Kind;

pub(super) fn check(asked: &Question<'_>, around: &Surroundings, found: &mut Found) {
    let target = asked.seen.target.as_ref();
    if let Some(claim) = target.and_then(|it| claim(Kind::Deployment, it, Field::Images)) {
        add(asked, &claim, found);
    }
    if let Router::GatewayApi(router) = asked.router {
        for route in router.routes.iter().filter_map(|name| asked.seen.routes.get(name)) {
            if let Some(claim) = claim(Kind::HttpRoute, route, Field::BackendRefs) {
                of_route(asked, around, route, &claim, found);
            }
        }
    }
    let Some(autoscaler) = autoscaler::of(asked.seen, asked.target) else { return };
    keda(autoscaler, found);
    let kind = Kind::HorizontalPodAutoscaler;
    let claim = claim(kind, autoscaler, Field::ScaleDown);
    // A tool that applies on the server and leaves the field out leaves gate's in.
    if let Some(claim) = claim.filter(|claim| claim.threat == Threat::PutBack) {
        found.warn(
            "gitops",
            claim.what(),
            "without it stable may be scaled down while the candidate has its traffic: leave `behavior` out of Git, or have it ignored there",
        );
    }
}

fn add(asked: &Question<'_>, claim: &Claim, found: &mut Found) {
    let level = match claim.threat {
        Threat::PutBack if asked.gitops_ok => Level::Warn,
        Threat::PutBack => Level::Refuse,
        Threat::NextApply | Threat::Left => Level::Note,
    };
    found.add(level, "gitops", claim.what(), claim.remedy());
}

/// A route that a tool puts back is not edited: gate lays its own over it, where that is possible.
fn of_route(
    asked: &Question<'_>,
    around: &Surroundings,
    route: &DynamicObject,
    claim: &Claim,
    found: &mut Found,
) {
    if claim.threat != Threat::PutBack {
        add(asked, claim, found);
        return;
    }
    let name = &claim.name;
    let methods = around.method_matching.seen() != Some(&false);
    if methods && routes::can_be_overlaid(route) {
        let what = format!(
            "HTTPRoute {name} is managed by {}: gate does not edit it, and lays a more specific one of its own over it",
            claim.tool
        );
        found.note("gitops", what);
        return;
    }
    let why = if methods {
        "its rules match by method already"
    } else {
        "its gateway does not support HTTPRouteMethodMatching"
    };
    let what = format!("{}; a route of gate's own can't be laid over it: {why}", claim.what());
    let level = if asked.gitops_ok { Level::Warn } else { Level::Refuse };
    found.add(level, "gitops", what, claim.remedy());
}

fn keda(autoscaler: &DynamicObject, found: &mut Found) {
    let owners = autoscaler.metadata.owner_references.as_deref().unwrap_or_default();
    if let Some(owner) = owners.iter().find(|owner| owner.kind == "ScaledObject") {
        found.warn(
            "autoscaler",
            format!("the autoscaler is written by KEDA's ScaledObject {}, which may scale stable down while the candidate has its traffic", owner.name),
            "set `advanced.horizontalPodAutoscalerConfig.behavior.scaleDown.selectPolicy: Disabled` there, or `autoscaling.keda.sh/paused-scale-in`, while it is released",
        );
    }
}
