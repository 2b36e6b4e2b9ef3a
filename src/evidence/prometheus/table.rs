//! Series to counters of instances, at one moment.

use std::collections::BTreeMap;

use super::answer::{Data, NativePoint, QueryError, Series};
use super::expression::{Arm, Arms, PART, Part, unmark};
use super::native::{Native, Resets};
use super::source::Source;
use crate::analysis::{Counters, Unknown};
use crate::evidence::presets::{KeptBy, Preset, TARGET};

/// How close a bucket's bound must be to the wanted one, in milliseconds.
const BOUND_TOLERANCE_MS: f64 = 1e-6;

/// What is known of every instance at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table {
    /// Unix seconds, by the server's clock.
    pub at: f64,
    /// By arm and what the platform calls the instance.
    pub rows: BTreeMap<(Arm, String), Row>,
    /// By the instance label: whose they are the rows tell, when all are there.
    natives: BTreeMap<String, Native>,
}

/// One instance. What is not there was not in the answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    requests: Option<f64>,
    errors: Option<f64>,
    sampled_at: Option<f64>,
    scraped_at: Option<f64>,
    untold: bool,
    known: bool,
    /// Requests within each bound in milliseconds, rising.
    within: Vec<(f64, f64)>,
    native: Option<Native>,
}

impl Table {
    /// Reads the answer to a look.
    ///
    /// # Errors
    /// Two series where one is needed, or something that was not asked for.
    pub(super) fn of_vector(source: &Source, arms: &Arms, data: &Data) -> Result<Self, Unknown> {
        let Data::Vector(series) = data else { return Err(shape("the answer is no vector")) };
        let mut table = Self::default();
        for one in series {
            if let Some(NativePoint(at, native)) = &one.histogram {
                table.at = table.at.max(*at);
                table.put_native(source, one, native)?;
                continue;
            }
            let point = one.value.as_ref().ok_or_else(|| Unknown::from(one.no_number()))?;
            table.at = table.at.max(point.0);
            let value = point.number().ok_or_else(|| shape("a value is no number"))?;
            table.put(source, arms, one, value)?;
        }
        table.settle(arms)?;
        if source.sums_routes() {
            table.add_unserved(arms);
        }
        Ok(table)
    }

    /// Takes one value in.
    pub(super) fn put(
        &mut self,
        source: &Source,
        arms: &Arms,
        series: &Series,
        value: f64,
    ) -> Result<(), Unknown> {
        if is_native(source, series) {
            // A summary has the same name. It tells nothing here.
            return Ok(());
        }
        let (row, name, part) = self.place(source, arms, series)?;
        let le = series.metric.get("le").map(String::as_str);
        match row.put(source.preset, part, le, value)? {
            Put::New => Ok(()),
            Put::Again => Err(Unknown::SeveralSeries {
                of: format!("{} of {name}", part_of(source.preset, part)),
                series: 2,
            }),
        }
    }

    /// Takes one native histogram in.
    pub(super) fn put_native(
        &mut self,
        source: &Source,
        series: &Series,
        native: &Native,
    ) -> Result<(), Unknown> {
        let instance = series.metric.get(&source.instance);
        let Some(instance) = instance.filter(|_| is_native(source, series)) else {
            return Err(series.no_number().into());
        };
        self.natives.insert(instance.clone(), native.clone());
        Ok(())
    }

    /// Puts native histograms to the instances that they are of, when everything is in.
    pub(super) fn settle(&mut self, arms: &Arms) -> Result<(), Unknown> {
        for (instance, native) in std::mem::take(&mut self.natives) {
            let mut own = None;
            for arm in Arm::BOTH {
                let Some(name) = arms.name(arm, &instance) else { continue };
                let key = (arm, name.to_owned());
                if self.rows.contains_key(&key) && own.replace(key).is_some() {
                    return Err(shape(&format!(
                        "{instance} is of both revisions, and its native histogram does not tell of which"
                    )));
                }
            }
            if let Some(row) = own.and_then(|key| self.rows.get_mut(&key)) {
                row.native = Some(native);
            }
        }
        Ok(())
    }

