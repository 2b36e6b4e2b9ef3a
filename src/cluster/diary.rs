//! The engine's history in the record, with few writes.
//!
//! **What is written when.** A decision that asks for something new, or that leads into another phase,
//! is written before it is done. Everything else (looks, events, effects done, clocks that go on) waits
//! for the next write, which comes at the latest with the heartbeat, every
//! [`HEARTBEAT`](super::owner::HEARTBEAT). Each write holds the state and the judge of one moment, so
//! whoever goes on goes on from there, bit for bit.
//!
//! **Who writes.** One task, one write at a time, each under the test that this process still owns the
//! record. One that was taken over writes nothing more, and says so ([`Diary::lost`]): its driver must
//! then stop doing anything. A record that somebody has deleted is written again.
//!
//! **The API server never holds the way back up.** A decision of the way back is tried once, for at most
//! [`WAY_BACK_LIMIT`]; what is late or failed goes with a later write.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::asks;
use super::begin::Held;
use super::tenure::Tenure;
use crate::clock::Clock;
use crate::history::{AskedFor, History, HistoryError, Record, Urgency, WAY_BACK_LIMIT};
use crate::platform::kubernetes::names;
use crate::rollout::{Ask, Asks};

pub(super) mod desk;

mod hearing;

mod writing;

use desk::{Desk, Need, SharedDesk};
use writing::{Request, Writer};

/// Writes that wait for their turn.
const REQUESTS_MAX: usize = 64;
/// Before what failed at the end is tried again.
const CLOSE_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Keeps the record of one promotion as long as it lives.
#[derive(Debug)]
pub struct Diary {
    desk: SharedDesk,
    requests: mpsc::Sender<Request>,
    /// What people ask for, as the record has it.
    heard: watch::Receiver<Vec<(AskedFor, Ask)>>,
    tenure: Tenure,
    _tasks: JoinSet<()>,
}

/// Tells when the promotion is another process's.
#[derive(Clone, Debug)]
pub struct Lost(watch::Receiver<Option<String>>);

impl Diary {
    pub(super) fn start<C: Clock + Send + Sync + 'static>(held: Held, clock: C) -> Self {
        let Held { access, target, owner, ledger, came: _ } = held;
        let (requests, queue) = mpsc::channel(REQUESTS_MAX);
        let tenure = Tenure::begin(&access, &target, owner);
        let (tell_heard, heard) = watch::channel(Vec::new());
        let hearing = hearing::Hearing {
            name: names::record(&target),
            promotion: ledger.folded.id.clone(),
            stages: ledger.folded.plan.stages.len(),
            tenure: tenure.clone(),
            heard: tell_heard,
            requests: requests.clone(),
        };
        let desk = Desk::shared(ledger);
        let (tenured, shared) = (tenure.clone(), desk.clone());
        let writer = Writer { access: access.clone(), target, tenure: tenured, desk: shared };
        let mut tasks = JoinSet::new();
        tasks.spawn(writer.run(queue, clock));
        tasks.spawn(hearing.run(access));
        Self { desk, requests, heard, tenure, _tasks: tasks }
    }

    /// Returns what tells when another process has taken the promotion over: nothing may be done from
    /// then on.
    #[must_use]
    pub fn lost(&self) -> Lost {
        Lost(self.tenure.lost())
    }

    /// Returns what says whether this process may still act.
    pub(super) fn tenure(&self) -> Tenure {
        self.tenure.clone()
    }

    /// Writes what is not written yet, and ends.
    ///
    /// # Errors
    /// It could not be written within `limit`; why.
    pub async fn close(self, limit: Duration) -> Result<(), HistoryError> {
        let deadline = Instant::now() + limit;
        loop {
            let answer = self.request(Urgency::First)?;
            let error = match tokio::time::timeout_at(deadline, answer).await {
                Ok(Ok(Ok(()))) => return Ok(()),
                Ok(Ok(Err(why))) => late(why),
                Ok(Err(_)) => return Err(self.ended()),
                Err(_) => return Err(late(format!("no answer within {limit:?}"))),
            };
            if Instant::now() + CLOSE_AGAIN_AFTER >= deadline {
                return Err(error);
            }
            sleep(CLOSE_AGAIN_AFTER).await;
        }
    }

    fn request(
        &self,
        urgency: Urgency,
    ) -> Result<oneshot::Receiver<Result<(), String>>, HistoryError> {
        let (done, answer) = oneshot::channel();
        let request = Request::Write { urgency, done };
        match self.requests.try_send(request) {
            Ok(()) => Ok(answer),
            Err(mpsc::error::TrySendError::Full(_)) => {
                Err(late(format!("{REQUESTS_MAX} writes wait already")))
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Err(self.ended()),
        }
    }

    async fn written(&mut self, urgency: Urgency) -> Result<(), HistoryError> {
        let mut answer = self.request(urgency)?;
        let answered = match urgency {
            Urgency::WayBack => timeout(WAY_BACK_LIMIT, answer).await,
            // Nobody waits behind a slow API server to be heard.
            Urgency::First => tokio::select! {
                biased;
                answered = &mut answer => Ok(answered),
                () = self.asked() => timeout(WAY_BACK_LIMIT, answer).await,
            },
        };
        match answered {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(why))) => Err(late(why)),
            Ok(Err(_)) => Err(self.ended()),
            Err(_) => Err(late("the API server takes long".into())),
        }
    }

    /// Why nothing is written any more.
    fn ended(&self) -> HistoryError {
        let what = self.tenure.lost().borrow().clone();
        HistoryError { what: what.unwrap_or_else(|| "it is closed".into()) }
    }

    fn unheard(&self) -> Vec<(AskedFor, Ask)> {
        let heard = self.heard.borrow().clone();
        asks::unheard(&self.desk.lock().ledger.folded.asks, heard)
    }
}

impl Lost {
    /// Waits until the promotion is another process's; returns whose, in words.
    pub async fn wait(&mut self) -> String {
        let lost = self.0.wait_for(Option::is_some).await.ok().and_then(|lost| lost.clone());
        match lost {
            Some(lost) => lost,
            // Nobody writes any more: it can't be lost.
            None => std::future::pending().await,
        }
    }
}

const fn late(what: String) -> HistoryError {
    HistoryError { what }
}

impl History for Diary {
    async fn record(
        &mut self,
        at: DateTime<Utc>,
        record: Record,
        urgency: Urgency,
    ) -> Result<(), HistoryError> {
        if self.tenure.lost().borrow().is_some() {
            return Err(self.ended());
        }
        let need = self.desk.lock().note(at, &record, urgency);
        match need {
            Need::Later => Ok(()),
            Need::Tried => Err(late("it goes with a later write".into())),
            Need::Now => self.written(urgency).await,
        }
    }

    async fn asks(&mut self) -> Asks {
        let unheard = self.unheard();
        let mut desk = self.desk.lock();
        for (what, ask) in unheard {
            // It is in the cluster already: as an annotation of the record.
            let _ = desk.note(ask.at, &Record::Asked { what, ask: ask.clone() }, Urgency::WayBack);
        }
        desk.ledger.folded.asks.clone()
    }

    async fn asked(&mut self) {
        while self.unheard().is_empty() {
            if self.heard.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}
