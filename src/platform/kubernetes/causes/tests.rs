//! States as a real cluster (1.34) told them, one pod a line, and what becomes of them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::{Logs, cut, trouble, wants_logs, with_logs};
use crate::rollout::Trouble;

/// By the Deployment's name.
fn seen() -> BTreeMap<String, Pod> {
    let pods = include_str!("pods.jsonl").lines().map(|line| {
        let pod: Pod = serde_json::from_str(line).unwrap();
        let name = pod.metadata.name.clone().unwrap();
        (name.rsplitn(3, '-').last().unwrap().to_owned(), pod)
    });
    pods.collect()
}

/// A pod with one container `web` in a state, as the status has it.
fn pod(name: &str, container: Value) -> Pod {
    let mut status = json!({ "name": "web", "ready": false, "restartCount": 0, "image": "acme/web:2", "imageID": "" });
    status.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "metadata": { "name": name },
        "spec": { "containers": [{ "name": "web", "image": "acme/web:2",
            "resources": { "limits": { "memory": "64Mi" } }, "livenessProbe": { "grpc": { "port": 1 } } }] },
        "status": { "phase": "Running", "containerStatuses": [status] },
    }))
    .unwrap()
}

fn told(pods: &[Pod]) -> Option<(String, bool, bool)> {
    trouble(pods.iter(), None).map(|found| (found.what, found.its_own, found.gave_up))
}

#[track_caller]
fn check(state: &str, expected: Option<(&str, bool, bool)>) {
    let pod = seen().remove(state).unwrap();
    let expected = expected.map(|(what, own, over)| {
        (format!("{what} (pod {})", pod.metadata.name.as_deref().unwrap()), own, over)
    });
    assert_eq!(told(&[pod]), expected, "{state}");
}

#[test]
fn what_a_real_cluster_says_is_told_in_one_line() {
    check("ok", None);
    check("gated", None);
    check(
        "never-there",
        Some((
            "container web: the image gate.test/app:v77 is not on the node, and may not be pulled (imagePullPolicy: Never)",
            true,
            false,
        )),
    );
    check(
        "badname",
        Some(("container web: `gate.test/App:v 1` is not the name of an image", true, true)),
    );
    check("crash", Some(("container web ended with exit code 1, restarted 3 times", true, false)));
    check(
        "initfail",
        Some(("init container migrate ended with exit code 1, restarted 3 times", true, false)),
    );
    check(
        "noconfig",
        Some(("container web: can't be configured: secret \"not-there\" not found", true, false)),
    );
    check(
        "nr2",
        Some((
            "container web runs, its readiness probe does not pass: GET :8080/readyz",
            true,
            false,
        )),
    );
    check(
        "startup",
        Some((
            "container web ended with exit code 0, restarted 4 times (a startup or liveness probe may have ended it)",
            true,
            false,
        )),
    );
    check(
        "nodesel",
        Some((
            "no node takes it: 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector",
            false,
            false,
        )),
    );
    check(
        "toolarge",
        Some(("no node takes it: 0/1 nodes are available: 1 Insufficient cpu", false, false)),
    );
}

#[test]
fn a_pull_that_fails_names_image_and_reason() {
    let found = told(&[seen().remove("pull").unwrap()]).unwrap();
    let begin = "container web: the image registry.invalid/acme/web:2 can't be pulled: failed to pull and unpack";
    assert!(found.0.starts_with(begin) && found.1 && !found.2, "{found:?}");
    assert!(found.0.chars().count() <= 300, "{found:?}");
}

#[track_caller]
fn check_made(container: Value, expected: (&str, bool, bool)) {
    let found = told(&[pod("web-1", container)]).unwrap();
    assert_eq!((found.0.as_str(), found.1, found.2), expected);
}

