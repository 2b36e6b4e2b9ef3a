//! Programs that nobody here wrote.

use std::path::PathBuf;

/// Returns a tool of the PATH, or of where `.ci/install-tools` puts it. Without it the test is
/// skipped, and says so; with `GATE_REQUIRE_TOOLS` it fails.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let cache = std::env::var_os("GATE_CI_CACHE").map_or(home.join(".cache/gate-ci"), Into::into);
    let folders = std::env::split_paths(&path).chain([cache.join("bin")]);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        assert!(std::env::var_os("GATE_REQUIRE_TOOLS").is_none(), "{name} is not there");
        println!("SKIPPED: {name} is not there; .ci/install-tools installs it");
    }
    found
}
