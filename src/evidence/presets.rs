//! What applications and proxies call their metrics, as Prometheus stores them.
//!
//! One table. A line is in it because the real component was started, its exposition recorded
//! (`tests/prometheus/expositions`) and read back through a real Prometheus: names that are only
//! documented are left out.

/// The names of one instrumentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preset {
    /// As a policy writes it.
    pub name: &'static str,
    /// A counter of finished requests, or a histogram's `_count`.
    pub requests: &'static str,
    /// Labels of `requests` of which each series has at least one: the status, or its class.
    pub status: &'static [&'static str],
    /// Absent: the component measures no response times, so limits on them can't be judged.
    pub histogram: Option<Histogram>,
    /// The label whose values are the instances, unless the platform knows better.
    pub instance: &'static str,
}

/// A classic histogram of response times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// With `_bucket`.
    pub bucket: &'static str,
    pub unit: TimeUnit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    Seconds,
    Milliseconds,
}

/// Failed requests: a status of the server's own fault (`503`), or its class (`5xx`, `5XX`).
pub const FAILED: &str = "5..";

/// The label that Prometheus itself gives to every target.
const INSTANCE: &str = "instance";

const fn seconds(bucket: &'static str) -> Option<Histogram> {
    Some(Histogram { bucket, unit: TimeUnit::Seconds })
}

pub const PRESETS: &[Preset] = &[
    // Prometheus' own guides to instrumentation; podinfo 6.9.2, prometheus-fastapi-instrumentator 8.1.0.
    Preset {
        name: "plain",
        requests: "http_requests_total",
        status: &["code", "status", "status_code"],
        histogram: seconds("http_request_duration_seconds_bucket"),
        instance: INSTANCE,
    },
];

impl Preset {
    /// What a policy means that names none.
    pub const DEFAULT: &'static Self = &PRESETS[0];

    /// Returns the preset of a name in a policy.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }
}

impl TimeUnit {
    /// Returns a bucket's bound in milliseconds, exact to a nanosecond.
    #[must_use]
    pub fn to_ms(self, bound: f64) -> f64 {
        match self {
            Self::Seconds => (bound * 1e9).round() / 1e6,
            Self::Milliseconds => (bound * 1e6).round() / 1e6,
        }
    }
}
