//! The readiness gate of the candidate's pods: who is let in to the user's Services.

use std::cmp::Reverse;

use chrono::{DateTime, SecondsFormat, Utc};
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::super::names::SERVE;
use super::super::snapshot::{Snapshot, has_condition};
use super::super::write::{Kind, Op, Write, pointer, unchanged};

/// A pod of the candidate that is not ending.
#[derive(Clone, Copy, Debug)]
pub struct Gated<'a> {
    pod: &'a Pod,
    /// It may be let in: its containers are ready.
    pub able: bool,
    /// It is let in.
    pub open: bool,
    /// It is let in, and Kubernetes has seen it.
    pub ready: bool,
}

/// Returns the candidate's pods: those that serve first, then those that could, oldest first.
#[must_use]
pub fn gated(seen: &Snapshot) -> Vec<Gated<'_>> {
    let pods = seen.candidate_pods().map(|pod| Gated {
        pod,
        able: has_condition(pod, "ContainersReady"),
        open: has_condition(pod, SERVE),
        ready: has_condition(pod, "Ready"),
    });
    let mut pods: Vec<_> = pods.collect();
    pods.sort_by_key(|gated| {
        let meta = &gated.pod.metadata;
        let created = meta.creation_timestamp.as_ref().map(|time| time.0);
        (Reverse((gated.able, gated.open)), created, meta.name.as_deref())
    });
    pods
}

impl Gated<'_> {
    /// Returns the write that lets a pod in or out; `None` where it is so. A pod that has never been let
    /// in is out.
    #[must_use]
    pub fn set(&self, open: bool, now: DateTime<Utc>) -> Option<Write> {
        if self.open == open {
            return None;
        }
        let name = self.pod.metadata.name.clone()?;
        let conditions = self.pod.status.as_ref().and_then(|status| status.conditions.as_deref());
        let at = conditions.unwrap_or_default().iter().position(|one| one.type_ == SERVE);
        let value = json!({
            "type": SERVE,
            "status": if open { "True" } else { "False" },
            "reason": if open { "LetIn" } else { "KeptOut" },
            "lastTransitionTime": now.to_rfc3339_opts(SecondsFormat::Secs, true),
        });
        let list = pointer(&["status", "conditions"]);
        let ops = match at {
            Some(index) => {
                let path = format!("{list}/{index}");
                let test = Op::Test { path: format!("{path}/type"), value: json!(SERVE) };
                vec![test, Op::Replace { path, value }]
            }
            // Two of the same kind must not come to be, so nobody may have written since.
            None => {
                let version = self.pod.metadata.resource_version.as_deref()?;
                let add = match conditions {
                    Some(_) => Op::Add { path: format!("{list}/-"), value },
                    None => Op::Add { path: list, value: json!([value]) },
                };
                vec![unchanged(version), add]
            }
        };
        Some(Write::PatchStatus { kind: Kind::Pod, name, ops })
    }
}
