//! What of a head goes on, what is added, and what is refused.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::header::{HeaderMap, HeaderName};
use http::{Request, Response};
use hyper::body::Incoming;

use super::super::headers::{remove_hop_by_hop, set_forwarded, upgrade};
use super::super::{Limits, Proxy};
use super::app::{
    Client, app, before, counted, eventually, named, only, proxy_with, raw, read_until, request,
    talk, text, words,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    headers
}

#[test]
fn what_is_for_one_hop_goes_no_further() {
    let check = |given: &[(&str, &str)], left: &[(&str, &str)]| {
        let mut headers = map(given);
        remove_hop_by_hop(&mut headers);
        assert_eq!(headers, map(left), "{given:?}");
    };
    check(&[("connection", "keep-alive, X-Secret"), ("x-secret", "1"), ("a", "b")], &[("a", "b")]);
    check(&[("connection", "close"), ("connection", "x-two"), ("x-two", "2")], &[]);
    check(&[("keep-alive", "timeout=5"), ("proxy-connection", "close"), ("te", "gzip")], &[]);
    check(
        &[("transfer-encoding", "chunked"), ("upgrade", "h2c"), ("proxy-authorization", "x")],
        &[],
    );
    check(&[("trailer", "x-sum")], &[("trailer", "x-sum")]);
    // Nobody can make a message lose its host or its length.
    check(
        &[("connection", "host, content-length"), ("host", "a"), ("content-length", "3")],
        &[("host", "a"), ("content-length", "3")],
    );
}

#[test]
fn an_upgrade_is_one_only_if_connection_says_so_and_it_is_not_h2c() {
    let check = |given: &[(&str, &str)], expected: Option<&str>| {
        let protocol = upgrade(&map(given));
        assert_eq!(protocol.as_ref().map(|value| value.to_str().unwrap()), expected, "{given:?}");
    };
    check(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")], Some("websocket"));
    check(&[("upgrade", "websocket")], None);
    check(&[("connection", "upgrade")], None);
    check(&[("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c")], None);
    check(&[("connection", "upgrade"), ("upgrade", "websocket, h2c")], None);
}

#[test]
fn the_application_is_told_who_asks() {
    let check = |peer: &str, given: &[(&str, &str)], expected: &[(&str, &str)]| {
        let mut headers = map(given);
        set_forwarded(&mut headers, peer.parse().unwrap());
        assert_eq!(headers, map(expected), "{given:?} from {peer}");
    };
    let plain = |client| {
        [
            ("host", "shop"),
            ("x-forwarded-for", client),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "shop"),
        ]
    };
    check("192.0.2.1:99", &[("host", "shop")], &plain("192.0.2.1"));
    check("[::ffff:192.0.2.1]:99", &[("host", "shop")], &plain("192.0.2.1"));
    let forged = [
        ("host", "shop"),
        ("forwarded", "for=1"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil"),
    ];
    check("192.0.2.1:99", &forged, &plain("10.0.0.1, 192.0.2.1"));
    let in_front = [
        ("host", "inner"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-for", "192.0.2.2"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop"),
    ];
    let kept = [
        ("host", "inner"),
        ("x-forwarded-for", "192.0.2.1, 192.0.2.2, 127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop"),
    ];
    check("127.0.0.1:99", &in_front, &kept);
}

/// Starts an application that remembers the heads that it got.
fn noting() -> (std::net::SocketAddr, Arc<Mutex<Vec<Request<()>>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let addr = app(move |request: Request<Incoming>| {
        noted.lock().unwrap().push(request.map(drop));
        let response = Response::builder()
            .header("connection", "x-hop")
            .header("x-hop", "1")
            .header("keep-alive", "timeout=9")
            .header("x-kept", "1")
            .body(text("noted"));
        async move { response.unwrap() }
    });
    (addr, seen)
}

#[tokio::test]
async fn heads_are_cleaned_both_ways_and_host_and_target_are_kept() {
    let (addr, seen) = noting();
    let proxy = before(addr);
    let mut client = Client::connect(proxy.addr()).await;
    let asked = request("/a/b?c=d%20e").header("connection", "x-mine").header("x-mine", "1");
    let response = client.send(asked.body(text("")).unwrap()).await;
    assert_eq!(response.headers()["x-kept"], "1");
    for hop in ["x-hop", "keep-alive", "connection"] {
        assert!(!response.headers().contains_key(hop), "{hop}");
    }
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0].uri(), "/a/b?c=d%20e");
    assert_eq!(seen[0].headers()["host"], "shop.example");
    assert_eq!(seen[0].headers()["x-forwarded-host"], "shop.example");
    assert_eq!(seen[0].headers()["x-forwarded-for"], "127.0.0.1");
    assert!(!seen[0].headers().contains_key("x-mine"));
}

