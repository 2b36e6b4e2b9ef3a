//! The record of one target: what a ConfigMap holds of it, as data.
//!
//! It outlives every promotion, is owned by nothing, and carries no traffic: one that is deleted
//! costs what is remembered, and a gate that runs writes it again. Each key of the map is one JSON
//! text, so that a write carries only what has changed.
//!
//! | key | what |
//! |---|---|
//! | `heartbeat` | when the owner wrote last |
//! | `promotion` | `gate.promotion/v1`: id, by whom, since when, the plan |
//! | `templates` | stable's pod template and the release's |
//! | `progress` | state, what it waits for, asks heard, outcome |
//! | `newest` | the newest look and what it said |
//! | `judge` | the judge's checkpoint, of the same moment as `progress` |
//! | `events` | the newest events |
//! | `past`, `passed`, `quarantine` | see [`super::remembered`] |
//!
//! **Bounds.** The record never exceeds [`RECORD_BYTES_MAX`]: each part has a bound of its own, and what
//! would still be too much is left out in the order of [`LEFT_OUT_FIRST`]. A judge that is left out is
//! begun anew by whoever goes on, which costs time but no safety.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::owner::Owner;
use super::remembered::{Remembered, keep_newest};
use crate::analysis::{Judge, Judgement, Look};
use crate::history::{Folded, Record};
use crate::plan::Plan;
use crate::published::{
    LastResult, PromotionStatus, ResultLine, STATUS_SCHEMA, Standing, StatusLine,
};
use crate::rollout::{Asks, Event, Outcome, State, Waiting, World};

pub const SCHEMA: &str = "gate.promotion/v1";

/// All that a record holds, in bytes. Kubernetes takes 1 MiB; the rest is for its annotations.
pub const RECORD_BYTES_MAX: usize = 900 * 1024;
/// What a promotion can't do without (plan, templates, progress) may have so much of that, in bytes.
pub const NEEDED_BYTES_MAX: usize = 512 * 1024;
/// The judge's checkpoint, in bytes: it takes about 1.4 kB for each pod.
pub const JUDGE_BYTES_MAX: usize = 384 * 1024;
/// The newest look and its judgement, in bytes.
pub const NEWEST_BYTES_MAX: usize = 64 * 1024;
/// Events that are kept.
pub const EVENTS_MAX: usize = 100;
/// … in bytes of JSON.
pub const EVENTS_BYTES_MAX: usize = 48 * 1024;
/// The longest message of an event, in bytes.
const MESSAGE_BYTES_MAX: usize = 1024;

/// What is left out first where all together are too much.
pub const LEFT_OUT_FIRST: [&str; 6] = [NEWEST, EVENTS, PAST, PASSED, JUDGE, QUARANTINE];

const HEARTBEAT: &str = "heartbeat";
const PROMOTION: &str = "promotion";
const TEMPLATES: &str = "templates";
const PROGRESS: &str = "progress";
const NEWEST: &str = "newest";
const JUDGE: &str = "judge";
const EVENTS: &str = "events";
const PAST: &str = "past";
const PASSED: &str = "passed";
const QUARANTINE: &str = "quarantine";

/// The texts of a record, by key.
pub type Texts = BTreeMap<String, String>;

/// What the record of one target says.
#[derive(Clone, Debug, PartialEq)]
pub struct Ledger {
    /// Who runs the promotion, or ran it.
    pub owner: Option<Owner>,
    /// The newest promotion as far as it is recorded; it runs while it has no outcome.
    pub folded: Folded,
    pub templates: Templates,
    pub heartbeat: DateTime<Utc>,
    /// Oldest first.
    pub events: Vec<Event>,
    pub remembered: Remembered,
    /// The judge's checkpoint is not there: its evidence begins anew.
    pub judge_lost: bool,
}

/// The two pod templates of a promotion, as the API server has them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Templates {
    pub stable: Value,
    pub release: Value,
}

/// Why a record says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record can't be read: {what}")]
pub struct Unreadable {
    pub what: String,
}

#[derive(Serialize, Deserialize)]
struct Head {
    schema: String,
    id: String,
    by: String,
    started: DateTime<Utc>,
    plan: Plan,
}

