//! What the state machine sees, and what it can ask for.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Asks;
use crate::analysis::Judgement;
use crate::share::Share;

/// Everything that is known at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    pub now: DateTime<Utc>,
    /// `None`: the platform could not be read.
    pub world: Option<World>,
    /// `None`: there was no look (woken between two looks, or no evidence yet).
    pub judged: Option<Judgement>,
    pub asks: Asks,
}

/// What is there: everything that the core may know of the target and its traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct World {
    /// The candidate's share as the data plane has it; `None` while that can't be told.
    pub share: Option<Share>,
    /// Where requests of testers go, who are no part of the share.
    #[serde(default, skip_serializing_if = "TestersAre::are_out")]
    pub testers: TestersAre,
    pub stable: Workload,
    /// `None`: no trace of a candidate is left.
    pub candidate: Option<Workload>,
    /// The workload that was stable before an adoption still ends.
    pub retiring: bool,
    /// When a request was last assigned to the candidate, where the platform can tell.
    pub last_assigned: Option<DateTime<Utc>>,
    /// Requests in flight and upgraded connections on the candidate, where the platform can tell.
    pub connections: Option<u64>,
}

/// Where those who ask for the candidate by a header are sent, as the data plane has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestersAre {
    /// Where everybody is.
    #[default]
    Out,
    /// It can't be told, or some of them only.
    Between,
    /// At the candidate.
    In,
}

impl TestersAre {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn are_out(&self) -> bool {
        *self == Self::Out
    }
}

/// One revision of the target as it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Which release it runs; see [`crate::plan::Release::hash`].
    pub revision: String,
    pub ready: u32,
    pub wanted: u32,
    /// The share of traffic that `wanted` instances are meant for.
    pub sized_for: Share,
    /// Why it is not ready.
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
    /// Have the candidate's instances, enough for this share, and let in its testers once they are ready.
    EnsureCandidate { share: Share },
    /// The one write; at 0 testers are sent where everybody is as well.
    SetShare { share: Share },
    /// End the candidate: no new requests, drain, then gone.
    RemoveCandidate,
    /// Let stable take the release. From here on the way back is a deployment.
    Adopt,
    /// Give stable its old release back.
    RestoreStable,
}

impl World {
    /// Returns whether nobody's requests go to the candidate.
    #[must_use]
    pub fn is_given_back(&self) -> bool {
        self.share == Some(Share::ZERO) && self.testers == TestersAre::Out
    }
}

impl Workload {
    /// Returns whether every wanted instance is ready.
    #[must_use]
    pub const fn complete(&self) -> bool {
        self.wanted > 0 && self.ready >= self.wanted
    }
}
