//! Whether this process may still act: not once another has taken the promotion over.
//!
//! A machine that was paused, or asleep, for longer than an owner may be silent does not know that it was. It
//! wakes with deadlines that have passed, and what it writes then would undo what its successor does. So whoever has
//! not seen for [`SURE_FOR`] that the promotion is its own looks at the record before it writes anything else, on
//! the way back as well. Where the record can't be read, that is no reason to leave traffic where it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::watch;
use tokio::time::timeout;

use super::object;
use super::owner::{HEARTBEAT, Owner};
use crate::clock::since_boot;
use crate::platform::kubernetes::access::Access;
use crate::platform::kubernetes::{Kubernetes, names};
use crate::platform::{Platform, PlatformError};
use crate::rollout::{Effect, World};

/// An owner may be taken over after four heartbeats of silence; half of that is left to act in.
const SURE_FOR: Duration = HEARTBEAT.saturating_mul(2);
/// The way back waits no longer for the record to be read.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// One ownership of a promotion; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Tenure {
    access: Access,
    record: String,
    /// The owner as its annotation says it.
    pub(super) owner: String,
    /// When the record was last asked, since boot, that said so.
    seen: Arc<Mutex<Duration>>,
    /// Whose it is now, in words.
    lost: watch::Sender<Option<String>>,
}

impl Tenure {
    /// Begins with a record that was just written.
    pub(super) fn begin(access: &Access, target: &str, owner: String) -> Self {
        Self {
            access: access.clone(),
            record: names::record(target),
            owner,
            seen: Arc::new(Mutex::new(since_boot())),
            lost: watch::Sender::new(None),
        }
    }

    /// The record says that it lasts; it was asked at that time since boot. The answer may be read much later.
    pub(super) fn lasts(&self, asked: Duration) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = asked;
    }

    /// Another process has taken the promotion over.
    pub(super) fn ends(&self, whose: String) {
        self.lost.send_replace(Some(whose));
    }

    pub(super) fn lost(&self) -> watch::Receiver<Option<String>> {
        self.lost.subscribe()
    }

    /// Returns whose the promotion is by a record's annotations, in words, where it is not this process's. An
    /// annotation that was taken away, or that nobody can read, is not an owner.
    pub(super) fn other(&self, record: &ObjectMeta) -> Option<String> {
        let owner = object::annotations(record).get(names::OWNER);
        let other: Owner = owner.filter(|owner| **owner != self.owner)?.parse().ok()?;
        let since = other.since.format("%Y-%m-%d %H:%M:%S UTC");
        Some(format!("taken over by {} on {} at {since}", other.by, other.host))
    }

    /// Returns once this process may act; never, where it may not any more: its driver ends it.
    pub(super) async fn may_act(&self) {
        let asked = since_boot();
        if self.lost.borrow().is_none() && !self.is_sure(asked) {
            let found = timeout(LOOK_MAX, object::get(&self.access, &self.record)).await;
            match found.map(|found| found.map(|record| self.whose(record.as_ref()))) {
                Ok(Ok(Some(whose))) => self.ends(whose),
                Ok(Ok(None)) => self.lasts(asked),
                Ok(Err(_)) | Err(_) => {}
            }
        }
        if self.lost.borrow().is_some() {
            std::future::pending::<()>().await;
        }
    }

    fn whose(&self, record: Option<&ConfigMap>) -> Option<String> {
        // One that was deleted is nobody else's.
        record.and_then(|record| self.other(&record.metadata))
    }

    fn is_sure(&self, now: Duration) -> bool {
        let seen = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        now.saturating_sub(seen) < SURE_FOR
    }
}

/// A platform that is acted on only as long as the promotion is this process's.
#[derive(Debug)]
pub(super) struct Fenced {
    pub(super) platform: Kubernetes,
    pub(super) tenure: Tenure,
}

impl Platform for Fenced {
    async fn observe(&mut self) -> Result<World, PlatformError> {
        self.platform.observe().await
    }

    async fn act(&mut self, effect: &Effect) -> Result<(), PlatformError> {
        self.tenure.may_act().await;
        self.platform.act(effect).await
    }
}
