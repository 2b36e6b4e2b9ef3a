//! The action as a workflow uses it: `act` runs the jobs on this machine, against the local platform.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::tools::{GATE, root, said, succeeds, tool, write_app};

const WORKFLOW: &str = r#"
on: push
jobs:
  healthy:
    runs-on: ubuntu-latest
    env: { JOB: healthy, GATE_STATE_DIR: "FOLDER/state/healthy" }
    steps:
      - uses: actions/checkout@v4
      - id: gate
        uses: owner/gate@v1
        with: { target: app.yaml, release: v2, policy: fast.yaml, args: "--load=100" }
      - { if: always(), run: NOTE, env: NOTED }
  bad:
    runs-on: ubuntu-latest
    env: { JOB: bad, GATE_STATE_DIR: "FOLDER/state/bad" }
    steps:
      - uses: actions/checkout@v4
      - id: gate
        uses: owner/gate@v1
        with: { target: app.yaml, release: broken, policy: fast.yaml, args: "--load=100" }
      - { if: always(), uses: owner/gate@v1, with: { action: abort, target: app.yaml, args: --if-orphaned } }
      - { if: always(), run: NOTE, env: NOTED }
  cancelled:
    runs-on: ubuntu-latest
    env: { JOB: cancelled, GATE_STATE_DIR: "FOLDER/state/cancelled", CANCEL: "1" }
    steps:
      - uses: actions/checkout@v4
      - id: gate
        uses: owner/gate@v1
        with: { target: app.yaml, release: v2, policy: slow.yaml, args: "--load=100" }
      - { if: always(), run: NOTE, env: NOTED }
  hostile:
    runs-on: ubuntu-latest
    env: { JOB: hostile, GATE_STATE_DIR: "FOLDER/state/hostile" }
    steps:
      - uses: actions/checkout@v4
      - id: gate
        continue-on-error: true
        uses: owner/gate@v1
        with:
          target: app.yaml
          release: HOSTILE
      - { if: always(), run: NOTE, env: NOTED }
"#;

/// Notes what a later step of the job sees; the files go with the job.
const NOTE: &str = r#"printf '%s' "$OUTPUTS" >"$NOTES/$JOB.json"; printf '%s' "$OUTCOME" >"$NOTES/$JOB.outcome"; cp "$REPORT" "$NOTES/$JOB.record"; cp "$SUMMARY" "$NOTES/$JOB.summary""#;

const NOTED: &str = r#"{ OUTPUTS: "${{ toJSON(steps.gate.outputs) }}", OUTCOME: "${{ steps.gate.outcome }}", REPORT: "${{ steps.gate.outputs.report }}", SUMMARY: "${{ steps.gate.outputs.summary }}" }"#;

