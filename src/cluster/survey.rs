//! The target as it stands before a promotion: read once by lists, or by the watches that drive the promotion.

use kube::ResourceExt as _;
use kube::api::{DynamicObject, ListParams};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::requests::Stopped;
use crate::platform::PlatformError;
use crate::platform::kubernetes::access::{Access, told};
use crate::platform::kubernetes::snapshot::Snapshot;
use crate::platform::kubernetes::target::surveyed;
use crate::platform::kubernetes::watching::Watched;
use crate::platform::kubernetes::write::Kind;

/// Objects of a kind in one list.
const LIST_MAX: u32 = 2_000;
/// A list may take so long.
const LIST_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// Reads the Deployment and what belongs to it; routes only where they are needed.
///
/// # Errors
/// The cluster can't be read, or there is no such Deployment.
pub(super) async fn survey(access: &Access, name: &str, routes: bool) -> Result<Snapshot, Stopped> {
    let target = target(access, name).await?;
    listed(access, target, routes).await
}

/// As [`survey`], by watches that go on: what is found is not read again where a promotion begins.
///
/// # Errors
/// As [`survey`].
pub(super) async fn watched(
    access: &Access,
    name: &str,
    routes: bool,
) -> Result<(Snapshot, Watched), Stopped> {
    let target = target(access, name).await?;
    let watched = Watched::start(access, surveyed(&selector(&target), routes));
    let seen = match watched.brought(LIST_TIMEOUT).await {
        Some(seen) => Snapshot { target: Some(target), ..Snapshot::clone(&seen) },
        // What is wrong is for the lists to say.
        None => listed(access, target, routes).await?,
    };
    Ok((seen, watched))
}

async fn listed(access: &Access, target: DynamicObject, routes: bool) -> Result<Snapshot, Stopped> {
    let own = selector(&target);
    let (sets, pods, services, scalers) = tokio::try_join!(
        list(access, Kind::ReplicaSet, &own),
        list(access, Kind::Pod, &own),
        list(access, Kind::Service, ""),
        list(access, Kind::HorizontalPodAutoscaler, ""),
    )?;
    let routes = if routes { list(access, Kind::HttpRoute, "").await? } else { Vec::new() };
    let named = |objects: Vec<DynamicObject>| {
        objects.into_iter().map(|object| (object.name_any(), object)).collect()
    };
    Ok(Snapshot {
        target: Some(target),
        replica_sets: named(sets),
        pods: read_as(pods),
        services: read_as(services),
        routes: named(routes),
        autoscalers: named(scalers),
        ..Snapshot::default()
    })
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

/// Returns a Deployment's `matchLabels` as a selector.
pub(super) fn selector(target: &DynamicObject) -> String {
    let labels = target.data.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let each = labels.into_iter().flatten();
    let each = each.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    each.collect::<Vec<_>>().join(",")
}

async fn list(access: &Access, kind: Kind, labels: &str) -> Result<Vec<DynamicObject>, Stopped> {
    let params = ListParams::default().labels(labels).limit(LIST_MAX);
    let listed = tokio::time::timeout(LIST_TIMEOUT, access.objects(kind).list(&params)).await;
    match listed {
        Ok(Ok(found)) => Ok(found.items),
        Ok(Err(kube::Error::Api(status))) if kind == Kind::HttpRoute && status.is_not_found() => {
            let message = "the cluster has no HTTPRoute (gateway.networking.k8s.io/v1)";
            let hint = "install the Gateway API's CRDs, or use `traffic.router: service`";
            Err(Stopped::refused(message, Some(hint.into())))
        }
        Ok(Err(error)) => Err(told(&format!("listing {kind} objects"), &error).into()),
        Err(_) => Err(PlatformError { what: format!("listing {kind} objects: no answer") }.into()),
    }
}

/// One that this version can't read is as good as not there.
fn read_as<K: kube::Resource<DynamicType = ()> + DeserializeOwned>(
    objects: Vec<DynamicObject>,
) -> std::collections::BTreeMap<String, K> {
    let each = objects.into_iter();
    each.filter_map(|object| Some((object.name_any(), object.try_parse().ok()?))).collect()
}
