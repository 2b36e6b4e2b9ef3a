//! The application as its clients see it.

use std::net::SocketAddr;

use clap::Parser;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    app: ExampleApp,
}

/// A running application.
struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    end: JoinHandle<End>,
}

async fn start(flags: &str) -> Running {
    let app = Flags::parse_from(std::iter::once("app").chain(flags.split_whitespace())).app;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let end = tokio::spawn(serve_until(listener, app, async { drop(stopped.await) }));
    Running { address, stop, end }
}

/// Sends bytes and returns all that comes until the application closes.
async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn get(address: SocketAddr, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: app\r\nconnection: close\r\n\r\n");
    exchange(address, &request).await
}

fn code(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or(answer)
}

#[tokio::test]
async fn it_answers_and_says_who_it_is() {
    let app = start("--version v2").await;
    let check = async |path: &str, expected: &str, holds: &str| {
        let answer = get(app.address, path).await;
        assert_eq!(code(&answer), expected, "{path}");
        assert!(answer.contains("\r\nx-version: v2\r\n") && answer.contains(holds), "{answer}");
    };
    check("/", "200", "{\"version\":\"v2\",\"instance\":").await;
    check("/health", "200", "ok").await;
    check("/ready", "200", "ok").await;
    check("/slow?ms=1", "200", "at last").await;
    check("/stream?chunks=3&ms=1", "200", "chunk 2").await;
    check("/echo", "405", "POST").await;
    check("/upgrade", "426", "").await;
    check("/other", "404", "there is").await;
    check("/metrics", "200", "http_requests_total{code=\"200\"} 3\n").await;
    check("/metrics", "200", "http_request_duration_seconds_bucket{le=\"0.005\"}").await;
}

#[tokio::test]
async fn a_body_is_sent_back() {
    let app = start("").await;
    let request =
        "POST /echo HTTP/1.1\r\nhost: app\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
    let answer = exchange(app.address, request).await;
    assert!(answer.contains("hello"), "{answer}");
}

#[tokio::test]
async fn a_connection_is_upgraded_to_whatever_was_asked_for() {
    let app = start("").await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let head =
        b"GET /upgrade HTTP/1.1\r\nhost: app\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(code(&answer) == "101" && answer.contains("upgrade: chat\r\n"), "{answer}");
    stream.write_all(b"ping").await.unwrap();
    let mut pong = [0; 4];
    stream.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"ping");
}

#[tokio::test]
async fn it_misbehaves_as_it_is_told() {
    let check = async |flags: &str, path: &str, expected: &[&str]| {
        let app = start(flags).await;
        for (number, expected) in expected.iter().enumerate() {
            assert_eq!(code(&get(app.address, path).await), *expected, "{flags}: {number}");
        }
    };
    check("--error-rate 0.5", "/", &["200", "500", "200", "500"]).await;
    check("--error-rate 1", "/health", &["200", "200"]).await;
    check("--never-ready", "/health", &["503", "503"]).await;
    check("--never-ready", "/", &["200"]).await;
    check("--unhealthy-after 0s", "/ready", &["503"]).await;
    check("--hang", "/health", &["200"]).await;
}

#[tokio::test]
async fn crashing_and_hanging_are_what_they_say() {
    assert_eq!(start("--crash-after 1ms").await.end.await.unwrap(), End::Crashed);
    let hanging = start("--hang --drain-ms 1").await;
    let request = tokio::spawn(async move { get(hanging.address, "/").await });
    assert!(!request.is_finished());
    let mut metrics = TcpStream::connect(hanging.address).await.unwrap();
    metrics.write_all(b"GET /health HTTP/1.1\r\nhost: app\r\n\r\n").await.unwrap();
    metrics.read_u8().await.unwrap();
    hanging.stop.send(()).unwrap();
    hanging.end.await.unwrap();
    assert!(!request.is_finished(), "a hanging request never has an answer");
    request.abort();
}

#[tokio::test]
async fn it_finishes_what_it_has_begun_and_takes_nothing_new() {
    let app = start("").await;
    let mut idle = TcpStream::connect(app.address).await.unwrap();
    let mut busy = TcpStream::connect(app.address).await.unwrap();
    // The first chunk shows that the request has begun.
    busy.write_all(b"GET /stream?chunks=2&ms=300 HTTP/1.1\r\nhost: app\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    while !answer.contains("chunk 0") {
        answer.push(char::from(busy.read_u8().await.unwrap()));
    }
    app.stop.send(()).unwrap();
    busy.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("chunk 1"), "{answer}");
    assert_eq!(app.end.await.unwrap(), End::Drained);
    assert_eq!(idle.read(&mut [0; 1]).await.unwrap(), 0, "idle connections are closed");
    assert!(TcpStream::connect(app.address).await.is_err());
}

#[tokio::test]
async fn an_answer_that_begins_while_it_drains_says_that_the_connection_ends() {
    let app = start("").await;
    let mut busy = TcpStream::connect(app.address).await.unwrap();
    busy.write_all(b"GET /slow?ms=500 HTTP/1.1\r\nhost: app\r\n\r\n").await.unwrap();
    // Another request that has its answer shows that the application has read this one long since.
    get(app.address, "/slow?ms=100").await;
    app.stop.send(()).unwrap();
    let mut answer = String::new();
    busy.read_to_string(&mut answer).await.unwrap();
    assert!(code(&answer) == "200" && answer.contains("connection: close\r\n"), "{answer}");
}
