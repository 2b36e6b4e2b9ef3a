//! A promotion's history on this host: its journal, and the asks that come in over the socket.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::history::journal::{self, Appended, Journal, JournalError, Repair};
use crate::history::{
    AskedFor, Folded, History, HistoryError, Record, Urgency, WAY_BACK_LIMIT, fold,
};
use crate::rollout::{Ask, Asks};

/// Asks that wait to be heard.
const ASKS_MAX: usize = 64;

/// Something that somebody asked for, and who wants to know that it was heard.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) what: AskedFor,
    pub(super) ask: Ask,
    pub(super) heard: oneshot::Sender<()>,
}

/// Where wishes go.
pub(super) type Wishes = mpsc::Sender<Wish>;

/// The engine's history of one promotion.
#[derive(Debug)]
pub(super) struct Diary {
    journal: Journal<Record>,
    asks: Asks,
    wishes: mpsc::Receiver<Wish>,
    inbox: VecDeque<Wish>,
}

impl Diary {
    /// Opens or begins a promotion's journal.
    pub(super) fn open(
        folder: &Path,
        id: &str,
    ) -> Result<(Self, Wishes, Option<Folded>, Repair), JournalError> {
        let (journal, entries, repair) = Journal::open(&file(folder, id))?;
        let folded = fold_entries(&entries);
        let asks = folded.as_ref().map(|folded| folded.asks.clone()).unwrap_or_default();
        let (diary, sender) = Self::over(journal, asks);
        Ok((diary, sender, folded, repair))
    }

    fn over(journal: Journal<Record>, asks: Asks) -> (Self, Wishes) {
        let (sender, wishes) = mpsc::channel(ASKS_MAX);
        (Self { journal, asks, wishes, inbox: VecDeque::new() }, sender)
    }

    /// A slow disk holds the way forward up, but nobody who asks: from then on a record has as long
    /// as on the way back. What is late then stays in the queue and is written once, as ever; the
    /// engine has done nothing, and decides again with the ask heard.
    async fn record_first(
        &mut self,
        at: DateTime<Utc>,
        record: &Record,
    ) -> Result<(), HistoryError> {
        let Self { journal, wishes, inbox, .. } = self;
        let mut appended = std::pin::pin!(journal.append(at, record));
        let done = tokio::select! {
            biased;
            done = &mut appended => done,
            () = heard(wishes, inbox) => match timeout(WAY_BACK_LIMIT, appended).await {
                Ok(done) => done,
                Err(_) => Err(JournalError::Late("somebody asks, and it has taken long".into())),
            },
        };
        done.map_err(|error| HistoryError { what: error.to_string() })
    }
}

/// Returns where a promotion's journal is.
pub(super) fn file(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.jsonl"))
}

/// Folds what a journal holds.
#[must_use]
pub fn fold_entries(entries: &[journal::Entry<Record>]) -> Option<Folded> {
    fold(entries.iter().filter_map(|entry| match &entry.body {
        journal::Body::Known(record) => Some((entry.at, record)),
        journal::Body::Unknown { .. } => None,
    }))
}

impl History for Diary {
    async fn record(
        &mut self,
        at: DateTime<Utc>,
        record: Record,
        urgency: Urgency,
    ) -> Result<(), HistoryError> {
        let error = |error: &dyn std::fmt::Display| HistoryError { what: error.to_string() };
        match urgency {
            Urgency::First => self.record_first(at, &record).await,
            Urgency::WayBack => {
                match self.journal.append_within(at, &record, WAY_BACK_LIMIT).await {
                    Ok(Appended::Durable) => Ok(()),
                    Ok(Appended::Late(why)) => Err(error(&why)),
                    Err(e) => Err(error(&e)),
                }
            }
        }
    }

    async fn asks(&mut self) -> Asks {
        while let Ok(wish) = self.wishes.try_recv() {
            self.inbox.push_back(wish);
        }
        while let Some(wish) = self.inbox.pop_front() {
            let record = Record::Asked { what: wish.what, ask: wish.ask.clone() };
            // A person's word counts whether or not the disk takes it.
            let _ = self.record(wish.ask.at, record, Urgency::WayBack).await;
            self.asks.take(wish.what, wish.ask);
            let _ = wish.heard.send(());
        }
        self.asks.clone()
    }

    async fn asked(&mut self) {
        heard(&mut self.wishes, &mut self.inbox).await;
    }
}

/// Returns once somebody has asked for something that the engine does not know yet.
async fn heard(wishes: &mut mpsc::Receiver<Wish>, inbox: &mut VecDeque<Wish>) {
    if inbox.is_empty() {
        match wishes.recv().await {
            Some(wish) => inbox.push_back(wish),
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
pub(super) mod ground;

#[cfg(test)]
mod tests;
