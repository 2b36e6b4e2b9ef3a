//! Sources that are dead, slow, or something else: each has its own words, and none is asked in vain.

use std::time::Duration;

use gate::analysis::{Look, Unknown};
use gate::evidence::Evidence;
use gate::evidence::presets::Preset;
use gate::evidence::prometheus::reader::Settings;
use gate::evidence::prometheus::{Counted, Credentials, Reader, Seen, Source};
use gate::plan::{LOCAL_DEFAULTS, Plan, Release};
use gate::rollout::World;

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

fn one_of_each() -> Says {
    vector(
        &[
            series("baseline requests", "a", "9"),
            series("baseline sampled_at", "a", "990"),
            series("candidate requests", "b", "4"),
            series("candidate sampled_at", "b", "990"),
        ]
        .join(","),
    )
}

#[tokio::test]
async fn what_was_sampled_before_the_promotion_is_no_candidates() {
    let server = Server::start(one_of_each()).await;
    let seen = async |since: Option<Duration>| {
        let since = since.and_then(|ago| tokio::time::Instant::now().checked_sub(ago));
        let settings = Settings { candidate_since: since, ..settings(Duration::ZERO, LONG) };
        look(&mut Reader::new(source(&server.url()), settings)).await
    };
    // The samples are ten seconds old.
    for (since, taken) in [(None, 1), (Some(LONG), 1), (Some(Duration::ZERO), 0)] {
        let seen = seen(since).await;
        assert_eq!(seen.missing, None, "another process's sample is no loss");
        assert_eq!((seen.baseline.len(), seen.candidate.len()), (1, taken), "{since:?}");
    }
}

#[tokio::test]
async fn a_new_candidate_is_lost_only_when_it_should_have_been_scraped() {
    let of = |arms: &[&str]| {
        let both = |arm: &&str| {
            let name = if *arm == "baseline" { "a" } else { "b" };
            let mark = |part: &str| format!("{arm} {part}");
            [series(&mark("requests"), name, "9"), series(&mark("sampled_at"), name, "1000")]
        };
        vector(&arms.iter().flat_map(both).collect::<Vec<_>>().join(","))
    };
    let server = Server::start(of(&["baseline"])).await;
    let since = Some(tokio::time::Instant::now() - SHORT);
    let settings = Settings { candidate_since: since, ..settings(Duration::ZERO, LONG) };
    let lost = "no data from the candidate: no series of http_requests_total{instance=~\"b\"}";
    let said = |seen: Seen| seen.missing.map(|why| why.to_string()).unwrap_or_default();

    let mut reader = Reader::new(source(&server.url()), settings.clone());
    assert_eq!(said(look(&mut reader).await), "", "it may not be scraped yet");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
    assert_eq!(said(look(&mut reader).await), lost);

    // Once it was there, it is missed at once.
    server.say(of(&["baseline", "candidate"]));
    let mut reader = Reader::new(source(&server.url()), settings);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(1)).await; // the sample is half a second old
    tokio::time::resume();
    assert_eq!(look(&mut reader).await.candidate.len(), 1);
    server.say(of(&["baseline"]));
    assert_eq!(said(look(&mut reader).await), lost);
}

#[tokio::test]
async fn a_stable_that_was_replaced_is_lost_only_when_it_should_have_been_scraped() {
    let sampled = |name: &str| {
        let parts = ["baseline requests", "baseline sampled_at"];
        vector(&parts.map(|part| series(part, name, "1000")).join(","))
    };
    let server = Server::start(vector("")).await;
    let mut reader = Reader::new(source(&server.url()), settings(Duration::ZERO, LONG));
    let said = async |reader: &mut Reader, stable: &str| {
        let seen = reader.look(&arms(&[(stable, stable)], &[])).await;
        seen.missing.map(|why| why.to_string()).unwrap_or_default()
    };
    let lost = |of| {
        format!("no data from the baseline: no series of http_requests_total{{instance=~\"{of}\"}}")
    };
    assert_eq!(said(&mut reader, "never").await, lost("never"), "it has been there for long");

    server.say(sampled("old"));
    let mut reader = Reader::new(source(&server.url()), settings(Duration::ZERO, LONG));
    assert_eq!(said(&mut reader, "old").await, "");
    server.say(vector(""));
    assert_eq!(said(&mut reader, "old").await, lost("old"), "nobody has taken its place");
    assert_eq!(said(&mut reader, "new").await, "", "it may not be scraped yet");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(9)).await;
    tokio::time::resume();
    assert_eq!(said(&mut reader, "new").await, "");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::resume();
    assert_eq!(said(&mut reader, "new").await, lost("new"));
}

/// The platform's own evidence, with counters that a metrics server takes the place of.
struct Own;

impl Evidence for Own {
    async fn look(&mut self, _: &World) -> Look {
        let mut look = Look::of_the_past(1.0);
        look.baseline.insert("old".into(), gate::analysis::Counters(vec![1.0, 0.0]));
        look.expected.baseline = 1;
        look
    }

    async fn history(&mut self, _: &World) -> Vec<Look> {
        vec![Look::of_the_past(-15.0)]
    }
}

#[tokio::test]
async fn who_counts_is_the_plans_choice() {
    let server = Server::start(one_of_each()).await;
    let (mut judge, world) = (plan().judge, crate::reading::world());
    let counted = |source| {
        let whose = |_: &World| arms(&[("a", "old")], &[("b", "new")]);
        Counted::new(source, &plan().judge, Own, whose)
    };
    let credentials = Credentials::default();
    let mut own = counted(Source::of_plan(&judge, None, &credentials));
    let look = own.look(&world).await;
    assert_eq!((look.baseline["old"].0[0], look.missing), (1.0, None));
    assert_eq!(own.history(&world).await.len(), 1);

    judge.source = server.url();
    let mut asked = counted(Source::of_plan(&judge, None, &credentials));
    let look = asked.look(&world).await;
    assert_eq!((look.baseline["old"].0[0], look.expected.baseline), (9.0, 1));
    assert_eq!(asked.history(&world).await, [], "its history is no answer to a range");

    judge.preset = Some("no such".into());
    let mut nobody = counted(Source::of_plan(&judge, None, &credentials));
    let look = nobody.look(&world).await;
    assert_eq!((look.baseline.len(), look.expected.baseline), (0, 1));
    let why = look.missing.unwrap().to_string();
    assert!(why.contains("evidence.preset: there is no `no such`"), "{why}");
    assert_eq!(nobody.history(&world).await, []);
}

fn plan() -> Plan {
    let release =
        |name: &str| Release { name: name.into(), hash: name.into(), irreversible: false };
    let policy = gate::policy::built_in();
    let mut plan =
        Plan::new(&policy, "", "local/shop", release("v1"), release("v2"), LOCAL_DEFAULTS);
    plan.judge.bounds_ms = Vec::new();
    plan
}
