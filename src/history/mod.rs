//! Append-only record of what was seen, decided and done.
//!
//! A record is versioned by its file's schema; kinds are added, never changed. Folding a
//! promotion's records gives its plan, state, judge and standing asks back, bit for bit: the judge
//! is fed the recorded looks again, so what condemned a release can be replayed by anyone.

use std::future::Future;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::analysis::{Judge, Judgement, Look};
use crate::plan::Plan;
use crate::rollout::{Ask, Asks, Effect, Event, Outcome, State, Waiting};

/// One line of a promotion's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Record {
    /// The first record: what is to be done.
    Started { id: String, by: String, plan: Box<Plan> },
    /// A look and what it says, with every value, also for passes.
    Observed { look: Look, judgement: Judgement },
    /// The baseline's history, which the judge was taught before its first look; several in a row where
    /// there is much of it. `at_s` is not above 0.
    Learned { looks: Vec<Look> },
    /// Written before the effects are asked for.
    Decided { state: Box<State>, effects: Vec<Effect>, waiting: Waiting },
    /// An effect was asked for; `error` is why it was not accepted.
    Done { effect: Effect, error: Option<String> },
    /// Plain words for people; nothing is folded from it.
    Happened { event: Event },
    /// A person, or a newer release, asked for something.
    Asked { what: AskedFor, ask: Ask },
    /// The last record.
    Finished { outcome: Box<Outcome> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskedFor {
    Abort,
    Hold,
    Resume,
    Approve {
        /// 0-based.
        stage: usize,
    },
    Supersede,
}

/// How much may hang on a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// It must be on disk before anything is done. A history gives up waiting for the disk once
    /// somebody asks for something: nobody waits behind a slow disk to be heard.
    First,
    /// On the way back: one attempt within [`WAY_BACK_LIMIT`]; what fails or is late is written after.
    WayBack,
}

/// A record that could not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the history can't be written: {what}")]
pub struct HistoryError {
    pub what: String,
}

pub trait History {
    /// Appends one record.
    fn record(
        &mut self,
        at: DateTime<Utc>,
        record: Record,
        urgency: Urgency,
    ) -> impl Future<Output = Result<(), HistoryError>> + Send;

    /// Returns what persons have asked for. What is new is recorded first.
    fn asks(&mut self) -> impl Future<Output = Asks> + Send;

    /// Returns once somebody has asked for something new.
    fn asked(&mut self) -> impl Future<Output = ()> + Send;
}

/// A promotion as its records tell it.
#[derive(Clone, Debug, PartialEq)]
pub struct Folded {
    pub id: String,
    pub by: String,
    pub started: DateTime<Utc>,
    pub plan: Plan,
    pub state: State,
    pub judge: Judge,
    pub asks: Asks,
    pub waiting: Option<Waiting>,
    pub newest: Option<(Look, Judgement)>,
    /// The judge was taught the past, or has looked already.
    pub taught: bool,
    pub outcome: Option<Outcome>,
}

/// Folds a promotion's records; `None` when the first is not the start of one that can be judged.
#[must_use]
pub fn fold<'a>(records: impl IntoIterator<Item = (DateTime<Utc>, &'a Record)>) -> Option<Folded> {
    let mut records = records.into_iter();
    let (started, Record::Started { id, by, plan }) = records.next()? else { return None };
    let mut folded = Folded {
        id: id.clone(),
        by: by.clone(),
        started,
        plan: (**plan).clone(),
        state: State::new(started),
        judge: Judge::new(plan).ok()?,
        asks: Asks::default(),
        waiting: None,
        newest: None,
        taught: false,
        outcome: None,
    };
    for (_, record) in records {
        folded.take(record);
    }
    Some(folded)
}

impl Folded {
    /// Takes in the next record.
    pub fn take(&mut self, record: &Record) {
        match record {
            Record::Observed { look, judgement } => {
                self.judge.judge(look);
                self.newest = Some((look.clone(), judgement.clone()));
                self.taught = true;
            }
            Record::Learned { looks } => {
                looks.iter().for_each(|look| self.judge.teach(look));
                self.taught = true;
            }
            Record::Decided { state, waiting, .. } => {
                self.state = (**state).clone();
                self.waiting = Some(waiting.clone());
            }
            Record::Asked { what, ask } => self.asks.take(*what, ask.clone()),
            Record::Finished { outcome } => self.outcome = Some((**outcome).clone()),
            Record::Started { .. } | Record::Done { .. } | Record::Happened { .. } => {}
        }
    }
}

impl Asks {
    /// Takes in what somebody asked for.
    pub fn take(&mut self, what: AskedFor, ask: Ask) {
        match what {
            AskedFor::Abort => self.abort = Some(ask),
            AskedFor::Hold => self.hold = Some(ask),
            AskedFor::Resume => self.resume = Some(ask),
            AskedFor::Approve { stage } => {
                self.approved.insert(stage, ask);
            }
            AskedFor::Supersede => self.superseded = Some(ask),
        }
    }
}

/// A history that is kept in memory: for simulations.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub records: Vec<(DateTime<Utc>, Record)>,
    pub asks: Asks,
}

impl History for Memory {
    async fn record(
        &mut self,
        at: DateTime<Utc>,
        record: Record,
        _urgency: Urgency,
    ) -> Result<(), HistoryError> {
        self.records.push((at, record));
        Ok(())
    }

    async fn asks(&mut self) -> Asks {
        self.asks.clone()
    }

    async fn asked(&mut self) {
        std::future::pending::<()>().await;
    }
}

pub mod journal;

pub use journal::WAY_BACK_LIMIT;

impl<H: History + Send> History for &mut H {
    fn record(
        &mut self,
        at: DateTime<Utc>,
        record: Record,
        urgency: Urgency,
    ) -> impl Future<Output = Result<(), HistoryError>> + Send {
        (**self).record(at, record, urgency)
    }

    fn asks(&mut self) -> impl Future<Output = Asks> + Send {
        (**self).asks()
    }

    fn asked(&mut self) -> impl Future<Output = ()> + Send {
        (**self).asked()
    }
}
