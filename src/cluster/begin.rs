//! One promotion of a target at a time: begin one, or go on with one whose gate is gone.
//!
//! Who comes first is decided by the API server: the record is created, or patched under a test that
//! nobody has written it since it was read. Of two gates that begin at the same moment one is
//! refused, and told who runs the promotion and since when.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use super::ledger::{Ledger, NEEDED_BYTES_MAX, Templates, Unreadable};
use super::object::{self, Sent};
use super::owner::{Life, Owner, is_silent};
use super::read::Reading;
use super::{asks, diary};
use crate::analysis::Judge;
use crate::clock::Clock;
use crate::history::Folded;
use crate::plan::Plan;
use crate::platform::PlatformError;
use crate::platform::kubernetes::access::Access;
use crate::platform::kubernetes::names;
use crate::platform::kubernetes::write::{Op, unchanged};
use crate::published::ResultLine;
use crate::rollout::{Asks, ResultWord, State};

/// How often the record is read again because somebody else wrote it meanwhile.
const TRIES_MAX: usize = 8;
/// Before it is read again.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A promotion that is to begin.
#[derive(Clone, Debug)]
pub struct New {
    pub id: String,
    pub by: String,
    pub plan: Plan,
    pub templates: Templates,
    /// The record that it was admitted with; `None`: it is read first.
    pub record: Option<Reading>,
}

/// A promotion that this process owns.
#[derive(Clone, Debug)]
pub struct Held {
    pub(super) access: Access,
    pub(super) target: String,
    /// As its annotation says it.
    pub(super) owner: String,
    pub ledger: Ledger,
    pub came: Came,
}

/// How a promotion came to this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    Begun,
    /// Its owner ran on this machine, and has ended.
    OwnerGone,
    /// Its owner was silent for longer than [`super::owner::SILENT_AFTER`], and a person said so.
    TakenOver,
}

/// Why a promotion is not this process's to run. Nothing was changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refused {
    #[error("another promotion runs: {0}")]
    Busy(Box<Running>),
    #[error("no promotion of {target} runs")]
    NothingRuns { target: String },
    #[error("there is no stage {stage}: it has {stages}")]
    NoSuchStage { stage: usize, stages: usize },
    #[error(
        "the plan and the two pod templates take {bytes} bytes, over the {NEEDED_BYTES_MAX} that a record has for them"
    )]
    TooLarge { bytes: usize },
    #[error(transparent)]
    Unjudged(#[from] crate::analysis::evidence::Refused),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    Cluster(#[from] PlatformError),
}

/// The promotion that runs, for whoever wanted to begin another.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    pub id: String,
    pub target: String,
    pub release: String,
    pub by: String,
    pub started: DateTime<Utc>,
    pub host: Option<String>,
    pub heartbeat_age: TimeDelta,
    /// Its owner may be taken over.
    pub orphaned: bool,
}

/// Begins a promotion, or takes on the one that was left behind: [`Held::came`] says which, and
/// [`Held::ledger`] of what release.
///
/// # Errors
/// A promotion runs and its owner lives, or is silent and `take_over` does not say that it is dead;
/// it does not fit a record; the record or the cluster can't be read or written.
pub async fn begin(
    access: &Access,
    target: &str,
    new: &New,
    owner: &Owner,
    take_over: bool,
) -> Result<Held, Refused> {
    let fresh = fresh(new, owner)?;
    let now = owner.since;
    own(access, target, owner, new.record.clone(), |found| match found {
        None => Ok((fresh.clone(), Came::Begun)),
        Some(ledger) if ledger.runs() => continued(ledger, owner, take_over, now),
        Some(ledger) => {
            let remembered = ledger.remembered.clone();
            Ok((Ledger { remembered, ..fresh.clone() }, Came::Begun))
        }
    })
    .await
}

