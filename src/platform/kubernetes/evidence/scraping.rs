//! The pods' own counters, read in the background.
//!
//! The counters are cumulative, so a scrape that fails loses nothing, and a sample counts once: two
//! looks at the same one would see a pod without traffic.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::STALE;
use super::place::{NoPlace, Place};
use super::proxied::{self, Silence};
use super::rounds::Asked;
use crate::analysis::{Counters, Unknown};
use crate::evidence::exposition::{self, ExpositionError, Preset, TEXT_BYTES_MAX};
use crate::evidence::prometheus::expression::Arm;
use crate::evidence::scrape::{ACCEPTED, ScrapeError, text_of};
use crate::platform::kubernetes::access::Access;

/// A scrape may take so long. At two a second it also bounds how many there are at once.
pub(super) const SCRAPE_LIMIT: Duration = Duration::from_secs(5);

/// Why a pod gave no counters.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoCounters {
    #[error(transparent)]
    Place(#[from] NoPlace),
    #[error("{place}: {why}")]
    Silent { place: Place, why: Silence },
    #[error("{place}: {why}")]
    NotMetrics { place: Place, why: ScrapeError },
    #[error("{place}: {why}")]
    Unreadable { place: Place, why: ExpositionError },
}

impl From<NoCounters> for Unknown {
    fn from(error: NoCounters) -> Self {
        Self::SourceDown { what: error.to_string() }
    }
}

/// Returns a pod's metrics.
pub(super) async fn text(access: &Access, place: &Place) -> Result<String, NoCounters> {
    let not_metrics = |why| NoCounters::NotMetrics { place: place.clone(), why };
    let answer = proxied::get(access, place, (SCRAPE_LIMIT, TEXT_BYTES_MAX), ACCEPTED)
        .await
        .map_err(|why| NoCounters::Silent { place: place.clone(), why })?;
    if answer.cut {
        return Err(not_metrics(ScrapeError::TooLarge));
    }
    text_of(answer.status, &answer.headers, answer.body).map_err(not_metrics)
}

/// Returns a pod's counters.
pub(super) async fn counters(
    access: &Access,
    place: &Place,
    bounds_ms: &[f64],
) -> Result<Counters, NoCounters> {
    let text = text(access, place).await?;
    exposition::counters(&text, Preset::Plain, bounds_ms)
        .map_err(|why| NoCounters::Unreadable { place: place.clone(), why })
}

/// What was read and not looked at yet. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples {
    pods: Arc<Mutex<BTreeMap<String, Sampled>>>,
}

/// Of one pod.
#[derive(Debug)]
struct Sampled {
    arm: Arm,
    fresh: Option<(Instant, Counters)>,
    last: Option<Instant>,
    /// Why the newest scrape gave nothing.
    failure: Option<Unknown>,
}

impl Samples {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Sampled>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets pods that are not there any more, and returns those that can be asked.
    pub(super) fn keep(&self, there: Vec<(Arm, String, Result<Place, NoPlace>)>) -> Vec<Asked> {
        let mut pods = self.lock();
        pods.retain(|name, _| there.iter().any(|(_, pod, _)| pod == name));
        let mut asked = Vec::new();
        for (arm, pod, place) in there {
            match place {
                Ok(place) => asked.push(Asked { arm, place }),
                Err(why) => {
                    sampled(&mut pods, arm, &pod).failure = Some(NoCounters::from(why).into())
                }
            }
        }
        asked
    }

    pub(super) fn take_in(&self, asked: &Asked, found: Result<Counters, NoCounters>, now: Instant) {
        let mut pods = self.lock();
        let sampled = sampled(&mut pods, asked.arm, &asked.place.pod);
        match found {
            Ok(counters) => {
                sampled.fresh = Some((now, counters));
                sampled.last = Some(now);
                sampled.failure = None;
            }
            Err(why) => sampled.failure = Some(why.into()),
        }
    }

