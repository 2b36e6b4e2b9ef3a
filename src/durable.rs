//! Files that survive a crash at any instruction, a full disk and a second process.
//!
//! **Contract.** After [`write()`] or [`save`] has returned `Ok`, the new generation is on disk. At
//! every instant before, during and after, a crash leaves at least one whole generation: the new
//! file is complete and synced before it takes the old one's name, and the old one stays as
//! `NAME.1`. A file that can't be trusted is never half believed: [`load`] goes back to the
//! generation before and returns the reason, so that the caller says it loudly.
//!
//! One writer at a time: take a [`Lock`] first. The steps follow `rename(2)` and the advice of
//! "Files are hard" (Pillai et al., OSDI 2014): sync the file before the rename, the directory after.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

mod lock;

pub use lock::{Lock, LockError, lock_exclusively};

/// The largest state file that is read, in bytes. A route table or a checkpoint has a few kilobytes.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Only the user who runs the gate may read its state: releases carry environment variables.
const MODE: u32 = 0o600;

/// What a file holds: a name, and the newest version of it that this gate can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    /// For example `gate.host`.
    pub name: &'static str,
    /// Files of this version and below are read; a higher one is [`Damage::Newer`].
    pub version: u32,
}

/// What [`load`] found.
#[derive(Clone, Debug, PartialEq)]
pub enum Loaded<T> {
    Current(T),
    /// The generation before the last one, and what is wrong with the last one.
    Previous(T, Damage),
    /// Neither generation is there: nothing was ever saved.
    Missing,
    /// Something was saved, and nothing of it can be used.
    Unusable {
        current: Damage,
        previous: Damage,
    },
}

/// Why a generation can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("the file is not there")]
    Absent,
    #[error("the file is empty")]
    Empty,
    #[error("the file is cut off")]
    Truncated,
    #[error("the file is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the file is no state of a gate: {0}")]
    Garbage(String),
    #[error("the file holds {found}, not {wanted}")]
    Schema { found: String, wanted: &'static str },
    #[error("the checksum is wrong: the file was changed or damaged")]
    Checksum,
    #[error("written by a newer gate (version {found}, this gate reads up to {known})")]
    Newer { found: u32, known: u32 },
    #[error("the content does not fit its version: {0}")]
    Payload(String),
    #[error("the file can't be read: {0}")]
    Unreadable(String),
}

/// Which step of a write failed. The generations that were there are still there.
#[derive(Debug, thiserror::Error)]
#[error("can't {step} {}", path.display())]
pub struct WriteError {
    pub step: &'static str,
    pub path: PathBuf,
    #[source]
    pub source: io::Error,
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    schema: String,
    version: u32,
    /// SHA-256 of the payload's bytes as they stand in the file, in hexadecimal.
    checksum: String,
    payload: Box<RawValue>,
}

/// Replaces a file's content; what was there becomes `NAME.1`.
///
/// # Errors
/// The step that failed; the old content is then still there, whole.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    run(&STEPS, path, bytes)
}

/// Saves a value with its schema, version and checksum.
///
/// A generation that is damaged is not kept: it must not push out the whole one before it.
///
/// # Errors
/// As [`write()`]; a value that has no JSON form (a map with keys that are no strings) as well.
pub fn save<T: Serialize>(path: &Path, schema: Schema, value: &T) -> Result<(), WriteError> {
    let bytes = seal(schema, value).map_err(|source| WriteError {
        step: Step::WriteNew.words(),
        path: path.to_owned(),
        source: source.into(),
    })?;
    match unseal(path, schema) {
        Ok(_) | Err(Damage::Newer { .. }) => run(&STEPS, path, &bytes),
        Err(_) => run(&STEPS_WITHOUT_KEEPING, path, &bytes),
    }
}

/// Reads the newest generation that can be trusted.
#[must_use]
pub fn load<T: DeserializeOwned>(path: &Path, schema: Schema) -> Loaded<T> {
    let current = match read(path, schema) {
        Ok(value) => return Loaded::Current(value),
        Err(damage) => damage,
    };
    match read(&beside(path, ".1"), schema) {
        Ok(value) => Loaded::Previous(value, current),
        Err(Damage::Absent) if current == Damage::Absent => Loaded::Missing,
        Err(previous) => Loaded::Unusable { current, previous },
    }
}

