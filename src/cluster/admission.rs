//! What a promotion would be: the target as it stands, the release in its template, the plan; and why
//! it does not start, if it does not.

use kube::api::{DynamicObject, ListParams};
use serde_json::Value;

use super::ledger::{Ledger, Templates};
use super::requests::Stopped;
use crate::clock::{Clock as _, SystemClock};
use crate::host::protocol::Promote;
use crate::plan::{CLUSTER_DEFAULTS, Plan, Release};
use crate::platform::kubernetes::access::Access;
use crate::platform::kubernetes::names;
use crate::platform::kubernetes::router::{GatewayApi, PlainService, Router, services_of};
use crate::platform::kubernetes::snapshot::{Rollout, Snapshot, controlled_by};
use crate::platform::kubernetes::template::{self, Wanted};
use crate::platform::kubernetes::write::Kind;
use crate::policy::{self, Policy};
use crate::published::ResultLine;
use crate::rollout::ResultWord;

/// Objects of a kind in one list.
const LIST_MAX: u32 = 2_000;
/// Kubernetes' own annotation of a ReplicaSet: which of the Deployment's revisions it is.
const REVISION_ANNOTATION: &str = "deployment.kubernetes.io/revision";

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
///
/// # Errors
/// What is asked for makes no sense, is refused, or is what stable runs already.
pub(super) async fn admit(
    access: &Access,
    name: &str,
    promote: &Promote,
    ledger: Option<&Ledger>,
) -> Result<Admitted, Stopped> {
    let target = target(access, name).await?;
    let stable = template_of(&target);
    let release = template::with_release(&stable, &wanted(&promote.release)?)
        .map_err(|misfit| Stopped::usage(misfit.to_string(), Some("CONTAINER=IMAGE".into())))?;
    let (policy, source) = match &promote.policy {
        Some(text) => {
            let read = policy::read(text.source.as_ref(), text.text.as_bytes());
            let checked = read.map_err(|report| Stopped::usage(report.to_string(), None))?;
            (checked.value, text.source.clone())
        }
        None => own_policy(&target)?,
    };
    let admitted = resolve(access, &target, &policy, source, release).await?;
    refuse(&admitted.plan, &target, ledger, promote.retry.as_deref())?;
    Ok(admitted)
}

/// Returns the plan of a way back to a revision that the Deployment had before.
///
/// # Errors
/// There is none, it is known to be bad, or as [`admit`].
pub(super) async fn admit_back(
    access: &Access,
    name: &str,
    to: Option<&str>,
    now: bool,
    ledger: Option<&Ledger>,
) -> Result<Admitted, Stopped> {
    let target = target(access, name).await?;
    let remembered = ledger.and_then(|ledger| ledger.remembered.way_back(to));
    let release = match remembered {
        Some(passed) => passed.template.clone(),
        None => from_history(access, &target, to).await?,
    };
    let (mut policy, mut source) = own_policy(&target)?;
    if now {
        policy = policy.at_once();
        source = "rollback --now".into();
    }
    let admitted = resolve(access, &target, &policy, source, release).await?;
    refuse(&admitted.plan, &target, ledger, None)?;
    Ok(admitted)
}

/// Returns the template of a ReplicaSet of the Deployment: the newest before the present one, or the
/// one that is named by its number, its image, or how its hash begins.
async fn from_history(
    access: &Access,
    target: &DynamicObject,
    to: Option<&str>,
) -> Result<Value, Stopped> {
    let uid = target.metadata.uid.as_deref().unwrap_or_default();
    let present = template::hash(&template_of(target));
    let mut past: Vec<(u64, Value)> = list(access, Kind::ReplicaSet)
        .await?
        .iter()
        .filter(|set| controlled_by(&set.metadata, uid))
        .filter_map(|set| Some((revision(set)?, template::of_set(set)?)))
        .filter(|(_, template)| template::hash(template) != present)
        .collect();
    past.sort_by_key(|(revision, _)| *revision);
    let is_meant = |(revision, template): &&(u64, Value)| {
        to.is_none_or(|to| {
            to.parse() == Ok(*revision)
                || template::images(template).iter().any(|image| image.image == to)
                || template::hash(template).starts_with(to)
        })
    };
    let found = past.iter().rev().find(is_meant).map(|(_, template)| template.clone());
    found.ok_or_else(|| {
        let known =
            past.iter().map(|(n, template)| format!("{n} ({})", template::name(template, None)));
        let known = known.collect::<Vec<_>>().join(", ");
        let hint = if known.is_empty() {
            "the Deployment has no earlier ReplicaSet".to_owned()
        } else {
            format!("it has {known}")
        };
        let message = match to {
            Some(to) => format!("there is no earlier revision {to:?}"),
            None => "there is nothing to go back to".to_owned(),
        };
        Stopped::refused(message, Some(hint))
    })
}

fn revision(set: &DynamicObject) -> Option<u64> {
    set.metadata.annotations.as_ref()?.get(REVISION_ANNOTATION)?.parse().ok()
}

async fn resolve(
    access: &Access,
    target: &DynamicObject,
    policy: &Policy,
    source: String,
    release: Value,
) -> Result<Admitted, Stopped> {
    let stable = template_of(target);
    let router = router(access, policy, target, &stable).await?;
    let named = |template: &Value, other: &Value| Release {
        name: template::name(template, Some(other)),
        hash: template::hash(template),
        irreversible: false,
    };
    let name = target.metadata.name.as_deref().unwrap_or_default();
    let (old, new) = (named(&stable, &release), named(&release, &stable));
    let target_name = format!("deployment/{name}");
    let mut plan = Plan::new(policy, source, target_name, old, new, CLUSTER_DEFAULTS);
    plan.traffic = Some(router.plan());
    Ok(Admitted { plan, router, stable, release, selector: selector(target) })
}

