//! Before the promotion: bounds, the scrape interval, hours of history.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::answer::{Data, NativePoint, Point, QueryError, Series};
use super::expression::{Arm, Arms};
use super::native::Resets;
use super::source::Source;
use super::table::{Table, bound_ms};
use super::{SCRAPE_INTERVAL_MAX, STALE};
use crate::analysis::{Look, Unknown};

/// How much of the baseline's history is read: two hours bring false rollbacks under bursts of one revision
/// below 2 % (decision procedure, known limit).
pub const HISTORY: Duration = Duration::from_secs(2 * 3600);

/// The longest history that is read.
pub const HISTORY_MAX: Duration = Duration::from_secs(24 * 3600);

/// History is read in pieces of so many moments: 2,000 series of them stay below the bound of an answer.
const MOMENTS: u32 = 60;

/// How far back the scrape interval is measured: five spacings at the slowest that is allowed.
const MEASURED_S: i64 = 300;
const MEASURED_STEP: Duration = Duration::from_secs(1);
/// Spacings without which an interval is not known.
const SPACINGS_MIN: usize = 2;

/// Latency bounds that a judge is given at most; a histogram with more is thinned.
pub const BOUNDS_MAX: usize = 32;

/// Why a source can't be judged with.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unfit {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("{0}")]
    Unknown(Unknown),
    #[error(
        "there is no series of {of} yet: does the application have traffic, and do these names and labels exist?"
    )]
    NoSeries { of: String },
    #[error("{preset} measures no response times, so limits on them can't be judged")]
    NoHistogram { preset: &'static str },
    #[error("scraped {samples} times in the last {MEASURED_S} s: too few to know the interval")]
    TooYoung { samples: usize },
    #[error("scraped every {} s: evidence needs a sample at least every {} s; lower scrape_interval", .interval.as_secs(), SCRAPE_INTERVAL_MAX.as_secs())]
    TooRare { interval: Duration },
}

impl Unfit {
    /// Returns whether it may be fit in a moment: the server has not scraped often enough yet.
    #[must_use]
    pub const fn may_come(&self) -> bool {
        match self {
            Self::NoSeries { .. } | Self::TooYoung { .. } => true,
            Self::Unknown(why) => matches!(why, Unknown::NoData { .. }),
            Self::Query(_) | Self::NoHistogram { .. } | Self::TooRare { .. } => false,
        }
    }
}

/// What was heard of each instance of a baseline so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// When its newest sample was taken, in the server's Unix seconds.
    newest: BTreeMap<String, f64>,
    resets: Resets,
}

