//! What the example application counts, in Prometheus' text format.

use std::time::Duration;

use hyper::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::plan::bounds_ms;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    code: u16,
}

pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    duration: Histogram,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::<Answered, Counter>::default();
        // The gate's own bounds, so that what is scraped can be judged as finely as the proxy's counts.
        let duration = Histogram::new(bounds_ms(&[]).into_iter().map(|ms| ms / 1000.0));
        registry.register("http_requests", "Requests by status code", requests.clone());
        registry.register(
            "http_request_duration_seconds",
            "Time from the request's head to the answer's",
            duration.clone(),
        );
        Self { registry, requests, duration }
    }

    pub(super) fn answered(&self, code: StatusCode, took: Duration) {
        self.requests.get_or_create(&Answered { code: code.as_u16() }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
