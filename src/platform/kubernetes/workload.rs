//! What is there, as the core sees it: two workloads, counted from a snapshot.

use k8s_openapi::api::core::v1::Pod;
use kube::api::DynamicObject;

use super::router::Isolation;
use super::snapshot::{Rollout, Snapshot, has_condition, label};
use super::{candidate, names, template};
use crate::rollout::{Trouble, Workload};
use crate::share::Share;

/// Returns stable. Its revision is that of the template in its spec; while it takes the release, it is
/// not complete before every copy is of that one.
#[must_use]
pub fn stable(target: &DynamicObject, release_hash: &str) -> Workload {
    let rollout = Rollout::of(target);
    let template = target.data.pointer("/spec/template");
    let revision = template.map(template::hash).unwrap_or_default();
    let ready = if revision != release_hash || rollout.complete() {
        rollout.available
    } else {
        rollout.available.min(rollout.updated).min(rollout.wanted.saturating_sub(1))
    };
    Workload { revision, ready, wanted: rollout.wanted, sized_for: Share::FULL, trouble: None }
}

/// Returns the candidate of a promotion; `None`: no trace of one is left. What another promotion has
/// left there is none of this one, and has a revision of its own.
#[must_use]
pub fn candidate(
    seen: &Snapshot,
    revision: &str,
    release_hash: &str,
    isolation: &Isolation,
    trouble: Option<Trouble>,
) -> Option<Workload> {
    let deployment = seen.candidate.as_ref();
    if deployment.is_none() && seen.candidates.is_empty() {
        return None;
    }
    let owner = deployment.and_then(|own| label(own.metadata.labels.as_ref(), names::REVISION));
    let ours = deployment.is_none() || owner == Some(revision);
    let ready = seen.candidate_pods().filter(|pod| serves(pod, isolation)).count();
    let wanted = deployment
        .filter(|own| own.metadata.deletion_timestamp.is_none())
        .map_or(0, |own| Rollout::of(own).wanted);
    let ready = u32::try_from(ready).unwrap_or(u32::MAX);
    Some(Workload {
        revision: if ours {
            release_hash.to_owned()
        } else {
            owner.unwrap_or("unknown").to_owned()
        },
        ready,
        wanted,
        sized_for: deployment.map_or(Share::ZERO, candidate::sized_for),
        trouble: trouble.filter(|_| ready < wanted),
    })
}

/// Returns whether a pod could take requests: with readiness isolation it is not ready before it is let in.
fn serves(pod: &Pod, isolation: &Isolation) -> bool {
    match isolation {
        Isolation::Readiness => has_condition(pod, "ContainersReady"),
        Isolation::Label { .. } => has_condition(pod, "Ready"),
    }
}
