//! What the user wrote.
//!
//! [`read`] turns a file into a [`Policy`] or into a [`Report`] of all its mistakes. The way is
//! bytes, [`document`] (a tree with positions), `fields` (typed values), `parse`, `check`; what is
//! allowed where stands in [`shape`], once, for the reader and for the [`schema()`].
//!
//! A [`Policy`] is total: every optional part that has a default of its own is resolved here or in
//! [`crate::plan`], and what is an `Option` is one whose absence means something.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::share::Share;

mod parse;

mod check;

mod freeze;

mod testers;

pub mod shape;

pub mod schema;

pub(crate) mod fields;

mod condition;

mod calendar;

pub(crate) mod seconds;

mod grammar;

mod words;

mod amount;

pub mod document;

pub mod diagnostic;

#[cfg(test)]
pub(crate) mod tests;

pub use calendar::{Freeze, FreezeTime};
pub(crate) use check::begins_with_slash;
pub use condition::{Comparison, Condition, ConditionError, Quantile};
pub use diagnostic::{Checked, Finding, Note, Report, Severity};
pub use document::FILE_BYTES_MAX;
pub use grammar::parse as parse_condition;
pub use parse::{SHIPPED, built_in, read, shipped};
pub(crate) use parse::{deployment, health_check};
pub use schema::schema;

/// A checked policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub strategy: Strategy,
    /// In order; empty: the strategy's own.
    pub stages: Vec<StagePolicy>,
    pub health_check: Option<HealthCheck>,
    /// `auto_rollback.enabled`; false: stages advance whatever the verdict, everything is recorded.
    pub auto_rollback: bool,
    pub conditions: Vec<Condition>,
    pub evidence: EvidencePolicy,
    pub insufficient_traffic: InsufficientTraffic,
    pub traffic: Traffic,
    /// How long a process or pod may finish what it has begun after its share went to 0.
    pub drain: Duration,
    /// The same on a rollback.
    pub rollback_drain: Duration,
    pub prepare_deadline: Duration,
    pub adopt_deadline: Duration,
    /// Two revisions at once are fine for this workload although it looks like one that can't have them.
    pub side_by_side: bool,
    pub freeze: Vec<Freeze>,
    pub hold_max: Duration,
    pub approval_timeout: Duration,
}

impl Policy {
    /// Returns the policy of a person who has decided: one stage, no hold, and nothing is judged.
    #[must_use]
    pub fn at_once(self) -> Self {
        let stage = StagePolicy {
            share: Share::FULL,
            hold: Some(Duration::ZERO),
            deadline: None,
            approval: false,
        };
        Self { stages: vec![stage], auto_rollback: false, freeze: Vec::new(), ..self }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    Canary,
    BlueGreen,
}

#[derive(Clone, Debug, PartialEq)]
pub struct StagePolicy {
    pub share: Share,
    pub hold: Option<Duration>,
    pub deadline: Option<Duration>,
    pub approval: bool,
}

/// The seed's `health_check`: an HTTP probe of every instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthCheck {
    pub path: String,
    /// 1–30 s
    #[serde(rename = "interval_s", with = "seconds")]
    pub interval: Duration,
    /// Failed probes in a row that take an instance out of traffic.
    pub threshold: u32,
    /// The only good status; absent: any from 200 to 399.
    #[serde(default)]
    pub status: Option<u16>,
    /// Text that a good answer holds.
    #[serde(default)]
    pub body: Option<String>,
    /// Kubernetes only: the container port; absent: the readiness probe's.
    pub port: Option<u16>,
}

/// The source of a policy that names none: the platform's own counters.
pub const PROXY: &str = "proxy";
/// The source that is each instance's own `/metrics`.
pub const METRICS: &str = "metrics";
/// The preset of a metrics server for which a policy names none.
pub const PRESET: &str = "plain";

/// Returns whether a source is the URL of a metrics server: no other source has one.
#[must_use]
pub fn is_server(source: &str) -> bool {
    source.contains("://")
}

#[derive(Clone, Debug, PartialEq)]
pub struct EvidencePolicy {
    pub judge: JudgeKind,
    /// Where counters come from; absent: the platform's own.
    pub source: Option<String>,
    pub preset: Option<String>,
    pub queries: BTreeMap<String, String>,
    /// Between two looks; absent: 5 s (proxy, direct scrape) or 15 s (Prometheus).
    pub interval: Option<Duration>,
    /// Threshold judge: the sliding window; absent: 15 s locally, 60 s in a cluster.
    pub window: Option<Duration>,
    /// Threshold judge: looks in a row that must agree.
    pub looks: u32,
    /// Candidate requests without which a window (threshold judge) or a hold (`health_only`) says nothing.
    pub min_requests: u64,
}

impl EvidencePolicy {
    /// Returns the URL of the metrics server that counts, if one does.
    #[must_use]
    pub fn server(&self) -> Option<&str> {
        self.source.as_deref().filter(|source| is_server(source))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JudgeKind {
    Evidence,
    Threshold,
}

/// What becomes of a stage that its deadline finds without proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InsufficientTraffic {
    Rollback,
    Hold,
    HealthOnly,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Absent: [`Traffic::by_routes`] tells.
    pub router: Option<RouterKind>,
    pub route: Option<String>,
    pub ignore_services: Vec<String>,
    /// Who reaches the candidate from when it is ready; absent: nobody before the first share.
    pub testers: Option<Testers>,
}

/// What splits the traffic of a Deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouterKind {
    /// Plain Services: by the number of pods that are let in.
    Service,
    /// HTTPRoutes: by weights.
    GatewayApi,
}

impl Traffic {
    /// Returns whether it is moved by routes: said so, or unsaid and there is one.
    #[must_use]
    pub fn by_routes(&self) -> bool {
        match self.router {
            Some(router) => router == RouterKind::GatewayApi,
            None => self.route.is_some(),
        }
    }
}

/// People who send one header with exactly this value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Testers {
    /// Its name, in whatever case.
    pub header: String,
    pub value: String,
}
