//! A history that also hears what is asked for in this process: a signal must not need the API server
//! to be heard.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;

use super::copy::Copy;
use super::diary::Diary;
use crate::history::{AskedFor, History, HistoryError, Record, Urgency};
use crate::rollout::{Ask, Asks};

/// Wishes that are not heard yet.
const WISHES_MAX: usize = 64;

/// Something that is asked for in this process.
pub(super) type Wish = (AskedFor, Ask);

#[derive(Debug)]
pub(super) struct Listening {
    pub(super) diary: Diary,
    copy: Copy,
    wishes: mpsc::Receiver<Wish>,
    inbox: VecDeque<Wish>,
}

impl Listening {
    pub(super) fn new(diary: Diary, copy: Copy) -> (Self, mpsc::Sender<Wish>) {
        let (sender, wishes) = mpsc::channel(WISHES_MAX);
        (Self { diary, copy, wishes, inbox: VecDeque::new() }, sender)
    }
}

impl History for Listening {
    async fn record(
        &mut self,
        at: DateTime<Utc>,
        record: Record,
        urgency: Urgency,
    ) -> Result<(), HistoryError> {
        self.copy.take(at, &record).await;
        self.diary.record(at, record, urgency).await
    }

    async fn asks(&mut self) -> Asks {
        while let Ok(wish) = self.wishes.try_recv() {
            self.inbox.push_back(wish);
        }
        while let Some((what, ask)) = self.inbox.pop_front() {
            let record = Record::Asked { what, ask: ask.clone() };
            // It counts whether or not the record takes it.
            let _ = self.record(ask.at, record, Urgency::WayBack).await;
        }
        self.diary.asks().await
    }

    async fn asked(&mut self) {
        if !self.inbox.is_empty() {
            return;
        }
        tokio::select! {
            biased;
            Some(wish) = self.wishes.recv() => self.inbox.push_back(wish),
            () = self.diary.asked() => {}
        }
    }
}
