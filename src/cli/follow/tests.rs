//! Against a host that says what the test wants, over a real socket.

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::cli::Format;
use crate::published::{EventLine, PromotionStatus, STATUS_SCHEMA, StageStatus};
use crate::rollout::{Event, EventName, ResultWord, TrafficIs, Waiting};
use crate::share::Share;

/// A host of one conversation, and of the asks that come beside it.
struct FakeHost {
    folder: TempDir,
    listener: UnixListener,
}

impl FakeHost {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        Self { folder, listener }
    }

    fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("socket")
    }

    /// Returns the next request, and where to answer it.
    async fn asked(&self) -> (Value, UnixStream) {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut line = String::new();
        BufReader::new(&mut stream).read_line(&mut line).await.unwrap();
        (serde_json::from_str(&line).unwrap(), stream)
    }
}

async fn say(stream: &mut UnixStream, answer: &Answer) {
    let mut line = serde_json::to_vec(answer).unwrap();
    line.push(b'\n');
    stream.write_all(&line).await.unwrap();
}

fn result(word: ResultWord, exit_code: u8, reason: &str) -> Answer {
    let mut line =
        ResultLine::not_started("local/checkout", word, exit_code, "v1", "v2", reason.into(), None);
    line.id = Some("p1".into());
    Answer::Result { line: Box::new(line) }
}

fn status(phase: &str) -> Answer {
    let half = Share::from_percent(50.0).unwrap();
    let stage = StageStatus { share: half, hold_s: 30.0, deadline_s: 600.0, approval: false };
    let promotion = PromotionStatus {
        id: "p1".into(),
        release: "v2".into(),
        started: SystemClock::start().now(),
        by: "ada".into(),
        policy_source: "a test".into(),
        phase: phase.into(),
        stage: Some(1),
        stages: vec![stage],
        stages_passed: 0,
        asked: half,
        seen: Some(half),
        held_s: None,
        waiting: Waiting {
            for_what: "a person: the deadline passed without proof".into(),
            until: None,
            on_person: phase == "parked",
        },
        verdict: crate::analysis::VerdictWord::Unknown,
        unknown: Vec::new(),
        readings: Vec::new(),
        confidence: None,
        candidate_ready: [1, 1],
        trouble: None,
        sample: None,
    };
    Answer::Status {
        line: Box::new(StatusLine {
            schema: STATUS_SCHEMA.into(),
            at: SystemClock::start().now(),
            target: "local/checkout".into(),
            stable_revision: "v1".into(),
            stable_ready: [1, 1],
            promotion: Some(promotion),
            last: None,
        }),
    }
}

fn event() -> Answer {
    let event = Event {
        event: EventName::PromotionStarted,
        at: SystemClock::start().now(),
        stage: None,
        share: None,
        message: "v2 goes through 50 %".into(),
    };
    Answer::Event { line: EventLine::new("p1", "local/checkout", &event) }
}

fn printer() -> Printer {
    let global = crate::cli::Global {
        output: Format::Human,
        color: crate::cli::global::Colour::Never,
        quiet: true,
        verbose: false,
        timeout: None,
        place: crate::cli::place::Place { namespace: None, context: None, kubeconfig: None },
    };
    Printer::new(&global)
}

