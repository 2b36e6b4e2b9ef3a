//! Native histograms: exponential buckets, whose edges are the powers of `2^(2^-schema)`.
//!
//! The judge wants cumulative counts above bounds that stay. So bounds are edges: the powers of two, which every
//! schema from 0 on has, and around each limit the two nearest edges of the present schema. A histogram with fewer
//! buckets than before (its client halves the resolution when there are too many) may have lost an edge; then
//! requests would be on either side of the bound, and nobody knows how many: *unknown*. So it is where a histogram
//! began anew while the requests went on: what it has counted since can't be compared with what was before.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::answer::QueryError;
use super::expression::Arm;
use crate::analysis::Unknown;
use crate::evidence::presets::TimeUnit;

/// How far an edge may be off, in milliseconds: servers print edges as decimals, and a bound is rounded to nanoseconds.
/// The finest edges above 0.01 ms are further apart.
const EDGE_TOLERANCE_MS: f64 = 1e-5;

/// How far the ratio of a bucket's edges may be off, as a part of the schema's.
const RATIO_TOLERANCE: f64 = 1e-6;

/// Schemas that Prometheus knows.
const SCHEMAS: std::ops::RangeInclusive<f64> = -4.0..=8.0;

/// Bounds away from the limits: the powers of two from about 1 ms to 16 s.
const POWERS_MS: std::ops::RangeInclusive<i32> = 0..=14;

/// A native histogram as a server writes it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Native {
    pub count: f64,
    /// Those with a count, in no order.
    pub buckets: Vec<Bucket>,
}

/// Between two edges, in the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    pub low: f64,
    pub high: f64,
    pub count: f64,
}

/// Numbers are written as text, and a bucket as `[which edges belong to it, low, high, count]`.
#[derive(Deserialize)]
struct Written {
    count: String,
    #[serde(default)]
    buckets: Vec<(u8, String, String, String)>,
}

impl TryFrom<Written> for Native {
    type Error = std::num::ParseFloatError;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let bucket = |(_, low, high, count): (u8, String, String, String)| {
            Ok(Bucket { low: low.parse()?, high: high.parse()?, count: count.parse()? })
        };
        Ok(Self {
            count: written.count.parse()?,
            buckets: written.buckets.into_iter().map(bucket).collect::<Result<_, _>>()?,
        })
    }
}

impl Native {
    /// Returns how many were slower than a bound; `None`: a bucket lies on both sides of it.
    pub(super) fn slower(&self, unit: TimeUnit, bound_ms: f64) -> Option<f64> {
        let mut slower = 0.0;
        for bucket in &self.buckets {
            let (low, high) = (unit.to_ms(bucket.low), unit.to_ms(bucket.high));
            if low >= bound_ms - EDGE_TOLERANCE_MS {
                slower += bucket.count;
            } else if high > bound_ms + EDGE_TOLERANCE_MS {
                return None;
            }
        }
        Some(slower)
    }

    /// Returns bounds in milliseconds, rising, that are edges: around each limit, and from 1 ms to 16 s. `None` where
    /// no bucket tells the schema.
    pub(super) fn bounds(&self, unit: TimeUnit, limits_ms: &[f64]) -> Option<Vec<f64>> {
        let step = self.step()?;
        let edge_ms = |n: f64| unit.to_ms((n * step).exp2());
        let place = |ms: f64| (ms / unit.to_ms(1.0)).log2() / step;
        let powers = POWERS_MS.map(|power| place(f64::from(power).exp2()).round());
        let around = limits_ms.iter().flat_map(|limit| {
            let place = place(*limit);
            [place.floor(), place.ceil()]
        });
        let mut places: Vec<f64> = powers.chain(around).collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        let bounds: Vec<f64> = places.into_iter().map(edge_ms).collect();
        Some(bounds.into_iter().filter(|bound| *bound > 0.0).collect())
    }

    /// Returns log₂ of the ratio of a bucket's edges, `2^-schema`.
    fn step(&self) -> Option<f64> {
        let inner = |bucket: &&Bucket| bucket.low > 0.0 && bucket.high.is_finite();
        let bucket = self.buckets.iter().find(inner)?;
        let written = (bucket.high / bucket.low).log2();
        let schema = -written.log2().round();
        let step = (-schema).exp2();
        let fits = (written / step - 1.0).abs() <= RATIO_TOLERANCE;
        (fits && SCHEMAS.contains(&schema)).then_some(step)
    }
}

/// Notices histograms that begin anew alone.
#[derive(Clone, Debug, Default)]
pub(super) struct Resets {
    /// Of each instance: requests, and how many of them its histogram has.
    last: BTreeMap<(Arm, String), (f64, f64)>,
}