    /// A proxy that counts for one revision and not for the other has sent that one nothing yet.
    fn add_unserved(&mut self, arms: &Arms) {
        for arm in Arm::BOTH.into_iter().filter(|arm| arms.matchers(*arm, TARGET).is_some()) {
            let others = self.rows.iter().filter(|((of, _), _)| *of != arm);
            let proxies: Vec<(String, Option<f64>)> =
                others.map(|((_, proxy), row)| (proxy.clone(), row.sampled_at)).collect();
            for (proxy, sampled_at) in proxies {
                let unserved = Row { sampled_at, ..Row::default() };
                self.rows.entry((arm, proxy)).or_insert(unserved);
            }
        }
    }

    /// Finds whose a series is, and what it tells.
    fn place(
        &mut self,
        source: &Source,
        arms: &Arms,
        series: &Series,
    ) -> Result<(&mut Row, String, Part), Unknown> {
        let mark = series.metric.get(PART).and_then(|mark| unmark(mark));
        let (arm, part) = mark.ok_or_else(|| shape("it has series that were not asked for"))?;
        let Some(instance) = series.metric.get(&source.instance) else {
            let (of, label) = (source.preset.requests, &source.instance);
            return Err(shape(&format!("{of} has no label {label} that tells instances apart")));
        };
        let Some(name) = arms.name(arm, instance) else {
            return Err(shape(&format!("it has an instance that was not asked for: {instance}")));
        };
        let name = match (source.preset.kept_by, series.metric.get(TARGET)) {
            (KeptBy::Proxy, Some(proxy)) if !source.sums_routes() => format!("{name}@{proxy}"),
            (KeptBy::Proxy | KeptBy::Instance, _) => name.to_owned(),
        };
        let row = self.rows.entry((arm, name.clone())).or_default();
        Ok((row, name, part))
    }
}

/// Whether a series has the instance for its only label: so the part without a mark has.
fn is_native(source: &Source, series: &Series) -> bool {
    series.metric.keys().eq([&source.instance])
}

/// Whether a value had a place that was free.
enum Put {
    New,
    Again,
}

impl Row {
    fn put(
        &mut self,
        preset: &Preset,
        part: Part,
        le: Option<&str>,
        value: f64,
    ) -> Result<Put, Unknown> {
        let place = match part {
            Part::Requests => &mut self.requests,
            Part::Errors => &mut self.errors,
            Part::SampledAt => &mut self.sampled_at,
            Part::ScrapedAt => &mut self.scraped_at,
            Part::Untold => {
                self.untold = true;
                return Ok(Put::New);
            }
            Part::Known => {
                self.known = true;
                return Ok(Put::New);
            }
            Part::Within => return self.put_bucket(preset, le, value),
            // It has no mark, so no number has its name.
            Part::Native => return Ok(Put::New),
        };
        Ok(if place.replace(value).is_none() { Put::New } else { Put::Again })
    }

    fn put_bucket(
        &mut self,
        preset: &Preset,
        le: Option<&str>,
        value: f64,
    ) -> Result<Put, Unknown> {
        let bound = bound_ms(preset, le)?;
        match self.within.binary_search_by(|(known, _)| known.total_cmp(&bound)) {
            // `le="1"` beside `le="1.0"`: two client libraries in one instance.
            Ok(at) => self.within[at].1 += value,
            Err(at) => self.within.insert(at, (bound, value)),
        }
        Ok(Put::New)
    }

    /// When this instance was last heard of, in Unix seconds.
    pub(super) fn heard_at(&self) -> Option<f64> {
        let times = [self.sampled_at, self.scraped_at];
        match self.requests {
            Some(_) => self.sampled_at,
            None => times.into_iter().flatten().reduce(f64::max),
        }
        .filter(|at| at.is_finite())
    }

    pub(super) const fn has_served(&self) -> bool {
        self.requests.is_some()
    }

    /// The native histogram that its response times are read from, where there is no classic one.
    pub(super) fn native(&self) -> Option<&Native> {
        self.native.as_ref().filter(|_| self.within.is_empty())
    }

