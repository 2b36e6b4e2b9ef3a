//! `gate history`: what was decided, and on what evidence. Read from the journals, so that it works
//! without a host; a cluster remembers by itself what has ended, for every machine.

use std::path::Path;

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;

use super::error::Error;
use super::exit::Exit;
use super::output::live::width;
use super::output::{Printer, story};
use super::target::{self, Target};
use crate::cluster::ledger::Ledger;
use crate::history::Record;
use crate::history::journal::{self, Body, Entry, Listed, SCHEMA};
use crate::published::{RESULT_SCHEMA, ResultLine};
use crate::rollout::{Outcome, ResultWord};

pub(crate) const HISTORY_SCHEMA: &str = "gate.history/v1";

#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// What is released: deployment/NAME, local/NAME or an app file [default: the only app that is known here]
    target: Option<Target>,
    /// Tell the whole story of one promotion: its id, or how it begins
    #[arg(long, value_name = "ID")]
    id: Option<String>,
}

impl HistoryArgs {
    pub(crate) const fn target(&mut self) -> Option<&mut Target> {
        self.target.as_mut()
    }
}

/// A promotion that was recorded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Past {
    pub(crate) schema: &'static str,
    pub(crate) id: String,
    pub(crate) target: String,
    pub(crate) at: DateTime<Utc>,
    pub(crate) by: String,
    pub(crate) release: String,
    pub(crate) stages: usize,
    /// Absent: it runs, or nobody has finished it.
    pub(crate) outcome: Option<Outcome>,
}

/// A record as it stands in the journal.
#[derive(Debug, Serialize)]
struct RecordLine<'a> {
    schema: &'a str,
    seq: u64,
    at: DateTime<Utc>,
    record: serde_json::Value,
}

type Records = Vec<Entry<Record>>;

pub(crate) async fn history(printer: &Printer, args: HistoryArgs) -> Result<Exit, Error> {
    let paths = target::paths()?;
    let target = match &args.target {
        Some(target) => target.clone(),
        None => target::only_one(&paths)?,
    };
    if let (None, Some(cluster)) = (&args.id, target.cluster()) {
        let ledger = super::past::recorded(&cluster).await?;
        show(printer, &ledger.as_ref().map(remembered).unwrap_or_default(), &target);
        return Ok(Exit::Done);
    }
    let folder = target.journals(printer, &paths)?;
    let listed = journal::list(&folder).map_err(|error| {
        Error::internal(format!("can't read {}", folder.display())).caused_by(error)
    })?;
    match &args.id {
        Some(id) => tell(printer, &listed, id),
        None => list(printer, &listed, &target),
    }
}

fn list(printer: &Printer, listed: &[Listed], target: &Target) -> Result<Exit, Error> {
    let mut pasts = Vec::new();
    for journal in listed {
        pasts.extend(past(&read(printer, &journal.path)?));
    }
    show(printer, &pasts, target);
    Ok(Exit::Done)
}

fn show(printer: &Printer, pasts: &[Past], target: &Target) {
    if printer.is_json() {
        pasts.iter().for_each(|past| printer.object(past));
    } else if pasts.is_empty() {
        printer.answer(&format!("nothing is recorded of {target}"));
    } else {
        printer.answer(&story::list(pasts, width()));
    }
}

/// What a cluster's record remembers, the newest first; the one that runs is the very newest.
fn remembered(ledger: &Ledger) -> Vec<Past> {
    let folded = &ledger.folded;
    let past = |id: &str, at, by: &str, release: &str, stages, outcome| Past {
        schema: HISTORY_SCHEMA,
        id: id.to_owned(),
        target: folded.plan.target.clone(),
        at,
        by: by.to_owned(),
        release: release.to_owned(),
        stages,
        outcome,
    };
    let running = ledger.runs().then(|| {
        let stages = folded.plan.stages.len();
        past(&folded.id, folded.started, &folded.by, &folded.plan.release.name, stages, None)
    });
    let ended = ledger.remembered.past.iter().rev().map(|ended| {
        let outcome = Some(ended.outcome.clone());
        past(&ended.id, ended.started, &ended.by, &ended.release.name, ended.stages, outcome)
    });
    running.into_iter().chain(ended).collect()
}

