//! What is read once, beside the snapshot. A read that is refused or fails stops nothing: it is told.

use std::collections::BTreeMap;
use std::fmt::Debug;

use futures::future::join_all;
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, ResourceAttributes, SubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, PostParams};
use serde::de::DeserializeOwned;

use super::{Found, Question, placement, routes, workload};
use crate::platform::PlatformError;
use crate::platform::kubernetes::access::{Access, told};
use crate::platform::kubernetes::router::Router;

/// Objects of one kind that are read.
const OBJECTS_MAX: u32 = 500;
/// PersistentVolumeClaims of one template that are read.
const CLAIMS_MAX: usize = 8;

/// Something that was to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked<T> {
    Seen(T),
    /// Nothing asks for it, or the API server does not have the kind.
    Nothing,
    /// Why not.
    Not(String),
}

impl<T> Looked<T> {
    pub const fn seen(&self) -> Option<&T> {
        match self {
            Self::Seen(seen) => Some(seen),
            Self::Nothing | Self::Not(_) => None,
        }
    }
}

/// What stands around a target.
#[derive(Clone, Debug)]
pub struct Surroundings {
    pub nodes: Looked<Vec<Node>>,
    pub budgets: Looked<Vec<PodDisruptionBudget>>,
    pub policies: Looked<Vec<NetworkPolicy>>,
    pub quotas: Looked<Vec<ResourceQuota>>,
    /// The Prometheus operator's.
    pub monitors: Looked<Vec<DynamicObject>>,
    /// Access modes of the volumes that the release's pods mount, by claim; those that could be read.
    pub claims: BTreeMap<String, Vec<String>>,
    /// The release's pods may write leases.
    pub leases: Looked<bool>,
    /// Kubernetes 1.N
    pub minor: Looked<u32>,
    /// The API server has HTTPRoutes.
    pub routes_served: Looked<bool>,
    /// A route with matches by HTTP method can be laid over another one.
    pub method_matching: Looked<bool>,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self {
            nodes: Looked::Nothing,
            budgets: Looked::Nothing,
            policies: Looked::Nothing,
            quotas: Looked::Nothing,
            monitors: Looked::Nothing,
            claims: BTreeMap::new(),
            leases: Looked::Nothing,
            minor: Looked::Nothing,
            routes_served: Looked::Nothing,
            method_matching: Looked::Nothing,
        }
    }
}

impl Surroundings {
    /// Reads them, all at the same time.
    pub async fn look(access: &Access, asked: &Question<'_>) -> Self {
        let (client, namespace) = (&access.client, access.namespace.as_str());
        let spec = asked.pods().and_then(|pods| pods.spec).unwrap_or_default();
        let monitor = ApiResource {
            group: "monitoring.coreos.com".into(),
            version: "v1".into(),
            api_version: "monitoring.coreos.com/v1".into(),
            kind: "PodMonitor".into(),
            plural: "podmonitors".into(),
        };
        let with_nodes = placement::asks_for_nodes(&spec);
        let nodes = async {
            if !with_nodes {
                return Looked::Nothing;
            }
            list(access, "nodes", Api::all(client.clone())).await
        };
        let account = spec.service_account_name.as_deref().unwrap_or("default");
        let claims: Vec<&str> = workload::claims(&spec).take(CLAIMS_MAX).collect();
        let (nodes, budgets, policies, quotas, monitors, claims, leases, minor, routes) = tokio::join!(
            nodes,
            list(access, "PodDisruptionBudgets", Api::namespaced(client.clone(), namespace)),
            list(access, "NetworkPolicies", Api::namespaced(client.clone(), namespace)),
            list(access, "ResourceQuotas", Api::namespaced(client.clone(), namespace)),
            list(access, "PodMonitors", Api::namespaced_with(client.clone(), namespace, &monitor)),
            join_all(claims.into_iter().map(|claim| modes(access, claim))),
            leases(access, account),
            minor(access),
            routes(access, asked),
        );
        let claims = claims.into_iter().flatten().collect();
        let (routes_served, method_matching) = routes;
        Self {
            nodes,
            budgets,
            policies,
            quotas,
            monitors,
            claims,
            leases,
            minor,
            routes_served,
            method_matching,
        }
    }

    /// Says what could not be looked at, and so is not judged.
    pub(super) fn not_looked(&self, found: &mut Found) {
        let why = [
            not(&self.nodes),
            not(&self.budgets),
            not(&self.policies),
            not(&self.quotas),
            not(&self.monitors),
            not(&self.minor),
            not(&self.routes_served),
            not(&self.method_matching),
        ];
        let why: Vec<&str> = why.into_iter().flatten().collect();
        if !why.is_empty() {
            found.note("not_looked", format!("could not look at {}", why.join(", ")));
        }
    }
}

fn not<T>(looked: &Looked<T>) -> Option<&str> {
    match looked {
        Looked::Not(why) => Some(why),
        Looked::Seen(_) | Looked::Nothing => None,
    }
}

async fn list<K>(access: &Access, what: &str, objects: Api<K>) -> Looked<Vec<K>>
where
    K: Clone + DeserializeOwned + Debug,
{
    let asked = ListParams::default().limit(OBJECTS_MAX);
    answered(access, what, objects.list(&asked)).await.map_seen(|list| list.items)
}

