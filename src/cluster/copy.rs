//! A copy of a promotion's records on the machine that drives it, for its story and its report.
//!
//! The record in the cluster is what counts. A copy that can't be written is not missed by anybody but
//! those who look for it: it holds nothing up, and stops nothing.

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::history::journal::{self, JOURNALS_PER_TARGET_MAX, Journal};
use crate::history::{Folded, Record};

/// No record waits for the disk.
const NO_WAIT: Duration = Duration::ZERO;

#[derive(Debug, Default)]
pub(super) struct Copy(Option<Journal<Record>>);

impl Copy {
    /// Begins, or goes on with, the copy of a promotion; `folder`: where those of its target are.
    pub(super) async fn open(folder: Option<&Path>, promotion: &Folded) -> Self {
        let Some(folder) = folder else { return Self(None) };
        // What can't be made can't be opened either.
        let _ = std::fs::create_dir_all(folder);
        let _ = journal::prune(folder, JOURNALS_PER_TARGET_MAX - 1);
        let opened = Journal::open(&folder.join(format!("{}.jsonl", promotion.id)));
        let Ok((journal, entries, _)) = opened else { return Self(None) };
        let mut copy = Self(Some(journal));
        if entries.is_empty() {
            let Folded { id, by, plan, started, .. } = promotion;
            let plan = Box::new(plan.clone());
            let first = Record::Started { id: id.clone(), by: by.clone(), plan };
            copy.take(*started, &first).await;
        }
        copy
    }

    pub(super) async fn take(&mut self, at: DateTime<Utc>, record: &Record) {
        if let Some(journal) = &mut self.0 {
            // What is late is written after; what is not taken is missing.
            let _ = journal.append_within(at, record, NO_WAIT).await;
        }
    }
}