/// Refuses what must not start.
fn refuse(
    plan: &Plan,
    target: &DynamicObject,
    ledger: Option<&Ledger>,
    retry: Option<&str>,
) -> Result<(), Stopped> {
    let (result, code, reason, next) = if plan.release.hash == plan.stable.hash {
        let reason = format!("{} is what stable runs already", plan.release.name);
        (ResultWord::Unchanged, 0, reason, None)
    } else if let Some(bad) =
        ledger.and_then(|ledger| ledger.remembered.condemned(&plan.release.hash))
        && retry.is_none()
    {
        let at = bad.at.format("%Y-%m-%d %H:%M:%S UTC");
        let reason = format!("{} is in quarantine since {at}: {}", plan.release.name, bad.cause);
        let (target, release) = (&plan.target, &plan.release.name);
        let next =
            format!("gate promote {target} --release {release} --retry 'why it is good now'");
        (ResultWord::Refused, 7, reason, Some(next))
    } else if let Some(until) = plan.frozen_until(SystemClock::start().now()) {
        let until = until.format("%Y-%m-%d %H:%M:%S UTC");
        (ResultWord::Refused, 7, format!("a freeze is on until {until}"), None)
    } else if Rollout::of(target).available == 0 {
        let reason = "stable has no ready copy: there would be nothing to go back to".to_owned();
        (ResultWord::Refused, 7, reason, None)
    } else {
        return Ok(());
    };
    Err(Stopped::Result(Box::new(ResultLine::not_started(
        &plan.target,
        result,
        code,
        &plan.stable.name,
        &plan.release.name,
        reason,
        next,
    ))))
}

/// Returns how a promotion that goes on moves traffic, and the target's selector.
///
/// # Errors
/// The Deployment can't be read, or is gone.
pub(super) async fn router_again(
    access: &Access,
    name: &str,
    plan: &Plan,
) -> Result<(Router, String), Stopped> {
    let target = target(access, name).await?;
    let router =
        plan.traffic.as_ref().and_then(Router::of_plan).ok_or_else(|| {
            Stopped::refused("its record does not say how it moves traffic", None)
        })?;
    Ok((router, selector(&target)))
}

/// Returns whether a release is the one that a promotion was begun with.
///
/// # Errors
/// It does not fit the template.
pub(super) fn is_release(templates: &Templates, written: &str) -> Result<bool, Stopped> {
    let release = template::with_release(&templates.stable, &wanted(written)?)
        .map_err(|misfit| Stopped::usage(misfit.to_string(), Some("CONTAINER=IMAGE".into())))?;
    Ok(template::hash(&release) == template::hash(&templates.release))
}

/// Returns the Deployment.
///
/// # Errors
/// It can't be read, or is not there.
pub(super) async fn target(access: &Access, name: &str) -> Result<DynamicObject, Stopped> {
    let what = format!("reading deployment/{name}");
    let found = access.ask(&what, access.objects(Kind::Deployment).get_opt(name)).await?;
    found.ok_or_else(|| {
        let message =
            format!("there is no deployment {name} in the namespace {}", access.namespace);
        Stopped::usage(message, Some("name another with -n/--namespace or --context".into()))
    })
}

fn template_of(target: &DynamicObject) -> Value {
    target.data.pointer("/spec/template").cloned().unwrap_or(Value::Null)
}

/// Returns the policy that the Deployment's annotation names, else the built-in one, and its source.
fn own_policy(target: &DynamicObject) -> Result<(Policy, String), Stopped> {
    let annotations = target.metadata.annotations.as_ref();
    let Some(name) = annotations.and_then(|all| all.get(names::POLICY)) else {
        return Ok((policy::built_in(), "the built-in canary".into()));
    };
    let source = format!("{name} (shipped with gate, named by the annotation {})", names::POLICY);
    policy::shipped(name).map(|policy| (policy, source)).ok_or_else(|| {
        let message = format!("the annotation {} names no shipped policy: {name}", names::POLICY);
        let hint = "canary, blue-green, cautious, seed, all-conditions; or give `--policy FILE`";
        Stopped::usage(message, Some(hint.into()))
    })
}

/// Reads `IMAGE` or `CONTAINER=IMAGE`, several separated by commas.
fn wanted(written: &str) -> Result<Vec<Wanted>, Stopped> {
    let each = written.split(',').map(str::parse);
    each.collect::<Result<_, _>>().map_err(|message: String| Stopped::usage(message, None))
}

async fn router(
    access: &Access,
    policy: &Policy,
    target: &DynamicObject,
    template: &Value,
) -> Result<Router, Stopped> {
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
        return Err(Stopped::refused(message, Some(hint.into())));
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
                .map_err(|message| Stopped::refused(message, None))
        }
        (Some(other), _) => Err(Stopped::usage(
            format!("there is no router {other}"),
            Some("`traffic.router` is service or gateway-api".into()),
        )),
    }
}

async fn list(access: &Access, kind: Kind) -> Result<Vec<DynamicObject>, Stopped> {
    let params = ListParams::default().limit(LIST_MAX);
    let what = format!("listing {kind} objects");
    match access.ask(&what, access.objects(kind).list(&params)).await {
        Ok(found) => Ok(found.items),
        Err(error) if kind == Kind::HttpRoute && error.what.contains("404") => {
            let message = "the cluster has no HTTPRoute (gateway.networking.k8s.io/v1)";
            let hint = "install the Gateway API's CRDs, or use `traffic.router: service`";
            Err(Stopped::refused(message, Some(hint.into())))
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
