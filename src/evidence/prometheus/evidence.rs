//! The platform's own evidence with Prometheus' counters in it.

use tokio::time::Instant;

use super::expression::Arms;
use super::preroll::Preroll;
use super::reader::{Reader, Settings};
use super::source::{Refusal, Source};
use crate::analysis::{Look, PerArm, Unknown};
use crate::evidence::Evidence;
use crate::plan::JudgePlan;
use crate::rollout::World;

/// Probes, health and the instances that are expected come from the platform, counters and named
/// queries from a Prometheus.
///
/// `arms` says at each look which instances are whose.
#[derive(Debug)]
pub struct Prometheus<P, A> {
    platform: P,
    arms: A,
    reader: Reader,
    preroll: Preroll,
}

/// The evidence of a plan: who counts the requests is the policy's choice.
#[derive(Debug)]
pub enum Counted<P, A> {
    /// The platform itself.
    Platform(P),
    Server(Box<Prometheus<P, A>>),
    /// A metrics server that can't be asked at all: its URL or the credentials are no good.
    Nobody {
        platform: P,
        why: Unknown,
    },
}

impl<P, A> Prometheus<P, A> {
    #[must_use]
    pub fn new(platform: P, arms: A, reader: Reader) -> Self {
        let settings = reader.settings();
        let preroll = Preroll::new(settings.bounds_ms.clone(), settings.scrape_interval);
        Self { platform, arms, reader, preroll }
    }
}

impl<P, A> Counted<P, A> {
    /// Returns the evidence of a plan. `source` is [`Source::for_plan`]'s; the plan has been
    /// [completed](super::Fitness::complete) with what is known of it.
    ///
    /// The promotion begins now, or is taken up again: older samples of a candidate are another's.
    pub fn new(
        source: Result<Option<Source>, Refusal>,
        plan: &JudgePlan,
        platform: P,
        arms: A,
    ) -> Self {
        let scrape_interval = plan.source_interval.unwrap_or(plan.interval);
        match source {
            Ok(None) => Self::Platform(platform),
            Ok(Some(source)) => {
                let settings = Settings {
                    candidate_since: Some(Instant::now()),
                    ..Settings::new(plan.bounds_ms.clone(), plan.interval, scrape_interval)
                };
                let reader = Reader::new(source, settings);
                Self::Server(Box::new(Prometheus::new(platform, arms, reader)))
            }
            Err(why) => {
                Self::Nobody { platform, why: Unknown::SourceDown { what: why.to_string() } }
            }
        }
    }
}

impl<P: Evidence + Send, A: FnMut(&World) -> Arms + Send> Evidence for Prometheus<P, A> {
    async fn look(&mut self, world: &World) -> Look {
        let arms = (self.arms)(world);
        // First, because this may be dropped while it waits: probes are counted once.
        let seen = self.reader.look(&arms).await;
        let look = self.platform.look(world).await;
        Look {
            expected: expected(&arms, look.expected),
            baseline: seen.baseline,
            candidate: seen.candidate,
            queries: seen.queries,
            missing: seen.missing.or(look.missing),
            ..look
        }
    }

    fn read_ahead(&mut self, world: &World) {
        let arms = (self.arms)(world);
        self.preroll.begin(self.reader.source(), &arms);
    }

    async fn history(&mut self, world: &World) -> Vec<Look> {
        let arms = (self.arms)(world);
        self.preroll.finish(self.reader.source(), &arms).await
    }
}

/// Returns how many instances should report. Who they are that matchers find, the platform does not know:
/// where it has somebody who serves, one has to.
fn expected(arms: &Arms, platform: PerArm<u32>) -> PerArm<u32> {
    match arms {
        Arms::Instances(_) => platform,
        Arms::Matchers(_) => {
            PerArm { baseline: platform.baseline.min(1), candidate: platform.candidate.min(1) }
        }
    }
}

impl<P: Evidence + Send, A: FnMut(&World) -> Arms + Send> Evidence for Counted<P, A> {
    async fn look(&mut self, world: &World) -> Look {
        match self {
            Self::Platform(platform) => platform.look(world).await,
            Self::Server(prometheus) => prometheus.look(world).await,
            Self::Nobody { platform, why } => {
                let look = platform.look(world).await;
                let missing = Some(why.clone());
                Look { baseline: [].into(), candidate: [].into(), missing, ..look }
            }
        }
    }

    fn read_ahead(&mut self, world: &World) {
        match self {
            Self::Platform(platform) => platform.read_ahead(world),
            Self::Server(prometheus) => prometheus.read_ahead(world),
            Self::Nobody { .. } => {}
        }
    }

    async fn history(&mut self, world: &World) -> Vec<Look> {
        match self {
            Self::Platform(platform) => platform.history(world).await,
            Self::Server(prometheus) => prometheus.history(world).await,
            Self::Nobody { .. } => Vec::new(),
        }
    }
}
