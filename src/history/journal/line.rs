//! One record, one line; and what can be made of a file's bytes.

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::JournalError;

/// The schema of every line that this gate writes.
pub const SCHEMA: &str = "gate.record/v1";

/// The longest line, newline included, in bytes.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Damaged places that are described one by one; beyond, they are only counted.
const DAMAGED_DESCRIBED_MAX: usize = 100;

/// A record as it stands in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<R> {
    /// Rises by 1 from record to record; begins at 1.
    pub seq: u64,
    pub at: DateTime<Utc>,
    pub body: Body<R>,
}

impl<R> Entry<R> {
    /// Returns the record and its time; `None`: it is from a newer gate, whose own tools show it.
    pub fn known(self) -> Option<(DateTime<Utc>, R)> {
        match self.body {
            Body::Known(record) => Some((self.at, record)),
            Body::Unknown { .. } => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body<R> {
    Known(R),
    /// From a newer gate: the schema it names, and the record as it was written.
    Unknown {
        schema: String,
        json: String,
    },
}

/// What was wrong with a journal. Say it, if [`Repair::is_clean`] does not hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// The length of a last line that a crash cut off; it was never acknowledged.
    pub torn_bytes: u64,
    /// The last record is whole, only its newline was missing.
    pub unended: bool,
    /// Lines that can't be read, and records that are not there.
    pub damaged: Vec<Damaged>,
    /// All of them, also those past the first 100.
    pub damaged_count: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Counts from 1.
    pub line: usize,
    pub why: String,
}

impl Repair {
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.torn_bytes == 0 && !self.unended && self.damaged_count == 0
    }

    fn note(&mut self, line: usize, why: String) {
        self.damaged_count += 1;
        if self.damaged.len() < DAMAGED_DESCRIBED_MAX {
            self.damaged.push(Damaged { line, why });
        }
    }
}

pub(super) struct Scan<R> {
    pub(super) entries: Vec<Entry<R>>,
    pub(super) repair: Repair,
    /// Up to where the file is kept.
    pub(super) whole_bytes: u64,
    pub(super) next_seq: u64,
}

#[derive(Serialize)]
struct Written<'a, R> {
    schema: &'static str,
    seq: u64,
    at: DateTime<Utc>,
    record: &'a R,
}

#[derive(Deserialize)]
struct Found {
    schema: String,
    seq: u64,
    at: DateTime<Utc>,
    record: Box<RawValue>,
}

/// Returns a record's line, with its newline.
pub(super) fn encode<R: Serialize>(
    seq: u64,
    at: DateTime<Utc>,
    record: &R,
) -> Result<Vec<u8>, JournalError> {
    let mut line = serde_json::to_vec(&Written { schema: SCHEMA, seq, at, record })
        .map_err(|error| JournalError::Record(error.to_string()))?;
    line.push(b'\n');
    if line.len() > LINE_BYTES_MAX {
        return Err(JournalError::Record(format!("{} bytes", line.len())));
    }
    Ok(line)
}

pub(super) fn scan<R: DeserializeOwned>(bytes: &[u8]) -> Scan<R> {
    let mut scan =
        Scan { entries: Vec::new(), repair: Repair::default(), whole_bytes: 0, next_seq: 1 };
    let mut lines = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        lines += 1;
        scan.take(lines, line);
    }
    scan
}

impl<R: DeserializeOwned> Scan<R> {
    fn take(&mut self, number: usize, line: &[u8]) {
        let ended = line.ends_with(b"\n");
        match decode(line) {
            Ok(entry) => {
                self.note_gap(number, entry.seq);
                self.next_seq = self.next_seq.max(entry.seq.saturating_add(1));
                self.entries.push(entry);
                self.repair.unended = !ended;
            }
            // Only the last line can be without its end.
            Err(_) if !ended => {
                self.repair.torn_bytes = line.len() as u64;
                return;
            }
            Err(why) => {
                self.repair.note(number, why);
                self.next_seq = self.next_seq.saturating_add(1);
            }
        }
        self.whole_bytes += line.len() as u64;
    }

    fn note_gap(&mut self, number: usize, seq: u64) {
        let expected = self.next_seq;
        if seq > expected {
            let why = format!("records {expected} to {} are missing before it", seq - 1);
            self.repair.note(number, why);
        }
    }
}

fn decode<R: DeserializeOwned>(line: &[u8]) -> Result<Entry<R>, String> {
    if line.len() > LINE_BYTES_MAX {
        return Err(format!("longer than {LINE_BYTES_MAX} bytes"));
    }
    let found: Found = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let known = match found.schema.as_str() {
        SCHEMA => serde_json::from_str(found.record.get()).ok(),
        _ => None,
    };
    let body = known.map_or_else(
        || Body::Unknown { schema: found.schema, json: found.record.get().to_owned() },
        Body::Known,
    );
    Ok(Entry { seq: found.seq, at: found.at, body })
}

/// Returns when a journal began, from its first line.
pub(super) fn began(line: &[u8]) -> Option<DateTime<Utc>> {
    serde_json::from_slice::<Found>(line).ok().map(|found| found.at)
}
