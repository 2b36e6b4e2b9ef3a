//! Promotions that really run, with everything that they leave behind.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::tools::{GATE, outputs, root, said, succeeds, tool, write_app};

/// A step of a job: the app, and the files that a runner gives.
struct Step {
    folder: TempDir,
}

impl Step {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_app(folder.path());
        Self { folder }
    }

    fn command(&self, line: &str) -> Command {
        let at = |name: &str| self.folder.path().join(name);
        let mut command = Command::new(GATE);
        command
            .args(line.split_whitespace())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("USER", "ada")
            .env("GATE_STATE_DIR", at("state"))
            .env("GITHUB_OUTPUT", at("outputs"))
            .env("GITHUB_STEP_SUMMARY", at("summary.md"))
            .current_dir(self.folder.path());
        command
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn outputs(&self) -> BTreeMap<String, String> {
        outputs(&self.read("outputs"))
    }
}

const REPORTS: &str = "--report r.json --report r.xml --report r.html --report r.md";

#[test]
fn a_bad_release_leaves_everything_behind() {
    let step = Step::new();
    let line = format!(
        "promote app.yaml --release broken --policy fast.yaml --load 100 --output github {REPORTS}"
    );
    let output = step.command(&line).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));

    let log = String::from_utf8(output.stdout).unwrap();
    let (opened, closed) = (log.matches("::group::").count(), log.matches("::endgroup::").count());
    assert!(opened >= 3 && opened == closed, "{log}");
    assert_eq!(
        log.matches("::error title=local/checkout broken%3A rolled back::").count(),
        1,
        "{log}"
    );

    let outputs = step.outputs();
    assert_eq!((outputs["result"].as_str(), outputs["exit-code"].as_str()), ("rolled_back", "3"));
    assert_eq!(
        (outputs["revision"].as_str(), outputs["previous-revision"].as_str()),
        ("broken", "v1")
    );
    assert_eq!((outputs["rolled-back"].as_str(), outputs["final-share"].as_str()), ("true", "0"));
    assert_eq!((outputs["report"].as_str(), outputs["summary"].as_str()), ("r.json", "r.md"));
    let causes: Value = serde_json::from_str(&outputs["causes"]).unwrap();
    assert_eq!(causes[0]["condition"], "error_rate > 5%");
    assert!(outputs["detected-after-s"].parse::<f64>().unwrap() > 0.0);

    let summary = step.read("summary.md");
    assert!(summary.starts_with("## ✘ rolled back: error_rate &gt; 5%"), "{summary}");
    assert!(
        summary.contains(&format!("gate history local/checkout --id {}", outputs["promotion-id"]))
    );
    assert_eq!(summary, step.read("r.md"));

    let record: Value = serde_json::from_str(&step.read("r.json")).unwrap();
    assert_eq!(record["schema"], "gate.report/v1");
    assert_eq!(record["result"]["id"], outputs["promotion-id"].as_str());
    let records = record["records"].as_array().unwrap();
    assert_eq!(records[0]["record"]["kind"], "started");
    assert_eq!(records.last().unwrap()["record"]["kind"], "finished");
    assert!(step.read("r.html").contains("rolled back"));
    assert!(step.read("r.xml").contains("<failure "));
}

#[test]
fn what_did_not_begin_leaves_outputs_and_a_summary_too() {
    let step = Step::new();
    std::fs::write(step.folder.path().join("bad.yaml"), "deployment:\n  strategy: cannary\n")
        .unwrap();
    let line = "promote app.yaml --release v2 --policy bad.yaml --output github --report r.xml";
    let output = step.command(line).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    let log = String::from_utf8(output.stdout).unwrap();
    assert!(log.contains("::error file=bad.yaml,line=2,col=13::"), "{log}");
    let outputs = step.outputs();
    assert_eq!((outputs["result"].as_str(), outputs["exit-code"].as_str()), ("", "2"));
    assert!(outputs["reason"].contains("bad.yaml:2"), "{outputs:?}");
    assert!(step.read("summary.md").starts_with("## ✘ error: "));
    assert!(step.read("r.xml").contains("errors=\"1\""));
}

#[test]
fn no_more_than_ten_annotations_and_no_command_of_a_file() {
    let step = Step::new();
    let mut policy = String::from("deployment:\n  strategy: \"x\\n::stop-commands::pwned\"\n");
    (0..40).for_each(|k| policy.push_str(&format!("  \"::error::k{k}\": 1\n")));
    std::fs::write(step.folder.path().join("bad.yaml"), policy).unwrap();
    let output = step.command("validate bad.yaml --output github").output().unwrap();
    let log = String::from_utf8(output.stdout).unwrap();
    let commands: Vec<&str> =
        log.lines().filter(|line| line.trim_start().starts_with("::")).collect();
    assert_eq!(commands.len(), 10, "{log}");
    assert!(commands.iter().all(|line| line.starts_with("::error file=bad.yaml,")), "{log}");
    assert_eq!(step.outputs()["exit-code"], "2");
}

#[test]
fn where_a_report_goes_is_checked_first() {
    let step = Step::new();
    for (options, why) in [
        ("--report r.pdf", "nobody knows what kind of report"),
        ("--report nowhere/r.json", "there is no folder for the report"),
        ("--notify-url https://ada:secret@example.invalid/hook", "https needs TLS"),
        ("--notify-url nonsense", "it is no URL"),
    ] {
        let line = format!("promote app.yaml --release v2 {options}");
        let output = step.command(&line).output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(why) && !said.contains("secret"), "{said}");
    }
    let output = step.command("status app.yaml --report r.json").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

