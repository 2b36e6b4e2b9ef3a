//! A host that has no descriptors left: whose fault that is, and what it takes without asking.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::site::{SOON, Site};

/// A host has some 30 open before its first client.
const FEW: u32 = 80;
const REQUESTS: usize = 60;

/// Starts the host with these limits of open files, soft and hard.
fn limited(site: &Site, soft: u32, hard: u32) -> Command {
    let gate = site.gate("");
    let mut command = Command::new("sh");
    let script = format!("ulimit -Sn {soft}; ulimit -Hn {hard}; exec \"$0\" serve app.yaml");
    command
        .args(["-c", &script, env!("CARGO_BIN_EXE_gate")])
        .env_clear()
        .envs(gate.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(site.folder());
    command
}

/// Sends a request whose answer takes a while, and returns the whole answer.
fn slow(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let head = "GET /slow?ms=1000 HTTP/1.1\r\nhost: site\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).to_lowercase()
}

fn open_files_max(pid: u32) -> u64 {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap()
}

#[test]
fn a_host_takes_the_descriptors_that_it_may_have() {
    let site = Site::new();
    let host = site.start_as(limited(&site, 256, 4096));
    site.await_answer(&host);
    assert_eq!(open_files_max(host.pid()), 4096);
}

#[test]
fn without_descriptors_a_request_fails_and_no_revision_is_blamed() {
    // No probe shall find out meanwhile: it has no descriptor either.
    let site = Site::probed(
        "readinessProbe: { tcpSocket: {}, periodSeconds: 5, failureThreshold: 9 }",
        crate::site::QUICK,
        "v1",
        crate::site::RELEASES,
    );
    let host = site.start_as(limited(&site, FEW, FEW));
    site.await_answer(&host);
    let answers: Vec<String> = std::thread::scope(|scope| {
        let asking = (0..REQUESTS).map(|_| scope.spawn(|| slow(&site.address)));
        let asking: Vec<_> = asking.collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let is_good = |answer: &&String| answer.starts_with("http/1.1 200");
    let is_known = |answer: &&String| {
        answer.starts_with("http/1.1 503")
            && answer.contains("proxy-status: gate; error=connection_limit_reached")
    };
    let (good, known) =
        (answers.iter().filter(is_good).count(), answers.iter().filter(is_known).count());
    assert!(good > 0 && known > 0, "{good} good, {known} refused");
    let other: Vec<_> = answers.iter().filter(|one| !is_good(one) && !is_known(one)).collect();
    assert!(other.is_empty(), "{other:?}");
    let errors = crate::poll::until("the metrics", SOON, || metrics(&site.address));
    let blamed = errors.lines().filter(|line| line.starts_with("gate_proxy_errors_total"));
    for line in blamed {
        assert!(line.ends_with(" 0"), "{line}");
    }
}

fn metrics(users: &str) -> Option<String> {
    let admin = users.replace(":8080", ":8081");
    let mut stream =
        TcpStream::connect_timeout(&admin.parse().unwrap(), Duration::from_secs(1)).ok()?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: site\r\nconnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.contains("gate_proxy_errors_total").then_some(text)
}
