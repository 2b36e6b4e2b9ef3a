//! What traffic may be like, and what may be wrong with a candidate.
//!
//! The keys are those of the reference's `Scenario` (`weight` is called `share`, `steps` is called
//! `stages`), with the same defaults and meaning.

use serde::{Deserialize, Deserializer, Serialize};

/// Seconds of the baseline's history before a simulated promotion.
pub const HISTORY_S: u32 = 600;
/// Share where neither the scenario nor the policy has stages.
pub const DEFAULT_SHARE: f64 = 0.05;
const CLASSIC_MS: [f64; 6] = [50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0];
const HORIZON_MAX_S: u32 = 86_400;
const PODS_MAX: u32 = 100;
const RPS_MAX: f64 = 100_000.0;
const STAGES_MAX: usize = 100;
/// Candidate pods, however large its share.
const CANDIDATE_PODS_MAX: u32 = 10;

/// What is wrong with the candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Nothing: every rollback is a false one.
    #[default]
    Null,
    Err,
    Lat,
    Hang,
    Health,
}

/// Latency bounds of the simulated histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Buckets {
    /// Part of Prometheus' default buckets.
    #[default]
    Classic,
    /// Native histogram of schema 2: bounds grow by 2^¼.
    Native,
}

impl Buckets {
    pub fn bounds_ms(self) -> Vec<f64> {
        match self {
            Self::Classic => CLASSIC_MS.to_vec(),
            Self::Native => {
                (-16..6).map(|k| (1e6 * (f64::from(k) / 4.0).exp2()).round() / 1e3).collect()
            }
        }
    }
}

/// A scenario. Times in seconds from the promotion's start, rates and shares as fractions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    pub name: String,
    #[serde(deserialize_with = "kind_or_null")]
    pub kind: Kind,
    /// Requests per second, of both revisions together.
    pub rps: f64,
    pub share: Option<f64>,
    /// Begin and share of each; wins over `share`.
    pub stages: Option<Vec<(u32, f64)>>,
    pub base_err: f64,
    pub err_mult: f64,
    pub err_add: f64,
    pub lat_mult: f64,
    pub onset: u32,
    /// How long the effect lasts.
    pub duration: u32,
    /// Incidents of both revisions, per hour.
    pub shared_rate: f64,
    pub shared_dur: u32,
    pub shared_err: f64,
    pub shared_lat: f64,
    /// Bursts per pod and hour, of both revisions.
    pub pod_rate: f64,
    /// Mean length of a burst, in seconds.
    pub pod_dur: f64,
    pub pod_err: f64,
    pub pod_lat: f64,
    /// Mean size of error clusters; 1: errors are independent.
    pub cluster: f64,
    /// Standard deviation of the log error rate between pods.
    pub pod_het: f64,
    /// Standard deviation of the log latency between pods.
    pub lat_het: f64,
    /// Factor by which the error rate of both revisions drifts over the horizon; 0: none.
    pub drift: f64,
    /// P(a sample is missing), per pod.
    pub miss: f64,
    /// Start and length of an outage of the whole metrics system.
    pub outage: Option<(f64, f64)>,
    /// Per pod and hour.
    pub restarts: f64,
    /// Length, and factor on the latency, of cold candidate pods.
    pub cold: Option<(f64, f64)>,
    /// Part of the candidate's requests that never end.
    pub hang: f64,
    /// P(a health probe fails without cause).
    pub flake: f64,
    /// P(a probe of the candidate fails) while the effect lasts.
    pub unhealthy: f64,
    /// Start and length of an outage of the prober: all probes fail.
    pub probe_out: Option<(f64, f64)>,
    /// Baseline pods.
    pub n_base: u32,
    /// Length of the promotion.
    pub horizon: u32,
    pub buckets: Buckets,
    /// Multiplies the number of replicates.
    pub reps: u32,
    /// Seconds between two samples of a pod.
    pub scrape: u32,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            name: String::new(),
            kind: Kind::Null,
            rps: 50.0,
            share: None,
            stages: None,
            base_err: 0.001,
            err_mult: 1.0,
            err_add: 0.0,
            lat_mult: 1.0,
            onset: 0,
            duration: 1_000_000_000,
            shared_rate: 0.0,
            shared_dur: 30,
            shared_err: 0.3,
            shared_lat: 3.0,
            pod_rate: 0.0,
            pod_dur: 5.0,
            pod_err: 0.5,
            pod_lat: 3.0,
            cluster: 1.0,
            pod_het: 0.0,
            lat_het: 0.0,
            drift: 0.0,
            miss: 0.0,
            outage: None,
            restarts: 0.0,
            cold: None,
            hang: 0.0,
            flake: 0.001,
            unhealthy: 0.0,
            probe_out: None,
            n_base: 10,
            horizon: 3600,
            buckets: Buckets::Classic,
            reps: 1,
            scrape: 15,
        }
    }
}

