//! The watchdog: a pod that goes back when nobody runs the promotion any more.
//!
//! It has an account and a Role of its own, with the promotion's permissions and no more. The record
//! owns the Role, and the Role owns the rest; none of it carries traffic. So one deletion ends all of
//! it, and the watchdog can end itself with its last write.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, PostParams, Preconditions};
use serde_json::{Value, json};

use super::access::Access;
use super::names;
use super::permissions::Permission;
use super::snapshot::label;
use crate::platform::PlatformError;

/// A watchdog waits, and reads one object now and then.
const MEMORY: &str = "64Mi";
const CPU: &str = "100m";
/// Nothing of it needs longer to end.
const GRACE_SECONDS: u32 = 2;
/// Who it runs as: nobody, whatever the image says.
const USER: u32 = 65532;

/// What a watchdog is made from.
#[derive(Clone, Debug)]
pub struct Watchdog {
    /// The name of the user's Deployment.
    pub target: String,
    /// The promotion's id.
    pub revision: String,
    /// An image of gate, whose entry point it is.
    pub image: String,
    pub permissions: Vec<Permission>,
}

/// The kinds of its objects, in the order in which they are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Role,
    ServiceAccount,
    RoleBinding,
    Pod,
}

impl Part {
    fn resource(self) -> ApiResource {
        let (group, kind, plural) = match self {
            Self::Role => ("rbac.authorization.k8s.io", "Role", "roles"),
            Self::ServiceAccount => ("", "ServiceAccount", "serviceaccounts"),
            Self::RoleBinding => ("rbac.authorization.k8s.io", "RoleBinding", "rolebindings"),
            Self::Pod => ("", "Pod", "pods"),
        };
        let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
        ApiResource {
            group: group.into(),
            version: "v1".into(),
            api_version,
            kind: kind.into(),
            plural: plural.into(),
        }
    }

    /// A pod with the label of the candidate's would be taken for one of them, and ended with them.
    const fn revision_label(self) -> &'static str {
        match self {
            Self::Role | Self::ServiceAccount | Self::RoleBinding => names::REVISION,
            Self::Pod => names::WATCHDOG,
        }
    }

    fn objects(self, access: &Access) -> Api<DynamicObject> {
        Api::namespaced_with(access.client.clone(), &access.namespace, &self.resource())
    }
}

impl Watchdog {
    /// Makes what is missing of it; returns whether its pod runs. `record` owns it.
    ///
    /// # Errors
    /// The API server refuses or does not answer; why the pod does not run, where Kubernetes says so.
    pub async fn ensure(
        &self,
        access: &Access,
        record: &OwnerReference,
    ) -> Result<bool, PlatformError> {
        let Some(role) = self.made(access, Part::Role, record).await? else { return Ok(false) };
        let owner = OwnerReference {
            api_version: "rbac.authorization.k8s.io/v1".into(),
            kind: "Role".into(),
            name: names::watchdog(&self.target),
            uid: role.metadata.uid.unwrap_or_default(),
            controller: None,
            block_owner_deletion: None,
        };
        for part in [Part::ServiceAccount, Part::RoleBinding] {
            if self.made(access, part, &owner).await?.is_none() {
                return Ok(false);
            }
        }
        let pod = self.made(access, Part::Pod, &owner).await?;
        Ok(pod.is_some_and(|pod| pod.data["status"]["phase"] == "Running"))
    }

    /// Makes one object, or returns the one that is there; `None`: another promotion's is on its way out.
    async fn made(
        &self,
        access: &Access,
        part: Part,
        owner: &OwnerReference,
    ) -> Result<Option<DynamicObject>, PlatformError> {
        let object = self.object(part, owner, &access.namespace);
        let (api, name) = (part.objects(access), names::watchdog(&self.target));
        let what = format!("creating {} {name}", part.resource().kind);
        let params =
            PostParams { field_manager: Some(names::MANAGER.into()), ..PostParams::default() };
        let found = access.ask(&what, async {
            match api.create(&params, &object).await {
                Err(kube::Error::Api(status)) if status.is_already_exists() => {
                    api.get_opt(&name).await
                }
                made => made.map(Some),
            }
        });
        let Some(found) = found.await? else { return Ok(None) };
        if found.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let labels = found.metadata.labels.as_ref();
        if label(labels, part.revision_label()) == Some(&self.revision) {
            return Ok(Some(found));
        }
        if label(labels, names::TARGET).is_none() {
            let what = format!("{what}: there is one that gate has not made");
            return Err(PlatformError { what });
        }
        delete(access, part, found).await?;
        Ok(None)
    }

    fn object(&self, part: Part, owner: &OwnerReference, namespace: &str) -> DynamicObject {
        let name = names::watchdog(&self.target);
        let mut object = DynamicObject::new(&name, &part.resource()).within(namespace);
        object.metadata.labels = Some(
            [
                (names::TARGET.to_owned(), names::target_label(&self.target)),
                (part.revision_label().to_owned(), self.revision.clone()),
            ]
            .into(),
        );
        object.metadata.owner_references = Some(vec![owner.clone()]);
        object.data = match part {
            Part::Role => json!({ "rules": self.rules() }),
            Part::ServiceAccount => json!({}),
            Part::RoleBinding => json!({
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name,
                },
                "subjects": [
                    { "kind": "ServiceAccount", "name": name, "namespace": namespace },
                ],
            }),
            Part::Pod => json!({ "spec": self.pod(&name) }),
        };
        object
    }

    fn rules(&self) -> Vec<Value> {
        let rule = |permission: &Permission| {
            let Permission { group, resource, names, verb } = permission;
            let mut rule =
                json!({ "apiGroups": [group], "resources": [resource], "verbs": [verb] });
            if !names.is_empty() {
                rule["resourceNames"] = json!(names);
            }
            rule
        };
        self.permissions.iter().map(rule).collect()
    }

    /// As the strictest of Kubernetes' Pod Security Standards asks.
    fn pod(&self, account: &str) -> Value {
        json!({
            "serviceAccountName": account,
            "restartPolicy": "OnFailure",
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": "watchdog",
                "image": self.image,
                "args": ["watchdog", format!("deployment/{}", self.target), "--id", self.revision],
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": { "drop": ["ALL"] },
                },
                "resources": {
                    "requests": { "cpu": "10m", "memory": MEMORY },
                    "limits": { "cpu": CPU, "memory": MEMORY },
                },
            }],
        })
    }
}

/// Ends the watchdog of a promotion; one that is gone already is fine.
///
/// # Errors
/// The API server refuses or does not answer.
pub async fn remove(access: &Access, target: &str, revision: &str) -> Result<(), PlatformError> {
    let name = names::watchdog(target);
    let what = format!("reading Role {name}");
    let found = access.ask(&what, Part::Role.objects(access).get_opt(&name)).await?;
    let is_ours = |role: &DynamicObject| {
        label(role.metadata.labels.as_ref(), names::REVISION) == Some(revision)
    };
    match found.filter(is_ours) {
        Some(role) => delete(access, Part::Role, role).await,
        None => Ok(()),
    }
}

async fn delete(access: &Access, part: Part, found: DynamicObject) -> Result<(), PlatformError> {
    let name = found.metadata.name.unwrap_or_default();
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: found.metadata.uid, resource_version: None }),
        ..DeleteParams::background()
    };
    let api = part.objects(access);
    let what = format!("deleting {} {name}", part.resource().kind);
    access
        .ask(&what, async {
            match api.delete(&name, &params).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
                answer => answer.map(drop),
            }
        })
        .await
}
