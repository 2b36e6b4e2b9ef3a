//! Policy + target + release: the ordered stages, every default explicit, immutable, hashed.
//!
//! What was written is optional and has defaults; what will be done has neither. A plan never
//! changes while a promotion runs: a changed policy is a new promotion, not a mutated one, and the
//! hash is how one is told from the other.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::policy::{
    Condition, Freeze, HealthCheck, InsufficientTraffic, JudgeKind, PRESET, PROXY, Policy,
    StagePolicy, Strategy, Testers, is_server,
};
use crate::share::Share;

/// Of a stage that names none. Source: the defaults table of the judge's rules, as all below.
pub const HOLD: Duration = Duration::from_secs(60);
/// A stage's least deadline where it names none; the other bound is five holds.
pub const DEADLINE_MIN: Duration = Duration::from_secs(600);
const DEADLINE_HOLDS: u32 = 5;
/// Shares of a canary that names none, in percent.
const CANARY_PERCENT: [f64; 4] = [5.0, 25.0, 50.0, 100.0];

/// The new version of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// What the user calls it.
    pub name: String,
    /// Of everything that makes it what it is (command, environment; image, template).
    pub hash: String,
    /// It can't be undone: no automatic rollback past it.
    pub irreversible: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub target: String,
    pub release: Release,
    /// What runs today and is gone back to.
    pub stable: Release,
    pub strategy: Strategy,
    pub stages: Vec<Stage>,
    pub conditions: Vec<Condition>,
    pub health_check: Option<HealthCheck>,
    pub judge: JudgePlan,
    pub insufficient_traffic: InsufficientTraffic,
    /// Stages advance whatever the verdict; everything is judged and recorded.
    pub observe_only: bool,
    #[serde(rename = "prepare_deadline_s", with = "crate::policy::seconds")]
    pub prepare_deadline: Duration,
    #[serde(rename = "adopt_deadline_s", with = "crate::policy::seconds")]
    pub adopt_deadline: Duration,
    #[serde(rename = "drain_s", with = "crate::policy::seconds")]
    pub drain: Duration,
    #[serde(rename = "rollback_drain_s", with = "crate::policy::seconds")]
    pub rollback_drain: Duration,
    #[serde(rename = "hold_max_s", with = "crate::policy::seconds")]
    pub hold_max: Duration,
    #[serde(rename = "approval_timeout_s", with = "crate::policy::seconds")]
    pub approval_timeout: Duration,
    pub freeze: Vec<Freeze>,
    /// Where the policy came from, in words for the user.
    pub policy_source: String,
    /// How traffic is moved, where there is a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<TrafficPlan>,
}

/// Through what the users come, and how the candidate gets its share of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficPlan {
    /// `service` or `gateway-api`.
    pub router: String,
    /// Every Service that selects stable's pods.
    pub services: Vec<String>,
    /// The routes whose weights are changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
    /// The label that has another value on the candidate's pods, and that value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_apart: Option<(String, String)>,
    /// Who reaches the candidate from when it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub testers: Option<Testers>,
    /// The image of the pod that goes back when nobody runs the promotion any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watchdog: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    pub share: Share,
    /// Held at least so long once its share is seen.
    #[serde(rename = "hold_s", with = "crate::policy::seconds")]
    pub hold: Duration,
    /// Proven within so long, counted from the same moment.
    #[serde(rename = "deadline_s", with = "crate::policy::seconds")]
    pub deadline: Duration,
    /// A person must agree before it is left.
    pub approval: bool,
}

/// What a judge needs to know of its policy, with the platform's defaults filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgePlan {
    pub kind: JudgeKind,
    #[serde(rename = "interval_s", with = "crate::policy::seconds")]
    pub interval: Duration,
    #[serde(rename = "window_s", with = "crate::policy::seconds")]
    pub window: Duration,
    pub looks: u32,
    pub min_requests: u64,
    /// Where the counters come from: `proxy`, `metrics`, or the URL of a metrics server.
    pub source: String,
    /// What the metrics server calls requests, failures and response times; absent for other sources, as all below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    /// Questions to the metrics server by name, one number each, for the threshold judge.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub queries: BTreeMap<String, String>,
    /// Between two samples of an instance, as measured before the promotion began.
    #[serde(
        rename = "source_interval_s",
        with = "crate::policy::seconds::optional",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub source_interval: Option<Duration>,
    /// Upper bounds of the latency classes in milliseconds, rising, as the source counts them.
    pub bounds_ms: Vec<f64>,
}

/// What a platform fills in where the policy is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    pub interval: Duration,
    pub window: Duration,
}

/// The proxy counts every request itself, so looks may be close together.
pub const LOCAL_DEFAULTS: Defaults =
    Defaults { interval: Duration::from_secs(5), window: Duration::from_secs(15) };

/// A cluster's pods are scraped directly.
pub const CLUSTER_DEFAULTS: Defaults =
    Defaults { interval: Duration::from_secs(5), window: Duration::from_secs(60) };

/// A metrics server has new samples every 15 s or so, on whatever platform; a window needs several.
pub const SERVER_DEFAULTS: Defaults =
    Defaults { interval: Duration::from_secs(15), window: Duration::from_secs(60) };