    /// Returns the newest counters of each pod that were not returned before, and why there are none.
    ///
    /// A failure is a reason if it leaves the look without any counters, or an arm in the dark: none
    /// of its pods has given any for [`STALE`]. One silent pod of several is the judge's to notice.
    pub(super) fn drain(&self, now: Instant) -> (BTreeMap<String, Counters>, Option<Unknown>) {
        let mut pods = self.lock();
        let is_new = |at: Instant| now.saturating_duration_since(at) < STALE;
        let mut fresh = BTreeMap::new();
        for (name, sampled) in pods.iter_mut() {
            if let Some((_, counters)) = sampled.fresh.take().filter(|(at, _)| is_new(*at)) {
                fresh.insert(name.clone(), counters);
            }
        }
        let in_the_dark = |arm: Arm| {
            let mut own = pods.values().filter(|sampled| sampled.arm == arm);
            !own.any(|sampled| sampled.last.is_some_and(is_new))
        };
        let failures = |sampled: &&Sampled| fresh.is_empty() || in_the_dark(sampled.arm);
        let why = pods.values().filter(failures).find_map(|sampled| sampled.failure.clone());
        (fresh, why)
    }
}

fn sampled<'a>(pods: &'a mut BTreeMap<String, Sampled>, arm: Arm, pod: &str) -> &'a mut Sampled {
    pods.entry(pod.to_owned()).or_insert(Sampled { arm, fresh: None, last: None, failure: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(arm: Arm, pod: &str) -> Asked {
        let place = Place { pod: pod.into(), port: 80, path: "/metrics".into(), tls: false };
        Asked { arm, place }
    }

    fn found(requests: f64) -> Result<Counters, NoCounters> {
        Ok(Counters(vec![requests, 0.0]))
    }

    fn failed(of: &Asked) -> Result<Counters, NoCounters> {
        let why = ScrapeError::Status(http::StatusCode::NOT_FOUND);
        Err(NoCounters::NotMetrics { place: of.place.clone(), why })
    }

    #[track_caller]
    fn check(samples: &Samples, now: Instant, names: &[&str], reason: Option<&str>) {
        let (fresh, why) = samples.drain(now);
        assert_eq!(fresh.into_keys().collect::<Vec<_>>(), names);
        let why = why.map(|why| why.to_string());
        let words = |pod| {
            format!(
                "the source can't be read: pod {pod}, port 80, path /metrics: status 404 Not Found"
            )
        };
        assert_eq!(why, reason.map(words));
    }

    #[test]
    fn a_sample_counts_once_and_not_when_it_is_old() {
        let (samples, now) = (Samples::default(), Instant::now());
        let (old, new) = (asked(Arm::Baseline, "old"), asked(Arm::Candidate, "new"));
        samples.take_in(&old, found(1.0), now);
        samples.take_in(&new, found(2.0), now);
        samples.take_in(&new, found(3.0), now);
        let (fresh, _) = samples.drain(now);
        assert_eq!(fresh["new"], Counters(vec![3.0, 0.0]));
        check(&samples, now, &[], None);
        samples.take_in(&old, found(4.0), now);
        check(&samples, now + STALE, &[], None);
    }

    #[test]
    fn a_failure_is_told_when_it_leaves_nothing() {
        let (samples, now) = (Samples::default(), Instant::now());
        let (a, b) = (asked(Arm::Candidate, "a"), asked(Arm::Candidate, "b"));
        let stable = asked(Arm::Baseline, "stable");
        samples.take_in(&stable, found(1.0), now);
        samples.take_in(&a, failed(&a), now);
        check(&samples, now, &["stable"], Some("a")); // the candidate has never answered
        samples.take_in(&stable, found(2.0), now);
        samples.take_in(&b, found(1.0), now);
        check(&samples, now, &["b", "stable"], None); // half of it has
        check(&samples, now, &[], Some("a")); // nothing is new, and something is wrong
        samples.take_in(&stable, found(3.0), now + STALE);
        samples.take_in(&b, failed(&b), now + STALE);
        check(&samples, now + STALE, &["stable"], Some("a"));
        samples.take_in(&a, found(1.0), now + STALE);
        check(&samples, now + STALE, &["a"], None);
    }

    #[test]
    fn pods_that_went_are_forgotten_and_those_without_a_port_are_named() {
        let (samples, now) = (Samples::default(), Instant::now());
        let a = asked(Arm::Candidate, "a");
        samples.take_in(&a, found(1.0), now);
        let nowhere = Err(NoPlace::NoPort { pod: "b".into() });
        let there = vec![(Arm::Candidate, "b".to_owned(), nowhere)];
        assert_eq!(samples.keep(there), []);
        let (fresh, why) = samples.drain(now);
        assert!(fresh.is_empty());
        assert!(why.unwrap().to_string().contains("pod b has no container port"));
    }
}
