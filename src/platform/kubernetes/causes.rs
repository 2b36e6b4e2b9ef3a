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

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    Pod, Probe,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::DynamicObject;
use serde_json::Value;

use super::names;
use super::snapshot::has_condition;
use crate::rollout::Trouble;

pub mod logs;

pub use logs::{Logs, wants_logs, with_logs};

#[cfg(test)]
mod tests;

/// Characters of a trouble, without log lines.
pub const WHAT_CHARS_MAX: usize = 300;
/// Characters of how a container ended, so that what follows is not cut off.
const END_CHARS_MAX: usize = 170;
/// A container that was started again so often and ends still won't stay. At the kubelet's back-off (10 s,
/// doubled each time) that is after about five minutes, less for one that lives a while.
pub const RESTARTS_MAX: i32 = 5;

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

/// Which of a pod's containers a status is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Main,
    /// Runs to its end before the main ones start.
    Init,
    /// An init container that goes on running (`restartPolicy: Always`).
    Sidecar,
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
    let of_containers =
        containers(pod).filter_map(|(role, spec, status)| container(role, spec, status));
    of_pod.into_iter().flatten().chain(of_containers).min_by_key(|cause| cause.rank)
}

/// Returns each container that has a status, with what its template says of it.
fn containers(pod: &Pod) -> impl Iterator<Item = (Role, Option<&Container>, &ContainerStatus)> {
    let (spec, status) = (pod.spec.as_ref(), pod.status.as_ref());
    let init = status.and_then(|status| status.init_container_statuses.as_deref());
    let main = status.and_then(|status| status.container_statuses.as_deref());
    let init_specs = spec.and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
    let main_specs = spec.map(|spec| spec.containers.as_slice()).unwrap_or_default();
    let init = init.unwrap_or_default().iter().map(move |status| {
        let spec = init_specs.iter().find(|spec| spec.name == status.name);
        let goes_on = spec.is_some_and(|spec| spec.restart_policy.as_deref() == Some("Always"));
        (if goes_on { Role::Sidecar } else { Role::Init }, spec, status)
    });
    let main = main.unwrap_or_default().iter().map(move |status| {
        (Role::Main, main_specs.iter().find(|spec| spec.name == status.name), status)
    });
    init.chain(main)
}

fn container(role: Role, spec: Option<&Container>, status: &ContainerStatus) -> Option<Cause> {
    let kind = if role == Role::Main { "container" } else { "init container" };
    let who = format!("{kind} {}", status.name);
    if let Some(waiting) = status.state.as_ref().and_then(|state| state.waiting.as_ref()) {
        return waits(&who, waiting, spec, status);
    }
    if let Some(ended) = status.state.as_ref().and_then(|state| state.terminated.as_ref()) {
        let done = role == Role::Init && ended.exit_code == 0;
        return if done { None } else { crashed(&who, ended, spec, status) };
    }
    let runs = status.state.as_ref().is_some_and(|state| state.running.is_some());
    // Between two crashes it runs; that it is not ready yet says less than how it ended.
    if let Some(ended) = last_end(status).filter(|_| runs && !status.ready) {
        return crashed(&who, ended, spec, status);
    }
    match role {
        Role::Init if runs => Cause::new(Rank::Init, format!("{who} runs still")),
        Role::Init => None,
        Role::Main | Role::Sidecar if runs => unproven(&who, spec, status),
        Role::Main | Role::Sidecar => None,
    }
}

/// What a container waits for, by the kubelet's words for it.
fn waits(
    who: &str,
    waiting: &ContainerStateWaiting,
    spec: Option<&Container>,
    status: &ContainerStatus,
) -> Option<Cause> {
    let message = waiting.message.as_deref().unwrap_or_default();
    let reason = waiting.reason.as_deref().unwrap_or_default();
    let image = spec.and_then(|spec| spec.image.as_deref()).unwrap_or(&status.image);
    let told = |words: &str| {
        format!("{who}: {words}{}{message}", if message.is_empty() { "" } else { ": " })
    };
    match reason {
        "CrashLoopBackOff" => match last_end(status) {
            Some(ended) => crashed(who, ended, spec, status),
            None => Cause::new(Rank::Crash, format!("{who} does not stay up")),
        },
        "InvalidImageName" | "ErrInvalidImageName" => {
            Cause::new(Rank::Hopeless, format!("{who}: `{image}` is not the name of an image"))
        }
        "ImagePullBackOff" | "ErrImagePull" | "RegistryUnavailable" => {
            let why = message.split_once("ErrImagePull: ").map_or(message, |(_, why)| why);
            Cause::new(Rank::Image, format!("{who}: the image {image} can't be pulled: {why}"))
        }
        "ErrImageNeverPull" => Cause::new(
            Rank::Image,
            format!(
                "{who}: the image {image} is not on the node, and may not be pulled (imagePullPolicy: Never)"
            ),
        ),
        "ImageInspectError" | "SignatureValidationFailed" => {
            Cause::new(Rank::Image, told(&format!("the image {image} can't be used")))
        }
        "CreateContainerConfigError" => {
            Cause::new(Rank::Configuration, told("can't be configured"))
        }
        "ContainerCreating" | "PodInitializing" | "" => {
            Cause::new(Rank::Creating, format!("{who} is not made yet (image, volumes, network)"))
        }
        // `RunContainerError`, `CreateContainerError`, `PostStartHookError` and what comes later.
        other => Cause::new(Rank::Crash, told(other)),
    }
}

