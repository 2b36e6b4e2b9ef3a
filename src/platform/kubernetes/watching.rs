//! The watches that keep a [`Snapshot`] up to date: what happens in the cluster is told, never asked for.
//!
//! Each watch is a task (see [`following`]). One object that can't be read is left out and
//! stops nothing. While a watch is broken for longer than [`STALE_AFTER`] the snapshot is not
//! trusted: [`Watched::snapshot`] says so instead of showing an old world.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::ResourceExt as _;
use kube::api::{DynamicObject, WatchParams};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::access::Access;
use super::following::{self, Told};
use super::snapshot::Snapshot;
use super::write::Kind;
use crate::platform::PlatformError;

mod taking;

/// A watch that is broken for so long has lost the world.
pub const STALE_AFTER: Duration = Duration::from_secs(5);

/// Which objects a watch is for, and where they go in the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    Target,
    Candidate,
    ReplicaSets,
    Pods,
    CandidatePods,
    Services,
    Slices,
    Routes,
    Autoscalers,
}

/// One watch: which objects of the namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    pub slot: Slot,
    /// Only the object with this name.
    pub name: Option<String>,
    /// Only objects with these labels.
    pub labels: Option<String>,
}

/// The snapshot, kept up to date as long as this lives.
#[derive(Clone, Debug)]
pub struct Watched {
    inner: Arc<Mutex<Inner>>,
    changes: watch::Sender<u64>,
    tasks: Arc<Mutex<JoinSet<()>>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Changed in place unless somebody still reads it.
    snapshot: Arc<Snapshot>,
    standing: BTreeMap<Slot, Standing>,
}

/// How a watch is.
#[derive(Debug)]
enum Standing {
    /// It has not brought all that is there yet; why, where it has failed.
    NotYet(Option<String>),
    Works,
    Broken {
        since: Instant,
        why: String,
    },
}

impl Slot {
    const fn kind(self) -> Kind {
        match self {
            Self::Target | Self::Candidate => Kind::Deployment,
            Self::ReplicaSets => Kind::ReplicaSet,
            Self::Pods | Self::CandidatePods => Kind::Pod,
            Self::Services => Kind::Service,
            Self::Slices => Kind::EndpointSlice,
            Self::Routes => Kind::HttpRoute,
            Self::Autoscalers => Kind::HorizontalPodAutoscaler,
        }
    }
}

impl Watched {
    /// Begins to watch. What is there is known once [`Watched::settled`] returns.
    #[must_use]
    pub fn start(access: &Access, watches: Vec<Watch>) -> Self {
        let changes = watch::Sender::new(0);
        let watched = Self { inner: Arc::default(), changes, tasks: Arc::default() };
        watched.also(access, watches);
        watched
    }

    /// Begins to watch what is not watched yet.
    pub fn also(&self, access: &Access, watches: Vec<Watch>) {
        for watch in watches {
            if let Entry::Vacant(place) = lock(&self.inner).standing.entry(watch.slot) {
                place.insert(Standing::NotYet(None));
                let (inner, changes) = (Arc::clone(&self.inner), self.changes.clone());
                lock(&self.tasks).spawn(follow(access.clone(), watch, inner, changes));
            }
        }
    }

    /// Returns what is known.
    ///
    /// # Errors
    /// A watch is broken for longer than [`STALE_AFTER`], or has not brought what is there yet.
    pub fn snapshot(&self) -> Result<Arc<Snapshot>, PlatformError> {
        let inner = lock(&self.inner);
        for (slot, standing) in &inner.standing {
            let why = match standing {
                Standing::NotYet(why) => why.as_deref().unwrap_or("not read yet"),
                Standing::Broken { since, why } if since.elapsed() >= STALE_AFTER => why.as_str(),
                Standing::Works | Standing::Broken { .. } => continue,
            };
            let kind = slot.kind();
            let what = format!("the API server does not tell about {kind} objects: {why}");
            return Err(PlatformError { what });
        }
        Ok(Arc::clone(&inner.snapshot))
    }

    /// Returns what was known last, however old it is: for a write that is right in any world.
    #[must_use]
    pub fn last_known(&self) -> Arc<Snapshot> {
        Arc::clone(&lock(&self.inner).snapshot)
    }

    /// Waits until every watch has brought what is there.
    ///
    /// # Errors
    /// One has not within `limit`; why.
    pub async fn settled(&self, limit: Duration) -> Result<Arc<Snapshot>, PlatformError> {
        let mut changes = self.changes.subscribe();
        let deadline = Instant::now() + limit;
        loop {
            match self.snapshot() {
                Ok(snapshot) => return Ok(snapshot),
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => {
                    let _ = tokio::time::timeout_at(deadline, changes.changed()).await;
                }
            }
        }
    }

    /// Waits until every watch has brought what is there; `None`: one has failed, or they have not within `limit`.
    pub async fn brought(&self, limit: Duration) -> Option<Arc<Snapshot>> {
        let mut changes = self.changes.subscribe();
        let deadline = Instant::now() + limit;
        while !lock(&self.inner).has_failed() {
            if let Ok(snapshot) = self.snapshot() {
                return Some(snapshot);
            }
            tokio::time::timeout_at(deadline, changes.changed()).await.ok()?.ok()?;
        }
        None
    }

