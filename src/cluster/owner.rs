//! Which process runs a promotion, and whether it still does.
//!
//! An owner of the same machine is looked up: one that is gone is succeeded at once. The life of any
//! other is told by its heartbeat alone. Both only save work: every write tests that its owner is
//! still the owner, so one that was taken over by mistake writes nothing more.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::platform::local::process::Identity;

/// The owner writes at least so often.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// An owner that has not written for so long may be taken over: four heartbeats.
pub const SILENT_AFTER: Duration = Duration::from_secs(60);

/// A process that runs a promotion. As an annotation it is one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Of this ownership; no other has it.
    pub token: String,
    pub by: String,
    pub host: String,
    pub since: DateTime<Utc>,
    pub process: Identity,
    /// A pid means something in its own namespace only: two containers on one machine each have a 1.
    pub pid_namespace: String,
}

/// Whether an owner still runs its promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs here, or has written lately.
    Lives,
    /// It ran here, and has ended.
    Gone,
    /// It ran elsewhere, and has not written for longer than [`SILENT_AFTER`].
    Silent,
}

impl Owner {
    /// Returns this process, as the owner of a promotion that it is about to run.
    ///
    /// # Errors
    /// `/proc` can't be read, or there is no randomness.
    pub fn this(by: &str, now: DateTime<Utc>) -> std::io::Result<Self> {
        let mut token = [0; 16];
        getrandom::fill(&mut token).map_err(std::io::Error::other)?;
        let namespace = std::fs::read_link("/proc/self/ns/pid")?;
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Ok(Self {
            token: token.iter().map(|byte| format!("{byte:02x}")).collect(),
            by: by.to_owned(),
            host: host.trim().to_owned(),
            since: now,
            process: Identity::of(std::process::id())?,
            pid_namespace: namespace.to_string_lossy().into_owned(),
        })
    }

    /// Returns whether this owner still runs, as it can be told from where `other` runs.
    #[must_use]
    pub fn life(&self, other: &Self, heartbeat: DateTime<Utc>, now: DateTime<Utc>) -> Life {
        let here = self.process.boot_id == other.process.boot_id
            && self.pid_namespace == other.pid_namespace;
        match (here, here && self.process.is_alive()) {
            (true, true) => Life::Lives,
            (true, false) => Life::Gone,
            (false, _) if is_silent(heartbeat, now) => Life::Silent,
            (false, _) => Life::Lives,
        }
    }
}

/// Returns whether a heartbeat is so old that its owner may be taken over.
#[must_use]
pub fn is_silent(heartbeat: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    (now - heartbeat).to_std().is_ok_and(|age| age > SILENT_AFTER)
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Plain data always has a text.
        f.write_str(&serde_json::to_string(self).unwrap_or_default())
    }
}

impl FromStr for Owner {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}
