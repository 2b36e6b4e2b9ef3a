//! Persons step in, and signals: what they ask is obeyed in every phase, and safe at once.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rustix::process::Signal;
use serde_json::Value;

use crate::ends::assert_ended;
use crate::journal;
use crate::poll::{at_once, until};
use crate::processes;
use crate::site::{PROMOTION_MAX, QUICK, SOON, Site};
use crate::traffic::{self, Seen, Users};

/// The traffic is safe within a second of the signal or the ask.
const SAFE_WITHIN: Duration = Duration::from_secs(1);

/// Asserts that no request was sent later than a second after `asked` and answered by the release.
#[track_caller]
fn assert_safe(seen: &[Seen], release: &str, asked: DateTime<Utc>) {
    let late = asked + SAFE_WITHIN;
    let wrong: Vec<_> =
        seen.iter().filter(|seen| seen.sent > late && seen.is_from(release)).collect();
    assert!(wrong.is_empty(), "asked at {asked}: {wrong:?}");
}

/// Waits until users have had answers from a release.
#[track_caller]
fn await_answers_of(release: &str, users: &Users) {
    until("answers of the candidate", SOON, || {
        users.seen().iter().any(|seen| seen.is_from(release)).then_some(())
    });
}

/// Returns the newest journal's record of an effect, if it is there.
fn asked_for(site: &Site, effect: &Value) -> Option<()> {
    let records = journal::read(&journal::newest(&site.state())?);
    let asks = |record: &Value| {
        record["effects"].as_array().is_some_and(|effects| effects.contains(effect))
    };
    records.iter().any(|(_, record)| asks(record)).then_some(())
}

#[test]
fn an_abort_is_obeyed_in_every_phase() {
    let approval = QUICK.replace("share: 100%, hold: 2s", "share: 100%, hold: 2s, approval: true");
    let rows = [
        ("preparing", "never-ready", None),
        ("holding", "v2", Some(1)),
        ("holding", "v2", Some(2)),
        ("approval", "v2", Some(2)),
        ("held", "v2", Some(1)),
    ];
    at_once(&rows, 3, |&(phase, release, stage)| {
        let site = Site::with(if phase == "approval" { &approval } else { QUICK }, "v1");
        let _host = site.serve();
        let users = site.users();
        let running = site.promote(release);
        match phase {
            "held" => {
                site.await_phase("holding", stage);
                assert_eq!(site.run("hold local/shop --reason lunch").code, 0);
            }
            "approval" => until("a person to be asked", PROMOTION_MAX, || {
                let status = site.status()?;
                (status["promotion"]["waiting"]["on_person"] == true).then_some(())
            }),
            _ => site.await_phase(phase, stage),
        }
        let asked = Utc::now();
        assert_eq!(site.run("abort local/shop --reason no").code, 0);
        let told = Utc::now();
        let ran = running.ended(PROMOTION_MAX);
        // An abort that comes when stable has just taken the release is too late, and says so.
        assert_ended(&ran, 4, "aborted", "aborted by ada (no)");
        site.assert_serves_only("v1");
        let seen = users.go();
        assert!(told - asked < chrono::TimeDelta::seconds(20));
        assert_safe(&seen, release, told);
        let bad: Vec<_> = seen.iter().filter(|seen| !seen.is_good()).collect();
        assert!(bad.is_empty(), "{phase}: {bad:?}");
    });
}

#[test]
fn a_signal_to_the_client_makes_traffic_safe_within_a_second() {
    let rows = [
        (Signal::INT, "promote local/shop"),
        (Signal::TERM, "promote local/shop"),
        (Signal::INT, "promote app.yaml"),
        (Signal::TERM, "promote app.yaml"),
    ];
    at_once(&rows, 2, |&(signal, command)| {
        let site = Site::new();
        let is_embedded = command.ends_with("yaml");
        let _host = (!is_embedded).then(|| site.serve());
        let running = site.begin(&format!("{command} --release v2 --output json"));
        let users = site.users();
        await_answers_of("v2", &users);
        let sent = Utc::now();
        running.signal(signal);
        let ran = running.ended(PROMOTION_MAX);
        assert_ended(&ran, 4, "aborted", "SIG");
        if is_embedded {
            assert_eq!(site.applications(), [], "an embedded run leaves nothing behind");
        } else {
            site.assert_serves_only("v1");
        }
        assert_safe(&users.go(), "v2", sent);
    });
}

