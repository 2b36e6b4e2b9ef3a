//! Upgraded connections carry bytes both ways and are counted until they end.

use std::net::SocketAddr;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, split};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::{Limits, Proxy};
use super::app::{
    SOON, app, before, counted, eventually, only, proxy_with, read_until, talk, text,
};

/// Starts an application that changes to `echo` and then sends back what comes.
pub(super) fn echo() -> SocketAddr {
    app(|mut request: Request<Incoming>| async move {
        if !request.headers().contains_key("upgrade") {
            return Response::new(text("no upgrade"));
        }
        let protocol = request.headers()["upgrade"].clone();
        tokio::spawn(async move {
            let upgraded = hyper::upgrade::on(&mut request).await.unwrap();
            let (mut from, mut to) = split(TokioIo::new(upgraded));
            let _ = copy(&mut from, &mut to).await;
            let _ = to.shutdown().await;
        });
        let response = Response::builder().status(101).header("connection", "upgrade");
        response.header("upgrade", protocol).body(text("")).unwrap()
    })
}

/// Opens a tunnel through the proxy.
pub(super) async fn open(proxy: &Proxy) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    let head = b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    stream.write_all(head).await.unwrap();
    let answer = read_until(&mut stream, "\r\n\r\n").await.to_lowercase();
    assert!(answer.starts_with("http/1.1 101"), "{answer}");
    assert!(answer.contains("upgrade: echo") && answer.contains("connection: upgrade"), "{answer}");
    stream
}

pub(super) async fn closes(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut rest)).await.expect("it must be closed");
}

#[tokio::test]
async fn bytes_go_both_ways_until_one_side_ends() {
    let proxy = before(echo());
    let mut stream = open(&proxy).await;
    for words in ["ping", "pong", &"long ".repeat(20_000)] {
        stream.write_all(words.as_bytes()).await.unwrap();
        let mut back = vec![0; words.len()];
        timeout(SOON, stream.read_exact(&mut back)).await.unwrap().unwrap();
        assert_eq!(back, words.as_bytes());
    }
    assert_eq!((proxy.in_flight("app-0"), proxy.connections("app-0")), (1, 1));
    stream.shutdown().await.unwrap();
    closes(stream).await;
    eventually("it has ended", || proxy.in_flight("app-0") + proxy.connections("app-0") == 0).await;
    assert_eq!(counted(&proxy, "app-0"), [1, 0]);
}

#[tokio::test]
async fn a_tunnel_in_which_nothing_moves_ends() {
    let proxy =
        proxy_with(Limits { upgrade_idle: Duration::from_millis(100), ..Limits::default() });
    proxy.set_routes(only(echo()));
    closes(open(&proxy).await).await;
    eventually("it has ended", || proxy.in_flight("app-0") == 0).await;
}

#[tokio::test]
async fn h2c_is_no_way_around_the_share() {
    let proxy = before(echo());
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\n\
                 Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n";
    let answer = talk(proxy.addr(), head).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("no upgrade"), "{answer}");
}
