//! A promotion of the past, as its journal tells it. Read without a host.

use std::path::PathBuf;

use chrono::{DateTime, Utc};

use super::error::Error;
use super::follow::unexpected;
use super::output::Printer;
use super::target::{self, Target};
use crate::cluster::Cluster;
use crate::cluster::ledger::Ledger;
use crate::history::Record;
use crate::history::journal::{self, Entry};
use crate::plan::Plan;

/// Returns what a cluster remembers of a Deployment.
///
/// # Errors
/// The cluster can't be read.
pub(crate) async fn recorded(cluster: &Cluster) -> Result<Option<Ledger>, Error> {
    cluster.record().await.map_err(|answer| unexpected(*answer))
}

/// One promotion's records, the oldest first.
#[derive(Debug)]
pub(crate) struct Past {
    pub(crate) id: String,
    pub(crate) plan: Plan,
    pub(crate) records: Vec<(DateTime<Utc>, Record)>,
}

impl Past {
    /// Reads the promotion whose id is given, or begins so; without one the newest.
    ///
    /// # Errors
    /// There is none, or its journal can't be read.
    pub(crate) fn find(
        printer: &Printer,
        target: Option<&Target>,
        id: Option<&str>,
    ) -> Result<Self, Error> {
        let paths = target::paths()?;
        let target =
            target.map_or_else(|| target::only_one(&paths), |target| Ok(target.clone()))?;
        let folder = target.journals(printer, &paths)?;
        let listed = journal::list(&folder).map_err(|error| {
            Error::internal(format!("can't read {}", folder.display())).caused_by(error)
        })?;
        let is_named = |path: &PathBuf| {
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            id.is_none_or(|id| stem.is_some_and(|stem| stem.starts_with(id)))
        };
        let mut paths = listed.into_iter().map(|journal| journal.path).filter(is_named);
        match (paths.next(), id) {
            (Some(path), None) => Self::read(printer, &path),
            (Some(path), Some(_)) if paths.next().is_none() => Self::read(printer, &path),
            (Some(_), Some(id)) => Err(Error::user(format!("{id:?} begins more than one id"))),
            (None, _) => Err(Error::user(match id {
                Some(id) => format!("no promotion {id:?} of {target} is recorded"),
                None => format!("no promotion of {target} is recorded"),
            })
            .hint(match target {
                Target::Deployment { .. } => {
                    "its story is on the machine that drove it; `gate history` lists all of them"
                        .into()
                }
                Target::Local(_) | Target::File(_) => {
                    format!("`gate history {target}` lists them")
                }
            })),
        }
    }

    /// The same; without an id a cluster is asked which one is the newest.
    ///
    /// # Errors
    /// As [`Past::find`]; the cluster can't be read.
    pub(crate) async fn newest(
        printer: &Printer,
        target: Option<&Target>,
        id: Option<&str>,
    ) -> Result<Self, Error> {
        let recorded = match (id, target.and_then(Target::cluster)) {
            (None, Some(cluster)) => recorded(&cluster).await?.map(|ledger| ledger.folded.id),
            (Some(_), _) | (None, None) => None,
        };
        Self::find(printer, target, id.or(recorded.as_deref()))
    }

    fn read(printer: &Printer, path: &std::path::Path) -> Result<Self, Error> {
        let what = || format!("can't read {}", path.display());
        let (entries, repair) = journal::read::<Record>(path)
            .map_err(|error| Error::internal(what()).caused_by(error))?;
        if !repair.is_clean() {
            printer.say(&format!("{} is damaged: what can be read is told", path.display()));
        }
        let records: Vec<_> = entries.into_iter().filter_map(Entry::known).collect();
        match records.first() {
            Some((_, Record::Started { id, plan, .. })) => {
                Ok(Self { id: id.clone(), plan: (**plan).clone(), records })
            }
            Some(_) | None => {
                Err(Error::internal(format!("{} does not begin with its start", path.display())))
            }
        }
    }
}
