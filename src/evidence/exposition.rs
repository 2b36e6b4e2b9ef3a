//! Counters of one instance, read from the text that it exposes at `/metrics`.
//!
//! Prometheus text format 0.0.4 and OpenMetrics 1.0. As in Prometheus, one line that can't be read
//! spoils the whole text: half a scrape would look like counters that went backwards.
//!
//! The parser is our own (`sample.rs`, about 130 lines), because no crate fits: prometheus-parse
//! 0.2.5 (December 2023) skips what it does not understand and brings a regex engine,
//! openmetrics-parser 0.5.1 is LGPL, nom-openmetrics 0.2.0 "does not validate either format".

use crate::analysis::{Counters, Unknown};

mod sample;

use sample::{Sample, samples};

/// The longest text that is read, in bytes.
pub const TEXT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Series of the preset's own metrics; more are a label that grows (user ids, raw paths).
pub const SERIES_MAX: usize = 2_000;

/// How close a bucket's bound must be to the wanted one, in seconds.
const BOUND_TOLERANCE: f64 = 1e-9;

/// What an application calls its metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// `http_requests_total{code|status|status_code}` and the histogram
    /// `http_request_duration_seconds`: the names that Prometheus' own instrumentation guides, podinfo,
    /// prometheus-fastapi-instrumentator and express-prom-bundle use.
    Plain,
}

impl Preset {
    /// Returns the preset of a name in a policy.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "plain" => Some(Self::Plain),
            _ => None,
        }
    }

    const fn names(self) -> &'static Names {
        match self {
            Self::Plain => &PLAIN,
        }
    }
}

struct Names {
    requests: &'static str,
    bucket: &'static str,
    count: &'static str,
    status: &'static [&'static str],
}

const PLAIN: Names = Names {
    requests: "http_requests_total",
    bucket: "http_request_duration_seconds_bucket",
    count: "http_request_duration_seconds_count",
    status: &["code", "status", "status_code"],
};

