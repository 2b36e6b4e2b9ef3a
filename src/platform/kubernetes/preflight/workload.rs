//! The target itself: is there something to prove a release against, and can two revisions run at once.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PodSpec, Volume};
use serde_json::Value;

use super::{Found, Question, Surroundings, all_containers, listed};
use crate::platform::kubernetes::snapshot::{Rollout, has_condition};

/// Older API servers are warned of: gate is tried on newer ones only.
const MINOR_MIN: u32 = 29;

pub(super) fn check(
    asked: &Question<'_>,
    around: &Surroundings,
    rollout: &Rollout,
    found: &mut Found,
) {
    stable(asked, rollout, found);
    let Some(spec) = asked.pods().and_then(|pods| pods.spec) else {
        found.note("template", "the pod template can't be read by this version of gate");
        return;
    };
    side_by_side(asked, around, &spec, found);
    probes(&spec, found);
    shared_configuration(&spec, found);
    history(asked, found);
    if let Some(true) = around.leases.seen() {
        let what = "its pods may write leases: a candidate's pod can become the leader, or take work from a queue, before it has any share";
        let remedy = "set `side_by_side: true` if that is fine, or let candidates stand back";
        if !asked.policy.side_by_side {
            found.warn("leader", what, remedy);
        }
    }
    if let Some(minor) = around.minor.seen().filter(|minor| **minor < MINOR_MIN) {
        let what =
            format!("the API server is Kubernetes 1.{minor}, older than what gate is made for");
        found.warn("version", what, format!("use Kubernetes 1.{MINOR_MIN} or newer"));
    }
}

fn stable(asked: &Question<'_>, rollout: &Rollout, found: &mut Found) {
    let target = asked.target;
    let ready = asked.seen.stable_pods().filter(|pod| has_condition(pod, "Ready")).count();
    if rollout.paused {
        let what = format!("the Deployment {target} is paused: it could not adopt the release");
        found.refuse("paused", what, format!("`kubectl rollout resume deployment/{target}`"));
    }
    if rollout.wanted == 0 {
        let what = format!(
            "the Deployment {target} is scaled to 0: nothing serves that a release could be compared with"
        );
        found.refuse("ready", what, format!("`kubectl scale deployment/{target} --replicas=N`"));
    } else if !rollout.observed
        || rollout.updated < rollout.wanted
        || rollout.total > rollout.updated
    {
        let what = format!(
            "an ordinary roll-out of {target} is under way: {} of {} copies are of its present template",
            rollout.updated, rollout.wanted
        );
        found.refuse(
            "ready",
            what,
            format!("wait for `kubectl rollout status deployment/{target}`, or undo it"),
        );
    } else if ready == 0 {
        let what = format!("no copy of {target} is ready: there is no way back");
        found.refuse(
            "ready",
            what,
            "repair it first: gate proves a release against a version that works",
        );
    } else if (ready as u64) < u64::from(rollout.wanted) {
        let what = format!("{ready} of {} copies of {target} are ready", rollout.wanted);
        found.warn("ready", what, "the way back leads to these");
    }
}

/// Whether this workload may run as two revisions at once.
fn side_by_side(asked: &Question<'_>, around: &Surroundings, spec: &PodSpec, found: &mut Found) {
    let mut why = Vec::new();
    let strategy =
        asked.seen.target.as_ref().and_then(|target| target.data.pointer("/spec/strategy/type"));
    if strategy.and_then(Value::as_str) == Some("Recreate") {
        why.push("its strategy is `Recreate`".to_owned());
    }
    for claim in claims(spec) {
        match around.claims.get(claim) {
            Some(modes)
                if modes.iter().any(|mode| mode == "ReadWriteMany" || mode == "ReadOnlyMany") => {}
            Some(modes) => why.push(format!("its volume {claim} is {}", modes.join(", "))),
            None => found.warn(
                "side_by_side",
                format!("whether two revisions may share the volume {claim} is not known"),
                "only a volume that is ReadWriteMany can serve both",
            ),
        }
    }
    if why.is_empty() {
        return;
    }
    let what =
        format!("two revisions of {} at once may be wrong: {}", asked.target, why.join("; "));
    if asked.policy.side_by_side {
        found.note("side_by_side", format!("{what} (the policy says `side_by_side: true`)"));
    } else {
        found.refuse("side_by_side", what, "say `side_by_side: true` in the policy if it is fine");
    }
}

/// The PersistentVolumeClaims that a template names.
pub(super) fn claims(spec: &PodSpec) -> impl Iterator<Item = &str> {
    let claim = |volume: &'_ Volume| volume.persistent_volume_claim.is_some();
    let volumes = spec.volumes.iter().flatten().filter(move |volume| claim(volume));
    volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str()))
}

fn probes(spec: &PodSpec, found: &mut Found) {
    if spec.containers.iter().all(|container| container.readiness_probe.is_none()) {
        found.warn(
            "readiness",
            "no container has a readinessProbe: a copy gets traffic as soon as its process runs",
            "give it one, or a `health_check` in the policy",
        );
    }
}

/// What stable gets as well, the moment it changes.
fn shared_configuration(spec: &PodSpec, found: &mut Found) {
    let mut names = BTreeSet::new();
    for volume in spec.volumes.iter().flatten() {
        names.extend(volume.config_map.iter().map(|map| format!("ConfigMap {}", map.name)));
        let secret = volume.secret.as_ref().and_then(|secret| secret.secret_name.as_ref());
        names.extend(secret.map(|name| format!("Secret {name}")));
    }
    for container in all_containers(spec) {
        for from in container.env_from.iter().flatten() {
            names.extend(from.config_map_ref.iter().map(|map| format!("ConfigMap {}", map.name)));
            names.extend(from.secret_ref.iter().map(|secret| format!("Secret {}", secret.name)));
        }
        for from in container.env.iter().flatten().filter_map(|env| env.value_from.as_ref()) {
            names.extend(
                from.config_map_key_ref.iter().map(|key| format!("ConfigMap {}", key.name)),
            );
            names.extend(from.secret_key_ref.iter().map(|key| format!("Secret {}", key.name)));
        }
    }
    if !names.is_empty() {
        let names: Vec<String> = names.into_iter().collect();
        found.note(
            "configuration",
            format!(
                "only the pod template is gated: a change of {} under the same name reaches stable as well, and a rollback does not undo it",
                listed(&names)
            ),
        );
    }
}

fn history(asked: &Question<'_>, found: &mut Found) {
    let number = |path: &str| asked.seen.target.as_ref()?.data.pointer(path)?.as_u64();
    if number("/spec/revisionHistoryLimit") == Some(0) {
        found.note(
            "history",
            "revisionHistoryLimit is 0: `kubectl rollout undo` has nothing to go back to; gate keeps the old template in its record",
        );
    }
}
