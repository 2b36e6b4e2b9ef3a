//! What is known of a cluster's two revisions: counters, probes and readiness of their pods.
//!
//! A first try needs nothing at all: counters come from the pods' own `/metrics` through the API
//! server's proxy, and so do health checks, from wherever gate runs. Both are asked in background
//! tasks, at most [`ASKED_APART`] each, so a look never waits and a dead pod costs nobody else an
//! answer. With many pods each is asked less often: see [`interval`].
//!
//! | module | idea |
//! |---|---|
//! | [`place`] | which port and path of a pod |
//! | [`routed`] | which series of a metrics server are whose |
//! | `proxied` | one GET through the API server, and whose answer it is |
//! | `rounds` | whose turn it is |
//! | `scraping` | samples that were not looked at yet |
//! | `probing` | the health of each pod |
//! | `vitals` | what Kubernetes says: ready since when, restarts |

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::access::Access;
use super::snapshot::Snapshot;
use super::watching::Watched;
use crate::analysis::{Counters, Look, PerArm, Unknown};
use crate::evidence::Evidence;
use crate::evidence::exposition::{self, ExpositionError, Preset};
use crate::evidence::prometheus::Arms;
use crate::evidence::prometheus::expression::Arm;
use crate::plan::Plan;
use crate::platform::PlatformError;
use crate::policy::HealthCheck;
use crate::rollout::World;
use crate::share::Share;

pub mod place;

pub mod routed;

mod proxied;

mod rounds;

mod scraping;

mod probing;

mod vitals;

use place::Place;
use probing::{Healths, Question, Seen};
use rounds::{Pace, go_round};
use scraping::{NoCounters, Samples};
use vitals::Vitals;

/// Between two scrapes, and between two probes: each two a second in all, so that the API server
/// does not feel it.
pub const ASKED_APART: Duration = Duration::from_millis(500);

/// A sample that is older is no evidence (rules of the judge: stale).
pub const STALE: Duration = Duration::from_secs(60);

/// A pod is expected to report once it has been ready for so many samples (rules of the judge, C11).
const READY_SAMPLES: u32 = 2;

/// Pods of stable that are asked for their bounds before one gives up.
const ASKED_FOR_BOUNDS_MAX: usize = 3;

/// The label by which a Prometheus tells pods apart.
pub const POD_LABEL: &str = "pod";

/// Who counts the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counting {
    /// The pods themselves, in their own metrics.
    OwnMetrics,
    /// A metrics server, which is asked elsewhere.
    Server,
}

impl Counting {
    /// Returns what a plan's source means in a cluster: without a URL it is the pods' own metrics,
    /// because there is no proxy of gate's here.
    #[must_use]
    pub fn of(source: &str) -> Self {
        if source.contains("://") { Self::Server } else { Self::OwnMetrics }
    }
}

/// Returns how often each of so many pods is asked: as often as was wished, or as [`ASKED_APART`] allows.
/// What is said of it belongs in the plan.
#[must_use]
pub fn interval(wished: Duration, pods: usize) -> Duration {
    let pods = u32::try_from(pods).unwrap_or(u32::MAX);
    wished.max(ASKED_APART.saturating_mul(pods))
}

/// Returns which series of a Prometheus are whose, by the names of the pods.
#[must_use]
pub fn arms(seen: &Snapshot) -> Arms {
    let names = |pods: Vec<&Pod>| {
        pods.into_iter().map(|pod| (pod.name_any(), pod.name_any())).collect::<BTreeMap<_, _>>()
    };
    let PerArm { baseline, candidate } = pods(seen);
    Arms::Instances(PerArm { baseline: names(baseline), candidate: names(candidate) })
}

/// Returns the latency bounds that stable's own metrics have, in milliseconds; none: they have no
/// histogram, so limits on response times can't be judged.
///
/// # Errors
/// No pod of stable can be asked, or its metrics can't be read; which, where, and what it answered.
pub async fn own_bounds_ms(access: &Access, seen: &Snapshot) -> Result<Vec<f64>, Unknown> {
    let mut why = Unknown::NoData { arm: "stable: it has no pod that runs".into() };
    let running = seen.stable_pods().filter(|pod| is_running(pod));
    for pod in running.take(ASKED_FOR_BOUNDS_MAX) {
        match bounds_of(access, pod).await {
            Ok(bounds) => return Ok(bounds),
            Err(error) => why = error.into(),
        }
    }
    Err(why)
}

