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
    /// Matchers that every series must fit as well: what counts the scrapes themselves is no traffic. Empty: none.
    pub only: &'static str,
    /// Absent: the component measures no response times, so limits on them can't be judged.
    pub histogram: Option<Histogram>,
    /// The label whose values are the instances, unless the platform knows better.
    pub instance: &'static str,
    pub kept_by: KeptBy,
    /// How that label names what is behind a Gateway's routes; absent: it does not, or not as one can know before.
    pub backends: Option<BackendNames>,
}

/// Who counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptBy {
    /// The instance itself: its counters begin at 0 with it.
    Instance,
    /// A proxy before it: counters of a route outlive releases, and each proxy has its own.
    Proxy,
}

/// The data plane of a Gateway whose names for backends tell Service and route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendNames {
    Traefik,
}

/// A histogram of response times: a classic one, or if there is none of that name, a native one.
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
pub const TARGET: &str = "instance";

impl Histogram {
    /// The same as a native histogram: one series without buckets.
    #[must_use]
    pub fn native(&self) -> &'static str {
        self.bucket.strip_suffix("_bucket").unwrap_or(self.bucket)
    }
}

const fn seconds(bucket: &'static str) -> Option<Histogram> {
    Some(Histogram { bucket, unit: TimeUnit::Seconds })
}

pub const PRESETS: &[Preset] = &[
    // Prometheus' own guides to instrumentation; recorded: podinfo 6.9.2.
    Preset {
        name: "plain",
        requests: "http_requests_total",
        status: &["code", "status", "status_code"],
        only: "",
        histogram: seconds("http_request_duration_seconds_bucket"),
        instance: TARGET,
        kept_by: KeptBy::Instance,
        backends: None,
    },
    // Stable semantic conventions of HTTP servers; recorded: Python, FastAPI instrumentation 0.66b2 with
    // OTEL_SEMCONV_STABILITY_OPT_IN=http and the Prometheus exporter.
    Preset {
        name: "opentelemetry",
        requests: "http_server_request_duration_seconds_count",
        status: &["http_response_status_code"],
        only: "",
        histogram: seconds("http_server_request_duration_seconds_bucket"),
        instance: TARGET,
        kept_by: KeptBy::Instance,
        backends: None,
    },
    // Recorded: prometheus-fastapi-instrumentator 8.1.0. The status is a class; of its two histograms this one
    // has buckets enough for a quantile.
    Preset {
        name: "fastapi",
        requests: "http_requests_total",
        status: &["status"],
        only: "",
        histogram: seconds("http_request_duration_highr_seconds_bucket"),
        instance: TARGET,
        kept_by: KeptBy::Instance,
        backends: None,
    },
    // Recorded: express-prom-bundle 8.0.0 with prom-client 15.1.3. There is only a histogram.
    Preset {
        name: "express",
        requests: "http_request_duration_seconds_count",
        status: &["status_code"],
        only: "",
        histogram: seconds("http_request_duration_seconds_bucket"),
        instance: TARGET,
        kept_by: KeptBy::Instance,
        backends: None,
    },
    // Micrometer as Spring Boot sets it up; recorded: Spring Boot 3.5.7 (Micrometer 1.15.5) with
    // management.metrics.distribution.percentiles-histogram.http.server.requests=true, without which
    // there are no buckets.
    Preset {
        name: "micrometer",
        requests: "http_server_requests_seconds_count",
        status: &["status"],
        only: r#"uri!~"/actuator.*""#,
        histogram: seconds("http_server_requests_seconds_bucket"),
        instance: TARGET,
        kept_by: KeptBy::Instance,
        backends: None,
    },
    // Recorded: Envoy 1.40.0, clusters of its static configuration. Milliseconds.
    Preset {
        name: "envoy",
        requests: "envoy_cluster_upstream_rq",
        status: &["envoy_response_code"],
        only: "",
        histogram: Some(Histogram {
            bucket: "envoy_cluster_upstream_rq_time_bucket",
            unit: TimeUnit::Milliseconds,
        }),
        instance: "envoy_cluster_name",
        kept_by: KeptBy::Proxy,
        backends: None,
    },
    // Recorded: HAProxy 2.6.12, its own exporter. The status is a class; response times are averages only.
    Preset {
        name: "haproxy",
        requests: "haproxy_server_http_responses_total",
        status: &["code"],
        only: "",
        histogram: None,
        instance: "server",
        kept_by: KeptBy::Proxy,
        backends: None,
    },
    // Recorded: Traefik 3.7.13 as a Gateway, with addServicesLabels (on where nothing else is said). The code of a gRPC request is
    // gRPC's own, so it would never fail; WebSockets and event streams are counted when they end, and those that
    // fail end first.
    Preset {
        name: "traefik",
        requests: "traefik_service_requests_total",
        status: &["code"],
        only: r#"protocol="http""#,
        histogram: seconds("traefik_service_request_duration_seconds_bucket"),
        instance: "service",
        kept_by: KeptBy::Proxy,
        backends: Some(BackendNames::Traefik),
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
