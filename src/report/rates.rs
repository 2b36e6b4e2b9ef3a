//! What a revision did between two looks, from the cumulative counters of its instances.

use std::collections::BTreeMap;

use crate::analysis::{Counters, quantile_ms};

/// The quantile that is drawn.
const QUANTILE: f64 = 0.95;

/// Between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    pub requests: f64,
    /// 0–1; `None` without requests.
    pub errors: Option<f64>,
    pub p95_ms: Option<f64>,
}

/// The newest counters of one revision's instances.
#[derive(Clone, Debug, Default)]
pub(super) struct Revision {
    newest: BTreeMap<String, Counters>,
    /// An instance seen for the first time has a past that is not this promotion's.
    has_a_past: bool,
}

impl Revision {
    /// One whose counters start at 0.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// One that has served before: what an instance shows first is a reference point only.
    pub(super) fn known() -> Self {
        Self { has_a_past: true, ..Self::default() }
    }

    pub(super) fn take(&mut self, now: &BTreeMap<String, Counters>, bounds_ms: &[f64]) -> Rates {
        let mut grown: Vec<f64> = Vec::new();
        for (instance, counters) in now {
            let before = self.newest.get(instance);
            if before.is_some() || !self.has_a_past {
                add(&mut grown, before, counters);
            }
            self.newest.insert(instance.clone(), counters.clone());
        }
        rates(&grown, bounds_ms)
    }
}

/// Counters that fall belong to an instance that was started anew: they count from 0.
fn add(grown: &mut Vec<f64>, before: Option<&Counters>, now: &Counters) {
    let first = |counters: &Counters| counters.0.first().copied().unwrap_or(0.0);
    let before = before.filter(|before| first(before) <= first(now));
    grown.resize(grown.len().max(now.0.len()), 0.0);
    for (k, (sum, now)) in grown.iter_mut().zip(&now.0).enumerate() {
        let old = before.and_then(|before| before.0.get(k)).copied().unwrap_or(0.0);
        *sum += (now - old).max(0.0);
    }
}

fn rates(grown: &[f64], bounds_ms: &[f64]) -> Rates {
    match grown {
        [requests, errors, slower @ ..] if *requests > 0.0 => Rates {
            requests: *requests,
            errors: Some(errors / requests),
            p95_ms: quantile_ms(QUANTILE, *requests, slower, bounds_ms),
        },
        _ => Rates::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Counters, Rates, Revision};

    fn arm(counters: &[f64]) -> std::collections::BTreeMap<String, Counters> {
        [("a".to_owned(), Counters(counters.to_vec()))].into()
    }

    #[test]
    fn counts_what_has_grown() {
        let mut revision = Revision::new();
        let rates = revision.take(&arm(&[10.0, 1.0, 5.0]), &[100.0]);
        assert_eq!((rates.requests, rates.errors), (10.0, Some(0.1)));
        let rates = revision.take(&arm(&[30.0, 1.0, 5.0]), &[100.0]);
        assert_eq!((rates.requests, rates.errors), (20.0, Some(0.0)));
        assert_eq!(revision.take(&arm(&[30.0, 1.0, 5.0]), &[100.0]), Rates::default());
    }

    #[test]
    fn an_instance_started_anew_counts_from_0() {
        let mut revision = Revision::new();
        revision.take(&arm(&[100.0, 50.0, 0.0]), &[100.0]);
        let rates = revision.take(&arm(&[4.0, 1.0, 0.0]), &[100.0]);
        assert_eq!((rates.requests, rates.errors), (4.0, Some(0.25)));
    }

    #[test]
    fn what_served_before_shows_a_reference_point_first() {
        let mut revision = Revision::known();
        assert_eq!(revision.take(&arm(&[1000.0, 900.0, 0.0]), &[100.0]), Rates::default());
        assert_eq!(revision.take(&arm(&[1010.0, 900.0, 0.0]), &[100.0]).errors, Some(0.0));
    }

    #[test]
    fn nothing_odd_ends_it() {
        let mut revision = Revision::new();
        for counters in [&[][..], &[f64::NAN], &[1.0], &[f64::INFINITY, f64::NAN, 1.0, 2.0, 3.0]] {
            let _ = revision.take(&arm(counters), &[100.0]);
        }
    }
}