fn tell(printer: &Printer, listed: &[Listed], id: &str) -> Result<Exit, Error> {
    let path = find(listed, id)?;
    let records = read(printer, path)?;
    if printer.is_json() {
        records.iter().for_each(|entry| print_record(printer, entry));
        return Ok(Exit::Done);
    }
    let Some(past) = past(&records) else {
        return Err(Error::internal(format!("{} does not begin with its start", path.display())));
    };
    printer.answer(&story::tell(&past, &records));
    if let Some(outcome) = &past.outcome {
        let line = ResultLine {
            schema: RESULT_SCHEMA.into(),
            id: None,
            target: past.target.clone(),
            outcome: outcome.clone(),
            // What is shown here is what it would lead to.
            next: Some(next(&past, outcome)),
        };
        printer.answer(&format!("\n{}", super::output::human::result(&line)));
    }
    Ok(Exit::Done)
}

fn next(past: &Past, outcome: &Outcome) -> String {
    match outcome.result {
        ResultWord::RolledBack => {
            format!("gate promote {} --release {} --retry REASON", past.target, past.release)
        }
        ResultWord::Promoted
        | ResultWord::Unchanged
        | ResultWord::Aborted
        | ResultWord::Superseded
        | ResultWord::Inconclusive
        | ResultWord::Error
        | ResultWord::Refused => format!("gate status {}", past.target),
    }
}

/// Returns the one journal whose name begins so.
fn find<'a>(listed: &'a [Listed], id: &str) -> Result<&'a Path, Error> {
    let name =
        |journal: &Listed| journal.path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let named = listed.iter().filter(|journal| name(journal).is_some_and(|n| n.starts_with(id)));
    let found: Vec<&Listed> = named.collect();
    match found.as_slice() {
        [one] => Ok(&one.path),
        [] => Err(Error::user(format!("no promotion {id:?} is recorded"))
            .hint("`gate history TARGET` lists them")),
        many => {
            let names: Vec<String> = many.iter().filter_map(|journal| name(journal)).collect();
            Err(Error::user(format!("{id:?} begins more than one id"))
                .hint(format!("name one of {}", names.join(", "))))
        }
    }
}

fn read(printer: &Printer, path: &Path) -> Result<Records, Error> {
    let (records, repair) = journal::read(path).map_err(|error| {
        Error::internal(format!("can't read {}", path.display())).caused_by(error)
    })?;
    if !repair.is_clean() {
        printer.say(&format!(
            "warning: {} has {} damaged lines: they are left out",
            path.display(),
            repair.damaged_count.max(usize::from(repair.torn_bytes > 0))
        ));
    }
    Ok(records)
}

/// Returns what a promotion's records say in short; `None` where they don't begin with its start.
fn past(records: &[Entry<Record>]) -> Option<Past> {
    let first = records.first()?;
    let Body::Known(Record::Started { id, by, plan }) = &first.body else { return None };
    let outcome = records.iter().rev().find_map(|entry| match &entry.body {
        Body::Known(Record::Finished { outcome }) => Some((**outcome).clone()),
        Body::Known(_) | Body::Unknown { .. } => None,
    });
    Some(Past {
        schema: HISTORY_SCHEMA,
        id: id.clone(),
        target: plan.target.clone(),
        at: first.at,
        by: by.clone(),
        release: plan.release.name.clone(),
        stages: plan.stages.len(),
        outcome,
    })
}

fn print_record(printer: &Printer, entry: &Entry<Record>) {
    let (schema, record) = match &entry.body {
        Body::Known(record) => (SCHEMA, serde_json::to_value(record)),
        Body::Unknown { schema, json } => (schema.as_str(), serde_json::from_str(json)),
    };
    let record = record.unwrap_or_default();
    printer.object(&RecordLine { schema, seq: entry.seq, at: entry.at, record });
}
