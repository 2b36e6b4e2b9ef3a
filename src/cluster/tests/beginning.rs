use std::time::Duration;

use chrono::TimeDelta;
use serde_json::json;

use super::ground::{Ground, elsewhere, gone, new, now, plan};
use super::server::Server;
use crate::clock::SystemClock;
use crate::cluster::begin::{Came, New, Refused, begin, go_on};
use crate::cluster::ledger::NEEDED_BYTES_MAX;
use crate::cluster::owner::Owner;
use crate::cluster::read::{Reading, ask, list, read};
use crate::history::{AskedFor, History as _, Record, Urgency};
use crate::rollout::{State, outcome};

#[tokio::test]
async fn of_gates_that_begin_at_the_same_moment_one_wins() {
    for ground in Ground::all("race").await {
        let gates = (0..8).map(|number| {
            let (access, target) = (ground.access.clone(), ground.target.clone());
            tokio::spawn(async move {
                let (new, owner) = (new(&format!("p{number}")), Owner::this("ada", now()).unwrap());
                begin(&access, &target, &new, &owner, false).await
            })
        });
        let mut begun = Vec::new();
        for gate in gates.collect::<Vec<_>>() {
            match gate.await.unwrap() {
                Ok(held) => begun.push(held.ledger.folded.id),
                Err(Refused::Busy(running)) => assert!(!running.orphaned),
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(begun.len(), 1, "{begun:?}");
        assert_eq!(ground.read().await.folded.id, begun[0]);
        ground.delete().await;
    }
}

/// What was read when a promotion was admitted is not read again, and begins nothing once it is old.
#[tokio::test]
async fn who_begins_on_a_record_that_has_changed_since_finds_out() {
    for is_there in [false, true] {
        let server = Server::start().await;
        let ground = Ground::on(&server).await;
        let (access, target) = (&ground.access, ground.target.as_str());
        if is_there {
            let earlier = begin(access, target, &new("p0"), &gone(), false).await.unwrap();
            let mut diary = earlier.diary(SystemClock::start());
            let outcome = Box::new(outcome(&plan(), &State::new(now()), now()));
            let finished = Record::Finished { outcome };
            diary.record(now(), finished, Urgency::WayBack).await.unwrap();
            diary.close(Duration::from_secs(5)).await.unwrap();
        }
        let record = Some(Reading::now(access, target).await.unwrap());
        let [first, second] = ["p1", "p2"].map(|id| New { record: record.clone(), ..new(id) });
        let read = server.reads("get");
        let held = begin(access, target, &first, &elsewhere(now()), false).await.unwrap();
        assert_eq!((held.came, held.ledger.folded.id.as_str()), (Came::Begun, "p1"));
        assert_eq!(server.reads("get"), read);
        let me = Owner::this("me", now()).unwrap();
        let refused = begin(access, target, &second, &me, false).await.err();
        assert!(matches!(refused, Some(Refused::Busy(running)) if running.id == "p1"));
        assert_eq!(ground.read().await.folded.id, "p1");
    }
}

#[tokio::test]
async fn who_comes_second_is_told_who_runs_it_and_since_when() {
    let ground = Ground::on(&Server::start().await).await;
    let owner = elsewhere("2026-11-24T12:00:00Z".parse().unwrap());
    begin(&ground.access, &ground.target, &new("p1"), &owner, false).await.unwrap();
    let me = Owner::this("bob", owner.since + TimeDelta::seconds(42)).unwrap();
    let refused = begin(&ground.access, &ground.target, &new("p2"), &me, true).await.unwrap_err();
    let line = refused.line(&plan());
    assert_eq!(
        line.outcome.reason,
        "another promotion runs: p1 of v2, by grace on build-7, since 2026-11-24 12:00:00 UTC; last heartbeat 42 s ago"
    );
    assert_eq!(line.outcome.exit_code, 7);
    assert_eq!(line.next.as_deref(), Some("gate status deployment/checkout"));

    let later = Owner::this("bob", owner.since + TimeDelta::seconds(61)).unwrap();
    let refused = begin(&ground.access, &ground.target, &new("p2"), &later, false).await;
    let next = refused.unwrap_err().line(&plan()).next.unwrap();
    assert_eq!(next, "gate promote deployment/checkout --release v2 --take-over");
    let held = begin(&ground.access, &ground.target, &new("p2"), &later, true).await.unwrap();
    assert_eq!((held.came, held.ledger.folded.id.as_str()), (Came::TakenOver, "p1"));
}

#[tokio::test]
async fn an_owner_of_this_machine_that_is_gone_is_succeeded_at_once() {
    for ground in Ground::all("gone").await {
        let (access, target) = (&ground.access, ground.target.as_str());
        begin(access, target, &new("p1"), &gone(), false).await.unwrap();
        ask(access, target, AskedFor::Abort, "ada", None, now()).await.unwrap();
        let me = Owner::this("me", now()).unwrap();
        let held = begin(access, target, &new("p2"), &me, false).await.unwrap();
        assert_eq!((held.came, held.ledger.folded.id.as_str()), (Came::OwnerGone, "p1"));
        let mut diary = held.diary(crate::clock::SystemClock::start());
        crate::history::History::asked(&mut diary).await; // what was asked still stands
        let third = go_on(access, target, &elsewhere(now()), true).await;
        assert!(matches!(third, Err(Refused::Busy(_))), "{third:?}");
        ground.delete().await;
    }
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_known_again() {
    let server = Server::start().await;
    let ground = Ground::on(&server).await;
    let (access, target) = (&ground.access, ground.target.as_str());
    server.lose_answer();
    let held = begin(access, target, &new("p1"), &gone(), false).await.unwrap();
    assert_eq!((held.came, held.ledger.folded.id.as_str()), (Came::Begun, "p1"));
    server.lose_answer();
    let me = Owner::this("me", now()).unwrap();
    let held = begin(access, target, &new("p2"), &me, false).await.unwrap();
    assert_eq!((held.came, held.ledger.folded.id.as_str()), (Came::OwnerGone, "p1"));
}

#[tokio::test]
async fn nothing_to_go_on_with_is_said() {
    let ground = Ground::on(&Server::start().await).await;
    let me = Owner::this("me", now()).unwrap();
    let refused = go_on(&ground.access, "checkout", &me, true).await.unwrap_err();
    assert_eq!(refused.to_string(), "no promotion of checkout runs");
    assert_eq!(read(&ground.access, "checkout").await, Ok(None));
}

#[tokio::test]
async fn a_record_that_is_too_large_or_that_nobody_can_read_is_refused() {
    let server = Server::start().await;
    let ground = Ground::on(&server).await;
    let (access, target) = (&ground.access, ground.target.as_str());
    let mut large = new("p1");
    large.templates.release = json!("x".repeat(NEEDED_BYTES_MAX));
    let refused = begin(access, target, &large, &elsewhere(now()), false).await;
    assert!(matches!(refused, Err(Refused::TooLarge { .. })));
    assert_eq!(read(access, target).await, Ok(None), "nothing was written");

    begin(access, target, &new("p1"), &gone(), false).await.unwrap();
    server.edit(&ground.name(), |record| record["data"]["progress"] = json!("{}"));
    let refused = begin(access, target, &new("p2"), &elsewhere(now()), true).await.unwrap_err();
    assert!(matches!(refused, Refused::Unreadable(_)), "{refused}");
    assert_eq!(refused.line(&plan()).outcome.exit_code, 6);
    let all = list(access).await.unwrap();
    assert_eq!(all.len(), 1);
    assert!(all[0].0 == "checkout-gate" && all[0].1.is_err());
}
