//! Tools from outside, and folders to run them in.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) const GATE: &str = env!("CARGO_BIN_EXE_gate");

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns where a tool is; `None` is said, and fails where tools are required.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let cache = std::env::var_os("GATE_CI_CACHE").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/gate-ci"));
    let cached = cache.or(home).map(|cache| cache.join("bin"));
    let found = std::env::split_paths(&path)
        .chain(cached)
        .map(|folder| folder.join(name))
        .find(|p| p.is_file());
    if found.is_none() {
        println!("SKIPPED: {name} is not installed (.ci/install-action-tools)");
        assert!(std::env::var_os("GATE_REQUIRE_TOOLS").is_none(), "{name} is not installed");
    }
    found
}

/// Everything that a command has said.
pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}\n--- stdout\n{}--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[track_caller]
pub(crate) fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The app of the examples on ports that are free, with a policy that is quick.
pub(crate) fn write_app(folder: &Path) {
    let app = std::fs::read_to_string(root().join("examples/local/checkout.yaml")).unwrap();
    let app = app.replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:8081", "127.0.0.1:0");
    std::fs::write(folder.join("app.yaml"), app).unwrap();
    std::fs::write(folder.join("fast.yaml"), FAST).unwrap();
}

/// Two stages of three seconds, judged by limits on a window of that length.
const FAST: &str = "\
deployment:
  strategy: canary
  stages:
    - { share: 20%, hold: 3s }
    - { share: 100%, hold: 3s }
  evidence: { judge: threshold, interval: 1s, window: 3s, looks: 2, min_requests: 20 }
  drain: 1s
  rollback_drain: 1s
  auto_rollback:
    conditions:
      - error_rate > 5%
      - response_time_p95 > 1000ms
";

/// As a runner reads `$GITHUB_OUTPUT`.
pub(crate) fn outputs(text: &str) -> std::collections::BTreeMap<String, String> {
    let mut lines = text.lines();
    let mut read = std::collections::BTreeMap::new();
    while let Some(line) = lines.next() {
        match line.split_once("<<") {
            Some((name, delimiter)) if !name.contains('=') => {
                let value: Vec<&str> = lines.by_ref().take_while(|l| *l != delimiter).collect();
                read.insert(name.to_owned(), value.join("\n"));
            }
            _ => {
                let (name, value) = line.split_once('=').unwrap();
                read.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    read
}