    /// Notices a histogram that began anew alone.
    pub(super) fn check(&self, resets: &mut Resets, of: (Arm, &str)) -> Result<(), Unknown> {
        match (self.native(), self.requests) {
            (Some(native), Some(requests)) => resets.check(of, requests, native),
            (_, None) | (None, Some(_)) => Ok(()),
        }
    }

    /// Whether the server means to scrape it, be it in vain.
    pub(super) const fn is_known(&self) -> bool {
        self.known
    }

    /// Whether it has requests without a status: they would never fail.
    pub(super) const fn is_untold(&self) -> bool {
        self.untold
    }

    /// Returns `requests, errors, slower than bound 1, …`.
    ///
    /// # Errors
    /// A value that is no count, requests without a status, or a bucket that is not there.
    pub(super) fn counters(
        &self,
        preset: &Preset,
        name: &str,
        bounds_ms: &[f64],
    ) -> Result<Counters, Unknown> {
        let of = preset.requests;
        if self.untold {
            let labels = preset.status.join(" or ");
            return Err(shape(&format!(
                "{of} of {name} has no label {labels} that tells failed requests"
            )));
        }
        let count = |value: f64, of: &str| {
            let counts = value.is_finite() && value >= 0.0;
            if counts {
                Ok(value)
            } else {
                Err(Unknown::NotANumber { of: format!("{of} of {name}") })
            }
        };
        let requests = count(self.requests.unwrap_or(0.0), of)?;
        // Nothing has failed yet: there is no such series before the first failure.
        let errors = count(self.errors.unwrap_or(0.0), of)?;
        let mut row = vec![requests, errors];
        let bucket = preset.histogram.map_or("", |histogram| histogram.bucket);
        for bound in bounds_ms {
            let slower = if requests > 0.0 { self.slower(preset, name, *bound)? } else { 0.0 };
            row.push(count(slower, bucket)?);
        }
        Ok(Counters(row))
    }

    fn slower(&self, preset: &Preset, name: &str, bound_ms: f64) -> Result<f64, Unknown> {
        let bucket = preset.histogram.map_or("", |histogram| histogram.bucket);
        let Some((last, all)) = self.within.last() else {
            if let (Some(native), Some(histogram)) = (&self.native, preset.histogram) {
                let of = histogram.native();
                return native.slower(histogram.unit, bound_ms).ok_or_else(|| {
                    shape(&format!(
                        "{of} of {name} has coarser buckets than before: none ends at {bound_ms} ms"
                    ))
                });
            }
            return Err(Unknown::NoData { arm: format!("{name}: no series of {bucket}") });
        };
        let near = |(known, _): &&(f64, f64)| (known - bound_ms).abs() <= BOUND_TOLERANCE_MS;
        match self.within.iter().find(near) {
            Some((_, within)) if last.is_infinite() && !within.is_nan() => {
                Ok(if all.is_nan() { f64::NAN } else { (all - within).max(0.0) })
            }
            Some((_, within)) if within.is_nan() => Ok(f64::NAN),
            Some(_) => Err(shape(&format!("{bucket} of {name} has no bucket le=\"+Inf\""))),
            None => {
                Err(shape(&format!("{bucket} of {name} has no bucket at {bound_ms} ms any more")))
            }
        }
    }
}

/// Returns a bucket's bound in milliseconds.
pub(super) fn bound_ms(preset: &Preset, le: Option<&str>) -> Result<f64, Unknown> {
    let le = le.and_then(|le| le.parse::<f64>().ok()).filter(|le| !le.is_nan());
    match (le, preset.histogram) {
        (Some(le), Some(histogram)) => Ok(histogram.unit.to_ms(le)),
        (_, None) | (None, Some(_)) => Err(shape("a bucket's le is no number")),
    }
}

const fn part_of(preset: &Preset, part: Part) -> &'static str {
    match part {
        Part::Requests | Part::Errors | Part::SampledAt | Part::Untold => preset.requests,
        Part::Within | Part::Native => match preset.histogram {
            Some(histogram) => histogram.bucket,
            None => preset.requests,
        },
        Part::ScrapedAt | Part::Known => "up",
    }
}

fn shape(what: &str) -> Unknown {
    QueryError::Shape(what.to_owned()).into()
}
