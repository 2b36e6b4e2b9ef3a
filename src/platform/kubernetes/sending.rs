//! Sending writes: one after the other, and the answer goes into the snapshot at once.

use kube::api::{
    DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions,
};
use serde_json::Value;

use super::access::{Access, told};
use super::names;
use super::watching::{Slot, Watched};
use super::write::{Kind, Op, Write};
use crate::platform::PlatformError;

/// Where answers belong.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    pub access: &'a Access,
    pub watched: &'a Watched,
    /// The name of the user's Deployment.
    pub target: &'a str,
}

impl Sender<'_> {
    /// Sends writes in their order; the first that is refused ends it.
    ///
    /// # Errors
    /// What was refused, and why. What was sent before it stays.
    pub async fn send(&self, writes: Vec<Write>) -> Result<(), PlatformError> {
        for write in writes {
            self.send_one(write).await?;
        }
        Ok(())
    }

    async fn send_one(&self, write: Write) -> Result<(), PlatformError> {
        let what = write.to_string();
        match write {
            Write::Create { kind, object } => {
                let params =
                    PostParams { field_manager: Some(names::MANAGER.into()), ..Default::default() };
                let api = self.access.objects(kind);
                let answer = self.access.ask(&what, async {
                    match api.create(&params, &object).await {
                        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(None),
                        answer => answer.map(Some),
                    }
                });
                if let Some(made) = answer.await?
                    && let Some(slot) = self.slot(kind, &made)
                {
                    self.watched.learn(slot, made);
                }
            }
            Write::Patch { kind, name, ops } => {
                let patch = json_patch(&ops)?;
                let api = self.access.objects(kind);
                let params = PatchParams {
                    field_manager: Some(names::MANAGER.into()),
                    ..Default::default()
                };
                let answer = self.access.ask(&what, api.patch(&name, &params, &patch)).await?;
                if let Some(slot) = self.slot(kind, &answer) {
                    self.watched.learn_changed(slot, answer);
                }
            }
            Write::PatchStatus { kind, name, ops } => {
                let patch = json_patch(&ops)?;
                let api = self.access.objects(kind);
                let params = PatchParams {
                    field_manager: Some(names::MANAGER.into()),
                    ..Default::default()
                };
                let answer = api.patch_subresource("status", &name, &params, &patch);
                let answer = self.access.ask(&what, answer).await?;
                if let Some(slot) = self.slot(kind, &answer) {
                    self.watched.learn_changed(slot, answer);
                }
            }
            Write::Delete { kind, name, uid } => {
                let params = DeleteParams {
                    preconditions: Some(Preconditions { uid: Some(uid), resource_version: None }),
                    ..DeleteParams::background()
                };
                let api = self.access.objects(kind);
                match tokio::time::timeout(super::access::WRITE_TIMEOUT, api.delete(&name, &params))
                    .await
                {
                    Ok(Ok(_)) => {}
                    Ok(Err(kube::Error::Api(status))) if status.is_not_found() => {}
                    Ok(Err(error)) => return Err(told(&what, &error)),
                    Err(_) => return Err(PlatformError { what: format!("{what}: no answer") }),
                }
            }
            Write::EndPods { selector, grace_s } => {
                let params =
                    DeleteParams { grace_period_seconds: Some(grace_s), ..Default::default() };
                let pods = ListParams::default().labels(&selector);
                let api = self.access.objects(Kind::Pod);
                self.access.ask(&what, api.delete_collection(&params, &pods)).await?;
            }
        }
        Ok(())
    }

    /// Returns where an answer belongs.
    fn slot(&self, kind: Kind, object: &DynamicObject) -> Option<Slot> {
        match kind {
            Kind::Deployment if object.metadata.name.as_deref() == Some(self.target) => {
                Some(Slot::Target)
            }
            Kind::Deployment => Some(Slot::Candidate),
            Kind::Pod => Some(Slot::CandidatePods),
            Kind::Service => Some(Slot::Services),
            Kind::HttpRoute => Some(Slot::Routes),
            Kind::HorizontalPodAutoscaler => Some(Slot::Autoscalers),
            Kind::ReplicaSet | Kind::EndpointSlice | Kind::ConfigMap => None,
        }
    }
}

fn json_patch(ops: &[Op]) -> Result<Patch<()>, PlatformError> {
    let ops = Value::Array(ops.iter().map(Op::to_json).collect());
    let patch = serde_json::from_value(ops).map_err(|error| PlatformError {
        what: format!("a patch of gate's own is wrong: {error}"),
    })?;
    Ok(Patch::Json(patch))
}
