//! What the proxy has counted of stable in the last hours: the baseline's history, kept in memory.
//!
//! A promotion teaches it to its judge before the first look, as a metrics server's history is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::Instant;

use super::Local;
use crate::analysis::{Counters, Look};

/// Between two entries: the judge's block.
const STEP: Duration = Duration::from_secs(15);

/// How far back it reaches: two hours of entries, of about 200 bytes each.
const ENTRIES_MAX: usize = 2 * 3600 / 15;

/// Stable's counters at rising moments, all with the same bounds.
#[derive(Debug, Default)]
pub(super) struct Past {
    bounds: Vec<Duration>,
    entries: VecDeque<(Instant, BTreeMap<String, Counters>)>,
}

impl Past {
    fn note(&mut self, now: Instant, bounds: Vec<Duration>, counters: BTreeMap<String, Counters>) {
        if self.bounds != bounds {
            self.entries.clear(); // counters of other bounds can't be compared
            self.bounds = bounds;
        }
        while self.entries.len() >= ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back((now, counters));
    }

    fn looks(&self, now: Instant) -> Vec<Look> {
        let look = |(at, counters): &(Instant, BTreeMap<String, Counters>)| {
            let mut look = Look::of_the_past(-(now - *at).as_secs_f64());
            look.expected.baseline = 1;
            look.baseline.clone_from(counters);
            look
        };
        self.entries.iter().map(look).collect()
    }
}

impl Local {
    /// Notes what stable's counters are, for ever.
    pub(super) async fn remember(self) {
        let mut ticks = tokio::time::interval(STEP);
        loop {
            ticks.tick().await;
            self.note_past();
        }
    }

    fn note_past(&self) {
        let stable = self.roster().stable.instance().to_owned();
        let (bounds, counters) = (self.proxy().bounds(), self.proxy().counters());
        let counters = counters.into_iter().filter(|(name, _)| *name == stable).collect();
        let mut past = self.inner.past.lock().unwrap_or_else(PoisonError::into_inner);
        past.note(Instant::now(), bounds, counters);
    }

    /// Returns stable's history as the proxy counted it, up to now.
    pub(super) fn history(&self) -> Vec<Look> {
        self.note_past();
        self.inner.past.lock().unwrap_or_else(PoisonError::into_inner).looks(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(requests: f64) -> BTreeMap<String, Counters> {
        BTreeMap::from([("v1".to_owned(), Counters(vec![requests, 0.0]))])
    }

    #[test]
    fn the_oldest_goes_first() {
        let (start, mut past) = (Instant::now(), Past::default());
        for n in 0..ENTRIES_MAX + 7 {
            past.note(start + STEP * n as u32, vec![STEP], counters(n as f64));
        }
        let end = start + STEP * (ENTRIES_MAX as u32 + 7);
        let looks = past.looks(end);
        assert_eq!(looks.len(), ENTRIES_MAX);
        let last = looks.last().unwrap();
        assert_eq!((last.at_s, last.expected.baseline), (-15.0, 1));
        assert_eq!(last.baseline, counters(ENTRIES_MAX as f64 + 6.0));
        assert_eq!(looks[0].at_s, -7200.0);
        assert_eq!(looks[0].baseline, counters(7.0));
    }

    #[test]
    fn other_bounds_begin_anew() {
        let (now, mut past) = (Instant::now(), Past::default());
        past.note(now, vec![STEP], counters(1.0));
        past.note(now + STEP, vec![STEP * 2], counters(2.0));
        assert_eq!(past.looks(now + STEP).len(), 1);
    }
}