#[derive(Serialize, Deserialize)]
struct Progress {
    state: State,
    waiting: Option<Waiting>,
    asks: Asks,
    outcome: Option<Outcome>,
    #[serde(default)]
    taught: bool,
}

#[derive(Serialize, Deserialize)]
struct Newest {
    look: Look,
    judgement: Judgement,
}

impl Ledger {
    /// Returns whether a promotion runs, or was left behind.
    #[must_use]
    pub const fn runs(&self) -> bool {
        self.folded.outcome.is_none()
    }

    /// Takes in the next record of the promotion.
    pub fn take(&mut self, at: DateTime<Utc>, record: &Record) {
        self.folded.take(record);
        match record {
            Record::Happened { event } => {
                let message = cut(event.message.clone(), MESSAGE_BYTES_MAX);
                self.events.push(Event { message, ..event.clone() });
                keep_newest(&mut self.events, EVENTS_MAX, EVENTS_BYTES_MAX);
            }
            Record::Finished { outcome } => {
                self.remembered.end(&self.folded, &self.templates, outcome, at);
            }
            Record::Started { .. }
            | Record::Learned { .. }
            | Record::Observed { .. }
            | Record::Decided { .. }
            | Record::Done { .. }
            | Record::Asked { .. } => {}
        }
    }

    /// Returns where the promotion stands; `None` while none runs. `world`: as the one who asks sees it.
    #[must_use]
    pub fn status(&self, world: Option<&World>, now: DateTime<Utc>) -> Option<PromotionStatus> {
        let folded = &self.folded;
        let first = || Waiting {
            for_what: "the first look at what runs".into(),
            until: None,
            on_person: false,
        };
        self.runs().then(|| {
            PromotionStatus::new(&Standing {
                id: &folded.id,
                by: &folded.by,
                plan: &folded.plan,
                state: &folded.state,
                waiting: &folded.waiting.clone().unwrap_or_else(first),
                world,
                look: folded.newest.as_ref().map(|(look, judgement)| (look, judgement)),
                now,
            })
        })
    }

    /// Returns where the target stands. `stable_ready`: its pods that are ready, of those wanted.
    #[must_use]
    pub fn status_line(
        &self,
        stable_ready: [u32; 2],
        world: Option<&World>,
        now: DateTime<Utc>,
    ) -> StatusLine {
        let Folded { plan, outcome, .. } = &self.folded;
        let stable = outcome.as_ref().map_or(&plan.stable.name, |ended| &ended.stable_revision);
        StatusLine {
            schema: STATUS_SCHEMA.into(),
            at: now,
            target: plan.target.clone(),
            stable_revision: stable.clone(),
            stable_ready,
            promotion: self.status(world, now),
            last: self.last(),
        }
    }

    /// Returns how the newest promotion that has ended did.
    #[must_use]
    pub fn last(&self) -> Option<LastResult> {
        let past = self.remembered.past.last()?;
        let line = ResultLine::new(&past.id, &self.folded.plan.target, past.outcome.clone());
        LastResult::of(&line, past.at)
    }

