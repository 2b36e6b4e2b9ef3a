//! Every way in which a promotion ends: exit code, result line, and what is left.

use serde_json::Value;

use crate::poll::at_once;
use crate::site::{PROMOTION_MAX, QUICK, Ran, Site};

/// What users may rely on in a `gate.result/v1`.
const FIELDS: [&str; 16] = [
    "schema",
    "id",
    "target",
    "result",
    "exit_code",
    "reason",
    "causes",
    "stable_revision",
    "candidate_revision",
    "final_share",
    "stages_passed",
    "detected_after_s",
    "safe_after_ms",
    "drained_after_ms",
    "duration_s",
    "traffic",
];

/// Asserts exit code, result word and the words of the reason; returns the result.
#[track_caller]
pub(crate) fn assert_ended(ran: &Ran, code: i32, word: &str, reason: &str) -> Value {
    let result = ran.result();
    let keys = result.as_object().unwrap();
    let missing: Vec<_> = FIELDS.iter().filter(|field| !keys.contains_key(**field)).collect();
    assert!(missing.is_empty(), "{missing:?} are not in {result}");
    assert_eq!(result["schema"], "gate.result/v1");
    assert_eq!((ran.code, &result["exit_code"]), (code, &code.into()), "{ran:?}");
    assert_eq!(result["result"], word, "{result}");
    let said = result["reason"].as_str().unwrap();
    assert!(said.contains(reason), "no {reason:?} in {said:?}");
    result
}

#[test]
fn every_kind_of_release_ends_as_the_exit_codes_say() {
    let rows = [
        // By its crashes, or before that by the requests that they broke.
        ("crashing-later", 3, "rolled_back", ""),
        ("v2", 0, "promoted", "passed every stage"),
        ("broken", 3, "rolled_back", "error_rate > 5%"),
        ("slow", 3, "rolled_back", "response_time_p95 > 1000ms"),
        ("sickly", 3, "rolled_back", "health_check_failures > 3"),
        ("never-ready", 3, "rolled_back", ""),
        ("crashing", 3, "rolled_back", "crashed"),
        ("hanging", 3, "rolled_back", "response_time_p95"),
        ("not-there", 3, "rolled_back", "/no/such/program"),
        ("v1", 0, "unchanged", "what stable runs already"),
    ];
    at_once(&rows, 5, |&(release, code, word, reason)| {
        // Six crashes with their waits take most of a minute.
        let policy = QUICK.replace("deadline: 30s", "deadline: 90s");
        let site = Site::with(&policy, "v1");
        let _host = site.serve();
        let users = site.users();
        let ran = site.promote(release).ended(PROMOTION_MAX);
        let result = assert_ended(&ran, code, word, reason);
        let stable = if word == "promoted" { release } else { "v1" };
        assert_eq!(result["stable_revision"], stable);
        assert_eq!(result["final_share"], if word == "promoted" { 1.0 } else { 0.0 });
        assert_eq!(result["traffic"], if word == "unchanged" { "unchanged" } else { "safe" });
        site.assert_serves_only(stable);
        let seen = users.go();
        if ["v2", "sickly", "never-ready", "crashing", "not-there", "v1"].contains(&release) {
            let bad: Vec<_> = seen.iter().filter(|seen| !seen.is_good()).collect();
            assert!(bad.is_empty(), "{release}: {bad:?}");
        }
    });
}

#[test]
fn a_condemned_release_is_refused_until_somebody_says_why_it_is_good_now() {
    let site = Site::new();
    let _host = site.serve();
    let _users = site.users();
    let ran = site.promote("broken").ended(PROMOTION_MAX);
    assert_ended(&ran, 3, "rolled_back", "error_rate > 5%");
    let ran = site.promote("broken").ended(PROMOTION_MAX);
    let result = assert_ended(&ran, 7, "refused", "in quarantine since");
    let next = result["next"].as_str().unwrap();
    assert!(next.contains("--release broken --retry"), "{next}");
    let ran = site.run("promote local/shop --release broken --retry fixed --output json");
    assert_ended(&ran, 3, "rolled_back", "error_rate > 5%");
    site.assert_serves_only("v1");
}

