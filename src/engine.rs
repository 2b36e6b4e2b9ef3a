//! The one loop: observe, step, record, act, wait. What `promote`, a controller and a simulation share.
//!
//! Two rules of order live here.
//! * *Forward*, a decision is on disk before its effects are asked for; if it can't be written,
//!   nothing is done, and the next turn tries again (a deadline still leads back). Somebody who asks
//!   meanwhile is heard at once.
//! * *On the way back* recording is tried first, for at most
//!   [`WAY_BACK_LIMIT`](crate::history::WAY_BACK_LIMIT), then the effects are asked for whatever
//!   became of it; what evidence said is written after.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::analysis::evidence::Refused;
use crate::analysis::{Judge, Judgement, Look, Verdict};
use crate::clock::Clock;
use crate::evidence::Evidence;
use crate::history::{Folded, History, HistoryError, Record, Urgency};
use crate::plan::Plan;
use crate::platform::Platform;
use crate::rollout::{
    self, Decision, Effect, Event, EventName, Observation, Outcome, Phase, State, Waiting, World,
};

mod past;

/// Between two looks at the world while something is being changed …
const POLL: Duration = Duration::from_millis(20);
/// … and after the first second of it.
const POLL_LATER: Duration = Duration::from_millis(POLL_LATER_MS.unsigned_abs());
const POLL_LATER_MS: i64 = 200;

/// One promotion under way.
#[derive(Clone, Debug)]
pub struct Promotion {
    pub id: String,
    pub plan: Plan,
    pub state: State,
    judge: Judge,
    /// `false` until the first decision is recorded.
    begun: bool,
    /// Whether the judge has been taught the baseline's history, and what of it is not recorded yet.
    taught: bool,
    lessons: VecDeque<Vec<Look>>,
    next_look: Option<DateTime<Utc>>,
    /// The effects of the newest decision that was recorded: a repetition is no news. `None`: a
    /// record failed, and may be on disk all the same, so the next decision is recorded in any case.
    wanted: Option<Vec<Effect>>,
    /// The newest effect and what became of it: nor is that.
    done: Option<(Effect, Option<String>)>,
    refused: Option<String>,
}

/// What one turn has brought, for displays.
#[derive(Debug)]
pub struct Turn<'a> {
    pub at: DateTime<Utc>,
    pub plan: &'a Plan,
    pub state: &'a State,
    pub waiting: &'a Waiting,
    pub world: Option<&'a World>,
    pub look: Option<(&'a Look, &'a Judgement)>,
    pub events: &'a [Event],
}

/// The four seams.
#[derive(Debug)]
pub struct Seams<P, E, C, H> {
    pub platform: P,
    pub evidence: E,
    pub clock: C,
    pub history: H,
}

impl Promotion {
    /// # Errors
    /// The plan's conditions can't be judged.
    pub fn new(id: String, plan: Plan, now: DateTime<Utc>) -> Result<Self, Refused> {
        let judge = Judge::new(&plan)?;
        let state = State::new(now);
        Ok(Self {
            id,
            plan,
            state,
            judge,
            begun: false,
            taught: false,
            lessons: VecDeque::new(),
            next_look: None,
            wanted: None,
            done: None,
            refused: None,
        })
    }

    /// Goes on with a promotion whose gate has ended.
    #[must_use]
    pub fn resume(folded: Folded) -> Self {
        let Folded { id, plan, state, judge, taught, .. } = folded;
        Self {
            id,
            plan,
            state,
            judge,
            begun: true,
            taught,
            lessons: VecDeque::new(),
            next_look: None,
            wanted: None,
            done: None,
            refused: None,
        }
    }

