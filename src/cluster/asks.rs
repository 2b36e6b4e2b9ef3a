//! What people ask for: annotations of the record, so that it works from any machine, in any phase,
//! and with nothing but the right to patch it.
//!
//! `gate.rs/abort`, `gate.rs/hold`, `gate.rs/resume`, `gate.rs/approve-2`, `gate.rs/supersede`: each holds who
//! asked, when and why, and for which promotion. One that was made for another promotion is not heard.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::ledger::cut;
use crate::history::AskedFor;
use crate::platform::kubernetes::names;
use crate::rollout::{Ask, Asks};

/// The longest reason that a person can give, in bytes.
pub const REASON_BYTES_MAX: usize = 1024;
const BY_BYTES_MAX: usize = 256;

/// The words without a number.
const WORDS: [(&str, AskedFor); 4] = [
    ("abort", AskedFor::Abort),
    ("hold", AskedFor::Hold),
    ("resume", AskedFor::Resume),
    ("supersede", AskedFor::Supersede),
];
const APPROVE: &str = "approve-";

/// The value of an annotation.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    promotion: String,
    #[serde(flatten)]
    ask: Ask,
}

/// Returns the annotation that asks for something. Stages count from 1, as people do.
#[must_use]
pub fn annotation(what: AskedFor) -> String {
    let word = match what {
        AskedFor::Approve { stage } => format!("{APPROVE}{}", stage + 1),
        AskedFor::Abort | AskedFor::Hold | AskedFor::Resume | AskedFor::Supersede => {
            let known = WORDS.iter().find(|(_, asked)| *asked == what);
            known.map_or("", |(word, _)| word).to_owned()
        }
    };
    format!("{}{word}", names::ASKS)
}

/// Returns what an annotation asks for; `None`: it asks for nothing.
fn asked_for(annotation: &str) -> Option<AskedFor> {
    let word = annotation.strip_prefix(names::ASKS)?;
    if let Some(number) = word.strip_prefix(APPROVE) {
        let stage: usize = number.parse().ok()?;
        return Some(AskedFor::Approve { stage: stage.checked_sub(1)? });
    }
    WORDS.iter().find(|(known, _)| *known == word).map(|(_, what)| *what)
}

/// Returns the value of an annotation.
#[must_use]
pub fn value(promotion: &str, ask: &Ask) -> String {
    let ask = Ask {
        at: ask.at,
        by: cut(ask.by.clone(), BY_BYTES_MAX),
        reason: ask.reason.clone().map(|reason| cut(reason, REASON_BYTES_MAX)),
    };
    // Plain data always has a text.
    serde_json::to_string(&Written { promotion: promotion.to_owned(), ask }).unwrap_or_default()
}

/// Returns what is asked of a promotion with so many stages.
#[must_use]
pub fn of(
    annotations: &BTreeMap<String, String>,
    promotion: &str,
    stages: usize,
) -> Vec<(AskedFor, Ask)> {
    let is_there = |what: AskedFor| match what {
        AskedFor::Approve { stage } => stage < stages,
        AskedFor::Abort | AskedFor::Hold | AskedFor::Resume | AskedFor::Supersede => true,
    };
    let asks = annotations.iter().filter_map(|(annotation, value)| {
        let what = asked_for(annotation).filter(|what| is_there(*what))?;
        let written: Written = serde_json::from_str(value).ok()?;
        (written.promotion == promotion).then_some((what, written.ask))
    });
    asks.collect()
}

/// Returns the annotations that ask for something, whatever they say.
pub(super) fn annotations(all: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
    all.keys().map(String::as_str).filter(|key| asked_for(key).is_some())
}

/// Returns those of the asks that are not known yet.
pub(super) fn unheard(known: &Asks, asks: Vec<(AskedFor, Ask)>) -> Vec<(AskedFor, Ask)> {
    let heard = |what: AskedFor| match what {
        AskedFor::Abort => known.abort.as_ref(),
        AskedFor::Hold => known.hold.as_ref(),
        AskedFor::Resume => known.resume.as_ref(),
        AskedFor::Approve { stage } => known.approved.get(&stage),
        AskedFor::Supersede => known.superseded.as_ref(),
    };
    asks.into_iter().filter(|(what, ask)| heard(*what) != Some(ask)).collect()
}

/// Returns a moment for a new ask that is after every one before it: a hold that is taken back from
/// a machine whose clock is behind is taken back all the same.
pub(super) fn after(asks: &[(AskedFor, Ask)], now: DateTime<Utc>) -> DateTime<Utc> {
    let newest = asks.iter().map(|(_, ask)| ask.at).max();
    let next = newest.and_then(|newest| newest.checked_add_signed(TimeDelta::milliseconds(1)));
    next.map_or(now, |next| now.max(next))
}