impl Resets {
    /// Takes in what an instance has counted.
    ///
    /// # Errors
    /// Its histogram has begun anew and its requests have not, now or before; until both begin anew.
    pub(super) fn check(
        &mut self,
        (arm, name): (Arm, &str),
        requests: f64,
        native: &Native,
    ) -> Result<(), Unknown> {
        let last = self.last.entry((arm, name.to_owned())).or_insert((requests, native.count));
        if requests < last.0 || native.count >= last.1 {
            *last = (requests, native.count);
            return Ok(());
        }
        *last = (requests, f64::INFINITY);
        let what = format!("the histogram of {name} has begun anew, and its requests have not");
        Err(QueryError::Shape(what).into())
    }
}

#[cfg(test)]
mod tests {
    use super::{Arm, Bucket, Native, Resets};
    use crate::evidence::presets::TimeUnit;

    /// One request in each bucket of a schema from one edge to another, in seconds.
    fn native(schema: i32, from: i32, until: i32) -> Native {
        let edge = |n: i32| (f64::from(n) * f64::from(-schema).exp2()).exp2();
        let bucket = |n: i32| Bucket { low: edge(n - 1), high: edge(n), count: 1.0 };
        let buckets: Vec<Bucket> = (from..=until).map(bucket).collect();
        Native { count: buckets.len() as f64, buckets }
    }

    #[test]
    fn is_read_as_a_server_writes_it() {
        let text =
            r#"{"count":"5","sum":"1.5","buckets":[[3,"-1e-128","1e-128","2"],[0,"0.5","1","3"]]}"#;
        let read: Native = serde_json::from_str(text).unwrap();
        assert_eq!(read.count, 5.0);
        assert_eq!(read.buckets[1], Bucket { low: 0.5, high: 1.0, count: 3.0 });
        for broken in ["{}", r#"{"count":"x"}"#, r#"{"count":"1","buckets":[[0,"1","2"]]}"#] {
            assert!(serde_json::from_str::<Native>(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn bounds_are_edges_around_the_limits_and_powers_of_two() {
        let bounds = native(3, -20, -10).bounds(TimeUnit::Seconds, &[300.0]).unwrap();
        assert_eq!(bounds.len(), 17);
        assert!(bounds.is_sorted());
        assert!(bounds.contains(&250.0) && bounds.contains(&1000.0), "{bounds:?}");
        // 2^(-14/8) s and 2^(-13/8) s
        assert!(bounds.contains(&297.301_779) && bounds.contains(&324.209_889), "{bounds:?}");
        // Of edges that are four times apart every second power of two is none.
        let coarse = native(-1, -4, 0).bounds(TimeUnit::Milliseconds, &[300.0]).unwrap();
        assert!(coarse.contains(&256.0) && coarse.contains(&1024.0), "{coarse:?}");
        assert!(!coarse.contains(&512.0), "{coarse:?}");
        assert_eq!(Native { count: 0.0, buckets: Vec::new() }.bounds(TimeUnit::Seconds, &[]), None);
    }

    #[test]
    fn counts_what_is_slower_and_splits_no_bucket() {
        let fine = native(3, -20, -10);
        for bound in fine.bounds(TimeUnit::Seconds, &[300.0]).unwrap() {
            let slower = fine.buckets.iter().filter(|b| 1000.0 * b.low > bound - 0.001).count();
            assert_eq!(fine.slower(TimeUnit::Seconds, bound), Some(slower as f64), "{bound}");
        }
        // Resolution was reduced: the powers of two are still edges, the others are not.
        let coarse = native(1, -5, -2);
        assert_eq!(coarse.slower(TimeUnit::Seconds, 250.0), Some(2.0));
        assert_eq!(coarse.slower(TimeUnit::Seconds, 297.301_779), None);
    }

    #[test]
    fn a_histogram_that_begins_anew_alone_is_noticed_until_all_does() {
        let mut resets = Resets::default();
        let mut check = |requests: f64, count: f64| {
            let native = Native { count, buckets: Vec::new() };
            resets.check((Arm::Candidate, "c0"), requests, &native).is_ok()
        };
        let story = [
            (10.0, 10.0, true),
            (20.0, 20.0, true),
            (30.0, 5.0, false),
            (90.0, 60.0, false),
            (3.0, 3.0, true),
            (3.0, 3.0, true),
        ];
        for (requests, count, is_fine) in story {
            assert_eq!(check(requests, count), is_fine, "{requests} {count}");
        }
    }
}
