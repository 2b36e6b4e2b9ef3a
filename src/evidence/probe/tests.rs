//! Real sockets and commands.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::*;

fn target(address: SocketAddr) -> Target {
    let path = std::env::var_os("PATH").unwrap();
    let env = BTreeMap::from([("PATH".into(), path), ("NAME".into(), "v2".into())]);
    Target { address, directory: std::env::temp_dir(), env }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Answers every connection with these bytes, one string after the other, and holds it open or not.
async fn serve(answers: &'static [&'static str], hold: bool) -> SocketAddr {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            for answer in answers {
                let _ = stream.write_all(answer.as_bytes()).await;
            }
            if hold {
                held.push(stream);
            }
        }
    });
    address
}

fn http(http: Http) -> Probe {
    Probe { timeout: Duration::from_secs(20), ..Probe::new(Kind::Http(http)) }
}

fn health() -> Http {
    Http::get("/health".into())
}

fn said(answer: Result<(), Failure>) -> String {
    answer.map_or_else(|failure| failure.to_string(), |()| "good".to_owned())
}

#[tokio::test]
async fn http_answers() {
    let check = async |answers, hold, http_probe: Http, expected: &str| {
        let address = serve(answers, hold).await;
        assert_eq!(said(http(http_probe).ask(&target(address)).await), expected, "{answers:?}");
    };
    const OK: &[&str] = &["HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nall up\n"];
    let body = |wanted: &str| Http { body_match: Some(wanted.into()), ..health() };
    check(OK, true, health(), "good").await;
    check(OK, false, body("all up"), "good").await;
    check(OK, true, body("all"), "good").await;
    check(OK, true, body("down"), "the body does not hold \"down\"").await;
    check(&["HTTP/1.1 200 OK\r\n\r\nup, to the end"], false, body("the end"), "good").await;
    let strict = || Http { expect_status: 200..=299, ..health() };
    const MOVED: &[&str] = &["HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n"];
    check(MOVED, true, health(), "good").await;
    check(MOVED, true, strict(), "status 302, expected 200 to 299").await;
    const BAD: &[&str] = &["HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"];
    check(BAD, true, health(), "status 503, expected 200 to 399").await;
    check(&["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"], false, health(), "good")
        .await;
    let no_path = Http::get("health".into());
    check(OK, true, no_path, "can't ask: the path must begin with a slash: \"health\"").await;
    let header = Http { headers: vec![("x y".into(), "1".into())], ..health() };
    check(OK, true, header, "can't ask: not a header name: \"x y\"").await;
}

#[tokio::test]
async fn http_that_is_none_is_broken() {
    for answers in [&["SSH-2.0-OpenSSH_9\r\n"][..], &[""], &["HTTP/1.1 200 OK\r\ncontent-"]] {
        let address = serve(answers, false).await;
        let answer = http(health()).ask(&target(address)).await;
        assert!(matches!(answer, Err(Failure::Broken { .. })), "{answers:?}: {answer:?}");
    }
}

#[tokio::test]
async fn the_time_out_covers_connecting_answering_and_the_body() {
    let (_never_accepts, silent) = listener().await;
    let half = serve(&["HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"], true).await;
    let body = Http { body_match: Some("whole".into()), ..health() };
    for (address, http) in [(silent, health()), (half, body)] {
        let timeout = Duration::from_millis(50);
        let probe = Probe { timeout, ..Probe::new(Kind::Http(http)) };
        let answer = probe.ask(&target(address)).await;
        assert_eq!(answer, Err(Failure::TimedOut { after: timeout }));
    }
    assert_eq!(
        Failure::TimedOut { after: Duration::from_millis(50) }.to_string(),
        "no answer within 50ms"
    );
}

#[tokio::test]
async fn a_body_without_end_is_read_to_its_bound() {
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    let probe = http(Http { body_match: Some("y".into()), ..health() });
    let answer = probe.ask(&target(address)).await;
    assert_eq!(answer, Err(Failure::Body { wanted: "y".into() }));
}

#[tokio::test]
async fn ports_that_nobody_listens_on_are_refused() {
    let (closed, address) = listener().await;
    drop(closed);
    let refused = Err(Failure::Refused { at: address });
    assert_eq!(http(health()).ask(&target(address)).await, refused);
    let tcp = |port| Probe::new(Kind::Tcp { port });
    assert_eq!(tcp(None).ask(&target(address)).await, refused);
    let (_open, other) = listener().await;
    assert_eq!(tcp(None).ask(&target(other)).await, Ok(()));
    assert_eq!(tcp(Some(address.port())).ask(&target(other)).await, refused);
}

