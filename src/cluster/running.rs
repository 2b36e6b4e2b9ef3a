//! Requests that begin a promotion of a Deployment, or take one up that another gate has left behind.

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;

use super::admission::{self, Admitted, Back};
use super::begin::{self, Came, Held, New};
use super::drive::Drive;
use super::ledger::{Ledger, Templates};
use super::listening::Wish;
use super::owner::Owner;
use super::read::{self, Reading};
use super::requests::{Cluster, Stopped};
use crate::clock::{Clock as _, SystemClock};
use crate::history::AskedFor;
use crate::host::protocol::{Answer, PolicyText, Promote};
use crate::platform::kubernetes::Access;
use crate::platform::kubernetes::watching::Watched;
use crate::published::ResultLine;
use crate::rollout::Ask;

impl Cluster {
    pub(super) async fn promote(
        &self,
        access: Access,
        promote: Promote,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Answer, Stopped> {
        let mut record = Reading::now(&access, self.name()).await?;
        let mut ledger = record.ledger()?;
        if ledger.as_ref().is_some_and(Ledger::runs) {
            if let Some(line) = self.go_on(&access, &promote, answers).await? {
                return Ok(Answer::Result { line: Box::new(line) });
            }
            record = Reading::now(&access, self.name()).await?;
            ledger = record.ledger()?;
        }
        let admitted = admission::admit(&access, self.name(), &promote, ledger.as_ref()).await?;
        self.start(access, admitted, (record, promote.by), answers).await
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
        let held = begin::go_on(access, self.name(), &owner, self.take_over).await?;
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
        (record, by): (Reading, String),
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Answer, Stopped> {
        let Admitted { plan, router, stable, release, selector, watched } = admitted;
        let now = SystemClock::start().now();
        let owner = this(&by, now)?;
        let id = crate::host::new_id(now);
        let templates = Templates { stable, release };
        let new = New { id, by, plan, templates, record: Some(record) };
        let held = begin::begin(&access, self.name(), &new, &owner, self.take_over)
            .await
            .map_err(|refused| Stopped::Result(Box::new(refused.line(&new.plan))))?;
        if held.came != Came::Begun {
            // Somebody was faster, and has died since: what it began is ended first.
            let message = "another promotion was begun and left behind meanwhile".to_owned();
            return Err(Stopped::refused(message, Some("ask again".into())));
        }
        let wish = None;
        let drive = Drive { cluster: self, access, router, selector, watched, answers, wish };
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
            admission::router_again(access, self.name(), &held.ledger.folded.plan).await?;
        let (access, watched) = (access.clone(), Watched::start(access, Vec::new()));
        Drive { cluster: self, access, router, selector, watched, answers, wish }.run(held).await
    }

    pub(super) async fn abort_if_orphaned(
        &self,
        access: Access,
        by: String,
        reason: Option<String>,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Answer, Stopped> {
        let now = SystemClock::start().now();
        let owner = this(&by, now)?;
        let held = match begin::go_on(&access, self.name(), &owner, true).await {
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
    pub(super) async fn rollback(
        &self,
        access: Access,
        back: Back,
        by: String,
        reason: Option<String>,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Answer, Stopped> {
        let record = Reading::now(&access, self.name()).await?;
        let ledger = record.ledger()?;
        if ledger.as_ref().is_some_and(Ledger::runs) {
            self.ask(&access, AskedFor::Abort, by, reason).await?;
            return self.follow(&access, answers).await;
        }
        let admitted = admission::admit_back(&access, self.name(), &back, ledger.as_ref()).await?;
        self.start(access, admitted, (record, by), answers).await
    }

    pub(super) async fn retry(
        &self,
        access: Access,
        by: String,
        reason: Option<String>,
        policy: Option<PolicyText>,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Answer, Stopped> {
        let ledger = read::read(&access, self.name()).await?;
        let bad = ledger.as_ref().and_then(|ledger| ledger.remembered.quarantine.last());
        let bad = bad.ok_or_else(|| Stopped::refused("no release is in quarantine", None))?;
        let release = bad.release.name.replace(", ", ",");
        let retry = Some(reason.unwrap_or_else(|| "retried".into()));
        let promote = Promote { release, policy, by, retry, gitops_ok: false, watchdog: None };
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