    /// Returns once something has changed since the call.
    pub async fn changed(&self) {
        // The sender lives as long as `self`.
        let _ = self.changes.subscribe().changed().await;
    }

    /// Takes in what the API server has answered to a change. One that is not known any more was deleted meanwhile,
    /// and its watch would not tell that again.
    pub fn learn_changed(&self, slot: Slot, object: DynamicObject) {
        let is_known = lock(&self.inner).snapshot.knows(slot, &object.name_any());
        if is_known {
            self.learn(slot, object);
        }
    }

    /// Takes in what the API server has made: its watch may tell it a little later.
    pub fn learn(&self, slot: Slot, object: DynamicObject) {
        Arc::make_mut(&mut lock(&self.inner).snapshot).put(slot, object);
        self.changes.send_modify(|count| *count += 1);
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn follow(
    access: Access,
    watch: Watch,
    inner: Arc<Mutex<Inner>>,
    changes: watch::Sender<u64>,
) {
    let only = WatchParams {
        field_selector: watch.name.map(|name| format!("metadata.name={name}")),
        label_selector: watch.labels,
        ..WatchParams::default()
    };
    let objects = access.objects(watch.slot.kind());
    let mut listed = BTreeSet::new();
    let tell = move |told| {
        lock(&inner).take(watch.slot, told, &mut listed);
        changes.send_modify(|count| *count += 1);
    };
    following::follow(objects, only, access.lists, tell).await;
}

impl Inner {
    fn has_failed(&self) -> bool {
        let failed = |standing: &Standing| match standing {
            Standing::NotYet(why) => why.is_some(),
            Standing::Broken { .. } => true,
            Standing::Works => false,
        };
        self.standing.values().any(failed)
    }

    /// Since its first failure.
    fn note_broken(&mut self, slot: Slot, why: String) {
        let standing = match self.standing.get(&slot) {
            Some(Standing::NotYet(_)) | None => Standing::NotYet(Some(why)),
            Some(Standing::Works) => Standing::Broken { since: Instant::now(), why },
            Some(Standing::Broken { since, .. }) => Standing::Broken { since: *since, why },
        };
        self.standing.insert(slot, standing);
    }

    /// Takes in what a watch tells; `listed`: which objects are there since it began.
    fn take(&mut self, slot: Slot, told: Told<DynamicObject>, listed: &mut BTreeSet<String>) {
        match told {
            Told::Begins => listed.clear(),
            Told::Is(object) => {
                listed.insert(object.name_any());
                Arc::make_mut(&mut self.snapshot).put(slot, object);
            }
            Told::Gone(object) => {
                listed.remove(&object.name_any());
                Arc::make_mut(&mut self.snapshot).remove(slot, &object.name_any());
            }
            Told::All => {
                Arc::make_mut(&mut self.snapshot).keep(slot, listed);
                self.standing.insert(slot, Standing::Works);
            }
            Told::Broken(why) => self.note_broken(slot, why),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::taking::tests::object;
    use super::{Access, Inner, Kind, Slot, Told, Watch, Watched};

    #[tokio::test]
    async fn an_answer_brings_nothing_back_that_was_deleted() {
        let config = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
        let access = Access::to(config, "shop".into()).unwrap();
        let watched = Watched::start(&access, Vec::new());
        watched.learn_changed(Slot::CandidatePods, object(Kind::Pod, "1", "web:1"));
        assert!(watched.last_known().candidates.is_empty());
        watched.learn(Slot::CandidatePods, object(Kind::Pod, "1", "web:1"));
        watched.learn_changed(Slot::CandidatePods, object(Kind::Pod, "2", "web:2"));
        let version = watched.last_known().candidates["web"].metadata.resource_version.clone();
        assert_eq!(version.as_deref(), Some("2"));
    }

    #[tokio::test]
    async fn a_world_that_was_never_told_is_not_known() {
        let config = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
        let access = Access::to(config, "shop".into()).unwrap();
        let watch = Watch { slot: Slot::Pods, name: None, labels: None };
        let watched = Watched::start(&access, vec![watch]);
        // Nobody listens there: the first attempt fails at once.
        watched.changed().await;
        let why = watched.snapshot().unwrap_err().what;
        assert!(why.contains("Pod objects") && !why.contains("not read yet"), "{why}");
    }

    #[test]
    fn what_is_gone_before_all_was_told_is_gone() {
        let (mut inner, mut listed) = (Inner::default(), BTreeSet::new());
        inner.take(Slot::Pods, Told::Is(object(Kind::Pod, "1", "web:1")), &mut listed);
        inner.take(Slot::Pods, Told::Begins, &mut listed);
        inner.take(Slot::Pods, Told::Is(object(Kind::Pod, "2", "web:1")), &mut listed);
        let before = Arc::clone(&inner.snapshot);
        inner.take(Slot::Pods, Told::Gone(object(Kind::Pod, "3", "web:1")), &mut listed);
        inner.take(Slot::Pods, Told::All, &mut listed);
        assert!(inner.snapshot.pods.is_empty());
        assert_eq!(before.pods.len(), 1, "who reads an older world keeps it");
    }
}
