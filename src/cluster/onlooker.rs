//! A promotion that another process runs, as the cluster shows it to whoever asks.

use std::sync::Arc;
use std::time::Duration;

use super::admission::router_again;
use super::ledger::Ledger;
use crate::clock::SystemClock;
use crate::platform::Platform as _;
use crate::platform::kubernetes::target::{Settings, watches};
use crate::platform::kubernetes::watching::Watched;
use crate::platform::kubernetes::{Access, Kubernetes};
use crate::published::asked_share;
use crate::rollout::World;

/// A status without the world is better than none for so long.
const LOOK_LIMIT: Duration = Duration::from_secs(3);

/// Watches the world of one promotion as long as it lives.
#[derive(Debug)]
pub(super) struct Onlooker {
    promotion: String,
    platform: Kubernetes,
}

impl Onlooker {
    /// Begins to watch; `None`: the target, or what the promotion does with it, can't be read.
    pub(super) async fn start(access: &Access, name: &str, ledger: &Ledger) -> Option<Self> {
        let folded = &ledger.folded;
        let (router, selector) = router_again(access, name, &folded.plan).await.ok()?;
        let settings = Settings {
            name: name.to_owned(),
            revision: folded.id.clone(),
            router,
            stable: ledger.templates.stable.clone(),
            release: ledger.templates.release.clone(),
            asked: asked_share(&folded.plan, &folded.state),
        };
        let watched = Watched::start(access, watches(&settings, &selector));
        watched.settled(LOOK_LIMIT).await.ok()?;
        let (plan, clock) = (Arc::new(folded.plan.clone()), SystemClock::start());
        let platform = Kubernetes::new(access.clone(), watched, plan, settings, clock);
        Some(Self { promotion: folded.id.clone(), platform })
    }

    /// Returns the world, if it is this promotion's.
    pub(super) async fn world(&mut self, ledger: &Ledger) -> Option<World> {
        let folded = &ledger.folded;
        if folded.id != self.promotion || !ledger.runs() {
            return None;
        }
        self.platform.expect_share(asked_share(&folded.plan, &folded.state));
        self.platform.observe().await.ok()
    }
}
