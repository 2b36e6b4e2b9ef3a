//! What is on disk is damaged, or the disk is full: said aloud, and never an empty route table.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use chrono::Utc;
use serde_json::Value;

use crate::ends::assert_ended;
use crate::journal;
use crate::poll::{at_once, until};
use crate::site::{Client, Host, PROMOTION_MAX, SOON, Site};
use crate::traffic;

/// What becomes of a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    CutAt(f64),
    Empty,
    Garbage,
    Changed,
    Newer,
    Gone,
}

const EVERY: [Damage; 8] = [
    Damage::Empty,
    Damage::CutAt(0.001),
    Damage::CutAt(0.5),
    Damage::CutAt(0.999),
    Damage::Garbage,
    Damage::Changed,
    Damage::Newer,
    Damage::Gone,
];

impl Damage {
    fn strike(self, path: &Path) {
        let text = std::fs::read_to_string(path).unwrap();
        let cut = |part: f64| text[..(text.len() as f64 * part) as usize].to_owned();
        let damaged = match self {
            Self::CutAt(part) => cut(part),
            Self::Empty => String::new(),
            Self::Garbage => "\u{0}\u{1}{]".repeat(100),
            Self::Changed => text.replacen("asked_share\":0.0", "asked_share\":1.0", 1),
            Self::Newer => text.replacen("\"version\":1", "\"version\":99", 1),
            Self::Gone => return std::fs::remove_file(path).unwrap(),
        };
        assert_ne!(damaged, text, "{self:?} changes nothing");
        std::fs::write(path, damaged).unwrap();
    }
}

/// Returns the generations of the host's state: the present one, and the one before.
fn generations(site: &Site) -> [PathBuf; 2] {
    ["state.json", "state.json.1"].map(|name| site.state().join(name))
}

fn promoted(site: &Site, release: &str) {
    let users = site.users();
    assert_ended(&site.promote(release).ended(PROMOTION_MAX), 0, "promoted", "");
    drop(users);
    site.assert_serves_only(release);
}

#[test]
fn a_damaged_state_is_replaced_by_the_generation_before_it_and_that_is_said() {
    at_once(&EVERY, 4, |damage| {
        let site = Site::new();
        let mut host = site.serve();
        promoted(&site, "v2");
        let running = site.applications();
        host.kill();
        damage.strike(&generations(&site)[0]);
        let host = site.serve();
        assert!(host.said().contains("the generation before it is used"), "{}", host.said());
        site.assert_serves_only("v2");
        assert_eq!(site.applications(), running, "{damage:?}: taken over, not started again");
    });
}

#[test]
fn with_both_generations_damaged_users_still_get_answers_and_that_is_said() {
    at_once(&[Damage::Empty, Damage::Garbage, Damage::CutAt(0.5)], 3, |damage| {
        let site = Site::new();
        let mut host = site.serve();
        promoted(&site, "v2");
        host.kill();
        generations(&site).iter().for_each(|path| damage.strike(path));
        let host = site.serve();
        assert!(host.said().contains("starting from release v1"), "{}", host.said());
        site.assert_serves_only("v1");
    });
}

#[test]
fn a_promotion_goes_on_from_the_generation_before() {
    let site = Site::new();
    let mut host = site.serve();
    let _users = site.users();
    let client = site.promote("v2");
    site.await_phase("holding", Some(2));
    host.kill();
    Damage::CutAt(0.5).strike(&generations(&site)[0]);
    let host = site.serve();
    assert!(host.said().contains("the generation before it is used"), "{}", host.said());
    site.assert_serves_only("v2");
    assert_eq!(client.ended(SOON).code, 6, "the client has lost its host, and says so");
}

#[test]
fn a_generation_older_than_the_end_of_its_promotion_does_not_undo_the_end() {
    at_once(&[("v2", "v2"), ("broken", "v1")], 2, |&(release, stable)| {
        let site = Site::new();
        let mut host = site.serve();
        let users = site.users();
        let [present, before] = generations(&site);
        let client = site.promote(release);
        site.await_phase("holding", Some(1));
        let old = std::fs::read(&present).unwrap();
        let code = client.ended(PROMOTION_MAX).code;
        assert_eq!(code, if release == "v2" { 0 } else { 3 });
        site.assert_serves_only(stable);
        host.kill();
        std::fs::write(&before, old).unwrap();
        Damage::Empty.strike(&present);
        let _host = site.serve();
        site.assert_serves_only(stable);
        let again = site.promote(release).ended(PROMOTION_MAX);
        match release {
            "v2" => drop(assert_ended(&again, 0, "unchanged", "")),
            _ => drop(assert_ended(&again, 7, "refused", "in quarantine")),
        }
        drop(users);
    });
}

