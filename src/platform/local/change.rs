//! Changes of what runs: each under the roster's lock, told to the proxy as a whole, then to the disk.

use std::sync::{Arc, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::app::ReleaseSpec;
use super::process::old_logs::{self, OLD_LOGS_BYTES_MAX, OLD_LOGS_MAX};
use super::proxy::{Drained, Grace, Proxy};
use super::revision::Revision;
use super::roster::Roster;
use super::stored::Stored;
use super::{Local, SAVED_MAX, surroundings};
use crate::clock::Clock;
use crate::plan::Release;
use crate::platform::PlatformError;
use crate::share::Share;

impl Local {
    pub(super) fn roster(&self) -> MutexGuard<'_, Roster> {
        self.inner.roster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn proxy(&self) -> &Proxy {
        &self.inner.proxy
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.inner.clock.now()
    }

    /// Returns how many good probes in a row count as healthy.
    pub(super) fn threshold(&self) -> u32 {
        let probes = self.inner.app.all_probes();
        probes.readiness.or(probes.liveness).map_or(1, |probe| probe.failure_threshold)
    }

    pub(super) fn is_probed(&self) -> bool {
        let probes = self.inner.app.all_probes();
        probes.readiness.is_some() || probes.liveness.is_some()
    }

    /// The one write. The disk hears of it after.
    pub(super) fn set_share(&self, share: Share) {
        let mut roster = self.roster();
        roster.share = share;
        self.inner.proxy.set_share(share);
        self.save(&roster);
    }

    /// Makes a change of parts, and tells the proxy as a whole.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Roster) -> T) -> T {
        let mut roster = self.roster();
        let done = change(&mut roster);
        self.inner.proxy.set_routes(roster.routes());
        self.save(&roster);
        done
    }

    pub(super) fn start_candidate(&self, release: &Release, spec: &ReleaseSpec) {
        let candidate = self.start(release.clone(), spec.clone());
        self.change(|roster| roster.candidate = Some(candidate));
    }

    fn start(&self, release: Release, spec: ReleaseSpec) -> Revision {
        let number = self.now().timestamp_micros().unsigned_abs();
        let stored = Stored::revision(release, spec, number);
        let inner = &self.inner;
        let around = surroundings(&inner.app, &inner.home, &inner.changed, &stored);
        Revision::run(stored, around)
    }

    /// Undoes an adoption: what stable was is stable again, as the process that still runs where
    /// there is one, else as a new one. What was adopted is the candidate at share 0: it serves
    /// until stable can, and then no more.
    pub(super) fn restore(&self, release: &Release) -> Result<(), PlatformError> {
        self.change(|roster| {
            if roster.stable.hash() == release.hash {
                return Ok(()); // it has been done
            }
            let stable = match roster.call_back(&release.hash) {
                Some(stable) => stable,
                None => {
                    let app = &self.inner.app;
                    let spec = roster.stored(app).how_it_starts(app, release);
                    let what = || format!("nobody knows how {} is started", release.name);
                    self.start(release.clone(), spec.ok_or_else(|| PlatformError { what: what() })?)
                }
            };
            roster.restore(stable);
            Ok(())
        })
    }

    /// Ends a revision that gets no new requests any more: first its requests, then its process.
    pub(super) fn retire(&self, instance: String, grace: Grace) {
        let ending = tokio::spawn(self.clone().end_one(instance.clone(), grace));
        let mut roster = self.roster();
        let Roster { candidate, retiring, .. } = &mut *roster;
        let mut all = candidate.iter_mut().chain(retiring);
        if let Some(revision) = all.find(|revision| revision.instance() == instance) {
            revision.retirement = Some(ending.abort_handle());
        }
    }

    async fn end_one(self, instance: String, grace: Grace) {
        let cut = self.proxy().drain(&instance, grace).await;
        if cut != Drained::default() {
            self.cry(&format!("{instance} {cut}"));
        }
        // A host that dies now must not find a state in which this one still has its part.
        self.saved(SAVED_MAX).await;
        let gone = {
            let roster = self.roster();
            let mut all = roster.candidate.iter().chain(&roster.retiring);
            all.find(|revision| revision.instance() == instance).map(|revision| {
                revision.stop(grace.requests);
                revision.gone()
            })
        };
        let Some(gone) = gone else { return }; // it is stable again
        gone.await;
        self.change(|roster| {
            roster.retiring.retain(|revision| revision.instance() != instance);
            if roster.candidate.as_ref().is_some_and(|c| c.instance() == instance) {
                roster.candidate = None;
            }
        });
        self.proxy().forget(&instance);
        self.inner.changed.notify_one();
        self.prune_logs();
    }

    /// Removes the oldest logs of what has ended; never those of what is here.
    pub(super) fn prune_logs(&self) {
        let folder = self.inner.home.logs();
        let local = self.clone();
        tokio::task::spawn_blocking(move || {
            let in_use: Vec<String> = {
                let roster = local.roster();
                roster.all().map(|revision| revision.instance().to_owned()).collect()
            };
            // A log too many is no reason to fail, and the next end tries again.
            let _ = old_logs::prune(&folder, &in_use, OLD_LOGS_MAX, OLD_LOGS_BYTES_MAX);
        });
    }

    /// Tells the disk. Under the roster's lock, so that no older state overtakes a newer one.
    fn save(&self, roster: &Roster) {
        self.inner.saver.save(roster.stored(&self.inner.app));
    }

    /// Tells the proxy, the disk and the promotion whenever a revision's status has changed.
    pub(super) async fn follow(self) {
        let changed = Arc::clone(&self.inner.changed);
        loop {
            changed.notified().await;
            self.refresh();
        }
    }

    pub(super) fn refresh(&self) {
        self.change(|_| ());
    }
}
