//! The state machine: what to do next, given what is seen.
//!
//! [`step`] is pure and level-triggered: it gets one snapshot of everything that is known and
//! returns the next state, the effects wanted, and what it waits for. Nothing depends on having
//! seen an edge, so a lost event, a restart or a repeated call costs nothing.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::share::Share;

/// What is there: everything that the core may know of the target and its traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct World {
    /// The candidate's share as the data plane has it; `None` while that can't be told.
    pub share: Option<Share>,
    pub stable: Workload,
    /// `None`: no trace of a candidate is left.
    pub candidate: Option<Workload>,
    /// The workload that was stable before an adoption still ends.
    pub retiring: bool,
    /// Open connections or requests in flight on the candidate, where the platform can tell.
    pub connections: Option<u64>,
}

/// One revision of the target as it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Which release it runs; see [`crate::plan::Release::hash`].
    pub revision: String,
    pub ready: u32,
    pub wanted: u32,
    /// Why it is not ready, in words; and whether the platform has given up on it.
    pub trouble: Option<Trouble>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub what: String,
    /// The revision's own fault (crash, failing probe), not that of the place it runs in (no room).
    pub its_own: bool,
    /// The platform won't try again.
    pub gave_up: bool,
}

/// One thing that the gate does to the world. Idempotent; carries no choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Have the candidate's instances, enough for this share.
    EnsureCandidate { share: Share },
    /// The one write.
    SetShare { share: Share },
    /// End the candidate: no new requests, drain, then gone.
    RemoveCandidate,
    /// Let stable take the release. From here on the way back is a deployment.
    Adopt,
    /// Give stable its old release back.
    RestoreStable,
}

/// What persons have asked for and not taken back. Facts, not events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asks {
    pub abort: Option<Ask>,
    pub hold: Option<Ask>,
    pub approved: BTreeMap<usize, Ask>,
    /// A newer release has taken this one's place.
    pub superseded: Option<Ask>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    pub at: DateTime<Utc>,
    pub by: String,
    pub reason: Option<String>,
}