#[test]
fn how_a_container_ended_is_told() {
    let ended = |restarts: i32, end: Value| json!({ "restartCount": restarts, "state": { "terminated": end } });
    check_made(
        ended(0, json!({ "exitCode": 137, "reason": "OOMKilled" })),
        ("container web was killed, out of memory (limit 64Mi) (pod web-1)", true, false),
    );
    check_made(
        ended(1, json!({ "exitCode": 139, "reason": "Error" })),
        (
            "container web ended with exit code 139, signal 11 (SIGSEGV), restarted once (pod web-1)",
            true,
            false,
        ),
    );
    check_made(
        ended(0, json!({ "exitCode": 143, "reason": "Error" })),
        (
            "container web ended with exit code 143, signal 15 (SIGTERM) (a startup or liveness probe may have ended it) (pod web-1)",
            true,
            false,
        ),
    );
    // What an application writes as its last message may be anything, so it is not told.
    check_made(
        ended(0, json!({ "exitCode": 1, "reason": "Error", "message": "password=hunter2" })),
        ("container web ended with exit code 1 (pod web-1)", true, false),
    );
    let waiting = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 2m40s restarting" } });
    let last = json!({ "terminated": { "exitCode": 3, "reason": "Error" } });
    let crashed = |restarts: i32| json!({ "restartCount": restarts, "state": waiting.clone(), "lastState": last.clone() });
    check_made(
        crashed(4),
        ("container web ended with exit code 3, restarted 4 times (pod web-1)", true, false),
    );
    check_made(
        crashed(5),
        ("container web ended with exit code 3, restarted 5 times (pod web-1)", true, true),
    );
    // Between two crashes.
    let again = json!({ "restartCount": 2, "state": { "running": {} }, "lastState": last });
    check_made(
        again.clone(),
        ("container web ended with exit code 3, restarted 2 times (pod web-1)", true, false),
    );
    let mut well = again;
    well["ready"] = json!(true);
    assert_eq!(told(&[pod("web-1", well)]), None);
}

#[test]
fn what_the_runtime_refuses_is_the_revisions_fault() {
    let found = told(&[seen().remove("badcmd").unwrap()]).unwrap();
    assert!(
        found.0.contains("/no/such") && found.0.contains("no such file") && found.1,
        "{found:?}"
    );
    let found = told(&[seen().remove("runasroot").unwrap()]).unwrap();
    assert!(found.0.contains("breaks non-root policy") && found.1, "{found:?}");
}

#[test]
fn of_many_the_worst_is_told_in_any_order() {
    let all = seen();
    let mut pods = vec![
        all["nodesel"].clone(),
        all["nr2"].clone(),
        all["crash"].clone(),
        all["badname"].clone(),
    ];
    let worst = told(&pods).unwrap();
    assert!(worst.0.contains("is not the name of an image"), "{worst:?}");
    pods.reverse();
    assert_eq!(told(&pods).unwrap(), worst);
    pods.remove(0);
    assert!(told(&pods).unwrap().0.contains("exit code 1"), "{pods:?}");
    // The same trouble twice: the first by name.
    let crash = |name| pod(name, json!({ "state": { "terminated": { "exitCode": 2 } } }));
    assert!(told(&[crash("b"), crash("a")]).unwrap().0.ends_with("(pod a)"));
    assert_eq!(told(&[]), None);
}

#[test]
fn a_pod_that_is_ending_is_no_trouble() {
    let mut ending = seen().remove("crash").unwrap();
    ending.metadata.deletion_timestamp =
        serde_json::from_value(json!("2026-11-24T18:40:00Z")).unwrap();
    assert_eq!(told(std::slice::from_ref(&ending)), None);
    assert_eq!(wants_logs([&ending].into_iter()), None);
}

#[test]
fn what_the_place_does_is_not_the_revisions_fault() {
    let mut evicted = pod("web-1", json!({}));
    let status = evicted.status.as_mut().unwrap();
    status.phase = Some("Failed".into());
    status.reason = Some("Evicted".into());
    status.message = Some("The node was low on resource: memory. ".into());
    let what = "the pod was ended: Evicted: The node was low on resource: memory. (pod web-1)";
    assert_eq!(told(&[evicted]), Some((what.into(), false, false)));
    let mut closed = seen().remove("gated").unwrap();
    let gate =
        json!([{ "conditionType": "gate.rs/serve" }, { "conditionType": "lb.example/ready" }]);
    closed.spec.as_mut().unwrap().readiness_gates = serde_json::from_value(gate).unwrap();
    let found = told(&[closed]).unwrap();
    assert!(
        found.0.starts_with("the readiness gate lb.example/ready is closed") && !found.1,
        "{found:?}"
    );
}

