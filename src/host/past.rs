//! How the promotions of this app have ended, as their journals tell.

use std::path::Path;

use super::diary;
use crate::history::journal;
use crate::published::LastResult;

/// The newest may still run, or may have been cut off at its start.
pub(super) fn newest_result(history: &Path) -> Option<LastResult> {
    let newest = journal::list(history).ok()?.into_iter().take(2);
    newest.filter_map(|listed| last_result(&listed.path)).next()
}

fn last_result(path: &Path) -> Option<LastResult> {
    let (entries, _) = journal::read(path).ok()?;
    let at = entries.last()?.at;
    let folded = diary::fold_entries(&entries)?;
    let outcome = folded.outcome?;
    let (release, reason) = (folded.plan.release.name, outcome.reason);
    Some(LastResult { id: folded.id, release, result: outcome.result, reason, at })
}
