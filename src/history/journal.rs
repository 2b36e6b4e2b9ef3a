//! One promotion's record: a file of JSON lines that only grows.
//!
//! ```json
//! {"schema":"gate.record/v1","seq":1,"at":"2026-11-24T12:00:00Z","record":{…}}
//! ```
//!
//! **Contract.** What [`Journal::append`] has acknowledged is on disk. A crash can cost at most the
//! line that was being written, which nobody was told is there. A line that can't be read costs
//! itself and no other: it is reported with its number, and what stands after it is kept. A record
//! of a kind that this gate does not know is kept as it is ([`Body::Unknown`]).
//!
//! **The disk never holds the way back up.** One thread owns the file. [`Journal::append_within`]
//! waits for it no longer than it is told; a record that is late or failed stays in the queue and is
//! written after, in order. The limit counts real time, because the disk is real, also where the
//! clock of a test is not.
//!
//! **Nothing is ever overwritten.** A file that has grown to [`FILE_BYTES_MAX`] less
//! [`RESERVE_BYTES`] takes no more ordinary records: a promotion that can't be recorded may not go
//! on. The reserve is for the way back.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::durable;

mod line;
mod shelf;
mod writer;

pub use line::{Body, Damaged, Entry, LINE_BYTES_MAX, Repair, SCHEMA};
pub use shelf::{JOURNALS_PER_TARGET_MAX, Listed, list, prune};

use writer::{Queue, Waited};

/// The largest journal, in bytes: 24 h of looks every 5 s, of 3 kB each, fit.
pub const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The end of a journal that only [`Journal::append_within`] may use, in bytes.
pub const RESERVE_BYTES: u64 = 1024 * 1024;

/// Records that wait for the disk. At one look every second, more than a quarter of an hour.
pub const QUEUE_RECORDS_MAX: usize = 1000;

/// How long the way back waits for its record, and no longer.
pub const WAY_BACK_LIMIT: Duration = Duration::from_millis(50);

/// How long any other record may take to be on disk.
pub const APPEND_LIMIT: Duration = Duration::from_secs(5);

/// How long the end of a journal waits for what is still in the queue.
pub const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// The writing end of a journal. Dropping it waits at most [`CLOSE_LIMIT`] for the queue.
#[derive(Debug)]
pub struct Journal<R> {
    queue: Arc<Queue>,
    next_seq: u64,
    /// On disk or in the queue.
    bytes: u64,
    records: PhantomData<fn(R)>,
}

/// Whether a record is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    Durable,
    /// Not yet; it is in the queue, and why.
    Late(String),
}

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("can't {step} the journal {}", path.display())]
    File {
        step: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("another process writes the journal {}", path.display())]
    Busy { path: PathBuf },
    #[error("the journal {} is larger than {FILE_BYTES_MAX} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("the journal is full: {limit} bytes")]
    Full { limit: u64 },
    #[error("{QUEUE_RECORDS_MAX} records wait for the disk already")]
    QueueFull,
    #[error("the record has no line of its own: {0}")]
    Record(String),
    #[error("the record is not on disk yet: {0}")]
    Late(String),
}

/// Reads a journal and changes nothing: for those who don't write it.
///
/// # Errors
/// The file can't be read, or is larger than [`FILE_BYTES_MAX`].
pub fn read<R: DeserializeOwned>(path: &Path) -> Result<(Vec<Entry<R>>, Repair), JournalError> {
    let file = File::open(path).map_err(failed("open", path))?;
    let scan = line::scan(&read_bytes(&file, path)?);
    Ok((scan.entries, scan.repair))
}

impl<R: Serialize + DeserializeOwned> Journal<R> {
    /// Opens a journal, or begins one, for its only writer.
    ///
    /// # Errors
    /// Another process has it open, it can't be read, or it is larger than [`FILE_BYTES_MAX`].
    pub fn open(path: &Path) -> Result<(Self, Vec<Entry<R>>, Repair), JournalError> {
        let file = open_to_append(path)?;
        let scan = line::scan(&read_bytes(&file, path)?);
        let kept = mend(&file, &scan.repair, scan.whole_bytes).map_err(failed("mend", path))?;
        durable::sync_directory_of(path).map_err(failed("sync the directory of", path))?;
        let journal = Self::over(on_file(file, kept), scan.next_seq, kept);
        Ok((journal, scan.entries, scan.repair))
    }

    /// A journal that writes its lines with `put`, each whole and durable or not at all.
    ///
    /// For tests of what happens when the disk is slow, full or gone.
    pub fn over(
        put: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
        next_seq: u64,
        bytes: u64,
    ) -> Self {
        Self { queue: writer::start(put, next_seq), next_seq, bytes, records: PhantomData }
    }

