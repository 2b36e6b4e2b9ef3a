//! The promotion that runs: its engine in a task of its own, and everybody who follows it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{broadcast, oneshot, watch};

use super::diary::{Diary, Wish, Wishes};
use super::protocol::Answer;
use crate::analysis::{Judgement, Look};
use crate::clock::{Clock, SystemClock};
use crate::engine::{Promotion, Seams, Turn};
use crate::evidence::prometheus::{Counted, Source};
use crate::history::{AskedFor, History, Record, Urgency};
use crate::plan::Plan;
use crate::platform::local::app::ReleaseSpec;
use crate::platform::local::stored::Quarantined;
use crate::platform::local::{Local, scraped};
use crate::published::{EventLine, PromotionStatus, ResultLine, Standing, StatusLine};
use crate::rollout::{Ask, Event, Outcome, ResultWord, Waiting, World};

/// Answers that a slow follower may be behind before it misses some.
const FOLLOWERS_BEHIND_MAX: usize = 1024;
/// Between two tries to tell an engine something, while one takes the place of another …
const TELL_AGAIN: Duration = Duration::from_millis(50);
/// … and how many there are: 10 s.
const TELLS_MAX: u32 = 200;

/// A handle on the promotion that runs.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) id: String,
    pub(super) by: String,
    pub(super) plan: Arc<Plan>,
    pub(super) started: DateTime<Utc>,
    /// Where the engine that drives it now hears what somebody asks.
    wishes: Arc<Mutex<Wishes>>,
    answers: broadcast::Sender<Answer>,
    newest: Arc<Mutex<Option<PromotionStatus>>>,
    pub(super) result: watch::Receiver<Option<ResultLine>>,
}

/// What an engine is started with.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) promotion: Promotion,
    pub(super) spec: ReleaseSpec,
    pub(super) diary: Diary,
    pub(super) wishes: Wishes,
    pub(super) by: String,
}

impl Running {
    /// A handle on a promotion that nobody drives yet, and who is told how it ends.
    pub(super) fn new(run: &Run, now: DateTime<Utc>) -> (Self, watch::Sender<Option<ResultLine>>) {
        let Run { promotion, by, wishes, .. } = run;
        let (answers, _) = broadcast::channel(FOLLOWERS_BEHIND_MAX);
        let (told, result) = watch::channel(None);
        let standing = at_the_start(promotion, by, now);
        let running = Self {
            id: promotion.id.clone(),
            by: by.clone(),
            plan: Arc::new(promotion.plan.clone()),
            started: promotion.state.started,
            wishes: Arc::new(Mutex::new(wishes.clone())),
            answers,
            newest: Arc::new(Mutex::new(Some(standing))),
            result,
        };
        (running, told)
    }

    /// Another engine drives it from now on, and hears there.
    pub(super) fn goes_on_with(&self, wishes: Wishes) {
        *self.wishes.lock().unwrap_or_else(PoisonError::into_inner) = wishes;
    }

    /// Tells the engine what somebody asks; returns whether it is recorded. One that fails takes what
    /// it was told along, so whoever comes after it is told again.
    pub(super) async fn ask(&self, what: AskedFor, ask: &Ask) -> bool {
        for _ in 0..TELLS_MAX {
            let wishes = self.wishes.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let (heard, hears) = oneshot::channel();
            let told = wishes.send(Wish { what, ask: ask.clone(), heard }).await;
            if told.is_ok() && hears.await.is_ok() {
                return true;
            }
            if self.result.borrow().is_some() {
                return false;
            }
            tokio::time::sleep(TELL_AGAIN).await;
        }
        false
    }

    /// Follows it: what is known now, and everything from here on.
    pub(super) fn follow(&self) -> (Option<PromotionStatus>, broadcast::Receiver<Answer>) {
        let answers = self.answers.subscribe(); // first: nothing may happen unseen between the two
        (self.newest(), answers)
    }