impl Source {
    /// Returns the bounds, rising, in milliseconds, that every series of the histogram has.
    ///
    /// At most [`BOUNDS_MAX`]: those around each of `limits_ms`, the others evenly.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub async fn bounds(&self, arms: &Arms, limits_ms: &[f64]) -> Result<Vec<f64>, Unfit> {
        self.bounds_at(arms, limits_ms, None).await
    }

    /// The same at a moment in Unix seconds; `None`: now.
    pub(super) async fn bounds_at(
        &self,
        arms: &Arms,
        limits_ms: &[f64],
        at: Option<i64>,
    ) -> Result<Vec<f64>, Unfit> {
        let preset = self.preset;
        let Some(histogram) = preset.histogram else {
            return Err(Unfit::NoHistogram { preset: preset.name });
        };
        let of = |arm| {
            let matchers = self.narrowed(&arms.matchers(arm, &self.instance)?);
            Some(format!("count by (le) ({}{{{matchers}}})", histogram.bucket))
        };
        let none = || Unfit::NoSeries { of: histogram.bucket.to_owned() };
        let expression = of(Arm::Baseline).or_else(|| of(Arm::Candidate)).ok_or_else(none)?;
        let Data::Vector(series) = self.ask_at(&expression, at).await? else { return Err(none()) };
        let mut counts: BTreeMap<u64, f64> = BTreeMap::new();
        for one in &series {
            let le = one.metric.get("le").map(String::as_str);
            let bound = bound_ms(preset, le).map_err(Unfit::Unknown)?;
            let count = one.value.as_ref().and_then(Point::number);
            if bound >= 0.0 {
                *counts.entry(bound.to_bits()).or_default() += count.unwrap_or(0.0);
            }
        }
        // Bits of positive numbers have the numbers' order.
        let most = counts.values().copied().fold(0.0, f64::max);
        let common = counts.iter().filter(|(_, count)| **count == most);
        let bounds = common.map(|(bits, _)| f64::from_bits(*bits));
        let bounds: Vec<f64> = bounds.filter(|bound| bound.is_finite() && *bound > 0.0).collect();
        if bounds.is_empty() {
            return self.native_bounds(arms, limits_ms, at).await?.ok_or_else(none);
        }
        Ok(thinned(&bounds, limits_ms))
    }

    /// The bounds of a native histogram, where there is one.
    async fn native_bounds(
        &self,
        arms: &Arms,
        limits_ms: &[f64],
        at: Option<i64>,
    ) -> Result<Option<Vec<f64>>, Unfit> {
        let matchers = arms
            .matchers(Arm::Baseline, &self.instance)
            .or_else(|| arms.matchers(Arm::Candidate, &self.instance));
        let (Some(histogram), Some(matchers)) = (self.preset.histogram, matchers) else {
            return Ok(None);
        };
        let expression = format!("sum({}{{{}}})", histogram.native(), self.narrowed(&matchers));
        let Data::Vector(series) = self.ask_at(&expression, at).await? else { return Ok(None) };
        let native = series.first().and_then(|one| one.histogram.as_ref());
        let bounds =
            native.and_then(|NativePoint(_, native)| native.bounds(histogram.unit, limits_ms));
        Ok(bounds.map(|bounds| thinned(&bounds, limits_ms)))
    }

    /// Returns the source's scrape interval: the median spacing of the samples of the last five minutes.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub async fn interval(&self, arms: &Arms) -> Result<Duration, Unfit> {
        let now = self.now().await?;
        self.interval_at(arms, now).await
    }

    /// The same of the five minutes before a moment in Unix seconds.
    pub(super) async fn interval_at(&self, arms: &Arms, now: i64) -> Result<Duration, Unfit> {
        let requests = self.preset.requests;
        let none = || Unfit::NoSeries { of: requests.to_owned() };
        let matchers = arms.matchers(Arm::Baseline, &self.instance).ok_or_else(none)?;
        let (by, matchers) = (self.by(), self.narrowed(&matchers));
        let expression = format!("max by ({by}) (timestamp({requests}{{{matchers}}}))");
        let range = (now - MEASURED_S, now);
        let Data::Matrix(series) = self.ask_range(&expression, range, MEASURED_STEP).await? else {
            return Err(none());
        };
        if series.is_empty() {
            return Err(none());
        }
        let mut spacings: Vec<f64> = series.iter().flat_map(spacings).collect();
        if spacings.len() < SPACINGS_MIN {
            return Err(Unfit::TooYoung { samples: spacings.len() + 1 });
        }
        spacings.sort_by(f64::total_cmp);
        let interval = Duration::from_secs_f64(spacings[spacings.len() / 2]);
        // A tenth of a second is jitter.
        if interval > SCRAPE_INTERVAL_MAX + Duration::from_millis(100) {
            return Err(Unfit::TooRare { interval });
        }
        Ok(interval)
    }

    /// Returns the baseline's history as looks with negative `at_s`, oldest first, `step` apart (at
    /// least a second). Gaps stay gaps and resets stay resets; what can't be read is left out.
    ///
    /// # Errors
    /// See [`Unfit`]. No history at all is an empty one.
    pub async fn history(
        &self,
        arms: &Arms,
        bounds_ms: &[f64],
        length: Duration,
        step: Duration,
    ) -> Result<Vec<Look>, Unfit> {
        let now = self.now().await?;
        let length = length.min(HISTORY_MAX).as_secs().cast_signed();
        let mut heard = Heard::default();
        let mut looks = self.past(arms, bounds_ms, (now - length, now), step, &mut heard).await?;
        looks.iter_mut().for_each(|look| look.at_s -= now as f64);
        Ok(looks)
    }

    /// Returns the baseline's looks from one moment to another, both in the server's Unix seconds, as is
    /// their `at_s`. `heard` goes on across calls.
    pub(super) async fn past(
        &self,
        arms: &Arms,
        bounds_ms: &[f64],
        (mut start, until): (i64, i64),
        step: Duration,
        heard: &mut Heard,
    ) -> Result<Vec<Look>, Unfit> {
        let Some(expression) = self.expression(arms, &[Arm::Baseline]) else {
            return Ok(Vec::new());
        };
        let step = Duration::from_secs(step.as_secs().max(1));
        let piece = (step * (MOMENTS - 1)).as_secs().cast_signed();
        let mut looks = Vec::new();
        while start <= until {
            let end = (start + piece).min(until);
            let data = self.ask_range(&expression, (start, end), step).await?;
            for table in self.tables(arms, &data) {
                looks.extend(self.past_look(&table, bounds_ms, heard));
            }
            start += piece + step.as_secs().cast_signed();
        }
        Ok(looks)
    }

    /// Sorts the series of a range by moment. A value that can't be taken in is left out.
    fn tables(&self, arms: &Arms, data: &Data) -> Vec<Table> {
        let mut tables: BTreeMap<i64, Table> = BTreeMap::new();
        let Data::Matrix(series) = data else { return Vec::new() };
        for one in series {
            for point in &one.values {
                let Some(value) = point.number() else { continue };
                let table = tables.entry(point.0.round() as i64).or_default();
                table.at = point.0;
                let _ = table.put(self, arms, one, value);
            }
            for NativePoint(at, native) in &one.histograms {
                let table = tables.entry(at.round() as i64).or_default();
                table.at = *at;
                let _ = table.put_native(self, one, native);
            }
        }
        for table in tables.values_mut() {
            let _ = table.settle(arms);
        }
        tables.into_values().collect()
    }

    fn past_look(&self, table: &Table, bounds_ms: &[f64], heard: &mut Heard) -> Option<Look> {
        let mut look = Look::of_the_past(table.at);
        for ((_, name), row) in table.rows.iter().filter(|(_, row)| row.has_served()) {
            let Some(heard_at) = row.heard_at().filter(|at| table.at - at <= STALE.as_secs_f64())
            else {
                continue;
            };
            look.expected.baseline += 1;
            let is_new = heard.newest.get(name).is_none_or(|last| heard_at > *last);
            let fine = row.check(&mut heard.resets, (Arm::Baseline, name));
            let counters = fine.and_then(|()| row.counters(self.preset, name, bounds_ms));
            if is_new && let Ok(counters) = counters {
                heard.newest.insert(name.clone(), heard_at);
                look.baseline.insert(name.clone(), counters);
            }
        }
        (!look.baseline.is_empty()).then_some(look)
    }

    /// Returns the server's time in whole Unix seconds.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn now(&self) -> Result<i64, QueryError> {
        match self.ask("time()").await? {
            Data::Scalar(point) => Ok(point.0 as i64),
            Data::Vector(_) | Data::Matrix(_) | Data::String(_) => {
                Err(QueryError::Shape("time() is no scalar".to_owned()))
            }
        }
    }
}

