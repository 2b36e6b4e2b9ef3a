//! What gate may do, and the Role that lets it: exactly what one promotion of one target needs.
//!
//! Kubernetes can restrict by name what is read, changed or deleted, not what is created or listed; so
//! the Role names its objects wherever that is possible.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};

use super::access::Access;
use super::names;
use super::router::Router;
use super::router::gateway_api::{overlay, testers};
use super::write::Kind;
use crate::platform::PlatformError;

/// Questions to the API server at one time.
const ASKED_AT_ONCE: usize = 8;

/// One thing that may be done.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// Empty: the core API.
    pub group: String,
    /// In the plural, with its subresource: `pods/log`.
    pub resource: String,
    /// Empty: any.
    pub names: Vec<String>,
    pub verb: &'static str,
}

/// What a promotion is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scope<'a> {
    pub target: &'a str,
    pub router: &'a Router,
    /// Stable has a HorizontalPodAutoscaler of this name.
    pub autoscaler: Option<&'a str>,
    /// Counters or probes come through the API server's proxy to the pods.
    pub pods_proxy: bool,
    /// A pod guards the promotion, with a Role of its own.
    pub watchdog: bool,
}

/// Returns what a promotion needs, in order and each once.
#[must_use]
pub fn needed(scope: &Scope<'_>) -> Vec<Permission> {
    let mut list = Needs::default();
    let candidate = names::candidate(scope.target);
    // A watch of one name is allowed by that name.
    list.add(Kind::Deployment, "", &[scope.target, &candidate], &["list", "watch"]);
    list.watched(Kind::ReplicaSet);
    list.watched(Kind::Pod);
    list.watched(Kind::Service);
    list.watched(Kind::EndpointSlice);
    list.add(Kind::Deployment, "", &[scope.target, &candidate], &["get", "patch"]);
    list.made(Kind::Deployment, &candidate);
    list.add(Kind::Pod, "", &[], &["deletecollection"]);
    list.add(Kind::Pod, "/log", &[], &["get"]);
    if scope.pods_proxy {
        list.add(Kind::Pod, "/proxy", &[], &["get"]);
    }
    list.record(&names::record(scope.target));
    match scope.router {
        Router::Service(router) => {
            list.add(Kind::Pod, "/status", &[], &["patch"]);
            list.add(Kind::Service, "", &texts(&router.services), &["get", "patch"]);
        }
        Router::GatewayApi(router) => {
            list.watched(Kind::HttpRoute);
            list.add(Kind::HttpRoute, "", &texts(&router.routes), &["get", "patch"]);
            // A route of gate's own lies over one that somebody keeps applying.
            for route in &router.routes {
                list.made(Kind::HttpRoute, &overlay::name(route));
                if router.testers.is_some() {
                    list.made(Kind::HttpRoute, &testers::name(route));
                }
            }
            for service in &router.services {
                list.made(Kind::Service, &names::candidate(service));
            }
        }
    }
    // Watched in any case: whether there is one is known by looking.
    list.watched(Kind::HorizontalPodAutoscaler);
    if let Some(autoscaler) = scope.autoscaler {
        list.add(Kind::HorizontalPodAutoscaler, "", &[autoscaler], &["get", "patch"]);
        list.made(Kind::HorizontalPodAutoscaler, &candidate);
    }
    if scope.watchdog {
        list.watchdog(&names::watchdog(scope.target));
    }
    list.0.into_values().collect()
}

/// Returns what the watchdog of a promotion needs: the same, and to end itself.
#[must_use]
pub fn of_watchdog(scope: &Scope<'_>) -> Vec<Permission> {
    let mut all = needed(&Scope { watchdog: false, ..*scope });
    let mut own = Needs::default();
    own.raw(RBAC, "roles", &[&names::watchdog(scope.target)], &["get", "delete"]);
    all.extend(own.0.into_values());
    all
}

const RBAC: &str = "rbac.authorization.k8s.io";

