//! How long does a pipeline wait for gate itself? Whole processes, as a shell starts them.
//!
//! Limits: 1 s from the start of `gate promote` to the first effect that it asks for; 10 ms for
//! `gate --version` and 30 ms for `gate validate` of 200 lines, beyond what `/bin/true` takes in the same run.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and may fail")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const GATE: &str = env!("CARGO_BIN_EXE_gate");

const VERSION_LIMIT: Duration = Duration::from_millis(10);
const VALIDATE_LIMIT: Duration = Duration::from_millis(30);
const EFFECT_LIMIT: Duration = Duration::from_secs(1);

const SHORT_RUNS: usize = 101;
const PROMOTIONS: usize = 5;
const POLICY_LINES: usize = 200;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("policy.yaml"), policy()).unwrap();
    let app = include_str!("../examples/local/checkout.yaml");
    let app = app.replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:8081", "127.0.0.1:0");
    std::fs::write(folder.path().join("app.yaml"), app).unwrap();

    let (mut none, mut version, mut validate) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..SHORT_RUNS {
        none.push(whole(Command::new("/bin/true")));
        version.push(whole(gate(folder.path(), "--version")));
        validate.push(whole(gate(folder.path(), "validate policy.yaml")));
    }
    let none = median(none);
    tell("gate --version beyond /bin/true", median(version).saturating_sub(none), VERSION_LIMIT);
    let name = format!("gate validate of {POLICY_LINES} lines beyond /bin/true");
    tell(&name, median(validate).saturating_sub(none), VALIDATE_LIMIT);

    let effects = (0..PROMOTIONS).map(|run| first_effect(folder.path(), run)).collect();
    tell("gate promote to its first effect", median(effects), EFFECT_LIMIT);
}

fn gate(folder: &Path, line: &str) -> Command {
    let mut command = Command::new(GATE);
    command.args(line.split(' ')).current_dir(folder);
    command
}

fn whole(mut command: Command) -> Duration {
    let began = Instant::now();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}");
    began.elapsed()
}

/// From the start of the process until the journal has the first effect that was asked for.
fn first_effect(folder: &Path, run: usize) -> Duration {
    let state = folder.join(format!("state-{run}"));
    let history = state.join("local/checkout/history");
    let began = Instant::now();
    let mut child = gate(folder, "promote ./app.yaml --release v2")
        .env("GATE_STATE_DIR", &state)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !asked(&history) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it asked for anything");
        assert!(began.elapsed() < 60 * EFFECT_LIMIT, "it asks for nothing");
        std::thread::sleep(Duration::from_millis(1));
    }
    let took = began.elapsed();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    child.wait().unwrap();
    took
}

fn asked(history: &Path) -> bool {
    let journals = std::fs::read_dir(history).into_iter().flatten().flatten();
    let mut texts = journals.filter_map(|journal| std::fs::read_to_string(journal.path()).ok());
    texts.any(|text| text.contains("\"kind\":\"done\""))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn tell(what: &str, took: Duration, limit: Duration) {
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let part = took.as_secs_f64() / limit.as_secs_f64();
    println!("{what}: {:.1} ms, {part:.2} x the limit of {:.0} ms", ms(took), ms(limit));
}

/// A policy of many freezes, as long as it should be.
fn policy() -> String {
    let mut text = String::from(
        "deployment:\n  strategy: canary\n  stages:\n    - { share: 10%, hold: 60s }\n    - { share: 100%, hold: 60s }\n  \
         auto_rollback:\n    conditions:\n      - error_rate > 5%\n      - response_time_p95 > 1000ms\n  freeze:\n",
    );
    for line in text.lines().count()..POLICY_LINES {
        let day = line % 28 + 1;
        text.push_str(&format!(
            "    - {{ from: \"2026-12-{day:02} 08:00\", to: \"2026-12-{day:02} 09:00\", zone: Europe/Paris }}\n"
        ));
    }
    text
}
