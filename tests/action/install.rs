//! The script that finds or installs gate, against a file server of this machine.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::manifest::script;
use crate::tools::{root, said, succeeds};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Serves the files of a folder until the test ends; anything else is not found.
fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let path =
                request.split_whitespace().nth(1).unwrap().trim_start_matches('/').to_owned();
            let body = std::fs::read(folder.join(path)).ok();
            let status = if body.is_some() { "200 OK" } else { "404 Not Found" };
            let body = body.unwrap_or_default();
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    format!("http://{address}")
}

/// A runner with nothing on it.
struct Runner {
    folder: TempDir,
    base: String,
}

fn executable(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn gate(version: &str) -> String {
    format!("#!/bin/sh\necho gate {version}\n")
}

fn target() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "aarch64-unknown-linux-musl"
    } else {
        "x86_64-unknown-linux-musl"
    }
}

impl Runner {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["assets", "bin", "temp"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let base = serve(folder.path().join("assets"));
        Self { folder, base }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Puts a release on the server; returns the archive's name.
    fn release(&self, version: &str, holds: &str) -> String {
        let archive = format!("gate-v{version}-{}.tar.gz", target());
        executable(&self.at("packed/gate"), &gate(holds));
        let to = self.at("assets").join(&archive);
        succeeds(
            Command::new("tar").arg("-czf").arg(to).arg("-C").arg(self.at("packed")).arg("gate"),
        );
        archive
    }

    fn checksums(&self, text: &str) {
        std::fs::write(self.at("assets/SHA256SUMS"), text).unwrap();
    }

    fn checksum(&self, archive: &str) -> String {
        succeeds(Command::new("sha256sum").arg(archive).current_dir(self.at("assets")))
    }

    fn install(&self, version: &str, token: &str) -> (Output, Option<String>) {
        std::fs::write(self.at("script"), script("install")).unwrap();
        std::fs::write(self.at("output"), "").unwrap();
        let output = Command::new("bash")
            .args(["--noprofile", "--norc", "-e", "-o", "pipefail"])
            .arg(self.at("script"))
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.at("bin").display()))
            .env("HOME", self.folder.path())
            .env("RUNNER_TEMP", self.at("temp"))
            .env("RUNNER_TOOL_CACHE", self.at("tools"))
            .env("GITHUB_OUTPUT", self.at("output"))
            .env("GATE_ASSETS_URL", &self.base)
            .env("GATE_IN_VERSION", version)
            .env("GATE_IN_TOKEN", token)
            .env("GATE_SOURCE", root())
            .env("GATE_REPOSITORY", "owner/gate")
            .env("GATE_SERVER", "https://github.invalid")
            .output()
            .unwrap();
        let written = std::fs::read_to_string(self.at("output")).unwrap();
        let bin = written.trim().strip_prefix("bin=").map(str::to_owned);
        (output, bin)
    }

    #[track_caller]
    fn installs(&self, version: &str) -> String {
        let (output, bin) = self.install(version, "");
        assert!(output.status.success(), "{}", said(&output));
        bin.unwrap()
    }

    #[track_caller]
    fn refuses(&self, version: &str, why: &str) {
        let (output, bin) = self.install(version, "");
        assert_eq!((output.status.code(), bin), (Some(1), None), "{}", said(&output));
        assert!(said(&output).contains(why), "no {why:?} in {}", said(&output));
    }
}

#[test]
fn a_release_with_its_checksum_is_installed_once() {
    let runner = Runner::new();
    let archive = runner.release("9.8.7", "9.8.7");
    runner.checksums(&runner.checksum(&archive));
    let bin = runner.installs("v9.8.7");
    assert_eq!(succeeds(Command::new(&bin).arg("version")).trim(), "gate 9.8.7");
    // The second time nothing is fetched.
    std::fs::remove_file(runner.at("assets").join(archive)).unwrap();
    assert_eq!(runner.installs("9.8.7"), bin);
}

#[test]
fn a_wrong_checksum_ends_it() {
    let runner = Runner::new();
    let archive = runner.release("9.8.7", "9.8.7");
    runner.checksums(&format!("{}  {archive}\n", "0".repeat(64)));
    runner.refuses("v9.8.7", "is wrong: it is not used");
}

#[test]
fn a_missing_checksum_ends_it() {
    let runner = Runner::new();
    let archive = runner.release("9.8.7", "9.8.7");
    runner.refuses("v9.8.7", "has no SHA256SUMS beside it");
    runner.checksums(&format!("{}  another-{archive}\n", "0".repeat(64)));
    runner.refuses("v9.8.7", "SHA256SUMS does not name");
}

#[test]
fn an_archive_with_another_version_ends_it() {
    let runner = Runner::new();
    let archive = runner.release("9.8.7", "1.0.0");
    runner.checksums(&runner.checksum(&archive));
    runner.refuses("v9.8.7", "holds another version");
}

#[test]
fn a_version_without_a_release_is_built_only_from_the_actions_own_source() {
    let runner = Runner::new();
    runner.refuses("v9.8.7", "has no released binary");
    executable(
        &runner.at("bin/cargo"),
        &format!(
            "#!/bin/sh\necho \"$@\" >>{log}\nwhile [ $# -gt 0 ]; do [ \"$1\" != --root ] || root=$2; shift; done\n\
             mkdir -p \"$root/bin\"\nprintf '#!/bin/sh\\necho gate {VERSION}\\n' >\"$root/bin/gate\"\nchmod +x \"$root/bin/gate\"\n",
            log = runner.at("cargo.log").display()
        ),
    );
    let bin = runner.installs("");
    let log = std::fs::read_to_string(runner.at("cargo.log")).unwrap();
    assert!(
        log.contains(&format!("install --locked --quiet --path {}", root().display())),
        "{log}"
    );
    // The second time it is there already.
    assert_eq!(runner.installs(&format!("v{VERSION}")), bin);
    assert_eq!(std::fs::read_to_string(runner.at("cargo.log")).unwrap(), log);
}

#[test]
fn a_gate_of_that_version_on_the_path_is_used() {
    let runner = Runner::new();
    executable(&runner.at("bin/gate"), &gate(VERSION));
    assert_eq!(runner.installs(""), runner.at("bin/gate").display().to_string());
    let archive = runner.release("9.8.7", "9.8.7");
    runner.checksums(&runner.checksum(&archive));
    assert!(runner.installs("9.8.7").contains("/tools/gate/9.8.7/"));
}

#[test]
fn a_version_or_a_token_is_never_a_script() {
    let runner = Runner::new();
    for version in ["$(touch pwned)", "../../../etc", "1.0 -o x", "v1\nv2", "`x`", "a/b"] {
        runner.refuses(version, "is no version");
    }
    let _ = runner.release("9.8.7", "9.8.7");
    for token in ["a\"\nurl = \"http://127.0.0.1:1/", "$(touch pwned)", "a b"] {
        let (output, bin) = runner.install("v9.8.7", token);
        assert!(!output.status.success() && bin.is_none(), "{}", said(&output));
        assert!(said(&output).contains("the input token is no token"), "{}", said(&output));
        assert!(!said(&output).contains(token), "a token was printed");
    }
    assert!(!runner.at("pwned").exists());
}