/// On the PATH as `gate`. Where a job is to be cancelled it does what a runner does then, once the
/// candidate has users: it sends SIGINT to the shell of the step, and to nobody else.
const WRAPPER: &str = r#"#!/bin/bash
if [ "$1" = promote ] && [ -n "$CANCEL" ]; then
  shell=$PPID
  (
    for _ in {1..600}; do
      ! grep -qs share.seen "$GATE_STATE_DIR"/local/*/history/*.jsonl || break
      sleep 0.1
    done
    kill -INT "$shell"
  ) </dev/null >/dev/null 2>&1 &
fi
exec REAL "$@"
"#;

const HOSTILE: &str = "v2\"'`touch FOLDER/pwned` $(touch FOLDER/pwned) %0A::error::x ${HOME} ✔ \\";

struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["repository/.github/workflows", "action", "bin", "notes", "home/.config/act"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let machine = Self { folder };
        machine.lay_repository();
        machine.lay_action();
        // Without it act asks which images it shall use.
        std::fs::write(machine.at("home/.config/act/actrc"), "").unwrap();
        let wrapper = machine.at("bin/gate");
        std::fs::write(&wrapper, WRAPPER.replace("REAL", GATE)).unwrap();
        std::fs::set_permissions(wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
        machine
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn lay_repository(&self) {
        let repository = self.at("repository");
        write_app(&repository);
        let policy = std::fs::read_to_string(repository.join("fast.yaml")).unwrap();
        let slow = policy.replace("hold: 3s", "hold: 600s");
        std::fs::write(repository.join("slow.yaml"), slow).unwrap();
        let folder = self.folder.path().display().to_string();
        let quoted = |text: &str| serde_json::to_string(text).unwrap();
        let workflow = WORKFLOW
            .replace("HOSTILE", &quoted(HOSTILE))
            .replace("NOTE,", &format!("{},", quoted(NOTE)))
            .replace("NOTED", NOTED)
            .replace("FOLDER", &folder);
        std::fs::write(repository.join(".github/workflows/deploy.yml"), workflow).unwrap();
        let git = |args: &[&str]| {
            let mut command = Command::new("git");
            command.args(["-c", "user.name=ada", "-c", "user.email=ada@example.invalid"]);
            succeeds(command.args(args).current_dir(&repository));
        };
        git(&["init", "--quiet"]);
        git(&["add", "--all"]);
        git(&["commit", "--quiet", "--message", "An app"]);
    }

    /// What a runner fetches of the action; the folder of builds is not of it.
    fn lay_action(&self) {
        for name in ["action.yml", "Cargo.toml", "Cargo.lock", "src", "policies"] {
            let mut copy = Command::new("cp");
            succeeds(copy.arg("-R").arg(root().join(name)).arg(self.at("action")));
        }
    }

    fn run(&self, act: &Path) -> Output {
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.at("bin").display());
        let home = self.at("home");
        Command::new(act)
            .args(["push", "--platform", "ubuntu-latest=-self-hosted"])
            .arg("--local-repository")
            .arg(format!("owner/gate@v1={}", self.at("action").display()))
            .args(["--artifact-server-addr", "127.0.0.1", "--cache-server-addr", "127.0.0.1"])
            .arg("--env")
            .arg(format!("NOTES={}", self.at("notes").display()))
            .env_clear()
            .env("PATH", path)
            .env("HOME", &home)
            .env("USER", "ada")
            .env("XDG_CACHE_HOME", home.join(".cache"))
            .current_dir(self.at("repository"))
            .output()
            .unwrap()
    }

    fn note(&self, name: &str) -> String {
        std::fs::read_to_string(self.at("notes").join(name)).unwrap()
    }

    /// The record of a job and the first line of its summary, which are there also after a failure.
    fn left_behind(&self, job: &str) -> (Value, String) {
        let summary = self.note(&format!("{job}.summary")).lines().next().unwrap().to_owned();
        (serde_json::from_str(&self.note(&format!("{job}.record"))).unwrap(), summary)
    }

    #[track_caller]
    fn outputs(&self, job: &str, outcome: &str) -> BTreeMap<String, String> {
        assert_eq!(self.note(&format!("{job}.outcome")), outcome, "{job}");
        serde_json::from_str(&self.note(&format!("{job}.json"))).unwrap()
    }
}

#[track_caller]
fn check(outputs: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(outputs.get(*name).map(String::as_str), Some(*value), "{name} of {outputs:?}");
    }
}

#[test]
fn a_workflow_promotes_rolls_back_and_is_cancelled() {
    let Some(act) = tool("act") else { return };
    let machine = Machine::new();
    let output = machine.run(&act);
    let said = said(&output);
    // Two of the jobs must fail.
    assert_eq!(output.status.code(), Some(1), "{said}");

    let healthy = machine.outputs("healthy", "success");
    check(&healthy, &[("result", "promoted"), ("exit-code", "0"), ("revision", "v2")]);
    check(&healthy, &[("previous-revision", "v1"), ("final-share", "1"), ("rolled-back", "false")]);
    assert_eq!(machine.left_behind("healthy").1, "## ✔ promoted: v2 passed every stage");

    let bad = machine.outputs("bad", "failure");
    check(&bad, &[("result", "rolled_back"), ("exit-code", "3"), ("rolled-back", "true")]);
    check(&bad, &[("revision", "broken"), ("final-share", "0")]);
    let (record, summary) = machine.left_behind("bad");
    assert!(summary.starts_with("## ✘ rolled back: error_rate"), "{summary}");
    assert_eq!(record["result"]["traffic"], "safe");
    assert!(said.contains("nothing is orphaned"), "{said}");

    let cancelled = machine.outputs("cancelled", "failure");
    check(&cancelled, &[("result", "aborted"), ("exit-code", "4"), ("final-share", "0")]);
    let (record, summary) = machine.left_behind("cancelled");
    assert!(summary.starts_with("## ‖ aborted: "), "{summary}");
    assert_eq!(record["result"]["traffic"], "safe");

    let hostile = machine.outputs("hostile", "failure");
    check(&hostile, &[("result", ""), ("exit-code", "2")]);
    let release = HOSTILE.replace("FOLDER", &machine.folder.path().display().to_string());
    check(&hostile, &[("revision", &release)]);
    assert!(!machine.at("pwned").exists(), "an input was executed");
}
