//! The last words of a container that ended. A log holds what its application writes, so little of it
//! is shown, and none is kept beside the record of the trouble.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, LogParams};

use super::cut;
use crate::platform::PlatformError;
use crate::platform::kubernetes::access::Access;
use crate::rollout::Trouble;

/// Lines that are shown.
pub const LINES_MAX: usize = 5;
/// Characters of one of them.
pub const LINE_CHARS_MAX: usize = 200;
/// Read at most, in bytes: no line is cut in front that is cut behind anyway.
const BYTES_MAX: i64 = 64 * 1024;

/// Whose log tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logs {
    pub pod: String,
    pub container: String,
    /// It runs again: the log of its life before.
    pub previous: bool,
}

/// Returns the container whose end is the trouble that [`trouble`](super::trouble) tells, if it is one.
#[must_use]
pub fn wants_logs<'a>(pods: impl Iterator<Item = &'a Pod>) -> Option<Logs> {
    let (pod, cause) = super::worst(pods)?;
    let (container, previous) = cause.log?;
    Some(Logs { pod: pod.to_owned(), container, previous })
}

/// Appends the end of a log to what the trouble is.
#[must_use]
pub fn with_logs(trouble: Trouble, log: &str) -> Trouble {
    // The kubelet answers so, as if it were the log, when the runtime has thrown it away.
    let said = log.lines().filter(|line| !line.starts_with("unable to retrieve container logs"));
    let lines: Vec<String> =
        said.map(|line| cut(line, LINE_CHARS_MAX)).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return trouble;
    }
    let last = lines[lines.len().saturating_sub(LINES_MAX)..].join(" | ");
    Trouble { what: format!("{}; last log lines: {last}", trouble.what), ..trouble }
}

/// Reads the end of a log.
///
/// # Errors
/// The API server or the kubelet does not give it; the permission `pods/log` is missing.
pub async fn read(access: &Access, logs: &Logs) -> Result<String, PlatformError> {
    let pods: Api<Pod> = Api::namespaced(access.client.clone(), &access.namespace);
    let asked = LogParams {
        container: Some(logs.container.clone()),
        previous: logs.previous,
        tail_lines: Some(LINES_MAX as i64),
        limit_bytes: Some(BYTES_MAX),
        ..LogParams::default()
    };
    let what = format!("the log of {}/{}", logs.pod, logs.container);
    access.ask(&what, pods.logs(&logs.pod, &asked)).await
}
