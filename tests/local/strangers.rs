//! Programs that nobody here wrote behind the gate: podinfo and go-httpbin, with vegeta in front.

use std::path::Path;

use crate::ends::assert_ended;
use crate::generator::Generator;
use crate::site::{PROMOTION_MAX, QUICK, Site};
use crate::tools::tool;

/// Requests per second.
const RATE: u32 = 60;

fn podinfo(program: &Path, name: &str, flags: &str) -> String {
    let program = program.display();
    format!(
        "  {name}: {{ command: [{program}, --host, 127.0.0.1, --port, '{{port}}', \
         --level, warn, --ui-message, {name}{flags}] }}\n"
    )
}

#[test]
fn podinfo_is_promoted_when_it_is_healthy_and_taken_back_when_it_fails() {
    let Some(program) = tool("podinfo") else { return };
    let releases = [
        podinfo(&program, "blue", ""),
        podinfo(&program, "green", ""),
        // A third of the answers, a third of them 5xx; its health check fails as often.
        podinfo(&program, "failing", ", --random-error"),
        podinfo(&program, "unready", ", --unready"),
    ];
    let health = "health_check: { path: /readyz, interval: 1s, threshold: 3 }";
    let site = Site::probed(health, QUICK, "blue", &format!("\n{}", releases.concat()));
    let _host = site.serve();
    let Some(generator) = Generator::start(&site, "/api/info", RATE) else { return };
    assert_ended(&site.promote("green").ended(PROMOTION_MAX), 0, "promoted", "");
    let failing = site.promote("failing").ended(PROMOTION_MAX);
    let result = assert_ended(&failing, 3, "rolled_back", "");
    // Its readiness is random too: at worst the deadline finds it with a probe that just failed.
    let said = result["reason"].as_str().unwrap();
    let causes = ["error_rate > 5%", "health_check_failures > 3", "ready"];
    assert!(causes.iter().any(|cause| said.contains(cause)), "{result}");
    assert_ended(&site.promote("unready").ended(PROMOTION_MAX), 3, "rolled_back", "503");
    let ended = site.await_idle();
    assert_eq!(ended["stable_revision"], "green", "{ended}");
    let report = generator.stop();
    let is_code =
        |error: &str| error.split(' ').next().is_some_and(|code| code.parse::<u16>().is_ok());
    let unanswered = report.lost.iter().filter(|(_, error)| !is_code(error));
    assert_eq!(unanswered.count(), 0, "{:?}", report.lost);
    println!("podinfo: {} requests, {} good", report.requests, report.good);
}

#[test]
fn podinfo_that_is_slow_is_taken_back_for_that() {
    let Some(program) = tool("podinfo") else { return };
    let delay = ", --random-delay, --random-delay-min, '1100', --random-delay-max, '1400', \
                 --random-delay-unit, ms";
    let releases = [podinfo(&program, "blue", ""), podinfo(&program, "slow", delay)];
    // Its delays hit its own health check as well: a probe of the port alone does not see them.
    let health = "readinessProbe: { tcpSocket: {}, periodSeconds: 1 }";
    let policy = QUICK.replace("rollback_drain: 1s", "rollback_drain: 5s");
    let site = Site::probed(health, &policy, "blue", &format!("\n{}", releases.concat()));
    let _host = site.serve();
    let Some(generator) = Generator::start(&site, "/api/info", RATE) else { return };
    let ran = site.promote("slow").ended(PROMOTION_MAX);
    assert_ended(&ran, 3, "rolled_back", "response_time_p95 > 1000ms");
    let report = generator.stop();
    report.assert_none_lost();
    println!("slow podinfo: {} requests, {} good", report.requests, report.good);
}

#[test]
fn go_httpbin_is_promoted_and_a_failing_podinfo_in_its_place_taken_back() {
    let (Some(httpbin), Some(program)) = (tool("go-httpbin"), tool("podinfo")) else { return };
    let httpbin = httpbin.display();
    let releases = format!(
        "
  old: {{ command: [{httpbin}, -host, 127.0.0.1, -port, '{{port}}'] }}
  new: {{ command: [{httpbin}, -host, 127.0.0.1, -port, '{{port}}', -max-duration, 5s] }}
{}",
        podinfo(&program, "failing", ", --random-error")
    );
    let health = "readinessProbe: { tcpSocket: {}, periodSeconds: 1 }";
    let site = Site::probed(health, QUICK, "old", &releases);
    let _host = site.serve();
    let Some(generator) = Generator::start(&site, "/status/200", RATE) else { return };
    assert_ended(&site.promote("new").ended(PROMOTION_MAX), 0, "promoted", "");
    let so_far = site.promote("failing").ended(PROMOTION_MAX);
    assert_ended(&so_far, 3, "rolled_back", "error_rate > 5%");
    let report = generator.stop();
    println!("go-httpbin: {} requests, {} good", report.requests, report.good);
}
