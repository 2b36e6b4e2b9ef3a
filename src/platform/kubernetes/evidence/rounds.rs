//! Whose turn it is: pods are asked one after the other, at a bounded rate whatever their number.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::place::Place;
use crate::evidence::prometheus::expression::Arm;

/// A pod that may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) arm: Arm,
    pub(super) place: Place,
}

/// How fast a round goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// Between two questions.
    pub(super) apart: Duration,
    /// Between two questions to one pod, at least.
    pub(super) interval: Duration,
}

/// Who was asked when, and who has not answered yet.
#[derive(Debug, Default)]
struct Turns {
    asked: BTreeMap<String, Instant>,
    busy: BTreeSet<String>,
}

impl Turns {
    /// Returns the pod that has waited the longest, if its interval is over.
    fn next(&mut self, pods: &[Asked], pace: Pace, now: Instant) -> Option<Asked> {
        let there: BTreeSet<&str> = pods.iter().map(|asked| asked.place.pod.as_str()).collect();
        self.asked.retain(|pod, _| there.contains(pod.as_str()));
        // Half a step early is on time: a timer's jitter must not cost a whole one.
        let is_due = |at: &Instant| now - *at + pace.apart / 2 >= pace.interval;
        let free = pods.iter().filter(|asked| {
            !self.busy.contains(&asked.place.pod)
                && self.asked.get(&asked.place.pod).is_none_or(is_due)
        });
        let next = free.min_by_key(|asked| self.asked.get(&asked.place.pod)).cloned()?;
        self.asked.insert(next.place.pod.clone(), now);
        self.busy.insert(next.place.pod.clone());
        Some(next)
    }
}

/// Asks for ever. Dropping it ends the questions that are under way; each ends by itself in time, so
/// there are never many.
pub(super) async fn go_round<T, F>(
    pace: Pace,
    mut pods: impl FnMut() -> Vec<Asked>,
    ask: impl Fn(&Asked) -> F,
    mut take: impl FnMut(&Asked, T),
) where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let mut ticks = tokio::time::interval(pace.apart);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut turns, mut asking) = (Turns::default(), JoinSet::new());
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                if let Some(asked) = turns.next(&pods(), pace, Instant::now()) {
                    let answer = ask(&asked);
                    asking.spawn(async move { (asked, answer.await) });
                }
            }
            Some(answered) = asking.join_next() => {
                // A question that panicked has no name: its pod is left alone rather than asked twice.
                if let Ok((asked, answer)) = answered {
                    turns.busy.remove(&asked.place.pod);
                    take(&asked, answer);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn pods(count: usize) -> Vec<Asked> {
        let place = |n| Place { pod: format!("web-{n}"), port: 1, path: "/".into(), tls: false };
        (0..count).map(|n| Asked { arm: Arm::Baseline, place: place(n) }).collect()
    }

    const PACE: Pace = Pace { apart: Duration::from_millis(500), interval: Duration::from_secs(5) };

    /// Returns the moments in milliseconds at which each pod was asked within the first `seconds`.
    async fn asked(count: usize, seconds: u64, takes: Duration) -> BTreeMap<String, Vec<u64>> {
        let (begin, seen) = (Instant::now(), Arc::new(Mutex::new(BTreeMap::new())));
        let ask = |asked: &Asked| {
            let at = begin.elapsed().as_millis() as u64;
            let mut seen = seen.lock().unwrap();
            seen.entry(asked.place.pod.clone()).or_insert_with(Vec::new).push(at);
            tokio::time::sleep(takes)
        };
        let round = go_round(PACE, || pods(count), ask, |_, ()| {});
        let _ = tokio::time::timeout(Duration::from_millis(seconds * 1000 - 1), round).await;
        seen.lock().unwrap().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn few_pods_are_asked_at_the_interval() {
        let seen = asked(2, 15, Duration::ZERO).await;
        assert_eq!(seen["web-0"], [0, 5000, 10_000]);
        assert_eq!(seen["web-1"], [500, 5500, 10_500]);
    }

    #[tokio::test(start_paused = true)]
    async fn many_pods_stretch_the_interval_and_nobody_is_left_out() {
        let seen = asked(40, 60, Duration::ZERO).await;
        assert_eq!(seen.values().map(Vec::len).sum::<usize>(), 120);
        assert!(seen.values().all(|at| at.len() == 3 && at[1] - at[0] == 20_000), "{seen:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_pod_is_not_asked_twice_and_holds_nobody_up() {
        let seen = asked(2, 20, Duration::from_millis(7200)).await;
        assert_eq!(seen["web-0"], [0, 7500, 15_000]);
        assert_eq!(seen["web-1"], [500, 8000, 15_500]);
    }

    #[test]
    fn a_new_pod_comes_first_and_one_that_went_is_forgotten() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        let first = turns.next(&pods(1), PACE, now).unwrap();
        turns.busy.clear();
        let later = now + PACE.interval * 3;
        assert_eq!(turns.next(&pods(2), PACE, later).unwrap().place.pod, "web-1");
        assert_eq!(turns.next(&pods(2), PACE, later).unwrap(), first);
        assert_eq!(turns.next(&[], PACE, later), None);
        assert!(turns.asked.is_empty());
    }
}
