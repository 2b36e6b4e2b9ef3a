//! What may happen to a record while a gate keeps it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ground::{Ground, elsewhere, gone, new, now};
use super::server::Server;
use crate::clock::SystemClock;
use crate::cluster::begin::{begin, go_on};
use crate::cluster::diary::Diary;
use crate::cluster::owner::Owner;
use crate::cluster::read::ask;
use crate::history::{AskedFor, History, Record, Urgency};
use crate::rollout::{Ask, Because, Effect, Phase, State, Waiting, WayBack};
use crate::share::Share;

async fn kept(ground: &Ground, owner: &Owner) -> Diary {
    let held = begin(&ground.access, &ground.target, &new("p1"), owner, false).await.unwrap();
    held.diary(SystemClock::start())
}

fn decided(state: State, effects: Vec<Effect>) -> Record {
    let waiting = Waiting { for_what: "a test".into(), until: None, on_person: false };
    Record::Decided { state: Box::new(state), effects, waiting }
}

/// A decision of the way forward.
fn shift(stage: usize) -> Record {
    let mut state = State::new(now());
    state.phase = Phase::Shifting { stage };
    let share = Share::from_percent(5.0).unwrap();
    decided(state, vec![Effect::SetShare { share }])
}

/// The decision to go back.
fn back() -> Record {
    let mut state = State::new(now());
    state.phase = Phase::RollingBack;
    state.back = Some(WayBack {
        because: Because::Aborted(Ask { at: now(), by: "ada".into(), reason: None }),
        decided: now(),
        stage: Some(0),
        safe: None,
        last_assigned: None,
        drained: None,
        ineffective: false,
    });
    decided(state, vec![Effect::SetShare { share: Share::ZERO }])
}

fn is_back(ledger: &crate::cluster::ledger::Ledger) -> bool {
    ledger.folded.state.back.is_some()
}

#[tokio::test]
async fn who_was_taken_over_writes_nothing_more_and_knows_it() {
    for ground in Ground::all("taken").await {
        let mut old = kept(&ground, &gone()).await;
        old.record(now(), shift(0), Urgency::First).await.unwrap();
        let mut lost = old.lost();
        let me = Owner::this("grace", now()).unwrap();
        let held = go_on(&ground.access, &ground.target, &me, false).await.unwrap();
        assert_eq!(held.ledger.folded.state.phase, Phase::Shifting { stage: 0 });
        let error = old.record(now(), shift(1), Urgency::First).await.unwrap_err().to_string();
        assert!(error.contains("taken over by grace"), "{error}");
        let error = old.record(now(), back(), Urgency::WayBack).await.unwrap_err().to_string();
        assert!(error.contains("taken over by grace"), "{error}");
        assert!(lost.wait().await.contains("taken over by grace"));
        assert!(old.close(Duration::from_secs(1)).await.is_err());
        let ledger = ground.read().await;
        assert_eq!(ledger.owner, Some(me));
        assert_eq!(ledger.folded.state.phase, Phase::Shifting { stage: 0 });
        ground.delete().await;
    }
}

#[tokio::test]
async fn who_was_taken_over_hears_of_it_without_writing() {
    let ground = Ground::on(&Server::start().await).await;
    let mut lost = kept(&ground, &gone()).await;
    let me = Owner::this("grace", now()).unwrap();
    go_on(&ground.access, &ground.target, &me, false).await.unwrap();
    assert!(lost.lost().wait().await.contains("taken over by grace"));
    assert!(lost.record(now(), shift(0), Urgency::First).await.is_err());
}

#[tokio::test]
async fn a_record_that_is_deleted_is_written_again() {
    for ground in Ground::all("deleted").await {
        let owner = elsewhere(now());
        let mut diary = kept(&ground, &owner).await;
        diary.record(now(), shift(0), Urgency::First).await.unwrap();
        ask(&ground.access, &ground.target, AskedFor::Hold, "ada", None, now()).await.unwrap();
        diary.asked().await;
        assert!(diary.asks().await.held().is_some());
        ground.delete().await;
        let ledger = ground.until("the record", |_| true).await;
        assert_eq!(ledger.folded.state.phase, Phase::Shifting { stage: 0 });
        assert_eq!(ledger.owner, Some(owner));
        assert!(diary.asks().await.held().is_some(), "what was asked for still stands");
        diary.record(now(), shift(1), Urgency::First).await.unwrap();
        // People can ask again.
        ask(&ground.access, &ground.target, AskedFor::Abort, "ada", None, now()).await.unwrap();
        diary.asked().await;
        drop(diary);
        ground.delete().await;
    }
}

