use std::collections::BTreeMap;
use std::io::BufRead;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::*;

const SCHEMA: Schema = Schema { name: "gate.test", version: 2 };

type State = BTreeMap<String, f64>;

fn state(n: f64) -> State {
    State::from([("n".into(), n)])
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.json");
    (dir, path)
}

#[test]
fn what_was_saved_is_loaded_bit_for_bit() {
    let (_dir, path) = place();
    assert_eq!(load::<State>(&path, SCHEMA), Loaded::Missing);
    for n in [0.1 + 0.2, 1e-300, f64::MAX, -0.0, 2_f64.sqrt()] {
        save(&path, SCHEMA, &state(n)).unwrap();
        let Loaded::Current(back) = load::<State>(&path, SCHEMA) else { panic!("not current") };
        assert_eq!(back["n"].to_bits(), n.to_bits());
    }
}

#[test]
fn only_the_owner_may_read_whatever_was_there_before() {
    let (_dir, path) = place();
    fs::write(beside(&path, ".new"), "left behind by a crash").unwrap();
    fs::set_permissions(beside(&path, ".new"), fs::Permissions::from_mode(0o666)).unwrap();
    save(&path, SCHEMA, &state(1.0)).unwrap();
    save(&path, SCHEMA, &state(2.0)).unwrap();
    for file in [path.clone(), beside(&path, ".1")] {
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn plain_bytes_are_replaced_and_what_was_there_is_kept() {
    let (_dir, path) = place();
    write(&path, b"one").unwrap();
    write(&path, b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"two");
    assert_eq!(fs::read(beside(&path, ".1")).unwrap(), b"one");
}

#[test]
fn a_step_that_fails_is_named() {
    let (_dir, path) = place();
    fs::create_dir(&path).unwrap();
    let failure = write(&path, b"one").unwrap_err().to_string();
    assert_eq!(failure, format!("can't keep the previous generation of {}", path.display()));
    let failure = write(&path.join("none/state.json"), b"one").unwrap_err().to_string();
    assert!(failure.starts_with("can't write the new generation of"), "{failure}");
}

#[test]
fn a_directory_is_synced_or_missed() {
    let (_dir, path) = place();
    sync_directory_of(&path).unwrap();
    sync_directory_of(Path::new("in-the-working-directory")).unwrap();
    sync_directory_of(&path.join("none/state.json")).unwrap_err();
}

#[test]
fn a_file_that_can_not_be_locked_is_not_taken_for_a_busy_one() {
    let only_a_place = rustix::fs::OFlags::PATH.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(only_a_place).open("/").unwrap();
    lock_exclusively(&file).unwrap_err();
}

#[test]
fn a_crash_after_any_step_leaves_the_old_or_the_new_generation() {
    for done in 0..=STEPS.len() {
        let (_dir, path) = place();
        save(&path, SCHEMA, &state(1.0)).unwrap();
        save(&path, SCHEMA, &state(2.0)).unwrap();
        let new = seal(SCHEMA, &state(3.0)).unwrap();
        run(&STEPS[..done], &path, &new).unwrap();

        let replaced = STEPS[..done].contains(&Step::Replace);
        let wanted = state(if replaced { 3.0 } else { 2.0 });
        assert_eq!(load(&path, SCHEMA), Loaded::Current(wanted), "after {done} steps");

        // The run after the crash is not disturbed by what the crash left.
        save(&path, SCHEMA, &state(4.0)).unwrap();
        assert_eq!(load(&path, SCHEMA), Loaded::Current(state(4.0)), "after {done} steps");
        fs::remove_file(&path).unwrap();
        let previous = state(if replaced { 3.0 } else { 2.0 });
        assert_eq!(load(&path, SCHEMA), Loaded::Previous(previous, Damage::Absent));
    }
}

#[test]
fn a_crash_in_the_very_first_write_is_a_first_start() {
    for done in 0..STEPS.len() {
        let (_dir, path) = place();
        let new = seal(SCHEMA, &state(1.0)).unwrap();
        run(&STEPS[..done], &path, &new).unwrap();
        let replaced = STEPS[..done].contains(&Step::Replace);
        let wanted = if replaced { Loaded::Current(state(1.0)) } else { Loaded::Missing };
        assert_eq!(load(&path, SCHEMA), wanted, "after {done} steps");
    }
}

#[test]
fn a_file_cut_off_at_any_byte_gives_the_generation_before() {
    let (_dir, path) = place();
    save(&path, SCHEMA, &state(1.0)).unwrap();
    save(&path, SCHEMA, &state(2.0)).unwrap();
    let whole = fs::read(&path).unwrap();
    // The newline at the end is for people: without it the file is still whole.
    for length in 0..whole.len() - 1 {
        fs::write(&path, &whole[..length]).unwrap();
        let why = if length == 0 { Damage::Empty } else { Damage::Truncated };
        assert_eq!(load(&path, SCHEMA), Loaded::Previous(state(1.0), why), "{length} bytes");
    }
}

#[test]
fn a_changed_byte_is_never_believed() {
    let (_dir, path) = place();
    save(&path, SCHEMA, &state(1.0)).unwrap();
    save(&path, SCHEMA, &state(2.0)).unwrap();
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() - 1 {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        match load::<State>(&path, SCHEMA) {
            // Also where the version's 2 became a 3: that is a newer gate's.
            Loaded::Previous(value, _) => assert_eq!(value, state(1.0)),
            other => panic!("byte {at}: {other:?}"),
        }
    }
}

#[test]
fn each_damage_has_its_own_words() {
    let check = |content: &str, words: &str| {
        let (_dir, path) = place();
        fs::write(&path, content).unwrap();
        let Loaded::Unusable { current, previous } = load::<State>(&path, SCHEMA) else {
            panic!("{content} was used");
        };
        assert!(current.to_string().contains(words), "{content}: {current}");
        assert_eq!(previous, Damage::Absent);
    };
    let sealed = |name, version, payload: &str| {
        let raw = RawValue::from_string(payload.into()).unwrap();
        String::from_utf8(seal(Schema { name, version }, &raw).unwrap()).unwrap()
    };
    check("", "empty");
    check("\0\0\0\0", "no state of a gate");
    check("<html>", "no state of a gate");
    check(r#"{"schema":"gate.test","#, "cut off");
    check(r#"{"schema":"gate.test","version":2,"checksum":"00","payload":{"n":1}}"#, "checksum");
    check(&sealed("gate.test", 3, "{}"), "written by a newer gate (version 3");
    check(&sealed("gate.other", 2, "{}"), "gate.other");
    check(&sealed("gate.test", 2, "[1]"), "does not fit");
    assert_eq!(FILE_BYTES_MAX, 16_777_216);
    check(&" ".repeat(FILE_BYTES_MAX as usize), "no state of a gate");
    check(&" ".repeat(FILE_BYTES_MAX as usize + 1), "larger than");
}

#[test]
fn an_older_version_is_read() {
    let (_dir, path) = place();
    save(&path, Schema { version: 1, ..SCHEMA }, &state(1.0)).unwrap();
    assert_eq!(load(&path, SCHEMA), Loaded::Current(state(1.0)));
}

#[test]
fn a_damaged_generation_does_not_push_out_the_whole_one_before_it() {
    let (_dir, path) = place();
    save(&path, SCHEMA, &state(1.0)).unwrap();
    save(&path, SCHEMA, &state(2.0)).unwrap();
    fs::write(&path, "damaged").unwrap();
    save(&path, SCHEMA, &state(3.0)).unwrap();
    fs::write(&path, "damaged again").unwrap();
    let Loaded::Previous(value, _) = load::<State>(&path, SCHEMA) else { panic!("lost") };
    assert_eq!(value, state(1.0));
}

#[test]
fn a_newer_gates_state_is_kept_when_an_older_gate_writes() {
    let (_dir, path) = place();
    let newer = Schema { version: 3, ..SCHEMA };
    save(&path, newer, &state(9.0)).unwrap();
    save(&path, SCHEMA, &state(1.0)).unwrap();
    fs::rename(beside(&path, ".1"), &path).unwrap();
    assert_eq!(load(&path, newer), Loaded::Current(state(9.0)));
}

/// Starts this test again in a process of its own, in which [`ROLE`] holds `path`.
fn again(test: &str, path: &Path, shell: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{shell} exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("durable::tests::{test}"), "--nocapture"]);
    command.env(ROLE, path).stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

const ROLE: &str = "GATE_TEST_ROLE_PATH";

/// A limit on the size of files stands for a full disk: both end a write half-way, and this one
/// needs no privileges (`EFBIG` in place of `ENOSPC`, with the signal ignored).
#[test]
fn a_full_disk_leaves_the_old_generation() {
    let large = State::from_iter((0..10_000).map(|n| (n.to_string(), 1.0)));
    if let Some(path) = std::env::var_os(ROLE) {
        let failure = save(Path::new(&path), SCHEMA, &large).unwrap_err();
        assert_eq!(failure.step, Step::WriteNew.words());
        return;
    }
    let (_dir, path) = place();
    save(&path, SCHEMA, &state(1.0)).unwrap();
    let limited = "trap '' XFSZ; ulimit -f 8;";
    let status = again("a_full_disk_leaves_the_old_generation", &path, limited).status().unwrap();
    assert!(status.success());
    assert!(
        fs::metadata(beside(&path, ".new")).unwrap().len() > 0,
        "the write was cut off half-way"
    );
    assert_eq!(load(&path, SCHEMA), Loaded::Current(state(1.0)));
    save(&path, SCHEMA, &state(2.0)).unwrap();
    assert_eq!(load(&path, SCHEMA), Loaded::Current(state(2.0)));
}

#[test]
fn a_write_that_the_device_refuses_is_an_error() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_eq!(fill(full, b"x").unwrap_err().kind(), ErrorKind::StorageFull);
}

#[test]
fn a_lock_is_had_once_and_given_back() {
    let (_dir, path) = place();
    let lock = Lock::take(&path).unwrap();
    let Err(LockError::Busy { pid }) = Lock::take(&path) else { panic!("taken twice") };
    assert_eq!(pid, Some(std::process::id()));
    drop(lock);
    Lock::take(&path).unwrap();
}

#[test]
fn a_killed_holder_gives_its_lock_back() {
    if let Some(path) = std::env::var_os(ROLE) {
        let _lock = Lock::take(Path::new(&path)).unwrap();
        println!("\nlocked");
        let _ = io::stdin().read_line(&mut String::new());
        return;
    }
    let (_dir, path) = place();
    let mut child = again("a_killed_holder_gives_its_lock_back", &path, "").spawn().unwrap();
    let lines = io::BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "locked"));

    let Err(LockError::Busy { pid }) = Lock::take(&path) else { panic!("taken twice") };
    assert_eq!(pid, Some(child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    Lock::take(&path).unwrap();
}