    /// Appends a record and waits until it is on disk. Runs inside a tokio runtime.
    ///
    /// # Errors
    /// [`JournalError::Late`]: it is in the queue, but not on disk within [`APPEND_LIMIT`].
    /// Any other: the record was not taken.
    pub async fn append(&mut self, at: DateTime<Utc>, record: &R) -> Result<(), JournalError> {
        let seq = self.enqueue(at, record, FILE_BYTES_MAX - RESERVE_BYTES)?;
        match self.wait(seq, APPEND_LIMIT).await {
            Appended::Durable => Ok(()),
            Appended::Late(why) => Err(JournalError::Late(why)),
        }
    }

    /// Appends a record and waits for the disk no longer than `limit`: the way back.
    ///
    /// # Errors
    /// The record was not taken: the file or the queue is full, or it has no JSON form.
    pub async fn append_within(
        &mut self,
        at: DateTime<Utc>,
        record: &R,
        limit: Duration,
    ) -> Result<Appended, JournalError> {
        let seq = self.enqueue(at, record, FILE_BYTES_MAX)?;
        Ok(self.wait(seq, limit).await)
    }

    /// Returns how many records are not on disk yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Ends the journal; returns how many records could not be written within `limit`.
    #[must_use]
    pub fn close(self, limit: Duration) -> usize {
        self.queue.close(limit)
    }

    /// Appends a last record and ends the journal, outside of any runtime; returns how many records
    /// could not be written within `limit`.
    ///
    /// # Errors
    /// The record was not taken: the file or the queue is full, or it has no JSON form.
    pub fn close_with(
        mut self,
        at: DateTime<Utc>,
        record: &R,
        limit: Duration,
    ) -> Result<usize, JournalError> {
        self.enqueue(at, record, FILE_BYTES_MAX)?;
        Ok(self.close(limit))
    }

    fn enqueue(&mut self, at: DateTime<Utc>, record: &R, limit: u64) -> Result<u64, JournalError> {
        let line = line::encode(self.next_seq, at, record)?;
        let bytes = self.bytes + line.len() as u64;
        if bytes > limit {
            return Err(JournalError::Full { limit });
        }
        if !self.queue.push(self.next_seq, line) {
            return Err(JournalError::QueueFull);
        }
        self.bytes = bytes;
        self.next_seq += 1;
        Ok(self.next_seq - 1)
    }

    /// A blocking task rather than a timer: virtual time must not make a good disk late.
    async fn wait(&self, seq: u64, limit: Duration) -> Appended {
        let queue = Arc::clone(&self.queue);
        match tokio::task::spawn_blocking(move || queue.wait(seq, limit)).await {
            Ok(Waited::Durable) => Appended::Durable,
            Ok(Waited::Slow) => Appended::Late(format!("the disk took over {limit:?}")),
            Ok(Waited::Failed(why)) => Appended::Late(why),
            Err(_shutting_down) => Appended::Late("the gate is shutting down".into()),
        }
    }
}

impl<R> Drop for Journal<R> {
    fn drop(&mut self) {
        self.queue.close(CLOSE_LIMIT);
    }
}

fn open_to_append(path: &Path) -> Result<File, JournalError> {
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(failed("open", path))?;
    if durable::lock_exclusively(&file).map_err(failed("lock", path))? {
        Ok(file)
    } else {
        Err(JournalError::Busy { path: path.to_owned() })
    }
}

fn read_bytes(file: &File, path: &Path) -> Result<Vec<u8>, JournalError> {
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed("read", path))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(JournalError::TooLarge { path: path.to_owned() });
    }
    Ok(bytes)
}

/// Cuts a torn last line off, or ends a last line that only lacks its newline; returns the length.
fn mend(mut file: &File, repair: &Repair, whole_bytes: u64) -> io::Result<u64> {
    if repair.torn_bytes > 0 {
        file.set_len(whole_bytes)?;
    }
    if repair.unended {
        file.write_all(b"\n")?;
    }
    file.sync_all()?;
    Ok(whole_bytes + u64::from(repair.unended))
}

/// Appends whole lines: what a failed write left is cut off before the next one.
fn on_file(mut file: File, length: u64) -> impl FnMut(&[u8]) -> io::Result<()> + Send {
    let mut whole_bytes = length;
    let mut torn = true;
    move |line| {
        if torn {
            file.set_len(whole_bytes)?;
        }
        torn = true;
        file.write_all(line)?;
        // A sync that failed may have dropped the pages, so the line is written again as well.
        file.sync_data()?;
        torn = false;
        whole_bytes += line.len() as u64;
        Ok(())
    }
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::File { step, path, source }
}

#[cfg(test)]
mod tests;
