//! Bodies go through piece by piece, with their trailers, whoever is fast or slow.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use hyper::body::{Frame, Incoming};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::super::Limits;
use super::app::{
    Client, SOON, app, before, counted, eventually, only, proxy_with, read_until, request, talk,
    text, words,
};

const PIECE: usize = 64 * 1024;
const LARGE: usize = 64 * 1024 * 1024;

/// More than the kernel holds for two connections (each at most 4 MiB to send, 6 MiB received).
const HELD_MAX: usize = 32 * 1024 * 1024;

async fn frame(body: &mut Incoming) -> Option<Frame<Bytes>> {
    timeout(SOON, body.frame()).await.unwrap().map(Result::unwrap)
}

/// Starts an application that sends every piece back as soon as it has it.
fn echo() -> std::net::SocketAddr {
    app(|request: Request<Incoming>| async move {
        let headers = request.headers().clone();
        let mut response =
            Response::new(request.into_body().map_err(|_| unreachable!("sent whole")).boxed());
        if let Some(trailer) = headers.get("trailer") {
            response.headers_mut().insert("trailer", trailer.clone());
        }
        response
    })
}

#[tokio::test]
async fn a_piece_arrives_before_the_next_is_sent() {
    let proxy = before(echo());
    let mut client = Client::connect(proxy.addr()).await;
    let (mut sender, body) = Channel::<Bytes>::new(1);
    let asked = request("/").method("POST").body(body.boxed()).unwrap();
    sender.send_data("first".into()).await.unwrap();
    let mut answer = client.send(asked).await.into_body();
    for sent in ["first", "second", "third"] {
        let arrived = frame(&mut answer).await.unwrap().into_data().unwrap();
        assert_eq!(arrived, sent);
        let next = match sent {
            "first" => "second",
            _ => "third",
        };
        if sent != "third" {
            sender.send_data(next.into()).await.unwrap();
        }
    }
    drop(sender);
    assert!(frame(&mut answer).await.is_none());
}

#[tokio::test]
async fn a_large_body_goes_both_ways_whole() {
    let proxy = before(echo());
    let mut client = Client::connect(proxy.addr()).await;
    let (mut sender, body) = Channel::<Bytes>::new(1);
    let asked =
        request("/").method("PUT").header("content-length", LARGE).body(body.boxed()).unwrap();
    tokio::spawn(async move {
        let piece = Bytes::from((0..PIECE).map(|at| (at % 251) as u8).collect::<Vec<_>>());
        for _ in 0..LARGE / PIECE {
            sender.send_data(piece.clone()).await.unwrap();
        }
    });
    let mut answer = client.send(asked).await.into_body();
    let mut length = 0;
    while let Some(frame) = frame(&mut answer).await {
        for byte in frame.into_data().unwrap() {
            assert_eq!(usize::from(byte), length % PIECE % 251);
            length += 1;
        }
    }
    assert_eq!(length, LARGE);
    eventually("the request has ended", || proxy.in_flight("app-0") == 0).await;
    assert_eq!(counted(&proxy, "app-0"), [1, 0]);
}

#[tokio::test]
async fn an_application_that_reads_nothing_holds_its_client_back() {
    let proxy = before(app(|request: Request<Incoming>| async move {
        let _unread = request;
        std::future::pending().await
    }));
    let sent = Arc::new(AtomicUsize::new(0));
    let (mut sender, body) = Channel::<Bytes>::new(1);
    let counter = Arc::clone(&sent);
    let sending = tokio::spawn(async move {
        let piece = Bytes::from(vec![0; PIECE]);
        for _ in 0..LARGE / PIECE {
            sender.send_data(piece.clone()).await.unwrap();
            counter.fetch_add(PIECE, SeqCst);
        }
    });
    let mut client = Client::connect(proxy.addr()).await;
    let asked = request("/").method("POST").body(body.boxed()).unwrap();
    let asking = tokio::spawn(async move { client.send(asked).await });
    still(|| sent.load(SeqCst)).await;
    assert!(sent.load(SeqCst) > 0 && !sending.is_finished(), "{}", sent.load(SeqCst));
    assert!(sent.load(SeqCst) <= HELD_MAX, "{} bytes are held", sent.load(SeqCst));
    asking.abort();
    sending.abort();
}

