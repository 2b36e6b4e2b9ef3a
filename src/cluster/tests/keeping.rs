//! The engine keeps a record: what is written, how often, and what is found in it.

use std::time::Duration;

use super::ground::{Ground, elsewhere, gone, new, now};
use super::judges::script;
use super::server::Server;
use crate::clock::{Clock, SystemClock};
use crate::cluster::begin::{Came, Held, begin, go_on};
use crate::cluster::diary::Diary;
use crate::cluster::owner::{HEARTBEAT, Owner};
use crate::cluster::read::list;
use crate::engine::{Promotion, Seams};
use crate::history::{History, Record, Urgency};
use crate::platform::simulated::{EPOCH, Simulated};
use crate::rollout::{Outcome, ResultWord};

/// Writes that a four-stage canary may take, beside the heartbeats.
const WRITES_MAX: usize = 15;

async fn begun(ground: &Ground, id: &str) -> Held {
    begin(&ground.access, &ground.target, &new(id), &elsewhere(now()), false).await.unwrap()
}

/// Runs a promotion to its end, or for so many turns.
async fn run(
    diary: &mut Diary,
    promotion: &mut Promotion,
    world: &Simulated,
    turns: usize,
) -> Option<Outcome> {
    let mut seams = Seams {
        platform: world.clone(),
        evidence: world.clone(),
        clock: world.clone(),
        history: diary,
    };
    for _ in 0..turns {
        promotion.turn(&mut seams, &mut |_| {}).await;
        if promotion.state.ended().is_some() {
            return Some(promotion.run(&mut seams, |_| {}).await);
        }
        seams.clock.sleep(Duration::from_secs(1)).await;
    }
    None
}

async fn finish(mut diary: Diary, outcome: Outcome) {
    let finished = Record::Finished { outcome: Box::new(outcome) };
    diary.record(now(), finished, Urgency::First).await.unwrap();
    diary.close(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn a_promotion_takes_few_writes_and_its_end_is_remembered() {
    let server = Server::start().await;
    let ground = Ground::on(&server).await;
    let held = begun(&ground, "p1").await;
    let plan = held.ledger.folded.plan.clone();
    let world = Simulated::new(script(&plan));
    let mut promotion = Promotion::new("p1".into(), plan, EPOCH).unwrap();
    let mut diary = held.diary(world.clone());
    let before = server.patches().len();
    let outcome = run(&mut diary, &mut promotion, &world, 10_000).await.unwrap();
    assert_eq!(outcome.result, ResultWord::Promoted, "{outcome:?}");
    finish(diary, outcome).await;
    let writes = server.patches().len() - before;
    assert!((5..=WRITES_MAX).contains(&writes), "{writes} writes");

    let ledger = ground.read().await;
    assert!(!ledger.runs());
    let last = ledger.last().unwrap();
    assert_eq!((last.id.as_str(), last.result), ("p1", ResultWord::Promoted));
    assert_eq!(ledger.remembered.passed[0].release.name, "v1");
    assert!(!ledger.events.is_empty());
    assert_eq!(list(&ground.access).await.unwrap().len(), 1);

    let next = begun(&ground, "p2").await;
    assert_eq!((next.came, next.ledger.folded.id.as_str()), (Came::Begun, "p2"));
    assert_eq!(next.ledger.remembered, ledger.remembered, "what is remembered stays");
    assert!(ground.read().await.events.is_empty());
}

#[tokio::test]
async fn a_gate_that_dies_is_gone_on_with_wherever_it_was() {
    for turns in [1, 2, 5, 70, 200, 260] {
        let ground = Ground::on(&Server::start().await).await;
        let held = begin(&ground.access, "checkout", &new("p1"), &gone(), false).await.unwrap();
        let plan = held.ledger.folded.plan.clone();
        let world = Simulated::new(script(&plan));
        let mut promotion = Promotion::new("p1".into(), plan, EPOCH).unwrap();
        let mut diary = held.diary(world.clone());
        run(&mut diary, &mut promotion, &world, turns).await;
        drop(diary); // as a crash does: nothing more is written

        let me = Owner::this("me", now()).unwrap();
        let held = go_on(&ground.access, "checkout", &me, false).await.unwrap();
        assert_eq!(held.came, Came::OwnerGone);
        let mut promotion = Promotion::resume(held.ledger.folded.clone());
        let mut diary = held.diary(world.clone());
        let outcome = run(&mut diary, &mut promotion, &world, 10_000).await.unwrap();
        assert_eq!(outcome.result, ResultWord::Promoted, "after {turns} turns: {outcome:?}");
        finish(diary, outcome).await;
        assert_eq!(ground.read().await.remembered.past.len(), 1);
    }
}

#[tokio::test]
async fn what_waits_goes_with_the_heartbeat() {
    let server = Server::start().await;
    let ground = Ground::on(&server).await;
    let mut diary = begun(&ground, "p1").await.diary(SystemClock::start());
    let first = ground.read().await.heartbeat;
    let event = crate::rollout::Event {
        event: crate::rollout::EventName::StageHeld,
        at: now(),
        stage: None,
        share: None,
        message: "it is held".into(),
    };
    let happened = Record::Happened { event };
    diary.record(now(), happened, Urgency::WayBack).await.unwrap();
    assert_eq!(server.patches().len(), 0, "it waits");
    tokio::time::pause();
    tokio::time::advance(HEARTBEAT).await;
    tokio::time::resume();
    let ledger = ground.until("the heartbeat", |ledger| ledger.heartbeat > first).await;
    assert_eq!(ledger.events.len(), 1);
    let written = server.patches()[0].to_string();
    assert!(written.contains("/data/events"), "{written}");
    for beats in 2..5 {
        let before = ground.read().await.heartbeat;
        tokio::time::pause();
        tokio::time::advance(HEARTBEAT).await;
        tokio::time::resume();
        ground.until("the next one", |ledger| ledger.heartbeat > before).await;
        assert_eq!(server.patches().len(), beats, "one write each");
    }
}

#[tokio::test]
async fn a_whole_promotion_is_kept_on_every_ground() {
    for ground in Ground::all("whole").await {
        let held = begun(&ground, "p1").await;
        let plan = held.ledger.folded.plan.clone();
        let world = Simulated::new(script(&plan));
        let mut promotion = Promotion::new("p1".into(), plan, EPOCH).unwrap();
        let mut diary = held.diary(world.clone());
        let outcome = run(&mut diary, &mut promotion, &world, 10_000).await.unwrap();
        finish(diary, outcome).await;
        assert!(!ground.read().await.runs());
        let again = begun(&ground, "p2").await;
        assert_eq!(again.came, Came::Begun);
        ground.delete().await;
    }
}
