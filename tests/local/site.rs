//! One application on one host, with everything that `gate` does there.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::poll::{until, within};
use crate::processes::{self, Application};
use crate::traffic::{self, Users};

/// A host that starts, an application that becomes ready: seconds even where many build beside it.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A whole promotion with the quick policy.
pub(crate) const PROMOTION_MAX: Duration = Duration::from_secs(120);

/// Short stages, judged by a threshold at every second.
pub(crate) const QUICK: &str = "
  strategy: canary
  stages:
    - { share: 50%, hold: 2s, deadline: 30s }
    - { share: 100%, hold: 2s, deadline: 30s }
  evidence: { judge: threshold, interval: 1s, window: 4s, looks: 2, min_requests: 10 }
  prepare: { deadline: 8s }
  drain: 1s
  rollback_drain: 1s
  auto_rollback:
    conditions: [error_rate > 5%, response_time_p95 > 1000ms, health_check_failures > 3]
";

/// One good release, and every kind of bad one.
pub(crate) const RELEASES: &str = r#"
  v1: { command: ["{gate}", example-app, --version, v1] }
  v2: { command: ["{gate}", example-app, --version, v2] }
  v3: { command: ["{gate}", example-app, --version, v3] }
  broken: { command: ["{gate}", example-app, --version, broken, --error-rate, "0.30"] }
  slow: { command: ["{gate}", example-app, --version, slow, --latency-ms, "1300"] }
  hanging: { command: ["{gate}", example-app, --version, hanging, --hang] }
  sickly: { command: ["{gate}", example-app, --version, sickly, --unhealthy-after, 3s] }
  crashing: { command: ["{gate}", example-app, --version, crashing, --crash-after, 300ms] }
  crashing-later: { command: ["{gate}", example-app, --version, crashing-later, --crash-after, 3s] }
  never-ready: { command: ["{gate}", example-app, --version, never-ready, --never-ready] }
  not-there: { command: [/no/such/program] }
"#;

/// Distinguishes the sites of one test binary.
static SITES: AtomicU32 = AtomicU32::new(1);

pub(crate) struct Site {
    folder: TempDir,
    /// Of users, `IP:PORT`.
    pub(crate) address: String,
    files: AtomicU32,
}

/// A running `gate serve`.
pub(crate) struct Host {
    child: Child,
    said: PathBuf,
}

