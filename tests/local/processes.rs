//! What runs, as the kernel tells it: applications carry their host's mark in their environment.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// An application that a host has started.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Application {
    /// The release's name and a number.
    pub(crate) instance: String,
    pub(crate) pid: u32,
}

impl Application {
    pub(crate) fn release(&self) -> &str {
        self.instance.rsplit_once('-').map_or(self.instance.as_str(), |(release, _)| release)
    }
}

/// Returns the applications that live, of the host whose folder this is.
pub(crate) fn of_host(folder: &Path) -> Vec<Application> {
    let mark = format!("GATE_INSTANCE={}#", folder.display());
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut found: Vec<Application> = pids
        .filter(|pid| leads_a_session(*pid))
        .filter_map(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
            let text = String::from_utf8_lossy(&environment).into_owned();
            let instance = text.split('\0').find_map(|entry| entry.strip_prefix(&mark))?;
            Some(Application { instance: instance.to_owned(), pid })
        })
        .collect();
    found.sort();
    found
}

/// Fields 3 and 6 of `/proc/PID/stat`: alive, and leader of its session.
fn leads_a_session(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let Some((_, fields)) = stat.rsplit_once(") ") else { return false };
    let fields: Vec<&str> = fields.split(' ').collect();
    !matches!(fields[0], "Z" | "X") && fields[3] == pid.to_string()
}

/// Sends a signal; a process that has gone is no error.
pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}
