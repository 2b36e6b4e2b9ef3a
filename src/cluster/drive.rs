//! A promotion that runs in this process, from its record to its result.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::begin::{Came, Held, Refused};
use super::copy::Copy;
use super::diary::Lost;
use super::guard;
use super::listening::{Listening, Wish};
use super::measure::evidence;
use super::requests::{Cluster, Stopped};
use super::tenure::Fenced;
use super::told::Told;
use crate::clock::{Clock as _, SystemClock};
use crate::engine::{Promotion, Seams};
use crate::history::{AskedFor, Folded, History as _, Record, Urgency};
use crate::host::protocol::Answer;
use crate::plan::Plan;
use crate::platform::kubernetes::router::Router;
use crate::platform::kubernetes::target::{SETTLE_LIMIT, Settings, watches};
use crate::platform::kubernetes::watchdog::{self, Watchdog};
use crate::platform::kubernetes::watching::Watched;
use crate::platform::kubernetes::{Access, Kubernetes};
use crate::published::{ResultLine, asked_share};
use crate::rollout::{Ask, Outcome};

/// How long the result may take to be recorded.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// What a promotion is driven with, beside its record.
#[derive(Debug)]
pub(super) struct Drive<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) access: Access,
    pub(super) router: Router,
    /// The target's `matchLabels` as a selector.
    pub(super) selector: String,
    /// What is watched already.
    pub(super) watched: Watched,
    pub(super) answers: &'a mpsc::Sender<Answer>,
    /// What is asked for from the beginning.
    pub(super) wish: Option<Wish>,
}

impl Drive<'_> {
    /// Runs it to its end, tells, and returns the result.
    pub(super) async fn run(self, held: Held) -> Result<ResultLine, Stopped> {
        let clock = SystemClock::start();
        let ledger = held.ledger.clone();
        let (id, by) = (ledger.folded.id.clone(), ledger.folded.by.clone());
        let plan = Arc::new(ledger.folded.plan.clone());
        let settings = Settings {
            name: self.cluster.name().to_owned(),
            revision: id.clone(),
            router: self.router.clone(),
            stable: ledger.templates.stable,
            release: ledger.templates.release,
            asked: asked_share(&plan, &ledger.folded.state),
        };
        let came = held.came;
        let diary = held.diary(clock.clone());
        let (lost, tenure) = (diary.lost(), diary.tenure());
        let watched = self.watched.clone();
        watched.also(&self.access, watches(&settings, &self.selector));
        let seen = watched.settled(SETTLE_LIMIT).await?;
        let watchdog = guard::of_plan(&plan, self.cluster.name(), &id, &self.router, &seen);
        let back = self.wish.is_some() || ledger.folded.state.back.is_some();
        let (unguarded, _standing) = match watchdog.filter(|_| !back) {
            Some(watchdog) => self.guarded(watchdog, came, &clock).await,
            None => (None, None),
        };
        let evidence = evidence(self.access.clone(), watched.clone(), &plan);
        let platform = Kubernetes::new(
            self.access.clone(),
            watched,
            Arc::clone(&plan),
            settings,
            clock.clone(),
        );
        let copy = Copy::open(self.cluster.journals(), &ledger.folded).await;
        let (history, wishes) = Listening::new(diary, copy);
        for wish in self.wish.clone().into_iter().chain(unguarded) {
            let _ = wishes.send(wish).await;
        }
        self.cluster.runs(Some(wishes.clone()));
        let guard = tokio::spawn(give_way(platform.clone(), wishes, clock.clone()));
        let platform = Fenced { platform, tenure };
        let _ = self.answers.send(Answer::Begun { id: id.clone() }).await;
        let mut seams = Seams { platform, evidence, clock: clock.clone(), history };
        let mut told = Told::new(&id, &by, self.answers);
        let mut promotion = match came {
            // Its beginning is told.
            Came::Begun => {
                let Folded { plan, started, .. } = ledger.folded;
                Promotion::new(id.clone(), plan, started).map_err(Refused::from)?
            }
            Came::OwnerGone | Came::TakenOver => Promotion::resume(ledger.folded),
        };
        let ended = tokio::select! {
            outcome = promotion.run(&mut seams, |turn| told.show(turn)) => Ok(outcome),
            whose = lost_to(lost) => Err(whose),
        };
        guard.abort();
        self.cluster.runs(None);
        let outcome = ended.map_err(|whose| taken_over(&plan, &whose))?;
        self.conclude(&id, &plan, outcome, seams.history, &clock).await
    }

    /// Has a watchdog before the first share is given. One that goes on has given a share already, and
    /// does not wait for it.
    async fn guarded(
        &self,
        watchdog: Watchdog,
        came: Came,
        clock: &SystemClock,
    ) -> (Option<Wish>, Option<JoinSet<()>>) {
        match came {
            Came::Begun => {
                let stood = guard::stand(&self.access, &watchdog).await;
                let wish = stood.err().map(|error| {
                    let ask =
                        Ask { at: clock.now(), by: "gate".into(), reason: Some(error.to_string()) };
                    (AskedFor::Abort, ask)
                });
                (wish, None)
            }
            Came::OwnerGone | Came::TakenOver => {
                let (access, mut standing) = (self.access.clone(), JoinSet::new());
                standing.spawn(async move {
                    // Without one it is as it was a moment ago.
                    let _ = guard::stand(&access, &watchdog).await;
                });
                (None, Some(standing))
            }
        }
    }

    async fn conclude(
        &self,
        id: &str,
        plan: &Plan,
        outcome: Outcome,
        mut history: Listening,
        clock: &SystemClock,
    ) -> Result<ResultLine, Stopped> {
        let line = ResultLine::new(id, &plan.target, outcome.clone());
        let record = Record::Finished { outcome: Box::new(outcome) };
        // What it says is true without it: the state before it is terminal already.
        let _ = history.record(clock.now(), record, Urgency::WayBack).await;
        let _ = history.diary.close(CLOSE_LIMIT).await;
        if plan.traffic.as_ref().is_some_and(|traffic| traffic.watchdog.is_some()) {
            // One that stays sees the end in the record, and goes by itself.
            let _ = watchdog::remove(&self.access, self.cluster.name(), id).await;
        }
        Ok(line)
    }
}

/// Watches whether the target is still the one that was planned for, and says so once if not.
async fn give_way(platform: Kubernetes, wishes: mpsc::Sender<Wish>, clock: SystemClock) {
    loop {
        if let Some(why) = platform.superseded() {
            let ask = Ask { at: clock.now(), by: "somebody else".into(), reason: Some(why) };
            // Nobody listens any more: it has ended.
            let _ = wishes.send((AskedFor::Supersede, ask)).await;
            return;
        }
        platform.changed().await;
    }
}

async fn lost_to(mut lost: Lost) -> String {
    lost.wait().await
}

/// Another process has it: nothing more is done here, and its result is told there.
fn taken_over(plan: &Plan, whose: &str) -> Stopped {
    Stopped::Error {
        exit_code: 6,
        message: format!("the promotion of {} goes on without this gate: {whose}", plan.target),
        hint: Some(format!("gate status {}", plan.target)),
    }
}

impl From<Refused> for Stopped {
    fn from(refused: Refused) -> Self {
        let exit_code = match &refused {
            Refused::Busy(_) | Refused::NothingRuns { .. } => 7,
            Refused::NoSuchStage { .. } | Refused::TooLarge { .. } | Refused::Unjudged(_) => 2,
            Refused::Unreadable(_) | Refused::Cluster(_) => 6,
        };
        Self::Error { exit_code, message: refused.to_string(), hint: None }
    }
}
