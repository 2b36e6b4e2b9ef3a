//! A promotion in a simulated world, for tests of its history and of its engines.

use std::path::Path;
use std::time::Duration;

use crate::plan::{LOCAL_DEFAULTS, Plan, Release};
use crate::platform::simulated::{Behaviour, Script, Simulated};
use crate::policy;

const POLICY: &str = "
deployment:
  strategy: canary
  stages: [{ share: 5%, hold: 60s }, { share: 100%, hold: 60s }]
  evidence: { judge: threshold, interval: 5s, min_requests: 10 }
  auto_rollback: { conditions: [error_rate > 5%] }
";

pub(in crate::host) fn plan() -> Plan {
    let policy = policy::read(Path::new("policy.yaml"), POLICY.as_bytes()).unwrap().value;
    let release =
        |name: &str| Release { name: name.into(), hash: name.into(), irreversible: false };
    Plan::new(&policy, "test", "local/shop", release("v1"), release("v2"), LOCAL_DEFAULTS)
}

pub(in crate::host) fn world(candidate_does: Behaviour) -> Simulated {
    Simulated::new(Script {
        stable: "v1".into(),
        release: "v2".into(),
        requests_per_s: 200.0,
        bounds_ms: plan().judge.bounds_ms,
        stable_does: Behaviour::GOOD,
        candidate_does,
        ready_after: Some(Duration::from_secs(3)),
        adopted_after: Duration::from_secs(2),
    })
}
