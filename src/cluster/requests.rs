//! The host's requests and answers, for a Deployment: a command need not know which of the two it
//! talks to. Here the promotion runs in whoever asks for it; what must survive is in the cluster.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use super::admission::{self, Back};
use super::ledger::Ledger;
use super::listening::Wish;
use super::onlooker::Onlooker;
use super::{read, survey};
use crate::clock::{Clock as _, SystemClock};
use crate::history::AskedFor;
use crate::host::protocol::{Answer, Request};
use crate::platform::PlatformError;
use crate::platform::kubernetes::snapshot::Rollout;
use crate::platform::kubernetes::{Access, Where, template};
use crate::published::{ResultLine, STATUS_SCHEMA, StatusLine};
use crate::rollout::Ask;

/// Answers that are not read yet.
const ANSWERS_MAX: usize = 1024;
/// Between two readings of the record of a promotion that runs elsewhere.
const FOLLOW: Duration = Duration::from_secs(2);

/// One Deployment of one cluster. Clones are the same.
#[derive(Clone, Debug)]
pub struct Cluster {
    place: Where,
    name: String,
    /// A promotion whose owner is silent is taken over.
    pub(super) take_over: bool,
    /// Where this machine keeps copies of the records of promotions that it drives.
    journals: Option<PathBuf>,
    /// Where the promotion that runs in this process hears of wishes.
    running: Arc<Mutex<Option<mpsc::Sender<Wish>>>>,
}

/// Why a request is not done, or not to its end.
#[derive(Debug)]
pub(super) enum Stopped {
    /// A mistake, or something that could not be reached.
    Error { exit_code: u8, message: String, hint: Option<String> },
    /// It was understood, and nothing was changed.
    Result(Box<ResultLine>),
}

impl From<PlatformError> for Stopped {
    fn from(error: PlatformError) -> Self {
        Self::Error { exit_code: 6, message: error.what, hint: None }
    }
}

impl Stopped {
    pub(super) fn usage(message: impl Into<String>, hint: Option<String>) -> Self {
        Self::Error { exit_code: 2, message: message.into(), hint }
    }

    pub(super) fn refused(message: impl Into<String>, hint: Option<String>) -> Self {
        Self::Error { exit_code: 7, message: message.into(), hint }
    }

    pub(super) fn into_answer(self) -> Answer {
        match self {
            Self::Error { exit_code, message, hint } => Answer::Error { exit_code, message, hint },
            Self::Result(line) => Answer::Result { line },
        }
    }
}

impl Cluster {
    #[must_use]
    pub fn new(place: Where, name: String) -> Self {
        Self { place, name, take_over: false, journals: None, running: Arc::default() }
    }

    /// Takes a promotion over whose owner is silent.
    #[must_use]
    pub fn taking_over(self, take_over: bool) -> Self {
        Self { take_over, ..self }
    }

    /// Keeps a copy of the records of promotions that this process drives.
    #[must_use]
    pub fn copying(self, journals: Option<PathBuf>) -> Self {
        Self { journals, ..self }
    }

    /// Returns the target as people write it.
    #[must_use]
    pub fn target(&self) -> String {
        format!("deployment/{}", self.name)
    }

    /// Returns what the cluster remembers of the target; `None`: nothing was ever promoted there.
    ///
    /// # Errors
    /// The record or the cluster can't be read. As it is answered to requests.
    pub async fn record(&self) -> Result<Option<Ledger>, Box<Answer>> {
        let read = async {
            let access = Access::new(&self.place).await?;
            Ok::<_, Stopped>(read::read(&access, &self.name).await?)
        };
        read.await.map_err(|stopped| Box::new(stopped.into_answer()))
    }

    /// Returns the Deployments of a namespace that have a record, by name.
    ///
    /// # Errors
    /// The cluster can't be read. As it is answered to requests.
    pub async fn all(place: &Where) -> Result<Vec<Self>, Box<Answer>> {
        let listed = async {
            let access = Access::new(place).await?;
            Ok::<_, Stopped>(read::list(&access).await?)
        };
        let listed = listed.await.map_err(|stopped| Box::new(stopped.into_answer()))?;
        let known = listed.into_iter().filter_map(|(_, ledger)| ledger.ok());
        let names = known.filter_map(|ledger| {
            let target = ledger.folded.plan.target;
            target.strip_prefix("deployment/").map(str::to_owned)
        });
        Ok(names.map(|name| Self::new(place.clone(), name)).collect())
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn journals(&self) -> Option<&Path> {
        self.journals.as_deref()
    }

    pub(super) const fn place(&self) -> &Where {
        &self.place
    }

    /// Notes where wishes go as long as a promotion runs here.
    pub(super) fn runs(&self, wishes: Option<mpsc::Sender<Wish>>) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = wishes;
    }