/// Follows a host that does what `host` does.
async fn following(
    change: impl FnOnce(&mut Following<'_>),
    host: impl AsyncFnOnce(&FakeHost, UnixStream),
) -> Result<Ended, Error> {
    let (fake, printer) = (FakeHost::new(), printer());
    let mut how = Following {
        printer: &printer,
        peer: Peer::Host { socket: fake.socket(), app: "checkout".into() },
        on_cancel: OnCancel::Abort,
        on_unknown: OnUnknown::Hold,
        deadline: None,
        embedded: false,
    };
    change(&mut how);
    let mut signals = Signals::listen().unwrap();
    let client = follow(how, &Request::Follow, &mut signals);
    let served = async {
        let (request, stream) = fake.asked().await;
        assert_eq!(request, json!({"ask": "follow"}));
        host(&fake, stream).await;
    };
    tokio::join!(client, served).0
}

#[track_caller]
fn result_of(ended: Result<Ended, Error>) -> ResultLine {
    match ended {
        Ok(Ended::Result(line)) => *line,
        other => panic!("no result: {other:?}"),
    }
}

/// Waits for the abort that the client must ask for, and returns its reason.
async fn aborted(host: &FakeHost) -> String {
    let (request, mut stream) = host.asked().await;
    assert_eq!((&request["ask"], &request["what"]), (&json!("ask"), &json!("abort")));
    say(&mut stream, &Answer::Done { message: "told".into() }).await;
    request["reason"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_result_is_the_hosts() {
    let ended = following(
        |_| {},
        async |_, mut stream| {
            say(&mut stream, &Answer::Begun { id: "p1".into() }).await;
            say(&mut stream, &event()).await;
            say(&mut stream, &status("holding")).await;
            say(&mut stream, &result(ResultWord::RolledBack, 3, "bad")).await;
        },
    );
    let line = result_of(ended.await);
    assert_eq!((line.outcome.result, line.outcome.exit_code), (ResultWord::RolledBack, 3));
}

#[tokio::test]
async fn a_host_that_hangs_up_is_unreachable() {
    let ended = following(
        |_| {},
        async |_, mut stream| {
            say(&mut stream, &event()).await;
            drop(stream);
        },
    );
    let error = ended.await.unwrap_err();
    assert_eq!(error.exit(), Exit::Unreachable);
    assert_eq!(error.hint_text(), Some("gate status local/checkout"));
}

#[tokio::test]
async fn what_was_begun_has_a_result_also_without_its_host() {
    let ended = following(
        |_| {},
        async |_, mut stream| {
            say(&mut stream, &status("holding")).await;
            drop(stream);
        },
    );
    let line = result_of(ended.await);
    let outcome = &line.outcome;
    assert_eq!((outcome.result, outcome.exit_code), (ResultWord::Error, 6));
    assert_eq!((outcome.traffic, line.id.as_deref()), (TrafficIs::Unknown, Some("p1")));
}

#[tokio::test]
async fn a_line_that_was_cut_off_is_no_answer() {
    let ended = following(
        |_| {},
        async |_, mut stream| {
            stream.write_all(b"{\"say\":\"done\",").await.unwrap();
            drop(stream);
        },
    );
    assert_eq!(ended.await.unwrap_err().exit(), Exit::Unreachable);
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_hint() {
    let ended = following(
        |_| {},
        async |_, mut stream| {
            let (message, hint) = ("it is frozen".to_owned(), Some("wait".to_owned()));
            say(&mut stream, &Answer::Error { exit_code: 7, message, hint }).await;
        },
    );
    let error = ended.await.unwrap_err();
    assert_eq!((error.exit(), error.hint_text()), (Exit::Refused, Some("wait")));
}

#[tokio::test]
async fn a_timeout_aborts_and_is_inconclusive() {
    let limit = Duration::from_millis(1);
    let ended = following(
        |how| how.deadline = Some((Instant::now() + limit, limit)),
        async |host, mut stream| {
            assert_eq!(aborted(host).await, "--timeout 1ms is over");
            say(&mut stream, &result(ResultWord::Aborted, 4, "aborted")).await;
        },
    );
    let line = result_of(ended.await);
    assert_eq!((line.outcome.result, line.outcome.exit_code), (ResultWord::Inconclusive, 5));
    assert_eq!(line.outcome.reason, "--timeout 1ms was over");
}

#[tokio::test]
async fn a_timeout_does_not_hide_what_evidence_said() {
    let limit = Duration::from_millis(1);
    let ended = following(
        |how| how.deadline = Some((Instant::now() + limit, limit)),
        async |host, mut stream| {
            aborted(host).await;
            say(&mut stream, &result(ResultWord::RolledBack, 3, "bad")).await;
        },
    );
    assert_eq!(result_of(ended.await).outcome.result, ResultWord::RolledBack);
}

#[tokio::test]
async fn parked_with_nobody_there_it_is_left_to_a_person() {
    let ended = following(
        |how| how.on_unknown = OnUnknown::Exit,
        async |_, mut stream| {
            say(&mut stream, &status("holding")).await;
            say(&mut stream, &status("parked")).await;
        },
    );
    let line = result_of(ended.await);
    let outcome = &line.outcome;
    assert_eq!((outcome.result, outcome.exit_code), (ResultWord::Inconclusive, 5));
    assert_eq!((outcome.traffic, outcome.final_share.fraction()), (TrafficIs::Candidate, 0.5));
    let next = "gate resume local/checkout  or  gate abort local/checkout";
    assert_eq!(line.next.as_deref(), Some(next));
}

#[tokio::test]
async fn parked_at_a_host_of_its_own_it_is_aborted() {
    let ended = following(
        |how| (how.on_unknown, how.embedded) = (OnUnknown::Exit, true),
        async |host, mut stream| {
            say(&mut stream, &status("parked")).await;
            assert_eq!(aborted(host).await, "nobody is there to answer");
            say(&mut stream, &result(ResultWord::Aborted, 4, "aborted")).await;
        },
    );
    assert_eq!(result_of(ended.await).outcome.result, ResultWord::Inconclusive);
}

#[tokio::test]
async fn nobody_there_is_told_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let printer = printer();
    let how = Following {
        printer: &printer,
        peer: Peer::Host { socket: folder.path().join("socket"), app: "checkout".into() },
        on_cancel: OnCancel::Abort,
        on_unknown: OnUnknown::Hold,
        deadline: None,
        embedded: false,
    };
    let mut signals = Signals::listen().unwrap();
    let error = follow(how, &Request::Follow, &mut signals).await.unwrap_err();
    assert_eq!(error.exit(), Exit::Unreachable);
}
