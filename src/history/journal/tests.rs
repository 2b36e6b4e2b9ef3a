use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::sync::mpsc;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    Decided(u64),
    Said(String),
}

fn at(second: u32) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + i64::from(second), 0).unwrap()
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p1.jsonl");
    (dir, path)
}

fn known(entries: Vec<Entry<Record>>) -> Vec<Record> {
    entries
        .into_iter()
        .map(|entry| match entry.body {
            Body::Known(record) => record,
            Body::Unknown { json, .. } => panic!("unknown: {json}"),
        })
        .collect()
}

/// Writes records 0, 1, … and closes the journal; returns the file's bytes.
fn written(path: &Path, records: u64) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut journal, _, _) = Journal::open(path).unwrap();
    for n in 0..records {
        runtime.block_on(journal.append(at(n as u32), &Record::Decided(n))).unwrap();
    }
    assert_eq!(journal.close(CLOSE_LIMIT), 0);
    fs::read(path).unwrap()
}

fn decided(records: u64) -> Vec<Record> {
    (0..records).map(Record::Decided).collect()
}

#[test]
fn a_line_is_what_the_format_says() {
    let (_dir, path) = place();
    let bytes = written(&path, 1);
    let line =
        r#"{"schema":"gate.record/v1","seq":1,"at":"2027-01-15T08:00:00Z","record":{"decided":0}}"#;
    assert_eq!(String::from_utf8(bytes).unwrap(), format!("{line}\n"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_was_appended_is_read_and_goes_on() {
    let (_dir, path) = place();
    written(&path, 2);
    let (journal, entries, repair) = Journal::<Record>::open(&path).unwrap();
    assert!(repair.is_clean());
    assert_eq!(
        entries.iter().map(|entry| (entry.seq, entry.at)).collect::<Vec<_>>(),
        [(1, at(0)), (2, at(1))]
    );
    assert_eq!(journal.next_seq, 3);
    drop(journal);
    assert_eq!(known(read(&path).unwrap().0), decided(2));
}

#[test]
fn a_crash_at_any_byte_of_the_last_line_costs_only_that_line() {
    let (_dir, path) = place();
    let whole = written(&path, 3);
    let start = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for length in start..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let missing = whole.len() - length;
        let torn = if missing > 1 { (length - start) as u64 } else { 0 };
        let kept = if missing > 1 { 2 } else { 3 };

        let (_, before) = read::<Record>(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), length as u64, "reading changes nothing");
        let (journal, entries, repair) = Journal::<Record>::open(&path).unwrap();
        assert_eq!(before, repair);
        assert_eq!((repair.torn_bytes, repair.unended), (torn, missing == 1), "{length} bytes");
        assert_eq!(known(entries), decided(kept), "{length} bytes");
        assert_eq!(journal.next_seq, kept + 1);
        drop(journal);
        assert!(read::<Record>(&path).unwrap().1.is_clean(), "the repair stays");
    }
}

#[tokio::test]
async fn a_mended_journal_goes_on_behind_its_last_record() {
    for cut in 1..=2 {
        let (_dir, path) = place();
        let begun = line::encode(1, at(0), &Record::Decided(0)).unwrap();
        fs::write(&path, &begun[..begun.len() - cut]).unwrap();
        let (mut journal, entries, _) = Journal::open(&path).unwrap();
        let kept = entries.len() as u64;
        journal.append(at(0), &Record::Decided(kept)).await.unwrap();
        drop(journal);
        let (entries, repair) = read(&path).unwrap();
        assert!(repair.is_clean());
        assert_eq!(known(entries), decided(kept + 1));
    }
}

#[test]
fn a_damaged_line_is_named_and_costs_no_other() {
    let check = |damaged: &[u8], words: &str| {
        let (_dir, path) = place();
        let whole = written(&path, 3);
        let lines: Vec<_> = whole.split_inclusive(|byte| *byte == b'\n').collect();
        fs::write(&path, [lines[0], damaged, lines[2]].concat()).unwrap();
        let (journal, entries, repair) = Journal::<Record>::open(&path).unwrap();
        assert_eq!(known(entries), [Record::Decided(0), Record::Decided(2)]);
        assert_eq!((repair.damaged_count, journal.next_seq), (1, 4));
        assert!(repair.damaged[0].why.contains(words), "{}", repair.damaged[0].why);
        repair.damaged[0].line
    };
    assert_eq!(check(b"{\"schema\":\n", "EOF"), 2);
    assert_eq!(check(b"\0\0\0\0\n", "expected value"), 2);
    assert_eq!(check(b"\xff\xfe\n", "expected value"), 2);
    assert_eq!(check(b"{}\n", "missing field"), 2);
    assert_eq!(check(b"", "records 2 to 2 are missing"), 2);
    assert_eq!(check(&[&vec![b' '; LINE_BYTES_MAX][..], b"\n"].concat(), "longer than"), 2);
}

#[tokio::test]
async fn records_of_a_newer_gate_are_kept_as_they_are() {
    let (_dir, path) = place();
    let kind = r#"{"schema":"gate.record/v1","seq":1,"at":"2027-01-15T08:00:00Z","record":{"drilled": 7}}"#;
    let schema = r#"{"schema":"gate.record/v2","seq":2,"at":"2027-01-15T08:00:01Z","record":{"decided": 7}}"#;
    fs::write(&path, format!("{kind}\n{schema}\n")).unwrap();
    let (mut journal, entries, repair) = Journal::open(&path).unwrap();
    assert!(repair.is_clean());
    let unknown =
        |schema: &str, json: &str| Body::Unknown { schema: schema.into(), json: json.into() };
    assert_eq!(entries[0].body, unknown("gate.record/v1", r#"{"drilled": 7}"#));
    assert_eq!(entries[1].body, unknown("gate.record/v2", r#"{"decided": 7}"#));
    journal.append(at(2), &Record::Decided(0)).await.unwrap();
    drop(journal);
    assert!(fs::read_to_string(&path).unwrap().starts_with(&format!("{kind}\n{schema}\n")));
    assert_eq!(read::<Record>(&path).unwrap().0.len(), 3);
}

#[test]
fn a_journal_has_one_writer() {
    let (_dir, path) = place();
    let (journal, _, _) = Journal::<Record>::open(&path).unwrap();
    assert!(matches!(Journal::<Record>::open(&path), Err(JournalError::Busy { .. })));
    drop(journal);
    Journal::<Record>::open(&path).unwrap();
}

/// A disk in memory that a test holds, breaks and frees.
#[derive(Clone, Default)]
struct Disk {
    written: Arc<Mutex<Vec<String>>>,
    broken: Arc<Mutex<bool>>,
}

impl Disk {
    fn put(&self, line: &[u8]) -> io::Result<()> {
        if *self.broken.lock().unwrap() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.written.lock().unwrap().push(String::from_utf8(line.to_vec()).unwrap());
        Ok(())
    }

    fn records(&self) -> Vec<Record> {
        let text = self.written.lock().unwrap().concat();
        known(line::scan(text.as_bytes()).entries)
    }
}

#[tokio::test]
async fn a_slow_disk_does_not_hold_the_way_back_up_and_nothing_is_lost() {
    let disk = Disk::default();
    let (free, held) = mpsc::channel::<()>();
    let on_disk = disk.clone();
    let mut journal = Journal::over(
        move |line| {
            let _ = held.recv();
            on_disk.put(line)
        },
        1,
        0,
    );
    for n in 0..3 {
        let limit = Duration::from_millis(5);
        let appended = journal.append_within(at(0), &Record::Decided(n), limit).await.unwrap();
        assert_eq!(appended, Appended::Late("the disk took over 5ms".into()));
    }
    assert_eq!((journal.waiting(), disk.records().len()), (3, 0));
    drop(free);
    journal.append(at(0), &Record::Decided(3)).await.unwrap();
    assert_eq!(disk.records(), decided(4));
}

#[tokio::test]
async fn a_full_disk_fails_at_once_and_is_tried_again() {
    let disk = Disk::default();
    let on_disk = disk.clone();
    let mut journal = Journal::over(move |line| on_disk.put(line), 1, 0);
    *disk.broken.lock().unwrap() = true;
    let Err(JournalError::Late(why)) = journal.append(at(0), &Record::Decided(0)).await else {
        panic!("acknowledged");
    };
    assert!(why.contains("no storage space"), "{why}");
    *disk.broken.lock().unwrap() = false;
    // A new record ends the wait before the next try.
    journal.append(at(0), &Record::Decided(1)).await.unwrap();
    assert_eq!(disk.records(), decided(2));
}

#[tokio::test]
async fn the_end_of_a_journal_tries_once_more_and_says_what_is_left() {
    for (broken, left) in [(true, 2), (false, 0)] {
        let disk = Disk::default();
        let on_disk = disk.clone();
        let mut journal = Journal::over(move |line| on_disk.put(line), 1, 0);
        *disk.broken.lock().unwrap() = true;
        for n in 0..2 {
            let _ = journal.append_within(at(0), &Record::Decided(n), APPEND_LIMIT).await.unwrap();
        }
        *disk.broken.lock().unwrap() = broken;
        assert_eq!(journal.close(APPEND_LIMIT), left);
        assert_eq!(disk.records(), decided(2 - left as u64));
    }
}

#[tokio::test(start_paused = true)]
async fn virtual_time_does_not_make_a_good_disk_late() {
    let (_dir, path) = place();
    let (mut journal, _, _) = Journal::open(&path).unwrap();
    let limit = Duration::from_secs(60);
    for n in 0..20 {
        let appended = journal.append_within(at(0), &Record::Decided(n), limit).await.unwrap();
        assert_eq!(appended, Appended::Durable);
    }
}

#[tokio::test]
async fn the_queue_has_a_limit() {
    let disk = Disk::default();
    *disk.broken.lock().unwrap() = true;
    let on_disk = disk.clone();
    let mut journal = Journal::over(move |line| on_disk.put(line), 1, 0);
    for n in 0..QUEUE_RECORDS_MAX as u64 {
        journal.append_within(at(0), &Record::Decided(n), Duration::ZERO).await.unwrap();
    }
    let one_more = journal.append_within(at(0), &Record::Decided(0), Duration::ZERO).await;
    assert!(matches!(one_more, Err(JournalError::QueueFull)));
    *disk.broken.lock().unwrap() = false;
    assert_eq!(journal.close(APPEND_LIMIT), 0);
    assert_eq!(disk.records(), decided(QUEUE_RECORDS_MAX as u64));
}

#[tokio::test]
async fn a_full_journal_keeps_a_reserve_for_the_way_back() {
    let ordinary = FILE_BYTES_MAX - RESERVE_BYTES;
    let mut journal = Journal::over(|_| Ok(()), 1, ordinary);
    let refused = journal.append(at(0), &Record::Decided(0)).await;
    assert!(matches!(refused, Err(JournalError::Full { limit }) if limit == ordinary));
    let back = journal.append_within(at(0), &Record::Decided(0), APPEND_LIMIT).await.unwrap();
    assert_eq!(back, Appended::Durable);

    let line = line::encode(1, at(0), &Record::Decided(0)).unwrap().len() as u64;
    let mut journal = Journal::over(|_| Ok(()), 1, ordinary - line);
    journal.append(at(0), &Record::Decided(0)).await.unwrap();

    let mut journal = Journal::over(|_| Ok(()), 1, FILE_BYTES_MAX);
    let refused = journal.append_within(at(0), &Record::Decided(0), APPEND_LIMIT).await;
    assert!(matches!(refused, Err(JournalError::Full { .. })));
}

#[tokio::test]
async fn a_record_too_long_for_a_line_is_refused() {
    let mut journal = Journal::over(|_| Ok(()), 1, 0);
    let long = Record::Said("x".repeat(LINE_BYTES_MAX));
    assert!(matches!(journal.append(at(0), &long).await, Err(JournalError::Record(_))));
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let (_dir, path) = place();
    File::create(&path).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
    assert!(matches!(read::<Record>(&path), Err(JournalError::TooLarge { .. })));
    assert!(matches!(Journal::<Record>::open(&path), Err(JournalError::TooLarge { .. })));
}

#[test]
fn what_a_failed_write_left_is_cut_off_before_the_next_line() {
    let (_dir, path) = place();
    // The state after a write that gave up half-way through the second line.
    fs::write(&path, "first\nsec").unwrap();
    let open = || OpenOptions::new().append(true).open(&path).unwrap();
    let mut on_disk = on_file(open(), 6);
    on_disk(b"second\n").unwrap();
    on_disk(b"third\n").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"first\nsecond\nthird\n");

    let mut unwritable = on_file(File::open(&path).unwrap(), 6);
    unwritable(b"fourth\n").unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), b"first\nsecond\nthird\n");
}

#[test]
fn journals_are_listed_by_their_beginning_and_the_oldest_are_pruned() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(list(&dir.path().join("none")).unwrap(), []);
    for n in [3_u32, 1, 4, 2] {
        let line = line::encode(1, at(n), &Record::Decided(0)).unwrap();
        fs::write(dir.path().join(format!("{}.jsonl", 9 - n)), line).unwrap();
    }
    fs::write(dir.path().join("notes.txt"), "not a journal").unwrap();
    let names = || -> Vec<_> {
        let listed = list(dir.path()).unwrap();
        listed
            .iter()
            .map(|one| one.path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(), ["5", "6", "7", "8"]);
    let (oldest_is_written, _, _) = Journal::<Record>::open(&dir.path().join("8.jsonl")).unwrap();
    let removed = prune(dir.path(), 2).unwrap();
    assert_eq!(removed, [dir.path().join("7.jsonl")]);
    assert_eq!(names(), ["5", "6", "8"]);
    drop(oldest_is_written);
    prune(dir.path(), 2).unwrap();
    assert_eq!(names(), ["5", "6"]);
    assert!(dir.path().join("notes.txt").exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the disk does: what is acknowledged stays, in order, and nothing that was taken is lost.
    #[test]
    fn no_record_is_lost_or_moved(broken in prop::collection::vec(any::<bool>(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let disk = Disk::default();
        let on_disk = disk.clone();
        let mut journal = Journal::over(move |line| on_disk.put(line), 1, 0);
        let mut acknowledged = 0;
        for (n, broken) in broken.iter().enumerate() {
            *disk.broken.lock().unwrap() = *broken;
            let limit = if n % 3 == 0 { Duration::ZERO } else { APPEND_LIMIT };
            let record = Record::Decided(n as u64);
            let append = journal.append_within(at(0), &record, limit);
            if runtime.block_on(append).unwrap() == Appended::Durable {
                acknowledged = n + 1;
            }
            let written = disk.records();
            prop_assert!(written.len() >= acknowledged);
            prop_assert_eq!(&written, &decided(written.len() as u64));
        }
        *disk.broken.lock().unwrap() = false;
        prop_assert_eq!(journal.close(APPEND_LIMIT), 0);
        prop_assert_eq!(disk.records(), decided(broken.len() as u64));
    }

    #[test]
    fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let scan = line::scan::<Record>(&bytes);
        let kept = scan.whole_bytes + scan.repair.torn_bytes;
        prop_assert_eq!(kept, bytes.len() as u64);
    }
}
