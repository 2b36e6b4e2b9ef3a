//! The Services that users come through, and what they make of a share.

use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use serde_json::json;

use super::{Found, Level, Question};
use crate::platform::kubernetes::router::{Isolation, Router, services_of};
use crate::platform::kubernetes::snapshot::Rollout;
use crate::policy::Strategy;
use crate::share::Share;

/// A real share may be larger than the asked one by so much without a warning, in basis points.
const MORE_POINTS: u16 = 500;
/// A difference of so many basis points is said.
const DIFFERENT_POINTS: u16 = 100;

pub(super) fn check(asked: &Question<'_>, found: &mut Found) {
    let ignored = &asked.policy.traffic.ignore_services;
    let stable = json!({ "metadata": { "labels": asked.stable_labels() } });
    let matching = services_of(asked.seen, &stable, ignored);
    if matching.is_empty() {
        none(asked, found);
    }
    for name in &matching {
        let Some(spec) = asked.seen.services.get(*name).and_then(|service| service.spec.as_ref())
        else {
            continue;
        };
        found.note("service", format!("users come through Service {name}"));
        each(name, spec, found);
        if matches!(asked.router, Router::Service(_)) {
            plain(asked, name, spec, found);
        }
    }
    for name in ignored.iter().filter(|name| !asked.seen.services.contains_key(*name)) {
        let what = format!("there is no Service {name}, which the policy says to ignore");
        found.warn("service", what, "take it out of `ignore_services`");
    }
    match asked.router {
        Router::Service(_) => {
            kept_alive(found);
            shares(asked, found);
        }
        Router::GatewayApi(_) => leaks(asked, found),
    }
}

fn none(asked: &Question<'_>, found: &mut Found) {
    let of_same_name = asked.seen.services.get(asked.target);
    let why = match of_same_name.and_then(|service: &Service| service.spec.as_ref()) {
        Some(spec) if spec.type_.as_deref() == Some("ExternalName") => {
            format!(" (Service {} is an ExternalName: there is nothing to split)", asked.target)
        }
        Some(spec) if spec.selector.as_ref().is_none_or(|selector| selector.is_empty()) => {
            format!(" (Service {} has no selector: there is nothing to split)", asked.target)
        }
        Some(_) | None => String::new(),
    };
    let what = format!("no Service selects the pods of {}{why}", asked.target);
    found.refuse(
        "service",
        what,
        "name the Deployment that users reach through a Service with a selector",
    );
}

fn each(name: &str, spec: &ServiceSpec, found: &mut Found) {
    if spec.cluster_ip.as_deref() == Some("None") {
        found.warn(
            "headless",
            format!("Service {name} is headless: its clients choose a pod by themselves, so the share they see is their own"),
            "judge by what is seen, not by what is asked; or give them a Service with an address",
        );
    }
}

/// What makes the number of pods another thing than the share of requests.
fn plain(asked: &Question<'_>, name: &str, spec: &ServiceSpec, found: &mut Found) {
    if spec.publish_not_ready_addresses == Some(true) {
        found.refuse(
            "not_ready_addresses",
            format!("Service {name} has publishNotReadyAddresses: a candidate's pod would get traffic from its first second"),
            format!("take that out of it, or name {name} in `traffic.ignore_services` if no user comes through it"),
        );
    }
    let partial =
        asked.plan.stages.iter().any(|stage| !stage.share.is_zero() && !stage.share.is_full());
    if spec.session_affinity.as_deref() == Some("ClientIP") && partial {
        found.refuse(
            "session_affinity",
            format!("Service {name} binds each client to one pod (sessionAffinity: ClientIP): a share between 0 and 100 % is what its clients make of it"),
            "use `strategy: blue-green`, or sessionAffinity: None, or a router that works per request",
        );
    }
    let mut local = Vec::new();
    if spec.internal_traffic_policy.as_deref() == Some("Local") {
        local.push("internalTrafficPolicy: Local".to_owned());
    }
    if spec.external_traffic_policy.as_deref() == Some("Local") {
        local.push("externalTrafficPolicy: Local".to_owned());
    }
    local.extend(spec.traffic_distribution.iter().map(|how| format!("trafficDistribution: {how}")));
    if !local.is_empty() && partial {
        found.warn(
            "locality",
            format!(
                "Service {name} prefers near pods ({}): the share differs by node and zone",
                local.join(", ")
            ),
            "judge by what is seen, not by what is asked",
        );
    }
    if spec.type_.as_deref() == Some("LoadBalancer") {
        found.note(
            "load_balancer",
            format!("Service {name} is behind a load balancer: one that targets pods follows after tens of seconds"),
        );
    }
}

fn kept_alive(found: &mut Found) {
    found.note(
        "kept_alive",
        "a connection that is kept alive stays on the version it began with, until that version's pods end: such clients prove nothing before adoption",
    );
}

/// Says which share each stage really gets with this number of pods.
fn shares(asked: &Question<'_>, found: &mut Found) {
    let Some(target) = &asked.seen.target else { return };
    let stable = Rollout::of(target).wanted;
    for (at, stage) in asked.plan.stages.iter().enumerate() {
        let copies = asked.router.copies(stage.share, stable);
        let real = by_pods(copies, stable);
        if stage.share.is_zero()
            || stage.share.is_full()
            || asked.plan.strategy == Strategy::BlueGreen
        {
            continue;
        }
        if real.basis_points().abs_diff(stage.share.basis_points()) < DIFFERENT_POINTS {
            continue;
        }
        let level = match real.basis_points().saturating_sub(stage.share.basis_points()) {
            ..MORE_POINTS => Level::Note,
            MORE_POINTS.. => Level::Warn,
        };
        let what = format!(
            "stage {} asks for {}: with {copies} of {} pods it really gets {real}",
            at + 1,
            stage.share,
            copies + stable
        );
        let remedy =
            "run more copies of stable, or use a router that works per request (`gateway-api`)";
        found.add(level, "share", what, (level == Level::Warn).then(|| remedy.to_owned()));
    }
}

/// The share of requests that so many pods beside stable's get.
fn by_pods(candidate: u32, stable: u32) -> Share {
    let all = f64::from(candidate) + f64::from(stable);
    Share::from_fraction(f64::from(candidate) / all).unwrap_or(Share::ZERO)
}

/// With label isolation every Service that would select the candidate's pods gives them traffic at 0 %.
fn leaks(asked: &Question<'_>, found: &mut Found) {
    let Isolation::Label { key, .. } = asked.router.isolation() else { return };
    let candidate = json!({ "metadata": { "labels": asked.candidate_labels() } });
    for name in services_of(asked.seen, &candidate, &asked.policy.traffic.ignore_services) {
        found.refuse(
            "service",
            format!("Service {name} does not select by the label {key}: it would send to a candidate's pod whatever its share"),
            format!("add {key} to its selector, or name it in `traffic.ignore_services`"),
        );
    }
    found.note(
        "direct_clients",
        "clients that use a Service directly never see the candidate: they get the release at adoption, unproven by their own traffic",
    );
}

#[cfg(test)]
mod tests {
    use super::{Share, by_pods};

    #[test]
    fn pods_are_a_share() {
        for (candidate, stable, percent) in
            [(1, 4, 20.0), (4, 4, 50.0), (1, 19, 5.0), (0, 4, 0.0), (3, 0, 100.0), (0, 0, 0.0)]
        {
            assert_eq!(by_pods(candidate, stable), Share::from_percent(percent).unwrap());
        }
    }
}
