//! What anybody may read of the record, and ask for, from any machine.

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ListParams;
use serde_json::json;

use super::asks;
use super::begin::Refused;
use super::ledger::{Ledger, Unreadable};
use super::object::{self, Sent};
use crate::history::AskedFor;
use crate::platform::PlatformError;
use crate::platform::kubernetes::access::Access;
use crate::platform::kubernetes::names;
use crate::platform::kubernetes::write::Op;
use crate::rollout::Ask;

/// Records that one list brings.
const RECORDS_MAX: u32 = 500;
/// How often an ask is tried anew because the promotion has changed meanwhile.
const TRIES_MAX: usize = 3;

/// A record as it was read once. Who begins on it need not read it again: a write that it has changed before is
/// refused.
#[derive(Clone, Debug)]
pub struct Reading(pub(super) Option<ConfigMap>);

impl Reading {
    /// Reads the record of a target.
    ///
    /// # Errors
    /// The cluster can't be read.
    pub async fn now(access: &Access, target: &str) -> Result<Self, PlatformError> {
        Ok(Self(object::get(access, &names::record(target)).await?))
    }

    /// Returns what it says; `None`: nothing was ever promoted there.
    ///
    /// # Errors
    /// It can't be read.
    pub fn ledger(&self) -> Result<Option<Ledger>, Refused> {
        Ok(self.0.as_ref().map(object::ledger).transpose()?)
    }
}

/// Reads the record of a target; `None`: nothing was ever promoted there.
///
/// # Errors
/// The record or the cluster can't be read.
pub async fn read(access: &Access, target: &str) -> Result<Option<Ledger>, Refused> {
    Reading::now(access, target).await?.ledger()
}

/// Reads the records of all targets of the namespace, by name. One that can't be read is told with its name.
///
/// # Errors
/// The cluster can't be read.
pub async fn list(
    access: &Access,
) -> Result<Vec<(String, Result<Ledger, Unreadable>)>, PlatformError> {
    let params = ListParams::default().labels(names::TARGET).limit(RECORDS_MAX);
    let api = object::api(access);
    let listed = access.ask("reading the records", api.list(&params)).await?;
    // Other ConfigMaps may carry the label: a record is what has an owner.
    let is_record =
        |found: &ConfigMap| object::annotations(&found.metadata).contains_key(names::OWNER);
    let records = listed.items.into_iter().filter(is_record);
    Ok(records
        .map(|found| (found.metadata.name.clone().unwrap_or_default(), object::ledger(&found)))
        .collect())
}

/// Asks for something of the promotion that runs; returns its id. It is heard at the owner's next turn,
/// which this wakes.
///
/// # Errors
/// None runs, or a stage to approve that it does not have; the record or the cluster can't be read
/// or written.
pub async fn ask(
    access: &Access,
    target: &str,
    what: AskedFor,
    by: &str,
    reason: Option<String>,
    now: DateTime<Utc>,
) -> Result<String, Refused> {
    let name = names::record(target);
    let nothing = || Refused::NothingRuns { target: target.to_owned() };
    for _ in 0..TRIES_MAX {
        let found = object::get(access, &name).await?.ok_or_else(nothing)?;
        let ledger = object::ledger(&found)?;
        if !ledger.runs() {
            return Err(nothing());
        }
        let stages = ledger.folded.plan.stages.len();
        if let AskedFor::Approve { stage } = what
            && stage >= stages
        {
            return Err(Refused::NoSuchStage { stage: stage + 1, stages });
        }
        let ask = Ask { at: now, by: by.to_owned(), reason: reason.clone() };
        let ops = asking(&found, &ledger, what, ask);
        match object::patch(access, &name, &ops).await {
            Sent::Done => return Ok(ledger.folded.id),
            Sent::Missing | Sent::Changed => {}
            Sent::Failed(error) => return Err(error.into()),
        }
    }
    let what = format!("the record {name} is not as it should be: `gate status` tells more");
    Err(PlatformError { what }.into())
}

fn asking(found: &ConfigMap, ledger: &Ledger, what: AskedFor, mut ask: Ask) -> Vec<Op> {
    let folded = &ledger.folded;
    let known = object::annotations(&found.metadata);
    ask.at = asks::after(&asks::of(known, &folded.id, folded.plan.stages.len()), ask.at);
    vec![
        // Not the version: the owner writes all the time.
        Op::Test { path: object::annotation(names::RUNS), value: json!(folded.id) },
        object::annotate(&asks::annotation(what), &asks::value(&folded.id, &ask)),
    ]
}
