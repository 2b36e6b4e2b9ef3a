//! Latencies in a histogram of fixed size.
//!
//! Buckets grow with the value, as in HdrHistogram: 32 to each power of two, so a quantile is off by
//! at most 1/64 of itself (half a bucket). That is all that is needed here, in a tenth of the code.

use std::time::Duration;

/// Bits of a value that are kept after its leading one.
const DETAIL_BITS: u32 = 5;
const DETAIL: u64 = 1 << DETAIL_BITS;

/// Above this, latencies count as this.
const LONGEST: Duration = Duration::from_secs(3600);

/// Any number of latencies, to the microsecond.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    buckets: Vec<u64>,
    count: u64,
    longest_us: u64,
}

impl Latencies {
    pub fn add(&mut self, latency: Duration) {
        // At most 3.6e9, so it fits.
        let us = latency.min(LONGEST).as_micros() as u64;
        let bucket = bucket_of(us);
        if bucket >= self.buckets.len() {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        self.longest_us = self.longest_us.max(us);
    }

    /// Returns the latency that this part (0–1) of all does not exceed; `None` when there are none.
    #[must_use]
    pub fn quantile_ms(&self, part: f64) -> Option<f64> {
        let rank = (part * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|&count| {
            seen += count;
            seen >= rank
        })?;
        let middle = (lowest_of(bucket) + lowest_of(bucket + 1) - 1) as f64 / 2.0;
        Some(middle.min(self.longest_us as f64) / 1000.0)
    }

    #[must_use]
    pub fn longest_ms(&self) -> Option<f64> {
        (self.count > 0).then_some(self.longest_us as f64 / 1000.0)
    }
}

/// Returns the bucket of a value: the values below [`DETAIL`] have one each.
fn bucket_of(us: u64) -> usize {
    let shift = us.max(1).ilog2().saturating_sub(DETAIL_BITS);
    (u64::from(shift) * DETAIL + (us >> shift)) as usize
}

/// Returns the lowest value of a bucket.
fn lowest_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / DETAIL).saturating_sub(1);
    (bucket - shift * DETAIL) << shift
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket(us in 0u64..3_600_000_000) {
            let bucket = bucket_of(us);
            prop_assert!(lowest_of(bucket) <= us && us < lowest_of(bucket + 1));
        }

        #[test]
        fn a_quantile_is_as_exact_as_promised(mut values in prop::collection::vec(0u64..100_000_000, 1..200), part in 0.0..=1.0f64) {
            let mut latencies = Latencies::default();
            for &us in &values {
                latencies.add(Duration::from_micros(us));
            }
            values.sort_unstable();
            let rank = ((part * values.len() as f64).ceil() as usize).max(1);
            let exact = values[rank - 1] as f64 / 1000.0;
            let seen = latencies.quantile_ms(part).unwrap();
            prop_assert!((seen - exact).abs() <= exact / 64.0 + 0.001, "{seen} for {exact}");
        }
    }

    #[test]
    fn none_have_no_quantile_and_the_longest_is_bounded() {
        let mut latencies = Latencies::default();
        assert_eq!((latencies.quantile_ms(0.5), latencies.longest_ms()), (None, None));
        latencies.add(Duration::MAX);
        assert_eq!(latencies.longest_ms(), Some(3_600_000.0));
    }
}
