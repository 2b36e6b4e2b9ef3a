//! Where requests go: the routes, swapped as a whole, and the choice for one request.
//!
//! Taking all traffic from a candidate is one write to the table, and the next assigned request
//! obeys it. Whether an instance is in traffic is for the host's
//! probes to say. While one revision can serve, requests are never sent to nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use http::header::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::assign::{Salt, Sequence, is_candidates};
use super::instance::{Exchange, Instance};
use super::sticky::{Point, Sticky};
use super::tally::Tally;
use crate::share::Share;

/// A process that serves a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    pub revision: String,
    /// The name under which it is counted.
    pub instance: String,
    pub addr: SocketAddr,
    /// Whether its probes allow it requests.
    pub in_traffic: bool,
}

/// Everything that decides where a request goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    pub stable: Option<Backend>,
    /// A candidate that must not serve even when stable can't has to be left out.
    pub candidate: Option<Backend>,
    pub share: Share,
    pub sticky: Option<Sticky>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Arm {
    Stable,
    Candidate,
}

/// Requests that were assigned since the proxy started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Assigned {
    pub stable: u64,
    pub candidate: u64,
}

/// Where one request goes. It counts as in flight there from the moment of the choice.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) exchange: Exchange,
    pub(super) set_cookie: Option<HeaderValue>,
}

#[derive(Debug)]
pub(super) struct Router {
    /// Requests are assigned under its lock: when a change of it returns, none is assigned by what
    /// was before, and a drain that follows sees every request that was.
    table: RwLock<Table>,
    instances: Mutex<BTreeMap<String, Arc<Instance>>>,
    bounds: RwLock<Arc<[Duration]>>,
    pool_idle_max: usize,
    sequence: Sequence,
    salt: Salt,
    stable: AtomicU64,
    candidate: AtomicU64,
    began: Instant,
    /// Nanoseconds since `began`, plus one; 0 while there was none.
    last_candidate: AtomicU64,
}

#[derive(Debug, Default)]
struct Table {
    stable: Option<Leg>,
    candidate: Option<Leg>,
    share: Share,
    sticky: Option<Sticky>,
}

#[derive(Debug)]
struct Leg {
    instance: Arc<Instance>,
    in_traffic: bool,
}

impl Router {
    pub(super) fn new(bounds: Arc<[Duration]>, salt: Salt, pool_idle_max: usize) -> Self {
        Self {
            table: RwLock::default(),
            instances: Mutex::default(),
            bounds: RwLock::new(bounds),
            pool_idle_max,
            sequence: Sequence::default(),
            salt,
            stable: AtomicU64::new(0),
            candidate: AtomicU64::new(0),
            began: Instant::now(),
            last_candidate: AtomicU64::new(0),
        }
    }

    /// Chooses for one request; `None` if no instance can serve.
    pub(super) fn choose(&self, headers: &HeaderMap, arrived: Instant) -> Option<Choice> {
        let table = self.table();
        let Point { point, set_cookie } = match &table.sticky {
            Some(sticky) => sticky.point(headers, &self.salt, &self.sequence),
            None => Point { point: self.sequence.next(), set_cookie: None },
        };
        let wanted = is_candidates(point, table.share);
        let stable = Leg::serving(table.stable.as_ref());
        let candidate = Leg::serving(table.candidate.as_ref());
        let (arm, instance) = match (stable, candidate) {
            (_, Some(candidate)) if wanted => (Arm::Candidate, candidate),
            (Some(stable), _) => (Arm::Stable, stable),
            (None, Some(candidate)) => (Arm::Candidate, candidate),
            (None, None) => return None,
        };
        self.note(arm);
        Some(Choice { exchange: Exchange::begin(instance, arrived), set_cookie })
    }

    /// Returns where a request goes whose instance can't be reached: to stable, never to the
    /// candidate, whose share would no longer be what was asked.
    pub(super) fn instead_of(&self, missed: &Exchange, arrived: Instant) -> Option<Exchange> {
        let table = self.table();
        let stable = Leg::serving(table.stable.as_ref())?;
        let is_other = !Arc::ptr_eq(stable, missed.instance());
        is_other.then(|| Exchange::begin(stable, arrived))
    }

