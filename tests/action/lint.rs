//! What the linters of workflows say: nothing.

use std::path::PathBuf;
use std::process::Command;

use crate::manifest::script;
use crate::tools::{root, said, tool};

/// Workflows and examples, by name.
fn workflows() -> Vec<PathBuf> {
    let folders = [".github/workflows", "examples/github"];
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(root().join(folder)).unwrap());
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "yml"));
    files.sort();
    assert!(files.len() >= 6, "{files:?}");
    files
}

#[track_caller]
fn finds_nothing(command: &mut Command) {
    let output = command.current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", said(&output));
}

#[test]
fn actionlint_finds_nothing() {
    if let Some(actionlint) = tool("actionlint") {
        finds_nothing(Command::new(actionlint).args(workflows()));
    }
}

#[test]
fn zizmor_finds_nothing() {
    if let Some(zizmor) = tool("zizmor") {
        // Without a configuration: nothing is excused.
        let mut command = Command::new(zizmor);
        command.args(["--offline", "--no-config", "--no-progress"]).arg("action.yml");
        finds_nothing(command.args(workflows()));
    }
}

#[test]
fn shellcheck_finds_nothing() {
    let Some(shellcheck) = tool("shellcheck") else { return };
    let folder = tempfile::tempdir().unwrap();
    for id in ["install", "run"] {
        let path = folder.path().join(id);
        std::fs::write(&path, script(id)).unwrap();
        finds_nothing(Command::new(&shellcheck).args(["--shell", "bash"]).arg(path));
    }
    finds_nothing(Command::new(&shellcheck).arg("examples/ci/promote.sh"));
    finds_nothing(Command::new(&shellcheck).args([".ci/run", ".ci/install-action-tools"]));
    let cluster = ["install", "up", "down", "images", "kit/inside.sh", "kit/pki.sh"];
    let cluster = cluster.map(|name| format!("tests/cluster/{name}"));
    finds_nothing(Command::new(&shellcheck).arg("--external-sources").args(cluster));
}

/// Every example that promotes has the step that clears up after a lost run.
#[test]
fn every_example_leaves_nothing_half_way() {
    let mut found = 0;
    for path in workflows().iter().filter(|path| path.starts_with(root().join("examples"))) {
        let text = std::fs::read_to_string(path).unwrap();
        let workflow: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        for (name, job) in workflow["jobs"].as_object().unwrap() {
            let last_of_gate = job["steps"].as_array().unwrap().iter().rfind(|step| {
                step["uses"].as_str().is_some_and(|uses| uses.starts_with("owner/gate@"))
            });
            let Some(step) = last_of_gate else { continue };
            found += 1;
            assert_eq!(step["if"], "always()", "{}: {name}", path.display());
            assert_eq!(step["with"]["args"], "--if-orphaned");
        }
    }
    assert!(found >= 4, "{found}");
}
