//! Whoever goes on judges as the one before would have, bit for bit.

use std::time::Duration;

use proptest::prelude::*;

use super::ground::{gone, plan, release, templates};
use crate::analysis::{Counters, Judge, Look, PerArm, ProbeCount};
use crate::cluster::ledger::*;
use crate::cluster::remembered::Remembered;
use crate::engine::{Promotion, Seams};
use crate::history::{Memory, Record, fold};
use crate::plan::Plan;
use crate::platform::simulated::{Behaviour, EPOCH, Script, Simulated};
use crate::policy::JudgeKind;
use crate::share::Share;

pub(super) fn script(plan: &Plan) -> Script {
    Script {
        stable: release("v1").hash,
        release: release("v2").hash,
        requests_per_s: 200.0,
        bounds_ms: plan.judge.bounds_ms.clone(),
        stable_does: Behaviour::GOOD,
        candidate_does: Behaviour::GOOD,
        ready_after: Some(Duration::from_secs(3)),
        adopted_after: Duration::from_secs(2),
    }
}

fn judged_by(kind: JudgeKind) -> Plan {
    let mut plan = plan();
    plan.judge.kind = kind;
    plan
}

/// Returns the records of a whole promotion.
pub(super) async fn recorded(plan: &Plan, script: Script) -> Memory {
    let world = Simulated::new(script);
    let mut promotion = Promotion::new("p1".into(), plan.clone(), EPOCH).unwrap();
    let started =
        Record::Started { id: "p1".into(), by: "ada".into(), plan: Box::new(plan.clone()) };
    let history = Memory { records: vec![(EPOCH, started)], ..Memory::default() };
    let mut seams =
        Seams { platform: world.clone(), evidence: world.clone(), clock: world.clone(), history };
    promotion.run(&mut seams, |_| {}).await;
    seams.history
}

#[tokio::test]
async fn a_record_is_the_fold_of_what_was_recorded_after_every_write() {
    for kind in [JudgeKind::Evidence, JudgeKind::Threshold] {
        let plan = judged_by(kind);
        let history = recorded(&plan, script(&plan)).await;
        let folded = |count| {
            let first = history.records.iter().take(count);
            fold(first.map(|(at, record)| (*at, record))).unwrap()
        };
        let mut ledger = Ledger {
            owner: Some(gone()),
            folded: folded(1),
            templates: templates(),
            heartbeat: EPOCH,
            events: Vec::new(),
            remembered: Remembered::default(),
            judge_lost: false,
        };
        for (count, (at, record)) in history.records.iter().enumerate().skip(1) {
            ledger.take(*at, record);
            ledger = Ledger::read(&ledger.texts(), None).unwrap();
            assert_eq!(ledger.folded, folded(count + 1), "after record {count}: {record:?}");
        }
        assert!(
            history.records.iter().any(|(_, record)| matches!(record, Record::Observed { .. }))
        );
    }
}

#[tokio::test]
async fn the_judge_of_many_pods_has_its_place_in_a_record() {
    let plan = plan();
    let mut judge = Judge::new(&plan).unwrap();
    let mut sizes = Vec::new();
    for number in 1..40 {
        judge.judge(&look(number, 200, 50, plan.judge.bounds_ms.len()));
        sizes.push(serde_json::to_string(&judge).unwrap().len());
    }
    let largest = sizes.iter().max().unwrap();
    assert!(*largest <= JUDGE_BYTES_MAX, "{largest} bytes");
}

/// A look at so many pods, each with its own counts.
fn look(number: u64, stable: usize, candidates: usize, bounds: usize) -> Look {
    let arm = |name: &str, pods: usize| {
        let pod = |pod: usize| {
            let requests = (number * 1000) as f64 + pod as f64 * 7.0;
            let slower = (0..bounds).map(|bound| (requests / (2.0 + bound as f64)).floor());
            let counters = [requests, (requests / 1000.0).floor()].into_iter().chain(slower);
            (format!("checkout-{name}-5d8f7c9b6d-{pod:05}"), Counters(counters.collect()))
        };
        (0..pods).map(pod).collect()
    };
    Look {
        at_s: number as f64 * 15.0,
        stage: 0,
        share: Share::from_percent(20.0).unwrap(),
        baseline: arm("stable", stable),
        candidate: arm("candidate", candidates),
        expected: PerArm { baseline: stable as u32, candidate: candidates as u32 },
        probes: PerArm {
            baseline: ProbeCount { failed: 0, sent: 15 },
            candidate: ProbeCount { failed: 0, sent: 15 },
        },
        candidate_healthy: true,
        queries: Default::default(),
        missing: None,
    }
}

fn any_looks() -> impl Strategy<Value = Vec<Look>> {
    let counts = proptest::collection::vec((0..5000_u32, 0..200_u32, 0..2000_u32), 2..30);
    (counts, 1..4_usize).prop_map(|(counts, pods)| {
        let mut looks = Vec::new();
        for (number, (requests, errors, slow)) in counts.into_iter().enumerate() {
            let mut look = look(number as u64 + 1, pods, 1, plan().judge.bounds_ms.len());
            for counters in look.candidate.values_mut() {
                counters.0[0] = f64::from(requests) * (number + 1) as f64 / 3.0;
                counters.0[1] += f64::from(errors);
                counters.0[2] += f64::from(slow) / 7.0;
            }
            looks.push(look);
        }
        looks
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_judge_that_was_stored_judges_on_bit_for_bit(
        looks in any_looks(),
        at in 0..30_usize,
        kind in prop_oneof![Just(JudgeKind::Evidence), Just(JudgeKind::Threshold)],
    ) {
        let mut judge = Judge::new(&judged_by(kind)).unwrap();
        let mut stored = judge.clone();
        for (number, look) in looks.iter().enumerate() {
            if number == at {
                stored = serde_json::from_str(&serde_json::to_string(&stored).unwrap()).unwrap();
            }
            prop_assert_eq!(judge.judge(look), stored.judge(look));
            prop_assert_eq!(&judge, &stored);
        }
    }
}
