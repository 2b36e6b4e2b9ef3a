//! What the suites of others try, tried here: docs/peers-scenarios.md has the whole list.

use crate::load::{Connections, Seen, tally};
use crate::trial::Running;

mod asked;

mod changes;

mod shapes;

/// Stages that leave time for what happens meanwhile.
const PATIENT: &str = "
  strategy: canary
  stages:
    - { share: 33%, hold: 12s, deadline: 120s }
    - { share: 100%, hold: 5s, deadline: 120s }
  evidence: { judge: threshold, interval: 2s, window: 6s, looks: 2, min_requests: 20 }
  prepare: { deadline: 60s }
  rollback_drain: 2s
  auto_rollback: { conditions: [error_rate > 5%] }
";

/// Stages as short as they can be.
const QUICK: &str = "
  strategy: canary
  stages: [{ share: 33%, hold: 4s, deadline: 90s }, { share: 100%, hold: 4s, deadline: 90s }]
  evidence: { judge: threshold, interval: 2s, window: 6s, looks: 2, min_requests: 20 }
  prepare: { deadline: 60s }
  rollback_drain: 2s
  auto_rollback: { conditions: [error_rate > 5%] }
";

fn first_share(running: &mut Running) {
    running.until("the first share", |line| line["event"] == "share.seen");
}

/// Which releases answered, of those that were asked for last.
fn lately(seen: &[Seen]) -> Vec<String> {
    tally(&seen[seen.len().saturating_sub(50)..]).into_keys().collect()
}

const FRESH: Connections = Connections::Fresh;