#[test]
fn a_client_that_is_told_to_detach_leaves_the_promotion_to_the_host() {
    let site = Site::new();
    let _host = site.serve();
    let users = site.users();
    let line = "promote local/shop --release v2 --on-cancel detach --output json";
    let running = site.begin(line);
    await_answers_of("v2", &users);
    running.signal(Signal::TERM);
    assert_eq!(running.ended(SOON).code, 4);
    site.assert_serves_only("v2");
}

#[test]
fn a_hold_stops_the_clock_and_resume_lets_it_go_on() {
    let site = Site::new();
    let _host = site.serve();
    let _users = site.users();
    let running = site.promote("v2");
    site.await_phase("holding", Some(1));
    assert_eq!(site.run("hold local/shop --reason lunch").code, 0);
    let held = |status: &Value| status["promotion"]["held_s"].as_f64().unwrap();
    let first = until("the hold", SOON, || {
        let status = site.status()?;
        (status["promotion"]["waiting"]["on_person"] == true).then(|| held(&status))
    });
    // Twice the stage's hold: without the person's it would have gone on.
    std::thread::sleep(Duration::from_secs(4));
    let status = site.status().unwrap();
    assert_eq!(status["promotion"]["stage"], 1, "{status}");
    assert!(held(&status) <= first + 0.1, "{first} {status}");
    assert_eq!(site.run("resume local/shop").code, 0);
    assert_ended(&running.ended(PROMOTION_MAX), 0, "promoted", "passed every stage");
    site.assert_serves_only("v2");
}

#[test]
fn a_stage_that_asks_for_a_person_waits_for_the_approval() {
    let approval = QUICK.replace("share: 50%, hold: 2s", "share: 50%, hold: 2s, approval: true");
    let site = Site::with(&approval, "v1");
    let _host = site.serve();
    let _users = site.users();
    let running = site.promote("v2");
    until("a person to be asked", PROMOTION_MAX, || {
        let status = site.status()?;
        (status["promotion"]["waiting"]["on_person"] == true).then_some(())
    });
    assert_eq!(site.run("approve local/shop --stage 2").code, 2, "stage 2 asks for nobody");
    assert_eq!(site.run("approve local/shop --stage 7").code, 2, "there is no stage 7");
    assert_eq!(site.run("approve local/shop").code, 0);
    assert_ended(&running.ended(PROMOTION_MAX), 0, "promoted", "passed every stage");
}

#[test]
fn a_rollback_goes_back_and_a_second_one_never_forth_again() {
    let site = Site::new();
    let _host = site.serve();
    let _users = site.users();
    let refused = site.run("rollback local/shop --output json");
    assert_eq!(refused.code, 7, "{refused:?}");
    for release in ["v2", "v3"] {
        assert_ended(&site.promote(release).ended(PROMOTION_MAX), 0, "promoted", "");
    }
    let back = site.run("rollback local/shop --now --output json");
    assert_ended(&back, 0, "promoted", "");
    site.assert_serves_only("v2");
    // Through the stages of the policy, this time.
    let back = site.run("rollback local/shop --output json");
    assert_ended(&back, 0, "promoted", "");
    site.assert_serves_only("v1");
    let refused = site.run("rollback local/shop --output json");
    assert_eq!(refused.code, 7, "{refused:?}");
    assert!(refused.stderr.contains("nothing to go back to"), "{refused:?}");
    site.assert_serves_only("v1");
}

#[test]
fn a_retry_promotes_what_was_condemned_last_and_history_tells_both() {
    let site = Site::new();
    let _host = site.serve();
    let _users = site.users();
    let nothing = site.run("retry local/shop --reason fixed --output json");
    assert_eq!(nothing.code, 7, "{nothing:?}");
    let bad = assert_ended(&site.promote("broken").ended(PROMOTION_MAX), 3, "rolled_back", "");
    let again = site.run("retry local/shop --reason fixed --output json");
    let again = assert_ended(&again, 3, "rolled_back", "error_rate > 5%");
    let list = site.run("history local/shop");
    for result in [&bad, &again] {
        let id = result["id"].as_str().unwrap();
        assert!(list.stdout.contains(id), "{id} is not in {list:?}");
        let story = site.run(&format!("history local/shop --id {id}"));
        assert!(story.stdout.contains("rollback.verified"), "{story:?}");
    }
}

#[test]
fn a_rollback_never_goes_to_a_condemned_revision_whatever_the_reason() {
    let site = Site::with(QUICK, "broken");
    let _host = site.serve();
    let _users = site.users();
    assert_ended(&site.promote("v2").ended(PROMOTION_MAX), 0, "promoted", "");
    assert_ended(&site.promote("broken").ended(PROMOTION_MAX), 3, "rolled_back", "");
    let refused = site.run("rollback local/shop --now --reason pager --output json");
    assert_eq!(refused.code, 7, "{refused:?}");
    site.assert_serves_only("v2");
}

