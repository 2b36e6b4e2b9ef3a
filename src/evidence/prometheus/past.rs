//! A past deployment as a recording, made of what a Prometheus remembers.
//!
//! * 0 s is one look before the candidate was first seen, so that the first look has its first sample. Everything
//!   before is history of the baseline.
//! * Counters are as raw as live ones, and a sample stands in one look only.
//! * A revision is expected to have the instances that the server means to scrape (`up` exists, whatever its
//!   value), or that were heard of within [`STALE`]. In a gap of the server itself nobody is known, and as many
//!   are expected as before.
//! * The share that was asked for nobody remembers: it is the candidate's part of the instances, unless it is given.
//! * There were no probes: health is not judged.

use std::collections::BTreeMap;
use std::time::Duration;

use super::answer::{Data, NativePoint, QueryError};
use super::before::Unfit;
use super::expression::{Arm, Arms, Part};
use super::native::Resets;
use super::revisions::{Found, NotFound};
use super::source::Source;
use super::table::{Row, Table};
use super::{ANSWER_BYTES_MAX, STALE};
use crate::analysis::evidence::{Header, Line, Sample};
use crate::analysis::{PerArm, ProbeCount, Unknown};
use crate::evidence::presets::KeptBy;
use crate::share::Share;

/// How far back a past deployment may lie within one range.
pub const RANGE_MAX: Duration = Duration::from_secs(31 * 24 * 3600);

/// Points of one series in an answer: Prometheus' own limit.
const POINTS_MAX: usize = 11_000;

/// Bytes of a point in an answer, rounded up: `[1790000000,"1234567.25"],`
const POINT_BYTES: usize = 64;

/// Moments of the first piece: 2,000 series of so many stay below the bound of an answer.
const MOMENTS_FIRST: usize = 60;

/// A question about hours is given up after this long.
pub const PIECE_TIMEOUT: Duration = Duration::from_secs(60);

/// The looks of a past deployment, read piece by piece.
#[derive(Debug)]
pub struct Past {
    source: Source,
    arms: Arms,
    expression: String,
    header: Header,
    /// As it was given.
    share: Option<Share>,
    /// The promotion's 0 s, the next look, and the end, in Unix seconds.
    zero: i64,
    next: i64,
    end: i64,
    step: i64,
    stale_s: f64,
    moments: usize,
    /// Per instance: when its newest sample that stood in a look was taken.
    heard: BTreeMap<(Arm, String), f64>,
    resets: Resets,
    last_share: Share,
    trouble: Option<Unknown>,
}

/// What the past is asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub found: Found,
    /// In Unix seconds.
    pub range: (i64, i64),
    /// The policy's stages and times; bounds and the source's interval are filled in.
    pub header: Header,
    /// Limits on response times, in milliseconds; `None`: no condition is on them.
    pub limits_ms: Option<Vec<f64>>,
    pub share: Option<Share>,
}

/// Why the past can't be judged.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Unreadable {
    #[error(transparent)]
    NotFound(#[from] NotFound),
    #[error(transparent)]
    Unfit(#[from] Unfit),
    #[error("{0}")]
    Unknown(Unknown),
    #[error(
        "{preset} counts in a proxy, whose counters outlive releases: nothing tells when this one began"
    )]
    KeptByProxy { preset: &'static str },
}

impl From<QueryError> for Unreadable {
    fn from(error: QueryError) -> Self {
        Self::Unfit(error.into())
    }
}

impl Unreadable {
    /// Returns whether the source as a whole is not there.
    #[must_use]
    pub const fn is_source_dead(&self) -> bool {
        match self {
            Self::NotFound(NotFound::Query(error)) | Self::Unfit(Unfit::Query(error)) => {
                error.is_source_dead()
            }
            Self::NotFound(_) | Self::Unfit(_) | Self::Unknown(_) | Self::KeptByProxy { .. } => {
                false
            }
        }
    }
}

impl Past {
    /// Finds out what a recording's header needs: bounds, and how often there were samples.
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub async fn open(source: Source, asked: Asked) -> Result<Self, Unreadable> {
        let Asked { found: Found { arms, began, .. }, range, mut header, limits_ms, share } = asked;
        let preset = source.preset;
        if preset.kept_by == KeptBy::Proxy {
            return Err(Unreadable::KeptByProxy { preset: preset.name });
        }
        header.bounds_ms = match &limits_ms {
            Some(limits) => source.bounds_at(&arms, limits, Some(began)).await?,
            None => Vec::new(),
        };
        let scraped = match source.interval_at(&arms, began).await {
            // A baseline that is as young as that has no history either.
            Err(Unfit::TooYoung { .. } | Unfit::NoSeries { .. }) => Duration::ZERO,
            measured => measured?,
        };
        if scraped.as_secs_f64() > header.interval_s {
            header.source_interval_s = Some(scraped.as_secs_f64());
        }
        let parts: Vec<Part> = match limits_ms {
            Some(_) => Part::ALL.to_vec(),
            None => Part::ALL
                .iter()
                .copied()
                .filter(|part| !matches!(part, Part::Within | Part::Native))
                .collect(),
        };
        let expression = source.expression_of(&arms, &Arm::BOTH, &parts).unwrap_or_default();
        let step = (header.interval_s as i64).max(1);
        let zero = began - step;
        Ok(Self {
            source,
            arms,
            expression,
            header,
            share,
            zero,
            next: zero - (zero - range.0).max(0) / step * step,
            end: range.1,
            step,
            stale_s: STALE.max(scraped * 2).as_secs_f64(),
            moments: MOMENTS_FIRST,
            heard: BTreeMap::new(),
            resets: Resets::default(),
            last_share: share.unwrap_or_default(),
            trouble: None,
        })
    }

    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The promotion's 0 s, in Unix seconds.
    #[must_use]
    pub const fn zero(&self) -> i64 {
        self.zero
    }

