//! What the host must find again after it has died: which revisions there are, as which processes,
//! and who gets what share.
//!
//! The file is advice for adopting what runs, never the only truth: a process that is not the one
//! it speaks of is not adopted, and one that it does not know is found by its mark (`mark`).

use std::path::Path;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::app::{App, ReleaseSpec};
use super::process;
use crate::durable::{self, Loaded, Schema};
use crate::plan::Release;
use crate::share::Share;

const SCHEMA: Schema = Schema { name: "gate.host", version: 1 };

/// Revisions that passed and can be gone back to.
pub const PASSED_MAX: usize = 20;
/// Releases that are remembered as bad.
pub const QUARANTINE_MAX: usize = 100;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    pub app: String,
    /// Of sticky assignments, in hex: it must stay, or users would change their version.
    pub salt: String,
    pub stable: StoredRevision,
    pub candidate: Option<StoredRevision>,
    /// Still finishing what they have begun.
    pub retiring: Vec<StoredRevision>,
    #[serde(rename = "asked_share")]
    pub share: Share,
    /// What stable was, oldest first; the present one is not among them.
    pub passed: Vec<PassedRevision>,
    pub quarantine: Vec<Quarantined>,
    /// The promotion that runs.
    pub promotion: Option<String>,
}

/// A release as it runs here. It carries its own specification, because the app file may change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredRevision {
    pub release: Release,
    pub spec: ReleaseSpec,
    /// Unique on this host.
    pub instance: String,
    pub process: Option<process::Record>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PassedRevision {
    pub release: Release,
    pub spec: ReleaseSpec,
    /// When it stopped being stable.
    pub until: DateTime<Utc>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quarantined {
    pub release: Release,
    pub cause: String,
    pub at: DateTime<Utc>,
    pub promotion: String,
}

/// What became of the file; every way but the first is to be said aloud.
#[derive(Debug)]
pub enum Found {
    Whole(Box<Stored>),
    /// The newest generation can't be used, and why; this is the one before.
    Older(Box<Stored>, String),
    Nothing,
    /// Neither generation can be used, and why.
    Lost(String),
}

pub fn load(path: &Path) -> Found {
    match durable::load::<Stored>(path, SCHEMA) {
        Loaded::Current(stored) => Found::Whole(Box::new(stored)),
        Loaded::Previous(stored, why) => Found::Older(Box::new(stored), why.to_string()),
        Loaded::Missing => Found::Nothing,
        Loaded::Unusable { current, previous } => {
            Found::Lost(format!("{current}; the generation before: {previous}"))
        }
    }
}

impl Stored {
    /// # Errors
    /// The disk is full, or the folder can't be written.
    pub fn save(&self, path: &Path) -> Result<(), durable::WriteError> {
        durable::save(path, SCHEMA, self)
    }

    /// Returns a revision of a release, with a name that no other has.
    #[must_use]
    pub fn revision(release: Release, spec: ReleaseSpec, number: u64) -> StoredRevision {
        let instance = format!("{}-{number:x}", release.name);
        StoredRevision { release, spec, instance, process: None }
    }

    /// Remembers what stable was, once it is something else.
    pub fn pass(&mut self, old: PassedRevision) {
        remember_passed(&mut self.passed, &self.stable.release.hash, old);
    }

    /// Remembers a release as bad.
    pub fn condemn(&mut self, bad: Quarantined) {
        remember_bad(&mut self.quarantine, bad);
    }

    /// Returns how a release is started: as the candidate that it is, as when it was stable, or as the
    /// app file says.
    #[must_use]
    pub fn how_it_starts(&self, app: &App, release: &Release) -> Option<ReleaseSpec> {
        let candidate = self.candidate.as_ref().map(|known| (&known.release, &known.spec));
        let passed = self.passed.iter().map(|past| (&past.release, &past.spec));
        let mut known = candidate.into_iter().chain(passed);
        let found = known.find(|(known, _)| known.hash == release.hash).map(|(_, spec)| spec);
        // A file that was edited meanwhile may mean another release by the same name.
        let written = app.releases.get(&release.name).filter(|spec| spec.hash() == release.hash);
        found.or(written).cloned()
    }

    /// Returns why a release is in quarantine.
    #[must_use]
    pub fn condemned(&self, hash: &str) -> Option<&Quarantined> {
        self.quarantine.iter().rev().find(|bad| bad.release.hash == hash)
    }
}

/// What is gone back to is not kept twice, and what was gone back from is forgotten: a second
/// rollback goes further back, never forth again.
pub(super) fn remember_passed(
    passed: &mut Vec<PassedRevision>,
    now_stable: &str,
    old: PassedRevision,
) {
    if let Some(at) = passed.iter().position(|past| past.release.hash == now_stable) {
        passed.truncate(at);
        return;
    }
    passed.retain(|past| past.release.hash != old.release.hash);
    passed.push(old);
    let excess = passed.len().saturating_sub(PASSED_MAX);
    passed.drain(..excess);
}

pub(super) fn remember_bad(quarantine: &mut Vec<Quarantined>, bad: Quarantined) {
    quarantine.retain(|known| known.release.hash != bad.release.hash);
    quarantine.push(bad);
    let excess = quarantine.len().saturating_sub(QUARANTINE_MAX);
    quarantine.drain(..excess);
}