/// A host that dies between the decision that it has ended and the record of how.
#[test]
fn an_end_that_was_decided_and_not_written_down_is_written_down_by_the_next_host() {
    at_once(&[("v2", "v2", "promoted"), ("broken", "v1", "rolled_back")], 2, |row| {
        let &(release, stable, result) = row;
        let site = Site::new();
        let mut host = site.serve();
        let users = site.users();
        let client = site.promote(release);
        site.await_phase("holding", Some(1));
        let begun = std::fs::read(&generations(&site)[0]).unwrap();
        let told = client.ended(PROMOTION_MAX).result();
        site.assert_serves_only(stable);
        host.kill();
        let path = journal::newest(&site.state()).unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        let last = whole.trim_end().rfind('\n').unwrap() + 1;
        assert!(whole[last..].contains("\"kind\":\"finished\""), "{}", &whole[last..]);
        std::fs::write(&path, &whole[..last]).unwrap();
        std::fs::write(&generations(&site)[0], begun).unwrap();
        let _host = site.serve();
        site.assert_serves_only(stable);
        let written = journal::read(&path);
        let outcome = journal::outcome(&written).expect("its end is written down");
        assert_eq!(outcome["result"], result);
        assert_eq!(outcome["reason"], told["reason"]);
        until("the newest result", SOON, || {
            let last = site.status()?["last"].take();
            (last["result"] == result && last["id"] == told["id"]).then_some(())
        });
        drop(users);
    });
}

/// A site whose state is on a small disk of its own, which only its host sees.
struct SmallDisk {
    site: Site,
    host: Host,
    /// The state folder as everybody else sees it: through the host's mount namespace.
    state: PathBuf,
}

impl SmallDisk {
    /// `None` where this user may not mount anything.
    fn new() -> Option<Self> {
        let site = Site::new();
        let state = site.folder().join("state");
        std::fs::create_dir_all(&state).unwrap();
        let mount = format!("mount -t tmpfs -o size=2m,mode=700 tmpfs {}", state.display());
        let may = Command::new("unshare").args(["--mount", "sh", "-c", &mount]).status();
        if !may.is_ok_and(|status| status.success()) {
            assert!(std::env::var_os("GATE_REQUIRE_TOOLS").is_none(), "can't mount a tmpfs");
            println!("SKIPPED: a small disk needs `unshare --mount` and the right to mount");
            return None;
        }
        let gate = site.gate("");
        let mut command = Command::new("unshare");
        let serve = format!("{mount} && exec {} serve app.yaml", env!("CARGO_BIN_EXE_gate"));
        command.args(["--mount", "sh", "-c", &serve]).current_dir(site.folder()).env_clear();
        command.envs(gate.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let host = site.start_as(command);
        let state = PathBuf::from(format!("/proc/{}/root{}", host.pid(), state.display()));
        let disk = Self { site, host, state };
        until("the host", SOON, || {
            let seen = traffic::get(&disk.site.address);
            (seen.is_good() && disk.status().is_some()).then_some(())
        });
        Some(disk)
    }

    fn begin(&self, line: &str) -> Client {
        let mut command = self.site.gate(line);
        command.env("GATE_STATE_DIR", &self.state);
        self.site.begin_as(command)
    }

    fn status(&self) -> Option<Value> {
        let ran = self.begin("status local/shop --output json").ended(SOON);
        (ran.code == 0).then(|| serde_json::from_str(&ran.stdout).unwrap())
    }

    fn await_stage(&self, stage: u64) {
        until("the stage", PROMOTION_MAX, || {
            let run = &self.status()?["promotion"];
            (run["phase"] == "holding" && run["stage"] == stage).then_some(())
        });
    }

    fn filler(&self) -> PathBuf {
        self.state.join("filler")
    }

    /// Writes until there is no room left.
    fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.filler()).unwrap();
        for size in [4096, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
        assert!(file.write_all(&[b'x'; 4096]).is_err(), "the disk is full");
    }
}

#[test]
fn a_full_disk_stops_the_way_forward_and_not_the_way_back() {
    let Some(disk) = SmallDisk::new() else { return };
    let users = disk.site.users();
    let running = disk.begin("promote local/shop --release v2 --output json");
    disk.await_stage(1);
    disk.fill();
    // Twice the hold: with a disk it would be in the next stage.
    std::thread::sleep(Duration::from_secs(5));
    let status = disk.status().unwrap();
    assert_eq!(
        (&status["promotion"]["stage"], &status["promotion"]["seen_share"]),
        (&1.into(), &0.5.into()),
        "{status}"
    );
    let asked = Utc::now();
    assert_eq!(disk.begin("abort local/shop").ended(SOON).code, 0);
    let ran = running.ended(PROMOTION_MAX);
    assert_ended(&ran, 4, "aborted", "aborted by ada");
    assert!(ran.stdout.contains("effect.failed"), "it says that it can't go on: {ran:?}");
    let seen = users.go();
    let late = asked + Duration::from_secs(2);
    let wrong: Vec<_> = seen.iter().filter(|seen| seen.sent > late && seen.is_from("v2")).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let bad: Vec<_> = seen.iter().filter(|seen| !seen.is_good()).collect();
    assert!(bad.is_empty(), "{bad:?}");
    let said = disk.host.said();
    assert!(said.contains("the state can't be written"), "{said}");
}

#[test]
fn a_disk_that_has_room_again_lets_the_promotion_go_on() {
    let Some(disk) = SmallDisk::new() else { return };
    let _users = disk.site.users();
    let running = disk.begin("promote local/shop --release v2 --output json");
    disk.await_stage(1);
    disk.fill();
    std::thread::sleep(Duration::from_secs(5));
    std::fs::remove_file(disk.filler()).unwrap();
    assert_ended(&running.ended(PROMOTION_MAX), 0, "promoted", "passed every stage");
}
