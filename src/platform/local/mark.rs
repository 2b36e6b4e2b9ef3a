//! Processes carry a mark in their environment, so that none is ever lost: a host that died between
//! starting one and writing it down, or whose state is damaged, finds it in `/proc` by its mark.

use std::path::Path;

use super::process::Identity;

/// `<folder of the app's host>#<instance>`
pub(super) const VARIABLE: &str = "GATE_INSTANCE";

/// A process that carries this host's mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) identity: Identity,
    pub(super) instance: String,
    pub(super) port: Option<u16>,
}

#[must_use]
pub(super) fn mark(host: &Path, instance: &str) -> String {
    format!("{}#{instance}", host.display())
}

/// Returns every live process that carries the mark of the host with this folder and leads its own
/// session (its children carry the mark as well, and go with it).
#[must_use]
pub(super) fn find(host: &Path) -> Vec<Marked> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| marked(host, pid)).collect()
}

fn marked(host: &Path, pid: u32) -> Option<Marked> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let variable = |name: &str| {
        environment.split(|byte| *byte == 0).find_map(|entry| {
            let value = entry.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            std::str::from_utf8(value).ok()
        })
    };
    let prefix = mark(host, "");
    let instance = variable(VARIABLE)?.strip_prefix(&prefix)?.to_owned();
    let port = variable("PORT").and_then(|port| port.parse().ok());
    let session = rustix::process::getsid(rustix::process::Pid::from_raw(i32::try_from(pid).ok()?));
    let leads = session.is_ok_and(|session| session.as_raw_nonzero().get().unsigned_abs() == pid);
    let identity = Identity::of(pid).ok()?;
    leads.then_some(Marked { identity, instance, port })
}
