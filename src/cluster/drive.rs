//! A promotion that runs in this process.

use std::sync::{Arc, PoisonError};

use tokio::sync::mpsc;

use super::admission::Admitted;
use super::{Cluster, Refused};
use crate::analysis::{Judgement, Look};
use crate::clock::{Clock as _, SystemClock};
use crate::engine::{Promotion, Seams, Turn};
use crate::history::{AskedFor, History, HistoryError, Record, Urgency};
use crate::host::protocol::Answer;
use crate::platform::kubernetes::target::{SETTLE_LIMIT, Settings, watches};
use crate::platform::kubernetes::watching::Watched;
use crate::platform::kubernetes::{Access, Kubernetes};
use crate::published::{
    EventLine, PromotionStatus, ResultLine, STATUS_SCHEMA, Standing, StatusLine,
};
use crate::rollout::{Ask, Asks};
use crate::share::Share;

/// Wishes that are not heard yet.
const WISHES_MAX: usize = 64;

/// Runs it to its end, and tells.
pub(super) async fn drive(
    cluster: &Cluster,
    access: Access,
    admitted: Admitted,
    by: String,
    answers: &mpsc::Sender<Answer>,
) -> Result<(), Refused> {
    let clock = SystemClock::start();
    let id = crate::host::new_id(clock.now());
    let Admitted { plan, router, stable, release, selector } = admitted;
    let (name, asked) = (cluster.name.clone(), Share::ZERO);
    let settings = Settings { name, revision: id.clone(), router, stable, release, asked };
    let watched = Watched::start(&access, watches(&settings, &selector));
    watched.settled(SETTLE_LIMIT).await?;
    let plan = Arc::new(plan);
    let mut promotion = Promotion::new(id.clone(), (*plan).clone(), clock.now())
        .map_err(|error| Refused::usage(error.to_string(), None))?;
    let platform = Kubernetes::new(access, watched, Arc::clone(&plan), settings, clock.clone());
    let (wishes, heard) = mpsc::channel(WISHES_MAX);
    *cluster.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(wishes);
    let _ = answers.send(Answer::Begun { id: id.clone() }).await;
    let mut told = Told { id: &id, by: &by, answers, look: None, newest: None };
    let history = Notes { asks: Asks::default(), heard, next: None };
    let evidence = Nothing;
    let mut seams = Seams { platform, evidence, clock: clock.clone(), history };
    let outcome = promotion.run(&mut seams, |turn| told.show(turn)).await;
    *cluster.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
    let line = ResultLine::new(&id, &plan.target, outcome);
    let _ = answers.send(Answer::Result { line: Box::new(line) }).await;
    Ok(())
}

/// Nothing is measured yet.
struct Nothing;

impl crate::evidence::Evidence for Nothing {
    async fn look(&mut self, world: &crate::rollout::World) -> Look {
        Look {
            at_s: 0.0,
            stage: 0,
            share: world.share.unwrap_or_default(),
            baseline: Default::default(),
            candidate: Default::default(),
            expected: Default::default(),
            probes: Default::default(),
            candidate_healthy: true,
            queries: Default::default(),
            missing: None,
        }
    }
}

struct Notes {
    asks: Asks,
    heard: mpsc::Receiver<(AskedFor, Ask)>,
    next: Option<(AskedFor, Ask)>,
}

impl History for Notes {
    async fn record(
        &mut self,
        at: chrono::DateTime<chrono::Utc>,
        record: Record,
        _urgency: Urgency,
    ) -> Result<(), HistoryError> {
        if let Record::Done { effect, error } = record {
            eprintln!("{at} {effect:?} {error:?}");
        } else if let Record::Decided { effects, waiting, state } = record {
            eprintln!("{at} decided {:?} {effects:?} {}", state.phase, waiting.for_what);
        }
        Ok(())
    }

    async fn asks(&mut self) -> Asks {
        while let Some((what, ask)) = self.next.take().or_else(|| self.heard.try_recv().ok()) {
            self.asks.take(what, ask);
        }
        self.asks.clone()
    }

    async fn asked(&mut self) {
        match self.heard.recv().await {
            Some(wish) => self.next = Some(wish),
            None => std::future::pending().await,
        }
    }
}

/// Tells whoever follows what each turn has brought.
struct Told<'a> {
    id: &'a str,
    by: &'a str,
    answers: &'a mpsc::Sender<Answer>,
    look: Option<(Look, Judgement)>,
    newest: Option<PromotionStatus>,
}

impl Told<'_> {
    fn show(&mut self, turn: &Turn<'_>) {
        if let Some((look, judgement)) = turn.look {
            self.look = Some((look.clone(), judgement.clone()));
        }
        let status = PromotionStatus::new(&Standing {
            id: self.id,
            by: self.by,
            plan: turn.plan,
            state: turn.state,
            waiting: turn.waiting,
            world: turn.world,
            look: self.look.as_ref().map(|(look, judgement)| (look, judgement)),
            now: turn.at,
        });
        for event in turn.events {
            let line = EventLine::new(self.id, &turn.plan.target, event);
            // Whoever follows slowly misses some.
            let _ = self.answers.try_send(Answer::Event { line });
        }
        let stable = turn.world.map(|world| &world.stable);
        let line = StatusLine {
            schema: STATUS_SCHEMA.into(),
            at: turn.at,
            target: turn.plan.target.clone(),
            stable_revision: turn.plan.stable.name.clone(),
            stable_ready: stable.map_or([0, 0], |stable| [stable.ready, stable.wanted]),
            promotion: Some(status.clone()),
            last: None,
        };
        if turn.look.is_some() || self.newest.as_ref() != Some(&status) {
            let _ = self.answers.try_send(Answer::Status { line: Box::new(line) });
        }
        self.newest = Some(status);
    }
}
