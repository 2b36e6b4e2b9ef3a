//! How many whole promotions does the engine drive in virtual time? The limit: 1,000 a second on one core.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark prints, and may fail")]

use std::time::{Duration, Instant};

use gate::engine::{Promotion, Seams};
use gate::history::Memory;
use gate::plan::{LOCAL_DEFAULTS, Plan, Release};
use gate::platform::simulated::{Behaviour, EPOCH, Script, Simulated};
use gate::rollout::ResultWord;

const LIMIT_PER_S: f64 = 1000.0;
const RUNS: u32 = 3000;

fn main() {
    let text = include_bytes!("../policies/canary.yaml");
    let mut policy = gate::policy::read("policies/canary.yaml".as_ref(), text).unwrap().value;
    policy.evidence.judge = gate::policy::JudgeKind::Threshold;
    let release =
        |name: &str| Release { name: name.into(), hash: name.into(), irreversible: false };
    let plan =
        Plan::new(&policy, "bench", "local/shop", release("v1"), release("v2"), LOCAL_DEFAULTS);
    assert_eq!(plan.stages.len(), 4);
    let script = Script {
        stable: "v1".into(),
        release: "v2".into(),
        requests_per_s: 200.0,
        bounds_ms: gate::plan::bounds_ms(&plan.conditions),
        stable_does: Behaviour::GOOD,
        candidate_does: Behaviour::GOOD,
        ready_after: Some(Duration::from_secs(3)),
        adopted_after: Duration::from_secs(2),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let started = Instant::now();
    let mut records = 0;
    for _ in 0..RUNS {
        let world = Simulated::new(script.clone());
        let mut promotion = Promotion::new("p".into(), plan.clone(), EPOCH).unwrap();
        let mut seams = Seams {
            platform: world.clone(),
            evidence: world.clone(),
            clock: world,
            history: Memory::default(),
        };
        let outcome = runtime.block_on(promotion.run(&mut seams, |_| {}));
        assert_eq!(outcome.result, ResultWord::Promoted, "{outcome:?}");
        records += seams.history.records.len();
    }
    let per_s = f64::from(RUNS) / started.elapsed().as_secs_f64();
    println!(
        "engine: {per_s:.0} four-stage promotions/s on one core ({} records each); {:.1} x the limit of {LIMIT_PER_S:.0}/s",
        records / RUNS as usize,
        per_s / LIMIT_PER_S
    );
}
