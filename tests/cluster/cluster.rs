//! The cluster, found or started, and the way into its network.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use gate::evidence::presets::Preset;
use gate::evidence::prometheus::answer::{Data, Series};
use gate::evidence::prometheus::{Credentials, Source};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::namespace::Namespace;

/// What `tests/cluster/up` ends with where no cluster can be had.
const UNAVAILABLE: i32 = 3;

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) kubeconfig: String,
    /// Absent for somebody else's cluster, which is reached from here.
    netns: Option<String>,
    environment: BTreeMap<String, String>,
}

impl Cluster {
    /// Returns the one cluster of all tests, up and with the images of this `gate`. `None` has said why,
    /// and is a failure where tools are required.
    ///
    /// `GATE_TEST_KUBECONFIG` names another one: the images must be there, and `GATE_TEST_GATEWAY`
    /// (`HOST:PORT`) and `GATE_TEST_PROMETHEUS` (a URL) as well for the tests that need them.
    pub(crate) fn there() -> Option<&'static Self> {
        static CLUSTER: OnceLock<Result<Cluster, String>> = OnceLock::new();
        match CLUSTER.get_or_init(Self::find) {
            Ok(cluster) => Some(cluster),
            Err(why) => {
                assert!(std::env::var_os("GATE_REQUIRE_TOOLS").is_none(), "{why}");
                eprintln!("SKIPPED: {why}");
                None
            }
        }
    }

    fn find() -> Result<Self, String> {
        if let Ok(kubeconfig) = std::env::var("GATE_TEST_KUBECONFIG") {
            return Ok(Self { kubeconfig, netns: None, environment: std::env::vars().collect() });
        }
        let up = script("up").output().unwrap();
        let said = String::from_utf8_lossy(&up.stderr);
        if up.status.code() == Some(UNAVAILABLE) {
            return Err(said.trim().to_owned());
        }
        assert!(up.status.success(), "tests/cluster/up failed: {said}");
        let text = String::from_utf8_lossy(&up.stdout).into_owned();
        let exports = text.lines().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        let environment: BTreeMap<_, _> =
            exports.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let images = script("images").arg(env!("CARGO_BIN_EXE_gate")).output().unwrap();
        assert!(images.status.success(), "{}", String::from_utf8_lossy(&images.stderr));
        Ok(Self {
            kubeconfig: environment["KUBECONFIG"].clone(),
            netns: environment.get("GATE_TEST_NETNS").cloned(),
            environment,
        })
    }

    /// Returns `HOST:PORT` of the Gateway `web` in the namespace `gateway`; routes are told apart by host name.
    pub(crate) fn gateway(&self) -> &str {
        self.environment.get("GATE_TEST_GATEWAY").expect("this test needs GATE_TEST_GATEWAY")
    }

    /// Returns the URL of a Prometheus that scrapes every pod annotated `prometheus.io/scrape: "true"` each second.
    pub(crate) fn prometheus(&self) -> &str {
        self.environment.get("GATE_TEST_PROMETHEUS").expect("this test needs GATE_TEST_PROMETHEUS")
    }

    /// Makes a namespace that goes with its value.
    pub(crate) fn namespace(&self, name: &str) -> Namespace<'_> {
        Namespace::new(self, name)
    }

    /// Returns a command that will run in the cluster's network, with its `KUBECONFIG`.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = match &self.netns {
            None => Command::new(program),
            Some(netns) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={netns}")).arg("--").arg(program);
                command
            }
        };
        let own = self.environment.iter().filter(|(name, _)| name.starts_with("KUBE"));
        command.envs(own).env("KUBECONFIG", &self.kubeconfig).stdin(Stdio::null());
        command
    }

    /// Returns a command of the `gate` that is tested.
    pub(crate) fn gate(&self) -> Command {
        self.command(env!("CARGO_BIN_EXE_gate"))
    }

    /// Runs kubectl, about 0.2 s; returns what it prints.
    #[track_caller]
    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        let ran = self.try_kubectl(args);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "kubectl {}: {said}", args.join(" "));
        String::from_utf8_lossy(&ran.stdout).into_owned()
    }

    pub(crate) fn try_kubectl(&self, args: &[&str]) -> Output {
        self.kubectl_command().args(args).output().unwrap()
    }

    pub(crate) fn kubectl_command(&self) -> Command {
        let own = Path::new(&self.kubeconfig).with_file_name("../bin/kubectl");
        self.command(if self.netns.is_some() { own.to_str().unwrap() } else { "kubectl" })
    }

    /// Does something in the cluster's network, on a thread of its own: sockets, processes and threads that
    /// it makes are there too.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let done = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.move_in();
                work()
            });
            thread.join()
        });
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Does something asynchronous in the cluster's network.
    pub(crate) fn run<F>(&self, work: F) -> F::Output
    where
        F: Future + Send,
        F::Output: Send,
    {
        self.inside(|| runtime().block_on(work))
    }

    /// Asks the cluster's Prometheus for a vector.
    #[track_caller]
    pub(crate) fn ask(&self, expression: &str) -> Vec<Series> {
        let preset = Preset::named("plain").unwrap();
        let source = Source::new(self.prometheus(), preset, &Credentials::default()).unwrap();
        match self.run(source.ask(expression)) {
            Ok(Data::Vector(series)) => series,
            other => panic!("{expression}: {other:?}"),
        }
    }

    /// Moves the calling thread into the cluster's network for good.
    pub(crate) fn move_in(&self) {
        if let Some(netns) = &self.netns {
            let netns = File::open(netns).unwrap();
            move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        }
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn script(name: &str) -> Command {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster");
    let mut command = Command::new(folder.join(name));
    command.stdin(Stdio::null());
    command
}
