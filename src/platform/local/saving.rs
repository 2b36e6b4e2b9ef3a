//! Writing the state down, in the background: the disk is told, never waited for.
//!
//! Only the newest state matters, so a disk that is slow skips what was overtaken meanwhile. One
//! that fails is tried again, and the trouble is published.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;

use super::stored::Stored;

/// Between two attempts on a disk that fails.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Saver {
    wanted: watch::Sender<Wanted>,
    written: watch::Receiver<Written>,
    path: PathBuf,
}

#[derive(Clone, Debug, Default)]
struct Wanted {
    number: u64,
    state: Option<Stored>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    number: u64,
    /// Why the newest attempt failed.
    pub(super) trouble: Option<String>,
}

impl Saver {
    pub(super) fn start(path: PathBuf) -> Self {
        let (wanted, wishes) = watch::channel(Wanted::default());
        let (told, written) = watch::channel(Written::default());
        tokio::spawn(write_newest(path.clone(), wishes, told));
        Self { wanted, written, path }
    }

    pub(super) fn save(&self, state: Stored) {
        self.wanted.send_if_modified(|wanted| {
            if wanted.state.as_ref() == Some(&state) {
                return false;
            }
            *wanted = Wanted { number: wanted.number + 1, state: Some(state) };
            true
        });
    }

    /// Waits until what was asked for so far is on disk, or the limit has passed.
    pub(super) async fn saved(&self, limit: Duration) {
        let number = self.wanted.borrow().number;
        let mut written = self.written.clone();
        let done = written.wait_for(|written| written.number >= number);
        let _ = tokio::time::timeout(limit, done).await;
    }

    /// Follows what becomes of the writes.
    pub(super) fn written(&self) -> watch::Receiver<Written> {
        self.written.clone()
    }

    /// Leaves no file behind.
    pub(super) async fn remove(&self) {
        self.saved(RETRY).await;
        let path = self.path.clone();
        // A file that stays is no harm: the next embedded run does not read it.
        let _ = tokio::task::spawn_blocking(move || crate::durable::remove(&path)).await;
    }
}

async fn write_newest(
    path: PathBuf,
    mut wishes: watch::Receiver<Wanted>,
    told: watch::Sender<Written>,
) {
    let mut again = false;
    loop {
        if again {
            tokio::time::sleep(RETRY).await;
        } else if wishes.changed().await.is_err() {
            return; // the host itself goes away
        }
        let Wanted { number, state } = wishes.borrow_and_update().clone();
        let Some(state) = state else { continue };
        let trouble = write(&path, state).await.err();
        again = trouble.is_some();
        told.send_modify(|written| {
            written.number = if again { written.number } else { number };
            written.trouble = trouble;
        });
    }
}

async fn write(path: &Path, state: Stored) -> Result<(), String> {
    let path = path.to_owned();
    let written = tokio::task::spawn_blocking(move || state.save(&path)).await;
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}
