//! Who is here and in what part: stable, candidate, and what still ends.
//!
//! All changes of parts are made here, under one lock, and each is told to the proxy as a whole.

use chrono::{DateTime, Utc};

use super::app::{App, Sticky};
use super::proxy::{self, Backend, Routes};
use super::revision::{Revision, Surroundings};
use super::stored::{self, PassedRevision, Quarantined, Stored, StoredRevision};
use crate::share::Share;

#[derive(Debug)]
pub(super) struct Roster {
    pub(super) stable: Revision,
    pub(super) candidate: Option<Revision>,
    pub(super) retiring: Vec<Revision>,
    pub(super) share: Share,
    pub(super) passed: Vec<PassedRevision>,
    pub(super) quarantine: Vec<Quarantined>,
    pub(super) promotion: Option<String>,
    pub(super) salt: String,
    sticky: Option<proxy::Sticky>,
}

impl Roster {
    /// Puts everybody where the stored state says.
    pub(super) fn muster(
        stored: Stored,
        sticky: Option<proxy::Sticky>,
        around: impl Fn(&StoredRevision) -> Surroundings,
    ) -> Self {
        let run = |revision: StoredRevision| {
            let around = around(&revision);
            Revision::run(revision, around)
        };
        Self {
            stable: run(stored.stable),
            candidate: stored.candidate.map(run),
            retiring: Vec::new(),
            share: stored.share,
            passed: stored.passed,
            quarantine: stored.quarantine,
            promotion: stored.promotion,
            salt: stored.salt,
            sticky,
        }
    }

    pub(super) fn stored(&self, app: &App) -> Stored {
        Stored {
            app: app.name.clone(),
            salt: self.salt.clone(),
            stable: self.stable.stored(),
            candidate: self.candidate.as_ref().map(Revision::stored),
            retiring: self.retiring.iter().map(Revision::stored).collect(),
            share: self.share,
            passed: self.passed.clone(),
            quarantine: self.quarantine.clone(),
            promotion: self.promotion.clone(),
        }
    }

    /// Everybody who is here, in whatever part.
    pub(super) fn all(&self) -> impl Iterator<Item = &Revision> {
        std::iter::once(&self.stable).chain(&self.candidate).chain(&self.retiring)
    }

    pub(super) fn routes(&self) -> Routes {
        let candidate = self.candidate.as_ref().filter(|candidate| !candidate.ending);
        Routes {
            stable: backend(&self.stable),
            candidate: candidate.and_then(backend),
            share: self.share,
            sticky: self.sticky.clone(),
        }
    }

    /// The candidate becomes stable, and all traffic stays where it is.
    pub(super) fn adopt(&mut self, now: DateTime<Utc>) {
        let Some(candidate) = self.candidate.take() else { return };
        let old = std::mem::replace(&mut self.stable, candidate);
        self.share = Share::ZERO;
        let StoredRevision { release, spec, .. } = old.stored();
        let old_revision = PassedRevision { release, spec, until: now };
        stored::remember_passed(&mut self.passed, self.stable.hash(), old_revision);
        self.retiring.push(old);
    }

    /// Takes back what still finishes its work, if it can go on.
    pub(super) fn call_back(&mut self, hash: &str) -> Option<Revision> {
        let goes_on = |revision: &mut Revision| revision.hash() == hash && revision.called_back();
        let at = self.retiring.iter_mut().position(goes_on)?;
        Some(self.retiring.remove(at))
    }

    /// What was adopted is the candidate again, and gets nothing that stable can serve.
    pub(super) fn restore(&mut self, stable: Revision) {
        let adopted = std::mem::replace(&mut self.stable, stable);
        self.share = Share::ZERO;
        self.passed.retain(|past| past.release.hash != self.stable.hash());
        // One that is there already could only be one that ends: that goes on.
        self.retiring.extend(self.candidate.replace(adopted));
    }

    pub(super) fn condemn(&mut self, bad: Quarantined) {
        stored::remember_bad(&mut self.quarantine, bad);
    }
}

fn backend(revision: &Revision) -> Option<Backend> {
    Some(Backend {
        revision: revision.stored().release.name,
        instance: revision.instance().to_owned(),
        addr: revision.address()?,
        in_traffic: revision.status().ready,
    })
}

/// Returns the proxy's form of what the app file says.
pub(super) fn sticky(app: &App) -> Option<proxy::Sticky> {
    match app.sticky.as_ref()? {
        Sticky::Cookie(name) => Some(proxy::Sticky::Cookie(name.clone())),
        Sticky::Header(name) => name.parse().ok().map(proxy::Sticky::Header),
    }
}
