//! The platform's own evidence with Prometheus' counters in it.

use super::expression::Arms;
use super::reader::Reader;
use crate::analysis::Look;
use crate::evidence::Evidence;
use crate::rollout::World;

/// Probes, health and the instances that are expected come from the platform, counters and named
/// queries from a Prometheus.
///
/// `arms` says after each look of the platform which instances are whose.
#[derive(Debug)]
pub struct Prometheus<P, A> {
    platform: P,
    arms: A,
    reader: Reader,
}

impl<P, A> Prometheus<P, A> {
    pub const fn new(platform: P, arms: A, reader: Reader) -> Self {
        Self { platform, arms, reader }
    }
}

impl<P: Evidence + Send, A: FnMut(&World, &Look) -> Arms + Send> Evidence for Prometheus<P, A> {
    async fn look(&mut self, world: &World) -> Look {
        let look = self.platform.look(world).await;
        let arms = (self.arms)(world, &look);
        let seen = self.reader.look(&arms).await;
        Look {
            baseline: seen.baseline,
            candidate: seen.candidate,
            queries: seen.queries,
            missing: seen.missing.or(look.missing),
            ..look
        }
    }
}
