//! A promotion that has ended, and a state that does not know it yet.
//!
//! A host can die between the two, and a state that is damaged is replaced by the generation before
//! it. The journal is the witness: what it says of the end is made true in the state before anything
//! is started, so that no release which passed is lost and none that was condemned comes back.

use std::path::Path;

use chrono::{DateTime, Utc};

use super::diary;
use crate::history::journal::{self, CLOSE_LIMIT, Journal};
use crate::history::{Folded, Record};
use crate::plan::Release;
use crate::platform::local::app::App;
use crate::platform::local::stored::{PassedRevision, Quarantined, Stored};
use crate::rollout::{self, Outcome, ResultWord};
use crate::share::Share;

/// Brings the state up to the end of its promotion, if that has ended.
pub(super) fn settle(stored: &mut Stored, app: &App, history: &Path) {
    let Some(id) = stored.promotion.clone() else {
        // Without a promotion nothing is a candidate: what is left of one must not serve.
        stored.candidate = None;
        stored.share = Share::ZERO;
        return;
    };
    // A journal that can't be read is the business of whoever takes the promotion up.
    let Ok((entries, _)) = journal::read(&diary::file(history, &id)) else { return };
    let Some(at) = entries.last().map(|entry| entry.at) else { return };
    let Some(Folded { plan, state, asks, outcome, .. }) = diary::fold_entries(&entries) else {
        return;
    };
    if state.back.is_some() || asks.abort.is_some() {
        stored.share = Share::ZERO; // before anybody is served
    }
    // A state that is terminal is the end, also where its last record was not written any more.
    let unsaid = outcome.is_none();
    let ended = state.ended().map(|_| rollout::outcome(&plan, &state, at));
    let Some(outcome) = outcome.or(ended) else { return };
    if unsaid && outcome.result != ResultWord::Error {
        finish(&diary::file(history, &id), at, &outcome);
    }
    match outcome.result {
        ResultWord::Promoted => adopt(stored, app, plan.release, at),
        ResultWord::RolledBack => {
            let (release, cause) = (plan.release, outcome.reason);
            stored.condemn(Quarantined { release, cause, at, promotion: id });
        }
        // Its candidate may be all that serves; the state that names it is not touched.
        ResultWord::Error => return,
        ResultWord::Aborted
        | ResultWord::Superseded
        | ResultWord::Inconclusive
        | ResultWord::Unchanged
        | ResultWord::Refused => {}
    }
    // Its process, if there is one, has no part any more.
    stored.candidate = None;
    stored.share = Share::ZERO;
    stored.promotion = None;
}

/// Writes the last record that the journal lacks, while the state still names the promotion: a host
/// that dies here as well finds it again. Who reads histories finds how it ended.
fn finish(journal: &Path, at: DateTime<Utc>, outcome: &Outcome) {
    let Ok((journal, _, _)) = Journal::open(journal) else { return };
    let record = Record::Finished { outcome: Box::new(outcome.clone()) };
    // A full disk does not keep a host from serving.
    let _ = journal.close_with(at, &record, CLOSE_LIMIT);
}

fn adopt(stored: &mut Stored, app: &App, release: Release, at: DateTime<Utc>) {
    if stored.stable.release.hash == release.hash {
        return;
    }
    let spec = stored.how_it_starts(app, &release);
    let candidate = stored.candidate.take().filter(|known| known.release.hash == release.hash);
    let number = at.timestamp_micros().unsigned_abs();
    let stable = candidate.or_else(|| Some(Stored::revision(release, spec?, number)));
    let Some(stable) = stable else { return };
    let old = std::mem::replace(&mut stored.stable, stable);
    stored.pass(PassedRevision { release: old.release, spec: old.spec, until: at });
}
