//! What a client and the host say to each other: one JSON object a line, over a Unix socket.
//!
//! A connection carries one request and its answers. The socket belongs to the user who runs the
//! host (mode 0600), and the host looks at the credentials of whoever connects.

use serde::{Deserialize, Serialize};

use crate::history::AskedFor;
use crate::plan::Plan;
use crate::published::{EventLine, ResultLine, StatusLine};

/// The longest line that either side reads, in bytes: a policy of 1 MiB, escaped, fits.
pub const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "ask")]
pub enum Request {
    /// Start a promotion, and follow it.
    Promote(Promote),
    /// What a promotion would be.
    Plan(Promote),
    /// Back to an earlier revision, and follow it.
    Rollback {
        /// Absent: the newest before the present one that passed.
        to: Option<String>,
        now: bool,
        by: String,
        reason: Option<String>,
        /// How it is judged; absent: as [`Promote::policy`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<PolicyText>,
    },
    /// Lift the quarantine of the release that was rolled back last, and promote it again.
    Retry {
        by: String,
        reason: Option<String>,
        /// As [`Promote::policy`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<PolicyText>,
    },
    Status,
    /// Follow what runs: status at every look, events, and the result.
    Follow,
    /// Something of a person to the promotion that runs.
    Ask {
        what: AskedFor,
        by: String,
        reason: Option<String>,
    },
    /// Abort only if the promotion's owner is gone; on a host the owner is the host.
    AbortIfOrphaned {
        by: String,
        reason: Option<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Promote {
    pub release: String,
    /// The text of a policy and where it came from; absent: the app's own, or the built-in.
    pub policy: Option<PolicyText>,
    pub by: String,
    /// Lifts the quarantine of this release, and why.
    pub retry: Option<String>,
    /// In a cluster: although a GitOps tool holds the fields that are released.
    #[serde(default)]
    pub gitops_ok: bool,
    /// In a cluster: an image of gate for a pod that goes back when nobody runs the promotion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PolicyText {
    pub source: String,
    pub text: String,
    /// Only where the target has no policy of its own.
    #[serde(default)]
    pub stands_in: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "say")]
pub enum Answer {
    /// A promotion has begun.
    Begun {
        id: String,
    },
    Event {
        line: EventLine,
    },
    Status {
        line: Box<StatusLine>,
    },
    /// The last answer of a promotion, or why there is none.
    Result {
        line: Box<ResultLine>,
    },
    Plan {
        plan: Box<Plan>,
    },
    /// What was asked is recorded and will be obeyed.
    Done {
        message: String,
    },
    /// It could not be done.
    Error {
        exit_code: u8,
        message: String,
        hint: Option<String>,
    },
}
