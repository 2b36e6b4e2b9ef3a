//! Which series of a metrics server are whose: a pod's own, or those of a Gateway's data plane, which counts for the
//! backends of routes. Pure: a function of the plan.
//!
//! Behind routes a row is not a pod but a proxy: the sum of what it counts for all backends of a revision. So a
//! backend of several rules or listeners is one, and a revision whose pods nobody reaches has failures too.

use super::{POD_LABEL, arms};
use crate::analysis::PerArm;
use crate::evidence::presets::{BackendNames, Preset, TARGET};
use crate::evidence::prometheus::Arms;
use crate::evidence::prometheus::expression::quoted;
use crate::plan::Plan;
use crate::platform::kubernetes::names;
use crate::platform::kubernetes::router::gateway_api::overlay;
use crate::platform::kubernetes::snapshot::Snapshot;

/// How a metrics server tells the revisions apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Apart {
    /// By the pods' names.
    Pods,
    /// By what the data plane of a Gateway calls their backends: matchers for each revision's.
    Backends(PerArm<String>),
}

/// Why a plan's preset can't tell the revisions apart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the preset {preset} tells revisions apart by the backends of HTTPRoutes, and here they share their Services"
)]
pub struct NoBackends {
    pub preset: &'static str,
}

impl NoBackends {
    /// What to do.
    pub const HINT: &'static str = "move the traffic by routes: `traffic: { router: gateway-api }`";
}

impl Apart {
    /// Returns how a plan's metrics server tells the revisions of a target in this namespace apart.
    ///
    /// # Errors
    /// See [`NoBackends`].
    pub fn of(plan: &Plan, namespace: &str) -> Result<Self, NoBackends> {
        let preset = plan.judge.preset.as_deref().and_then(Preset::named);
        let Some((preset, backends)) = preset.and_then(|one| Some((one, one.backends?))) else {
            return Ok(Self::Pods);
        };
        let routed = plan.traffic.as_ref().filter(|traffic| !traffic.routes.is_empty());
        let traffic = routed.ok_or(NoBackends { preset: preset.name })?;
        let laid_over = traffic.routes.iter().map(|route| overlay::name(route));
        let routes: Vec<String> = traffic.routes.iter().cloned().chain(laid_over).collect();
        let matcher = |services: &[String]| match backends {
            BackendNames::Traefik => {
                let names = quoted(&of_traefik(namespace, &routes, services));
                format!("{}=~{names}", preset.instance)
            }
        };
        let candidates: Vec<String> =
            traffic.services.iter().map(|service| names::candidate(service)).collect();
        Ok(Self::Backends(PerArm {
            baseline: matcher(&traffic.services),
            candidate: matcher(&candidates),
        }))
    }

    /// Returns the label whose values are the rows.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Pods => POD_LABEL,
            Self::Backends(_) => TARGET,
        }
    }

    /// Returns which series are whose now.
    #[must_use]
    pub fn arms(&self, seen: &Snapshot) -> Arms {
        match self {
            Self::Pods => arms(seen),
            Self::Backends(matchers) => {
                let mut matchers = matchers.clone();
                if seen.candidate_pods().next().is_none() {
                    matchers.candidate.clear();
                }
                Arms::Matchers(matchers)
            }
        }
    }
}

/// Returns a regular expression for what Traefik calls these Services as backends of these routes, whatever the
/// Gateway, the entry point, the rule and the place in it.
///
/// Source: `makeRouterName` and `loadService` in `pkg/provider/kubernetes/gateway` of Traefik 3.7.13.
fn of_traefik(namespace: &str, routes: &[String], services: &[String]) -> String {
    let routes: Vec<String> =
        routes.iter().map(|route| normalized(&format!("{namespace}-{route}"))).collect();
    let (routes, services) = (routes.join("|"), services.join("|"));
    format!(
        "httproute-({routes})-gw-.+-[0-9a-f]{{20}}-svc-{namespace}-({services})-[0-9]+@kubernetesgateway"
    )
}

/// What is neither letter nor digit becomes one dash: `Normalize` in `pkg/provider`.
fn normalized(name: &str) -> String {
    let parts = name.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{CLUSTER_DEFAULTS, Release, TrafficPlan};

    fn plan(preset: &str, routes: &[&str]) -> Plan {
        let mut policy = crate::policy::built_in();
        policy.evidence.source = Some("http://127.0.0.1:9090".into());
        policy.evidence.preset = Some(preset.into());
        let named =
            |name: &str| Release { name: name.into(), hash: name.into(), irreversible: false };
        let (old, new) = (named("v1"), named("v2"));
        let mut plan = Plan::new(&policy, "", "deployment/web", old, new, CLUSTER_DEFAULTS);
        plan.traffic = Some(TrafficPlan {
            router: "gateway-api".into(),
            services: vec!["web".into(), "web-admin".into()],
            routes: routes.iter().map(|route| (*route).to_owned()).collect(),
            set_apart: None,
            watchdog: None,
            testers: None,
        });
        plan
    }

    #[test]
    fn pods_are_told_apart_by_their_names() {
        for preset in ["plain", "envoy", "haproxy"] {
            assert_eq!(Apart::of(&plan(preset, &["web"]), "shop"), Ok(Apart::Pods), "{preset}");
        }
        assert_eq!(Apart::Pods.label(), "pod");
    }

    #[test]
    fn without_routes_traefik_has_one_backend_for_both() {
        let refused = Apart::of(&plan("traefik", &[]), "shop").unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the preset traefik tells revisions apart by the backends of HTTPRoutes, and here they share their Services"
        );
    }

    #[test]
    fn backends_are_named_by_route_and_service() {
        let apart = Apart::of(&plan("traefik", &["web.v1--eu"]), "shop").unwrap();
        assert_eq!(apart.label(), "instance");
        let Apart::Backends(PerArm { baseline, candidate }) = &apart else { panic!("{apart:?}") };
        assert_eq!(
            baseline,
            r#"service=~"httproute-(shop-web-v1-eu|shop-web-v1-eu-gate)-gw-.+-[0-9a-f]{20}-svc-shop-(web|web-admin)-[0-9]+@kubernetesgateway""#
        );
        assert_eq!(
            candidate,
            r#"service=~"httproute-(shop-web-v1-eu|shop-web-v1-eu-gate)-gw-.+-[0-9a-f]{20}-svc-shop-(web-candidate|web-admin-candidate)-[0-9]+@kubernetesgateway""#
        );
        let mut seen = Snapshot::default();
        let without = PerArm { baseline: baseline.clone(), candidate: String::new() };
        assert_eq!(apart.arms(&seen), Arms::Matchers(without));
        seen.candidates
            .insert("web-candidate-1".into(), k8s_openapi::api::core::v1::Pod::default());
        let both = PerArm { baseline: baseline.clone(), candidate: candidate.clone() };
        assert_eq!(apart.arms(&seen), Arms::Matchers(both));
    }
}
