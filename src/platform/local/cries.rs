//! What people should hear of a host: trouble with writing its state, and what is cried.

use super::Local;

/// What people should hear and have not yet.
pub(super) const CRIES_MAX: usize = 16;

impl Local {
    /// Says what people should hear now.
    pub fn cry(&self, what: &str) {
        // Where so much is unheard already, this is no news.
        let _ = self.inner.cries.try_send(what.to_owned());
    }

    /// Tells of every change in the trouble with writing the state, and of what is cried; never
    /// returns.
    pub async fn tell_troubles(&self, mut tell: impl FnMut(&str)) {
        let mut written = self.inner.saver.written();
        let mut heard = self.inner.heard.lock().await;
        let mut known = None;
        loop {
            tokio::select! {
                Some(cry) = heard.recv() => tell(&cry),
                changed = written.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let trouble = written.borrow_and_update().trouble.clone();
                    match &trouble {
                        Some(what) if trouble != known => {
                            tell(&format!("the state can't be written: {what}"));
                        }
                        None if known.is_some() => tell("the state can be written again"),
                        Some(_) | None => {}
                    }
                    known = trouble;
                }
            }
        }
    }
}
