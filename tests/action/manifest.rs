//! `action.yml` itself: its published names, and the scripts in it.

use serde_json::Value;

use crate::tools::root;

pub(crate) fn read() -> Value {
    let text = std::fs::read_to_string(root().join("action.yml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

/// The script of a step.
pub(crate) fn script(id: &str) -> String {
    let action = read();
    let steps = action["runs"]["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["id"] == id).unwrap();
    step["run"].as_str().unwrap().to_owned()
}

fn names(of: &Value) -> String {
    of.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_published_names_stay() {
    let action = read();
    insta::assert_snapshot!(names(&action["inputs"]), @"target release policy namespace context kubeconfig strategy timeout action args version token fail-on");
    insta::assert_snapshot!(names(&action["outputs"]), @"result exit-code reason causes promotion-id revision previous-revision rolled-back final-share detected-after-s duration-s report summary");
}

/// What a script is made of is fixed: nothing that a user says is put into it by the runner.
#[test]
fn no_input_is_put_into_a_script() {
    for id in ["install", "run"] {
        assert!(!script(id).contains("${{"), "{id}");
    }
}

#[test]
fn every_input_is_used_and_every_output_is_one_of_gate() {
    let action = read();
    let text = std::fs::read_to_string(root().join("action.yml")).unwrap();
    for input in action["inputs"].as_object().unwrap().keys() {
        assert!(text.contains(&format!("${{{{ inputs.{input} }}}}")), "{input}");
    }
    for (name, output) in action["outputs"].as_object().unwrap() {
        assert_eq!(output["value"], format!("${{{{ steps.run.outputs.{name} }}}}"));
    }
}

/// The release must upload what the action looks for.
#[test]
fn the_release_makes_what_the_action_looks_for() {
    let release = std::fs::read_to_string(root().join(".github/workflows/release.yml")).unwrap();
    for target in ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"] {
        assert!(script("install").contains(target));
        assert!(release.contains(target));
    }
    assert!(script("install").contains("archive=gate-v$version-$target.tar.gz"));
    assert!(release.contains("gate-$TAG-$TARGET.tar.gz"));
    assert!(script("install").contains("SHA256SUMS") && release.contains("SHA256SUMS"));
}