    pub(super) fn newest(&self) -> Option<PromotionStatus> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn show(&self, local: &Local, turn: &Turn<'_>, newest: &mut Option<(Look, Judgement)>) {
        if let Some((look, judgement)) = turn.look {
            *newest = Some((look.clone(), judgement.clone()));
        }
        let mut status = PromotionStatus::new(&Standing {
            id: &self.id,
            by: &self.by,
            plan: turn.plan,
            state: turn.state,
            waiting: turn.waiting,
            world: turn.world,
            look: newest.as_ref().map(|(look, judgement)| (look, judgement)),
            now: turn.at,
        });
        turn.events.iter().for_each(|event| self.happened(event));
        // Polls that show nothing new are not told.
        let told =
            turn.look.is_some() || self.newest().is_none_or(|newest| status.is_news_after(&newest));
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(status.clone());
        if told {
            if turn.look.is_none() {
                status.sample = None;
            }
            let line = Box::new(status_line(local, Some(status), turn.at));
            let _ = self.answers.send(Answer::Status { line });
        }
    }

    pub(super) fn happened(&self, event: &Event) {
        let line = EventLine::new(&self.id, &self.plan.target, event);
        // Nobody has to listen.
        let _ = self.answers.send(Answer::Event { line });
    }

    fn finish(&self, outcome: &Outcome) -> ResultLine {
        let mut line = ResultLine::new(&self.id, &self.plan.target, outcome.clone());
        line.next = Some(next_command(&self.id, &self.plan, outcome.result));
        line
    }
}

/// Drives a promotion to its end, from the beginning or from where the records left it.
pub(super) async fn engine(
    local: Local,
    clock: SystemClock,
    running: Running,
    run: Run,
) -> ResultLine {
    let Run { mut promotion, spec, mut diary, .. } = run;
    let platform = local.target(&promotion.plan, spec);
    let source = Source::for_plan(&promotion.plan.judge, Some(scraped::LABEL));
    let whose = local.clone();
    let arms = move |_: &World| whose.arms();
    let evidence = Counted::new(source, &promotion.plan.judge, platform.clone(), arms);
    let mut newest_look = None;
    let mut seams = Seams { platform, evidence, clock: clock.clone(), history: &mut diary };
    let outcome =
        promotion.run(&mut seams, |turn| running.show(&local, turn, &mut newest_look)).await;
    if outcome.result == ResultWord::RolledBack {
        local.condemn(quarantined(&promotion, &outcome, clock.now()));
    }
    let line = running.finish(&outcome);
    let record = Record::Finished { outcome: Box::new(outcome) };
    // What it says is true without it: the state before it is terminal already.
    let _ = diary.record(clock.now(), record, Urgency::WayBack).await;
    // Last: until then, a host that comes back finds the promotion and ends it.
    local.note_promotion(None);
    line
}

/// Returns where a promotion stands before its first turn: whoever asks meanwhile must not hear that
/// none runs.
fn at_the_start(promotion: &Promotion, by: &str, now: DateTime<Utc>) -> PromotionStatus {
    let for_what = "the first look at what runs".into();
    PromotionStatus::new(&Standing {
        id: &promotion.id,
        by,
        plan: &promotion.plan,
        state: &promotion.state,
        waiting: &Waiting { for_what, until: None, on_person: false },
        world: None,
        look: None,
        now,
    })
}

/// Returns where a target stands, with or without a promotion.
pub(super) fn status_line(
    local: &Local,
    promotion: Option<PromotionStatus>,
    now: DateTime<Utc>,
) -> StatusLine {
    StatusLine {
        schema: crate::published::STATUS_SCHEMA.into(),
        at: now,
        target: format!("local/{}", local.app().name),
        stable_revision: local.stored().stable.release.name,
        stable_ready: local.stable_ready(),
        promotion,
        last: None,
    }
}

fn quarantined(promotion: &Promotion, outcome: &Outcome, at: DateTime<Utc>) -> Quarantined {
    Quarantined {
        release: promotion.plan.release.clone(),
        cause: outcome.reason.clone(),
        at,
        promotion: promotion.id.clone(),
    }
}

fn next_command(id: &str, plan: &Plan, result: ResultWord) -> String {
    let target = &plan.target;
    match result {
        ResultWord::Promoted | ResultWord::Unchanged => format!("gate history {target} --id {id}"),
        ResultWord::RolledBack => format!("gate history {target} --id {id}"),
        ResultWord::Aborted
        | ResultWord::Superseded
        | ResultWord::Inconclusive
        | ResultWord::Refused => format!("gate promote {target} --release {}", plan.release.name),
        ResultWord::Error => format!("gate status {target}"),
    }
}
