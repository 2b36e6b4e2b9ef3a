use std::time::Duration;

use super::*;
use crate::analysis::Verdict;
use crate::history::{Memory, fold};
use crate::plan::{LOCAL_DEFAULTS, Release};
use crate::platform::simulated::{Behaviour, EPOCH, Script, Simulated};
use crate::policy::{
    Condition, EvidencePolicy, InsufficientTraffic, JudgeKind, Policy, Quantile, StagePolicy,
    Strategy, Traffic,
};
use crate::rollout::ResultWord;
use crate::share::Share;

pub(super) fn policy() -> Policy {
    let stage = |percent| StagePolicy {
        share: Share::from_percent(percent).unwrap(),
        hold: None,
        deadline: None,
        approval: false,
    };
    Policy {
        strategy: Strategy::Canary,
        stages: [5.0, 25.0, 50.0, 100.0].map(stage).to_vec(),
        health_check: None,
        auto_rollback: true,
        conditions: vec![
            Condition::ErrorRate { limit: 0.05 },
            Condition::ResponseTime {
                quantile: Quantile::parse("95").unwrap(),
                limit: Duration::from_millis(1000),
            },
        ],
        evidence: EvidencePolicy {
            judge: JudgeKind::Threshold,
            source: None,
            preset: None,
            queries: Default::default(),
            interval: None,
            window: None,
            looks: 3,
            min_requests: 50,
        },
        insufficient_traffic: InsufficientTraffic::Rollback,
        traffic: Traffic::default(),
        drain: Duration::from_secs(30),
        rollback_drain: Duration::from_secs(5),
        prepare_deadline: Duration::from_secs(600),
        adopt_deadline: Duration::from_secs(600),
        side_by_side: false,
        freeze: Vec::new(),
        hold_max: Duration::from_secs(86_400),
        approval_timeout: Duration::from_secs(21_600),
    }
}

pub(super) fn script() -> Script {
    Script {
        stable: "v1".into(),
        release: "v2".into(),
        requests_per_s: 200.0,
        bounds_ms: crate::plan::bounds_ms(&policy().conditions),
        stable_does: Behaviour::GOOD,
        candidate_does: Behaviour::GOOD,
        ready_after: Some(Duration::from_secs(3)),
        adopted_after: Duration::from_secs(2),
    }
}

struct Ran {
    outcome: Outcome,
    history: Memory,
    promotion: Promotion,
    world: Simulated,
}

impl Ran {
    fn events(&self) -> Vec<EventName> {
        let event = |record: &Record| match record {
            Record::Happened { event } => Some(event.event),
            _ => None,
        };
        self.history.records.iter().filter_map(|(_, record)| event(record)).collect()
    }
}

pub(super) fn plan(policy: &Policy) -> Plan {
    let release =
        |name: &str| Release { name: name.into(), hash: name.into(), irreversible: false };
    Plan::new(policy, "test", "local/shop", release("v1"), release("v2"), LOCAL_DEFAULTS)
}

async fn run(policy: &Policy, script: Script) -> Ran {
    let world = Simulated::new(script);
    let mut promotion = Promotion::new("p1".into(), plan(policy), EPOCH).unwrap();
    let mut history = Memory::default();
    let started = Record::Started {
        id: "p1".into(),
        by: "test".into(),
        plan: Box::new(promotion.plan.clone()),
    };
    history.record(EPOCH, started, Urgency::First).await.unwrap();
    let mut seams =
        Seams { platform: world.clone(), evidence: world.clone(), clock: world.clone(), history };
    let outcome = promotion.run(&mut seams, |_| {}).await;
    Ran { outcome, history: seams.history, promotion, world }
}

#[tokio::test]
async fn a_good_release_goes_through_every_stage() {
    let ran = run(&policy(), script()).await;
    assert_eq!(ran.outcome.result, ResultWord::Promoted, "{:?}", ran.outcome);
    assert_eq!(ran.outcome.stages_passed, 4);
    assert_eq!(ran.world.share(), Share::ZERO, "traffic is back at stable, which runs the release");
    let holds = 4.0 * 60.0;
    let slack = 3.0 + 2.0 + 4.0; // to be ready, to be adopted, to see four shares
    assert!((holds..holds + slack).contains(&ran.outcome.duration_s), "{}", ran.outcome.duration_s);
}

