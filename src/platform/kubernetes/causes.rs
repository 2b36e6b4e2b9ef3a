//! Why a revision's copies are not ready, in one line, from what the kubelet, the scheduler and the
//! controllers say of them. Events are not read: they are best effort, and gone after an hour.
//!
//! A fault is the revision's own when another revision in the same place would not have it: a crash, a
//! failing probe, an image or a secret that is not there. Scheduling, quota, admission and eviction are
//! the place's.
//!
//! Of many pods the worst is told: what can't get better before what may, the revision's own before the
//! place's, then the first by name. So the same pods give the same words, and a pod's random name in a
//! controller's message is left out.

use k8s_openapi::api::core::v1::Pod;
use kube::api::DynamicObject;
use serde_json::Value;

use super::names;
use super::snapshot::has_condition;
use crate::rollout::Trouble;

mod container;

pub mod logs;

pub use container::RESTARTS_MAX;
pub use logs::{Logs, wants_logs, with_logs};

#[cfg(test)]
mod tests;

/// Characters of a trouble, without log lines.
pub const WHAT_CHARS_MAX: usize = 300;

/// Worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Hopeless,
    Crash,
    Configuration,
    Image,
    Probe,
    Init,
    Place,
    Creating,
    Ended,
}

#[derive(Clone, Debug)]
struct Cause {
    rank: Rank,
    what: String,
    /// The container whose log tells more, and whether that is the log of its life before.
    log: Option<(String, bool)>,
}

/// Returns the worst of what keeps a revision's pods from being ready; `None`: nothing does, or nothing is
/// known yet. Pods that are ending are not looked at.
#[must_use]
pub fn trouble<'a>(
    pods: impl Iterator<Item = &'a Pod>,
    deployment: Option<&DynamicObject>,
) -> Option<Trouble> {
    let of_pods = worst(pods);
    let of_pods = of_pods.map(|(pod, cause)| (cause.rank, format!("{} (pod {pod})", cause.what)));
    let of_place = deployment.and_then(no_pod).map(|cause| (cause.rank, cause.what));
    let (rank, what) = [of_pods, of_place].into_iter().flatten().min_by_key(|(rank, _)| *rank)?;
    Some(Trouble {
        what: cut(&what, WHAT_CHARS_MAX),
        its_own: rank.its_own(),
        gave_up: rank == Rank::Hopeless,
    })
}

fn worst<'a>(pods: impl Iterator<Item = &'a Pod>) -> Option<(&'a str, Cause)> {
    let of_pods = pods.filter_map(|pod| Some((name(pod), worst_of(pod)?)));
    of_pods.min_by_key(|(name, cause)| (cause.rank, *name))
}

impl Rank {
    const fn its_own(self) -> bool {
        match self {
            Self::Hopeless
            | Self::Crash
            | Self::Configuration
            | Self::Image
            | Self::Probe
            | Self::Init => true,
            Self::Place | Self::Creating | Self::Ended => false,
        }
    }
}

impl Cause {
    fn new(rank: Rank, what: impl Into<String>) -> Option<Self> {
        Some(Self { rank, what: what.into(), log: None })
    }
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

fn worst_of(pod: &Pod) -> Option<Cause> {
    if pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let of_pod = [ended(pod), unscheduled(pod), closed(pod)];
    of_pod.into_iter().flatten().chain(container::complaints(pod)).min_by_key(|cause| cause.rank)
}

/// A pod that is over and was not asked to end: evicted, refused by its node, preempted.
fn ended(pod: &Pod) -> Option<Cause> {
    let status = pod.status.as_ref().filter(|status| status.phase.as_deref() == Some("Failed"))?;
    let reason = status.reason.as_deref().unwrap_or("Failed");
    let message = status.message.as_deref().unwrap_or_default();
    Cause::new(Rank::Ended, format!("the pod was ended: {reason}: {message}"))
}

fn unscheduled(pod: &Pod) -> Option<Cause> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    let scheduled = conditions.iter().find(|condition| condition.type_ == "PodScheduled")?;
    if scheduled.status != "False" {
        return None;
    }
    let message = scheduled.message.as_deref().unwrap_or("no reason is given");
    // What the scheduler did not try to gain by ending other pods says nothing of this one.
    let why = message.split_once(" preemption: ").map_or(message, |(why, _)| why);
    let why = why.split_once(" no new claims to deallocate").map_or(why, |(why, _)| why);
    Cause::new(Rank::Place, format!("no node takes it: {}", why.trim_end_matches(['.', ','])))
}

/// A readiness gate of somebody else (a load balancer's). Gate's own is closed on purpose.
fn closed(pod: &Pod) -> Option<Cause> {
    if !has_condition(pod, "ContainersReady") {
        return None;
    }
    let gates = pod.spec.as_ref()?.readiness_gates.as_deref()?;
    let mut foreign = gates.iter().filter(|gate| gate.condition_type != names::SERVE);
    let closed = foreign.find(|gate| !has_condition(pod, &gate.condition_type))?;
    Cause::new(Rank::Place, format!("the readiness gate {} is closed", closed.condition_type))
}

/// Quota, Pod Security and admission refuse pods before there is one: only the Deployment tells.
fn no_pod(deployment: &DynamicObject) -> Option<Cause> {
    let conditions = deployment.data.pointer("/status/conditions")?.as_array()?;
    let failure = conditions.iter().find(|condition| {
        let is = |key: &str, value: &str| condition.get(key).and_then(Value::as_str) == Some(value);
        is("type", "ReplicaFailure") && is("status", "True")
    })?;
    let message = failure.get("message").and_then(Value::as_str).unwrap_or("no reason is given");
    let why = message.split_once(" is forbidden: ").map_or(message, |(_, why)| why);
    Cause::new(Rank::Place, format!("no pod may be made: {why}"))
}

/// Returns a text in one line without control characters, its end cut off where it is longer.
#[must_use]
pub fn cut(text: &str, chars_max: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let line = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    if line.chars().count() <= chars_max {
        return line;
    }
    let kept: String = line.chars().take(chars_max.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}