    /// Runs it to its end.
    pub async fn run<P: Platform, E: Evidence, C: Clock, H: History>(
        &mut self,
        seams: &mut Seams<P, E, C, H>,
        mut watch: impl FnMut(&Turn<'_>),
    ) -> Outcome {
        loop {
            let waiting = self.turn(seams, &mut watch).await;
            let now = seams.clock.now();
            if self.state.ended().is_some() {
                return rollout::outcome(&self.plan, &self.state, now);
            }
            let length = self.pause(&waiting, now);
            tokio::select! {
                biased;
                () = seams.history.asked() => {}
                () = seams.clock.sleep(length) => {}
            }
        }
    }

    /// Observes, decides, records and acts once.
    pub async fn turn<P: Platform, E: Evidence, C: Clock, H: History>(
        &mut self,
        seams: &mut Seams<P, E, C, H>,
        watch: &mut impl FnMut(&Turn<'_>),
    ) -> Waiting {
        let now = seams.clock.now();
        let world = seams.platform.observe().await.ok();
        if let Some(world) = world.as_ref().filter(|_| !self.taught && self.judge.learns()) {
            seams.evidence.read_ahead(world);
        }
        // A person who asks is heard before a source that is slow to answer.
        let looked = tokio::select! {
            biased;
            looked = self.look(&mut seams.evidence, world.as_ref(), now) => looked,
            () = seams.history.asked() => None,
        };
        let judged = looked.as_ref().map(|(_, judgement)| judgement.clone());
        let seen = Observation { now, world, judged, asks: seams.history.asks().await };
        let decision = rollout::step(&self.plan, &self.state, &seen);
        let before = self.begun.then_some(&self.state);
        let mut events = rollout::between(&self.plan, before, &decision.state, now);
        name_loss(&mut events, seen.judged.as_ref());

        let observed = looked.clone().map(|(look, judgement)| Record::Observed { look, judgement });
        let recorded = self.record_first(&mut seams.history, now, &observed, &decision).await;
        let Decision { state, effects, waiting } = decision;
        match recorded {
            Err(error) if state.back.is_none() => {
                self.tell_refusal(&mut events, now, &error.to_string());
            }
            Ok(()) | Err(_) => {
                self.note_grid(&state, now);
                (self.state, self.begun) = (state, true);
                for effect in effects {
                    self.act(seams, now, effect, &mut events).await;
                }
                self.record_after(&mut seams.history, now, observed, &events).await;
            }
        }
        watch(&Turn {
            at: now,
            plan: &self.plan,
            state: &self.state,
            waiting: &waiting,
            world: seen.world.as_ref(),
            look: looked.as_ref().map(|(look, judgement)| (look, judgement)),
            events: &events,
        });
        waiting
    }

    /// Records what must be on disk before anything is done: forward what was seen and what was
    /// decided, on the way back only the decision.
    async fn record_first<H: History>(
        &mut self,
        history: &mut H,
        now: DateTime<Utc>,
        observed: &Option<Record>,
        decision: &Decision,
    ) -> Result<(), HistoryError> {
        let back = decision.state.back.is_some();
        while let Some(looks) = self.lessons.front().filter(|_| !back) {
            let lesson = Record::Learned { looks: looks.clone() };
            history.record(now, lesson, Urgency::First).await?;
            self.lessons.pop_front();
        }
        if !back && let Some(observed) = observed.clone() {
            history.record(now, observed, Urgency::First).await?;
        }
        if self.begun
            && self.state == decision.state
            && self.wanted.as_ref() == Some(&decision.effects)
        {
            return Ok(());
        }
        let record = Record::Decided {
            state: Box::new(decision.state.clone()),
            effects: decision.effects.clone(),
            waiting: decision.waiting.clone(),
        };
        let urgency = if back { Urgency::WayBack } else { Urgency::First };
        self.wanted = None;
        history.record(now, record, urgency).await?;
        self.wanted = Some(decision.effects.clone());
        Ok(())
    }

    async fn act<P: Platform, E, C, H: History>(
        &mut self,
        seams: &mut Seams<P, E, C, H>,
        now: DateTime<Utc>,
        effect: Effect,
        events: &mut Vec<Event>,
    ) {
        let error = seams.platform.act(&effect).await.err().map(|error| error.to_string());
        if let Some(error) = &error {
            self.tell_refusal(events, now, error);
        }
        if self.done.as_ref() != Some(&(effect, error.clone())) {
            let record = Record::Done { effect, error: error.clone() };
            // What was asked for is seen in the world; a record of it that is lost loses nothing.
            let _ = seams.history.record(now, record, Urgency::WayBack).await;
            self.done = Some((effect, error));
        }
    }

    /// Records what nothing hangs on.
    async fn record_after<H: History>(
        &self,
        history: &mut H,
        now: DateTime<Utc>,
        observed: Option<Record>,
        events: &[Event],
    ) {
        let observed = observed.filter(|_| self.state.back.is_some());
        let told = events.iter().map(|event| Record::Happened { event: event.clone() });
        for record in observed.into_iter().chain(told) {
            let _ = history.record(now, record, Urgency::WayBack).await;
        }
    }

    /// The grid of looks begins anew when a share is seen.
    fn note_grid(&mut self, state: &State, now: DateTime<Utc>) {
        let holding = |state: &State| match state.phase {
            Phase::Holding { stage, .. } => Some(stage),
            _ => None,
        };
        if holding(state).is_some() && holding(state) != holding(&self.state) {
            self.next_look = Some(now + self.interval());
        }
    }

    /// Takes a look if one is due. Looks keep to a grid that begins when a share is seen.
    async fn look<E: Evidence>(
        &mut self,
        evidence: &mut E,
        world: Option<&World>,
        now: DateTime<Utc>,
    ) -> Option<(Look, Judgement)> {
        let began = self.state.judging_since?;
        let world = world?;
        if !self.state.is_judged() || self.next_look.is_some_and(|next| now < next) {
            return None;
        }
        if !self.taught && self.judge.learns() {
            let past = evidence.history(world).await;
            self.learn(past, now - began);
        }
        let mut look = evidence.look(world).await;
        look.at_s = (now - began).num_milliseconds() as f64 / 1000.0;
        look.stage = self.state.stage().unwrap_or(self.plan.stages.len().saturating_sub(1));
        look.share = world.share.unwrap_or_default();
        let judgement = self.judge.judge(&look);
        let interval = self.interval();
        let on_grid = self.next_look.map(|next| next + interval).filter(|next| *next > now);
        self.next_look = Some(on_grid.unwrap_or(now + interval));
        Some((look, judgement))
    }

    fn interval(&self) -> TimeDelta {
        TimeDelta::from_std(self.plan.judge.interval).unwrap_or(TimeDelta::seconds(15))
    }

    /// Returns how long nothing needs to be done.
    fn pause(&self, waiting: &Waiting, now: DateTime<Utc>) -> Duration {
        let until_look = match &self.state.phase {
            Phase::Holding { .. } | Phase::Parked { .. } => {
                let next = self.next_look.filter(|next| *next > now);
                next.unwrap_or(now + TimeDelta::milliseconds(POLL_LATER_MS))
            }
            Phase::Waiting => waiting.until.unwrap_or(now + TimeDelta::seconds(1)),
            Phase::Preparing
            | Phase::Shifting { .. }
            | Phase::Adopting
            | Phase::Cleaning
            | Phase::RollingBack
            | Phase::Ended { .. } => {
                let busy_for = now - self.state.since;
                return if busy_for < TimeDelta::seconds(1) { POLL } else { POLL_LATER };
            }
        };
        let until = waiting.until.map_or(until_look, |until| until.min(until_look));
        (until - now).to_std().unwrap_or_default().max(Duration::from_millis(1))
    }

    fn tell_refusal(&mut self, events: &mut Vec<Event>, now: DateTime<Utc>, what: &str) {
        if self.refused.as_deref() == Some(what) {
            return; // told once, not at every turn
        }
        self.refused = Some(what.to_owned());
        events.push(Event {
            event: EventName::EffectFailed,
            at: now,
            stage: self.state.stage().map(|stage| stage + 1),
            share: None,
            message: what.to_owned(),
        });
    }
}

/// Says why evidence is missing, where it is the event that it is.
fn name_loss(events: &mut [Event], judged: Option<&Judgement>) {
    let Some(Verdict::Unknown { why }) = judged.map(|judged| &judged.verdict) else { return };
    let lost = events.iter_mut().filter(|event| event.event == EventName::EvidenceLost);
    for event in lost {
        let reasons: Vec<String> =
            why.iter().filter(|why| why.is_loss()).map(ToString::to_string).collect();
        event.message = format!("{}: {}", event.message, reasons.join("; "));
    }
}

#[cfg(test)]
mod tests;
