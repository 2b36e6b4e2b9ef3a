//! Promotions of a Deployment: asked for, driven and told as the host does it for a local app, but by
//! whoever runs the command. What must survive is in the cluster.
//!
//! [`Cluster::begin`] takes the host's requests and gives its answers, so that the commands need not
//! know which of the two they talk to.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::history::AskedFor;
use crate::host::protocol::{Answer, Request};
use crate::platform::PlatformError;
use crate::platform::kubernetes::{Access, Where};
use crate::published::ResultLine;
use crate::rollout::Ask;

mod admission;

mod drive;

/// Answers that are not read yet.
const ANSWERS_MAX: usize = 1024;

/// One Deployment of one cluster. Clones are the same.
#[derive(Clone, Debug)]
pub struct Cluster {
    place: Where,
    name: String,
    /// Where the promotion that runs in this process hears of wishes.
    running: Arc<Mutex<Option<mpsc::Sender<(AskedFor, Ask)>>>>,
}

/// Why a request can't be done. Nothing was changed.
#[derive(Debug)]
enum Refused {
    /// Of a mistake, or of something that could not be reached.
    Error { exit_code: u8, message: String, hint: Option<String> },
    /// It was understood, and is not done.
    Result(Box<ResultLine>),
}

impl From<PlatformError> for Refused {
    fn from(error: PlatformError) -> Self {
        Self::Error { exit_code: 6, message: error.what, hint: None }
    }
}

impl Refused {
    fn usage(message: impl Into<String>, hint: Option<String>) -> Self {
        Self::Error { exit_code: 2, message: message.into(), hint }
    }

    fn refused(message: impl Into<String>, hint: Option<String>) -> Self {
        Self::Error { exit_code: 7, message: message.into(), hint }
    }

    fn into_answer(self) -> Answer {
        match self {
            Self::Error { exit_code, message, hint } => Answer::Error { exit_code, message, hint },
            Self::Result(line) => Answer::Result { line },
        }
    }
}

impl Cluster {
    #[must_use]
    pub fn new(place: Where, name: String) -> Self {
        Self { place, name, running: Arc::default() }
    }

    /// Returns the target as people write it.
    #[must_use]
    pub fn target(&self) -> String {
        format!("deployment/{}", self.name)
    }

    /// Asks; the answers come as they are there, and end with the request.
    #[must_use]
    pub fn begin(&self, request: Request) -> mpsc::Receiver<Answer> {
        let (answers, receiver) = mpsc::channel(ANSWERS_MAX);
        let cluster = self.clone();
        tokio::spawn(async move {
            if let Err(refused) = cluster.answer(request, &answers).await {
                // Whoever asked may have gone.
                let _ = answers.send(refused.into_answer()).await;
            }
        });
        receiver
    }

    async fn answer(
        &self,
        request: Request,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<(), Refused> {
        match request {
            Request::Promote(promote) => {
                let access = Access::new(&self.place).await?;
                let admitted = admission::admit(&access, &self.name, &promote).await?;
                drive::drive(self, access, admitted, promote.by, answers).await
            }
            Request::Plan(promote) => {
                let access = Access::new(&self.place).await?;
                let admitted = admission::admit(&access, &self.name, &promote).await?;
                let _ = answers.send(Answer::Plan { plan: Box::new(admitted.plan) }).await;
                Ok(())
            }
            Request::Ask { what, by, reason } => self.ask(what, by, reason, answers).await,
            Request::Status
            | Request::Follow
            | Request::Rollback { .. }
            | Request::Retry { .. }
            | Request::AbortIfOrphaned { .. } => {
                Err(Refused::refused("not done in a cluster yet", None))
            }
        }
    }

    async fn ask(
        &self,
        what: AskedFor,
        by: String,
        reason: Option<String>,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<(), Refused> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let at = crate::clock::Clock::now(&crate::clock::SystemClock::start());
        let ask = Ask { at, by, reason };
        let told = match running {
            Some(running) => running.send((what, ask)).await.is_ok(),
            None => false,
        };
        if !told {
            return Err(Refused::refused(format!("no promotion of {} runs", self.target()), None));
        }
        let _ = answers.send(Answer::Done { message: format!("{} is told", self.target()) }).await;
        Ok(())
    }
}
