//! The Role that `gate preflight --role` prints is enough, and without it nothing begins.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::killed::CANARY;
use crate::load::Connections;
use crate::manifests;
use crate::poll;
use crate::trial::{By, Trial};

const RELEASE: &str = "gate.test/podinfo:v2";
/// The account that the printed binding names.
const ACCOUNT: &str = "shop-gate";

/// Returns a kubeconfig of the account, and of nobody else.
fn kubeconfig(trial: &Trial) -> String {
    trial.space.kubectl(&["create", "serviceaccount", ACCOUNT]);
    let token = trial.space.kubectl(&["create", "token", ACCOUNT]);
    let config = trial.space.kubectl(&["config", "view", "--raw", "--output=json"]);
    let mut config: Value = serde_json::from_str(&config).unwrap();
    for user in config["users"].as_array_mut().unwrap() {
        user["user"] = json!({ "token": token.trim() });
    }
    trial.file("kubeconfig", &config.to_string()).to_str().unwrap().to_owned()
}

/// Returns the permissions that a preflight misses.
fn missing(trial: &Trial, policy: &str, kubeconfig: &str) -> Option<String> {
    let more = ["--rps", "100", "--kubeconfig", kubeconfig];
    let ran = trial.asked("preflight", RELEASE, policy, &more).end();
    let findings = ran.lines.first().map(|line| line["findings"].clone()).unwrap_or_default();
    let findings = findings.as_array().cloned().unwrap_or_default();
    let refused = findings.into_iter().find(|finding| finding["level"] == "refuse");
    assert_eq!(ran.code, if refused.is_some() { 7 } else { 0 }, "{}", ran.said);
    refused.map(|finding| {
        assert_eq!(finding["check"], "permissions", "{finding:#}");
        finding["what"].as_str().unwrap().to_owned()
    })
}

#[track_caller]
fn is_enough(name: &str, by: By, policy: &str) {
    let Some(cluster) = Cluster::there() else { return };
    let trial = Trial::new(cluster, name, &manifests::podinfo("shop", "v1", 2), by);
    let mut printing = trial.asked("preflight", RELEASE, policy, &["--role"]);
    printing.gone();
    let role = std::fs::read_to_string(&printing.out).unwrap();
    let kubeconfig = kubeconfig(&trial);
    // What every promotion reads; without it there is nothing to tell.
    let refused = trial.asked("preflight", RELEASE, policy, &["--kubeconfig", &kubeconfig]).end();
    assert_eq!(refused.code, 6, "{}", refused.said);
    assert!(refused.said.contains("a permission is missing"), "{}", refused.said);
    let less = role.replace(", \"deletecollection\"", "").replace("\"deletecollection\", ", "");
    assert_ne!(less, role);
    trial.space.apply(&less);
    poll::until("what the smaller Role lacks", crate::namespace::WAIT_MAX, || {
        missing(&trial, policy, &kubeconfig)
            .filter(|what| what.ends_with(": deletecollection pods"))
    });
    trial.space.apply(&role);
    poll::until("the Role", crate::namespace::WAIT_MAX, || {
        missing(&trial, policy, &kubeconfig).is_none().then_some(())
    });
    let users = trial.users(Connections::Fresh);
    let more = ["--kubeconfig", kubeconfig.as_str()];
    trial.start_with(RELEASE, policy, &more).end().expect(0, "promoted");
    drop(users);
}

#[test]
fn the_printed_role_is_enough_by_services() {
    is_enough("role-service", By::Service, CANARY);
}

#[test]
fn the_printed_role_is_enough_by_routes() {
    is_enough("role-routes", By::Routes, CANARY);
}

#[test]
fn the_printed_role_is_enough_for_testers() {
    let testers = "testers: { header: x-release, value: next }";
    let traffic = format!("  traffic: {{ router: gateway-api, route: shop, {testers} }}\n");
    is_enough("role-testers", By::Routes, &format!("{CANARY}{traffic}"));
}
