//! One promotion's view of what runs here: its platform, and its evidence.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::app::ReleaseSpec;
use super::proxy::Grace;
use super::revision::{Revision, Status};
use super::{Local, SCRAPE_MAX};
use crate::analysis::{Counters, Look, PerArm, ProbeCount, Unknown};
use crate::evidence::Evidence;
use crate::evidence::exposition::{self, Preset};
use crate::evidence::scrape::scrape;
use crate::plan::{Plan, Release};
use crate::platform::{Platform, PlatformError};
use crate::policy::METRICS;
use crate::rollout::{Effect, TestersAre, Trouble, Workload, World};
use crate::share::Share;

/// Probes without which nothing passes, or the probe's threshold if that is more (rules of the judge, C6).
const PROBES_MIN: u64 = 4;

/// Who counts the requests.
#[derive(Clone, Debug)]
enum Counting {
    /// The proxy, all of them.
    Proxy,
    /// Each instance, in its own `/metrics`; the bounds are those of its histogram.
    OwnMetrics { bounds_ms: Vec<f64> },
    /// A metrics server, which is asked elsewhere.
    Server,
}

/// A platform on which one release is the candidate. Clones look at the same.
#[derive(Clone, Debug)]
pub struct Target {
    local: Local,
    release: Release,
    spec: ReleaseSpec,
    /// What stable runs until the release is adopted.
    stable: Release,
    /// How long the old stable may finish what it has begun, after a promotion.
    drain: Duration,
    /// The same of the candidate, after a rollback.
    rollback_drain: Duration,
    counting: Counting,
    /// Probe counts at the look before.
    probed: BTreeMap<String, ProbeCount>,
}

impl Target {
    pub(super) fn new(local: Local, plan: &Plan, spec: ReleaseSpec) -> Self {
        let counting = match plan.judge.source.as_str() {
            METRICS => Counting::OwnMetrics { bounds_ms: plan.judge.bounds_ms.clone() },
            _ if plan.judge.server().is_some() => Counting::Server,
            _ => Counting::Proxy,
        };
        Self {
            local,
            release: plan.release.clone(),
            spec,
            stable: plan.stable.clone(),
            drain: plan.drain,
            rollback_drain: plan.rollback_drain,
            counting,
            probed: BTreeMap::new(),
        }
    }

    fn ensure_candidate(&self) -> Result<(), PlatformError> {
        let (present, adopted) = {
            let roster = self.local.roster();
            let present = roster.candidate.as_ref().map(|c| c.hash() == self.release.hash);
            (present, roster.stable.hash() == self.release.hash)
        };
        match present {
            None if !adopted => self.local.start_candidate(&self.release, &self.spec),
            // What is left of another promotion goes first.
            Some(false) => self.remove_candidate()?,
            Some(true) | None => {}
        }
        Ok(())
    }

    /// Returns every instance's counters, and why there are none where a source could not be read.
    async fn count(&self) -> (BTreeMap<String, Counters>, Option<Unknown>) {
        let bounds_ms = match &self.counting {
            Counting::Proxy => return (self.local.proxy().counters(), None),
            Counting::Server => return (BTreeMap::new(), None),
            Counting::OwnMetrics { bounds_ms } => bounds_ms,
        };
        let asked: Vec<(String, String)> = {
            let roster = self.local.roster();
            let all = std::iter::once(&roster.stable).chain(&roster.candidate);
            let place =
                |one: &Revision| Some((one.instance().to_owned(), one.address()?.to_string()));
            all.filter_map(place).collect()
        };
        // Both at once: a look waits for the slower one only.
        let mut asking = tokio::task::JoinSet::new();
        for (instance, address) in asked {
            let bounds_ms = bounds_ms.clone();
            asking.spawn(async move { (instance, own_counters(&address, &bounds_ms).await) });
        }
        let (mut counters, mut missing) = (BTreeMap::new(), None);
        for (instance, found) in asking.join_all().await {
            match found {
                Ok(found) => {
                    counters.insert(instance, found);
                }
                Err(why) => missing = Some(why),
            }
        }
        // One that answers is judged; the other is seen as silent.
        let missing = missing.filter(|_| counters.is_empty());
        (counters, missing)
    }

    /// A candidate that alone can serve is kept until stable can: everything to nothing would be worse.
    fn remove_candidate(&self) -> Result<(), PlatformError> {
        let instance = self.local.change(|roster| {
            let stable_serves = roster.stable.status().ready;
            let Some(candidate) = roster.candidate.as_mut().filter(|candidate| !candidate.ending)
            else {
                return Ok(None);
            };
            if !stable_serves && candidate.status().ready {
                let what = "stable can't serve: the candidate is kept until it can".into();
                return Err(PlatformError { what });
            }
            candidate.ending = true;
            Ok(Some(candidate.instance().to_owned()))
        })?;
        if let Some(instance) = instance {
            self.local.retire(instance, grace(self.rollback_drain));
        }
        Ok(())
    }

