//! What an application does wrong, what its client is told, and whose error it is.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::{Limits, Proxy};
use super::app::{
    Client, app, before, both, counted, eventually, get, named, nobody, only, proxy, proxy_with,
    raw, read_until, request, talk, text, words,
};

const HEAD_END: &str = "\r\n\r\n";

fn errors_of(proxy: &Proxy, kind: &str) -> bool {
    let line = format!(r#"kind="{kind}"}} 1"#);
    proxy
        .metrics()
        .unwrap()
        .lines()
        .any(|seen| seen.starts_with("gate_proxy_errors") && seen.ends_with(&line))
}

#[tokio::test]
async fn nobody_at_the_address_is_502() {
    let proxy = before(nobody());
    assert_eq!(get(&proxy).await, (502, "502 the application can't be reached\n".into()));
    assert_eq!(counted(&proxy, "app-0"), [1, 1]);
    assert!(errors_of(&proxy, "connect"));
}

/// Somebody who listens and accepts nobody, and those who wait for it already.
fn full_backlog() -> (SocketAddr, (TcpListener, Vec<std::net::TcpStream>)) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let addr = listener.local_addr().unwrap();
    let connect = |_| std::net::TcpStream::connect_timeout(&addr, Duration::from_millis(200)).ok();
    let waiting = (0..10).map_while(connect).collect();
    (addr, (listener, waiting))
}

/// Whoever finds a 502 in a log must be able to tell what it was.
#[tokio::test]
async fn what_went_wrong_is_said_to_programs_too() {
    let closes = || {
        raw(|mut stream| async move {
            read_until(&mut stream, HEAD_END).await;
        })
    };
    let slow = Limits { response_head: Duration::from_millis(50), ..Limits::default() };
    let soon = Limits { connect: Duration::from_millis(50), ..slow.clone() };
    let (full, _waiting) = full_backlog();
    let table = [
        (nobody(), Limits::default(), 502, "connection_refused"),
        (full, soon, 502, "connection_timeout"),
        (closes(), Limits::default(), 502, "connection_terminated"),
        (app(|_| std::future::pending()), slow, 504, "http_response_timeout"),
    ];
    for (addr, limits, status, error) in table {
        let proxy = proxy_with(limits);
        proxy.set_routes(only(addr));
        let mut client = Client::connect(proxy.addr()).await;
        let response = client.send(request("/").body(text("")).unwrap()).await;
        let said = response.headers().get("proxy-status").unwrap().to_str().unwrap();
        assert_eq!((response.status().as_u16(), said), (status, &*format!("gate; error={error}")));
    }
    let proxy = before(app(|_| async { Response::builder().status(502).body(text("")).unwrap() }));
    let mut client = Client::connect(proxy.addr()).await;
    let response = client.send(request("/").body(text("")).unwrap()).await;
    assert_eq!(response.headers().get("proxy-status"), None, "it is the application's own");
}

/// An application whose machine is so busy that it accepts nobody for a while is not broken.
#[tokio::test]
async fn a_request_waits_for_an_application_that_does_not_accept_yet() {
    let limits = Limits { connect: Duration::from_millis(50), ..Limits::default() };
    let proxy = proxy_with(limits);
    let (full, (listener, waiting)) = full_backlog();
    proxy.set_routes(only(full));
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    eventually("it has been tried", || proxy.connections("app-0") > 0).await;
    // Ten times as long as a connection may take.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(counted(&proxy, "app-0"), [0, 0], "it is given up");
    std::thread::spawn(move || {
        drop(waiting);
        for stream in listener.incoming().flatten() {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(HEAD_END.as_bytes())
                && std::io::Read::read(&mut &stream, &mut byte).is_ok_and(|read| read > 0)
            {
                head.extend(byte);
            }
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            // Those who have waited and gone get nothing.
            let _ = std::io::Write::write_all(&mut &stream, answer);
        }
    });
    assert!(read_until(&mut stream, "ok").await.contains("200 OK"));
    assert_eq!(counted(&proxy, "app-0"), [1, 0]);
}

