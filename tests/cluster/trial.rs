//! One application with users, and a gate that releases it.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::Cluster;
use crate::load::{Connections, Load, Visit};
use crate::manifests;
use crate::namespace::Namespace;
use crate::poll;

/// A whole promotion with short stages, on a machine that others build on.
pub(crate) const PROMOTION_MAX: Duration = Duration::from_secs(240);

/// The application's name, its Service's and its route's.
pub(crate) const SHOP: &str = "shop";

/// What splits the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Service,
    Routes,
}

pub(crate) struct Trial {
    pub(crate) space: Namespace<'static>,
    pub(crate) by: By,
    /// `HOST:PORT`, and the name in the header `host`.
    pub(crate) address: String,
    pub(crate) host: String,
    folder: TempDir,
}

/// A command of `gate` that runs; it is killed where a test gives it up.
pub(crate) struct Running {
    child: Child,
    pub(crate) out: PathBuf,
    said: PathBuf,
}

/// What became of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    /// One JSON object a line.
    pub(crate) lines: Vec<Value>,
    pub(crate) said: String,
}

impl Trial {
    /// Brings an application up: a Deployment, its Service and, where it goes by routes, its HTTPRoute.
    pub(crate) fn new(cluster: &'static Cluster, name: &str, manifests: &str, by: By) -> Self {
        let space = cluster.namespace(name);
        let host = format!("{}.test", space.name);
        let route = manifests::route(SHOP, &host, &[(SHOP, 1)]);
        space.apply(&match by {
            By::Service => manifests.to_owned(),
            By::Routes => format!("{manifests}{route}"),
        });
        space.rolled_out(SHOP);
        let address = match by {
            By::Service => space.address(SHOP),
            By::Routes => cluster.gateway().to_owned(),
        };
        crate::load::until_answered(cluster, &Visit::new(&address, &host, Connections::Fresh));
        Self { space, by, address, host, folder: tempfile::tempdir().unwrap() }
    }

    /// Sends 100 requests a second.
    pub(crate) fn users(&self, connections: Connections) -> Load {
        Load::start(self.space.cluster, Visit::new(&self.address, &self.host, connections))
    }

    /// Sends 20 requests a second that have a header more.
    pub(crate) fn testers(&self, header: (&'static str, &'static str)) -> Load {
        let visit = Visit::new(&self.address, &self.host, Connections::Fresh);
        Load::start(self.space.cluster, Visit { header: Some(header), users: 2, ..visit })
    }

    /// Begins a promotion.
    pub(crate) fn start(&self, release: &str, policy: &str) -> Running {
        self.start_with(release, policy, &[])
    }

    /// The same, with more options.
    pub(crate) fn start_with(&self, release: &str, policy: &str, more: &[&str]) -> Running {
        self.asked("promote", release, policy, more)
    }

    /// Begins a command that is told a release and a policy.
    pub(crate) fn asked(
        &self,
        command: &str,
        release: &str,
        policy: &str,
        more: &[&str],
    ) -> Running {
        let (target, path) = (target(), self.policy_file(policy));
        let args = [command, &target, "--release", release, "--policy", &path];
        self.gate(&[&args, more].concat())
    }

    /// Writes a policy; returns its path.
    pub(crate) fn policy_file(&self, policy: &str) -> String {
        let path = self.file("policy.yaml", &self.policy(policy));
        path.to_str().unwrap().to_owned()
    }

    /// Writes a file that goes with the trial.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        path
    }

    /// A policy is written without its router, or with all that splits the traffic.
    fn policy(&self, policy: &str) -> String {
        let traffic = match self.by {
            _ if policy.contains("traffic:") => "",
            By::Service => "",
            By::Routes => "  traffic: { router: gateway-api, route: shop }\n",
        };
        format!("deployment:\n{policy}{traffic}")
    }

    /// Promotes to its end.
    pub(crate) fn promote(&self, release: &str, policy: &str) -> Ran {
        self.start(release, policy).end()
    }

    /// Begins a command of the gate, in this namespace.
    pub(crate) fn gate(&self, args: &[&str]) -> Running {
        self.begin(self.space.cluster.gate(), args)
    }

    /// The same on what looks like another machine: its processes are not to be seen from this one, nor
    /// this one's from there.
    pub(crate) fn elsewhere(&self, args: &[&str]) -> Running {
        let mut command = self.space.cluster.command("unshare");
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
        command.arg(env!("CARGO_BIN_EXE_gate"));
        self.begin(command, args)
    }

    fn begin(&self, mut gate: Command, args: &[&str]) -> Running {
        let number = std::fs::read_dir(self.folder.path()).unwrap().count();
        let path = |what: &str| self.folder.path().join(format!("{number}.{what}"));
        let (out, said) = (path("out"), path("said"));
        gate.args(args).args(["--namespace", &self.space.name, "--output", "json"]);
        gate.stdout(File::create(&out).unwrap()).stderr(File::create(&said).unwrap());
        Running { child: gate.stdin(Stdio::null()).spawn().unwrap(), out, said }
    }
}

/// What the gate is told to release.
pub(crate) fn target() -> String {
    format!("deployment/{SHOP}")
}

impl Running {
    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ran {
        let ended = poll::within(PROMOTION_MAX, || self.child.try_wait().unwrap());
        let said = std::fs::read_to_string(&self.said).unwrap();
        let lines = self.lines();
        let last: Vec<_> = lines.iter().rev().take(3).collect();
        let status = ended.unwrap_or_else(|| panic!("not within {PROMOTION_MAX:?}: {last:#?}"));
        let code = status.code().unwrap_or_else(|| panic!("{status}: {said}"));
        Ran { code, lines, said }
    }

    /// Returns what it has printed so far.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let out = std::fs::read_to_string(&self.out).unwrap();
        // The last may not be whole yet.
        out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until it has printed something.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        poll::until(what, PROMOTION_MAX, || {
            let found = self.lines().into_iter().find(&is);
            let ended = self.child.try_wait().unwrap();
            assert!(found.is_some() || ended.is_none(), "{what}: {:?}", self.lines().last());
            found
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until the process is gone: it was killed.
    pub(crate) fn gone(&mut self) {
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, as a rule.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ran {
    /// Returns the result: the last line.
    #[track_caller]
    pub(crate) fn result(&self) -> &Value {
        let last = self.lines.last().filter(|last| last["schema"] == "gate.result/v1");
        last.unwrap_or_else(|| panic!("exit code {}, no result: {}", self.code, self.said))
    }

    /// Checks how it ended.
    #[track_caller]
    pub(crate) fn expect(&self, code: i32, result: &str) -> &Value {
        let line = self.result();
        assert_eq!((self.code, line["result"].as_str()), (code, Some(result)), "{line:#}");
        line
    }

    pub(crate) fn events(&self, name: &str) -> Vec<&Value> {
        self.lines.iter().filter(|line| line["event"] == name).collect()
    }
}
