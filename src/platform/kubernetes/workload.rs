//! What is there, as the core sees it: two workloads, counted from a snapshot.

use k8s_openapi::api::core::v1::Pod;
use kube::api::DynamicObject;

use super::router::{Isolation, Router};
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

/// Returns a workload of which nothing is there.
#[must_use]
pub const fn gone() -> Workload {
    Workload { revision: String::new(), ready: 0, wanted: 0, sized_for: Share::ZERO, trouble: None }
}

/// Returns the candidate of a promotion; `None`: no trace of one is left. What another promotion has
/// left there is none of this one, and has a revision of its own.
#[must_use]
pub fn candidate(
    seen: &Snapshot,
    revision: &str,
    release_hash: &str,
    router: &Router,
    trouble: Option<Trouble>,
) -> Option<Workload> {
    let deployment = seen.candidate.as_ref();
    if deployment.is_none() && seen.candidates.is_empty() {
        return None;
    }
    let owner = deployment.and_then(|own| label(own.metadata.labels.as_ref(), names::REVISION));
    let ours = deployment.is_none() || owner == Some(revision);
    let isolation = router.isolation();
    let ready = seen.candidate_pods().filter(|pod| serves(pod, &isolation)).count();
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
        sized_for: deployment.map_or(Share::ZERO, |own| sized_for(seen, own, router)),
        trouble: trouble.filter(|_| ready < wanted),
    })
}

/// Returns the share that the candidate's copies are enough for beside those that stable has now: somebody, or an
/// autoscaler, may have given stable more since.
#[must_use]
pub fn sized_for(seen: &Snapshot, own: &DynamicObject, router: &Router) -> Share {
    let noted = candidate::sized_for(own);
    let stable = seen.target.as_ref().map_or(0, |target| Rollout::of(target).wanted);
    let is_enough = Rollout::of(own).wanted >= router.copies(noted, stable);
    if is_enough { noted } else { Share::ZERO }
}

/// Returns whether a pod could take requests: with readiness isolation it is not ready before it is let in.
fn serves(pod: &Pod, isolation: &Isolation) -> bool {
    match isolation {
        Isolation::Readiness => has_condition(pod, "ContainersReady"),
        Isolation::Label { .. } => has_condition(pod, "Ready"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::router::PlainService;
    use super::super::write::Kind;
    use super::*;

    fn deployment(name: &str, copies: u32, sized_for: Option<&str>) -> DynamicObject {
        let mut object = DynamicObject::new(name, &Kind::Deployment.resource());
        object.metadata.annotations =
            sized_for.map(|share| [(names::SIZED_FOR.to_owned(), share.to_owned())].into());
        object.data = json!({ "spec": { "replicas": copies } });
        object
    }

    #[test]
    fn copies_are_enough_beside_those_that_stable_has_now() {
        let is = |noted: Option<&str>, candidate, stable, expected: f64| {
            let target = Some(deployment("web", stable, None));
            let seen = Snapshot { target, ..Snapshot::default() };
            let own = deployment("web-candidate", candidate, noted);
            let router = Router::Service(PlainService { services: vec!["web".into()] });
            let expected = Share::from_percent(expected).unwrap();
            assert_eq!(sized_for(&seen, &own, &router), expected, "{noted:?} {candidate} {stable}");
        };
        is(Some("33 %"), 1, 2, 33.0);
        is(Some("33 %"), 1, 4, 0.0);
        is(Some("33 %"), 2, 4, 33.0);
        is(Some("33 %"), 2, 1, 33.0);
        is(Some("100 %"), 4, 4, 100.0);
        is(Some("100 %"), 4, 5, 0.0);
        is(None, 4, 4, 0.0);
    }
}