/// The same application as a candidate: stable is there for its requests.
#[tokio::test]
async fn a_candidate_that_does_not_accept_keeps_no_request_from_stable() {
    let proxy = proxy_with(Limits { connect: Duration::from_millis(50), ..Limits::default() });
    let (full, _waiting) = full_backlog();
    proxy.set_routes(both(named("old"), full, 100.0));
    assert_eq!(get(&proxy).await, (200, "old".into()));
    assert_eq!(counted(&proxy, "candidate-0"), [1, 1]);
    assert!(errors_of(&proxy, "connect"));
}

#[tokio::test]
async fn a_5xx_is_passed_on_and_counted() {
    let proxy =
        before(app(|_| async { Response::builder().status(503).body(text("mine")).unwrap() }));
    assert_eq!(get(&proxy).await, (503, "mine".into()));
    assert_eq!(counted(&proxy, "app-0"), [1, 1]);
    assert!(errors_of(&proxy, "answer_5xx"));
}

#[tokio::test]
async fn no_answer_in_time_is_504() {
    let limits = Limits { response_head: Duration::from_millis(100), ..Limits::default() };
    let proxy = proxy_with(limits);
    proxy.set_routes(only(app(|_| std::future::pending())));
    assert_eq!(get(&proxy).await, (504, "504 the application did not answer in time\n".into()));
    assert_eq!(counted(&proxy, "app-0"), [1, 1]);
    assert!(errors_of(&proxy, "timeout"));
    eventually("the connection is closed", || proxy.connections("app-0") == 0).await;
    // It took more than 50 ms and less than 1000 ms, unless this machine stood still.
    assert_eq!(proxy.counters()["app-0"].0[2], 1.0);
}

#[tokio::test]
async fn a_request_that_was_begun_is_never_sent_again() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&attempts);
    let dying = raw(move |mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            read_until(&mut stream, HEAD_END).await;
            seen.fetch_add(1, SeqCst);
        }
    });
    let proxy = proxy();
    proxy.set_routes(both(named("old"), dying, 100.0));
    let (status, body) = get(&proxy).await;
    assert_eq!(
        (status, body.as_str()),
        (502, "502 the application ended the connection without an answer\n")
    );
    assert_eq!(attempts.load(SeqCst), 1);
    assert_eq!(counted(&proxy, "candidate-0"), [1, 1]);
    assert_eq!(counted(&proxy, "stable-0"), [0, 0]);
    assert!(errors_of(&proxy, "broken"));
}

#[tokio::test]
async fn what_is_no_http_is_502() {
    let proxy = before(raw(|mut stream| async move {
        read_until(&mut stream, HEAD_END).await;
        let _ = stream.write_all(b"220 ready\r\n\r\n").await;
    }));
    assert_eq!(get(&proxy).await.0, 502);
    assert_eq!(counted(&proxy, "app-0"), [1, 1]);
    let proxy = before(raw(|mut stream| async move {
        read_until(&mut stream, HEAD_END).await;
        let _ = stream
            .write_all(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
            .await;
        let _ = stream.read(&mut [0; 1]).await;
    }));
    assert_eq!(get(&proxy).await.0, 502);
    assert_eq!(counted(&proxy, "app-0"), [1, 1]);
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_costs_no_request() {
    let served = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&served);
    // Every connection is closed after one answer, without saying so.
    let proxy = before(raw(move |mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            read_until(&mut stream, HEAD_END).await;
            seen.fetch_add(1, SeqCst);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        }
    }));
    for count in 1..=50 {
        assert_eq!(get(&proxy).await, (200, "ok".into()));
        assert_eq!(served.load(SeqCst), count);
        eventually("the connection's end is seen", || proxy.connections("app-0") == 0).await;
    }
    assert_eq!(counted(&proxy, "app-0"), [50, 0]);
}