/// Why a text gives no counters. Each becomes an [`Unknown`] with its own words.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ExpositionError {
    #[error("the metrics are longer than {TEXT_BYTES_MAX} bytes")]
    TooLarge,
    #[error("an HTML page in place of metrics")]
    Html,
    #[error("line {line} of the metrics can't be read: {why}")]
    Line { line: usize, why: &'static str },
    #[error("{of} has over {SERIES_MAX} series: does a label hold raw paths or user ids?")]
    TooManySeries { of: &'static str },
    #[error("{of} is not a number of requests")]
    NotANumber { of: &'static str },
    #[error("no series of {of}")]
    NoSeries { of: &'static str },
    #[error("{of} has no label that tells failed requests: code, status or status_code")]
    NoStatus { of: &'static str },
    #[error("{of} has no bucket at {wanted_ms} ms")]
    NoBucket { of: &'static str, wanted_ms: f64 },
}

impl From<ExpositionError> for Unknown {
    fn from(error: ExpositionError) -> Self {
        match error {
            ExpositionError::NotANumber { of } => Self::NotANumber { of: of.to_owned() },
            ExpositionError::NoSeries { of } => {
                Self::NoData { arm: format!("application: no series of {of}") }
            }
            ExpositionError::TooLarge
            | ExpositionError::Html
            | ExpositionError::Line { .. }
            | ExpositionError::TooManySeries { .. }
            | ExpositionError::NoStatus { .. }
            | ExpositionError::NoBucket { .. } => Self::SourceDown { what: error.to_string() },
        }
    }
}

/// Returns `requests, errors (5xx), slower than bound 1, …` of all series together.
///
/// Requests and errors come from one metric: the counter, or the histogram's `_count` where there is no
/// counter with a status; one that counts nothing yet needs none. Each of `bounds_ms` must be one of [`bounds`].
///
/// # Errors
/// See [`ExpositionError`].
pub fn counters(
    text: &str,
    preset: Preset,
    bounds_ms: &[f64],
) -> Result<Counters, ExpositionError> {
    let found = Found::read(text, preset.names())?;
    let mut row = found.requests_and_errors(preset.names())?.to_vec();
    for bound in bounds_ms {
        row.push(found.slower(preset.names(), *bound)?);
    }
    Ok(Counters(row))
}

/// Returns the bounds that every series of the histogram has, rising, in milliseconds.
///
/// # Errors
/// See [`ExpositionError`]; no histogram is [`ExpositionError::NoSeries`].
pub fn bounds(text: &str, preset: Preset) -> Result<Vec<f64>, ExpositionError> {
    let found = Found::read(text, preset.names())?;
    let Some(most) = found.buckets.iter().map(|bucket| bucket.series).max() else {
        return Err(ExpositionError::NoSeries { of: preset.names().bucket });
    };
    let common =
        found.buckets.iter().filter(|bucket| bucket.series == most && bucket.le.is_finite());
    Ok(common.map(|bucket| (bucket.le * 1e9).round() / 1e6).collect())
}

/// Sums over all series of the preset's metrics.
#[derive(Default)]
struct Found {
    requests: Total,
    count: Total,
    /// Rising by `le`.
    buckets: Vec<Bucket>,
}

#[derive(Default)]
struct Total {
    series: usize,
    with_status: usize,
    all: f64,
    failed: f64,
}

struct Bucket {
    le: f64,
    series: usize,
    /// Requests that took at most `le`.
    within: f64,
}

impl Found {
    fn read(text: &str, names: &'static Names) -> Result<Self, ExpositionError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(ExpositionError::TooLarge);
        }
        if text.trim_start().starts_with('<') {
            return Err(ExpositionError::Html);
        }
        let mut found = Self::default();
        for sample in samples(text) {
            let sample = sample?;
            if sample.name == names.requests {
                found.requests.add(&sample, names.requests, names)?;
            } else if sample.name == names.count {
                found.count.add(&sample, names.count, names)?;
            } else if sample.name == names.bucket {
                found.add_bucket(&sample, names)?;
            }
        }
        Ok(found)
    }

    fn add_bucket(&mut self, sample: &Sample<'_>, names: &Names) -> Result<(), ExpositionError> {
        let of = names.bucket;
        let le = sample.label("le").and_then(sample::number).filter(|le| !le.is_nan());
        let le = le.ok_or(ExpositionError::NotANumber { of })?;
        let within = count(sample, of)?;
        match self.buckets.binary_search_by(|bucket| bucket.le.total_cmp(&le)) {
            Ok(at) => {
                self.buckets[at].series += 1;
                self.buckets[at].within += within;
            }
            Err(at) => self.buckets.insert(at, Bucket { le, series: 1, within }),
        }
        let series: usize = self.buckets.iter().map(|bucket| bucket.series).sum();
        if series > SERIES_MAX { Err(ExpositionError::TooManySeries { of }) } else { Ok(()) }
    }

    fn requests_and_errors(&self, names: &Names) -> Result<[f64; 2], ExpositionError> {
        let sources = [(&self.requests, names.requests), (&self.count, names.count)];
        if let Some((total, of)) = sources.iter().find(|(total, _)| total.with_status > 0) {
            let all_tell = total.with_status == total.series;
            return if all_tell { Ok([total.all, total.failed]) } else { Err(no_status(of)) };
        }
        match sources.iter().find(|(total, _)| total.series > 0) {
            // Nothing was asked yet, so nothing can have failed: the label comes with the first request.
            Some((total, _)) if total.all == 0.0 => Ok([0.0, 0.0]),
            Some((_, of)) => Err(no_status(of)),
            None => Err(ExpositionError::NoSeries { of: names.requests }),
        }
    }

    fn slower(&self, names: &Names, bound_ms: f64) -> Result<f64, ExpositionError> {
        let (of, wanted) = (names.bucket, bound_ms / 1000.0);
        let Some(all) = self.buckets.last() else {
            return Err(ExpositionError::NoSeries { of });
        };
        let near = |bucket: &&Bucket| (bucket.le - wanted).abs() <= BOUND_TOLERANCE;
        match self.buckets.iter().find(near) {
            // A series without this bucket would count all of its requests as slow.
            Some(bucket) if bucket.series == all.series && all.le.is_infinite() => {
                Ok((all.within - bucket.within).max(0.0))
            }
            _ => Err(ExpositionError::NoBucket { of, wanted_ms: bound_ms }),
        }
    }
}

impl Total {
    fn add(
        &mut self,
        sample: &Sample<'_>,
        of: &'static str,
        names: &Names,
    ) -> Result<(), ExpositionError> {
        let requests = count(sample, of)?;
        self.series += 1;
        self.all += requests;
        if let Some(status) = names.status.iter().find_map(|label| sample.label(label)) {
            self.with_status += 1;
            // `503`, and the class `5xx` that some libraries write.
            if status.len() == 3 && status.starts_with('5') {
                self.failed += requests;
            }
        }
        if self.series > SERIES_MAX { Err(ExpositionError::TooManySeries { of }) } else { Ok(()) }
    }
}

const fn no_status(of: &'static str) -> ExpositionError {
    ExpositionError::NoStatus { of }
}

/// A counter's value: neither NaN, nor infinite, nor below 0.
fn count(sample: &Sample<'_>, of: &'static str) -> Result<f64, ExpositionError> {
    let counts = sample.value.is_finite() && sample.value >= 0.0;
    if counts { Ok(sample.value) } else { Err(ExpositionError::NotANumber { of }) }
}

#[cfg(test)]
mod tests;