    fn adopt(&self) -> Result<(), PlatformError> {
        let now = self.local.now();
        let old = self.local.change(|roster| {
            if roster.stable.hash() == self.release.hash {
                return Ok(None); // it has been done
            }
            let ready = roster
                .candidate
                .as_ref()
                .is_some_and(|c| c.hash() == self.release.hash && c.status().ready && !c.ending);
            if !ready {
                return Err(PlatformError { what: "the candidate is not ready".into() });
            }
            let old = roster.stable.instance().to_owned();
            roster.adopt(now);
            Ok(Some(old))
        })?;
        if let Some(old) = old {
            self.local.retire(old, grace(self.drain));
        }
        Ok(())
    }
}

async fn own_counters(address: &str, bounds_ms: &[f64]) -> Result<Counters, Unknown> {
    let text = scrape(address, SCRAPE_MAX).await?;
    Ok(exposition::counters(&text, Preset::Plain, bounds_ms)?)
}

const fn grace(drain: Duration) -> Grace {
    Grace { requests: drain, streams: drain }
}

impl Platform for Target {
    async fn observe(&mut self) -> Result<World, PlatformError> {
        let proxy = self.local.proxy();
        let last = proxy.last_to_candidate().map(|last| Instant::now() - last);
        let roster = self.local.roster();
        let candidate = roster.candidate.as_ref();
        Ok(World {
            share: Some(proxy.share()),
            testers: TestersAre::Out,
            stable: workload(&roster.stable),
            candidate: candidate.map(workload),
            retiring: !roster.retiring.is_empty(),
            last_assigned: last.map(|ago| self.local.now() - ago),
            connections: candidate.map(|c| proxy.in_flight(c.instance()) as u64),
        })
    }

    async fn act(&mut self, effect: &Effect) -> Result<(), PlatformError> {
        match effect {
            Effect::EnsureCandidate { .. } => self.ensure_candidate()?,
            Effect::SetShare { share } => self.local.set_share(*share),
            Effect::RemoveCandidate => self.remove_candidate()?,
            Effect::Adopt => self.adopt()?,
            // Adoption is one write, and so is its way back; it is asked for when what was adopted is
            // not ready at that very look.
            Effect::RestoreStable => self.local.restore(&self.stable)?,
        }
        Ok(())
    }
}

impl Evidence for Target {
    async fn look(&mut self, _world: &World) -> Look {
        let (counters, missing) = self.count().await;
        let roster = self.local.roster();
        let of = |revision: &Revision| {
            let name = revision.instance().to_owned();
            counters.get(&name).map(|counters| (name, counters.clone()))
        };
        let arm = |revision: Option<&Revision>| -> BTreeMap<String, Counters> {
            revision.into_iter().filter_map(of).collect()
        };
        let (stable, candidate) = (&roster.stable, roster.candidate.as_ref());
        let threshold = self.local.threshold();
        let mut look = Look {
            at_s: 0.0,
            stage: 0,
            share: Share::ZERO,
            baseline: arm(Some(stable)),
            candidate: arm(candidate),
            expected: PerArm { baseline: 1, candidate: u32::from(candidate.is_some()) },
            probes: PerArm::default(),
            candidate_healthy: candidate
                .is_some_and(|c| healthy(&c.status(), threshold, self.local.is_probed())),
            queries: BTreeMap::new(),
            missing,
        };
        let now: Vec<(String, ProbeCount)> = std::iter::once(stable)
            .chain(candidate)
            .map(|revision| (revision.instance().to_owned(), revision.status().probes))
            .collect();
        drop(roster);
        let mut since = now.iter().map(|(name, count)| {
            let before = self.probed.get(name).copied().unwrap_or_default();
            ProbeCount { failed: count.failed - before.failed, sent: count.sent - before.sent }
        });
        look.probes.baseline = since.next().unwrap_or_default();
        look.probes.candidate = since.next().unwrap_or_default();
        self.probed = now.into_iter().collect();
        look
    }

    async fn history(&mut self, _world: &World) -> Vec<Look> {
        match self.counting {
            Counting::Proxy => self.local.history(),
            Counting::OwnMetrics { .. } | Counting::Server => Vec::new(),
        }
    }
}

fn healthy(status: &Status, threshold: u32, probed: bool) -> bool {
    let enough = status.probes.sent >= PROBES_MIN.max(u64::from(threshold));
    status.ready && (!probed || (enough && status.good_in_a_row >= threshold))
}

fn workload(revision: &Revision) -> Workload {
    let status = revision.status();
    let trouble = status.trouble.or_else(|| {
        let what = "it is starting".to_owned();
        (!status.ready).then_some(Trouble { what, its_own: true, gave_up: false })
    });
    Workload {
        revision: revision.hash().to_owned(),
        ready: u32::from(status.ready && !revision.ending),
        wanted: 1,
        sized_for: Share::FULL, // one process serves any share
        trouble,
    }
}