/// Between the distinct values of a series.
fn spacings(series: &Series) -> Vec<f64> {
    let times = series.values.iter().filter_map(Point::number);
    let mut times: Vec<f64> = times.filter(|time| time.is_finite()).collect();
    times.dedup();
    // The first sample may be older than the range, but it is a sample all the same.
    times.windows(2).map(|pair| pair[1] - pair[0]).filter(|spacing| *spacing > 0.0).collect()
}

/// Leaves at most [`BOUNDS_MAX`] bounds: the nearest at or below and at or above each limit, the first and the
/// last, and of the others every nth.
pub(super) fn thinned(bounds: &[f64], limits_ms: &[f64]) -> Vec<f64> {
    if bounds.len() <= BOUNDS_MAX {
        return bounds.to_vec();
    }
    let last = bounds.len() - 1;
    let mut kept = BTreeSet::from([0, last]);
    for limit in limits_ms {
        kept.extend(bounds.iter().rposition(|bound| bound <= limit));
        kept.extend(bounds.iter().position(|bound| bound >= limit));
    }
    let room = BOUNDS_MAX.saturating_sub(kept.len()).max(1);
    let evenly = (0..room).map(|k| k * last / room);
    kept.extend(evenly);
    kept.into_iter().map(|k| bounds[k]).collect()
}
