//! Ending an instance, and ending the proxy: nothing that is begun is lost within its grace.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::super::{Drained, Grace, Proxy, Routes};
use super::app::{
    Client, SOON, app, backend, before, both, counted, eventually, get, named, proxy, read_until,
    request, text, words,
};
use super::upgrades;
use crate::share::Share;

const LONG: Duration = Duration::from_secs(15);
const SHORT: Duration = Duration::from_millis(50);
const PATIENT: Grace = Grace { requests: LONG, streams: LONG };

/// Starts an application that answers when it is told to.
fn waiting() -> (std::net::SocketAddr, Arc<Notify>) {
    let go = Arc::new(Notify::new());
    let told = Arc::clone(&go);
    let addr = app(move |_| {
        let told = Arc::clone(&told);
        async move {
            told.notified().await;
            Response::new(text("done"))
        }
    });
    (addr, go)
}

async fn ask(proxy: &Proxy) -> TcpStream {
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    stream
}

#[tokio::test]
async fn what_is_in_flight_ends_before_the_drain_does() {
    let (addr, go) = waiting();
    let proxy = Arc::new(before(addr));
    let mut stream = ask(&proxy).await;
    eventually("it is under way", || proxy.in_flight("app-0") == 1).await;
    proxy.set_routes(Routes { stable: Some(backend("next", named("next"))), ..Routes::default() });
    let drain = {
        let proxy = Arc::clone(&proxy);
        tokio::spawn(async move { proxy.drain("app-0", PATIENT).await })
    };
    // New requests go to the next revision meanwhile.
    assert_eq!(get(&proxy).await.1, "next");
    assert!(!drain.is_finished());
    go.notify_one();
    assert!(read_until(&mut stream, "done").await.starts_with("HTTP/1.1 200"));
    assert_eq!(timeout(SOON, drain).await.unwrap().unwrap(), Drained::default());
    assert_eq!(proxy.connections("app-0"), 0);
    assert_eq!(counted(&proxy, "app-0"), [1, 0]);
}

#[tokio::test]
async fn an_idle_instance_is_drained_at_once() {
    let proxy = before(named("v1"));
    get(&proxy).await;
    let began = Instant::now();
    assert_eq!(proxy.drain("app-0", PATIENT).await, Drained::default());
    assert_eq!(proxy.connections("app-0"), 0);
    assert!(began.elapsed() < LONG);
    assert_eq!(proxy.drain("unknown", PATIENT).await, Drained::default());
}

#[tokio::test]
async fn what_outlasts_its_grace_is_cut_and_is_no_error_of_the_revision() {
    let (addr, _never) = waiting();
    let proxy = before(addr);
    let mut stream = ask(&proxy).await;
    eventually("it is under way", || proxy.in_flight("app-0") == 1).await;
    let drained = proxy.drain("app-0", Grace { requests: SHORT, streams: LONG }).await;
    assert_eq!(drained, Drained { cut_requests: 1, cut_streams: 0 });
    let answer = read_until(&mut stream, "shut down").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let said = "proxy-status: gate; error=proxy_internal_response; details=\"drained\"";
    assert!(answer.contains(said), "{answer}");
    assert!(drained.to_string().contains("1 requests (answered with 503"), "{drained}");
    assert_eq!((proxy.in_flight("app-0"), proxy.connections("app-0")), (0, 0));
    assert_eq!(counted(&proxy, "app-0"), [1, 0]);
}

/// However many a drain cuts, while others serve: each is told that it was cut, and none that the
/// application broke off or could not be reached.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_a_drain_cuts_are_told_so() {
    const REQUESTS: usize = 200;
    let (addr, _never) = waiting();
    let proxy = Arc::new(before(addr));
    let asking = (0..REQUESTS).map(|_| {
        let proxy = Arc::clone(&proxy);
        tokio::spawn(async move {
            let mut client = Client::connect(proxy.addr()).await;
            let response = client.send(request("/").body(text("")).unwrap()).await;
            (response.status().as_u16(), words(response).await)
        })
    });
    let asking = asking.collect::<Vec<_>>();
    eventually("all are under way", || proxy.in_flight("app-0") == REQUESTS).await;
    proxy.set_routes(Routes { stable: Some(backend("next", named("next"))), ..Routes::default() });
    let drained = proxy.drain("app-0", Grace { requests: SHORT, streams: LONG }).await;
    // What was handed to a connection that did not take it in time goes to who serves now.
    let mut cut = 0;
    for asked in asking {
        match asked.await.unwrap() {
            (503, said) if said.contains("shut down") => cut += 1,
            (200, who) if who == "next" => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(drained.cut_requests, REQUESTS);
    assert!(cut > 0);
    assert_eq!(counted(&proxy, "app-0")[1], 0, "an error of the revision");
}

#[tokio::test]
async fn a_body_that_is_cut_is_no_error_of_the_revision() {
    let (mut sender, body) = Channel::new(1);
    let body = std::sync::Mutex::new(Some(body.boxed()));
    let proxy = before(app(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async move { Response::new(body) }
    }));
    let mut stream = ask(&proxy).await;
    sender.send_data("begun".into()).await.unwrap();
    read_until(&mut stream, "begun").await;
    let drained = proxy.drain("app-0", Grace { requests: SHORT, streams: LONG }).await;
    assert_eq!(drained, Drained { cut_requests: 1, cut_streams: 0 });
    upgrades::closes(stream).await;
    assert_eq!(counted(&proxy, "app-0"), [1, 0]);
}

