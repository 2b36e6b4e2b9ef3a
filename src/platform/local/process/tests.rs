//! Real processes. Waits are for facts, with a bound that only a broken build reaches.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// The test binary plays `gate exec-session`: it is started again with the name of
/// [`tests::plays_gate`](self) and the command in this variable, parts joined by [`JOINT`].
const ROLE: &str = "GATE_TEST_EXEC_SESSION";
const JOINT: char = '\u{1f}';

#[test]
fn plays_gate() {
    if let Ok(command) = std::env::var(ROLE) {
        let command: Vec<_> = command.split(JOINT).map(Into::into).collect();
        panic!("{}", session::exec(&command).unwrap_err());
    }
}

struct Ground {
    directory: tempfile::TempDir,
    place: Place,
}

impl Ground {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let gate = directory.path().join("gate");
        let role = format!(
            "#!/bin/sh\n[ \"$1 $2\" = 'exec-session --' ] || exit 64\nshift 2\nIFS=$(printf '\\037')\n\
             {ROLE}=\"$*\" exec {} --exact platform::local::process::tests::plays_gate --nocapture -q\n",
            std::env::current_exe().unwrap().display(),
        );
        executable(&gate, &role);
        let logs = directory.path().join("logs");
        Self { place: Place { gate, logs }, directory }
    }

    fn shell(&self, script: &str) -> Launch {
        self.launch(&["sh", "-c", script])
    }

    fn launch(&self, command: &[&str]) -> Launch {
        Launch {
            name: "checkout-v1".into(),
            command: command.iter().map(ToString::to_string).collect(),
            env: BTreeMap::new(),
            directory: self.directory.path().to_owned(),
            port: Port::Auto,
        }
    }

    async fn start(&self, script: &str) -> Instance {
        Instance::start(&self.shell(script), &self.place).await.unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn written(&self, name: &str) -> String {
        let path = self.file(name);
        eventually(|| std::fs::read_to_string(&path).ok().filter(|text| text.ends_with('\n'))).await
    }
}

