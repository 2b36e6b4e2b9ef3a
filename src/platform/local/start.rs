//! The start: what was stored, held against what runs.

use std::path::PathBuf;
use std::time::Duration;

use super::app::App;
use super::process::{self, Instance};
use super::proxy::Salt;
use super::stored::{self, Found, Stored, StoredRevision};
use super::{Alarms, Home, LocalError, mark, release_of};
use crate::share::Share;

/// What an earlier host has left behind gets so long to end.
const LEFTOVER_GRACE: Duration = Duration::from_secs(5);

pub(super) fn state_file(home: &Home) -> PathBuf {
    home.folder.join(if home.embedded { "embedded.json" } else { "state.json" })
}

/// Returns what was stored, or a fresh start from the app file.
pub(super) fn recall(app: &App, home: &Home) -> Result<(Stored, Alarms), LocalError> {
    let fresh = || fresh(app);
    if home.embedded {
        return Ok((fresh()?, Vec::new()));
    }
    let path = state_file(home);
    Ok(match stored::load(&path) {
        Found::Whole(stored) => (*stored, Vec::new()),
        Found::Nothing => (fresh()?, Vec::new()),
        Found::Older(stored, why) => {
            let alarm = format!(
                "{} can't be used ({why}): the generation before it is used instead",
                path.display()
            );
            (*stored, vec![alarm])
        }
        Found::Lost(why) => {
            let alarm = format!(
                "{} can't be used ({why}): starting from release {} of the app file, and from what runs",
                path.display(),
                app.stable
            );
            (fresh()?, vec![alarm])
        }
    })
}

fn fresh(app: &App) -> Result<Stored, LocalError> {
    let missing = || LocalError::NoSuchRelease { name: app.stable.clone() };
    let spec = app.releases.get(&app.stable).ok_or_else(missing)?;
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|_| LocalError::Random)?;
    Ok(Stored {
        app: app.name.clone(),
        salt: salt.iter().map(|byte| format!("{byte:02x}")).collect(),
        stable: Stored::revision(release_of(&app.stable, spec), spec.clone(), 0),
        candidate: None,
        retiring: Vec::new(),
        share: Share::ZERO,
        passed: Vec::new(),
        quarantine: Vec::new(),
        promotion: None,
    })
}

/// Holds what was stored against what runs: a process that the state has lost is found by its mark,
/// and one that nobody knows is ended.
pub(super) fn reconcile(mut stored: Stored, home: &Home, alarms: &mut Alarms) -> Stored {
    let log = |instance: &str| home.logs().join(format!("{instance}.log"));
    for found in mark::find(&home.folder) {
        let known = std::iter::once(&mut stored.stable).chain(&mut stored.candidate);
        let part = known.into_iter().find(|revision| revision.instance == found.instance);
        match (part, found.port) {
            // A child in a session of its own carries the mark as well: the one that is known wins.
            (Some(revision), _) if !home.embedded && runs(revision) => {}
            (Some(revision), Some(port)) if !home.embedded => {
                let log = log(&found.instance);
                revision.process = Some(process::Record { identity: found.identity, port, log });
            }
            _ => {
                if !stored.retiring.iter().any(|revision| revision.instance == found.instance) {
                    let (pid, instance) = (found.identity.pid, &found.instance);
                    alarms.push(format!(
                        "process {pid} ({instance}) has no part any more: it is ended"
                    ));
                }
                end(process::Record {
                    identity: found.identity,
                    port: 0,
                    log: log(&found.instance),
                });
            }
        }
    }
    stored.retiring.clear();
    // A candidate that has ended is not started by the way: it may be condemned. The promotion asks
    // for it, if it still wants it.
    stored.candidate = stored.candidate.filter(runs);
    stored
}

fn end(process: process::Record) {
    if let Ok(instance) = Instance::adopt(process) {
        tokio::spawn(async move { instance.stop(LEFTOVER_GRACE).await });
    }
}

/// Whether the process that was stored is still there.
fn runs(revision: &StoredRevision) -> bool {
    revision.process.as_ref().is_some_and(|process| process.identity.is_alive())
}

pub(super) fn salt(hex: &str) -> Salt {
    let mut salt = [0; 16];
    for (at, byte) in salt.iter_mut().enumerate() {
        let digits = hex.get(2 * at..2 * at + 2);
        *byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).unwrap_or_default();
    }
    Salt(salt)
}
