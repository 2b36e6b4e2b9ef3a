//! How is the candidate doing? Counters and probes, per revision.

use std::future::Future;

use crate::analysis::Look;
use crate::rollout::World;

pub mod exposition;
pub mod presets;
pub mod probe;
pub mod prometheus;
pub mod scrape;

/// A source of evidence.
///
/// It can't fail: what could not be read stands in the look as missing, with the reason, because a
/// source that is down must never stop a rollback.
pub trait Evidence {
    /// Returns everything that is known now. `at_s`, `stage` and `share` are the engine's to fill in.
    fn look(&mut self, world: &World) -> impl Future<Output = Look> + Send;
}
