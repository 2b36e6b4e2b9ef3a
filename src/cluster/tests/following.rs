//! What a watch asks of an API server, and how it begins where the server can't bring what is there.

use std::time::{Duration, Instant};

use super::ground::{Ground, elsewhere, new, now};
use super::server::{Server, Streams};
use crate::clock::SystemClock;
use crate::cluster::begin::begin;
use crate::cluster::diary::Diary;
use crate::cluster::read::ask;
use crate::history::{AskedFor, History};

async fn kept(ground: &Ground) -> Diary {
    let owner = elsewhere(now());
    let held = begin(&ground.access, &ground.target, &new("p1"), &owner, false).await.unwrap();
    held.diary(SystemClock::start())
}

async fn heard(ground: &Ground, diary: &mut Diary, what: AskedFor) {
    ask(&ground.access, &ground.target, what, "ada", None, now()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), diary.asked()).await.unwrap();
    diary.asks().await;
}

#[tokio::test]
async fn a_watch_brings_what_is_there_without_a_list() {
    let server = Server::start().await;
    let ground = Ground::to(&server);
    let mut diary = kept(&ground).await;
    heard(&ground, &mut diary, AskedFor::Hold).await;
    heard(&ground, &mut diary, AskedFor::Resume).await;
    let asked = ["stream", "list", "watch"].map(|what| server.reads(what));
    assert_eq!(asked, [1, 0, 0]);
}

#[tokio::test]
async fn an_api_server_that_cannot_bring_what_is_there_is_asked_once() {
    for code in [400, 403, 422, 504] {
        let server = Server::start().await;
        server.streams(Streams::Refused(code));
        let mut ground = Ground::to(&server);
        let began = Instant::now();
        let mut diary = kept(&ground).await;
        heard(&ground, &mut diary, AskedFor::Hold).await;
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        let asked = ["stream", "list", "watch"].map(|what| server.reads(what));
        assert_eq!(asked, [1, 1, 1], "after {code}");
        // Whoever watches next with the same access knows it.
        drop(diary);
        ground.target = "other".into();
        let mut diary = kept(&ground).await;
        heard(&ground, &mut diary, AskedFor::Hold).await;
        let asked = ["stream", "list", "watch"].map(|what| server.reads(what));
        assert_eq!(asked, [1, 2, 2], "after {code}");
    }
}

#[tokio::test]
async fn a_watch_whose_version_was_forgotten_begins_anew() {
    for streams in [Streams::Told, Streams::Refused(422)] {
        let server = Server::start().await;
        server.streams(streams);
        let ground = Ground::to(&server);
        let mut diary = kept(&ground).await;
        heard(&ground, &mut diary, AskedFor::Hold).await;
        let before = ["stream", "list"].map(|what| server.reads(what));
        server.forget();
        heard(&ground, &mut diary, AskedFor::Resume).await;
        let after = ["stream", "list"].map(|what| server.reads(what));
        let [streamed, listed] = [after[0] - before[0], after[1] - before[1]];
        let expected = if streams == Streams::Told { (1, 0) } else { (0, 1) };
        assert_eq!((streamed, listed), expected, "{streams:?}");
    }
}

#[tokio::test]
async fn an_api_server_that_was_busy_for_long_is_heard_within_seconds() {
    let server = Server::start().await;
    server.streams(Streams::Refused(503));
    let ground = Ground::to(&server);
    let mut diary = kept(&ground).await;
    // As many as wait for longer and longer in between.
    while server.reads("stream") < 7 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.streams(Streams::Told);
    let back = Instant::now();
    heard(&ground, &mut diary, AskedFor::Hold).await;
    assert!(back.elapsed() < Duration::from_secs(3), "{:?}", back.elapsed());
    assert_eq!(server.reads("list"), 0);
}

#[tokio::test]
async fn an_api_server_that_never_ends_what_is_there_is_asked_by_a_list() {
    let server = Server::start().await;
    server.streams(Streams::Endless);
    let ground = Ground::to(&server);
    let mut diary = kept(&ground).await;
    // It has told the record by then: people need not wait for the end of it.
    heard(&ground, &mut diary, AskedFor::Hold).await;
    assert_eq!(server.reads("list"), 0);
    while server.reads("watch") == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    heard(&ground, &mut diary, AskedFor::Resume).await;
    let asked = ["stream", "list", "watch"].map(|what| server.reads(what));
    assert_eq!(asked, [1, 1, 1]);
}