impl Plan {
    #[must_use]
    pub fn new(
        policy: &Policy,
        policy_source: impl Into<String>,
        target: impl Into<String>,
        stable: Release,
        release: Release,
        defaults: Defaults,
    ) -> Self {
        Self {
            target: target.into(),
            release,
            stable,
            strategy: policy.strategy,
            stages: stages(policy),
            conditions: policy.conditions.clone(),
            health_check: policy.health_check.clone(),
            judge: JudgePlan::new(policy, defaults),
            insufficient_traffic: policy.insufficient_traffic,
            observe_only: !policy.auto_rollback,
            prepare_deadline: policy.prepare_deadline,
            adopt_deadline: policy.adopt_deadline,
            drain: policy.drain,
            rollback_drain: policy.rollback_drain,
            hold_max: policy.hold_max,
            approval_timeout: policy.approval_timeout,
            freeze: policy.freeze.clone(),
            policy_source: policy_source.into(),
            traffic: None,
        }
    }

    /// Returns the hex digest of the whole plan: two plans with one hash do the same.
    #[must_use]
    pub fn hash(&self) -> String {
        // A plan of numbers, strings and lists always serialises; the fallback keeps this total.
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns the least time that a promotion takes: every hold, nothing else.
    #[must_use]
    pub fn least(&self) -> Duration {
        self.stages.iter().map(|stage| stage.hold).sum()
    }

    /// Returns the longest time without a person's hold or approval: every deadline.
    #[must_use]
    pub fn most(&self) -> Duration {
        let stages: Duration = self.stages.iter().map(|stage| stage.deadline).sum();
        self.prepare_deadline + stages + self.adopt_deadline
    }

    /// Returns the end of the freeze that covers this moment, if one does.
    #[must_use]
    pub fn frozen_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.freeze.iter().filter_map(|freeze| freeze.end_if_active(now)).max()
    }
}

impl JudgePlan {
    fn new(policy: &Policy, defaults: Defaults) -> Self {
        let evidence = &policy.evidence;
        let server = evidence.server();
        let defaults = server.map_or(defaults, |_| SERVER_DEFAULTS);
        Self {
            kind: evidence.judge,
            interval: evidence.interval.unwrap_or(defaults.interval),
            window: evidence.window.unwrap_or(defaults.window),
            looks: evidence.looks,
            min_requests: evidence.min_requests,
            source: evidence.source.clone().unwrap_or_else(|| PROXY.into()),
            preset: server.map(|_| evidence.preset.clone().unwrap_or_else(|| PRESET.into())),
            queries: evidence.queries.clone(),
            source_interval: None,
            bounds_ms: bounds_ms(&policy.conditions),
        }
    }

    /// Takes in how often the source has new samples. The evidence judge makes its blocks of it; the threshold
    /// judge looks no more often, because a sample that is seen twice would agree with itself, and through a
    /// window of at least two samples.
    pub fn pace(&mut self, every: Duration) {
        self.source_interval = Some(every);
        match self.kind {
            JudgeKind::Evidence => {}
            JudgeKind::Threshold => {
                self.interval = self.interval.max(every);
                self.window = self.window.max(every * 2);
            }
        }
    }

    /// Returns the URL of the metrics server that counts, if one does.
    #[must_use]
    pub fn server(&self) -> Option<&str> {
        Some(self.source.as_str()).filter(|source| is_server(source))
    }
}

fn stages(policy: &Policy) -> Vec<Stage> {
    let own = |percent: &[f64]| {
        let share = |p: &f64| Share::from_percent(*p).unwrap_or(Share::FULL);
        let stage =
            |p: &f64| StagePolicy { share: share(p), hold: None, deadline: None, approval: false };
        percent.iter().map(stage).collect()
    };
    let written = match (policy.stages.is_empty(), policy.strategy) {
        (false, _) => policy.stages.clone(),
        (true, Strategy::Canary) => own(&CANARY_PERCENT),
        (true, Strategy::BlueGreen) => own(&[0.0, 100.0]),
    };
    written.into_iter().map(resolve).collect()
}

fn resolve(stage: StagePolicy) -> Stage {
    let hold = stage.hold.unwrap_or(HOLD);
    let deadline = stage.deadline.unwrap_or_else(|| (hold * DEADLINE_HOLDS).max(DEADLINE_MIN));
    Stage { share: stage.share, hold, deadline, approval: stage.approval }
}

/// Returns the latency bounds in milliseconds that the conditions need: one at each limit, and
/// enough beside it to tell a quantile.
#[must_use]
pub fn bounds_ms(conditions: &[Condition]) -> Vec<f64> {
    let mut bounds = vec![
        5.0, 10.0, 25.0, 50.0, 100.0, 150.0, 250.0, 500.0, 750.0, 1000.0, 1500.0, 2500.0, 5000.0,
        10_000.0,
    ];
    for condition in conditions {
        if let Condition::ResponseTime { limit, .. } = condition {
            bounds.push(limit.as_nanos() as f64 / 1e6);
        }
    }
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    bounds
}

#[cfg(test)]
mod tests;
