//! Somebody applies all of the user's manifests again, every few seconds, by force.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::killed::{is_event, is_share_seen};
use crate::load::{Connections, Seen, tally};
use crate::manifests;
use crate::namespace::WAIT_MAX;
use crate::poll;
use crate::trial::{By, Ran, SHOP, Trial, target};

/// From one application to the next.
const EVERY: Duration = Duration::from_secs(5);

/// 99.9 % of a normal distribution lie within so many standard deviations.
const DEVIATIONS: f64 = 3.29;

const POLICY: &str = "
  strategy: canary
  stages:
    - { share: 25%, hold: 15s, deadline: 90s }
    - { share: 100%, hold: 2s, deadline: 90s }
  evidence: { judge: threshold, interval: 1s, window: 3s, looks: 2, min_requests: 20 }
  prepare: { deadline: 60s }
  rollback_drain: 2s
  auto_rollback:
    conditions: [error_rate > 5%]
";

/// A tool that imitates Argo CD or Flux. It ends with its value.
struct Tool {
    manifests: Arc<Mutex<String>>,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Tool {
    fn start(cluster: &'static Cluster, namespace: &str, manifests: &str) -> Self {
        let (stop, stopped) = mpsc::channel();
        let manifests = Arc::new(Mutex::new(manifests.to_owned()));
        let (namespace, what) = (namespace.to_owned(), Arc::clone(&manifests));
        apply(cluster, &namespace, &what.lock().unwrap());
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                let manifests = what.lock().unwrap().clone();
                apply(cluster, &namespace, &manifests);
            }
        });
        Self { manifests, stop: Some(stop), thread: Some(thread) }
    }

    /// A commit.
    fn now_applies(&self, manifests: String) {
        *self.manifests.lock().unwrap() = manifests;
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // what it has to say is printed
        }
    }
}

fn apply(cluster: &Cluster, namespace: &str, manifests: &str) {
    let mut kubectl = cluster.kubectl_command();
    kubectl.args(["--namespace", namespace, "apply", "--server-side", "--force-conflicts"]);
    kubectl.args(["--field-manager=gitops", "--filename", "-"]);
    let child = kubectl.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    // The pipe closes here, or kubectl would wait for more.
    child.stdin.take().unwrap().write_all(manifests.as_bytes()).unwrap();
    let ran = child.wait_with_output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

/// An autoscaler that would take all copies but one.
pub(crate) fn autoscaler() -> String {
    format!(
        "
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{name: {SHOP}}}
spec:
  scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: {SHOP}}}
  minReplicas: 1
  maxReplicas: 8
  metrics: [{{type: Resource, resource: {{name: cpu, target: {{type: Utilization, averageUtilization: 80}}}}}}]
---
"
    )
}

struct Site {
    trial: Trial,
    tool: Tool,
    by: By,
}

impl Site {
    fn new(name: &str, by: By) -> Option<Self> {
        let cluster = Cluster::there()?;
        let trial = Trial::new(cluster, name, &manifests::app(SHOP, "v1", 3), by);
        let tool = Tool::start(cluster, &trial.space.name, &Self::manifests(&trial, by, "v1"));
        Some(Self { trial, tool, by })
    }

    fn manifests(trial: &Trial, by: By, release: &str) -> String {
        let route = match by {
            By::Service => String::new(),
            By::Routes => manifests::route(SHOP, &trial.host, &[(SHOP, 1)]),
        };
        manifests::app(SHOP, release, 3) + &autoscaler() + &route
    }

    /// What is released is in Git by the time that stable takes it: the last step of a pipeline.
    fn commit(&self, release: &str) {
        self.tool.now_applies(Self::manifests(&self.trial, self.by, release));
    }

    fn copies_of_stable(&self) -> u64 {
        self.trial.space.get("deployment/shop")["spec"]["replicas"].as_u64().unwrap()
    }

    fn behavior(&self) -> Value {
        self.trial.space.get("hpa/shop")["spec"]["behavior"].clone()
    }
}

fn at(line: &Value) -> DateTime<Utc> {
    line["at"].as_str().unwrap().parse().unwrap()
}

/// Checks that of all requests in a time a release has had its share, within the range of chance.
#[track_caller]
fn has_share(seen: &[Seen], from: DateTime<Utc>, to: DateTime<Utc>, release: &str, share: f64) {
    let within: Vec<_> = seen.iter().filter(|one| one.sent > from && one.done < to).collect();
    let all = within.len() as f64;
    let had = within.iter().filter(|one| one.outcome().contains(release)).count() as f64;
    let range = DEVIATIONS * (all * share * (1.0 - share)).sqrt() + 1.0;
    println!("{had} of {all} at {share}");
    assert!(all > 300.0 && (had - all * share).abs() <= range, "{had} of {all}, asked {share}");
}

