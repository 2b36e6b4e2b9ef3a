//! What is to be written, and what is written already.

use std::mem::{Discriminant, discriminant};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::super::ledger::{Ledger, Texts};
use crate::history::{Record, Urgency};
use crate::rollout::{Effect, Phase, State};

/// The promotion as this process knows it, and how much of that is in the record.
#[derive(Debug)]
pub(in crate::cluster) struct Desk {
    pub(in crate::cluster) ledger: Ledger,
    /// What the record is known to hold; empty: anything.
    written: Texts,
    decided: Option<Mark>,
    /// The newest decision that is known to be in the record.
    kept: Option<Mark>,
    /// The newest decision of the way back that was tried.
    tried: Option<Mark>,
    /// The end is written: the record is no longer this promotion's.
    settled: bool,
}

/// The engine's side and the writer's side of one desk.
#[derive(Clone, Debug)]
pub(super) struct SharedDesk(Arc<Mutex<Desk>>);

/// What a decision is written for. Clocks, verdicts and the words that it waits with may come later.
#[derive(Clone, Debug, PartialEq)]
struct Mark {
    phase: Discriminant<Phase>,
    stage: Option<usize>,
    back: bool,
    safe: bool,
    effects: Vec<Effect>,
}

/// When a record must be in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum Need {
    Now,
    /// With the next write.
    Later,
    /// Its one attempt on the way back is made: with the next write.
    Tried,
}

/// One write: what it brings, and what is known once it is done.
#[derive(Debug)]
pub(in crate::cluster) struct Draft {
    /// All of the record.
    pub(in crate::cluster) texts: Texts,
    mark: Option<Mark>,
    /// The promotion has ended.
    pub(in crate::cluster) ends: bool,
}

impl Desk {
    pub(in crate::cluster) const fn new(ledger: Ledger) -> Self {
        Self {
            ledger,
            written: Texts::new(),
            decided: None,
            kept: None,
            tried: None,
            settled: false,
        }
    }

    pub(super) fn shared(ledger: Ledger) -> SharedDesk {
        SharedDesk(Arc::new(Mutex::new(Self::new(ledger))))
    }

    /// Takes in a record; returns when it must be in the cluster.
    pub(in crate::cluster) fn note(
        &mut self,
        at: DateTime<Utc>,
        record: &Record,
        urgency: Urgency,
    ) -> Need {
        self.ledger.take(at, record);
        match record {
            Record::Decided { state, effects, .. } => {
                let mark = Mark::of(state, effects);
                self.decided = Some(mark.clone());
                match urgency {
                    // The result follows at once, and says all of it.
                    _ if state.ended().is_some() => Need::Later,
                    _ if self.kept.as_ref().is_some_and(|kept| mark.adds_nothing_to(kept)) => {
                        Need::Later
                    }
                    Urgency::WayBack if self.tried.as_ref() == Some(&mark) => Need::Tried,
                    Urgency::WayBack => {
                        self.tried = Some(mark);
                        Need::Now
                    }
                    Urgency::First => Need::Now,
                }
            }
            Record::Finished { .. } => Need::Now,
            Record::Started { .. }
            | Record::Learned { .. }
            | Record::Observed { .. }
            | Record::Done { .. }
            | Record::Happened { .. }
            | Record::Asked { .. } => Need::Later,
        }
    }

    /// Returns what is to be written; `None` once the end is.
    pub(in crate::cluster) fn draft(&mut self, now: DateTime<Utc>) -> Option<Draft> {
        if self.settled {
            return None;
        }
        self.ledger.heartbeat = now;
        let (mark, ends) = (self.decided.clone(), !self.ledger.runs());
        Some(Draft { texts: self.ledger.texts(), mark, ends })
    }

    /// Returns the texts of a draft that the record does not hold.
    pub(in crate::cluster) fn changed<'a>(
        &self,
        draft: &'a Draft,
    ) -> impl Iterator<Item = (&'a String, &'a String)> {
        draft.texts.iter().filter(|(key, text)| self.written.get(*key) != Some(*text))
    }

    /// Notes that a draft is written.
    pub(in crate::cluster) fn keep(&mut self, draft: Draft) {
        self.written = draft.texts;
        self.kept = draft.mark;
        self.settled = draft.ends;
    }

    /// Notes that a write failed, which may have been done all the same: the record holds anything.
    pub(in crate::cluster) fn doubt(&mut self) {
        self.written.clear();
        self.kept = None;
    }

    /// Returns whether the record lacks a decision.
    pub(in crate::cluster) fn is_behind(&self) -> bool {
        let is_kept = match (&self.decided, &self.kept) {
            (Some(decided), Some(kept)) => decided.adds_nothing_to(kept),
            (None, _) => true,
            (Some(_), None) => false,
        };
        !is_kept || (!self.ledger.runs() && !self.settled)
    }
}

impl SharedDesk {
    /// Never held across a request.
    pub(super) fn lock(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mark {
    fn of(state: &State, effects: &[Effect]) -> Self {
        Self {
            phase: discriminant(&state.phase),
            stage: state.stage(),
            back: state.back.is_some(),
            safe: state.back.as_ref().is_some_and(|back| back.safe.is_some()),
            effects: effects.to_vec(),
        }
    }

    /// Returns whether nothing would be done differently by whoever went on from the other: it is the same, or
    /// what was asked for there is done and nothing new is.
    fn adds_nothing_to(&self, kept: &Self) -> bool {
        let same_place = Self { effects: kept.effects.clone(), ..self.clone() } == *kept;
        same_place && (self.effects.is_empty() || self.effects == kept.effects)
    }
}
