//! The journals of one target: a directory with one file for each promotion.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::line::{self, LINE_BYTES_MAX};
use crate::durable;

/// How many promotions of a target are remembered.
pub const JOURNALS_PER_TARGET_MAX: usize = 50;

/// What a journal's name ends with.
const EXTENSION: &str = "jsonl";

/// A journal that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub path: PathBuf,
    /// The time of its first record; of the file, where that can't be read.
    pub began: DateTime<Utc>,
}

/// Returns the journals of a directory, the newest first. A directory that is not there has none.
///
/// # Errors
/// The directory can't be read.
pub fn list(directory: &Path) -> io::Result<Vec<Listed>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            // One that is pruned by another process meanwhile is no longer there, and no error.
            found.extend(began(&path).map(|began| Listed { path, began }));
        }
    }
    found.sort_by(|a, b| (b.began, &b.path).cmp(&(a.began, &a.path)));
    Ok(found)
}

/// Removes all but the `keep` newest journals, and none that is being written; returns which.
///
/// # Errors
/// The directory can't be read, or a file not removed.
pub fn prune(directory: &Path, keep: usize) -> io::Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for old in list(directory)?.into_iter().skip(keep) {
        let Ok(file) = File::open(&old.path) else { continue };
        if durable::lock_exclusively(&file)? {
            fs::remove_file(&old.path)?;
            removed.push(old.path);
        }
    }
    Ok(removed)
}

fn began(path: &Path) -> Option<DateTime<Utc>> {
    let file = File::open(path).ok()?;
    let changed = file.metadata().and_then(|about| about.modified()).ok()?;
    let mut first = Vec::new();
    let mut start = BufReader::new(file).take(LINE_BYTES_MAX as u64);
    start.read_until(b'\n', &mut first).ok()?;
    Some(line::began(&first).unwrap_or_else(|| changed.into()))
}