/// Removes both generations.
///
/// # Errors
/// The system's; what is not there is no error.
pub fn remove(path: &Path) -> io::Result<()> {
    unless_absent(fs::remove_file(path))?;
    unless_absent(fs::remove_file(beside(path, ".1")))
}

fn seal<T: Serialize>(schema: Schema, value: &T) -> serde_json::Result<Vec<u8>> {
    let payload = serde_json::value::to_raw_value(value)?;
    let envelope = Envelope {
        schema: schema.name.to_owned(),
        version: schema.version,
        checksum: checksum(payload.get()),
        payload,
    };
    let mut bytes = serde_json::to_vec(&envelope)?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn read<T: DeserializeOwned>(path: &Path, schema: Schema) -> Result<T, Damage> {
    let payload = unseal(path, schema)?;
    serde_json::from_str(payload.get()).map_err(|error| Damage::Payload(error.to_string()))
}

/// Checks everything but the payload's own shape.
fn unseal(path: &Path, schema: Schema) -> Result<Box<RawValue>, Damage> {
    let bytes = read_bytes(path)?;
    if bytes.is_empty() {
        return Err(Damage::Empty);
    }
    let envelope: Envelope = serde_json::from_slice(&bytes).map_err(|error| {
        // Every whole file begins with a brace and ends with a newline.
        let cut_off = bytes.starts_with(b"{") && !bytes.ends_with(b"\n");
        if cut_off { Damage::Truncated } else { Damage::Garbage(error.to_string()) }
    })?;
    if envelope.checksum != checksum(envelope.payload.get()) {
        return Err(Damage::Checksum);
    }
    if envelope.schema != schema.name {
        return Err(Damage::Schema { found: envelope.schema, wanted: schema.name });
    }
    if envelope.version > schema.version {
        return Err(Damage::Newer { found: envelope.version, known: schema.version });
    }
    Ok(envelope.payload)
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, Damage> {
    let unreadable = |error: io::Error| match error.kind() {
        ErrorKind::NotFound => Damage::Absent,
        _ => Damage::Unreadable(error.to_string()),
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX { Err(Damage::TooLarge) } else { Ok(bytes) }
}

fn checksum(payload: &str) -> String {
    Sha256::digest(payload).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One step of a write. Each may be the last that runs before a crash, and each may run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    WriteNew,
    /// A second name for the old generation: so `NAME` is never without a file.
    LinkPrevious,
    KeepPrevious,
    Replace,
    SyncDirectory,
}

const STEPS: [Step; 5] =
    [Step::WriteNew, Step::LinkPrevious, Step::KeepPrevious, Step::Replace, Step::SyncDirectory];

const STEPS_WITHOUT_KEEPING: [Step; 3] = [Step::WriteNew, Step::Replace, Step::SyncDirectory];

impl Step {
    const fn words(self) -> &'static str {
        match self {
            Self::WriteNew => "write the new generation of",
            Self::LinkPrevious | Self::KeepPrevious => "keep the previous generation of",
            Self::Replace => "replace",
            Self::SyncDirectory => "sync the directory of",
        }
    }

    fn perform(self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let (new, link) = (beside(path, ".new"), beside(path, ".1.new"));
        match self {
            Self::WriteNew => {
                unless_absent(fs::remove_file(&new))?;
                let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&new)?;
                fill(file, bytes)
            }
            Self::LinkPrevious => {
                unless_absent(fs::remove_file(&link))?;
                unless_absent(fs::hard_link(path, &link))
            }
            Self::KeepPrevious => unless_absent(fs::rename(&link, beside(path, ".1"))),
            Self::Replace => fs::rename(&new, path),
            Self::SyncDirectory => sync_directory_of(path),
        }
    }
}

fn run(steps: &[Step], path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    for step in steps {
        step.perform(path, bytes).map_err(|source| WriteError {
            step: step.words(),
            path: path.to_owned(),
            source,
        })?;
    }
    Ok(())
}

fn fill(mut file: File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes the names of a directory's files durable: a rename, a new file, a removed one.
///
/// # Errors
/// What the operating system says.
pub fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

fn unless_absent(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
