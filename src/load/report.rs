//! What became of the requests.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::connections::{Answer, Failure};
use super::{Latencies, Load};

/// Versions that are told apart; more count as [`OTHERS`].
const VERSIONS_MAX: usize = 16;
const OTHERS: &str = "others";
/// Answers without the header `x-version`.
const UNNAMED: &str = "unnamed";

/// Characters of a version's name.
pub(super) const VERSION_LENGTH_MAX: usize = 64;

/// What became of the requests, as far as is known: `sent` is the sum of `ok`, `client_errors`,
/// `server_errors`, all of `failed`, and `in_flight`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadReport {
    /// `gate.load/v1`
    pub schema: &'static str,
    pub url: String,
    pub asked_rps: f64,
    pub asked_duration_s: f64,
    pub sent: u64,
    /// Due, but no connection was free.
    pub not_sent: u64,
    pub in_flight: u64,
    /// Answers below 400.
    pub ok: u64,
    pub client_errors: u64,
    pub server_errors: u64,
    pub failed: Failed,
    /// Of all answers, from when the request was due; absent before the first.
    pub latency_ms: Option<LatencyReport>,
    /// By the answer's header `x-version`.
    pub versions: BTreeMap<String, VersionReport>,
}

/// Requests without an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Failed {
    pub refused: u64,
    pub reset: u64,
    pub timed_out: u64,
    pub other: u64,
}

impl Failed {
    #[must_use]
    pub const fn all(self) -> u64 {
        self.refused + self.reset + self.timed_out + self.other
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LatencyReport {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VersionReport {
    pub answers: u64,
    pub server_errors: u64,
}

/// The counters behind a report.
#[derive(Debug)]
pub(super) struct Tally {
    report: LoadReport,
    latencies: Latencies,
}

impl Tally {
    pub(super) fn new(load: &Load) -> Self {
        let report = LoadReport {
            schema: "gate.load/v1",
            url: load.url.to_string(),
            asked_rps: load.rps,
            asked_duration_s: load.duration.as_secs_f64(),
            sent: 0,
            not_sent: 0,
            in_flight: 0,
            ok: 0,
            client_errors: 0,
            server_errors: 0,
            failed: Failed::default(),
            latency_ms: None,
            versions: BTreeMap::new(),
        };
        Self { report, latencies: Latencies::default() }
    }

    pub(super) const fn not_sent(&mut self) {
        self.report.not_sent += 1;
    }

    pub(super) const fn sent(&mut self) {
        self.report.sent += 1;
        self.report.in_flight += 1;
    }

    pub(super) fn answered(&mut self, answer: &Answer, latency: Duration) {
        self.report.in_flight -= 1;
        self.latencies.add(latency);
        let server_error = answer.status.is_server_error();
        if server_error {
            self.report.server_errors += 1;
        } else if answer.status.is_client_error() {
            self.report.client_errors += 1;
        } else {
            self.report.ok += 1;
        }
        let version = self.version(answer.version.as_deref().unwrap_or(UNNAMED));
        version.answers += 1;
        version.server_errors += u64::from(server_error);
    }

    fn version(&mut self, name: &str) -> &mut VersionReport {
        let versions = &mut self.report.versions;
        let full = versions.len() >= VERSIONS_MAX && !versions.contains_key(name);
        versions.entry(if full { OTHERS } else { name }.to_owned()).or_default()
    }

    pub(super) const fn failed(&mut self, failure: Failure) {
        self.report.in_flight -= 1;
        let failed = &mut self.report.failed;
        match failure {
            Failure::Refused => failed.refused += 1,
            Failure::Reset => failed.reset += 1,
            Failure::TimedOut => failed.timed_out += 1,
            Failure::Other => failed.other += 1,
        }
    }

    pub(super) fn report(&self) -> LoadReport {
        LoadReport { latency_ms: self.latency_report(), ..self.report.clone() }
    }

    fn latency_report(&self) -> Option<LatencyReport> {
        Some(LatencyReport {
            p50: self.latencies.quantile_ms(0.5)?,
            p95: self.latencies.quantile_ms(0.95)?,
            p99: self.latencies.quantile_ms(0.99)?,
            max: self.latencies.longest_ms()?,
        })
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests at {}/s: {} ok", self.sent, self.asked_rps, self.ok)?;
        let named = [
            (self.client_errors, "4xx"),
            (self.server_errors, "5xx"),
            (self.failed.refused, "refused"),
            (self.failed.reset, "reset"),
            (self.failed.timed_out, "timed out"),
            (self.failed.other, "failed otherwise"),
            (self.in_flight, "in flight"),
            (self.not_sent, "not sent"),
        ];
        for (count, name) in named.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {name}")?;
        }
        if let Some(LatencyReport { p50, p95, p99, max }) = self.latency_ms {
            write!(f, "; p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms, max {max:.1} ms")?;
        }
        for (number, (version, report)) in self.versions.iter().enumerate() {
            let before = if number == 0 { ';' } else { ',' };
            write!(f, "{before} {version} {}", report.answers)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    fn tally() -> Tally {
        let second = Duration::from_secs(1);
        Tally::new(&Load::new("http://127.0.0.1:1/", 50.0, second, 1).unwrap())
    }

    fn answer(code: u16, version: Option<String>) -> Answer {
        Answer { status: StatusCode::from_u16(code).unwrap(), version }
    }

    #[test]
    fn a_report_reads_as_one_line_and_as_json() {
        let mut tally = tally();
        for code in [200, 302, 404, 500] {
            tally.sent();
            tally.answered(&answer(code, Some("v1".into())), Duration::from_millis(4));
        }
        tally.sent();
        tally.failed(Failure::Reset);
        tally.not_sent();
        insta::assert_snapshot!(tally.report(), @"5 requests at 50/s: 2 ok, 1 4xx, 1 5xx, 1 reset, 1 not sent; p50 4.0 ms, p95 4.0 ms, p99 4.0 ms, max 4.0 ms; v1 4");
        insta::assert_snapshot!(serde_json::to_string(&tally.report()).unwrap(), @r#"{"schema":"gate.load/v1","url":"http://127.0.0.1:1/","asked_rps":50.0,"asked_duration_s":1.0,"sent":5,"not_sent":1,"in_flight":0,"ok":2,"client_errors":1,"server_errors":1,"failed":{"refused":0,"reset":1,"timed_out":0,"other":0},"latency_ms":{"p50":3.9995,"p95":3.9995,"p99":3.9995,"max":4.0},"versions":{"v1":{"answers":4,"server_errors":1}}}"#);
    }

    #[test]
    fn the_number_of_versions_is_bounded() {
        let mut tally = tally();
        for number in 0..100 {
            tally.sent();
            tally.answered(&answer(200, Some(number.to_string())), Duration::ZERO);
        }
        tally.sent();
        tally.answered(&answer(200, None), Duration::ZERO);
        let versions = tally.report().versions;
        assert_eq!(versions.len(), VERSIONS_MAX + 1);
        assert_eq!(versions[OTHERS].answers, 101 - VERSIONS_MAX as u64);
    }
}
