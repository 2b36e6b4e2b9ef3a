//! What outlives a promotion: how those before it ended, what passed and can be gone back to, and
//! what is known to be bad. Every list has a bound; what is oldest goes.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ledger::{Templates, cut};
use crate::history::Folded;
use crate::plan::Release;
use crate::platform::local::stored::Quarantined;
use crate::rollout::{Outcome, ResultWord};

/// Promotions that are remembered.
pub const PAST_MAX: usize = 20;
/// … in bytes of JSON.
pub const PAST_BYTES_MAX: usize = 64 * 1024;
/// Revisions that passed and can be gone back to, with their templates.
pub const PASSED_MAX: usize = 5;
/// … in bytes of JSON.
pub const PASSED_BYTES_MAX: usize = 128 * 1024;
/// Releases that are remembered as bad.
pub const QUARANTINE_MAX: usize = 50;
/// … in bytes of JSON.
pub const QUARANTINE_BYTES_MAX: usize = 64 * 1024;

/// The longest reason of a promotion that has ended, in bytes.
const REASON_BYTES_MAX: usize = 2 * 1024;
/// Causes that are remembered of one promotion.
const CAUSES_MAX: usize = 8;

/// All lists are oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remembered {
    pub past: Vec<Past>,
    pub passed: Vec<Passed>,
    pub quarantine: Vec<Quarantined>,
}

/// A promotion that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Past {
    pub id: String,
    pub by: String,
    pub started: DateTime<Utc>,
    /// When it ended.
    pub at: DateTime<Utc>,
    pub release: Release,
    pub stable: Release,
    pub stages: usize,
    pub outcome: Outcome,
}

/// A revision that was stable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Passed {
    pub release: Release,
    /// Its pod template.
    pub template: Value,
    /// When it stopped being stable.
    pub until: DateTime<Utc>,
}

impl Remembered {
    /// Takes in how a promotion ended.
    pub(super) fn end(
        &mut self,
        folded: &Folded,
        templates: &Templates,
        outcome: &Outcome,
        at: DateTime<Utc>,
    ) {
        let mut outcome = outcome.clone();
        outcome.reason = cut(outcome.reason, REASON_BYTES_MAX);
        outcome.causes.truncate(CAUSES_MAX);
        let plan = &folded.plan;
        match outcome.result {
            ResultWord::Promoted => self.pass(folded, templates, at),
            ResultWord::RolledBack => self.condemn(Quarantined {
                release: plan.release.clone(),
                cause: outcome.reason.clone(),
                at,
                promotion: folded.id.clone(),
            }),
            ResultWord::Unchanged
            | ResultWord::Aborted
            | ResultWord::Superseded
            | ResultWord::Inconclusive
            | ResultWord::Error
            | ResultWord::Refused => {}
        }
        // The end may be recorded by two processes, one after the other.
        self.past.retain(|past| past.id != folded.id);
        self.past.push(Past {
            id: folded.id.clone(),
            by: folded.by.clone(),
            started: folded.started,
            at,
            release: plan.release.clone(),
            stable: plan.stable.clone(),
            stages: plan.stages.len(),
            outcome,
        });
        keep_newest(&mut self.past, PAST_MAX, PAST_BYTES_MAX);
    }

    /// Returns why a release is in quarantine.
    #[must_use]
    pub fn condemned(&self, hash: &str) -> Option<&Quarantined> {
        self.quarantine.iter().rev().find(|bad| bad.release.hash == hash)
    }

    /// Returns the newest revision that passed and is not known to be bad, or the one that is named:
    /// its name, or how its hash begins.
    #[must_use]
    pub fn way_back(&self, to: Option<&str>) -> Option<&Passed> {
        let is_good = |past: &&Passed| self.condemned(&past.release.hash).is_none();
        self.passed.iter().rev().filter(is_good).find(|past| {
            to.is_none_or(|to| past.release.name == to || past.release.hash.starts_with(to))
        })
    }

    /// Returns whether a promotion that is remembered brought its release to everybody.
    #[must_use]
    pub fn has_promoted(&self) -> bool {
        self.past.iter().any(|past| past.outcome.result == ResultWord::Promoted)
    }

    /// What is gone back to is not kept twice, and what was gone back from is forgotten: a second
    /// rollback goes further back, never forth again. A release that passed is bad no more.
    fn pass(&mut self, folded: &Folded, templates: &Templates, at: DateTime<Utc>) {
        let (now, old) = (&folded.plan.release, &folded.plan.stable);
        self.quarantine.retain(|bad| bad.release.hash != now.hash);
        if let Some(back) = self.passed.iter().position(|past| past.release.hash == now.hash) {
            self.passed.truncate(back);
            return;
        }
        self.passed.retain(|past| past.release.hash != old.hash);
        let template = templates.stable.clone();
        self.passed.push(Passed { release: old.clone(), template, until: at });
        keep_newest(&mut self.passed, PASSED_MAX, PASSED_BYTES_MAX);
    }

    fn condemn(&mut self, bad: Quarantined) {
        self.quarantine.retain(|known| known.release.hash != bad.release.hash);
        self.quarantine.push(bad);
        keep_newest(&mut self.quarantine, QUARANTINE_MAX, QUARANTINE_BYTES_MAX);
    }
}

/// Drops the oldest until no more than so many are left, of no more bytes of JSON than that.
pub(super) fn keep_newest<T: Serialize>(items: &mut Vec<T>, count_max: usize, bytes_max: usize) {
    let mut bytes = 2;
    let fits = |item: &T| {
        bytes += serde_json::to_vec(item).map_or(usize::MAX / 4, |json| json.len()) + 1;
        bytes <= bytes_max
    };
    let fitting = items.iter().rev().take(count_max).map_while({
        let mut fits = fits;
        move |item| fits(item).then_some(())
    });
    let excess = items.len() - fitting.count();
    items.drain(..excess);
}
