use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::ground::{Ground, elsewhere, new, now};
use crate::clock::SystemClock;
use crate::cluster::asks::{self, annotation};
use crate::cluster::begin::{Refused, begin};
use crate::cluster::read::ask;
use crate::history::{AskedFor, History};
use crate::rollout::Ask;

fn made(at: DateTime<Utc>) -> Ask {
    Ask { at, by: "ada".into(), reason: Some("it is late".into()) }
}

#[track_caller]
fn check(key: &str, value: &str, expected: Option<AskedFor>) {
    let annotations = BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let heard = asks::of(&annotations, "p1", 4);
    assert_eq!(heard.first().map(|(what, _)| *what), expected, "{key}: {value}");
}

#[test]
fn only_what_is_asked_of_this_promotion_is_heard() {
    let value = asks::value("p1", &made(now()));
    check("gate.rs/abort", &value, Some(AskedFor::Abort));
    check("gate.rs/hold", &value, Some(AskedFor::Hold));
    check("gate.rs/resume", &value, Some(AskedFor::Resume));
    check("gate.rs/supersede", &value, Some(AskedFor::Supersede));
    check("gate.rs/approve-1", &value, Some(AskedFor::Approve { stage: 0 }));
    check("gate.rs/approve-4", &value, Some(AskedFor::Approve { stage: 3 }));
    check("gate.rs/approve-5", &value, None);
    check("gate.rs/approve-0", &value, None);
    check("gate.rs/approve-", &value, None);
    check("gate.rs/owner", &value, None);
    check("abort", &value, None);
    check("gate.rs/abort", &asks::value("p0", &made(now())), None);
    check("gate.rs/abort", "yes", None);
    check("gate.rs/abort", "", None);
}

#[test]
fn every_ask_has_an_annotation_that_is_read_again() {
    use AskedFor::{Abort, Approve, Hold, Resume, Supersede};
    for what in [Abort, Hold, Resume, Supersede, Approve { stage: 0 }, Approve { stage: 3 }] {
        let ask = made(now());
        let annotations = BTreeMap::from([(annotation(what), asks::value("p1", &ask))]);
        assert_eq!(asks::of(&annotations, "p1", 4), [(what, ask)]);
    }
    assert_eq!(annotation(Approve { stage: 1 }), "gate.rs/approve-2");
}

#[test]
fn an_ask_comes_after_those_before_it_and_keeps_its_length() {
    let early = DateTime::UNIX_EPOCH;
    let hold = [(AskedFor::Hold, made(early + TimeDelta::seconds(9)))];
    assert!(asks::after(&hold, early) > hold[0].1.at, "a clock that is behind");
    assert!(asks::after(&hold, now()) > hold[0].1.at);
    assert_eq!(asks::after(&[], early), early);
    let last = [(AskedFor::Hold, made(DateTime::<Utc>::MAX_UTC))];
    assert_eq!(asks::after(&last, early), early, "there is nothing after the end of time");
    let long = Ask { reason: Some("ü".repeat(5000)), ..made(early) };
    assert!(asks::value("p1", &long).len() < 2 * asks::REASON_BYTES_MAX);
}

#[tokio::test]
async fn what_people_ask_for_wakes_the_engine_and_is_heard_once() {
    for ground in Ground::all("asks").await {
        let (access, target) = (&ground.access, ground.target.as_str());
        let nothing = ask(access, target, AskedFor::Abort, "ada", None, now()).await;
        assert_eq!(nothing, Err(Refused::NothingRuns { target: target.into() }));
        let held = begin(access, target, &new("p1"), &elsewhere(now()), false).await.unwrap();
        let mut diary = held.diary(SystemClock::start());
        assert_eq!(diary.asks().await.hold, None);

        let reason = Some("lunch".to_owned());
        let id = ask(access, target, AskedFor::Hold, "ada", reason.clone(), now()).await;
        assert_eq!(id.as_deref(), Ok("p1"));
        diary.asked().await;
        let hold = diary.asks().await.hold.unwrap();
        assert_eq!((hold.by.as_str(), &hold.reason), ("ada", &reason));

        // From a machine whose clock is an hour behind.
        let behind = now() - TimeDelta::hours(1);
        ask(access, target, AskedFor::Resume, "bob", None, behind).await.unwrap();
        diary.asked().await;
        assert_eq!(diary.asks().await.held(), None, "the hold is taken back");

        let third = ask(access, target, AskedFor::Approve { stage: 4 }, "ada", None, now()).await;
        assert_eq!(third, Err(Refused::NoSuchStage { stage: 5, stages: 4 }));
        ask(access, target, AskedFor::Approve { stage: 2 }, "ada", None, now()).await.unwrap();
        diary.asked().await;
        assert!(diary.asks().await.approved.contains_key(&2));
        let again =
            tokio::time::timeout(std::time::Duration::from_millis(300), diary.asked()).await;
        assert!(again.is_err(), "what is heard wakes nobody again");
        ground.delete().await;
    }
}