fn texts(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// By group, resource, whether names are given, and verb: what differs in names alone is one permission.
#[derive(Debug, Default)]
struct Needs(BTreeMap<(String, String, bool, &'static str), Permission>);

impl Needs {
    fn add(&mut self, kind: Kind, subresource: &str, names: &[&str], verbs: &[&'static str]) {
        let resource = kind.resource();
        self.raw(&resource.group, &format!("{}{subresource}", resource.plural), names, verbs);
    }

    fn raw(&mut self, group: &str, resource: &str, names: &[&str], verbs: &[&'static str]) {
        for verb in verbs {
            let key = (group.to_owned(), resource.to_owned(), !names.is_empty(), *verb);
            let permission = self.0.entry(key).or_insert_with(|| Permission {
                group: group.to_owned(),
                resource: resource.to_owned(),
                names: Vec::new(),
                verb,
            });
            for name in names {
                if !permission.names.iter().any(|known| known == name) {
                    permission.names.push((*name).to_owned());
                }
            }
        }
    }

    fn watched(&mut self, kind: Kind) {
        self.add(kind, "", &[], &["list", "watch"]);
    }

    /// An object of gate's own.
    fn made(&mut self, kind: Kind, name: &str) {
        self.add(kind, "", &[], &["create"]);
        self.add(kind, "", &[name], &["get", "patch", "delete"]);
    }

    /// The ConfigMap of the record, and no other: they may hold anything.
    fn record(&mut self, name: &str) {
        self.add(Kind::ConfigMap, "", &[], &["create"]);
        self.add(Kind::ConfigMap, "", &[name], &["get", "list", "watch", "patch"]);
    }

    fn watchdog(&mut self, name: &str) {
        for (group, resource) in
            [("", "pods"), ("", "serviceaccounts"), (RBAC, "roles"), (RBAC, "rolebindings")]
        {
            self.raw(group, resource, &[], &["create"]);
            self.raw(group, resource, &[name], &["get", "delete"]);
        }
    }
}

/// Returns what of a list is refused to whoever gate runs as.
///
/// # Errors
/// The API server does not answer; one that does not know the question.
pub async fn missing(
    access: &Access,
    needed: &[Permission],
) -> Result<Vec<Permission>, PlatformError> {
    // One question a name: an answer for any name would ask for more than is needed.
    let questions: Vec<(&Permission, Option<&str>)> = needed
        .iter()
        .flat_map(|permission| {
            let named = permission.names.iter().map(move |name| (permission, Some(name.as_str())));
            let any = permission.names.is_empty().then_some((permission, None));
            named.chain(any)
        })
        .collect();
    let answers = stream::iter(questions).map(|(permission, name)| async move {
        let allowed = allowed(access, permission, name).await?;
        let names = name.map(str::to_owned).into_iter().collect();
        Ok::<_, PlatformError>((!allowed).then(|| Permission { names, ..permission.clone() }))
    });
    let refused: Vec<Option<Permission>> = answers.buffered(ASKED_AT_ONCE).try_collect().await?;
    Ok(refused.into_iter().flatten().collect())
}

async fn allowed(
    access: &Access,
    permission: &Permission,
    name: Option<&str>,
) -> Result<bool, PlatformError> {
    let (resource, subresource) = match permission.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (permission.resource.as_str(), None),
    };
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                namespace: Some(access.namespace.clone()),
                verb: Some(permission.verb.to_owned()),
                group: Some(permission.group.clone()),
                resource: Some(resource.to_owned()),
                subresource,
                name: name.map(str::to_owned),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(access.client.clone());
    let what = format!("whether {permission} is allowed");
    let answer = access.ask(&what, reviews.create(&PostParams::default(), &review)).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if !self.names.is_empty() {
            write!(f, " {}", self.names.join(", "))?;
        }
        Ok(())
    }
}

/// Returns the Role that has exactly these permissions, for `kubectl apply -f`, and the binding that gives it
/// to a service account of the same name.
#[must_use]
pub fn role(target: &str, namespace: &str, permissions: &[Permission]) -> String {
    let name = names::record(target);
    let mut yaml = head("Role", &name, namespace);
    yaml.push_str("rules:\n");
    for (rule, verbs) in rules(permissions) {
        let _ = writeln!(yaml, "- apiGroups: [\"{}\"]", rule.0);
        let _ = writeln!(yaml, "  resources: [{}]", quoted(&[rule.1]));
        if !rule.2.is_empty() {
            let _ = writeln!(yaml, "  resourceNames: [{}]", quoted(&texts(rule.2)));
        }
        let _ = writeln!(yaml, "  verbs: [{}]", quoted(&verbs));
    }
    yaml.push_str("---\n");
    yaml.push_str(&head("RoleBinding", &name, namespace));
    let _ = write!(
        yaml,
        "roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: Role\n  name: {name}\nsubjects:\n- kind: ServiceAccount # whoever gate runs as\n  name: {name}\n  namespace: {namespace}\n"
    );
    yaml
}

fn head(kind: &str, name: &str, namespace: &str) -> String {
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata:\n  name: {name}\n  namespace: {namespace}\n"
    )
}

type Rule<'a> = (&'a str, &'a str, &'a [String]);

/// Permissions that differ in their verb alone are one rule.
fn rules(permissions: &[Permission]) -> BTreeMap<Rule<'_>, Vec<&'static str>> {
    let mut rules: BTreeMap<Rule<'_>, Vec<&'static str>> = BTreeMap::new();
    for permission in permissions {
        let rule = (&*permission.group, &*permission.resource, &*permission.names);
        rules.entry(rule).or_default().push(permission.verb);
    }
    rules
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
