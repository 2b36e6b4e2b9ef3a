//! What a promotion's journal says, read as any program could.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde_json::Value;

/// Returns the newest journal of a host's folder.
pub(crate) fn newest(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder.join("history")).ok()?;
    let paths = entries.flatten().map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "jsonl")).max()
}

/// Returns every whole line of a journal: when it was written, and the record.
pub(crate) fn read(path: &Path) -> Vec<(DateTime<Utc>, Value)> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).filter_map(entry).collect()
}

pub(crate) fn entry(line: &str) -> Option<(DateTime<Utc>, Value)> {
    let mut line: Value = serde_json::from_str(line).ok()?;
    let at = line["at"].as_str()?.parse().ok()?;
    Some((at, line["record"].take()))
}

/// Returns how the promotion ended, if its journal says so.
pub(crate) fn outcome(records: &[(DateTime<Utc>, Value)]) -> Option<&Value> {
    let finished = records.iter().rev().find(|(_, record)| record["kind"] == "finished");
    finished.map(|(_, record)| &record["outcome"])
}

/// Returns when it was decided to go back.
pub(crate) fn turned_back(records: &[(DateTime<Utc>, Value)]) -> Option<DateTime<Utc>> {
    let turned = |record: &Value| record["kind"] == "decided" && !record["state"]["back"].is_null();
    records.iter().find(|(_, record)| turned(record)).map(|(at, _)| *at)
}
