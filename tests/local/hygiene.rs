//! One host for each app, and nobody else may ask it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use gate::platform::local::process::old_logs::OLD_LOGS_MAX;
use rustix::process::Signal;

use crate::ends::assert_ended;
use crate::poll::{until, within};
use crate::processes;
use crate::site::{PROMOTION_MAX, QUICK, Ran, SOON, Site};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn the_host_belongs_to_its_user() {
    let site = Site::new();
    let _host = site.serve();
    assert_eq!(mode(&site.state()), 0o700);
    assert_eq!(mode(&site.state().join("socket")), 0o600);
    assert_eq!(mode(&site.state().join("state.json")), 0o600);
}

/// The commands of somebody else, who has no rights here. `None`: this user can become nobody else.
fn as_nobody(site: &Site, line: &str) -> Option<Ran> {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: only root can become somebody else");
        return None;
    }
    let gate = site.gate("");
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", env!("CARGO_BIN_EXE_gate")])
        .args(line.split_whitespace())
        .envs(gate.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Some(site.begin_as(command).ended(SOON))
}

#[track_caller]
fn assert_refused(ran: &Ran) {
    let whose = "error: the host of shop is user 0's: only that user and root may ask it";
    assert_eq!(ran.code, 7, "{ran:?}");
    if !ran.stdout.is_empty() {
        assert_ended(ran, 7, "refused", "only that user and root may ask it");
        assert_eq!(ran.result()["traffic"], "unchanged");
    }
    assert!(ran.stderr.contains(whose), "{ran:?}");
    assert!(ran.stderr.contains("sudo -u '#0' gate status local/shop"), "{ran:?}");
}

const COMMANDS: [&str; 3] =
    ["status local/shop", "abort local/shop", "promote local/shop --release v2 --output json"];

#[test]
fn another_user_is_refused_where_the_files_let_nobody_in() {
    let site = Site::new();
    let _host = site.serve();
    // The folder of the test itself is private too, and hides what is in it.
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(site.folder(), open).unwrap();
    for line in COMMANDS {
        let Some(ran) = as_nobody(&site, line) else { return };
        assert_refused(&ran);
        assert!(ran.stderr.contains("Permission denied"), "{ran:?}");
    }
    site.assert_serves_only("v1");
}

#[test]
fn another_user_is_refused_even_where_the_files_would_let_him_in() {
    let site = Site::new();
    let _host = site.serve();
    let state = site.state();
    let open: Vec<_> =
        state.ancestors().take_while(|path| path.starts_with(site.folder())).collect();
    for path in open.iter().copied().chain([state.join("socket").as_path()]) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    for line in COMMANDS {
        let Some(ran) = as_nobody(&site, line) else { return };
        assert_refused(&ran);
    }
    assert_eq!(site.run("status local/shop").code, 0);
    site.assert_serves_only("v1");
}

#[test]
fn a_second_host_of_the_same_app_is_refused() {
    let site = Site::new();
    let _host = site.serve();
    let ran = site.run("serve app.yaml");
    assert_eq!(ran.code, 7, "{ran:?}");
    assert!(ran.stderr.contains("another gate serves shop"), "{ran:?}");
    site.assert_serves_only("v1");
}

#[test]
fn an_app_file_that_a_host_serves_is_promoted_at_that_host() {
    let site = Site::new();
    let _host = site.serve();
    let _users = site.users();
    let ran = site.run("promote app.yaml --release v2 --output json");
    assert_ended(&ran, 0, "promoted", "passed every stage");
    assert!(ran.stderr.contains("a host serves shop already"), "{ran:?}");
    site.assert_serves_only("v2");
    let refused = site.run("promote app.yaml --release v3 --load 50 --output json");
    assert_eq!(refused.code, 2, "{refused:?}");
}

#[test]
fn an_embedded_run_promotes_under_its_own_load_and_leaves_nothing_behind() {
    let site = Site::new();
    for (release, code, word) in [("broken", 3, "rolled_back"), ("v2", 0, "promoted")] {
        let line = format!("promote app.yaml --release {release} --load 60 --output json");
        assert_ended(&site.run(&line), code, word, "");
        assert_eq!(site.applications(), [], "after {release}");
    }
    let left = std::fs::read_dir(site.state()).unwrap().flatten();
    let mut left: Vec<_> = left.map(|entry| entry.file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["history", "lock", "logs"]);
}

#[test]
fn the_logs_of_those_that_have_ended_are_not_kept_for_ever() {
    let site = Site::new();
    let logs = site.state().join("logs");
    std::fs::create_dir_all(&logs).unwrap();
    for number in 0..OLD_LOGS_MAX + 9 {
        std::fs::write(logs.join(format!("old-{number}.log")), "once upon a time").unwrap();
    }
    let of_old = |name: &str| name.starts_with("old-");
    let names = || {
        let found = std::fs::read_dir(&logs).unwrap().flatten();
        found.map(|entry| entry.file_name().into_string().unwrap()).collect::<Vec<_>>()
    };
    let _host = site.serve();
    let old = || names().iter().filter(|name| of_old(name)).count();
    until("no more old logs than are kept", SOON, || (old() == OLD_LOGS_MAX).then_some(()));
    assert_ended(
        &site.run("promote local/shop --release never-ready --output json"),
        3,
        "rolled_back",
        "",
    );
    // The candidate's is the newest, and takes the place of the oldest.
    until("its log among them", SOON, || (old() == OLD_LOGS_MAX - 1).then_some(()));
    let own: Vec<String> = names().into_iter().filter(|name| !of_old(name)).collect();
    assert_eq!(own.len(), 2, "{own:?}");
    for release in ["v1-", "never-ready-"] {
        assert!(own.iter().any(|name| name.starts_with(release)), "{own:?}");
    }
}

#[test]
fn a_host_that_is_asked_to_end_leaves_the_applications_or_takes_them_along() {
    let site = Site::new();
    let mut host = site.serve();
    let running = site.applications();
    processes::signal(host.pid(), Signal::TERM);
    assert_eq!(host.exited(SOON).and_then(|status| status.code()), Some(0));
    assert_eq!(site.applications(), running, "SIGTERM leaves them");
    let mut host = site.serve();
    assert_eq!(site.applications(), running, "they are taken over");
    processes::signal(host.pid(), Signal::INT);
    assert_eq!(host.exited(SOON).and_then(|status| status.code()), Some(0));
    let gone = within(SOON, || site.applications().is_empty().then_some(()));
    assert!(gone.is_some(), "SIGINT takes them along: {:?}", site.applications());
}

#[test]
fn an_address_that_is_taken_is_said() {
    let site = Site::with(QUICK, "v1");
    let _taken = std::net::TcpListener::bind(&site.address).unwrap();
    let ran = site.begin("serve app.yaml").ended(PROMOTION_MAX);
    assert_eq!(ran.code, 6, "{ran:?}");
    assert!(ran.stderr.contains(&format!("can't listen on {}", site.address)), "{ran:?}");
    assert_eq!(site.applications(), []);
}
