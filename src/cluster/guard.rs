//! The watchdog: made before the first share is given, and what it does.

use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::owner::SILENT_AFTER;
use super::requests::{Cluster, Stopped};
use super::{object, read};
use crate::host::protocol::Answer;
use crate::plan::Plan;
use crate::platform::PlatformError;
use crate::platform::kubernetes::access::Access;
use crate::platform::kubernetes::permissions::{self, Scope};
use crate::platform::kubernetes::router::Router;
use crate::platform::kubernetes::snapshot::Snapshot;
use crate::platform::kubernetes::watchdog::{self, Watchdog};
use crate::platform::kubernetes::{autoscaler, names};

/// A watchdog that does not run by then is none: its image is not there, or nothing has room for it.
const START_LIMIT: Duration = Duration::from_secs(45);
/// Between two looks at its objects meanwhile.
const START_LOOK: Duration = Duration::from_millis(250);
/// Between two looks at the record.
const LOOK: Duration = Duration::from_secs(5);
/// Answers that nobody reads.
const ANSWERS_MAX: usize = 1024;

/// Returns the watchdog that a plan asks for.
pub(super) fn of_plan(
    plan: &Plan,
    name: &str,
    revision: &str,
    router: &Router,
    seen: &Snapshot,
) -> Option<Watchdog> {
    let image = plan.traffic.as_ref()?.watchdog.clone()?;
    let scaler = autoscaler::of(seen, name);
    let scope = Scope {
        target: name,
        router,
        autoscaler: scaler.and_then(|scaler| scaler.metadata.name.as_deref()),
        pods_proxy: plan.judge.server().is_none(),
        watchdog: true,
    };
    let permissions = permissions::of_watchdog(&scope);
    Some(Watchdog { target: name.to_owned(), revision: revision.to_owned(), image, permissions })
}

/// Waits until the watchdog runs.
///
/// # Errors
/// It does not within [`START_LIMIT`]; why.
pub(super) async fn stand(access: &Access, watchdog: &Watchdog) -> Result<(), PlatformError> {
    let deadline = Instant::now() + START_LIMIT;
    let mut why = "its pod does not run".to_owned();
    while Instant::now() < deadline {
        match try_to_stand(access, watchdog).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => why = error.what,
        }
        tokio::time::sleep(START_LOOK).await;
    }
    let what = format!("no watchdog after {} s: {why}", START_LIMIT.as_secs());
    Err(PlatformError { what })
}

async fn try_to_stand(access: &Access, watchdog: &Watchdog) -> Result<bool, PlatformError> {
    let name = names::record(&watchdog.target);
    let Some(record) = object::get(access, &name).await? else { return Ok(false) };
    let record = OwnerReference {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        name,
        uid: record.metadata.uid.unwrap_or_default(),
        controller: None,
        block_owner_deletion: None,
    };
    watchdog.ensure(access, &record).await
}

impl Cluster {
    /// Guards a promotion: goes back when its gate is silent, and returns when it has ended.
    ///
    /// Silent is a gate whose heartbeat is old, *and* has not changed for as long by the watchdog's own
    /// clock: that of the gate's machine may be wrong.
    ///
    /// # Errors
    /// There is no way into the cluster.
    pub async fn guard(&self, id: &str, say: impl Fn(&str)) -> Result<(), PlatformError> {
        let access = Access::new(self.place()).await?;
        let mut known: Option<(DateTime<Utc>, Instant)> = None;
        let mut told = String::new();
        loop {
            let text = match read::read(&access, self.name()).await {
                Ok(Some(ledger)) if ledger.runs() && ledger.folded.id == id => {
                    let unchanged = known.filter(|(heartbeat, _)| *heartbeat == ledger.heartbeat);
                    let since = *known
                        .insert(unchanged.unwrap_or_else(|| (ledger.heartbeat, Instant::now())));
                    if since.1.elapsed() <= SILENT_AFTER {
                        "its gate is alive".to_owned()
                    } else {
                        self.go_back(access.clone()).await
                    }
                }
                Ok(_) => {
                    say("the promotion has ended");
                    return watchdog::remove(&access, self.name(), id).await;
                }
                Err(error) => error.to_string(),
            };
            if text != told {
                say(&text);
            }
            told = text;
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Goes back if nobody runs it; returns what became of that.
    async fn go_back(&self, access: Access) -> String {
        // What is told on the way is in the record.
        let (answers, _unread) = mpsc::channel(ANSWERS_MAX);
        let reason = Some("nobody runs it any more".to_owned());
        match self.abort_if_orphaned(access, "watchdog".into(), reason, &answers).await {
            Ok(Answer::Done { message }) | Err(Stopped::Error { message, .. }) => message,
            Ok(_) => "done".to_owned(),
            Err(Stopped::Result(line)) => line.outcome.reason,
        }
    }
}
