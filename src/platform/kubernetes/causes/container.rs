//! What one container's status says: what it waits for, how it ended, which probe it fails.

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    Pod, Probe,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Cause, Rank, cut};

/// Characters of how a container ended, so that what follows is not cut off.
const END_CHARS_MAX: usize = 170;
/// A container that was started again so often and ends still won't stay. At the kubelet's back-off (10 s,
/// doubled each time) that is after about five minutes, less for one that lives a while.
pub const RESTARTS_MAX: i32 = 5;

/// Which of a pod's containers a status is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Main,
    /// Runs to its end before the main ones start.
    Init,
    /// An init container that goes on running (`restartPolicy: Always`).
    Sidecar,
}

/// Returns what each container of a pod has to complain of.
pub(super) fn complaints(pod: &Pod) -> impl Iterator<Item = Cause> {
    containers(pod).filter_map(|(role, spec, status)| container(role, spec, status))
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
