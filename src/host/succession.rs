//! The engine of a promotion, and the one that takes its place when it fails.
//!
//! An engine that panics is a bug in gate. Nobody would drive the promotion any more, with its
//! candidate in traffic: so whoever waits for the engine's end says aloud what has happened, and
//! lets another go on from the records, as a host that starts again does. That is done
//! [`SUCCESSORS_MAX`] times; then the share goes to 0, and the promotion is left to the next host.

use std::sync::{Arc, PoisonError};

use tokio::sync::watch;

use super::Shared;
use super::diary::{Diary, Wishes};
use super::running::{Run, Running, engine};
use crate::clock::Clock as _;
use crate::engine::Promotion;
use crate::history::{Folded, History as _, Record, Urgency, journal};
use crate::published::{LastResult, ResultLine};
use crate::rollout::{End, Event, EventName, ResultWord, TrafficIs};

/// Engines that may take the place of one that failed, in one promotion on one host. One that has
/// failed four times over meets what it fails of each time.
const SUCCESSORS_MAX: u32 = 3;

/// An internal error: a bug in gate.
const BUG: u8 = 1;

/// Runs one engine after the other until one gets to the end; `again` gets what a failure said, and
/// returns what the next goes on with.
///
/// # Errors
/// What the last failure said, when nothing goes on.
async fn drive<R, L, E, A>(
    mut run: R,
    engine: impl Fn(R) -> E,
    again: impl Fn(String) -> A,
) -> Result<L, String>
where
    L: Send + 'static,
    E: Future<Output = L> + Send + 'static,
    A: Future<Output = Option<R>>,
{
    let mut left = SUCCESSORS_MAX;
    loop {
        let failed = match tokio::spawn(engine(run)).await {
            Ok(line) => return Ok(line),
            Err(failed) => failed,
        };
        let why = match failed.try_into_panic() {
            Ok(payload) => words(payload.as_ref()),
            Err(stopped) => return Err(stopped.to_string()),
        };
        if left == 0 {
            return Err(why);
        }
        left -= 1;
        run = again(why.clone()).await.ok_or(why)?;
    }
}

/// Returns what a panic said.
fn words(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "it did not say why".into())
}

impl Shared {
    /// Runs a promotion, at its beginning or where its records left it.
    pub(super) fn run(self: &Arc<Self>, run: Run) -> Running {
        let (running, told) = Running::new(&run, self.clock.now());
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running.clone());
        tokio::spawn(Arc::clone(self).see_to_its_end(running.clone(), run, told));
        running
    }

    async fn see_to_its_end(
        self: Arc<Self>,
        running: Running,
        run: Run,
        told: watch::Sender<Option<ResultLine>>,
    ) {
        let engine = |run| engine(self.local.clone(), self.clock.clone(), running.clone(), run);
        let again = |why| Arc::clone(&self).after_failure(running.clone(), why);
        let line = match drive(run, engine, again).await {
            Ok(line) => line,
            Err(why) => self.given_up(&running, &why),
        };
        let last = LastResult::of(&line, self.clock.now());
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
        // A journal too many is no reason to fail.
        let _ = journal::prune(&self.history, journal::JOURNALS_PER_TARGET_MAX);
        told.send_replace(Some(line));
    }

    /// Says that an engine failed, and returns what the next goes on with, if anything.
    async fn after_failure(self: Arc<Self>, running: Running, why: String) -> Option<Run> {
        let what = format!(
            "the engine of {} failed, which is a bug in gate ({why}): another goes on from its records",
            running.id
        );
        self.local.cry(&what);
        let (shared, id) = (Arc::clone(&self), running.id.clone());
        // A journal may be long.
        let resumed = tokio::task::spawn_blocking(move || {
            let mut alarms = Vec::new();
            let resumed = shared.resume(&id, &mut alarms);
            alarms.iter().for_each(|alarm| shared.local.cry(alarm));
            resumed
        });
        let mut run = resumed.await.ok().flatten()?;
        running.goes_on_with(run.wishes.clone());
        let now = self.clock.now();
        let (event, stage) = (EventName::EffectFailed, run.promotion.state.stage());
        let stage = stage.map(|stage| stage + 1);
        let event = Event { event, at: now, stage, share: None, message: what };
        running.happened(&event);
        // Nothing hangs on it.
        let _ = run.diary.record(now, Record::Happened { event }, Urgency::WayBack).await;
        Some(run)
    }

    /// Nothing goes on: traffic is made safe without a promotion.
    fn given_up(&self, running: &Running, why: &str) -> ResultLine {
        self.local.share_to_zero();
        let reason = format!(
            "its engine failed again and again, which is a bug in gate ({why}): its share is 0, and \
             the next host goes on with it"
        );
        self.local.cry(&format!("promotion {}: {reason}", running.id));
        let (plan, next) = (&running.plan, Some(format!("gate status {}", running.plan.target)));
        let (stable, release) = (&plan.stable.name, &plan.release.name);
        let word = ResultWord::Error;
        let target = &plan.target;
        let mut line = ResultLine::not_started(target, word, BUG, stable, release, reason, next);
        line.id = Some(running.id.clone());
        let serves = self.local.stable_ready()[0] > 0;
        line.outcome.traffic = if serves { TrafficIs::Safe } else { TrafficIs::Unknown };
        line
    }

    /// Returns what goes on with a promotion where its records left it. If it was on its way back, or
    /// there is nothing to go on with, its share is 0 before anything else happens.
    pub(super) fn resume(&self, id: &str, alarms: &mut Vec<String>) -> Option<Run> {
        let (diary, wishes, folded) = self.open(id, alarms)?;
        if folded.as_ref().is_some_and(|folded| folded.state.ended() == Some(End::AdoptionStuck)) {
            return None; // its candidate may be all that serves: a person must look
        }
        let Some(folded) = folded.filter(|folded| folded.outcome.is_none()) else {
            self.local.share_to_zero();
            self.local.note_promotion(None);
            return None;
        };
        if folded.state.back.is_some() || folded.asks.abort.is_some() {
            self.local.share_to_zero();
        }
        let stored = self.local.stored();
        let release = &folded.plan.release;
        let Some(spec) = stored.how_it_starts(self.local.app(), release) else {
            alarms.push(format!("promotion {id}: nobody knows how its release is started"));
            self.local.share_to_zero();
            self.local.note_promotion(None);
            return None;
        };
        let by = folded.by.clone();
        alarms.push(format!("going on with promotion {id} of {}", release.name));
        Some(Run { promotion: Promotion::resume(folded), spec, diary, wishes, by })
    }

    fn open(&self, id: &str, alarms: &mut Vec<String>) -> Option<(Diary, Wishes, Option<Folded>)> {
        match Diary::open(&self.history, id) {
            Ok((diary, wishes, folded, repair)) => {
                if !repair.is_clean() {
                    alarms.push(format!("the journal of {id} was damaged, and repaired"));
                }
                Some((diary, wishes, folded))
            }
            Err(error) => {
                alarms.push(format!(
                    "promotion {id} can't be taken up: {error}; its share goes to 0"
                ));
                self.local.share_to_zero();
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
