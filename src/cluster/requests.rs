//! The host's requests and answers, for a Deployment: a command need not know which of the two it
//! talks to. Here the promotion runs in whoever asks for it; what must survive is in the cluster.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;

use super::admission::{self, Admitted};
use super::begin::{self, Came, Held, New};
use super::drive::Drive;
use super::ledger::{Ledger, Templates};
use super::listening::Wish;
use super::owner::Owner;
use super::{read, survey};
use crate::clock::{Clock as _, SystemClock};
use crate::history::AskedFor;
use crate::host::protocol::{Answer, Promote, Request};
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
    take_over: bool,
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
        Self { place, name, take_over: false, running: Arc::default() }
    }

    /// Takes a promotion over whose owner is silent.
    #[must_use]
    pub fn taking_over(self, take_over: bool) -> Self {
        Self { take_over, ..self }
    }

    /// Returns the target as people write it.
    #[must_use]
    pub fn target(&self) -> String {
        format!("deployment/{}", self.name)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
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
                self.status(&access, ledger.as_ref()).await
            }
            Request::Follow => self.follow(&access, answers).await,
            Request::AbortIfOrphaned { by, reason } => {
                self.abort_if_orphaned(access, by, reason, answers).await
            }
            Request::Rollback { to, now, by, reason } => {
                self.rollback(access, to, now, by, reason, answers).await
            }
            Request::Retry { by, reason } => self.retry(access, by, reason, answers).await,
        }
    }

    async fn promote(
        &self,
        access: Access,
        promote: Promote,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Answer, Stopped> {
        let mut ledger = read::read(&access, &self.name).await?;
        if ledger.as_ref().is_some_and(Ledger::runs) {
            if let Some(line) = self.go_on(&access, &promote, answers).await? {
                return Ok(Answer::Result { line: Box::new(line) });
            }
            ledger = read::read(&access, &self.name).await?;
        }
        let admitted = admission::admit(&access, &self.name, &promote, ledger.as_ref()).await?;
        self.start(access, admitted, promote.by, answers).await
    }

    /// Goes on with what another gate has left behind: to its end where it is the same release, else
    /// back, because another takes its place.
    async fn go_on(
        &self,
        access: &Access,
        promote: &Promote,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Option<ResultLine>, Stopped> {
        let now = SystemClock::start().now();
        let owner = this(&promote.by, now)?;
        let held = begin::go_on(access, &self.name, &owner, self.take_over).await?;
        let left = held.ledger.folded.plan.release.name.clone();
        let same = admission::is_release(&held.ledger.templates, &promote.release)?;
        let wish = (!same).then(|| {
            let reason = Some(format!("{} takes its place", promote.release));
            (AskedFor::Supersede, Ask { at: now, by: promote.by.clone(), reason })
        });
        let line = self.resume(access, held, wish, answers).await?;
        if same {
            return Ok(Some(line));
        }
        let message =
            format!("{left}, left behind by another gate, was ended: {}", line.outcome.reason);
        let _ = answers.send(Answer::Done { message }).await;
        Ok(None)
    }

    async fn start(
        &self,
        access: Access,
        admitted: Admitted,
        by: String,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Answer, Stopped> {
        let Admitted { plan, router, stable, release, selector } = admitted;
        let now = SystemClock::start().now();
        let owner = this(&by, now)?;
        let id = crate::host::new_id(now);
        let templates = Templates { stable, release };
        let new = New { id, by, plan, templates };
        let held = begin::begin(&access, &self.name, &new, &owner, self.take_over)
            .await
            .map_err(|refused| Stopped::Result(Box::new(refused.line(&new.plan))))?;
        if held.came != Came::Begun {
            // Somebody was faster, and has died since: what it began is ended first.
            let message = "another promotion was begun and left behind meanwhile".to_owned();
            return Err(Stopped::refused(message, Some("ask again".into())));
        }
        let wish = None;
        let drive = Drive { cluster: self, access, router, selector, answers, wish };
        Ok(Answer::Result { line: Box::new(drive.run(held).await?) })
    }

    pub(super) async fn resume(
        &self,
        access: &Access,
        held: Held,
        wish: Option<Wish>,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<ResultLine, Stopped> {
        let (router, selector) =
            admission::router_again(access, &self.name, &held.ledger.folded.plan).await?;
        let access = access.clone();
        Drive { cluster: self, access, router, selector, answers, wish }.run(held).await
    }

    /// A promotion of this process hears it at once, another through its record.
    async fn ask(
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

    async fn status(&self, access: &Access, ledger: Option<&Ledger>) -> Result<Answer, Stopped> {
        let now = SystemClock::start().now();
        let target = survey::target(access, &self.name).await?;
        let seen = Rollout::of(&target);
        let line = StatusLine {
            schema: STATUS_SCHEMA.into(),
            at: now,
            target: self.target(),
            stable_revision: template::name(&target.data["spec"]["template"], None),
            stable_ready: [seen.available, seen.wanted],
            promotion: ledger.and_then(|ledger| ledger.status(None, now)),
            last: ledger.and_then(Ledger::last),
        };
        Ok(Answer::Status { line: Box::new(line) })
    }

    /// Tells a promotion that runs elsewhere, as its record has it.
    async fn follow(
        &self,
        access: &Access,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Answer, Stopped> {
        let mut told = 0;
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
            let status = self.status(access, Some(&ledger)).await?;
            if answers.send(status).await.is_err() {
                return Err(Stopped::refused("nobody follows any more", None));
            }
            told += 1;
            tokio::time::sleep(FOLLOW).await;
        }
    }

    async fn abort_if_orphaned(
        &self,
        access: Access,
        by: String,
        reason: Option<String>,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Answer, Stopped> {
        let now = SystemClock::start().now();
        let owner = this(&by, now)?;
        let held = match begin::go_on(&access, &self.name, &owner, true).await {
            Ok(held) => held,
            Err(begin::Refused::Busy(running)) => {
                return Ok(Answer::Done { message: format!("its gate is alive: {running}") });
            }
            Err(begin::Refused::NothingRuns { target }) => {
                let message =
                    format!("no promotion of deployment/{target} runs: nothing is orphaned");
                return Ok(Answer::Done { message });
            }
            Err(refused) => return Err(refused.into()),
        };
        let reason = reason.or_else(|| Some("its gate is gone".into()));
        let wish = (AskedFor::Abort, Ask { at: now, by, reason });
        let line = self.resume(&access, held, Some(wish), answers).await?;
        Ok(Answer::Done {
            message: format!("it was orphaned, and is ended: {}", line.outcome.reason),
        })
    }

    /// Of a promotion that runs it is an abort; of one that has ended, a promotion of what was before.
    async fn rollback(
        &self,
        access: Access,
        to: Option<String>,
        now: bool,
        by: String,
        reason: Option<String>,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Answer, Stopped> {
        let ledger = read::read(&access, &self.name).await?;
        if ledger.as_ref().is_some_and(Ledger::runs) {
            self.ask(&access, AskedFor::Abort, by, reason).await?;
            return self.follow(&access, answers).await;
        }
        let to = to.as_deref();
        let admitted = admission::admit_back(&access, &self.name, to, now, ledger.as_ref()).await?;
        self.start(access, admitted, by, answers).await
    }

    async fn retry(
        &self,
        access: Access,
        by: String,
        reason: Option<String>,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Answer, Stopped> {
        let ledger = read::read(&access, &self.name).await?;
        let bad = ledger.as_ref().and_then(|ledger| ledger.remembered.quarantine.last());
        let bad = bad.ok_or_else(|| Stopped::refused("no release is in quarantine", None))?;
        let release = bad.release.name.replace(", ", ",");
        let retry = Some(reason.unwrap_or_else(|| "retried".into()));
        let promote = Promote { release, policy: None, by, retry, gitops_ok: false };
        self.promote(access, promote, answers).await
    }
}

pub(super) fn this(by: &str, now: DateTime<Utc>) -> Result<Owner, Stopped> {
    Owner::this(by, now).map_err(|error| Stopped::Error {
        exit_code: 1,
        message: format!("can't tell who this process is: {error}"),
        hint: None,
    })
}