async fn bounds_of(access: &Access, pod: &Pod) -> Result<Vec<f64>, NoCounters> {
    let place = Place::of_metrics(pod)?;
    let text = scraping::text(access, &place).await?;
    let unreadable = |why| NoCounters::Unreadable { place: place.clone(), why };
    exposition::counters(&text, Preset::Plain, &[]).map_err(unreadable)?;
    match exposition::bounds(&text, Preset::Plain) {
        Err(ExpositionError::NoSeries { .. }) => Ok(Vec::new()),
        bounds => bounds.map_err(unreadable),
    }
}

/// The cluster as evidence. Its tasks end with it.
#[derive(Debug)]
pub struct KubeEvidence {
    watched: Watched,
    /// Of scrapes, while there are few pods.
    interval: Duration,
    samples: Option<Samples>,
    healths: Option<Healths>,
    vitals: Vitals,
    _tasks: JoinSet<()>,
}

impl KubeEvidence {
    /// Begins to ask the pods that `watched` knows, as the plan wants it.
    #[must_use]
    pub fn start(access: Access, watched: Watched, plan: &Plan) -> Self {
        let pace = |interval| Pace { apart: ASKED_APART, interval };
        let probes = plan.health_check.as_ref().map_or(plan.judge.interval, |check| check.interval);
        Self::start_paced(access, watched, plan, (pace(plan.judge.interval), pace(probes)))
    }

    fn start_paced(
        access: Access,
        watched: Watched,
        plan: &Plan,
        (scrapes, probes): (Pace, Pace),
    ) -> Self {
        let mut tasks = JoinSet::new();
        let samples = match Counting::of(&plan.judge.source) {
            Counting::Server => None,
            Counting::OwnMetrics => {
                let (samples, bounds_ms) = (Samples::default(), plan.judge.bounds_ms.clone());
                let (access, watched) = (access.clone(), watched.clone());
                tasks.spawn(scrape(access, watched, samples.clone(), scrapes, bounds_ms));
                Some(samples)
            }
        };
        let check = plan.health_check.clone();
        let asked = check.and_then(|check| Some((Question::new(&check)?, check)));
        let healths = asked.map(|(question, check)| {
            let healths = Healths::new(question.clone());
            let watched = watched.clone();
            tasks.spawn(probe(access, watched, healths.clone(), probes, (check, question)));
            healths
        });
        let (interval, vitals) = (scrapes.interval, Vitals::default());
        Self { watched, interval, samples, healths, vitals, _tasks: tasks }
    }

    /// Returns why pods were not healthy at the newest look, or can't be asked, in words for people.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        let probed = self.healths.as_ref().map(Healths::troubles).unwrap_or_default();
        self.vitals.troubles(Instant::now()).chain(probed).collect()
    }

    fn look_at(&mut self, seen: &Snapshot, now: Instant) -> Look {
        let pods = pods(seen);
        let (baseline, candidate) = (names(&pods.baseline), names(&pods.candidate));
        self.vitals.see(pods.baseline.into_iter().chain(pods.candidate), now);
        let (fresh, missing) =
            self.samples.as_ref().map(|samples| samples.drain(now)).unwrap_or_default();
        let of = |arm: &[String]| -> BTreeMap<String, Counters> {
            let own = arm.iter().filter_map(|pod| fresh.get_key_value(pod));
            own.map(|(pod, counters)| (pod.clone(), counters.clone())).collect()
        };
        let asked_every = match self.samples {
            Some(_) => interval(self.interval, baseline.len() + candidate.len()),
            None => self.interval,
        };
        let expected = |arm: &[String]| {
            let ready =
                |pod: &&String| self.vitals.ready_for(pod, asked_every * READY_SAMPLES, now);
            u32::try_from(arm.iter().filter(ready).count()).unwrap_or(u32::MAX)
        };
        let healthy = |pod: &String| {
            self.vitals.is_well(pod, now)
                && self.healths.as_ref().is_none_or(|healths| healths.is_healthy(pod))
        };
        Look {
            expected: PerArm { baseline: expected(&baseline), candidate: expected(&candidate) },
            baseline: of(&baseline),
            candidate: of(&candidate),
            probes: self.healths.as_ref().map(Healths::drain).unwrap_or_default(),
            candidate_healthy: !candidate.is_empty() && candidate.iter().all(healthy),
            missing,
            ..nothing()
        }
    }
}