/// A command of `gate` that runs.
pub(crate) struct Client {
    child: Child,
    out: PathBuf,
    said: PathBuf,
}

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Site {
    pub(crate) fn new() -> Self {
        Self::with(QUICK, "v1")
    }

    pub(crate) fn with(policy: &str, stable: &str) -> Self {
        Self::of(policy, stable, RELEASES)
    }

    pub(crate) fn of(policy: &str, stable: &str, releases: &str) -> Self {
        let health = "health_check: { path: /health, interval: 1s, threshold: 3 }";
        Self::probed(health, policy, stable, releases)
    }

    /// Nobody else has this site's address: it is a part of 127.0.0.0/8 of its own.
    pub(crate) fn probed(health: &str, policy: &str, stable: &str, releases: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (pid, site) = (std::process::id(), SITES.fetch_add(1, Ordering::Relaxed));
        let ip = format!("127.{}.{}.{}", 16 + (pid >> 8) % 200, pid % 256, 1 + site % 250);
        let address = format!("{ip}:8080");
        let app = format!(
            "app: shop\nlisten: {address}\nadmin: {ip}:8081\nstable: {stable}\n\
             {health}\ndeployment:{policy}\nreleases:{releases}\n"
        );
        std::fs::write(folder.path().join("app.yaml"), app).unwrap();
        Self { folder, address, files: AtomicU32::new(0) }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The host's own folder.
    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state/local/shop")
    }

    pub(crate) fn applications(&self) -> Vec<Application> {
        processes::of_host(&self.state())
    }

    /// Returns a command that sees nothing of this test's environment.
    pub(crate) fn gate(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gate"));
        command
            .args(line.split_whitespace())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("USER", "ada")
            .env("GATE_STATE_DIR", self.folder.path().join("state"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    fn new_file(&self, ending: &str) -> PathBuf {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        self.folder.path().join(format!("{number}.{ending}"))
    }

    /// Starts the host; it need not be ready.
    pub(crate) fn start(&self) -> Host {
        self.start_as(self.gate("serve app.yaml"))
    }

    pub(crate) fn start_as(&self, mut command: Command) -> Host {
        let said = self.new_file("err");
        let child = command.stdout(Stdio::null()).stderr(File::create(&said).unwrap()).spawn();
        Host { child: child.unwrap(), said }
    }

    /// Starts the host and waits until it answers users.
    pub(crate) fn serve(&self) -> Host {
        let host = self.start();
        self.await_answer(&host);
        host
    }

    /// Waits until users get good answers, and the host hears.
    pub(crate) fn await_answer(&self, host: &Host) {
        let answers =
            || (traffic::get(&self.address).is_good() && self.status().is_some()).then_some(());
        let answered = within(SOON, answers);
        assert!(answered.is_some(), "the host does not answer; it said:\n{}", host.said());
    }

    pub(crate) fn users(&self) -> Users {
        Users::come(&self.address, 12, Duration::from_millis(200))
    }

    /// Begins a command in the background.
    pub(crate) fn begin(&self, line: &str) -> Client {
        self.begin_as(self.gate(line))
    }

    pub(crate) fn begin_as(&self, mut command: Command) -> Client {
        let (out, said) = (self.new_file("out"), self.new_file("err"));
        command.stdout(File::create(&out).unwrap()).stderr(File::create(&said).unwrap());
        Client { child: command.spawn().unwrap(), out, said }
    }

    /// Begins a promotion at the host.
    pub(crate) fn promote(&self, release: &str) -> Client {
        self.begin(&format!("promote local/shop --release {release} --output json"))
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, line: &str) -> Ran {
        self.begin(line).ended(PROMOTION_MAX)
    }

    /// Returns the host's status, if it answers.
    pub(crate) fn status(&self) -> Option<Value> {
        let ran = self.run("status local/shop --output json");
        (ran.code == 0).then(|| serde_json::from_str(&ran.stdout).unwrap())
    }

    /// Waits until the promotion that runs is in this phase (and stage, from 1); it may not end before.
    #[track_caller]
    pub(crate) fn await_phase(&self, phase: &str, stage: Option<u64>) {
        let what = format!("phase {phase} {stage:?}");
        let mut has_begun = false;
        until(&what, PROMOTION_MAX, || {
            let status = self.status()?;
            let run = &status["promotion"];
            has_begun |= !run.is_null();
            assert!(!has_begun || !run.is_null(), "it ended before {what}: {status}");
            let is_there = stage.is_none() || run["stage"].as_u64() == stage;
            (run["phase"] == phase && is_there).then_some(())
        });
    }

    /// Waits until no promotion runs.
    #[track_caller]
    pub(crate) fn await_idle(&self) -> Value {
        until("no promotion", PROMOTION_MAX, || {
            self.status().filter(|status| status["promotion"].is_null())
        })
    }

    /// Asserts that stable is this release, that it alone runs, once, and that it answers everybody.
    #[track_caller]
    pub(crate) fn assert_serves_only(&self, release: &str) {
        let status = self.await_idle();
        assert_eq!(status["stable_revision"], release, "{status}");
        let one = || {
            let applications = self.applications();
            let names: Vec<&str> = applications.iter().map(Application::release).collect();
            (names == [release]).then_some(())
        };
        let alone = within(SOON, one);
        assert!(alone.is_some(), "{release} does not run alone: {:?}", self.applications());
        until("good answers", SOON, || traffic::get(&self.address).is_good().then_some(()));
        for _ in 0..10 {
            let seen = traffic::get(&self.address);
            assert!(seen.is_good() && seen.is_from(release), "{seen:?}");
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for application in self.applications() {
            processes::signal(application.pid, Signal::KILL);
        }
    }
}

impl Host {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.said).unwrap()
    }

    /// Dies as by `kill -9`.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn exited(&mut self, limit: Duration) -> Option<ExitStatus> {
        within(limit, || self.child.try_wait().unwrap())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Client {
    pub(crate) fn signal(&self, signal: Signal) {
        processes::signal(self.child.id(), signal);
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn ended(mut self, limit: Duration) -> Ran {
        let status = until("the command's end", limit, || self.child.try_wait().unwrap());
        let text = |path: &Path| std::fs::read_to_string(path).unwrap();
        let (stdout, stderr) = (text(&self.out), text(&self.said));
        Ran { code: status.code().unwrap_or(-1), stdout, stderr }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Ran {
    /// Returns the last line of stdout, which is the result.
    #[track_caller]
    pub(crate) fn result(&self) -> Value {
        let last = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
