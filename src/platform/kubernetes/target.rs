//! One target under one promotion: the cluster as the core's platform.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::access::Access;
use super::candidate::{self, Recipe};
use super::names;
use super::removal::Removal;
use super::router::{Order, Router};
use super::sending::Sender;
use super::snapshot::{Rollout, Snapshot, label};
use super::watching::{Slot, Watch, Watched};
use super::write::{Kind, Write};
use super::{adoption, autoscaler, causes, template, workload};
use crate::clock::{Clock as _, SystemClock};
use crate::plan::Plan;
use crate::platform::{Platform, PlatformError};
use crate::policy::Strategy;
use crate::rollout::{Effect, TestersAre, Workload, World};
use crate::share::Share;

/// What a promotion needs to know beside its plan.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of the user's Deployment.
    pub name: String,
    /// The promotion's id.
    pub revision: String,
    pub router: Router,
    /// The template that is gone back to.
    pub stable: Value,
    /// The template that is released.
    pub release: Value,
    /// The share that was asked for last, where a promotion goes on.
    pub asked: Share,
}

/// A handle; clones share it.
#[derive(Clone, Debug)]
pub struct Kubernetes {
    access: Access,
    watched: Watched,
    plan: Arc<Plan>,
    settings: Arc<Settings>,
    clock: SystemClock,
    memory: Arc<Mutex<Memory>>,
}

/// What no object says.
#[derive(Clone, Copy, Debug)]
struct Memory {
    asked: Share,
    /// The candidate was given requests, or that could not be told, since none were last seen to go there.
    served: bool,
    /// When none were seen to go there after that: no request was given to it later.
    last_served: Option<DateTime<Utc>>,
    /// Since when no new request goes to the candidate, while something is left to write for that to last.
    barred_since: Option<DateTime<Utc>>,
}

/// Returns the watches that a promotion needs. `selector` are the target's `matchLabels`.
#[must_use]
pub fn watches(settings: &Settings, selector: &str) -> Vec<Watch> {
    let named = |slot, name: &str| Watch { slot, name: Some(name.to_owned()), labels: None };
    let mut watches = surveyed(selector, matches!(settings.router, Router::GatewayApi(_)));
    let revision = format!("{}={}", names::REVISION, settings.revision);
    watches.extend([
        named(Slot::Target, &settings.name),
        named(Slot::Candidate, &names::candidate(&settings.name)),
        labelled(Slot::CandidatePods, &revision),
        all(Slot::Slices),
    ]);
    watches
}

/// Returns those of the watches that tell before a promotion whether it may begin.
#[must_use]
pub fn surveyed(selector: &str, routes: bool) -> Vec<Watch> {
    let mut watches = vec![
        labelled(Slot::ReplicaSets, selector),
        labelled(Slot::Pods, selector),
        all(Slot::Services),
        all(Slot::Autoscalers),
    ];
    watches.extend(routes.then(|| all(Slot::Routes)));
    watches
}

const fn all(slot: Slot) -> Watch {
    Watch { slot, name: None, labels: None }
}

fn labelled(slot: Slot, labels: &str) -> Watch {
    Watch { slot, name: None, labels: Some(labels.to_owned()) }
}

impl Kubernetes {
    #[must_use]
    pub fn new(
        access: Access,
        watched: Watched,
        plan: Arc<Plan>,
        settings: Settings,
        clock: SystemClock,
    ) -> Self {
        let memory =
            Memory { asked: settings.asked, served: false, last_served: None, barred_since: None };
        let (settings, memory) = (Arc::new(settings), Arc::new(Mutex::new(memory)));
        Self { access, watched, plan, settings, clock, memory }
    }

    /// Returns why this promotion has lost its target, if it has: it was deleted, made anew, or given
    /// another template by somebody else, or all that leads users to it was deleted.
    #[must_use]
    pub fn superseded(&self) -> Option<String> {
        let seen = self.watched.snapshot().ok()?;
        let name = &self.settings.name;
        let Some(target) = &seen.target else {
            return Some(format!("deployment/{name} was deleted"));
        };
        if let Some(lost) = self.settings.router.lost(&seen) {
            return Some(format!("the {lost} was deleted"));
        }
        let template = target.data.pointer("/spec/template")?;
        let found = template::hash(template);
        let known = found == self.plan.stable.hash || found == self.plan.release.hash;
        (!known).then(|| {
            let newer = template::name(template, Some(&self.settings.stable));
            format!("deployment/{name} was given another template: {newer}")
        })
    }