#[test]
fn a_rollback_goes_to_the_revision_that_is_named() {
    let site = Site::new();
    let _host = site.serve();
    let _users = site.users();
    for release in ["v2", "v3"] {
        assert_ended(&site.promote(release).ended(PROMOTION_MAX), 0, "promoted", "");
    }
    let refused = site.run("rollback local/shop --to v9 --now --output json");
    assert_eq!(refused.code, 7, "{refused:?}");
    assert!(refused.stderr.contains("those that passed: v1, v2"), "{refused:?}");
    let back = site.run("rollback local/shop --to v1 --now --output json");
    assert_ended(&back, 0, "promoted", "");
    site.assert_serves_only("v1");
}

#[test]
fn a_rollback_while_a_promotion_runs_aborts_it() {
    let site = Site::new();
    let _host = site.serve();
    let users = site.users();
    let running = site.promote("v2");
    await_answers_of("v2", &users);
    let back = site.run("rollback local/shop --output json");
    assert_ended(&back, 4, "aborted", "aborted by ada");
    assert_ended(&running.ended(SOON), 4, "aborted", "aborted by ada");
    site.assert_serves_only("v1");
}

#[test]
fn status_tells_what_runs_and_how_the_last_one_ended() {
    let site = Site::new();
    let _host = site.serve();
    let _users = site.users();
    let running = site.promote("broken");
    let during = site.begin("status local/shop --wait --output json");
    site.await_phase("holding", Some(1));
    let status = site.status().unwrap();
    assert_eq!(status["schema"], "gate.status/v1");
    assert_eq!(status["promotion"]["release"], "broken");
    assert_eq!(status["promotion"]["seen_share"], 0.5, "{status}");
    assert_eq!(running.ended(PROMOTION_MAX).code, 3);
    let waited = during.ended(PROMOTION_MAX).code;
    assert!([0, 3].contains(&waited), "--wait ended with {waited}");
    let idle = site.await_idle();
    assert_eq!(idle["last"]["result"], "rolled_back", "{idle}");
    assert_eq!(idle["stable_revision"], "v1");
    assert!(asked_for(&site, &serde_json::json!({ "set_share": { "share": 0.5 } })).is_some());
    let again = site.run("status local/shop --wait --output json");
    assert_eq!(again.code, 3, "the exit code of the one that has ended: {again:?}");
}

#[test]
fn a_candidate_that_alone_can_serve_is_not_ended_before_stable_is_back() {
    // Stable can't be started again as long as there is a file of this name.
    let releases = r#"
  fragile:
    command: [sh, -c, 'test -e gone && exit 1; exec "$0" example-app --version fragile', "{gate}"]
  v2: { command: ["{gate}", example-app, --version, v2] }
"#;
    let policy = "
  strategy: blue-green
  stages: [{ share: 0%, hold: 60s }, { share: 100%, hold: 2s }]
  evidence: { judge: threshold, interval: 1s, window: 4s }
  rollback_drain: 1s
  auto_rollback: { conditions: [error_rate > 5%] }
";
    let site = Site::of(policy, "fragile", releases);
    let _host = site.serve();
    let running = site.promote("v2");
    site.await_phase("holding", Some(1));
    std::fs::write(site.folder().join("gone"), "").unwrap();
    let stable = site.applications().into_iter().find(|one| one.release() == "fragile").unwrap();
    processes::signal(stable.pid, Signal::KILL);
    until("the candidate to serve", SOON, || {
        traffic::get(&site.address).is_from("v2").then_some(())
    });
    assert_eq!(site.run("abort local/shop").code, 0);
    site.await_phase("rolling_back", None);
    let status = site.status().unwrap();
    let waiting = status["promotion"]["waiting"]["for_what"].as_str().unwrap().to_owned();
    assert!(waiting.contains("until then the candidate keeps serving"), "it says why: {waiting}");
    for _ in 0..20 {
        let seen = traffic::get(&site.address);
        assert!(seen.is_good() && seen.is_from("v2"), "{seen:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    std::fs::remove_file(site.folder().join("gone")).unwrap();
    let ran = running.ended(PROMOTION_MAX);
    assert_ended(&ran, 4, "aborted", "aborted by ada");
    site.assert_serves_only("fragile");
}