impl Evidence for KubeEvidence {
    async fn look(&mut self, _world: &World) -> Look {
        match self.watched.snapshot() {
            Ok(seen) => self.look_at(&seen, Instant::now()),
            Err(PlatformError { what }) => {
                Look { missing: Some(Unknown::SourceDown { what }), ..nothing() }
            }
        }
    }
}

fn nothing() -> Look {
    Look {
        at_s: 0.0,
        stage: 0,
        share: Share::ZERO,
        baseline: BTreeMap::new(),
        candidate: BTreeMap::new(),
        expected: PerArm::default(),
        probes: PerArm::default(),
        candidate_healthy: false,
        queries: BTreeMap::new(),
        missing: None,
    }
}

async fn scrape(
    access: Access,
    watched: Watched,
    samples: Samples,
    pace: Pace,
    bounds_ms: Vec<f64>,
) {
    let there = || match watched.snapshot() {
        Ok(seen) => {
            samples.keep(running(&seen, |arm, pod| (arm, pod.name_any(), Place::of_metrics(pod))))
        }
        Err(_) => Vec::new(), // each look says so
    };
    let ask = |asked: &rounds::Asked| {
        let (access, place, bounds_ms) = (access.clone(), asked.place.clone(), bounds_ms.clone());
        async move { scraping::counters(&access, &place, &bounds_ms).await }
    };
    go_round(pace, there, ask, |asked, found| samples.take_in(asked, found, Instant::now())).await;
}

async fn probe(
    access: Access,
    watched: Watched,
    healths: Healths,
    pace: Pace,
    (check, question): (HealthCheck, Question),
) {
    let there = || match watched.snapshot() {
        Ok(seen) => healths.keep(running(&seen, |arm, pod| {
            let place = Place::of_health(pod, &check);
            Seen { arm, pod: pod.name_any(), ready: vitals::is_ready(pod), place }
        })),
        Err(_) => Vec::new(),
    };
    let ask = |asked: &rounds::Asked| {
        let (access, place, question) = (access.clone(), asked.place.clone(), question.clone());
        async move { question.ask(&access, &place).await }
    };
    go_round(pace, there, ask, |asked, told| healths.take_in(asked, told)).await;
}

/// Returns the pods of both revisions that are not ending.
fn pods(seen: &Snapshot) -> PerArm<Vec<&Pod>> {
    PerArm { baseline: seen.stable_pods().collect(), candidate: seen.candidate_pods().collect() }
}

fn names(pods: &[&Pod]) -> Vec<String> {
    pods.iter().map(|pod| pod.name_any()).collect()
}

fn running<T>(seen: &Snapshot, shown: impl Fn(Arm, &Pod) -> T) -> Vec<T> {
    let PerArm { baseline, candidate } = pods(seen);
    let baseline = baseline.into_iter().map(|pod| (Arm::Baseline, pod));
    let all = baseline.chain(candidate.into_iter().map(|pod| (Arm::Candidate, pod)));
    all.filter(|(_, pod)| is_running(pod)).map(|(arm, pod)| shown(arm, pod)).collect()
}

/// A pod without an address can't be asked, and is not silent either.
fn is_running(pod: &Pod) -> bool {
    pod.status
        .as_ref()
        .is_some_and(|status| status.phase.as_deref() == Some("Running") && status.pod_ip.is_some())
}

#[cfg(test)]
mod tests;
