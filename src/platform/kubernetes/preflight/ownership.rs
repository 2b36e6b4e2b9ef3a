//! Who else writes what gate is about to write.

use kube::api::DynamicObject;

use super::{Found, Level, Question, Surroundings};
use crate::platform::kubernetes::autoscaler;
use crate::platform::kubernetes::gitops::{Claim, Field, Threat, claim};
use crate::platform::kubernetes::router::Router;
use crate::platform::kubernetes::router::gateway_api::overlay;
use crate::platform::kubernetes::write::Kind;

pub(super) fn check(asked: &Question<'_>, around: &Surroundings, found: &mut Found) {
    let target = asked.seen.target.as_ref();
    if let Some(claim) = target.and_then(|it| claim(Kind::Deployment, it, Field::Images)) {
        add(asked, &claim, found);
    }
    if let Router::GatewayApi(router) = asked.router {
        for route in router.routes.iter().filter_map(|name| asked.seen.routes.get(name)) {
            if overlay::is_needed(route) {
                laid_over(asked, around, route, found);
            } else if let Some(claim) = claim(Kind::HttpRoute, route, Field::BackendRefs) {
                add(asked, &claim, found);
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

/// A route that somebody keeps applying is not edited: gate lays its own over it, where that is possible.
fn laid_over(
    asked: &Question<'_>,
    around: &Surroundings,
    route: &DynamicObject,
    found: &mut Found,
) {
    let name = route.metadata.name.as_deref().unwrap_or_default();
    if around.method_matching.seen() == Some(&false) {
        found.refuse(
            "gitops",
            format!("HTTPRoute {name} is applied by somebody else again and again, and its gateway does not support HTTPRouteMethodMatching, which a route of gate's over it needs"),
            "use a gateway that does, or `traffic.router: service`",
        );
    } else if let Some(why) = overlay::refuses(route, asked.seen) {
        found.refuse("gitops", why, "change that route, or use `traffic.router: service`");
    } else {
        let what = format!(
            "HTTPRoute {name} is applied by somebody else again and again: gate does not edit it, and lays a more specific one of its own over it"
        );
        found.note("gitops", what);
    }
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
