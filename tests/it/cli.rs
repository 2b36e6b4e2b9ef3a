//! What needs no host.

use crate::common::Gate;

const APP: &str = include_str!("../../examples/local/checkout.yaml");

#[track_caller]
fn exits(line: &str, code: i32, said: &str) {
    let ran = Gate::line(line).file("app.yaml", APP).run();
    assert_eq!(ran.code, code, "{line}\n{}", ran.all());
    assert!(ran.stderr.contains(said), "{line}: no {said:?} in\n{}", ran.stderr);
    assert_eq!(ran.stdout, "", "{line}: a mistake is no answer");
}

#[test]
fn mistakes_of_usage_exit_with_2() {
    exits("", 2, "Usage");
    exits("frobnicate", 2, "unrecognized subcommand");
    exits("--output yaml version", 2, "invalid value");
    exits("--color sometimes version", 2, "invalid value");
    exits("--timeout soon version", 2, "invalid value");
    exits("-q -v version", 2, "cannot be used with");
    exits("plan", 2, "required");
    exits("plan app.yaml", 2, "--release");
    exits("plan deployment/web --release v2", 2, "no Kubernetes platform yet");
    exits("plan local/../x --release v2", 2, "not the name of an app");
    exits("plan nothing.yaml --release v2", 2, "can't read nothing.yaml");
    exits("plan app.yaml --release v3", 2, "has no release `v3`");
    exits("plan app.yaml --release v2 --policy canry", 2, "did you mean `canary`?");
    exits("validate", 2, "required");
    exits("completions cobol", 2, "invalid value");
}

#[test]
fn a_host_that_is_not_there_exits_with_6() {
    exits("plan local/checkout --release v2", 6, "start it with `gate serve");
}

#[test]
fn plan_of_an_app_file() {
    let ran = Gate::line("plan app.yaml --release v2").file("app.yaml", APP).run();
    insta::assert_snapshot!(ran.all());
}