/// The first event of this name, in a stage where one is given.
fn first<'a>(ran: &'a Ran, event: &str, share: Option<f64>) -> &'a Value {
    let is = |line: &&&Value| share.is_none_or(|share| line["stage_share"] == share);
    let events = ran.events(event);
    events.iter().find(is).copied().unwrap_or_else(|| panic!("no {event}: {:#?}", ran.lines))
}

fn promoted(name: &str, by: By) {
    let Some(site) = Site::new(name, by) else { return };
    let users = site.trial.users(Connections::Fresh);
    let mut gate = site.trial.start_with("gate.test/app:v2", POLICY, &["--gitops-ok"]);
    gate.until("a quarter", |line| is_share_seen(line, 0.25));
    assert_eq!(site.behavior()["scaleDown"]["selectPolicy"], "Disabled");
    gate.until("adoption", |line| is_event(line, "adoption.started"));
    site.commit("v2");
    let ran = gate.end();
    ran.expect(0, "promoted");
    let users = users.stop();
    println!("{name}: {:?}", tally(&users));
    let asked = at(first(&ran, "share.asked", Some(0.25)));
    let early = users.iter().filter(|one| one.done < asked && one.outcome() == "v2").count();
    assert_eq!(early, 0, "requests to the candidate before it was given any");
    let (seen, passed) =
        (at(first(&ran, "share.seen", Some(0.25))), at(first(&ran, "stage.passed", Some(0.25))));
    has_share(&users, seen, passed, "v2", 0.25);
    crate::promotions::none_failed(name, &users);
    assert_eq!((site.copies_of_stable(), site.behavior()), (3, Value::Null));
}

fn rolled_back(name: &str, by: By) {
    let Some(site) = Site::new(name, by) else { return };
    let users = site.trial.users(Connections::Fresh);
    let ran = site.trial.start_with("gate.test/app:broken", POLICY, &["--gitops-ok"]).end();
    ran.expect(3, "rolled_back");
    let verified = at(first(&ran, "rollback.verified", None));
    // The tool comes once more.
    let more = verified + EVERY + EVERY;
    poll::until("another application", WAIT_MAX, || (Utc::now() > more).then_some(()));
    let users = users.stop();
    println!("{name}: {:?}", tally(&users));
    // From the endpoints, which gate sees, to kube-proxy's rules: what is applied again comes seconds later.
    let told = verified + Duration::from_secs(1);
    let late = users.iter().filter(|one| one.sent > told && one.outcome().contains("broken"));
    assert_eq!(late.count(), 0, "{:?}", tally(&users));
    assert_eq!((site.copies_of_stable(), site.behavior()), (3, Value::Null));
}

#[test]
fn a_canary_is_promoted_behind_a_service_that_is_applied_again() {
    promoted("gitops-service", By::Service);
}

#[test]
fn a_canary_is_promoted_by_routes_that_are_applied_again() {
    promoted("gitops-routes", By::Routes);
}

#[test]
fn a_canary_goes_back_behind_a_service_that_is_applied_again() {
    rolled_back("gitops-back-service", By::Service);
}

#[test]
fn a_canary_goes_back_by_routes_that_are_applied_again() {
    rolled_back("gitops-back-routes", By::Routes);
}

#[test]
fn a_fight_over_a_service_ends_at_0_and_waits_for_a_person() {
    let Some(site) = Site::new("gitops-fight", By::Service) else { return };
    let users = site.trial.users(Connections::Fresh);
    let long = POLICY.replace("share: 25%, hold: 15s", "share: 25%, hold: 1s");
    let long = long
        .replace("share: 100%, hold: 2s, deadline: 90s", "share: 100%, hold: 80s, deadline: 90s");
    let ran = site.trial.start_with("gate.test/app:v2", &long, &["--gitops-ok"]).end();
    let reason = ran.result()["reason"].as_str().unwrap().to_owned();
    println!("fight: exit code {}, {reason}", ran.code);
    assert_eq!(ran.code, 5, "{:#}", ran.result());
    assert!(reason.contains("somebody else"), "{reason}");
    // Parked at 0, and nobody runs it: what serves is stable.
    let parked = Utc::now();
    poll::until("another application", WAIT_MAX, || (Utc::now() > parked + EVERY).then_some(()));
    let late = users.stop().into_iter().filter(|one| one.sent > parked && one.outcome() == "v2");
    assert_eq!(late.count(), 0);
    let ended = site.trial.gate(&["abort", &target(), "--if-orphaned"]).end();
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert_eq!((site.copies_of_stable(), site.behavior()), (3, Value::Null));
}
