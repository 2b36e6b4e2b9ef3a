//! Sources that are dead, slow, or something else: each has its own words, and none is asked in vain.

use std::time::Duration;

use gate::analysis::Unknown;
use gate::evidence::presets::Preset;
use gate::evidence::prometheus::reader::Settings;
use gate::evidence::prometheus::{Credentials, Reader, Seen, Source};

use crate::reading::arms;
use crate::server::{Says, Server};

const SHORT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(30);

fn source(url: &str) -> Source {
    Source::new(url, Preset::DEFAULT, &Credentials::default()).unwrap()
}

fn settings(interval: Duration, patience: Duration) -> Settings {
    Settings { patience, ..Settings::new(Vec::new(), interval, interval) }
}

async fn look(reader: &mut Reader) -> Seen {
    reader.look(&arms(&[("a", "old")], &[("b", "new")])).await
}

fn vector(series: &str) -> Says {
    Says::json(format!(
        r#"{{"status":"success","data":{{"resultType":"vector","result":[{series}]}}}}"#
    ))
}

fn series(mark: &str, instance: &str, value: &str) -> String {
    format!(
        r#"{{"metric":{{"gate":"{mark}","instance":"{instance}"}},"value":[1000.5,"{value}"]}}"#
    )
}

fn html(status: u16) -> Says {
    Says::Text { status, kind: "text/html", body: "<!doctype html><title>Sign in</title>".into() }
}

fn plain(status: u16, body: &str) -> Says {
    Says::Text { status, kind: "text/plain", body: body.into() }
}