/// Takes on the promotion that was left behind.
///
/// # Errors
/// As [`begin`]; none runs.
pub async fn go_on(
    access: &Access,
    target: &str,
    owner: &Owner,
    take_over: bool,
) -> Result<Held, Refused> {
    let now = owner.since;
    own(access, target, owner, None, |found| match found {
        Some(ledger) if ledger.runs() => continued(ledger, owner, take_over, now),
        Some(_) | None => Err(Refused::NothingRuns { target: target.to_owned() }),
    })
    .await
}

/// Returns whether the owner of the promotion that runs still lives, as it can be told from where
/// `me` runs.
#[must_use]
pub fn life(ledger: &Ledger, me: &Owner, now: DateTime<Utc>) -> Life {
    match &ledger.owner {
        Some(owner) => owner.life(me, ledger.heartbeat, now),
        // Who it was can't be read: the heartbeat tells.
        None if is_silent(ledger.heartbeat, now) => Life::Silent,
        None => Life::Lives,
    }
}

fn fresh(new: &New, owner: &Owner) -> Result<Ledger, Refused> {
    let ledger = Ledger {
        owner: Some(owner.clone()),
        folded: Folded {
            id: new.id.clone(),
            by: new.by.clone(),
            started: owner.since,
            plan: new.plan.clone(),
            state: State::new(owner.since),
            judge: Judge::new(&new.plan)?,
            asks: Asks::default(),
            waiting: None,
            newest: None,
            outcome: None,
            taught: false,
        },
        templates: new.templates.clone(),
        heartbeat: owner.since,
        events: Vec::new(),
        remembered: Default::default(),
        judge_lost: false,
    };
    match ledger.needed_bytes() {
        bytes if bytes > NEEDED_BYTES_MAX => Err(Refused::TooLarge { bytes }),
        _ => Ok(ledger),
    }
}

fn continued(
    ledger: &Ledger,
    owner: &Owner,
    take_over: bool,
    now: DateTime<Utc>,
) -> Result<(Ledger, Came), Refused> {
    let life = life(ledger, owner, now);
    let came = match (life, take_over) {
        (Life::Gone, _) => Came::OwnerGone,
        (Life::Silent, true) => Came::TakenOver,
        (Life::Silent, false) | (Life::Lives, _) => {
            return Err(Refused::Busy(Box::new(Running::of(ledger, life, now))));
        }
    };
    Ok((Ledger { owner: Some(owner.clone()), heartbeat: now, ..ledger.clone() }, came))
}

/// Reads the record unless it was `read` before, lets `decide` say what becomes of it, and writes that if nobody
/// else was faster.
async fn own(
    access: &Access,
    target: &str,
    owner: &Owner,
    mut read: Option<Reading>,
    decide: impl Fn(Option<&Ledger>) -> Result<(Ledger, Came), Refused>,
) -> Result<Held, Refused> {
    let (name, owner) = (names::record(target), owner.to_string());
    let held = |(ledger, came)| {
        let (access, target, owner) = (access.clone(), target.to_owned(), owner.clone());
        Held { access, target, owner, ledger, came }
    };
    let mut tried = None;
    for _ in 0..TRIES_MAX {
        let Reading(found) = match read.take() {
            Some(read) => read,
            None => Reading::now(access, target).await?,
        };
        if let Some(tried) = tried.take_if(|_| is_owned(found.as_ref(), &owner)) {
            return Ok(held(tried));
        }
        let known = found.as_ref().map(object::ledger).transpose()?;
        let (ledger, came) = decide(known.as_ref())?;
        let sent = match &found {
            None => object::create(access, &object::new(target, &owner, &ledger)).await,
            Some(found) => object::patch(access, &name, &claim(found, &owner, &ledger, came)).await,
        };
        match sent {
            Sent::Done => return Ok(held((ledger, came))),
            Sent::Missing | Sent::Changed => tokio::time::sleep(TRY_AGAIN_AFTER).await,
            Sent::Failed(error) => return Err(error.into()),
        }
        tried = Some((ledger, came));
    }
    let what = format!("the record {name} is written by somebody else all the time");
    Err(PlatformError { what }.into())
}

