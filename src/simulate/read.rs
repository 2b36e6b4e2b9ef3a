//! A scenario file: YAML with the keys of [`Scenario`], every mistake with its line and column.
//!
//! serde-saphyr reads the values; which keys there are, and where they stand, is told by the tree
//! that policies are read with, so that all mistakes are said at once and in the same way.

use std::ops::Range;
use std::path::Path;

use super::Scenario;
use crate::policy::diagnostic::{Checked, Notes, Report, did_you_mean};
use crate::policy::document::{self, Content, Entry};

/// Reads a scenario file. The path is printed, and its name stands in where the scenario has none.
///
/// # Errors
/// Every mistake of the file.
pub fn read(path: &Path, bytes: &[u8]) -> Result<Checked<Scenario>, Report> {
    let mut notes = Notes::default();
    let scenario = parse(&mut notes, path, bytes);
    Report::new(path, bytes, notes).conclude(scenario)
}

fn parse(notes: &mut Notes, path: &Path, bytes: &[u8]) -> Option<Scenario> {
    let root = document::read(notes, bytes)?;
    let Content::Table(entries) = &root.content else {
        notes.error(root.at.clone(), format!("a scenario is a table of keys, not {}", root.kind()));
        return None;
    };
    unknown_keys(notes, entries);
    let mut scenario = match serde_saphyr::from_slice::<Scenario>(bytes) {
        Ok(scenario) => scenario,
        // What is unknown has been said already, with a hint.
        Err(_) if notes.errors() > 0 => return None,
        Err(error) => {
            notes.error(place(&error, bytes), message(&error));
            return None;
        }
    };
    if scenario.name.is_empty() {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        scenario.name = stem.unwrap_or_default();
    }
    for (keys, rule) in scenario.mistakes() {
        // A rule may be of several keys: the first that is written is shown.
        let written = |key: &str| entries.iter().find(|entry| entry.key == key);
        let at = keys.split(", ").find_map(written).map(|entry| entry.value.at.clone());
        notes.error(at.unwrap_or(0..0), format!("{keys} must be {rule}"));
    }
    Some(scenario)
}

fn unknown_keys(notes: &mut Notes, entries: &[Entry]) {
    let known = keys();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
        let help = match entry.key.as_str() {
            "weight" => "it is called `share`".to_owned(),
            "steps" => "it is called `stages`".to_owned(),
            other => did_you_mean(other, &known),
        };
        notes.error(entry.key_at.clone(), format!("unknown key `{}`", entry.key)).help(help);
    }
}

/// Every key that a scenario may have.
pub(super) fn keys() -> Vec<String> {
    let fields = serde_json::to_value(Scenario::default()).unwrap_or_default();
    fields.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
}

/// The first line of what the reader says, without the place that is shown beside it.
fn message(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let first = text.lines().next().unwrap_or_default();
    first.split(" at line ").next().unwrap_or_default().to_owned()
}

fn place(error: &serde_saphyr::Error, bytes: &[u8]) -> Range<usize> {
    let span = error.location().map(|location| location.span());
    let offset = span.and_then(|span| Some((span.byte_offset()?, span.byte_len().unwrap_or(0))));
    let Some((start, length)) = offset else { return 0..0 };
    let start = usize::try_from(start).unwrap_or(0).min(bytes.len());
    let end = start.saturating_add(usize::try_from(length).unwrap_or(0)).min(bytes.len());
    start..end
}
