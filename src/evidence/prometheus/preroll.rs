//! The baseline's history, read while the candidate is prepared, so that no look waits for it.
//!
//! Hours are read in the background, once; before the first look only the time since is asked for.
//! What can't be read is not there: a judge without history is slower, not wrong.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::PATIENCE;
use super::before::{HISTORY, Heard, Unfit};
use super::expression::Arms;
use super::source::Source;
use crate::analysis::Look;

/// The least distance of two looks: the judge's block. More would be merged.
const STEP: Duration = Duration::from_secs(15);

/// The history of one promotion.
#[derive(Debug)]
pub(super) struct Preroll {
    bounds_ms: Vec<f64>,
    step: Duration,
    begun: bool,
    reading: JoinSet<Result<Read, Unfit>>,
    read: Option<Read>,
}

/// What was read in the background; times are the server's, in Unix seconds.
#[derive(Clone, Debug)]
struct Read {
    looks: Vec<Look>,
    heard: Heard,
    until: i64,
    at: Instant,
}

impl Preroll {
    pub(super) fn new(bounds_ms: Vec<f64>, scrape_interval: Duration) -> Self {
        let step = STEP.max(scrape_interval);
        Self { bounds_ms, step, begun: false, reading: JoinSet::new(), read: None }
    }

    /// Begins to read, once.
    pub(super) fn begin(&mut self, source: &Source, arms: &Arms) {
        if self.begun {
            return;
        }
        self.begun = true;
        let (source, arms) = (source.clone(), arms.clone());
        let (bounds_ms, step) = (self.bounds_ms.clone(), self.step);
        self.reading.spawn(async move { read(&source, &arms, &bounds_ms, step).await });
    }

    /// Returns everything up to now, within [`PATIENCE`] for each of its two questions.
    pub(super) async fn finish(&mut self, source: &Source, arms: &Arms) -> Vec<Look> {
        self.begin(source, arms);
        if self.read.is_none() {
            let read = tokio::time::timeout(PATIENCE, self.reading.join_next()).await;
            self.read = read.ok().flatten().and_then(Result::ok).and_then(Result::ok);
        }
        let Some(read) = &self.read else { return Vec::new() };
        let since = self.since(read, source, arms);
        let since = tokio::time::timeout(PATIENCE, since).await.ok().and_then(Result::ok);
        let (rest, now) = since
            .unwrap_or_else(|| (Vec::new(), read.until as f64 + read.at.elapsed().as_secs_f64()));
        let mut looks = read.looks.clone();
        looks.extend(rest);
        looks.iter_mut().for_each(|look| look.at_s -= now);
        looks
    }

    /// Returns the looks since, the last of them now, and the time.
    async fn since(
        &self,
        read: &Read,
        source: &Source,
        arms: &Arms,
    ) -> Result<(Vec<Look>, f64), Unfit> {
        let now = source.now().await?;
        let steps = (now - read.until - 1).max(0) / self.step.as_secs().cast_signed().max(1);
        let start = now - steps * self.step.as_secs().cast_signed();
        let mut heard = read.heard.clone();
        let range = (start.max(read.until + 1), now);
        let looks = source.past(arms, &self.bounds_ms, range, self.step, &mut heard).await?;
        Ok((looks, now as f64))
    }
}

async fn read(
    source: &Source,
    arms: &Arms,
    bounds_ms: &[f64],
    step: Duration,
) -> Result<Read, Unfit> {
    let (until, at) = (source.now().await?, Instant::now());
    let mut heard = Heard::default();
    let range = (until - HISTORY.as_secs().cast_signed(), until);
    let looks = source.past(arms, bounds_ms, range, step, &mut heard).await?;
    Ok(Read { looks, heard, until, at })
}