    /// Asks; the answers come as they are there, and end with the request.
    #[must_use]
    pub fn begin(&self, request: Request) -> mpsc::Receiver<Answer> {
        let (answers, receiver) = mpsc::channel(ANSWERS_MAX);
        let cluster = self.clone();
        tokio::spawn(async move {
            let last = match cluster.answer(request, &answers).await {
                Ok(answer) => answer,
                Err(stopped) => stopped.into_answer(),
            };
            // Whoever asked may have gone.
            let _ = answers.send(last).await;
        });
        receiver
    }

    /// Does what is asked; returns the last answer.
    async fn answer(
        &self,
        request: Request,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Answer, Stopped> {
        let access = Access::new(&self.place).await?;
        match request {
            Request::Promote(promote) => self.promote(access, promote, answers).await,
            Request::Plan(promote) => {
                let asked = admission::considered(&access, &self.name, &promote).await?;
                Ok(Answer::Plan { plan: Box::new(asked.plan) })
            }
            Request::Ask { what, by, reason } => self.ask(&access, what, by, reason).await,
            Request::Status => {
                let ledger = read::read(&access, &self.name).await?;
                let mut onlooker = self.onlooker(&access, ledger.as_ref()).await;
                self.status(&access, ledger.as_ref(), onlooker.as_mut()).await
            }
            Request::Follow => self.follow(&access, answers).await,
            Request::AbortIfOrphaned { by, reason } => {
                self.abort_if_orphaned(access, by, reason, answers).await
            }
            Request::Rollback { to, now, by, reason, policy } => {
                let back = Back { to, now, policy };
                self.rollback(access, back, by, reason, answers).await
            }
            Request::Retry { by, reason, policy } => {
                self.retry(access, by, reason, policy, answers).await
            }
        }
    }

    /// A promotion of this process hears it at once, another through its record.
    pub(super) async fn ask(
        &self,
        access: &Access,
        what: AskedFor,
        by: String,
        reason: Option<String>,
    ) -> Result<Answer, Stopped> {
        let at = SystemClock::start().now();
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let ask = Ask { at, by: by.clone(), reason: reason.clone() };
        if let Some(running) = running
            && running.send((what, ask)).await.is_ok()
        {
            return Ok(Answer::Done { message: format!("{} is told", self.target()) });
        }
        let id = read::ask(access, &self.name, what, &by, reason, at).await?;
        Ok(Answer::Done { message: format!("{id} is told") })
    }

    async fn onlooker(&self, access: &Access, ledger: Option<&Ledger>) -> Option<Onlooker> {
        Onlooker::start(access, &self.name, ledger.filter(|ledger| ledger.runs())?).await
    }

    async fn status(
        &self,
        access: &Access,
        ledger: Option<&Ledger>,
        onlooker: Option<&mut Onlooker>,
    ) -> Result<Answer, Stopped> {
        let now = SystemClock::start().now();
        let world = match (onlooker, ledger) {
            (Some(onlooker), Some(ledger)) => onlooker.world(ledger).await,
            (_, _) => None,
        };
        let target = survey::target(access, &self.name).await?;
        let seen = Rollout::of(&target);
        let line = StatusLine {
            schema: STATUS_SCHEMA.into(),
            at: now,
            target: self.target(),
            stable_revision: template::name(&target.data["spec"]["template"], None),
            stable_ready: [seen.available, seen.wanted],
            promotion: ledger.and_then(|ledger| ledger.status(world.as_ref(), now)),
            last: ledger.and_then(Ledger::last),
        };
        Ok(Answer::Status { line: Box::new(line) })
    }

    /// Tells a promotion that runs elsewhere, as its record has it.
    pub(super) async fn follow(
        &self,
        access: &Access,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Answer, Stopped> {
        let mut told = 0;
        let mut onlooker = None;
        loop {
            let Some(ledger) = read::read(access, &self.name).await? else {
                return Err(Stopped::refused(
                    format!("no promotion of {} runs", self.target()),
                    None,
                ));
            };
            let folded = &ledger.folded;
            if told == 0 && !ledger.runs() {
                return Err(Stopped::refused(
                    format!("no promotion of {} runs", self.target()),
                    None,
                ));
            }
            if let Some(outcome) = &folded.outcome {
                let line = ResultLine::new(&folded.id, &folded.plan.target, outcome.clone());
                return Ok(Answer::Result { line: Box::new(line) });
            }
            if onlooker.is_none() {
                onlooker = self.onlooker(access, Some(&ledger)).await;
            }
            let status = self.status(access, Some(&ledger), onlooker.as_mut()).await?;
            if answers.send(status).await.is_err() {
                return Err(Stopped::refused("nobody follows any more", None));
            }
            told += 1;
            tokio::time::sleep(FOLLOW).await;
        }
    }
}