#[tokio::test]
async fn streams_have_a_grace_of_their_own() {
    let proxy = before(upgrades::echo());
    let stream = upgrades::open(&proxy).await;
    let began = Instant::now();
    let drained = proxy.drain("app-0", Grace { requests: LONG, streams: SHORT }).await;
    assert_eq!(drained, Drained { cut_requests: 0, cut_streams: 1 });
    assert!(began.elapsed() < LONG);
    upgrades::closes(stream).await;
    assert_eq!((proxy.in_flight("app-0"), proxy.connections("app-0")), (0, 0));
}

#[tokio::test]
async fn an_event_stream_is_a_stream() {
    let (mut sender, body) = Channel::new(1);
    let body = std::sync::Mutex::new(Some(body.boxed()));
    let proxy = before(app(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        let response = Response::builder().header("content-type", "text/event-stream");
        async move { response.body(body).unwrap() }
    }));
    let mut stream = ask(&proxy).await;
    sender.send_data("data: 1\n\n".into()).await.unwrap();
    read_until(&mut stream, "data: 1").await;
    let drained = proxy.drain("app-0", Grace { requests: LONG, streams: SHORT }).await;
    assert_eq!(drained, Drained { cut_requests: 0, cut_streams: 1 });
    upgrades::closes(stream).await;
}

#[tokio::test]
async fn a_drained_instance_can_be_routed_to_again() {
    let addr = named("v1");
    let proxy = before(addr);
    get(&proxy).await;
    proxy.drain("app-0", PATIENT).await;
    proxy.set_routes(Routes { stable: Some(backend("app", addr)), ..Routes::default() });
    for _ in 0..3 {
        assert_eq!(get(&proxy).await, (200, "v1".into()));
    }
    eventually("a connection is kept", || proxy.connections("app-0") > 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_that_changes_under_load_loses_no_request() {
    const REQUESTS: usize = 5_000;
    let proxy = Arc::new(proxy());
    proxy.set_routes(both(named("old"), named("new"), 0.0));
    let clients = (0..10).map(|_| {
        let addr = proxy.addr();
        tokio::spawn(async move {
            let mut client = Client::connect(addr).await;
            for _ in 0..REQUESTS / 10 {
                let response = client.send(request("/").body(text("")).unwrap()).await;
                assert_eq!(response.status(), 200);
                assert!(["old", "new"].contains(&words(response).await.as_str()));
            }
        })
    });
    let clients = clients.collect::<Vec<_>>();
    for percent in (0..=100).cycle().step_by(7) {
        proxy.set_share(Share::from_percent(f64::from(percent)).unwrap());
        // A revision that leaves and comes back loses nothing either.
        if percent % 3 == 0 {
            let share = proxy.share();
            proxy.set_routes(Routes { share, ..both(named("old"), named("new"), 0.0) });
        }
        if clients.iter().all(tokio::task::JoinHandle::is_finished) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for client in clients {
        client.await.unwrap();
    }
    let [old, new] = ["stable-0", "candidate-0"].map(|name| counted(&proxy, name));
    assert_eq!((old[0] + new[0], old[1] + new[1]), (REQUESTS as u64, 0));
}

#[tokio::test]
async fn the_proxy_ends_in_good_order() {
    let (addr, go) = waiting();
    let proxy = before(addr);
    let at = proxy.addr();
    let idle = TcpStream::connect(at).await.unwrap();
    let mut stream = ask(&proxy).await;
    eventually("it is under way", || proxy.in_flight("app-0") == 1).await;
    let ended = tokio::spawn(async move { proxy.shutdown(LONG).await });
    upgrades::closes(idle).await;
    assert!(!ended.is_finished());
    go.notify_one();
    let answer = read_until(&mut stream, "done").await.to_lowercase();
    assert!(answer.contains("connection: close"), "{answer}");
    upgrades::closes(stream).await;
    assert_eq!(timeout(SOON, ended).await.unwrap().unwrap(), 0);
    assert!(TcpStream::connect(at).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn the_proxy_cuts_what_does_not_end() {
    let (addr, _never) = waiting();
    let proxy = before(addr);
    let stream = ask(&proxy).await;
    eventually("it is under way", || proxy.in_flight("app-0") == 1).await;
    assert_eq!(proxy.shutdown(SHORT).await, 1);
    upgrades::closes(stream).await;
}

#[tokio::test]
async fn an_unused_connection_is_closed() {
    let limits =
        super::super::Limits { pool_idle: Duration::from_millis(50), ..Default::default() };
    let proxy = super::app::proxy_with(limits);
    proxy.set_routes(super::app::only(app(|_: Request<Incoming>| async {
        Response::new(text("v1"))
    })));
    get(&proxy).await;
    eventually("it is closed", || proxy.connections("app-0") == 0).await;
}