fn last_end(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let of = |state: &'_ Option<ContainerState>| state.as_ref()?.terminated.is_some().then_some(());
    let state = if of(&status.state).is_some() { &status.state } else { &status.last_state };
    state.as_ref()?.terminated.as_ref()
}

fn crashed(
    who: &str,
    ended: &ContainerStateTerminated,
    spec: Option<&Container>,
    status: &ContainerStatus,
) -> Option<Cause> {
    let limit = || {
        let limits = spec?.resources.as_ref()?.limits.as_ref()?;
        Some(format!(" (limit {})", limits.get("memory")?.0))
    };
    let how = match (ended.reason.as_deref(), ended.message.as_deref()) {
        (Some("OOMKilled"), _) => {
            format!("was killed, out of memory{}", limit().unwrap_or_default())
        }
        // The runtime's own words; otherwise the message is the application's, as its log is.
        (Some("StartError" | "ContainerCannotRun"), Some(message)) => {
            // The layers in front of it say the same at every failure.
            let why = message.split_once("create failed: unable to start container process: ");
            format!("can't be started: {}", why.map_or(message, |(_, why)| why))
        }
        _ => format!("ended with {}", exit(ended)),
    };
    let probes = spec.is_some_and(|s| s.startup_probe.is_some() || s.liveness_probe.is_some());
    let asked =
        matches!(ended.exit_code, 0 | 137 | 143) && ended.reason.as_deref() != Some("OOMKilled");
    let by = if probes && asked { " (a startup or liveness probe may have ended it)" } else { "" };
    let restarts = match status.restart_count {
        ..=0 => String::new(),
        1 => ", restarted once".to_owned(),
        n => format!(", restarted {n} times"),
    };
    let hopeless = status.restart_count >= RESTARTS_MAX;
    let rank = if hopeless { Rank::Hopeless } else { Rank::Crash };
    let never_ran = matches!(ended.reason.as_deref(), Some("StartError" | "ContainerCannotRun"));
    let previous = status.state.as_ref().is_some_and(|state| state.running.is_some());
    Some(Cause {
        rank,
        what: format!("{who} {}{restarts}{by}", cut(&how, END_CHARS_MAX)),
        log: (!never_ran).then(|| (status.name.clone(), previous)),
    })
}

fn exit(ended: &ContainerStateTerminated) -> String {
    // A shell's, and a container runtime's, way to say that a signal ended it.
    let signal = ended.signal.filter(|signal| *signal > 0).or(match ended.exit_code {
        129..=159 => Some(ended.exit_code - 128),
        _ => None,
    });
    let name = match signal {
        None => return format!("exit code {}", ended.exit_code),
        Some(6) => " (SIGABRT)",
        Some(7) => " (SIGBUS)",
        Some(9) => " (SIGKILL)",
        Some(11) => " (SIGSEGV)",
        Some(15) => " (SIGTERM)",
        Some(_) => "",
    };
    format!("exit code {}, signal {}{name}", ended.exit_code, signal.unwrap_or_default())
}

/// It runs; a probe of its own says that it can't serve.
fn unproven(who: &str, spec: Option<&Container>, status: &ContainerStatus) -> Option<Cause> {
    let startup = spec.and_then(|spec| spec.startup_probe.as_ref());
    let readiness = spec.and_then(|spec| spec.readiness_probe.as_ref());
    match (startup, readiness) {
        (Some(probe), _) if status.started != Some(true) => Cause::new(
            Rank::Probe,
            format!("{who} runs, its startup probe does not pass: {}", asks(probe)),
        ),
        (_, Some(probe)) if !status.ready => Cause::new(
            Rank::Probe,
            format!("{who} runs, its readiness probe does not pass: {}", asks(probe)),
        ),
        _ => None,
    }
}

/// Says what a probe asks, without headers: they may hold credentials.
fn asks(probe: &Probe) -> String {
    let port = |port: &IntOrString| match port {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(name) => name.clone(),
    };
    if let Some(http) = &probe.http_get {
        return format!("GET :{}{}", port(&http.port), http.path.as_deref().unwrap_or("/"));
    }
    if let Some(tcp) = &probe.tcp_socket {
        return format!("connect :{}", port(&tcp.port));
    }
    if let Some(grpc) = &probe.grpc {
        return format!("gRPC health :{}", grpc.port);
    }
    "its command".to_owned()
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