#[tokio::test]
async fn a_probe_asks_as_it_is_told() {
    let (listener, address) = listener().await;
    let headers = vec![("Host".into(), "shop.example".into()), ("X-Probe".into(), "1".into())];
    let probe = http(Http { headers, ..Http::get("/health?deep=1".into()) });
    let at = target(address);
    let (asked, answer) = tokio::join!(
        async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            String::from_utf8(request[..length].to_vec()).unwrap().to_lowercase()
        },
        probe.ask(&at),
    );
    assert_eq!(answer, Ok(()));
    assert!(asked.starts_with("get /health?deep=1 http/1.1\r\n"), "{asked}");
    for line in ["host: shop.example", "x-probe: 1", "connection: close", "user-agent: gate-probe/"]
    {
        assert!(asked.contains(line), "{line} is not in {asked}");
    }
}

#[tokio::test]
async fn commands_answer_by_their_exit() {
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let check = async |command: &[&str], expected: &str| {
        let command = command.iter().map(ToString::to_string).collect();
        let timeout = Duration::from_secs(20);
        let probe = Probe { timeout, ..Probe::new(Kind::Exec { command }) };
        assert_eq!(said(probe.ask(&target(nowhere)).await), expected);
    };
    check(&["true"], "good").await;
    check(&["sh", "-c", "test $NAME = v2"], "good").await;
    check(&["sh", "-c", "env | grep -c CARGO"], "the command failed: exit status: 1: 0").await;
    check(
        &["sh", "-c", "echo out; echo why >&2; exit 4"],
        "the command failed: exit status: 4: why",
    )
    .await;
    check(&["sh", "-c", "yes | head -c 1000000; exit 0"], "good").await;
    check(&["sh", "-c", "sleep 60 & exit 0"], "good").await;
    check(&[], "can't ask: the command is empty").await;
    check(
        &["no-such-command"],
        "can't ask: no-such-command: No such file or directory (os error 2)",
    )
    .await;
}

#[tokio::test]
async fn a_command_that_hangs_is_killed_with_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let at = Target {
        directory: directory.path().to_owned(),
        ..target(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))
    };
    let command = ["sh", "-c", "sleep 60 & echo $! > child; wait"].map(String::from).to_vec();
    let timeout = Duration::from_millis(500);
    let probe = Probe { timeout, ..Probe::new(Kind::Exec { command }) };
    // A machine so busy that the shell has not got far enough: ask again.
    let child = loop {
        assert_eq!(probe.ask(&at).await, Err(Failure::TimedOut { after: timeout }));
        if let Ok(pid) = std::fs::read_to_string(directory.path().join("child")) {
            break pid.trim().to_owned();
        }
    };
    let running = || {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        stat.contains("(sleep)") && !stat.contains(") Z")
    };
    for _ in 0..1000 {
        if !running() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the child outlives its probe");
}

#[tokio::test]
async fn an_instance_is_attended_from_its_start_to_its_restart() {
    let (listener, address) = listener().await;
    let quick = |failure_threshold| Probe {
        interval: schedule::INTERVAL_MIN,
        timeout: Duration::from_secs(20),
        failure_threshold,
        ..Probe::new(Kind::Tcp { port: None })
    };
    let probes =
        Probes { startup: Some(quick(3)), readiness: Some(quick(1)), liveness: Some(quick(3)) };
    let (health, mut seen) = watch::channel(Health::new(probes));
    let at = target(address);
    let close_when_ready = async {
        seen.wait_for(Health::in_traffic).await.unwrap();
        drop(listener);
    };
    let ((), ()) = tokio::join!(attend(&at, &health), close_when_ready);
    let end = health.borrow().clone();
    assert!(!end.in_traffic() && end.counts().failed >= 1, "{end:?}");
    assert!(end.trouble().unwrap().starts_with("no longer ready: connection refused"));
}

#[test]
fn the_seeds_health_check_is_read_as_documented() {
    let seconds = Duration::from_secs;
    let check = HealthCheck {
        path: "/health".into(),
        interval: seconds(10),
        threshold: 3,
        status: None,
        body: None,
        port: Some(8081),
    };
    let probes = Probes::from_health_check(&check);
    let (startup, readiness) = (probes.startup.unwrap(), probes.readiness.unwrap());
    assert_eq!(readiness.kind, Kind::Http(Http { port: Some(8081), ..health() }));
    assert_eq!((readiness.interval, readiness.timeout), (seconds(10), seconds(1)));
    let thresholds = |probe: &Probe| {
        (probe.failure_threshold, probe.success_threshold, probe.recovery_threshold)
    };
    assert_eq!(thresholds(&readiness), (3, 1, 2));
    assert_eq!(thresholds(&startup), (u32::MAX, 2, 2));
    assert_eq!(startup.interval, Probes::STARTUP_INTERVAL);
    assert_eq!(probes.liveness, None);
}

#[test]
fn a_health_check_may_say_what_a_good_answer_is() {
    let check = HealthCheck {
        path: "/health".into(),
        interval: Duration::from_secs(2),
        threshold: 3,
        status: Some(204),
        body: Some("up".into()),
        port: None,
    };
    let Kind::Http(http) = Probes::from_health_check(&check).readiness.unwrap().kind else {
        panic!("no HTTP probe")
    };
    assert_eq!(http.expect_status, 204..=204);
    assert_eq!(http.body_match.as_deref(), Some("up"));
}
