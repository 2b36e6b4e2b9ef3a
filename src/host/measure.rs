//! Before the beginning: what the plan's source has to say of itself.

use std::time::Duration;

use super::Shared;
use crate::evidence::prometheus::before::Unfit;
use crate::evidence::prometheus::{Fitness, Source};
use crate::plan::Plan;
use crate::platform::local::app::ReleaseSpec;
use crate::platform::local::scraped;
use crate::policy::{Condition, METRICS};

/// A host that has just come up waits so long for a metrics server to have scraped it: three times, every
/// 15 s, and some more …
const FIRST_SCRAPES_MAX: Duration = Duration::from_secs(60);
/// … and asks so often.
const FIRST_SCRAPES_POLL: Duration = Duration::from_secs(1);

impl Shared {
    /// Writes into the plan what its source has to say before the beginning: bounds, how often it is scraped.
    pub(super) async fn measure(&self, plan: &mut Plan, spec: &ReleaseSpec) -> Result<(), String> {
        if plan.judge.source == METRICS {
            let bounds = self.local.own_bounds_ms().await;
            plan.judge.bounds_ms =
                bounds.map_err(|why| format!("stable's own metrics can't be used: {why}"))?;
        }
        let stable = self.local.stored().stable.spec;
        let source = scraped::source(plan, &stable, spec).map_err(|why| why.to_string())?;
        let Some(source) = source else { return Ok(()) };
        let unfit = |why: Unfit| {
            let at = &plan.judge.source;
            format!("the metrics server {at} can't be judged with: {why}")
        };
        let fitness = self.fitness(&source, &plan.conditions).await.map_err(unfit)?;
        fitness.complete(&mut plan.judge);
        Ok(())
    }

    /// A server that has just begun to scrape a host which has just come up is given some time.
    async fn fitness(&self, source: &Source, conditions: &[Condition]) -> Result<Fitness, Unfit> {
        loop {
            let found = source.fitness(&self.local.arms(), conditions).await;
            let young = matches!(&found, Err(why) if why.may_come());
            if !young || self.up_since.elapsed() > FIRST_SCRAPES_MAX {
                return found;
            }
            tokio::time::sleep(FIRST_SCRAPES_POLL).await;
        }
    }
}