    fn note(&self, arm: Arm) {
        match arm {
            Arm::Stable => self.stable.fetch_add(1, Relaxed),
            Arm::Candidate => {
                let since = self.began.elapsed().as_nanos().saturating_add(1);
                let since = u64::try_from(since).unwrap_or(u64::MAX);
                self.last_candidate.fetch_max(since, SeqCst);
                self.candidate.fetch_add(1, Relaxed)
            }
        };
    }

    pub(super) fn set_routes(&self, routes: Routes) {
        let table = Table {
            stable: routes.stable.map(|backend| self.leg(&backend, Arm::Stable)),
            candidate: routes.candidate.map(|backend| self.leg(&backend, Arm::Candidate)),
            share: routes.share,
            sticky: routes.sticky,
        };
        *self.table_mut() = table;
    }

    pub(super) fn set_share(&self, share: Share) {
        self.table_mut().share = share;
    }

    pub(super) fn share(&self) -> Share {
        self.table().share
    }

    pub(super) fn assigned(&self) -> Assigned {
        Assigned { stable: self.stable.load(Relaxed), candidate: self.candidate.load(Relaxed) }
    }

    pub(super) fn last_candidate(&self) -> Option<Instant> {
        let since = self.last_candidate.load(SeqCst).checked_sub(1)?;
        Some(self.began + Duration::from_nanos(since))
    }

    pub(super) fn instance(&self, name: &str) -> Option<Arc<Instance>> {
        self.lock().get(name).cloned()
    }

    pub(super) fn instances(&self) -> Vec<Arc<Instance>> {
        self.lock().values().cloned().collect()
    }

    /// Drops the counters of an instance that has no route; returns whether it could.
    pub(super) fn forget(&self, name: &str) -> bool {
        let table = self.table();
        let routed = [&table.stable, &table.candidate].into_iter().flatten();
        let is_routed = routed.into_iter().any(|leg| leg.instance.name == name);
        !is_routed && self.lock().remove(name).is_some()
    }

    fn leg(&self, backend: &Backend, arm: Arm) -> Leg {
        let instance = self.register(backend);
        instance.candidate.store(arm == Arm::Candidate, Relaxed);
        instance.pool.reopen();
        Leg { instance, in_traffic: backend.in_traffic }
    }

    /// Returns the instance of this name. One that was started again elsewhere goes on counting
    /// where it was.
    fn register(&self, backend: &Backend) -> Arc<Instance> {
        let mut instances = self.lock();
        let known = instances.get(&backend.instance);
        if let Some(same) = known.filter(|known| known.is(backend)) {
            return Arc::clone(same);
        }
        let tally = known.map_or_else(
            || Arc::new(Tally::new(self.bounds())),
            |known| {
                known.pool.close();
                known.tally()
            },
        );
        let instance = Arc::new(Instance::new(backend, tally, self.pool_idle_max));
        instances.insert(backend.instance.clone(), Arc::clone(&instance));
        instance
    }

    pub(super) fn set_bounds(&self, bounds: Arc<[Duration]>) {
        let mut present = self.bounds.write().unwrap_or_else(PoisonError::into_inner);
        if *present == bounds {
            return;
        }
        *present = Arc::clone(&bounds);
        drop(present);
        for instance in self.lock().values() {
            instance.count_anew(Arc::new(Tally::new(Arc::clone(&bounds))));
        }
    }

    pub(super) fn bounds(&self) -> Arc<[Duration]> {
        Arc::clone(&self.bounds.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn table(&self) -> RwLockReadGuard<'_, Table> {
        // No code that holds one of these locks leaves what it guards half changed.
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn table_mut(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Instance>>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leg {
    fn serving(leg: Option<&Self>) -> Option<&Arc<Instance>> {
        leg.filter(|leg| leg.in_traffic).map(|leg| &leg.instance)
    }
}
