//! One simulated promotion whose stages are the policy's own: the engine drives it through a world
//! in virtual time, in which time passes while the engine waits.
//!
//! The world is as ready as can be (a candidate is there at once, a share is seen at once, an
//! adoption takes no time) and approvals are given at once, so that what is left is the judge, the
//! traffic and the holds. There is no history before the promotion, as live without one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::runtime::Runtime;

use super::dice::Dice;
use super::replicate::probes;
use super::scenario::Scenario;
use super::traffic::{Pod, Traffic};
use super::{Outcome, Promoted, Question};
use crate::analysis::evidence::Refused;
use crate::analysis::{Counters, Look, PerArm, VerdictWord};
use crate::clock::Clock;
use crate::engine::{Promotion, Seams};
use crate::evidence::Evidence;
use crate::history::{History, HistoryError, Record, Urgency};
use crate::plan::{Defaults, Plan, Release};
use crate::platform::{Platform, PlatformError};
use crate::rollout::{Ask, Asks, Effect, ResultWord, TestersAre, Workload, World};
use crate::share::Share;

const EPOCH: DateTime<Utc> = DateTime::UNIX_EPOCH;
const STABLE: &str = "stable";
const RELEASE: &str = "release";
/// Candidate pods that a share can ask for.
const PODS_MAX: usize = 10;
/// Good probes in a row of every pod, after which an instance counts as healthy.
const HEALTHY_PROBES: u64 = 3;

/// The plan of a simulated promotion.
pub(super) fn plan(question: &Question<'_>) -> Plan {
    let release =
        |name: &str| Release { name: name.to_owned(), hash: name.to_owned(), irreversible: false };
    let interval = Duration::from_secs(u64::from(question.scenario.scrape));
    let window = if question.scenario.scrape < 15 { 15 } else { 60 };
    let defaults = Defaults { interval, window: Duration::from_secs(window) };
    let (stable, release) = (release(STABLE), release(RELEASE));
    let mut plan = Plan::new(question.policy, "", "simulated", stable, release, defaults);
    plan.judge.kind = question.judge;
    // Looks come as often as samples do.
    plan.judge.interval = interval;
    plan.freeze.clear();
    plan
}

/// # Errors
/// Conditions that can't be judged.
pub(super) fn run(
    question: &Question<'_>,
    plan: &Plan,
    runtime: &Runtime,
    dice: Dice,
) -> Result<Outcome, Refused> {
    let bounds = plan.judge.bounds_ms.clone();
    let traffic = Traffic::new(question.scenario, &bounds, PODS_MAX, 0, dice);
    let world = Simulated::new(question.scenario, traffic);
    let mut promotion = Promotion::new("simulated".to_owned(), plan.clone(), EPOCH)?;
    let mut seams = Seams {
        platform: world.clone(),
        evidence: world.clone(),
        clock: world.clone(),
        history: Nothing { asks: approve_all(plan) },
    };
    let mut passed_s = None;
    let outcome = runtime.block_on(promotion.run(&mut seams, |turn| {
        if let Some((look, judgement)) = turn.look
            && judgement.verdict.word() == VerdictWord::Pass
        {
            passed_s.get_or_insert(look.at_s);
        }
    }));
    let breached_s = match (outcome.result, &promotion.state.back) {
        (ResultWord::RolledBack, Some(back)) => Some(seconds(back.decided - EPOCH)),
        _ => None,
    };
    let promoted = outcome.result == ResultWord::Promoted;
    Ok(Outcome {
        breached_s,
        passed_s,
        bad_requests: world.lock().traffic.excess,
        promoted: Some(Promoted { yes: promoted, duration_s: outcome.duration_s }),
    })
}

fn seconds(length: TimeDelta) -> f64 {
    length.num_milliseconds() as f64 / 1000.0
}

fn approve_all(plan: &Plan) -> Asks {
    let approval = || Ask { at: EPOCH, by: "the simulation".to_owned(), reason: None };
    let approved = (0..plan.stages.len()).map(|stage| (stage, approval())).collect();
    Asks { approved, ..Asks::default() }
}

/// A history that remembers nothing: what matters of a replicate is its outcome.
struct Nothing {
    asks: Asks,
}

impl History for Nothing {
    async fn record(
        &mut self,
        _at: DateTime<Utc>,
        _record: Record,
        _urgency: Urgency,
    ) -> Result<(), HistoryError> {
        Ok(())
    }

