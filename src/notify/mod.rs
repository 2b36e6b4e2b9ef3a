//! Telling people and programs elsewhere: each event as one JSON POST.
//!
//! **Contract.** It never changes a decision and never holds one up: [`Notifier::tell`] only puts the
//! event into a bounded queue, and what does not fit is counted, not waited for. Events arrive in
//! order. A receiver that fails is tried again for a while, then that event is given up and counted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

mod webhook;

pub use webhook::{NotAWebhook, PostError, Webhook};

/// Events that wait for a slow receiver. A promotion of four stages has some thirty.
pub const QUEUE_EVENTS_MAX: usize = 256;

/// After the first try an event is tried so often again, …
const RETRIES_MAX: usize = 4;
/// … first after so long, then each time after twice as long, …
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// … at most after so long.
const PAUSE_MAX: Duration = Duration::from_secs(3);

/// Tells one receiver.
#[derive(Debug)]
pub struct Notifier {
    queue: mpsc::Sender<Bytes>,
    sending: JoinHandle<()>,
    told: Arc<Mutex<Told>>,
}

/// What became of the events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub sent: u64,
    /// Not taken by the receiver, or by the queue, or not in time.
    pub lost: u64,
    /// Why the newest one that was lost was.
    pub why: Option<String>,
}

impl Notifier {
    /// Starts it inside a tokio runtime.
    #[must_use]
    pub fn start(webhook: Webhook) -> Self {
        let pauses = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(PAUSE_MIN)
            .with_max_delay(PAUSE_MAX);
        Self::start_with(webhook, pauses.with_max_times(RETRIES_MAX))
    }

    fn start_with(webhook: Webhook, pauses: ExponentialBuilder) -> Self {
        let (queue, events) = mpsc::channel(QUEUE_EVENTS_MAX);
        let told = Arc::<Mutex<Told>>::default();
        let sending = tokio::spawn(send(webhook, events, pauses, Arc::clone(&told)));
        Self { queue, sending, told }
    }

    /// Tells an event, at once and without waiting.
    pub fn tell(&self, event: &impl Serialize) {
        let queued = match serde_json::to_vec(event) {
            Ok(event) => self.queue.try_send(event.into()).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let mut told = lock(&self.told);
        match queued {
            // Lost until it has arrived: a sender that is stopped half-way has not sent it.
            Ok(()) => told.lost += 1,
            Err(why) => told.lose(why),
        }
    }

    /// Waits at most `limit` for what is in the queue, and returns what became of everything.
    pub async fn finish(self, limit: Duration) -> Told {
        let Self { queue, mut sending, told } = self;
        drop(queue);
        let late = tokio::time::timeout(limit, &mut sending).await.is_err();
        let mut told = lock(&told).clone();
        if late {
            sending.abort();
            told.why.get_or_insert_with(|| format!("not taken within {limit:?}"));
        }
        told
    }
}

impl Told {
    fn lose(&mut self, why: String) {
        self.lost += 1;
        self.why = Some(why);
    }
}

fn lock(told: &Mutex<Told>) -> std::sync::MutexGuard<'_, Told> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn send(
    webhook: Webhook,
    mut events: mpsc::Receiver<Bytes>,
    pauses: ExponentialBuilder,
    told: Arc<Mutex<Told>>,
) {
    while let Some(event) = events.recv().await {
        let posted = (|| webhook.post(event.clone())).retry(pauses).when(PostError::may_pass).await;
        let mut told = lock(&told);
        match posted {
            Ok(()) => (told.sent, told.lost) = (told.sent + 1, told.lost.saturating_sub(1)),
            Err(error) => told.why = Some(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