/// The end of the free connection has arrived, but nobody in the proxy has looked: the request
/// must come back unsent and go over another connection.
#[tokio::test]
async fn a_connection_that_is_just_being_closed_costs_no_request() {
    const REQUESTS: usize = 50;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = before(listener.local_addr().unwrap());
    let (closed, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(REQUESTS) {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(HEAD_END.as_bytes()) {
                let mut byte = [0];
                std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
                head.extend(byte);
            }
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            std::io::Write::write_all(&mut stream, answer).unwrap();
            drop(stream);
            closed.send(()).unwrap();
        }
    });
    let mut client = Client::connect(proxy.addr()).await;
    for _ in 0..REQUESTS {
        let response = client.send(request("/").body(text("")).unwrap()).await;
        assert_eq!((response.status().as_u16(), words(response).await.as_str()), (200, "ok"));
        // The runtime stands still meanwhile, so that the proxy can't see it.
        wait.recv_timeout(super::app::SOON).unwrap();
    }
    assert_eq!(counted(&proxy, "app-0"), [REQUESTS as u64, 0]);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_and_is_seen_as_one() {
    let proxy = before(raw(|mut stream| async move {
        read_until(&mut stream, HEAD_END).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").await.unwrap();
    }));
    let answer = talk(proxy.addr(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("half"), "{answer}");
    assert_eq!(counted(&proxy, "app-0"), [1, 1]);
    assert!(errors_of(&proxy, "body"));
}

#[tokio::test]
async fn a_body_that_stands_still_is_an_error() {
    let limits = Limits { response_stall: Duration::from_millis(100), ..Limits::default() };
    let proxy = proxy_with(limits);
    proxy.set_routes(only(raw(|mut stream| async move {
        read_until(&mut stream, HEAD_END).await;
        stream.write_all(b"HTTP/1.1 500 Oh\r\nContent-Length: 100\r\n\r\nhalf").await.unwrap();
        let _ = stream.read(&mut [0; 1]).await;
    })));
    talk(proxy.addr(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    // A 5xx whose body also breaks off is one error, not two.
    assert_eq!(counted(&proxy, "app-0"), [1, 1]);
}

#[tokio::test]
async fn a_client_that_gives_up_is_no_error_of_the_revision() {
    let proxy = before(app(|request: Request<Incoming>| async move {
        match request.uri().path() {
            "/never" => std::future::pending().await,
            _ => Response::new(text(vec![0; 64 * 1024 * 1024])),
        }
    }));
    for (path, count) in [("/never", 1), ("/large", 2)] {
        let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes())
            .await
            .unwrap();
        eventually("it is under way", || proxy.in_flight("app-0") == 1).await;
        drop(stream);
        eventually("it has ended", || proxy.in_flight("app-0") == 0).await;
        assert_eq!(counted(&proxy, "app-0"), [count, 0], "{path}");
    }
    assert!(proxy.metrics().unwrap().contains(r#"arm="stable",code="499"} 1"#));
    eventually("its connections are closed", || proxy.connections("app-0") == 0).await;
}

#[tokio::test]
async fn the_counters_are_what_the_clients_saw() {
    let proxy = before(app(|request: Request<Incoming>| async move {
        let failing = request.uri().path().len().is_multiple_of(3);
        let status = if failing { 500 } else { 200 };
        Response::builder().status(status).body(text("x")).unwrap()
    }));
    let clients = (0..8).map(|client| {
        let addr = proxy.addr();
        tokio::spawn(async move {
            let mut connection = Client::connect(addr).await;
            let mut failed = 0;
            for count in 0..100 {
                let path = format!("/{}", "x".repeat((client + count) % 7));
                let response = connection.send(request(&path).body(text("")).unwrap()).await;
                failed += u64::from(response.status() == 500);
                words(response).await;
            }
            failed
        })
    });
    let mut failed = 0;
    for client in clients.collect::<Vec<_>>() {
        failed += client.await.unwrap();
    }
    assert!(failed > 0);
    assert_eq!(counted(&proxy, "app-0"), [800, failed]);
}

#[tokio::test]
async fn a_client_too_many_waits_for_a_place() {
    let proxy = proxy_with(Limits { clients_max: 1, ..Limits::default() });
    proxy.set_routes(only(named("v1")));
    let first = TcpStream::connect(proxy.addr()).await.unwrap();
    let mut second = TcpStream::connect(proxy.addr()).await.unwrap();
    second.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let held = || proxy.metrics().unwrap().contains("gate_proxy_clients_held_total 1");
    eventually("it is held", held).await;
    assert_eq!(counted(&proxy, "app-0"), [0, 0]);
    drop(first);
    read_until(&mut second, "v1").await;
}
