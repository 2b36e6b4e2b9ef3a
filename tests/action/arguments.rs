//! The script that runs gate, with a gate that only says what it was given: whatever is in an input,
//! it arrives as it is, in one argument, and nothing of it runs.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::manifest::script;
use crate::tools::outputs;

/// Writes its arguments, one a line with line breaks marked, and ends as it is told.
const SPY: &str = r#"#!/bin/bash
for argument in "$@"; do printf '%s\0' "$argument"; done >"$SPY_FILE"
[ -z "$SPY_RESULT" ] || printf 'result<<x\n%s\nx\n' "$SPY_RESULT" >>"$GITHUB_OUTPUT"
exit "$SPY_CODE"
"#;

struct Spy {
    folder: TempDir,
    env: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Seen {
    code: i32,
    /// `None`: gate was not run.
    arguments: Option<Vec<String>>,
    outputs: BTreeMap<String, String>,
    log: String,
}

fn executable(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

impl Spy {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        executable(&folder.path().join("gate"), SPY);
        let names = [
            "TARGET",
            "RELEASE",
            "POLICY",
            "STRATEGY",
            "NAMESPACE",
            "CONTEXT",
            "KUBECONFIG",
            "TIMEOUT",
            "ARGS",
            "FAIL_ON",
        ];
        let mut env: BTreeMap<String, String> =
            names.iter().map(|name| (format!("GATE_IN_{name}"), String::new())).collect();
        env.insert("GATE_IN_ACTION".into(), "promote".into());
        env.insert("SPY_CODE".into(), "0".into());
        env.insert("SPY_RESULT".into(), String::new());
        Self { folder, env }
    }

    fn input(mut self, name: &str, value: &str) -> Self {
        self.env.insert(format!("GATE_IN_{name}"), value.to_owned());
        self
    }

    fn ends(mut self, code: i32, result: &str) -> Self {
        self.env.insert("SPY_CODE".into(), code.to_string());
        self.env.insert("SPY_RESULT".into(), result.to_owned());
        self
    }

    fn command(&self) -> Command {
        let at = |name: &str| self.folder.path().join(name);
        std::fs::write(at("script"), script("run")).unwrap();
        std::fs::write(at("output"), "").unwrap();
        // Whoever runs the tests in the background has SIGINT ignored, which would be inherited.
        let mut command = Command::new("env");
        command
            .args(["--default-signal=INT", "bash"])
            .args(["--noprofile", "--norc", "-e", "-o", "pipefail"])
            .arg(at("script"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("GITHUB_OUTPUT", at("output"))
            .env("RUNNER_TEMP", self.folder.path())
            .env("GATE_BIN", at("gate"))
            .env("SPY_FILE", at("arguments"))
            .envs(&self.env)
            .current_dir(self.folder.path());
        command
    }

    fn run(self) -> Seen {
        let output = self.command().output().unwrap();
        let seen = std::fs::read(self.folder.path().join("arguments")).ok();
        let arguments = seen.map(|bytes| {
            let text = String::from_utf8(bytes).unwrap();
            text.split_terminator('\0').map(str::to_owned).collect()
        });
        let written = std::fs::read_to_string(self.folder.path().join("output")).unwrap();
        // Whatever an input tried to do would be seen here.
        assert!(!self.folder.path().join("pwned").exists(), "an input was executed");
        Seen {
            code: output.status.code().unwrap(),
            arguments,
            outputs: outputs(&written),
            log: String::from_utf8_lossy(&output.stdout).into_owned(),
        }
    }
}

/// The arguments without the reports, whose folder is new each time.
fn arguments(spy: Spy) -> Vec<String> {
    let seen = spy.run();
    let given = seen.arguments.unwrap_or_else(|| panic!("gate was not run: {}", seen.log));
    given.into_iter().filter(|argument| !argument.starts_with("--report=")).collect()
}

#[test]
fn each_input_is_one_argument() {
    let spy = Spy::new()
        .input("TARGET", "local/checkout")
        .input("RELEASE", "app=v2\nproxy=v3\n")
        .input("POLICY", "my policy.yaml")
        .input("TIMEOUT", "50m")
        .input("ARGS", "--load\r\n200\n\n  two words  \n");
    let expected = [
        "promote",
        "--output",
        "github",
        "--timeout=50m",
        "--release=app=v2",
        "--release=proxy=v3",
        "--policy=my policy.yaml",
        "--load",
        "200",
        "  two words  ",
        "--",
        "local/checkout",
    ];
    assert_eq!(arguments(spy), expected);
    let spy =
        Spy::new().input("ACTION", "abort").input("TARGET", "x").input("ARGS", "--if-orphaned");
    assert_eq!(arguments(spy), ["abort", "--output", "github", "--if-orphaned", "--", "x"]);
    let spy = Spy::new()
        .input("ACTION", "status")
        .input("TARGET", "deployment/web")
        .input("NAMESPACE", "shop")
        .input("CONTEXT", "prod")
        .input("KUBECONFIG", "/k c");
    let expected = [
        "status",
        "--output",
        "github",
        "--namespace=shop",
        "--context=prod",
        "--kubeconfig=/k c",
        "--",
        "deployment/web",
    ];
    assert_eq!(arguments(spy), expected);
    let spy = Spy::new().input("TARGET", "x").input("STRATEGY", "blue-green");
    assert_eq!(arguments(spy)[3], "--policy=blue-green");
}

#[test]
fn hostile_inputs_are_text() {
    let long = "x\"'`$(touch pwned)".repeat(600);
    let hostile = [
        "$(touch pwned)",
        "`touch pwned`",
        "'; touch pwned; '",
        "\"; touch pwned; \"",
        "a && touch pwned | cat ; touch pwned #",
        "${IFS}touch${IFS}pwned",
        "%0A::error::x",
        "* ? [a] ~ {a,b}",
        "--help",
        "-- -x",
        "üñí ✔ 日本 \u{202E}",
        "\\n\\0\\",
        "!history",
        &long,
    ];
    for value in hostile {
        let spy = Spy::new()
            .input("TARGET", value)
            .input("RELEASE", value)
            .input("POLICY", value)
            .input("NAMESPACE", value)
            .input("TIMEOUT", value)
            .input("ARGS", value);
        let option = |name: &str| format!("--{name}={value}");
        let (namespace, timeout) = (option("namespace"), option("timeout"));
        let (release, policy) = (option("release"), option("policy"));
        let expected = [
            "promote", "--output", "github", &namespace, &timeout, &release, &policy, value, "--",
            value,
        ];
        assert_eq!(arguments(spy), expected);
        // Words of a fixed list are refused, and not repeated.
        for name in ["ACTION", "FAIL_ON"] {
            let seen = Spy::new().input("TARGET", "x").input(name, value).run();
            assert_eq!((seen.code, &seen.arguments), (2, &None), "{name} {value}");
            assert_eq!(seen.outputs["exit-code"], "2");
            assert!(!seen.log.contains(value), "{}", seen.log);
        }
    }
    // A line break ends an argument of `args`, and is part of any other input.
    let spy = Spy::new().input("TARGET", "a\nb").input("POLICY", "$(x)\ny");
    assert_eq!(arguments(spy), ["promote", "--output", "github", "--policy=$(x)\ny", "--", "a\nb"]);
}

#[test]
fn the_exit_code_is_gates_unless_fail_on_says_otherwise() {
    for (code, result, fail_on, expected) in [
        (0, "promoted", "", 0),
        (3, "rolled_back", "", 3),
        (5, "inconclusive", "", 5),
        (5, "inconclusive", "rolled_back, error", 0),
        (3, "rolled_back", "rolled_back\nerror\n", 3),
        (4, "superseded", "aborted", 0),
        (4, "aborted", "aborted", 4),
        (3, "rolled_back", "none", 0),
        (0, "unchanged", "unchanged", 1),
        (2, "", "none", 2),
        (1, "", "none", 1),
    ] {
        let seen =
            Spy::new().input("TARGET", "x").input("FAIL_ON", fail_on).ends(code, result).run();
        assert_eq!(seen.code, expected, "{result} {fail_on}: {}", seen.log);
    }
}

#[test]
fn policy_and_strategy_exclude_each_other() {
    let spy = Spy::new().input("TARGET", "x").input("POLICY", "a").input("STRATEGY", "canary");
    let seen = spy.run();
    assert_eq!((seen.code, seen.arguments), (2, None));
    assert!(seen.outputs["reason"].contains("exclude each other"));
}

/// Takes signals as gate does: the first ends it in order.
const PATIENT: &str = r#"#!/bin/bash
trap 'echo "got INT"; printf "result<<x\naborted\nx\n" >>"$GITHUB_OUTPUT"; exit 4' INT
echo ready >"$SPY_FILE"
for _ in {1..1200}; do sleep 0.05; done
exit 9
"#;

/// A runner signals the shell alone.
#[test]
fn a_signal_is_passed_on_and_the_end_awaited() {
    let spy = Spy::new().input("TARGET", "x");
    executable(&spy.folder.path().join("gate"), PATIENT);
    let mut shell = spy.command().stdout(Stdio::piped()).spawn().unwrap();
    let ready = spy.folder.path().join("arguments");
    let until = Instant::now() + Duration::from_secs(30);
    while !ready.exists() {
        assert!(Instant::now() < until, "gate was not started");
        std::thread::sleep(Duration::from_millis(10));
    }
    let pid = rustix::process::Pid::from_child(&shell);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut log = String::new();
    std::io::Read::read_to_string(&mut shell.stdout.take().unwrap(), &mut log).unwrap();
    assert_eq!(shell.wait().unwrap().code(), Some(4), "{log}");
    assert!(log.contains("got INT"), "{log}");
}