/// A write whose answer was lost is sent again by the client, and finds itself done.
fn is_owned(found: Option<&ConfigMap>, owner: &str) -> bool {
    let annotations = found.map(|found| object::annotations(&found.metadata));
    annotations.is_some_and(|known| known.get(names::OWNER).is_some_and(|known| known == owner))
}

/// Returns what makes a record that was read the one of a new owner.
fn claim(found: &ConfigMap, owner: &str, ledger: &Ledger, came: Came) -> Vec<Op> {
    let known = object::annotations(&found.metadata);
    let mut ops = vec![unchanged(found.metadata.resource_version.as_deref().unwrap_or_default())];
    if found.metadata.annotations.is_none() {
        ops.push(Op::Add { path: "/metadata/annotations".into(), value: json!({}) });
    }
    ops.push(object::annotate(names::OWNER, owner));
    ops.push(object::annotate(names::RUNS, &ledger.folded.id));
    match came {
        Came::Begun => {
            let old = asks::annotations(known);
            ops.extend(old.map(|key| Op::Remove { path: object::annotation(key) }));
        }
        // What people have asked for still stands.
        Came::OwnerGone | Came::TakenOver => {}
    }
    // All of it: what a newer gate has written beside it goes too.
    ops.push(Op::Add { path: "/data".into(), value: json!(ledger.texts()) });
    ops
}

impl Held {
    /// Returns the engine's history, which keeps the record from now on.
    #[must_use]
    pub fn diary<C: Clock + Send + Sync + 'static>(self, clock: C) -> diary::Diary {
        diary::Diary::start(self, clock)
    }
}

impl Running {
    fn of(ledger: &Ledger, life: Life, now: DateTime<Utc>) -> Self {
        let folded = &ledger.folded;
        let owner = ledger.owner.as_ref();
        Self {
            id: folded.id.clone(),
            target: folded.plan.target.clone(),
            release: folded.plan.release.name.clone(),
            by: owner.map_or(&folded.by, |owner| &owner.by).clone(),
            started: folded.started,
            host: owner.map(|owner| owner.host.clone()),
            heartbeat_age: now - ledger.heartbeat,
            orphaned: match life {
                Life::Silent => true,
                Life::Lives | Life::Gone => false,
            },
        }
    }
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.started.format("%Y-%m-%d %H:%M:%S UTC");
        write!(f, "{} of {}, by {}", self.id, self.release, self.by)?;
        if let Some(host) = &self.host {
            write!(f, " on {host}")?;
        }
        let age_s = self.heartbeat_age.num_seconds();
        match age_s {
            // Clocks of two machines differ; a heartbeat from the future is a fresh one.
            ..=0 => write!(f, ", since {since}"),
            1.. => write!(f, ", since {since}; last heartbeat {age_s} s ago"),
        }
    }
}

impl Refused {
    /// Returns the result of a promotion that was not started for this, with the command to type next.
    #[must_use]
    pub fn line(&self, plan: &Plan) -> ResultLine {
        let (target, release) = (&plan.target, &plan.release.name);
        let (result, code, next) = match self {
            Self::Busy(running) if running.orphaned => {
                let next = format!("gate promote {target} --release {release} --take-over");
                (ResultWord::Refused, 7, Some(next))
            }
            Self::Busy(_) => (ResultWord::Refused, 7, Some(format!("gate status {target}"))),
            Self::NothingRuns { .. } => {
                (ResultWord::Refused, 7, Some(format!("gate history {target}")))
            }
            Self::TooLarge { .. } => (ResultWord::Refused, 7, None),
            Self::NoSuchStage { .. } => (ResultWord::Refused, 2, None),
            Self::Unjudged(_) => (ResultWord::Refused, 2, None),
            Self::Unreadable(_) | Self::Cluster(_) => (ResultWord::Error, 6, None),
        };
        let reason = self.to_string();
        ResultLine::not_started(target, result, code, &plan.stable.name, release, reason, next)
    }
}
