//! Users from a program that nobody here wrote: vegeta, a connection for each request.

use std::path::PathBuf;
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::namespace::WAIT_MAX;
use crate::poll;
use crate::tools::tool;
use crate::trial::Trial;

/// A running generator.
pub(crate) struct Vegeta {
    child: Child,
    program: PathBuf,
    folder: TempDir,
}

impl Vegeta {
    /// Sends 100 requests a second until it is stopped. `None` without vegeta.
    pub(crate) fn start(trial: &Trial) -> Option<Self> {
        let (program, folder) = (tool("vegeta")?, tempfile::tempdir().unwrap());
        let targets = folder.path().join("targets");
        let target = format!("GET http://{}/\nHost: {}\n", trial.address, trial.host);
        std::fs::write(&targets, target).unwrap();
        let child = trial
            .space
            .cluster
            .command(program.to_str().unwrap())
            .args(["attack", "-duration=0", "-rate=100/s", "-timeout=3s", "-keepalive=false"])
            .arg(format!("-targets={}", targets.display()))
            .arg(format!("-output={}", folder.path().join("results").display()))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { child, program, folder })
    }

    /// Stops it, waits for the answers that are due; returns vegeta's own report.
    pub(crate) fn stop(mut self) -> Value {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).unwrap();
        poll::until("the generator's end", WAIT_MAX, || self.child.try_wait().unwrap());
        let report = std::process::Command::new(&self.program)
            .args(["report", "-type=json"])
            .arg(self.folder.path().join("results"))
            .output()
            .unwrap();
        serde_json::from_slice(&report.stdout).unwrap()
    }
}

impl Drop for Vegeta {
    fn drop(&mut self) {
        // It has ended already, as a rule.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
