//! A world in memory, in virtual time: for simulations, benchmarks and tests.
//!
//! It is a platform, its evidence and its clock in one: time passes when the engine waits, and
//! while it passes both revisions serve requests at the rates that the [`Script`] gives them. The
//! counts are exact (no noise): what a judge does with chance is the simulator's question.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Platform, PlatformError};
use crate::analysis::{Counters, Look, PerArm, ProbeCount};
use crate::clock::Clock;
use crate::evidence::Evidence;
use crate::rollout::{Effect, TestersAre, Trouble, Workload, World};
use crate::share::Share;

/// What the simulated revisions do.
#[derive(Clone, Debug)]
pub struct Script {
    pub stable: String,
    pub release: String,
    pub requests_per_s: f64,
    pub bounds_ms: Vec<f64>,
    pub stable_does: Behaviour,
    pub candidate_does: Behaviour,
    /// From the request for a candidate until it is ready; for ever: it never is.
    pub ready_after: Option<Duration>,
    /// From the start of an adoption until stable runs the release.
    pub adopted_after: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Behaviour {
    /// 0–1
    pub error_rate: f64,
    /// Every request takes so long.
    pub latency_ms: f64,
    pub healthy: bool,
}

impl Behaviour {
    pub const GOOD: Self = Self { error_rate: 0.001, latency_ms: 20.0, healthy: true };
}

/// A handle on the one world; clones share it.
#[derive(Clone, Debug)]
pub struct Simulated {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    script: Script,
    now: DateTime<Utc>,
    share: Share,
    stable_revision: String,
    candidate_since: Option<DateTime<Utc>>,
    adopting_since: Option<DateTime<Utc>>,
    baseline: Counters,
    candidate: Counters,
    probes: PerArm<ProbeCount>,
    last_assigned: Option<DateTime<Utc>>,
}

/// The simulated world begins here.
pub const EPOCH: DateTime<Utc> = DateTime::UNIX_EPOCH;

impl Simulated {
    #[must_use]
    pub fn new(script: Script) -> Self {
        let counters = Counters(vec![0.0; 2 + script.bounds_ms.len()]);
        let stable_revision = script.stable.clone();
        let inner = Inner {
            script,
            now: EPOCH,
            share: Share::ZERO,
            stable_revision,
            candidate_since: None,
            adopting_since: None,
            baseline: counters.clone(),
            candidate: counters,
            probes: PerArm::default(),
            last_assigned: None,
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Changes how the candidate behaves from now on.
    pub fn candidate_does(&self, behaviour: Behaviour) {
        self.lock().script.candidate_does = behaviour;
    }

    /// Moves the share as somebody else would.
    pub fn somebody_moves_share(&self, share: Share) {
        self.lock().share = share;
    }

    #[must_use]
    pub fn share(&self) -> Share {
        self.lock().share
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn pass(&mut self, length: Duration) {
        let seconds = length.as_secs_f64();
        self.now += TimeDelta::from_std(length).unwrap_or_default();
        let requests = self.script.requests_per_s * seconds;
        let to_candidate = requests * self.share.fraction();
        if to_candidate > 0.0 {
            self.last_assigned = Some(self.now);
        }
        let bounds = &self.script.bounds_ms;
        serve(&mut self.candidate, to_candidate, self.script.candidate_does, bounds);
        serve(&mut self.baseline, requests - to_candidate, self.script.stable_does, bounds);
        let seconds = seconds.round() as u64;
        probe(&mut self.probes.baseline, seconds, self.script.stable_does);
        if self.candidate_is_ready() {
            probe(&mut self.probes.candidate, seconds, self.script.candidate_does);
        }
    }

    fn candidate_is_ready(&self) -> bool {
        let passed =
            self.candidate_since.map(|since| (self.now - since).to_std().unwrap_or_default());
        passed.zip(self.script.ready_after).is_some_and(|(passed, needed)| passed >= needed)
    }

    fn workload(&self, revision: &str, ready: bool) -> Workload {
        let trouble = Trouble { what: "it is not ready".into(), its_own: true, gave_up: false };
        Workload {
            revision: revision.to_owned(),
            ready: u32::from(ready),
            wanted: 1,
            sized_for: Share::FULL,
            trouble: (!ready).then_some(trouble),
        }
    }

    fn adopt_when_due(&mut self) {
        let Some(since) = self.adopting_since else { return };
        if (self.now - since).to_std().unwrap_or_default() >= self.script.adopted_after {
            self.stable_revision.clone_from(&self.script.release);
        }
    }
}

fn serve(counters: &mut Counters, requests: f64, does: Behaviour, bounds: &[f64]) {
    counters.0[0] += requests;
    counters.0[1] += requests * does.error_rate;
    for (slower, bound) in counters.0[2..].iter_mut().zip(bounds) {
        if does.latency_ms > *bound {
            *slower += requests;
        }
    }
}

const fn probe(count: &mut ProbeCount, sent: u64, does: Behaviour) {
    count.sent += sent;
    count.failed += if does.healthy { 0 } else { sent };
}

impl Platform for Simulated {
    async fn observe(&mut self) -> Result<World, PlatformError> {
        let mut inner = self.lock();
        inner.adopt_when_due();
        let stable = inner.workload(&inner.stable_revision, true);
        let candidate = inner
            .candidate_since
            .map(|_| inner.workload(&inner.script.release, inner.candidate_is_ready()));
        Ok(World {
            share: Some(inner.share),
            testers: TestersAre::Out,
            stable,
            candidate,
            retiring: false,
            last_assigned: inner.last_assigned,
            connections: Some(0),
        })
    }

    async fn act(&mut self, effect: &Effect) -> Result<(), PlatformError> {
        let mut inner = self.lock();
        let now = inner.now;
        match effect {
            Effect::EnsureCandidate { .. } => {
                inner.candidate_since.get_or_insert(now);
            }
            Effect::SetShare { share } => inner.share = *share,
            Effect::RemoveCandidate => inner.candidate_since = None,
            Effect::Adopt => {
                inner.adopting_since.get_or_insert(now);
            }
            Effect::RestoreStable => {
                inner.adopting_since = None;
                inner.stable_revision = inner.script.stable.clone();
            }
        }
        Ok(())
    }
}

impl Evidence for Simulated {
    async fn look(&mut self, world: &World) -> Look {
        let mut inner = self.lock();
        let probes = std::mem::take(&mut inner.probes);
        let healthy = inner.script.candidate_does.healthy && inner.candidate_is_ready();
        let one =
            |name: &str, counters: &Counters| BTreeMap::from([(name.to_owned(), counters.clone())]);
        Look {
            at_s: 0.0,
            stage: 0,
            share: world.share.unwrap_or_default(),
            baseline: one("stable-0", &inner.baseline),
            candidate: one("candidate-0", &inner.candidate),
            expected: PerArm { baseline: 1, candidate: 1 },
            probes,
            candidate_healthy: healthy,
            queries: BTreeMap::new(),
            missing: None,
        }
    }
}

impl Clock for Simulated {
    fn now(&self) -> DateTime<Utc> {
        self.lock().now
    }

    async fn sleep(&self, length: Duration) {
        self.lock().pass(length);
    }
}