#[tokio::test]
async fn an_absolute_target_becomes_a_path_and_its_host_counts() {
    let (addr, seen) = noting();
    let proxy = before(addr);
    let bytes = b"GET http://real.example/x HTTP/1.1\r\nHost: other\r\nConnection: close\r\n\r\n";
    assert!(talk(proxy.addr(), bytes).await.starts_with("HTTP/1.1 200"));
    let seen = seen.lock().unwrap();
    assert_eq!(
        (seen[0].uri().to_string().as_str(), &seen[0].headers()["host"]),
        ("/x", &"real.example".parse().unwrap())
    );
}

#[tokio::test]
async fn what_is_no_request_for_an_application_is_refused() {
    let proxy = before(named("v1"));
    for (bytes, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        ("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", "405"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400"),
        ("nonsense\r\n\r\n", "400"),
    ] {
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let answer = read_until(&mut stream, "\r\n").await;
        assert!(answer.contains(status), "{bytes:?}: {answer:?}");
    }
    assert_eq!(counted(&proxy, "app-0"), [0, 0]);
}

#[tokio::test]
async fn a_message_with_two_lengths_smuggles_nothing() {
    let (addr, seen) = noting();
    let proxy = before(addr);
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    for lengths in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: +5",
        "Content-Length: 5, 6",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: xchunked",
    ] {
        let bytes = format!("POST /open HTTP/1.1\r\nHost: a\r\n{lengths}\r\n\r\nabcde{hidden}");
        let answer = talk(proxy.addr(), bytes.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{lengths}: {answer}");
    }
    assert_eq!(seen.lock().unwrap().len(), 0);
    // Here the encoding counts, the length goes, and the connection ends with the answer (RFC 9112
    // § 6.1 and 6.3), so that what follows is no part of anything.
    for lengths in [
        "Content-Length: 40\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 40",
    ] {
        let bytes = format!("POST /open HTTP/1.1\r\nHost: a\r\n{lengths}\r\n\r\n0\r\n\r\n{hidden}");
        talk(proxy.addr(), bytes.as_bytes()).await;
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        let paths = seen.iter().map(|one| one.uri().path()).collect::<Vec<_>>();
        assert_eq!(paths, ["/open"], "{lengths}");
        assert!(!seen[0].headers().contains_key("content-length"));
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_answered_with_431() {
    let proxy = before(named("v1"));
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Large: {}\r\n\r\n", "x".repeat(40 * 1024));
    assert!(talk(proxy.addr(), large.as_bytes()).await.starts_with("HTTP/1.1 431"));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X-Many: 1\r\n".repeat(200));
    assert!(talk(proxy.addr(), many.as_bytes()).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn a_head_that_dribbles_is_given_up() {
    let limits = Limits { client_idle: Duration::from_millis(200), ..Limits::default() };
    let proxy = proxy_with(limits);
    proxy.set_routes(only(named("v1")));
    let began = std::time::Instant::now();
    let answer = talk(proxy.addr(), b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow").await;
    assert!(!answer.contains("200 OK"), "{answer}");
    assert!(began.elapsed() >= Duration::from_millis(200));
    // An idle connection ends by the same limit.
    talk(proxy.addr(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
}

#[tokio::test]
async fn old_clients_and_pipelined_requests_are_answered_in_order() {
    let proxy = before(app(|request: Request<Incoming>| async move {
        Response::new(text(request.uri().path().to_owned()))
    }));
    let answer = talk(proxy.addr(), b"GET /old HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK") && answer.ends_with("/old"), "{answer}");
    let pipelined = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n\
                     GET /3 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = talk(proxy.addr(), pipelined.as_bytes()).await;
    let places = ["/1", "/2", "/3"].map(|path| answer.find(path).expect(path));
    assert!(places.is_sorted(), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 3);
}

#[tokio::test]
async fn a_head_request_keeps_its_length_and_has_no_body() {
    let proxy = before(raw(|mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n").await.unwrap();
        read_until(&mut stream, "\r\n\r\n").await;
        stream.write_all(b"HTTP/1.1 304 Not Modified\r\nEtag: \"a\"\r\n\r\n").await.unwrap();
        read_until(&mut stream, "never").await;
    }));
    let mut client = Client::connect(proxy.addr()).await;
    let response = client.send(request("/").method("HEAD").body(text("")).unwrap()).await;
    assert_eq!(response.headers()["content-length"], "1234");
    assert_eq!(words(response).await, "");
    // The connection to the instance is free again at once.
    let response = client.send(request("/").body(text("")).unwrap()).await;
    assert_eq!((response.status().as_u16(), words(response).await.as_str()), (304, ""));
    assert_eq!(proxy.connections("app-0"), 1);
}

#[tokio::test]
async fn connections_are_kept_alive_on_both_sides() {
    let (addr, seen) = noting();
    let proxy = before(addr);
    let mut client = Client::connect(proxy.addr()).await;
    for _ in 0..50 {
        words(client.send(request("/").body(text("")).unwrap()).await).await;
    }
    assert_eq!(seen.lock().unwrap().len(), 50);
    assert!(proxy.connections("app-0") <= 2, "{}", proxy.connections("app-0"));
    idle(&proxy).await;
}

async fn idle(proxy: &Proxy) {
    eventually("nothing in flight", || proxy.in_flight("app-0") == 0).await;
}