#[tokio::test]
async fn events_tell_the_whole_story_in_order() {
    use EventName::*;
    let mut policy = policy();
    policy.stages.truncate(1);
    let good = run(&policy, script()).await;
    assert_eq!(
        good.events(),
        [
            PromotionStarted,
            StageEntered,
            ShareAsked,
            ShareSeen,
            VerdictChanged,
            StagePassed,
            AdoptionStarted,
            AdoptionFinished,
            CleanupFinished,
            PromotionFinished,
        ]
    );
    let bad = Behaviour { error_rate: 0.3, ..Behaviour::GOOD };
    let bad = run(&policy, Script { candidate_does: bad, ..script() }).await;
    assert_eq!(
        bad.events(),
        [
            PromotionStarted,
            StageEntered,
            ShareAsked,
            ShareSeen,
            VerdictChanged,
            RollbackStarted,
            RollbackVerified,
            CleanupFinished,
            PromotionFinished,
        ]
    );
}

#[tokio::test]
async fn a_failing_release_is_taken_back_with_its_numbers() {
    let bad = Behaviour { error_rate: 0.3, ..Behaviour::GOOD };
    let ran = run(&policy(), Script { candidate_does: bad, ..script() }).await;
    assert_eq!((ran.outcome.result, ran.outcome.exit_code), (ResultWord::RolledBack, 3));
    assert_eq!(ran.world.share(), Share::ZERO);
    let cause = &ran.outcome.causes[0];
    assert_eq!(cause.condition, "error_rate > 5%");
    assert!((cause.seen.unwrap() - 0.3).abs() < 1e-9);
    assert_eq!(cause.limit, Some(0.05));
    // 10 requests a second: 50 are there at the first look, and three looks agree at 15 s.
    assert_eq!(ran.outcome.detected_after_s, Some(15.0));
}

#[tokio::test]
async fn a_slow_release_is_taken_back() {
    let slow = Behaviour { latency_ms: 1300.0, ..Behaviour::GOOD };
    let ran = run(&policy(), Script { candidate_does: slow, ..script() }).await;
    assert_eq!(ran.outcome.result, ResultWord::RolledBack);
    assert_eq!(ran.outcome.causes[0].condition, "response_time_p95 > 1000ms");
}

#[tokio::test]
async fn an_incident_of_both_is_nobodys_fault_and_ends_without_proof() {
    let bad = Behaviour { error_rate: 0.3, ..Behaviour::GOOD };
    let script = Script { candidate_does: bad, stable_does: bad, ..script() };
    let ran = run(&policy(), script).await;
    assert_eq!((ran.outcome.result, ran.outcome.exit_code), (ResultWord::Inconclusive, 5));
    assert!(ran.outcome.reason.contains("shared incident"), "{}", ran.outcome.reason);
}

#[tokio::test]
async fn without_traffic_nothing_is_proven() {
    let quiet = Script { requests_per_s: 0.0, ..script() };
    let ran = run(&policy(), quiet.clone()).await;
    assert_eq!((ran.outcome.result, ran.outcome.exit_code), (ResultWord::Inconclusive, 5));

    let mut on_health = policy();
    on_health.insufficient_traffic = InsufficientTraffic::HealthOnly;
    let ran = run(&on_health, quiet).await;
    assert_eq!(ran.outcome.result, ResultWord::Promoted);
    assert_eq!(ran.promotion.state.passed_on_health, [0, 1, 2, 3]);
}

#[tokio::test]
async fn a_candidate_that_never_becomes_ready_ends_at_the_deadline() {
    let ran = run(&policy(), Script { ready_after: None, ..script() }).await;
    assert_eq!((ran.outcome.result, ran.outcome.exit_code), (ResultWord::RolledBack, 3));
    assert!((600.0..601.0).contains(&ran.outcome.duration_s));
}

