//! The queue before the disk, and the one thread behind it.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::QUEUE_RECORDS_MAX;

/// How long the writer waits before it tries a failed line again; a new record ends the wait.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Lines in order, shared by those who append and the thread that writes.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    lines: VecDeque<(u64, Arc<[u8]>)>,
    /// Every record below is on disk.
    unwritten_from: u64,
    /// Why the first line in the queue could not be written.
    failure: Option<String>,
    closing: bool,
    ended: bool,
}

struct Next {
    seq: u64,
    line: Arc<[u8]>,
    /// The queue was closed before this try began.
    is_last_try: bool,
}

/// What a wait for the disk came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Waited {
    Durable,
    Slow,
    Failed(String),
}

/// Starts the thread that owns the disk.
pub(super) fn start(
    put: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
    first_seq: u64,
) -> Arc<Queue> {
    let queue = Arc::new(Queue {
        state: Mutex::new(State {
            lines: VecDeque::new(),
            unwritten_from: first_seq,
            failure: None,
            closing: false,
            ended: false,
        }),
        changed: Condvar::new(),
    });
    let shared = Arc::clone(&queue);
    let spawned = thread::Builder::new().name("journal".into()).spawn(move || shared.run(put));
    if let Err(error) = spawned {
        let mut state = queue.lock();
        state.failure = Some(format!("no thread for the journal: {error}"));
        state.ended = true;
    }
    queue
}

impl Queue {
    /// Returns `false` when the queue is full or was closed: the line is not taken.
    pub(super) fn push(&self, seq: u64, line: Vec<u8>) -> bool {
        let mut state = self.lock();
        if state.lines.len() >= QUEUE_RECORDS_MAX || state.closing {
            return false;
        }
        state.lines.push_back((seq, line.into()));
        if !state.ended {
            state.failure = None;
        }
        self.changed.notify_all();
        true
    }

    pub(super) fn wait(&self, seq: u64, limit: Duration) -> Waited {
        let undecided = |state: &mut State| state.unwritten_from <= seq && state.failure.is_none();
        let state = self.wait_while(self.lock(), limit, undecided);
        match &state.failure {
            _ if state.unwritten_from > seq => Waited::Durable,
            Some(why) => Waited::Failed(why.clone()),
            None => Waited::Slow,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().lines.len()
    }

    /// Lets every waiting line be tried once more; returns how many are left then.
    pub(super) fn close(&self, limit: Duration) -> usize {
        let mut state = self.lock();
        if state.closing {
            return state.lines.len();
        }
        state.closing = true;
        self.changed.notify_all();
        let state = self.wait_while(state, limit, |state| !state.ended);
        state.lines.len()
    }

    fn run(&self, mut put: impl FnMut(&[u8]) -> io::Result<()>) {
        while let Some(next) = self.next() {
            let result = put(&next.line);
            let mut state = self.lock();
            state.failure = result.err().map(|error| error.to_string());
            if state.failure.is_none() {
                state.lines.pop_front();
                state.unwritten_from = next.seq + 1;
            }
            let gives_up = next.is_last_try && state.failure.is_some();
            self.changed.notify_all();
            if gives_up {
                break;
            }
        }
        // The file, and the lock on it, go first: whoever sees the end may open it again.
        drop(put);
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Waits for a line; `None`: closed, and all is written.
    fn next(&self) -> Option<Next> {
        let failed = |state: &mut State| state.failure.is_some() && !state.closing;
        let mut state = self.wait_while(self.lock(), RETRY_AFTER, failed);
        while state.lines.is_empty() && !state.closing {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let is_last_try = state.closing;
        state.lines.front().cloned().map(|(seq, line)| Next { seq, line, is_last_try })
    }

    /// Waits in real time, because the disk is real.
    fn wait_while<'a>(
        &self,
        state: MutexGuard<'a, State>,
        limit: Duration,
        holds: impl FnMut(&mut State) -> bool,
    ) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout_while(state, limit, holds);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it was held can't leave it half changed: every change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
