//! The recent past of both revisions, from the cumulative counters of successive looks.

use std::collections::VecDeque;

use crate::analysis::quantile_ms;
use crate::published::Sample;

/// Looks that are shown: two minutes of them on the local platform.
pub(crate) const POINTS_MAX: usize = 24;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The quantile that is shown.
const QUANTILE: f64 = 0.95;

/// What one revision did between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Point {
    /// 0–1; `None` without requests.
    pub(crate) errors: Option<f64>,
    pub(crate) p95_ms: Option<f64>,
}

/// Both revisions, the oldest point first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    newest: Option<Sample>,
    pub(crate) baseline: VecDeque<Point>,
    pub(crate) candidate: VecDeque<Point>,
}

impl Series {
    /// Takes in a look; one that was seen already adds nothing.
    pub(crate) fn take(&mut self, sample: &Sample) {
        let Some(before) = self.newest.replace(sample.clone()) else { return };
        if before.at_s >= sample.at_s {
            return;
        }
        let bounds = &sample.bounds_ms;
        push(&mut self.baseline, point(&before.baseline, &sample.baseline, bounds));
        push(&mut self.candidate, point(&before.candidate, &sample.candidate, bounds));
    }
}

fn push(points: &mut VecDeque<Point>, point: Point) {
    if points.len() == POINTS_MAX {
        points.pop_front();
    }
    points.push_back(point);
}

/// Counters that fall belong to an instance that was started anew: they count from 0.
fn point(before: &[f64], now: &[f64], bounds_ms: &[f64]) -> Point {
    let anew = now.first().zip(before.first()).is_none_or(|(now, before)| now < before);
    let old = |k: usize| if anew { 0.0 } else { before.get(k).copied().unwrap_or(0.0) };
    let grown: Vec<f64> = now.iter().enumerate().map(|(k, now)| (now - old(k)).max(0.0)).collect();
    match grown.as_slice() {
        [requests, errors, slower @ ..] if *requests > 0.0 => Point {
            errors: Some(errors / requests),
            p95_ms: quantile_ms(QUANTILE, *requests, slower, bounds_ms),
        },
        _ => Point::default(),
    }
}

/// Returns bars from 0 to `most`; a gap where nothing is known.
pub(crate) fn spark(values: impl IntoIterator<Item = Option<f64>>, most: f64) -> String {
    let bar = |value: Option<f64>| match value {
        Some(value) if value.is_finite() && most > 0.0 => {
            let step = (value / most * 7.0).round().clamp(0.0, 7.0) as usize;
            BARS[step]
        }
        Some(_) => BARS[0],
        None => ' ',
    };
    values.into_iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::{Sample, Series, spark};

    fn sample(at_s: f64, candidate: [f64; 4]) -> Sample {
        Sample {
            at_s,
            bounds_ms: vec![10.0, 100.0],
            baseline: vec![100.0 * at_s, 0.0, 0.0, 0.0],
            candidate: candidate.to_vec(),
        }
    }

    #[test]
    fn a_point_is_what_happened_between_two_looks() {
        let mut series = Series::default();
        series.take(&sample(5.0, [100.0, 1.0, 0.0, 0.0]));
        assert!(series.candidate.is_empty());
        series.take(&sample(10.0, [200.0, 31.0, 100.0, 5.0]));
        let point = series.candidate[0];
        assert_eq!(point.errors, Some(0.3));
        assert!((point.p95_ms.unwrap() - 100.0).abs() < 1e-9);
        series.take(&sample(10.0, [200.0, 31.0, 100.0, 5.0]));
        assert_eq!(series.candidate.len(), 1, "the same look again");
    }

    #[test]
    fn an_instance_started_anew_counts_from_zero() {
        let mut series = Series::default();
        series.take(&sample(5.0, [100.0, 1.0, 0.0, 0.0]));
        series.take(&sample(10.0, [10.0, 1.0, 0.0, 0.0]));
        assert_eq!(series.candidate[0].errors, Some(0.1));
    }

    #[test]
    fn bars_rise_with_the_value() {
        let values = [Some(0.0), Some(0.5), Some(1.0), None, Some(9.0), Some(f64::NAN)];
        assert_eq!(spark(values, 1.0), "▁▅█ █▁");
    }
}