/// `kind: null` is YAML's nothing.
fn kind_or_null<'de, D: Deserializer<'de>>(from: D) -> Result<Kind, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Scenario {
    /// Every key whose value can't be simulated, with what it may be.
    #[must_use]
    pub fn mistakes(&self) -> Vec<(&'static str, &'static str)> {
        let part = |v: f64| (0.0..=1.0).contains(&v);
        let finite = |v: f64| v.is_finite() && v >= 0.0;
        let span = |v: Option<(f64, f64)>| v.is_none_or(|(a, b)| a.is_finite() && finite(b));
        let stages = self.schedule();
        let rising = stages.windows(2).all(|pair| pair[0].0 < pair[1].0)
            && stages.iter().all(|stage| stage.0 <= HORIZON_MAX_S);
        let shares = stages.iter().all(|stage| part(stage.1));
        let divides = self.scrape > 0 && HISTORY_S.is_multiple_of(self.scrape);
        let rules = [
            (self.rps >= 0.0 && self.rps <= RPS_MAX, "rps", "between 0 and 100000"),
            (shares, "share", "between 0 and 1"),
            (
                rising && !stages.is_empty() && stages.len() <= STAGES_MAX,
                "stages",
                "1 to 100 rising seconds",
            ),
            (part(self.base_err) && part(self.err_add), "base_err, err_add", "between 0 and 1"),
            (finite(self.err_mult), "err_mult", "not negative"),
            (self.lat_mult.is_finite() && self.lat_mult > 0.0, "lat_mult", "above 0"),
            (part(self.shared_err) && part(self.pod_err), "shared_err, pod_err", "between 0 and 1"),
            (
                finite(self.shared_rate) && finite(self.pod_rate),
                "shared_rate, pod_rate",
                "per hour",
            ),
            (self.shared_lat > 0.0 && self.pod_lat > 0.0, "shared_lat, pod_lat", "above 0"),
            (finite(self.pod_dur), "pod_dur", "seconds"),
            ((1.0..=1000.0).contains(&self.cluster), "cluster", "between 1 and 1000"),
            ((0.0..=5.0).contains(&self.pod_het), "pod_het", "between 0 and 5"),
            ((0.0..=5.0).contains(&self.lat_het), "lat_het", "between 0 and 5"),
            ((0.0..=1000.0).contains(&self.drift), "drift", "between 0 and 1000"),
            (part(self.miss) && part(self.hang), "miss, hang", "between 0 and 1"),
            (part(self.flake) && part(self.unhealthy), "flake, unhealthy", "between 0 and 1"),
            (finite(self.restarts), "restarts", "per hour"),
            (span(self.outage) && span(self.probe_out), "outage, probe_out", "start and length"),
            (self.cold.is_none_or(|(s, m)| finite(s) && m > 0.0), "cold", "length and factor"),
            ((1..=PODS_MAX).contains(&self.n_base), "n_base", "between 1 and 100"),
            (divides && self.scrape <= 60, "scrape", "a divisor of 600, at most 60"),
            (
                divides
                    && (self.scrape..=HORIZON_MAX_S).contains(&self.horizon)
                    && self.horizon.is_multiple_of(self.scrape),
                "horizon",
                "a multiple of scrape, at most 86400",
            ),
        ];
        rules.into_iter().filter(|rule| !rule.0).map(|rule| (rule.1, rule.2)).collect()
    }

    /// Begin and share of each stage.
    #[must_use]
    pub fn schedule(&self) -> Vec<(u32, f64)> {
        let one = || vec![(0, self.share.unwrap_or(DEFAULT_SHARE))];
        self.stages.clone().unwrap_or_else(one)
    }

    /// Whether the schedule is the scenario's own; otherwise it may be the policy's.
    #[must_use]
    pub const fn fixes_schedule(&self) -> bool {
        self.share.is_some() || self.stages.is_some()
    }

    /// Whether nothing is wrong with the candidate.
    #[must_use]
    pub fn is_harmless(&self) -> bool {
        self.kind == Kind::Null
    }

    /// The same traffic with a candidate that is as good as the baseline.
    #[must_use]
    pub fn harmless(&self) -> Self {
        Self {
            kind: Kind::Null,
            err_mult: 1.0,
            err_add: 0.0,
            lat_mult: 1.0,
            hang: 0.0,
            unhealthy: 0.0,
            ..self.clone()
        }
    }

    /// Candidate pods at a share.
    pub(super) fn candidate_pods(&self, share: f64) -> usize {
        let pods = (f64::from(self.n_base) * share - 1e-9).ceil();
        pods.clamp(1.0, f64::from(CANDIDATE_PODS_MAX)) as usize
    }

    /// Whether the effect is there at this second of the promotion.
    pub(super) const fn has_effect(&self, second: i64) -> bool {
        second >= self.onset as i64 && second < self.onset as i64 + self.duration as i64
    }
}