/// Waits until a value has not changed for a while.
async fn still(value: impl Fn() -> usize) {
    let due = Instant::now() + SOON;
    let (mut last, mut since) = (value(), Instant::now());
    while since.elapsed() < Duration::from_millis(300) || last == 0 {
        assert!(Instant::now() < due, "it goes on: {last}");
        sleep(Duration::from_millis(10)).await;
        if value() != last {
            (last, since) = (value(), Instant::now());
        }
    }
}

#[tokio::test]
async fn trailers_go_both_ways() {
    let proxy = before(echo());
    let mut client = Client::connect(proxy.addr()).await;
    let (mut sender, body) = Channel::<Bytes>::new(4);
    let asked = request("/").method("POST").header("te", "trailers").header("trailer", "x-sum");
    let asked = asked.body(body.boxed()).unwrap();
    sender.send_data("body".into()).await.unwrap();
    sender
        .send_trailers(HeaderMap::from_iter([(
            http::HeaderName::from_static("x-sum"),
            HeaderValue::from_static("42"),
        )]))
        .await
        .unwrap();
    drop(sender);
    let collected =
        timeout(SOON, client.send(asked).await.into_body().collect()).await.unwrap().unwrap();
    assert_eq!(collected.trailers().expect("trailers")["x-sum"], "42");
    assert_eq!(collected.to_bytes(), "body");
    eventually("the request has ended", || proxy.in_flight("app-0") == 0).await;
    assert_eq!(proxy.connections("app-0"), 1, "the connection is kept");
}

#[tokio::test]
async fn a_get_keeps_its_chunked_body() {
    let proxy = before(echo());
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
    let answer = talk(proxy.addr(), bytes).await;
    assert!(answer.contains("body"), "{answer}");
}

#[tokio::test]
async fn a_client_that_waits_to_continue_is_told_to() {
    let proxy = before(echo());
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n";
    stream.write_all(head).await.unwrap();
    read_until(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
    stream.write_all(b"body").await.unwrap();
    read_until(&mut stream, "body").await;
}

#[tokio::test]
async fn a_client_that_stops_sending_is_no_error_of_the_revision() {
    let limits = Limits { response_head: Duration::from_millis(200), ..Limits::default() };
    let proxy = proxy_with(limits);
    proxy.set_routes(only(app(|request: Request<Incoming>| async move {
        let _ = request.into_body().collect().await;
        Response::new(text("all of it"))
    })));
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\npart").await.unwrap();
    read_until(&mut stream, "408 the request's body did not arrive in time").await;
    assert_eq!(counted(&proxy, "app-0"), [1, 0]);
    // One that goes away half-way neither.
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\npart").await.unwrap();
    eventually("it is under way", || proxy.in_flight("app-0") == 1).await;
    drop(stream);
    eventually("it has ended", || proxy.in_flight("app-0") == 0).await;
    assert_eq!(counted(&proxy, "app-0"), [2, 0]);
}

#[tokio::test]
async fn a_slow_upload_that_moves_is_not_too_late() {
    let limits = Limits { response_head: Duration::from_millis(400), ..Limits::default() };
    let proxy = proxy_with(limits);
    proxy.set_routes(only(app(|request: Request<Incoming>| async move {
        Response::new(text(request.into_body().collect().await.unwrap().to_bytes()))
    })));
    let mut client = Client::connect(proxy.addr()).await;
    let (mut sender, body) = Channel::<Bytes>::new(1);
    tokio::spawn(async move {
        for _ in 0..12 {
            sender.send_data("x".into()).await.unwrap();
            sleep(Duration::from_millis(60)).await;
        }
    });
    let response = client.send(request("/").method("POST").body(body.boxed()).unwrap()).await;
    assert_eq!((response.status().as_u16(), words(response).await.len()), (200, 12));
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off() {
    let limits = Limits { client_stall: Duration::from_millis(200), ..Limits::default() };
    let proxy = proxy_with(limits);
    proxy.set_routes(only(app(|_| async { Response::new(text(vec![0; LARGE])) })));
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    eventually("it is under way", || proxy.in_flight("app-0") == 1).await;
    eventually("it is cut off", || proxy.in_flight("app-0") == 0).await;
    assert_eq!(counted(&proxy, "app-0"), [1, 0]);
    let mut rest = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.len() < LARGE);
}