#[test]
fn what_may_not_start_is_refused_and_changes_nothing() {
    let site = Site::new();
    let _host = site.serve();
    let running = site.promote("v2"); // nobody sends requests, so it holds
    site.await_phase("holding", Some(1));
    let ran = site.promote("v3").ended(PROMOTION_MAX);
    assert_ended(&ran, 7, "refused", "another promotion runs");
    assert_eq!(site.run("abort local/shop").code, 0);
    assert_ended(&running.ended(PROMOTION_MAX), 4, "aborted", "aborted by ada");

    let ever = "\n  freeze: [{ from: '2000-01-01 00:00', to: '2099-01-01 00:00', zone: UTC }]";
    let frozen = Site::with(&format!("{QUICK}{ever}"), "v1");
    let _host = frozen.serve();
    let ran = frozen.promote("v2").ended(PROMOTION_MAX);
    assert_ended(&ran, 7, "refused", "a freeze is on until");

    let without = Site::with(QUICK, "not-there");
    let host = without.start();
    crate::poll::until("the host", crate::site::SOON, || without.status());
    let ran = without.promote("v2").ended(PROMOTION_MAX);
    assert_ended(&ran, 7, "refused", "is not ready");
    drop(host);
}

#[test]
fn without_traffic_it_ends_inconclusive_and_nothing_is_condemned() {
    let quick = QUICK.replace("deadline: 30s", "deadline: 3s");
    let site = Site::with(&quick, "v1");
    let _host = site.serve();
    for _ in 0..2 {
        let ran = site.promote("v2").ended(PROMOTION_MAX);
        assert_ended(&ran, 5, "inconclusive", "its time passed without proof");
    }
    site.assert_serves_only("v1");
}

#[test]
fn each_instances_own_metrics_may_be_the_evidence() {
    let policy = QUICK.replace("judge: threshold,", "judge: threshold, source: metrics,");
    at_once(&[("v2", 0, "promoted"), ("broken", 3, "rolled_back")], 2, |&(release, code, word)| {
        let site = Site::with(&policy, "v1");
        let _host = site.serve();
        let _users = site.users();
        let ran = site.promote(release).ended(PROMOTION_MAX);
        assert_ended(&ran, code, word, if code == 3 { "error_rate > 5%" } else { "" });
    });
}

#[test]
fn a_metrics_server_that_cannot_count_here_is_refused_and_nothing_changes() {
    let policy =
        QUICK.replace("judge: threshold,", "judge: threshold, source: 'http://127.0.0.1:9',");
    let site = Site::with(&policy, "v1");
    let _host = site.serve();
    let ran = site.promote("v2").ended(PROMOTION_MAX);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("`port: auto` can't be scraped by a static config"), "{ran:?}");
    let ran = site.run("plan local/shop --release v2");
    assert_eq!(ran.code, 2, "{ran:?}");
    site.assert_serves_only("v1");
}

#[test]
fn such_a_metrics_server_is_in_the_way_of_a_judged_way_back_alone() {
    let site = Site::new();
    let _host = site.serve();
    let users = site.users();
    assert_ended(&site.promote("v2").ended(PROMOTION_MAX), 0, "promoted", "");
    let policy =
        QUICK.replace("judge: threshold,", "judge: threshold, source: 'http://127.0.0.1:9',");
    std::fs::write(site.folder().join("counted.yaml"), format!("deployment:{policy}")).unwrap();
    let ran = site.run("rollback local/shop --policy counted.yaml");
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("`port: auto` can't be scraped by a static config"), "{ran:?}");
    site.assert_serves_only("v2");
    let back = site.run("rollback local/shop --now --policy counted.yaml --output json");
    assert_ended(&back, 0, "promoted", "");
    site.assert_serves_only("v1");
    drop(users);
}