    /// Why some sample could not be used: the first reason.
    #[must_use]
    pub const fn trouble(&self) -> Option<&Unknown> {
        self.trouble.as_ref()
    }

    /// Returns the next looks, oldest first; `None` at the end of the range.
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub async fn piece(&mut self) -> Result<Option<Vec<Line>>, Unreadable> {
        if self.next > self.end {
            return Ok(None);
        }
        let (data, last) = self.ask().await?;
        let Data::Matrix(series) = &data else {
            return Err(QueryError::Shape("a range gives no matrix".to_owned()).into());
        };
        let room = ANSWER_BYTES_MAX / POINT_BYTES / series.len().max(1);
        self.moments = room.clamp(1, POINTS_MAX);
        let mut tables = self.tables(&data)?;
        let mut lines = Vec::new();
        while self.next <= last {
            let table = tables.remove(&self.next).unwrap_or_default();
            lines.extend(self.line(self.next, &table)?);
            self.next += self.step;
        }
        Ok(Some(lines))
    }

    /// Asks for the next moments, fewer if the answer is too long; and says which was the last.
    async fn ask(&mut self) -> Result<(Data, i64), QueryError> {
        loop {
            let moments = i64::try_from(self.moments).unwrap_or(i64::MAX);
            let last = (self.next + (moments - 1) * self.step).min(self.end);
            let step = Duration::from_secs(self.step.unsigned_abs());
            match self.source.ask_range(&self.expression, (self.next, last), step).await {
                Err(QueryError::TooLarge) if self.moments > 1 => self.moments /= 2,
                answer => return Ok((answer?, last)),
            }
        }
    }

    /// Sorts the series of a range by moment.
    fn tables(&self, data: &Data) -> Result<BTreeMap<i64, Table>, Unreadable> {
        let mut tables: BTreeMap<i64, Table> = BTreeMap::new();
        let Data::Matrix(series) = data else { return Ok(tables) };
        for one in series {
            for point in &one.values {
                let Some(value) = point.number() else { continue };
                let table = tables.entry(point.0.round() as i64).or_default();
                let put = table.put(&self.source, &self.arms, one, value);
                put.map_err(Unreadable::Unknown)?;
            }
            for NativePoint(at, native) in &one.histograms {
                let table = tables.entry(at.round() as i64).or_default();
                let put = table.put_native(&self.source, one, native);
                put.map_err(Unreadable::Unknown)?;
            }
        }
        for table in tables.values_mut() {
            table.settle(&self.arms).map_err(Unreadable::Unknown)?;
        }
        Ok(tables)
    }

    /// Makes a line of one moment; history without a sample has none.
    fn line(&mut self, at: i64, table: &Table) -> Result<Option<Line>, Unreadable> {
        let no_probes = Some(ProbeCount::default());
        let mut line = Line {
            at_s: Some((at - self.zero) as f64),
            probes: PerArm { baseline: no_probes, candidate: no_probes },
            ..Line::default()
        };
        let (baseline, in_baseline) = self.arm(Arm::Baseline, at, table)?;
        let (candidate, in_candidate) = self.arm(Arm::Candidate, at, table)?;
        let is_history = at <= self.zero;
        if is_history && baseline.is_empty() {
            return Ok(None);
        }
        line.samples = PerArm { baseline, candidate };
        // Nobody is known in a gap of the server itself: what was expected goes on.
        if in_baseline + in_candidate > 0 {
            line.expected = PerArm { baseline: Some(in_baseline), candidate: Some(in_candidate) };
            let part = f64::from(in_candidate) / f64::from(in_baseline + in_candidate);
            let asked = self.share.or_else(|| Share::from_fraction(part));
            self.last_share = asked.unwrap_or_default();
        }
        let share = if is_history { Share::ZERO } else { self.last_share };
        line.share = Some(share.fraction());
        Ok(Some(line))
    }

    /// Returns the fresh samples of an arm, and how many instances it has.
    fn arm(
        &mut self,
        arm: Arm,
        at: i64,
        table: &Table,
    ) -> Result<(BTreeMap<String, Sample>, u32), Unreadable> {
        let (mut samples, mut expected) = (BTreeMap::new(), 0);
        // Where nobody has served anything, the metric may just as well have another name.
        let counted = table.rows.values().any(Row::has_served);
        for ((_, name), row) in table.rows.iter().filter(|((of, _), _)| *of == arm) {
            let heard_at = row.heard_at().filter(|heard| at as f64 - heard <= self.stale_s);
            expected += u32::from(row.is_known() || heard_at.is_some());
            let Some(heard_at) = heard_at.filter(|_| counted) else { continue };
            let last = self.heard.entry((arm, name.clone())).or_insert(f64::NEG_INFINITY);
            if heard_at <= *last {
                continue;
            }
            *last = heard_at;
            let fine = row.check(&mut self.resets, (arm, name));
            let counters = row.counters(self.source.preset, name, &self.header.bounds_ms);
            match fine.and(counters) {
                Ok(counters) => samples.insert(name.clone(), Some(counters.0)),
                // Its requests would never fail: not one sample, but the whole source is of no use.
                Err(why) if row.is_untold() => return Err(Unreadable::Unknown(why)),
                Err(why) => {
                    self.trouble.get_or_insert(why);
                    samples.insert(name.clone(), None)
                }
            };
        }
        Ok((samples, expected))
    }
}
