//! A Kubernetes namespace for one test.

use std::io::Write;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::cluster::Cluster;
use crate::load::{self, Connections, Visit};

/// Every wait for the cluster ends here, however slow the machine.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(120);

/// The same, for kubectl.
pub(crate) fn timeout() -> String {
    format!("--timeout={}s", WAIT_MAX.as_secs())
}

/// All objects in it go when it is dropped; of a test that fails it shows them first.
#[derive(Debug)]
pub(crate) struct Namespace<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) name: String,
}

impl<'a> Namespace<'a> {
    pub(crate) fn new(cluster: &'a Cluster, name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{name}-{}-{number}", std::process::id());
        cluster.kubectl(&["create", "namespace", &name]);
        let made = Self { cluster, name };
        // Until it is there, pods are refused.
        made.kubectl(&["wait", "--for=create", "serviceaccount/default", &timeout()]);
        made
    }

    /// Runs kubectl in this namespace; returns what it prints.
    #[track_caller]
    pub(crate) fn kubectl(&self, args: &[&str]) -> String {
        self.cluster.kubectl(&[&["--namespace", &self.name], args].concat())
    }

    /// Applies manifests as a user would.
    #[track_caller]
    pub(crate) fn apply(&self, manifests: &str) {
        let mut kubectl = self.cluster.kubectl_command();
        kubectl.args(["--namespace", &self.name, "apply", "--filename", "-"]);
        let mut child = kubectl
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The pipe closes here, or kubectl would wait for more.
        child.stdin.take().unwrap().write_all(manifests.as_bytes()).unwrap();
        let ran = child.wait_with_output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }

    /// Returns an object, or a list of them: `deployment/shop`, `pods`.
    #[track_caller]
    pub(crate) fn get(&self, what: &str) -> Value {
        serde_json::from_str(&self.kubectl(&["get", what, "--output=json"])).unwrap()
    }

    /// Waits until a Deployment has rolled out.
    #[track_caller]
    pub(crate) fn rolled_out(&self, deployment: &str) {
        self.kubectl(&["rollout", "status", &format!("deployment/{deployment}"), &timeout()]);
    }

    /// Returns the cluster address of a Service, `IP:80`, as soon as it answers: kube-proxy needs a moment.
    #[track_caller]
    pub(crate) fn address(&self, service: &str) -> String {
        let object = self.get(&format!("service/{service}"));
        let address = format!("{}:80", object["spec"]["clusterIP"].as_str().unwrap());
        load::until_answered(self.cluster, &Visit::new(&address, service, Connections::Fresh));
        address
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let args = ["get", "all,httproutes,events", "--output=wide", "--namespace", &self.name];
            let shown = self.cluster.try_kubectl(&args);
            eprintln!("{}", String::from_utf8_lossy(&shown.stdout));
        }
        // The next test need not wait for it. Nobody looks at what goes wrong: `down` takes everything.
        let _ = self.cluster.try_kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}