fn deployment(message: &str, status: &str) -> DynamicObject {
    let condition = json!({ "type": "ReplicaFailure", "status": status, "reason": "FailedCreate", "message": message });
    serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
        "status": { "conditions": [{ "type": "Progressing", "status": "True" }, condition] },
    }))
    .unwrap()
}

#[test]
fn quota_and_admission_are_read_from_the_deployment() {
    let quota = "pods \"overquota-788b874689-79c6s\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=15, limited: pods=3";
    let none = std::iter::empty();
    let found = trouble(none.clone(), Some(&deployment(quota, "True"))).unwrap();
    let what = "no pod may be made: exceeded quota: small, requested: pods=1, used: pods=15, limited: pods=3";
    assert_eq!(found, Trouble { what: what.into(), its_own: false, gave_up: false });
    assert_eq!(trouble(none.clone(), Some(&deployment(quota, "False"))), None);
    let security = "pods \"psa-d4d4d4d95-wgr9d\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false";
    let found = trouble(none, Some(&deployment(security, "True"))).unwrap();
    assert!(found.what.starts_with("no pod may be made: violates PodSecurity"), "{found:?}");
    // A crash of one pod says more of the release than that there is no room for another.
    let crash = &seen()["crash"];
    let found = trouble([crash].into_iter(), Some(&deployment(quota, "True"))).unwrap();
    assert!(found.its_own, "{found:?}");
}

#[test]
fn a_sidecar_is_no_init_container_that_must_end() {
    let with = |restart_policy: Value, container: Value| -> Pod {
        let mut status = json!({ "name": "mesh", "ready": false, "restartCount": 0, "image": "", "imageID": "" });
        status.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
        serde_json::from_value(json!({
            "metadata": { "name": "web-1" },
            "spec": { "containers": [], "initContainers": [{ "name": "mesh", "restartPolicy": restart_policy }] },
            "status": { "initContainerStatuses": [status] },
        }))
        .unwrap()
    };
    let runs = json!({ "state": { "running": {} } });
    let done = json!({ "state": { "terminated": { "exitCode": 0 } } });
    let told = |pod| told(&[pod]).map(|found| found.0);
    assert_eq!(
        told(with(Value::Null, runs.clone())).unwrap(),
        "init container mesh runs still (pod web-1)"
    );
    assert_eq!(told(with(Value::Null, done.clone())), None);
    assert_eq!(told(with(json!("Always"), runs)), None);
    assert_eq!(
        told(with(json!("Always"), done)).unwrap(),
        "init container mesh ended with exit code 0 (pod web-1)"
    );
}

#[test]
fn logs_are_read_of_the_container_that_is_told() {
    let all = seen();
    let wanted = |pod: &Pod| wants_logs([pod].into_iter());
    let logs = |pod: &str, container: &str| {
        Some(Logs { pod: pod.into(), container: container.into(), previous: false })
    };
    assert_eq!(wanted(&all["crash"]), logs("crash-54b476b44b-6fszz", "web"));
    assert_eq!(wanted(&all["initfail"]), logs("initfail-68f6d7bc76-c5gz9", "migrate"));
    for silent in ["ok", "badcmd", "nodesel", "noconfig", "nr2", "pull"] {
        assert_eq!(wanted(&all[silent]), None, "{silent}");
    }
    let last = json!({ "terminated": { "exitCode": 3 } });
    let again = json!({ "restartCount": 2, "state": { "running": {} }, "lastState": last });
    assert!(wanted(&pod("web-1", again)).unwrap().previous);
}

#[test]
fn only_the_end_of_a_log_is_shown_and_no_control_characters() {
    let trouble = || Trouble { what: "it ended".into(), its_own: true, gave_up: false };
    let long = "x".repeat(1000);
    let log = format!("one\n\ntwo\n\u{1b}[31mthree\u{7}\r\nfour\nfive\n{long}\n");
    let found = with_logs(trouble(), &log).what;
    let last = format!("{}…", "x".repeat(199));
    assert_eq!(found, format!("it ended; last log lines: two | [31mthree | four | five | {last}"));
    assert_eq!(with_logs(trouble(), "\n \n"), trouble());
    assert_eq!(
        with_logs(trouble(), "unable to retrieve container logs for containerd://4a05"),
        trouble()
    );
    assert_eq!(cut("é é\té", 3), "é…");
}