#[tokio::test]
async fn what_somebody_breaks_is_mended() {
    let breaks: [fn(&mut Value); 4] = [
        |record| record["metadata"]["annotations"] = json!(null),
        |record| record["metadata"]["annotations"]["gate.rs/owner"] = json!("me!"),
        |record| drop(record.as_object_mut().unwrap().remove("data")),
        |record| record["data"] = json!({ "progress": "?" }),
    ];
    for (number, breaking) in breaks.into_iter().enumerate() {
        let server = Server::start().await;
        let ground = Ground::on(&server).await;
        let owner = elsewhere(now());
        let mut diary = kept(&ground, &owner).await;
        server.edit(&ground.name(), breaking);
        diary.record(now(), shift(0), Urgency::First).await.unwrap();
        let ledger = ground.until("its owner", |ledger| ledger.owner.is_some()).await;
        assert_eq!(ledger.folded.state.phase, Phase::Shifting { stage: 0 }, "break {number}");
        assert_eq!(ledger.owner, Some(owner));
        ask(&ground.access, "checkout", AskedFor::Hold, "ada", None, now()).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_refused_is_not_done_and_is_written_later() {
    // What the client tries again by itself (429, 503, 504) is not seen here.
    for code in [500, 403] {
        let server = Server::start().await;
        let ground = Ground::on(&server).await;
        let mut diary = kept(&ground, &elsewhere(now())).await;
        server.refuse(&[code]);
        let error = diary.record(now(), shift(0), Urgency::First).await.unwrap_err().to_string();
        assert!(error.contains(&code.to_string()), "{error}");
        // A forward decision that comes before the next attempt is told the same, and asks nothing.
        let asked = server.patches().len();
        let again = diary.record(now(), shift(0), Urgency::First).await;
        assert!(again.is_err() || server.patches().len() > asked);
        let shifting = Phase::Shifting { stage: 0 };
        ground.until("the decision", |ledger| ledger.folded.state.phase == shifting).await;
        diary.record(now(), shift(1), Urgency::First).await.unwrap();
    }
}

#[tokio::test]
async fn a_conflict_is_looked_at_and_written_in_the_same_attempt() {
    for code in [409, 422] {
        let server = Server::start().await;
        let ground = Ground::on(&server).await;
        let mut diary = kept(&ground, &elsewhere(now())).await;
        server.refuse(&[code]);
        diary.record(now(), shift(0), Urgency::First).await.unwrap();
        assert_eq!(ground.read().await.folded.state.phase, Phase::Shifting { stage: 0 });
    }
}

#[tokio::test]
async fn a_slow_api_server_never_holds_the_way_back_up() {
    let server = Server::start().await;
    let ground = Ground::on(&server).await;
    let mut diary = kept(&ground, &elsewhere(now())).await;
    server.slow(Duration::from_secs(2));
    let began = Instant::now();
    assert!(diary.record(now(), back(), Urgency::WayBack).await.is_err());
    // Told again each turn, it costs nothing any more.
    for _ in 0..100 {
        assert!(diary.record(now(), back(), Urgency::WayBack).await.is_err());
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    ground.until("the way back", is_back).await;
    assert!(server.patches().len() <= 2, "{}", server.patches().len());
}

#[tokio::test]
async fn a_way_back_is_tried_at_once_whatever_failed_before() {
    let server = Server::start().await;
    let ground = Ground::on(&server).await;
    let mut diary = kept(&ground, &elsewhere(now())).await;
    server.refuse(&[500, 500, 500]);
    diary.record(now(), shift(0), Urgency::First).await.unwrap_err();
    let asked = server.patches().len();
    diary.record(now(), back(), Urgency::WayBack).await.unwrap_err();
    assert_eq!(server.patches().len(), asked + 1, "one attempt");
    ground.until("the way back", is_back).await;
}

#[tokio::test]
async fn who_asks_does_not_wait_behind_a_slow_api_server() {
    let server = Server::start().await;
    let ground = Ground::on(&server).await;
    let mut diary = kept(&ground, &elsewhere(now())).await;
    // An ask is a patch as well: it is made before they become slow.
    ask(&ground.access, "checkout", AskedFor::Abort, "ada", None, now()).await.unwrap();
    server.slow(Duration::from_secs(8));
    let began = Instant::now();
    assert!(diary.record(now(), shift(0), Urgency::First).await.is_err());
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(diary.asks().await.abort.is_some());
}

#[tokio::test]
async fn what_is_no_news_is_not_written_again() {
    let server = Server::start().await;
    let ground = Ground::on(&server).await;
    let mut diary = kept(&ground, &elsewhere(now())).await;
    diary.record(now(), shift(0), Urgency::First).await.unwrap();
    let written = server.patches().len();
    for _ in 0..50 {
        diary.record(now(), shift(0), Urgency::First).await.unwrap();
    }
    assert_eq!(server.patches().len(), written);
    diary.record(now(), shift(1), Urgency::First).await.unwrap();
    assert_eq!(server.patches().len(), written + 1, "another stage is news");
    diary.record(now(), back(), Urgency::WayBack).await.unwrap();
    assert_eq!(server.patches().len(), written + 2);
}

#[tokio::test]
async fn after_a_write_that_failed_the_record_is_trusted_with_nothing() {
    let server = Server::start().await;
    let ground = Ground::on(&server).await;
    let mut diary = kept(&ground, &elsewhere(now())).await;
    diary.record(now(), shift(0), Urgency::First).await.unwrap();
    server.refuse(&[500]);
    diary.record(now(), shift(1), Urgency::First).await.unwrap_err();
    // Stage 0 was written once, and may not be there any more.
    let asked = server.patches().len();
    diary.record(now(), back(), Urgency::WayBack).await.unwrap();
    let all = server.patches()[asked].to_string();
    assert!(all.contains("/data/templates") && all.contains("/data/judge"), "{all}");
}

#[tokio::test]
async fn the_end_is_written_whatever_fails_at_first() {
    let server = Server::start().await;
    let ground = Ground::on(&server).await;
    let mut diary = kept(&ground, &elsewhere(now())).await;
    server.refuse(&[500, 500]);
    let ended = crate::rollout::outcome(&super::ground::plan(), &State::new(now()), now());
    let finished = Record::Finished { outcome: Box::new(ended) };
    diary.record(now(), finished, Urgency::WayBack).await.unwrap_err();
    diary.close(Duration::from_secs(10)).await.unwrap();
    assert!(!ground.read().await.runs());
    let hold = ask(&ground.access, "checkout", AskedFor::Hold, "ada", None, now()).await;
    assert!(hold.is_err(), "nothing runs");
}