#[tokio::test]
async fn observing_only_promotes_and_says_what_it_would_have_done() {
    let bad = Behaviour { error_rate: 0.3, ..Behaviour::GOOD };
    let mut policy = policy();
    policy.auto_rollback = false;
    let ran = run(&policy, Script { candidate_does: bad, ..script() }).await;
    assert_eq!(ran.outcome.result, ResultWord::Promoted);
    assert!(ran.outcome.observe_only);
    let would = ran.outcome.would_have.unwrap();
    assert_eq!((would.result, would.stage), (ResultWord::RolledBack, 1));
}

#[tokio::test]
async fn the_records_give_everything_back_at_every_point() {
    let bad = Behaviour { error_rate: 0.3, ..Behaviour::GOOD };
    let ran = run(&policy(), Script { candidate_does: bad, ..script() }).await;
    let records = &ran.history.records;
    let json = serde_json::to_string(records).unwrap();
    let read: Vec<(DateTime<Utc>, Record)> = serde_json::from_str(&json).unwrap();
    assert_eq!(&read, records, "a record changes when it is written and read");
    let folded = fold(read.iter().map(|(at, record)| (*at, record))).unwrap();
    assert_eq!(folded.plan, ran.promotion.plan);
    assert_eq!(folded.state, ran.promotion.state);
    assert_eq!(folded.judge, ran.promotion.judge);
    for cut in 1..records.len() {
        let folded = fold(records[..cut].iter().map(|(at, record)| (*at, record))).unwrap();
        let looks = records[..cut].iter().filter(|(_, r)| matches!(r, Record::Observed { .. }));
        assert_eq!(folded.newest.is_some(), looks.count() > 0);
    }
}

#[tokio::test]
async fn every_look_is_recorded_also_those_that_pass() {
    let ran = run(&policy(), script()).await;
    let looks = ran.history.records.iter().filter_map(|(_, record)| match record {
        Record::Observed { judgement, .. } => Some(judgement),
        _ => None,
    });
    let (mut count, mut passes) = (0, 0);
    for judgement in looks {
        count += 1;
        passes += usize::from(judgement.verdict == Verdict::Pass);
        assert_eq!(judgement.readings.len(), 2);
    }
    assert!(count >= 48 && passes >= 30, "{count} looks, {passes} passes");
}

/// A history whose disk is full.
struct Full(Memory);

impl History for Full {
    async fn record(
        &mut self,
        _: DateTime<Utc>,
        _: Record,
        _: Urgency,
    ) -> Result<(), HistoryError> {
        Err(HistoryError { what: "no space left on device".into() })
    }

    async fn asks(&mut self) -> crate::rollout::Asks {
        self.0.asks().await
    }

    async fn asked(&mut self) {
        self.0.asked().await;
    }
}

#[tokio::test]
async fn a_full_disk_stops_the_way_forward_and_never_the_way_back() {
    let world = Simulated::new(script());
    let mut promotion = Promotion::new("p1".into(), plan(&policy()), EPOCH).unwrap();
    let mut seams = Seams {
        platform: world.clone(),
        evidence: world.clone(),
        clock: world.clone(),
        history: Memory::default(),
    };
    while world.share().is_zero() {
        let waiting = promotion.turn(&mut seams, &mut |_: &Turn<'_>| {}).await;
        let length = promotion.pause(&waiting, world.now());
        world.sleep(length).await;
    }
    let Seams { platform, evidence, clock, history } = seams;
    let mut seams = Seams { platform, evidence, clock, history: Full(history) };
    let mut refusals = 0;
    let mut watch = |turn: &Turn<'_>| {
        refusals += turn.events.iter().filter(|e| e.event == EventName::EffectFailed).count();
    };
    for _ in 0..20 {
        promotion.turn(&mut seams, &mut watch).await;
        world.sleep(Duration::from_secs(5)).await;
    }
    assert_eq!(world.share(), Share::from_percent(5.0).unwrap(), "it went on without a record");
    world.candidate_does(Behaviour { error_rate: 0.5, ..Behaviour::GOOD });
    for _ in 0..10 {
        promotion.turn(&mut seams, &mut watch).await;
        world.sleep(Duration::from_secs(5)).await;
    }
    assert_eq!(world.share(), Share::ZERO, "the way back waits for the disk");
    assert!(refusals > 0, "nobody was told that the disk is full");
}
