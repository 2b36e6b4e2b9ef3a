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

    /// Is told what is there while nothing is judged yet, so that it can begin to read the past. It
    /// waits for nothing.
    fn read_ahead(&mut self, _world: &World) {}

    /// Returns the baseline's history, oldest first: `at_s` is negative and counts from now. Asked
    /// before the first look; it waits no longer than a look does, and may be dropped and asked again.
    fn history(&mut self, _world: &World) -> impl Future<Output = Vec<Look>> + Send {
        async { Vec::new() }
    }
}
