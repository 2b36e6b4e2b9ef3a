//! The one task that writes the record.

use std::time::Duration;

use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::super::object::{self, Sent};
use super::super::owner::HEARTBEAT;
use super::super::tenure::Tenure;
use super::desk::{Draft, SharedDesk};
use crate::clock::{Clock, since_boot};
use crate::history::Urgency;
use crate::platform::kubernetes::access::Access;
use crate::platform::kubernetes::names;
use crate::platform::kubernetes::write::{Op, unchanged};

/// Before a write that failed is tried again; doubled each time …
const AGAIN_AFTER: Duration = Duration::from_millis(250);
/// … up to that.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) enum Request {
    /// Write what there is, and say what became of it.
    Write { urgency: Urgency, done: oneshot::Sender<Result<(), String>> },
    /// The record is not as it was left: look at it.
    Look,
}

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) access: Access,
    pub(super) target: String,
    pub(super) tenure: Tenure,
    pub(super) desk: SharedDesk,
}

/// Why a write was not done.
enum Failed {
    /// It is tried again.
    Yet(String),
    /// Another process owns the promotion.
    Lost(String),
}

/// The newest failure.
struct Failing {
    why: String,
    again: Instant,
    wait: Duration,
}

impl Writer {
    pub(super) async fn run(self, mut queue: mpsc::Receiver<Request>, clock: impl Clock) {
        let mut due = Instant::now() + HEARTBEAT;
        let mut failing: Option<Failing> = None;
        let mut requests = Vec::new();
        loop {
            tokio::select! {
                biased;
                request = queue.recv() => match request {
                    Some(request) => requests.push(request),
                    None => return,
                },
                () = sleep_until(due) => {}
            }
            while let Ok(request) = queue.try_recv() {
                requests.push(request);
            }
            if let Some(failing) = &failing
                && Instant::now() < failing.again
                && requests.iter().all(can_wait)
            {
                answer(&mut requests, &Err(failing.why.clone()));
                continue;
            }
            match self.write(&clock).await {
                Ok(()) => {
                    answer(&mut requests, &Ok(()));
                    failing = None;
                    due = Instant::now() + HEARTBEAT;
                }
                Err(Failed::Yet(why)) => {
                    self.desk.lock().doubt();
                    answer(&mut requests, &Err(why.clone()));
                    let wait = failing.map_or(AGAIN_AFTER, |failing| failing.wait * 2);
                    let wait = wait.min(AGAIN_AFTER_MAX);
                    due = Instant::now() + wait;
                    failing = Some(Failing { why, again: due, wait });
                }
                Err(Failed::Lost(why)) => {
                    self.tenure.ends(why.clone());
                    return answer(&mut requests, &Err(why));
                }
            }
            // What was noted while the write was under way.
            if failing.is_none() && self.desk.lock().is_behind() {
                due = Instant::now() + AGAIN_AFTER;
            }
        }
    }

    /// Writes what has changed, under the test that this process owns the record.
    async fn write(&self, clock: &impl Clock) -> Result<(), Failed> {
        let (draft, ops) = {
            let mut desk = self.desk.lock();
            let Some(draft) = desk.draft(clock.now()) else { return Ok(()) };
            let path = object::annotation(names::OWNER);
            let mut ops = vec![Op::Test { path, value: json!(self.tenure.owner) }];
            ops.extend(object::put(desk.changed(&draft)));
            ops.extend(draft.ends.then(|| Op::Remove { path: object::annotation(names::RUNS) }));
            (draft, ops)
        };
        let (name, asked) = (names::record(&self.target), since_boot());
        let sent = match object::patch(&self.access, &name, &ops).await {
            Sent::Missing | Sent::Changed => self.mend(&name, &draft).await?,
            sent @ (Sent::Done | Sent::Failed(_)) => sent,
        };
        match sent {
            Sent::Done => {
                self.tenure.lasts(asked);
                self.desk.lock().keep(draft);
                Ok(())
            }
            Sent::Missing | Sent::Changed => Err(Failed::Yet("the record changes".into())),
            Sent::Failed(error) => Err(Failed::Yet(error.to_string())),
        }
    }

    /// Writes all of a record that is not as it was left, unless it has another owner now.
    async fn mend(&self, name: &str, draft: &Draft) -> Result<Sent, Failed> {
        let found = object::get(&self.access, name).await;
        let Some(found) = found.map_err(|error| Failed::Yet(error.to_string()))? else {
            let new = {
                let desk = self.desk.lock();
                object::new(&self.target, &self.tenure.owner, &desk.ledger)
            };
            return Ok(object::create(&self.access, &new).await);
        };
        if let Some(why) = self.tenure.other(&found.metadata) {
            return Err(Failed::Lost(why));
        }
        let annotations = object::annotations(&found.metadata);
        let version = found.metadata.resource_version.as_deref().unwrap_or_default();
        let mut ops = vec![unchanged(version)];
        if found.metadata.annotations.is_none() {
            ops.push(Op::Add { path: "/metadata/annotations".into(), value: json!({}) });
        }
        ops.push(object::annotate(names::OWNER, &self.tenure.owner));
        match (draft.ends, annotations.contains_key(names::RUNS)) {
            (true, true) => ops.push(Op::Remove { path: object::annotation(names::RUNS) }),
            (true, false) => {}
            (false, _) => ops.push(object::annotate(names::RUNS, &self.id())),
        }
        ops.push(Op::Add { path: "/data".into(), value: json!(draft.texts) });
        Ok(object::patch(&self.access, name, &ops).await)
    }

    fn id(&self) -> String {
        self.desk.lock().ledger.folded.id.clone()
    }
}

/// The way back tries at once, whatever failed before; who goes forward waits for the next attempt.
const fn can_wait(request: &Request) -> bool {
    match request {
        Request::Write { urgency: Urgency::First, .. } | Request::Look => true,
        Request::Write { urgency: Urgency::WayBack, .. } => false,
    }
}

fn answer(requests: &mut Vec<Request>, result: &Result<(), String>) {
    for request in requests.drain(..) {
        match request {
            // Who asked may have gone on meanwhile.
            Request::Write { done, .. } => drop(done.send(result.clone())),
            Request::Look => {}
        }
    }
}
