//! A real receiver on loopback that answers as it is told.

use std::time::Duration;

use backon::ExponentialBuilder;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::{Notifier, QUEUE_EVENTS_MAX, RETRIES_MAX, Webhook};

/// Long enough for any machine; nothing waits for it when all goes well.
const LIMIT: Duration = Duration::from_secs(60);

/// Answers each request with the next status, the last for ever, and passes on what it got.
async fn receiver(statuses: &'static [u16]) -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (got, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let last = statuses.last().copied().unwrap();
        let mut statuses = statuses.iter().copied();
        while let Ok((mut stream, _)) = listener.accept().await {
            let request = read(&mut stream).await;
            let status = statuses.next().unwrap_or(last);
            let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = got.send(request);
        }
    });
    (address, requests)
}

/// Reads a request whose body is a JSON object.
async fn read(stream: &mut tokio::net::TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while !bytes.ends_with(b"}") {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn notifier(url: &str) -> Notifier {
    let pauses = ExponentialBuilder::default().with_min_delay(Duration::from_millis(1));
    Notifier::start_with(url.parse().unwrap(), pauses.with_max_times(RETRIES_MAX))
}

#[tokio::test]
async fn each_event_is_one_post_in_order() {
    let (address, mut requests) = receiver(&[204]).await;
    let notifier = notifier(&format!("http://ada:s%40crt@{address}/hook/x?key=1"));
    for n in 0..20 {
        notifier.tell(&json!({"event": n}));
    }
    let told = notifier.finish(LIMIT).await;
    assert_eq!((told.sent, told.lost, told.why), (20, 0, None));
    for n in 0..20 {
        let request = requests.recv().await.unwrap();
        assert!(request.starts_with("POST /hook/x?key=1 HTTP/1.1\r\n"), "{request}");
        assert!(request.contains(&format!("host: {address}\r\n")), "{request}");
        assert!(request.contains("content-type: application/json\r\n"), "{request}");
        assert!(request.contains("authorization: Basic YWRhOnNAY3J0\r\n"), "{request}");
        assert!(request.ends_with(&format!("{{\"event\":{n}}}")), "{request}");
    }
}

#[tokio::test]
async fn a_receiver_that_fails_for_a_while_gets_it_all_the_same() {
    let (address, mut requests) = receiver(&[503, 429, 500, 200]).await;
    let notifier = notifier(&format!("http://{address}/"));
    notifier.tell(&json!({"event": 1}));
    let told = notifier.finish(LIMIT).await;
    assert_eq!((told.sent, told.lost, told.why), (1, 0, None));
    for _ in 0..4 {
        assert!(requests.recv().await.unwrap().ends_with("{\"event\":1}"));
    }
}

#[tokio::test]
async fn a_refusal_is_not_asked_again() {
    let (address, mut requests) = receiver(&[403, 200]).await;
    let notifier = notifier(&format!("http://{address}/secret"));
    notifier.tell(&json!({"event": 1}));
    notifier.tell(&json!({"event": 2}));
    let told = notifier.finish(LIMIT).await;
    assert_eq!((told.sent, told.lost), (1, 1));
    assert_eq!(told.why, Some(format!("http://{address}/… answered 403")));
    assert!(requests.recv().await.unwrap().ends_with("{\"event\":1}"));
    assert!(requests.recv().await.unwrap().ends_with("{\"event\":2}"));
}

#[tokio::test]
async fn a_receiver_that_never_answers_holds_nothing_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let notifier = notifier(&format!("http://{}/", listener.local_addr().unwrap()));
    for n in 0..QUEUE_EVENTS_MAX + 10 {
        notifier.tell(&json!({"event": n}));
    }
    let told = notifier.finish(Duration::from_millis(50)).await;
    assert_eq!((told.sent, told.lost), (0, (QUEUE_EVENTS_MAX + 10) as u64));
    assert!(told.why.is_some());
}

#[tokio::test]
async fn nobody_there_is_said_once_it_is_given_up() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    let notifier = notifier(&format!("http://{address}/"));
    notifier.tell(&json!({"event": 1}));
    let told = notifier.finish(LIMIT).await;
    assert_eq!((told.sent, told.lost), (0, 1));
    assert!(told.why.unwrap().contains("can't be reached"));
}

#[test]
fn a_url_is_checked_and_never_repeated() {
    for (url, expected) in [
        ("http://127.0.0.1:9/x", Ok("http://127.0.0.1:9/…")),
        ("http://u:pass@host.example/T0/B1?sig=key", Ok("http://host.example/…")),
        ("http://[::1]:8080", Ok("http://[::1]:8080/…")),
        ("https://u:pass@host.example/", Err("https needs TLS")),
        ("ftp://host.example/", Err("its scheme is not http")),
        ("host.example", Err("no URL")),
        ("", Err("no URL")),
        ("http://a b/pass", Err("no URL")),
        ("/only/a/path", Err("no URL")),
    ] {
        match (url.parse::<Webhook>(), expected) {
            (Ok(webhook), Ok(shown)) => {
                assert_eq!(webhook.to_string(), shown);
                assert!(!format!("{webhook:?}").contains("pass"));
            }
            (Err(error), Err(part)) => {
                assert!(error.to_string().contains(part), "{url}: {error}");
                assert!(!format!("{error} {error:?}").contains("pass"));
            }
            (seen, expected) => panic!("{url}: {seen:?} is not {expected:?}"),
        }
    }
    let long = format!("http://host.example/{}", "x".repeat(10_000));
    assert!(long.parse::<Webhook>().is_err());
}