    /// Returns once something in the cluster has changed.
    pub async fn changed(&self) {
        self.watched.changed().await;
    }

    /// Notes which share another process has asked for: what is seen is compared with it.
    pub fn expect_share(&self, asked: Share) {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).asked = asked;
    }

    fn memory(&self) -> Memory {
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, seen: &Snapshot, share: Share) -> Order<'_> {
        Order {
            revision: &self.settings.revision,
            share,
            strategy: self.plan.strategy,
            adopted: self.has_adopted(seen),
            now: self.clock.now(),
        }
    }

    fn has_adopted(&self, seen: &Snapshot) -> bool {
        let template =
            seen.target.as_ref().and_then(|target| target.data.pointer("/spec/template"));
        template.is_some_and(|template| template::hash(template) == self.plan.release.hash)
    }

    fn removal(&self, seen: &Snapshot) -> Removal<'_> {
        Removal {
            router: &self.settings.router,
            target: &self.settings.name,
            revision: &self.settings.revision,
            condemned: (!self.has_adopted(seen)).then_some(self.plan.rollback_drain),
        }
    }

    /// Returns what is there. A candidate is there until everything is as it was.
    fn world(&self, seen: &Snapshot, now: DateTime<Utc>) -> World {
        let Settings { revision, router, .. } = &*self.settings;
        let stable = match &seen.target {
            Some(target) => workload::stable(target, &self.plan.release.hash),
            None => workload::gone(),
        };
        let hash = &self.plan.release.hash;
        let trouble = causes::trouble(seen.candidate_pods(), seen.candidate.as_ref());
        let candidate = workload::candidate(seen, revision, hash, router, trouble);
        let residue = || {
            let left = !self.removal(seen).restore(seen).is_empty();
            left.then(|| Workload { revision: hash.clone(), ..workload::gone() })
        };
        let share = self.lasting(seen, self.share(seen), now);
        let testers = router.testers_are(seen, revision);
        let served = share != Some(Share::ZERO) || testers != TestersAre::Out;
        let last_assigned = self.note_served(served, now);
        World {
            share,
            testers,
            stable,
            candidate: candidate.or_else(residue),
            retiring: false,
            last_assigned,
            connections: seen.candidates.is_empty().then_some(0),
        }
    }

    fn share(&self, seen: &Snapshot) -> Option<Share> {
        let order = self.order(seen, self.memory().asked);
        self.settings.router.share(seen, &order)
    }

    /// A share of 0 that hangs on a selector alone is undone by whoever applies the Service again: it counts
    /// once the gates are closed as well, or when that takes longer than [`BAR_LIMIT`]. The way back must
    /// not hang on it.
    fn lasting(&self, seen: &Snapshot, share: Option<Share>, now: DateTime<Utc>) -> Option<Share> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let order = self.order(seen, memory.asked);
        let is_zero = share == Some(Share::ZERO) && memory.asked.is_zero() && !order.adopted;
        if !is_zero || self.settings.router.lasts(seen, &order) {
            memory.barred_since = None;
            return share;
        }
        let since = *memory.barred_since.get_or_insert(now);
        share.filter(|_| (now - since).to_std().is_ok_and(|length| length >= BAR_LIMIT))
    }

    /// Requests went to the candidate until its share was seen at 0, and its testers out.
    fn note_served(&self, serves: bool, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.served && !serves {
            memory.last_served = Some(now);
        }
        memory.served = serves;
        memory.last_served
    }

    fn writes(&self, seen: &Snapshot, effect: &Effect) -> Result<Vec<Write>, PlatformError> {
        match effect {
            Effect::EnsureCandidate { share } => self.ensure_candidate(seen, *share),
            Effect::SetShare { share } => Ok(self.set_share(seen, *share)),
            Effect::RemoveCandidate => Ok(self.removal(seen).next(seen)),
            Effect::Adopt => self.retemplate(seen, &self.plan.stable.hash, &self.settings.release),
            Effect::RestoreStable => {
                self.retemplate(seen, &self.plan.release.hash, &self.settings.stable)
            }
        }
    }

    fn set_share(&self, seen: &Snapshot, share: Share) -> Vec<Write> {
        self.expect_share(share);
        self.settings.router.next(seen, &self.order(seen, share))
    }

    fn ensure_candidate(&self, seen: &Snapshot, share: Share) -> Result<Vec<Write>, PlatformError> {
        let target = seen.target.as_ref().ok_or_else(|| self.no_target())?;
        // What is switched at once is complete before.
        let share = if self.plan.strategy == Strategy::BlueGreen { Share::FULL } else { share };
        let Settings { revision, router, release, .. } = &*self.settings;
        let copies = router.copies(share, Rollout::of(target).wanted);
        let isolation = router.isolation();
        let recipe = Recipe { target, template: release, revision, isolation: &isolation };
        let mut writes = self.scaling(seen, copies);
        match &seen.candidate {
            None => {
                let object = Box::new(recipe.deployment(copies, share));
                writes.push(Write::Create { kind: Kind::Deployment, object });
            }
            Some(own) if label(own.metadata.labels.as_ref(), names::REVISION) != Some(revision) => {
                let what = format!(
                    "a candidate of another promotion is left (`gate doctor deployment/{} --fix`)",
                    self.settings.name
                );
                return Err(PlatformError { what });
            }
            Some(own) if own.metadata.deletion_timestamp.is_some() => {}
            Some(own) if workload::sized_for(seen, own, router) >= share => {}
            Some(own) => {
                let copies = copies.max(Rollout::of(own).wanted);
                writes.push(candidate::resize(own, copies, share));
            }
        }
        writes.extend(router.let_in(seen, &self.order(seen, share)));
        Ok(writes)
    }

    /// Keeps stable's copies, and gives the candidate an autoscaler where stable has one.
    fn scaling(&self, seen: &Snapshot, copies: u32) -> Vec<Write> {
        let name = &self.settings.name;
        let (Some(scaler), Some(target)) = (autoscaler::of(seen, name), &seen.target) else {
            return Vec::new();
        };
        let held = autoscaler::hold(scaler);
        let own = match autoscaler::of(seen, &names::candidate(name)) {
            Some(own) => autoscaler::raise(own, copies),
            None => {
                let revision = &self.settings.revision;
                let object = autoscaler::candidates(scaler, target, revision, copies);
                let kind = Kind::HorizontalPodAutoscaler;
                Some(Write::Create { kind, object: Box::new(object) })
            }
        };
        held.into_iter().chain(own).collect()
    }

    /// Changes stable's template, if it is the one that may be replaced.
    fn retemplate(
        &self,
        seen: &Snapshot,
        from: &str,
        to: &Value,
    ) -> Result<Vec<Write>, PlatformError> {
        let target = seen.target.as_ref().ok_or_else(|| self.no_target())?;
        let present = target.data.pointer("/spec/template").map(template::hash);
        if present.as_deref() != Some(from) {
            return Ok(Vec::new()); // done already, or somebody else's
        }
        Ok(adoption::retemplate(target, to).into_iter().collect())
    }

    fn no_target(&self) -> PlatformError {
        PlatformError { what: format!("deployment/{} is gone", self.settings.name) }
    }
}

impl Platform for Kubernetes {
    async fn observe(&mut self) -> Result<World, PlatformError> {
        let seen = self.watched.snapshot()?;
        Ok(self.world(&seen, self.clock.now()))
    }

    async fn act(&mut self, effect: &Effect) -> Result<(), PlatformError> {
        let seen = match (self.watched.snapshot(), effect) {
            (Ok(seen), _) => seen,
            // The one write does not wait for a world that is told anew.
            (Err(_), Effect::SetShare { share }) if share.is_zero() => self.watched.last_known(),
            (Err(error), _) => return Err(error),
        };
        let writes = self.writes(&seen, effect)?;
        let sender =
            Sender { access: &self.access, watched: &self.watched, target: &self.settings.name };
        sender.send(writes).await
    }
}

/// How long the gates of a candidate's pods may take to close behind a selector that bars them already.
const BAR_LIMIT: Duration = Duration::from_secs(1);

/// How long it may take until all that is there is known.
pub const SETTLE_LIMIT: Duration = Duration::from_secs(30);