    async fn asks(&mut self) -> Asks {
        self.asks.clone()
    }

    async fn asked(&mut self) {
        std::future::pending::<()>().await;
    }
}

/// A handle on the one world; clones share it.
#[derive(Clone)]
struct Simulated<'a> {
    inner: Arc<Mutex<Inner<'a>>>,
}

struct Inner<'a> {
    scenario: &'a Scenario,
    traffic: Traffic<'a>,
    now: DateTime<Utc>,
    /// Whole seconds that have passed.
    passed_s: i64,
    share: Share,
    /// The share that the candidate's pods are meant for; `None`: there are none.
    sized_for: Option<Share>,
    stable: &'static str,
    good_probes: u64,
}

impl<'a> Simulated<'a> {
    fn new(scenario: &'a Scenario, traffic: Traffic<'a>) -> Self {
        let inner = Inner {
            scenario,
            traffic,
            now: EPOCH,
            passed_s: 0,
            share: Share::ZERO,
            sized_for: None,
            stable: STABLE,
            good_probes: 0,
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<'a>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner<'_> {
    fn pass(&mut self, length: Duration) {
        self.now += TimeDelta::from_std(length).unwrap_or_default();
        let end = (self.now - EPOCH).num_seconds();
        for _ in self.passed_s..end {
            self.traffic.pass(self.share.fraction());
        }
        self.passed_s = end;
    }

    fn candidates(&self) -> usize {
        self.sized_for.map_or(0, |share| self.scenario.candidate_pods(share.fraction()))
    }

    fn look(&mut self) -> Look {
        let active = self.candidates();
        let PerArm { baseline, candidate } = &mut self.traffic.pods;
        let candidate = &mut candidate[..active];
        let expected =
            PerArm { baseline: baseline.len() as u32, candidate: candidate.len() as u32 };
        let probes = PerArm { baseline: probes(baseline), candidate: probes(candidate) };
        self.good_probes = self.good_probes.saturating_add(probes.candidate.sent);
        if probes.candidate.failed > 0 {
            self.good_probes = 0;
        }
        Look {
            at_s: 0.0,
            stage: 0,
            share: self.share,
            baseline: samples(baseline),
            candidate: samples(candidate),
            expected,
            probes,
            candidate_healthy: self.good_probes >= HEALTHY_PROBES * active as u64,
            queries: std::collections::BTreeMap::new(),
            missing: None,
        }
    }
}

fn samples(pods: &mut [Pod]) -> std::collections::BTreeMap<String, Counters> {
    let fresh = pods.iter_mut().filter_map(|pod| {
        let fresh = std::mem::take(&mut pod.fresh);
        fresh.then(|| (pod.name.clone(), Counters(pod.counters.clone())))
    });
    fresh.collect()
}

impl Platform for Simulated<'_> {
    async fn observe(&mut self) -> Result<World, PlatformError> {
        let inner = self.lock();
        let workload = |revision: &str, pods: u32, sized_for: Share| Workload {
            revision: revision.to_owned(),
            ready: pods,
            wanted: pods,
            sized_for,
            trouble: None,
        };
        let candidates = inner.candidates() as u32;
        Ok(World {
            share: Some(inner.share),
            testers: TestersAre::Out,
            stable: workload(inner.stable, inner.scenario.n_base, Share::FULL),
            candidate: inner.sized_for.map(|share| workload(RELEASE, candidates, share)),
            retiring: false,
            last_assigned: None,
            connections: Some(0),
        })
    }

    async fn act(&mut self, effect: &Effect) -> Result<(), PlatformError> {
        let mut inner = self.lock();
        match effect {
            Effect::EnsureCandidate { share } => inner.sized_for = Some(*share),
            Effect::SetShare { share } => inner.share = *share,
            Effect::RemoveCandidate => inner.sized_for = None,
            Effect::Adopt => inner.stable = RELEASE,
            Effect::RestoreStable => inner.stable = STABLE,
        }
        Ok(())
    }
}

impl Evidence for Simulated<'_> {
    async fn look(&mut self, _world: &World) -> Look {
        self.lock().look()
    }
}

impl Clock for Simulated<'_> {
    fn now(&self) -> DateTime<Utc> {
        self.lock().now
    }

    async fn sleep(&self, length: Duration) {
        self.lock().pass(length);
    }
}
