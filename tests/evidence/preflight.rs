//! `gate plan --rps` and `gate preflight`: what a traffic can prove.

use std::io::Write as _;
use std::net::TcpListener;

use serde_json::Value;

use crate::common::{Gate, Ran};

const APP: &str = include_str!("../../examples/local/checkout.yaml");

fn preflight(line: &str, app: &str) -> Ran {
    Gate::line(line).file("app.yaml", app).run()
}

#[test]
fn enough_traffic_proves_every_stage() {
    let ran = preflight("preflight app.yaml --release v2 --rps 200", APP);
    insta::assert_snapshot!(ran.all());
    let ran = preflight("plan app.yaml --release v2 --rps 200 --output json", APP);
    assert_eq!(ran.code, 0, "{}", ran.all());
    let lines: Vec<Value> = ran.stdout.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let schemas: Vec<&str> = lines.iter().map(|line| line["schema"].as_str().unwrap()).collect();
    assert_eq!(schemas, ["gate.plan/v1", "gate.preflight/v1"]);
    assert_eq!(
        (&lines[1]["provable"], lines[1]["stages"].as_array().unwrap().len()),
        (&true.into(), 3)
    );
}

#[test]
fn too_little_is_an_error_with_a_remedy() {
    let ran = preflight("preflight app.yaml --release v2 --rps 0.5", APP);
    insta::assert_snapshot!(ran.all());
    assert_eq!(ran.code, 2);
    let on_health = APP.replace("  prepare:", "  insufficient_traffic: health_only\n  prepare:");
    let ran = preflight("preflight app.yaml --release v2 --rps 0.5", &on_health);
    assert_eq!(ran.code, 0, "{}", ran.all());
    let ran = preflight("preflight app.yaml --release v2 --rps 0", APP);
    assert!(ran.code == 2 && ran.stderr.contains("without requests only"), "{}", ran.all());
}

#[test]
fn the_threshold_judge_needs_its_requests() {
    let app = APP.replace("{ interval: 5s }", "{ judge: threshold }");
    let passes = |rps: &str| {
        let line = format!("preflight app.yaml --release v2 --rps {rps} --output json");
        let ran = preflight(&line, &app);
        let line: Value = serde_json::from_str(ran.stdout.lines().next().unwrap()).unwrap();
        (ran.code, line["stages"][0]["passes_after_s"].clone())
    };
    assert_eq!(passes("100"), (0, 30.0.into()));
    assert_eq!(passes("5"), (0, 100.0.into()));
    assert_eq!(passes("0.1"), (2, Value::Null));
}

#[test]
fn usage_and_unknown_traffic() {
    let ran = preflight("preflight app.yaml --release v2 --rps many", APP);
    assert_eq!(ran.code, 2, "{}", ran.all());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let nobody = APP.replace("127.0.0.1:8081", &format!("127.0.0.1:{port}"));
    let ran = preflight("preflight app.yaml --release v2", &nobody);
    assert!(ran.code == 7 && ran.stderr.contains("give `--rps N`"), "{}", ran.all());
}

#[test]
fn a_host_that_answers_is_measured() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = listener.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        for requests in [1000, 2500] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            let _ = std::io::Read::read(&mut stream, &mut head).unwrap();
            let text = format!(
                "gate_proxy_requests_total{{code=\"200\"}} {requests}\ngate_proxy_errors_total{{kind=\"timeout\"}} 5\n# EOF\n"
            );
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{text}",
                text.len()
            )
            .unwrap();
        }
    });
    let app = APP.replace("127.0.0.1:8081", &admin.to_string());
    let ran = preflight("preflight app.yaml --release v2 --output json", &app);
    served.join().unwrap();
    let line: Value = serde_json::from_str(ran.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((ran.code, &line["measured"]), (0, &true.into()), "{}", ran.all());
    assert_eq!(line["requests_per_s"], 300.0, "{line}");
    assert_eq!(line["stable_error_share"], 0.002, "{line}");
}