fn executable(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

async fn eventually<T>(mut fact: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = fact() {
            return value;
        }
        assert!(Instant::now() < deadline, "it never came");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn stat_field(pid: u32, number: usize) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1;
    fields.split_whitespace().nth(number - 3).unwrap().parse().unwrap()
}

#[tokio::test]
async fn exits_are_told_as_they_were() {
    let ground = Ground::new();
    let check = async |script: &str, expected: Exit| {
        let instance = ground.start(script).await;
        assert_eq!(instance.exited().await, expected, "{script}");
        assert_eq!(instance.exit(), Some(expected));
        assert_eq!(instance.stop(PATIENCE).await.unwrap(), expected, "stopping twice is fine");
        assert!(!instance.identity().is_alive());
    };
    check("exit 0", Exit::Code(0)).await;
    check("exit 42", Exit::Code(42)).await;
    check("kill -SEGV $$", Exit::Signal(11)).await;
}

#[tokio::test]
async fn it_leads_a_session_of_its_own_and_keeps_its_identity() {
    let ground = Ground::new();
    let instance = ground.start("echo $$ > pid; exec sleep 60").await;
    let pid = instance.identity().pid;
    assert_eq!(ground.written("pid").await.trim(), pid.to_string());
    let (group, session) = (stat_field(pid, 5), stat_field(pid, 6));
    assert_eq!((group, session), (pid, pid));
    assert_eq!(Identity::of(pid).unwrap(), *instance.identity());
    assert_eq!(instance.exit(), None);
    assert_eq!(instance.kill().await.unwrap(), Exit::Signal(9));
}

#[tokio::test]
async fn it_gets_its_port_and_environment_and_none_of_the_hosts_secrets() {
    let ground = Ground::new();
    let mut launch = ground.launch(&["sh", "-c", "env > all; echo {port} {gate} > args"]);
    launch.env = BTreeMap::from([
        ("URL".to_owned(), "http://127.0.0.1:{port}".to_owned()),
        ("HOME".to_owned(), "/elsewhere".to_owned()),
    ]);
    let instance = Instance::start(&launch, &ground.place).await.unwrap();
    instance.exited().await;
    let port = instance.port();
    let all = std::fs::read_to_string(ground.file("all")).unwrap();
    let has = |line: &str| all.lines().any(|l| l == line);
    assert!(has(&format!("PORT={port}")) && has(&format!("URL=http://127.0.0.1:{port}")), "{all}");
    assert!(has("HOME=/elsewhere") && all.contains("PATH="), "{all}");
    assert!(!all.contains("CARGO_MANIFEST_DIR"), "of this test's environment nothing else: {all}");
    let args = std::fs::read_to_string(ground.file("args")).unwrap();
    assert_eq!(args.trim(), format!("{port} {}", ground.place.gate.display()));
}

#[tokio::test]
async fn stopping_is_gentle_first() {
    let ground = Ground::new();
    let script = "trap 'echo bye; exit 7' TERM; echo on > up; while :; do sleep 0.01; done";
    let instance = ground.start(script).await;
    ground.written("up").await;
    assert_eq!(instance.stop(PATIENCE).await.unwrap(), Exit::Code(7));
    assert_eq!(instance.last_lines(1), ["bye"]);
}

#[tokio::test]
async fn what_ignores_sigterm_gets_sigkill_with_its_children() {
    let ground = Ground::new();
    let script =
        "trap '' TERM; sleep 60 & echo $! > child; echo on > up; while :; do sleep 0.01; done";
    let instance = ground.start(script).await;
    ground.written("up").await;
    let child: u32 = ground.written("child").await.trim().parse().unwrap();
    let child = Identity::of(child).unwrap();
    assert_eq!(instance.stop(Duration::from_millis(100)).await.unwrap(), Exit::Signal(9));
    assert!(!child.is_alive());
}

#[tokio::test]
async fn a_worker_may_finish_within_the_grace_although_its_parent_ended_at_once() {
    let ground = Ground::new();
    let worker = "trap 'sleep 0.3; echo drained > drained; exit' TERM; echo on > up; while :; do sleep 0.01; done";
    let instance = ground.start(&format!("sh -c '{}' & wait", worker.replace('\'', "'\\''"))).await;
    ground.written("up").await;
    assert_eq!(instance.stop(PATIENCE).await.unwrap(), Exit::Signal(15));
    assert_eq!(std::fs::read_to_string(ground.file("drained")).unwrap(), "drained\n");
}

#[tokio::test]
async fn what_a_crash_leaves_behind_is_ended() {
    let ground = Ground::new();
    let instance = ground.start("sleep 60 & echo $! > child; exit 3").await;
    assert_eq!(instance.exited().await, Exit::Code(3));
    let child: u32 = ground.written("child").await.trim().parse().unwrap();
    instance.stop(PATIENCE).await.unwrap();
    assert!(Identity::of(child).map_or(true, |worker| !worker.is_alive()));
}

#[tokio::test]
async fn a_second_stop_shortens_the_grace() {
    let ground = Ground::new();
    let instance = ground.start("trap '' TERM; echo on > up; while :; do sleep 0.01; done").await;
    ground.written("up").await;
    let long = instance.stop(Duration::from_secs(3600));
    let (first, second) = tokio::join!(long, instance.stop(Duration::ZERO));
    assert_eq!((first.unwrap(), second.unwrap()), (Exit::Signal(9), Exit::Signal(9)));
}

#[test]
fn the_process_survives_its_host_and_is_adopted() {
    let ground = Ground::new();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let host = runtime();
    let instance = host.block_on(ground.start("while :; do sleep 0.01; done"));
    let record = instance.record().clone();
    drop(instance);
    drop(host);
    assert!(record.identity.is_alive());
    let written = serde_json::to_string(&record).unwrap();
    runtime().block_on(async {
        let instance = Instance::adopt(serde_json::from_str(&written).unwrap()).unwrap();
        assert_eq!(instance.identity(), &record.identity);
        assert_eq!(instance.exit(), None);
        instance.stop(PATIENCE).await.unwrap();
    });
    assert!(!record.identity.is_alive());
}

#[tokio::test]
async fn the_end_of_an_adopted_process_that_is_no_child_is_seen() {
    let ground = Ground::new();
    // The shell between ends at once, so the sleeper is init's child and not ours.
    let between = ground.place.gate.with_file_name("between");
    executable(
        &between,
        // It waits until the sleeper has left the group, which ends with its leader.
        "#!/bin/sh\nsetsid sh -c 'echo $$ > pid; exec sleep 60' &\nuntil [ -s pid ]; do :; done\n",
    );
    let launch = ground.launch(&[between.to_str().unwrap()]);
    Instance::start(&launch, &ground.place).await.unwrap().exited().await;
    let pid: u32 = ground.written("pid").await.trim().parse().unwrap();
    let record = |identity| Record { identity, port: 1, log: ground.file("none.log") };
    let identity = Identity::of(pid).unwrap();
    let adopted = Instance::adopt(record(identity.clone())).unwrap();
    assert_eq!(adopted.stop(PATIENCE).await.unwrap(), Exit::Unknown);
    assert!(!identity.is_alive());
}

#[tokio::test]
async fn only_the_very_process_is_adopted() {
    let ground = Ground::new();
    let instance = ground.start("exec sleep 60").await;
    let mut record = instance.record().clone();
    record.identity.started_ticks += 1;
    assert!(matches!(Instance::adopt(record.clone()), Err(AdoptError::Another { .. })));
    record.identity.boot_id = "another boot".into();
    assert!(matches!(Instance::adopt(record), Err(AdoptError::Another { .. })));
    assert!(instance.identity().is_alive(), "a refused adoption must not touch the process");
    instance.kill().await.unwrap();
    assert!(matches!(Instance::adopt(instance.record().clone()), Err(AdoptError::Gone { .. })));
}

#[tokio::test]
async fn what_can_not_be_started_is_said_with_what_to_do() {
    let ground = Ground::new();
    std::fs::write(ground.file("plain"), "text").unwrap();
    executable(&ground.file("orphan"), "#!/no/such/interpreter\n");
    let check = async |launch: Launch, expected: &str| {
        let error = Instance::start(&launch, &ground.place).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(ground.launch(&[]), "its command is empty").await;
    check(ground.launch(&["no-such-command"]), "\"no-such-command\" not found; check").await;
    check(ground.launch(&["./orphan"]), "the interpreter in its first line").await;
    check(ground.launch(&["./plain"]), "`chmod +x` it").await;
    let nowhere = Launch { directory: "/no/such/place".into(), ..ground.shell("exit 0") };
    check(nowhere, "directory \"/no/such/place\" is not there").await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let taken = Launch { port: Port::Fixed(port), ..ground.shell("exit 0") };
    check(taken, &format!("port {port} is taken")).await;
    let place = Place { gate: "/no/such/gate".into(), ..ground.place.clone() };
    assert!(Instance::start(&ground.shell("exit 0"), &place).await.is_err());
}

#[tokio::test]
async fn both_outputs_are_logged_and_stdin_is_empty() {
    let ground = Ground::new();
    let instance = ground.start("echo out; echo err >&2; cat; echo end").await;
    assert_eq!(instance.exited().await, Exit::Code(0));
    assert_eq!(instance.last_lines(3), ["out", "err", "end"]);
}