#[tokio::test]
async fn every_fault_has_its_words() {
    let check = async |says: Says, expected: &str| {
        let server = Server::start(says).await;
        let mut asked = source(&server.url());
        // Only where nothing comes; elsewhere a busy machine may take its time.
        asked.timeout = if expected.ends_with("within 100ms") { SHORT } else { LONG };
        let mut reader = Reader::new(asked, settings(Duration::ZERO, LONG));
        let Seen { baseline, candidate, missing, .. } = look(&mut reader).await;
        assert!(baseline.is_empty() && candidate.is_empty());
        assert_eq!(missing.unwrap().to_string(), expected);
    };
    let page = |status| {
        format!(
            "the source can't be read: an HTML page in place of an answer (status {status}): is a login page or another server at this address?"
        )
    };
    check(html(200), &page(200)).await;
    check(html(502), &page(502)).await;
    check(plain(500, "oops"), "the source can't be read: status 500").await;
    check(plain(302, ""), "the source can't be read: status 302").await;
    check(
        plain(401, "no"),
        "the source can't be read: it does not let gate in (status 401): check the credentials",
    )
    .await;
    check(
        html(403),
        "the source can't be read: it does not let gate in (status 403): check the credentials",
    )
    .await;
    check(Says::Nothing(LONG), "the source can't be read: no answer within 100ms").await;
    check(Says::Late(LONG, String::new()), "the source can't be read: no answer within 100ms")
        .await;
    check(Says::Nothing(Duration::ZERO), "the source can't be read: the answer broke off: connection closed before message completed").await;
    check(
        Says::Half,
        "the source can't be read: the answer broke off: end of file before message length reached",
    )
    .await;
    check(plain(200, "up 1"), "the source can't be read: it is no answer of a Prometheus: expected value at line 1 column 1: up 1").await;
    check(Says::json("{}"), "the source can't be read: it is no answer of a Prometheus: missing field `status` at line 1 column 2: {}").await;
    check(
        Says::Text {
            status: 503,
            kind: "application/json",
            body: r#"{"status":"error","errorType":"timeout","error":"query timed out"}"#.into(),
        },
        "the source can't be read: it refuses the query: timeout: query timed out",
    )
    .await;
    check(
        vector(""),
        "no data from the candidate: no series of http_requests_total{instance=~\"b\"}",
    )
    .await;
    check(
        vector(
            &[series("baseline requests", "a", "1"), series("baseline requests", "a", "2")]
                .join(","),
        ),
        "http_requests_total of old gave 2 series where one is needed",
    )
    .await;
    check(
        vector(&series("baseline requests", "c", "1")),
        "the source can't be read: it has an instance that was not asked for: c",
    )
    .await;
    check(
        vector(&series("other", "a", "1")),
        "the source can't be read: it has series that were not asked for",
    )
    .await;
    check(
        vector(&series("baseline requests", "a", "many")),
        "the source can't be read: a value is no number",
    )
    .await;
    check(
        vector(r#"{"metric":{"gate":"baseline requests"},"value":[1,"1"]}"#),
        "the source can't be read: http_requests_total has no label instance that tells instances apart",
    )
    .await;
    check(
        vector(r#"{"metric":{"__name__":"latency"},"histogram":[1,{"count":"1","sum":"2"}]}"#),
        "the source can't be read: latency is a native histogram where a number is needed",
    )
    .await;
    let many: Vec<String> =
        (0..2001).map(|n| series("baseline requests", &format!("a{n}"), "1")).collect();
    check(
        vector(&many.join(",")),
        "the source can't be read: 2001 series in one answer, over 2000: the selector takes in too much, or a label holds raw paths or user ids",
    )
    .await;
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let server = Server::start(Says::Endless).await;
    let error = source(&server.url()).ask("up").await.unwrap_err();
    assert_eq!(error.to_string(), "the answer is longer than 8388608 bytes");
}

#[tokio::test]
async fn a_refused_connection_says_so() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut reader = Reader::new(source(&url), settings(Duration::ZERO, LONG));
    let why = look(&mut reader).await.missing.unwrap().to_string();
    assert_eq!(why, "the source can't be read: no connection: Connection refused (os error 111)");
}

#[tokio::test]
async fn a_dead_source_is_asked_once_per_interval() {
    let server = Server::start(plain(500, "")).await;
    let mut asked = source(&server.url());
    asked.queries.extend([("depth".to_owned(), "max(depth)".to_owned())]);
    let mut reader = Reader::new(asked.clone(), settings(Duration::from_secs(3600), LONG));
    for _ in 0..20 {
        let seen = look(&mut reader).await;
        assert_eq!(seen.missing, Some(Unknown::SourceDown { what: "status 500".into() }));
        assert_eq!(seen.queries.len(), 1);
    }
    assert_eq!(server.asked().len(), 1, "neither later looks nor the named query asked again");
    let mut reader = Reader::new(asked, settings(Duration::ZERO, LONG));
    look(&mut reader).await;
    server.say(vector(&series("baseline requests", "a", "1")));
    look(&mut reader).await;
    assert_eq!(server.asked().len(), 4, "a source that is back is asked everything");
}

#[tokio::test]
async fn a_slow_source_holds_nothing_up_and_its_answer_is_not_lost() {
    let answer = [
        series("baseline requests", "a", "9"),
        series("baseline sampled_at", "a", "1000"),
        series("candidate requests", "b", "4"),
        series("candidate sampled_at", "b", "999"),
    ];
    let Says::Text { body, .. } = vector(&answer.join(",")) else { unreachable!() };
    let server = Server::start(Says::Late(Duration::from_millis(300), body)).await;
    let mut reader =
        Reader::new(source(&server.url()), settings(Duration::ZERO, Duration::from_millis(20)));
    let first = look(&mut reader).await;
    assert_eq!(
        first.missing.unwrap().to_string(),
        "the source can't be read: no answer yet after 20ms"
    );
    let mut looks = 1;
    let seen = loop {
        let seen = look(&mut reader).await;
        looks += 1;
        if seen.missing.is_none() {
            break seen;
        }
        assert!(looks < 3000, "the answer never came");
    };
    assert_eq!(seen.baseline["old"].0, [9.0, 0.0]);
    assert_eq!(seen.candidate["new"].0, [4.0, 0.0]);
    assert_eq!(server.asked().len(), 1, "one question at a time");
}
