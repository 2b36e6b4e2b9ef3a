//! What a promotion would be: the target as it stands, the release in its template, the plan.

use kube::api::{DynamicObject, ListParams};
use serde_json::Value;

use super::Refused;
use crate::host::protocol::Promote;
use crate::plan::{CLUSTER_DEFAULTS, Plan, Release};
use crate::platform::kubernetes::access::Access;
use crate::platform::kubernetes::router::{GatewayApi, PlainService, Router, services_of};
use crate::platform::kubernetes::snapshot::Snapshot;
use crate::platform::kubernetes::template::{self, Wanted};
use crate::platform::kubernetes::write::Kind;
use crate::policy::{self, Policy};
use crate::published::ResultLine;
use crate::rollout::ResultWord;

/// Objects of a kind in one list.
const LIST_MAX: u32 = 2_000;

/// A promotion that may be prepared.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) plan: Plan,
    pub(super) router: Router,
    pub(super) stable: Value,
    pub(super) release: Value,
    /// The target's `matchLabels` as a selector.
    pub(super) selector: String,
}

/// Returns the plan for a request.
pub(super) async fn admit(
    access: &Access,
    name: &str,
    promote: &Promote,
) -> Result<Admitted, Refused> {
    let target = target(access, name).await?;
    let stable = target.data.pointer("/spec/template").cloned().unwrap_or(Value::Null);
    let wanted = wanted(&promote.release)?;
    let release = template::with_release(&stable, &wanted)
        .map_err(|misfit| Refused::usage(misfit.to_string(), Some("CONTAINER=IMAGE".into())))?;
    let (policy, source) = policy_of(promote)?;
    let router = router(access, &policy, &target, &stable).await?;
    let named = |template: &Value, other: &Value| Release {
        name: template::name(template, Some(other)),
        hash: template::hash(template),
        irreversible: false,
    };
    let plan = Plan::new(
        &policy,
        source,
        format!("deployment/{name}"),
        named(&stable, &release),
        named(&release, &stable),
        CLUSTER_DEFAULTS,
    );
    if plan.release.hash == plan.stable.hash {
        return Err(unchanged(&plan));
    }
    Ok(Admitted { plan, router, stable, release, selector: selector(&target) })
}

async fn target(access: &Access, name: &str) -> Result<DynamicObject, Refused> {
    let what = format!("reading deployment/{name}");
    let found = access.ask(&what, access.objects(Kind::Deployment).get_opt(name)).await?;
    found.ok_or_else(|| {
        let message =
            format!("there is no deployment {name} in the namespace {}", access.namespace);
        Refused::usage(message, Some("name another with -n/--namespace or --context".into()))
    })
}

/// Reads `IMAGE` or `CONTAINER=IMAGE`, several separated by commas.
fn wanted(written: &str) -> Result<Vec<Wanted>, Refused> {
    let each = written.split(',').map(str::parse);
    each.collect::<Result<_, _>>().map_err(|message: String| Refused::usage(message, None))
}

fn policy_of(promote: &Promote) -> Result<(Policy, String), Refused> {
    let Some(text) = &promote.policy else {
        return Ok((policy::built_in(), "the built-in canary".into()));
    };
    let read = policy::read(text.source.as_ref(), text.text.as_bytes());
    let checked = read.map_err(|report| Refused::usage(report.to_string(), None))?;
    Ok((checked.value, text.source.clone()))
}

async fn router(
    access: &Access,
    policy: &Policy,
    target: &DynamicObject,
    template: &Value,
) -> Result<Router, Refused> {
    let mut seen = Snapshot { target: Some(target.clone()), ..Snapshot::default() };
    for service in list(access, Kind::Service).await? {
        if let (Some(name), Ok(service)) = (service.metadata.name.clone(), service.try_parse()) {
            seen.services.insert(name, service);
        }
    }
    let traffic = &policy.traffic;
    let services = services_of(&seen, template, &traffic.ignore_services);
    let services: Vec<String> = services.into_iter().map(str::to_owned).collect();
    if services.is_empty() {
        let hint = "gate moves the traffic of Services; a workload without any has none to move";
        let message = "no Service selects the pods of this Deployment";
        return Err(Refused::refused(message, Some(hint.into())));
    }
    match (traffic.router.as_deref(), &traffic.route) {
        (None | Some("service"), None) => Ok(Router::Service(PlainService { services })),
        (None | Some("gateway-api"), route) => {
            let routes = list(access, Kind::HttpRoute).await?;
            seen.routes = routes
                .into_iter()
                .filter_map(|route| Some((route.metadata.name.clone()?, route)))
                .collect();
            GatewayApi::new(&seen, template, route.as_deref(), &traffic.ignore_services)
                .map(Router::GatewayApi)
                .map_err(|message| Refused::refused(message, None))
        }
        (Some(other), _) => Err(Refused::usage(
            format!("there is no router {other}"),
            Some("`traffic.router` is service or gateway-api".into()),
        )),
    }
}

async fn list(access: &Access, kind: Kind) -> Result<Vec<DynamicObject>, Refused> {
    let params = ListParams::default().limit(LIST_MAX);
    let what = format!("listing {kind} objects");
    match access.ask(&what, access.objects(kind).list(&params)).await {
        Ok(found) => Ok(found.items),
        Err(error) if kind == Kind::HttpRoute && error.what.contains("404") => {
            let message = "the cluster has no HTTPRoute (gateway.networking.k8s.io/v1)";
            let hint = "install the Gateway API's CRDs, or use `traffic.router: service`";
            Err(Refused::refused(message, Some(hint.into())))
        }
        Err(error) => Err(error.into()),
    }
}

fn selector(target: &DynamicObject) -> String {
    let labels = target.data.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let each = labels.into_iter().flatten();
    let each = each.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    each.collect::<Vec<_>>().join(",")
}

fn unchanged(plan: &Plan) -> Refused {
    let reason = format!("{} is what stable runs already", plan.release.name);
    Refused::Result(Box::new(ResultLine::not_started(
        &plan.target,
        ResultWord::Unchanged,
        0,
        &plan.stable.name,
        &plan.release.name,
        reason,
        None,
    )))
}