    /// Returns the texts of the record, within their bounds.
    #[must_use]
    pub fn texts(&self) -> Texts {
        let folded = &self.folded;
        let newest = folded.newest.clone().map(|(look, judgement)| Newest { look, judgement });
        let mut texts = Texts::from([
            (HEARTBEAT.into(), self.heartbeat.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)),
            (PROMOTION.into(), json(&self.head())),
            (TEMPLATES.into(), json(&self.templates)),
            (PROGRESS.into(), json(&self.progress())),
            (NEWEST.into(), within(json(&newest), NEWEST_BYTES_MAX)),
            (JUDGE.into(), within(json(&folded.judge), JUDGE_BYTES_MAX)),
            (EVENTS.into(), json(&self.events)),
            (PAST.into(), json(&self.remembered.past)),
            (PASSED.into(), json(&self.remembered.passed)),
            (QUARANTINE.into(), json(&self.remembered.quarantine)),
        ]);
        for key in LEFT_OUT_FIRST {
            if bytes(&texts) <= RECORD_BYTES_MAX {
                break;
            }
            texts.insert(key.into(), NOTHING.into());
        }
        texts
    }

    /// Returns how many bytes the parts take that can't be left out.
    #[must_use]
    pub fn needed_bytes(&self) -> usize {
        json(&self.head()).len() + json(&self.templates).len() + json(&self.progress()).len()
    }

    /// Reads a record. What can be left out may be missing, or be of no use: it is as if it were empty.
    ///
    /// # Errors
    /// The promotion, its templates or its progress can't be read.
    pub fn read(texts: &Texts, owner: Option<&str>) -> Result<Self, Unreadable> {
        let head: Head = needed(texts, PROMOTION)?;
        if head.schema != SCHEMA {
            return Err(Unreadable { what: format!("it is {}, not {SCHEMA}", head.schema) });
        }
        let Progress { state, waiting, asks, outcome, taught } = needed(texts, PROGRESS)?;
        let heartbeat = texts.get(HEARTBEAT).and_then(|text| text.parse().ok());
        let judge: Option<Judge> = optional(texts, JUDGE);
        let judge_lost = judge.is_none();
        let unjudged = |error| Unreadable { what: format!("its plan can't be judged: {error}") };
        let judge = judge.map_or_else(|| Judge::new(&head.plan).map_err(unjudged), Ok)?;
        let newest: Option<Option<Newest>> = optional(texts, NEWEST);
        Ok(Self {
            owner: owner.and_then(|owner| owner.parse().ok()),
            heartbeat: heartbeat.unwrap_or(head.started),
            templates: needed(texts, TEMPLATES)?,
            events: optional(texts, EVENTS).unwrap_or_default(),
            remembered: Remembered {
                past: optional(texts, PAST).unwrap_or_default(),
                passed: optional(texts, PASSED).unwrap_or_default(),
                quarantine: optional(texts, QUARANTINE).unwrap_or_default(),
            },
            judge_lost,
            folded: Folded {
                id: head.id,
                by: head.by,
                started: head.started,
                plan: head.plan,
                state,
                judge,
                asks,
                waiting,
                newest: newest.flatten().map(|newest| (newest.look, newest.judgement)),
                outcome,
                // A judge that begins anew is taught anew.
                taught: taught && !judge_lost,
            },
        })
    }

    fn head(&self) -> Head {
        let Folded { id, by, started, plan, .. } = &self.folded;
        Head {
            schema: SCHEMA.into(),
            id: id.clone(),
            by: by.clone(),
            started: *started,
            plan: plan.clone(),
        }
    }

    fn progress(&self) -> Progress {
        let Folded { state, waiting, asks, outcome, .. } = &self.folded;
        Progress {
            state: state.clone(),
            waiting: waiting.clone(),
            asks: asks.clone(),
            outcome: outcome.clone(),
            taught: self.folded.taught,
        }
    }
}

/// What stands for a part that is left out.
const NOTHING: &str = "null";

/// Returns how many bytes a record takes.
#[must_use]
pub fn bytes(texts: &Texts) -> usize {
    texts.iter().map(|(key, text)| key.len() + text.len()).sum()
}

fn json(value: &impl Serialize) -> String {
    // Plain data always has a text; the fallback keeps this total.
    serde_json::to_string(value).unwrap_or_else(|_| NOTHING.into())
}

fn within(text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max { NOTHING.into() } else { text }
}

fn needed<T: DeserializeOwned>(texts: &Texts, key: &str) -> Result<T, Unreadable> {
    let text = texts.get(key).ok_or_else(|| Unreadable { what: format!("it has no {key}") })?;
    serde_json::from_str(text).map_err(|error| Unreadable { what: format!("{key}: {error}") })
}

fn optional<T: DeserializeOwned>(texts: &Texts, key: &str) -> Option<T> {
    serde_json::from_str(texts.get(key)?).ok()
}

/// Returns a text of at most so many bytes; one that is cut says so.
pub(super) fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max.saturating_sub('…'.len_utf8())));
        text.push('…');
    }
    text
}
