//! Counts, which don't depend on the machine's speed: an open loop sends every request, however late.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::*;

/// What a server of these tests does with the requests of its connections.
#[derive(Clone, Copy)]
enum Server {
    /// 200, 404, 500 and again.
    Answers,
    /// Closes every connection after one answer, without having said so.
    ClosesAfterOne,
    /// Reads a little and closes.
    Breaks,
    /// Never answers.
    Hangs,
}

/// Returns the address, and the number of connections up to now.
async fn serve(server: Server) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let requests = Arc::clone(&requests);
            tokio::spawn(async move {
                match server {
                    Server::Breaks => drop(stream.read_u8().await),
                    Server::Answers | Server::ClosesAfterOne | Server::Hangs => {
                        answer(server, stream, requests).await;
                    }
                }
            });
        }
    });
    (address, connections)
}

async fn answer(server: Server, stream: tokio::net::TcpStream, requests: Arc<AtomicUsize>) {
    let service = service_fn(|_: Request<hyper::body::Incoming>| async {
        if matches!(server, Server::Hangs) {
            std::future::pending::<()>().await;
        }
        let number = requests.fetch_add(1, Ordering::SeqCst);
        let mut response = Response::new(Full::new(Bytes::from_static(b"body")));
        *response.status_mut() = [200, 404, 500][number % 3].try_into().unwrap();
        response.headers_mut().insert("x-version", "v2".parse().unwrap());
        Ok::<_, Infallible>(response)
    });
    let keep_alive = !matches!(server, Server::ClosesAfterOne);
    let _ = http1::Builder::new()
        .keep_alive(keep_alive)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn load(address: SocketAddr, rps: f64, millis: u64, connections: usize) -> Load {
    let url = format!("http://{address}/path?x=1");
    Load::new(&url, rps, Duration::from_millis(millis), connections).unwrap()
}

#[tokio::test]
async fn every_request_is_sent_and_counted_by_its_answer() {
    let (address, connections) = serve(Server::Answers).await;
    let report = load(address, 300.0, 500, 64).start().finish().await;
    assert_eq!((report.sent, report.not_sent, report.in_flight), (150, 0, 0), "{report}");
    assert_eq!((report.ok, report.client_errors, report.server_errors), (50, 50, 50));
    assert_eq!(report.failed, Failed::default());
    let version = report.versions["v2"];
    assert_eq!((version.answers, version.server_errors), (150, 50));
    let latency = report.latency_ms.unwrap();
    assert!(latency.p50 <= latency.p95 && latency.p99 <= latency.max);
    assert!(connections.load(Ordering::SeqCst) <= 64, "connections are kept alive");
}

#[tokio::test]
async fn a_server_that_closes_idle_connections_loses_nothing() {
    let (address, connections) = serve(Server::ClosesAfterOne).await;
    let report = load(address, 200.0, 200, 8).start().finish().await;
    assert_eq!((report.sent, report.failed.all()), (40 - report.not_sent, 0), "{report}");
    assert_eq!(connections.load(Ordering::SeqCst) as u64, report.sent);
}

#[tokio::test]
async fn failures_are_told_apart() {
    let check = async |address: SocketAddr, expected: Failed| {
        let report = load(address, 100.0, 50, 8).start().finish().await;
        assert_eq!((report.sent, report.failed, report.ok), (5, expected, 0), "{report}");
        assert_eq!(report.latency_ms, None);
    };
    let (broken, _) = serve(Server::Breaks).await;
    check(broken, Failed { reset: 5, ..Failed::default() }).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    check(closed, Failed { refused: 5, ..Failed::default() }).await;
}

#[tokio::test]
async fn requests_in_flight_are_bounded_and_stopping_cuts_them_off() {
    let (address, connections) = serve(Server::Hangs).await;
    let running = load(address, 1000.0, 3_600_000, 3).start();
    while running.report().not_sent < 10 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let report = running.stop();
    assert_eq!((report.sent, report.in_flight), (3, 3));
    assert!(connections.load(Ordering::SeqCst) <= 3);
    assert!(report.to_string().contains("3 in flight"), "{report}");
}

#[tokio::test]
async fn dropping_the_handle_ends_the_load() {
    let (address, connections) = serve(Server::Answers).await;
    let running = load(address, 1000.0, 3_600_000, 3).start();
    while running.report().ok == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let tally = Arc::downgrade(&running.tally);
    drop(running);
    // The task and all its requests hold the tally.
    while tally.strong_count() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(connections.load(Ordering::SeqCst) <= 3);
}

proptest! {
    #[test]
    fn the_schedule_is_the_rate(rps in 0.1..20_000.0f64, secs in 1u64..3600) {
        let load = Load::new("http://localhost/", rps, Duration::from_secs(secs), 1).unwrap();
        let requests = load.requests();
        prop_assert!((requests as f64 - (rps * secs as f64).max(1.0)).abs() <= 0.5);
        let last = load.due(requests - 1).as_secs_f64();
        prop_assert!(last <= secs as f64 && load.due(requests).as_secs_f64() >= secs as f64 - 1.0 / rps);
        let apart = load.due(requests / 2 + 1) - load.due(requests / 2);
        prop_assert!((apart.as_secs_f64() * rps - 1.0).abs() < 1e-3);
    }
}

#[test]
fn load_goes_nowhere_but_to_this_machine_and_has_limits() {
    let second = Duration::from_secs(1);
    let check = |url: &str, expected: &str| {
        let error = Load::new(url, 1.0, second, 1).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{url}: {error}");
    };
    check("http://example.com/", "example.com is not this machine");
    check("http://192.0.2.1:80/", "192.0.2.1 is not this machine");
    check("http://0.0.0.0/", "0.0.0.0 is not this machine");
    check("http://localhost.example.com/", "localhost.example.com is not");
    check("http://[2001:db8::1]/", "[2001:db8::1] is not");
    check("https://127.0.0.1/", "\"https://127.0.0.1/\" is no http URL");
    check("127.0.0.1:80", "\"127.0.0.1:80\" is no http URL");
    check("", "\"\" is no http URL");
    for url in ["http://localhost:8080/x", "http://127.9.9.9", "http://[::1]:80/"] {
        assert!(Load::new(url, 1.0, second, 1).is_ok(), "{url}");
    }
    let limits = [
        (0.0, second, 1),
        (f64::NAN, second, 1),
        (1e9, second, 1),
        (1.0, Duration::ZERO, 1),
        (1.0, DURATION_MAX * 2, 1),
        (1.0, second, 0),
        (1.0, second, CONNECTIONS_MAX + 1),
    ];
    for (rps, duration, connections) in limits {
        let load = Load::new("http://localhost/", rps, duration, connections);
        assert!(matches!(load, Err(LoadError::OutOfRange { .. })), "{rps} {duration:?}");
    }
}
