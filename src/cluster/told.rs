//! What whoever follows a promotion is told, turn by turn.

use tokio::sync::mpsc;

use crate::analysis::{Judgement, Look};
use crate::engine::Turn;
use crate::host::protocol::Answer;
use crate::published::{EventLine, PromotionStatus, STATUS_SCHEMA, Standing, StatusLine};

/// Tells one follower. One that reads slowly misses some; the record has them all.
#[derive(Debug)]
pub(super) struct Told<'a> {
    id: &'a str,
    by: &'a str,
    answers: &'a mpsc::Sender<Answer>,
    look: Option<(Look, Judgement)>,
    newest: Option<PromotionStatus>,
}

impl<'a> Told<'a> {
    pub(super) const fn new(id: &'a str, by: &'a str, answers: &'a mpsc::Sender<Answer>) -> Self {
        Self { id, by, answers, look: None, newest: None }
    }

    pub(super) fn show(&mut self, turn: &Turn<'_>) {
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
            let _ = self.answers.try_send(Answer::Event { line });
        }
        let is_news = self.newest.as_ref().is_none_or(|newest| status.is_news_after(newest));
        self.newest = Some(status.clone());
        if is_news || turn.look.is_some() {
            let line = Box::new(self.line(turn, status));
            let _ = self.answers.try_send(Answer::Status { line });
        }
    }

    fn line(&self, turn: &Turn<'_>, mut status: PromotionStatus) -> StatusLine {
        if turn.look.is_none() {
            status.sample = None;
        }
        let stable = turn.world.map(|world| &world.stable);
        StatusLine {
            schema: STATUS_SCHEMA.into(),
            at: turn.at,
            target: turn.plan.target.clone(),
            stable_revision: turn.plan.stable.name.clone(),
            stable_ready: stable.map_or([0, 0], |stable| [stable.ready, stable.wanted]),
            promotion: Some(status),
            last: None,
        }
    }
}