/// A receiver that takes what is posted and is slow to say so.
fn receiver() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let got = Arc::<Mutex<Vec<String>>>::default();
    let posts = Arc::clone(&got);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut text, mut buffer) = (String::new(), [0; 4096]);
            while !text.ends_with('}') {
                let read = stream.read(&mut buffer).unwrap();
                text.push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
            posts.lock().unwrap().push(text);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        }
    });
    (address, got)
}

#[test]
fn each_event_is_posted_and_the_secret_is_not_printed() {
    let step = Step::new();
    let (address, got) = receiver();
    let line = format!(
        "promote app.yaml --release v2 --policy fast.yaml --load 100 --output json --notify-url http://ada:secret@{address}/hook?key=secret"
    );
    let output = step.command(&line).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(!said(&output).contains("secret"), "{}", said(&output));
    let body = |post: &String| post.split_once("\r\n\r\n").unwrap().1.to_owned();
    let posted: Vec<String> = got.lock().unwrap().iter().map(body).collect();
    let text = String::from_utf8(output.stdout).unwrap();
    let printed: Vec<&str> = text.lines().filter(|line| line.contains("gate.event/v1")).collect();
    assert_eq!(posted, printed, "what is posted is what is printed");
    assert!(printed.len() > 5);
}

#[test]
fn a_receiver_that_is_not_there_changes_nothing() {
    let step = Step::new();
    let line = "promote app.yaml --release v2 --policy fast.yaml --load 100 --notify-url http://127.0.0.1:1/secret";
    let output = step.command(line).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(
        said(&output).contains("events were not taken: http://127.0.0.1:1/…"),
        "{}",
        said(&output)
    );
    assert!(!said(&output).contains("secret"));
}

fn wait_for(child: &mut Child, path: &Path, text: &str) {
    let until = Instant::now() + Duration::from_secs(60);
    while !std::fs::read_to_string(path).unwrap_or_default().contains(text) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before {text}");
        assert!(Instant::now() < until, "no {text} in {}", path.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// As a runner cancels: SIGINT, and 10 s later the machine is gone.
#[test]
fn cancelled_traffic_is_safe_the_summary_is_written_and_the_code_is_4() {
    let step = Step::new();
    let log = step.folder.path().join("log");
    let policy = step.read("fast.yaml").replace("hold: 3s", "hold: 600s");
    std::fs::write(step.folder.path().join("slow.yaml"), policy).unwrap();
    let line = "promote app.yaml --release v2 --policy slow.yaml --load 100 --output github --report r.json";
    let stdout = std::fs::File::create(&log).unwrap();
    let mut child = step.command(line).stdout(stdout).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&mut child, &log, "share.seen");
    let signalled = Instant::now();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let code = child.wait().unwrap().code();
    let took = signalled.elapsed();
    assert_eq!(code, Some(4), "{}", std::fs::read_to_string(&log).unwrap());
    let outputs = step.outputs();
    assert_eq!((outputs["result"].as_str(), outputs["final-share"].as_str()), ("aborted", "0"));
    let record: Value = serde_json::from_str(&step.read("r.json")).unwrap();
    let result = &record["result"];
    assert_eq!(result["traffic"], "safe");
    assert!(result["safe_after_ms"].as_i64().unwrap() <= 1000, "{result}");
    assert!(step.read("summary.md").starts_with("## ‖ aborted: aborted by ada"));
    println!("cancelled: safe after {} ms, ended after {took:?}", result["safe_after_ms"]);
}

#[test]
fn nothing_is_orphaned_where_no_host_is() {
    let step = Step::new();
    let line = "abort app.yaml --if-orphaned --output github";
    let output = step.command(line).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("nothing is orphaned"));
    assert_eq!(step.outputs()["exit-code"], "0");
}

#[test]
fn junit_is_valid() {
    let Some(xmllint) = tool("xmllint") else { return };
    let folder = tempfile::tempdir().unwrap();
    for record in ["healthy.jsonl", "broken.jsonl", "slow.jsonl"] {
        let path = folder.path().join(record);
        let text = crate::page::render(record, gate::report::Form::Junit);
        std::fs::write(&path, text).unwrap();
        let schema = root().join("tests/action/junit.xsd");
        succeeds(Command::new(&xmllint).args(["--noout", "--schema"]).arg(schema).arg(path));
    }
}

/// The plain script needs nothing but the exit code.
#[test]
fn the_plain_script_tells_a_bad_release() {
    let step = Step::new();
    let mut command = step.command("");
    let path = format!("{}:/usr/bin:/bin", Path::new(GATE).parent().unwrap().display());
    let script = root().join("examples/ci/promote.sh");
    let mut shell = Command::new("sh");
    shell.arg(script).args("app.yaml broken --policy fast.yaml --load 100".split(' '));
    for (name, value) in command.env("PATH", path).get_envs() {
        shell.env(name, value.unwrap());
    }
    let output = shell.current_dir(step.folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(
        said(&output)
            .contains("the release is bad, and was rolled back: {\"schema\":\"gate.result/v1\"")
    );
    assert!(said(&output).contains("nothing is orphaned"));
}