/// Waits for an answer; that there is no such kind is one, too.
async fn answered<T>(
    access: &Access,
    what: &str,
    answer: impl Future<Output = kube::Result<T>>,
) -> Looked<T> {
    let answer = async {
        match answer.await {
            Ok(seen) => Ok(Looked::Seen(seen)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Looked::Nothing),
            Err(kube::Error::Api(status)) if status.code == 403 => {
                Ok(Looked::Not(format!("{what} (this account may not)")))
            }
            Err(error) => Ok(Looked::Not(told(what, &error).what)),
        }
    };
    access.ask(what, answer).await.unwrap_or_else(|PlatformError { what }| Looked::Not(what))
}

impl<T> Looked<T> {
    fn map_seen<U>(self, map: impl FnOnce(T) -> U) -> Looked<U> {
        match self {
            Self::Seen(seen) => Looked::Seen(map(seen)),
            Self::Nothing => Looked::Nothing,
            Self::Not(why) => Looked::Not(why),
        }
    }
}

async fn modes(access: &Access, claim: &str) -> Option<(String, Vec<String>)> {
    let claims: Api<PersistentVolumeClaim> =
        Api::namespaced(access.client.clone(), &access.namespace);
    let found = answered(access, claim, claims.get(claim)).await;
    let modes = found.seen()?.spec.as_ref()?.access_modes.clone()?;
    Some((claim.to_owned(), modes))
}

/// Whether a service account may write leases. A hint only: not being allowed to ask is no answer.
async fn leases(access: &Access, account: &str) -> Looked<bool> {
    let namespace = &access.namespace;
    let mut review = LocalSubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:{namespace}:{account}")),
            groups: Some(vec![
                "system:serviceaccounts".into(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".into(),
            ]),
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(namespace.clone()),
                verb: Some("update".into()),
                group: Some("coordination.k8s.io".into()),
                resource: Some("leases".into()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..LocalSubjectAccessReview::default()
    };
    review.metadata.namespace = Some(namespace.clone());
    let reviews: Api<LocalSubjectAccessReview> = Api::namespaced(access.client.clone(), namespace);
    let asked = PostParams::default();
    let answer = answered(access, "leases", reviews.create(&asked, &review)).await;
    answer.map_seen(|review| review.status.is_some_and(|status| status.allowed))
}

async fn minor(access: &Access) -> Looked<u32> {
    let answer = answered(access, "the version", access.client.apiserver_version()).await;
    // Some distributions write `34+`.
    let number = |minor: &str| minor.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok();
    match answer.map_seen(|info| number(&info.minor)) {
        Looked::Seen(Some(minor)) => Looked::Seen(minor),
        Looked::Seen(None) | Looked::Nothing => Looked::Nothing,
        Looked::Not(why) => Looked::Not(why),
    }
}

/// Whether there are HTTPRoutes, and, where one is under GitOps, whether another can be laid over it.
async fn routes(access: &Access, asked: &Question<'_>) -> (Looked<bool>, Looked<bool>) {
    let Router::GatewayApi(router) = asked.router else {
        return (Looked::Nothing, Looked::Nothing);
    };
    let group = access.client.list_api_group_resources("gateway.networking.k8s.io/v1");
    let served = match answered(access, "the Gateway API", group).await {
        Looked::Seen(list) => Looked::Seen(list.resources.iter().any(|r| r.name == "httproutes")),
        Looked::Nothing => Looked::Seen(false),
        Looked::Not(why) => Looked::Not(why),
    };
    let overlaid = routes::overlaid(asked.seen, router);
    let mut gateways = routes::gateways(&overlaid, &access.namespace);
    let Some((namespace, name)) = gateways.pop_first() else { return (served, Looked::Nothing) };
    (served, method_matching(access, &namespace, &name).await)
}

async fn method_matching(access: &Access, namespace: &str, gateway: &str) -> Looked<bool> {
    let resource = |kind: &str, plural: &str| ApiResource {
        group: "gateway.networking.k8s.io".into(),
        version: "v1".into(),
        api_version: "gateway.networking.k8s.io/v1".into(),
        kind: kind.into(),
        plural: plural.into(),
    };
    let client = access.client.clone();
    let gateways: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), namespace, &resource("Gateway", "gateways"));
    let what = format!("Gateway {namespace}/{gateway}");
    let found = answered(access, &what, gateways.get(gateway)).await;
    let class = found.map_seen(|gateway| {
        gateway.data.pointer("/spec/gatewayClassName")?.as_str().map(str::to_owned)
    });
    let class = match class {
        Looked::Seen(Some(class)) => class,
        Looked::Seen(None) | Looked::Nothing => return Looked::Nothing,
        Looked::Not(why) => return Looked::Not(why),
    };
    let classes: Api<DynamicObject> =
        Api::all_with(client, &resource("GatewayClass", "gatewayclasses"));
    let answer = answered(access, &format!("GatewayClass {class}"), classes.get(&class)).await;
    answer.map_seen(|class| routes::matches_methods(&class))
}
