use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::policy::{self, FreezeTime, Quantile, Strategy as Kind};

fn release(name: &str) -> Release {
    Release { name: name.into(), hash: format!("hash of {name}"), irreversible: false }
}

fn plan_of(policy: &Policy) -> Plan {
    let (stable, release) = (release("v1"), release("v2"));
    Plan::new(policy, "canary", "local/shop", stable, release, LOCAL_DEFAULTS)
}

fn policy(name: &str) -> Policy {
    policy::shipped(name).unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Every part has a value that its default has not.
fn complete() -> Plan {
    let mut plan = plan_of(&policy("canary"));
    plan.conditions.push(Condition::ResponseTime {
        quantile: Quantile::parse("99.9").unwrap(),
        limit: Duration::from_micros(1_234_567),
    });
    plan.judge.source = "https://prometheus.example/".into();
    plan.judge.preset = Some("envoy".into());
    plan.judge.queries = BTreeMap::from([("depth".into(), "max(depth)".into())]);
    plan.judge.source_interval = Some(seconds(10));
    plan.health_check = Some(HealthCheck {
        path: "/up".into(),
        interval: seconds(2),
        threshold: 3,
        status: Some(200),
        body: Some("up".into()),
        port: Some(8080),
    });
    plan.traffic = Some(TrafficPlan {
        router: "gateway-api".into(),
        services: vec!["shop".into()],
        routes: vec!["shop".into()],
        set_apart: Some(("app".into(), "shop-candidate".into())),
        testers: Some(Testers { header: "x-release".into(), value: "next".into() }),
        watchdog: Some("gate:1".into()),
    });
    let time = chrono::NaiveTime::from_hms_opt(22, 30, 0).unwrap();
    let day = chrono::NaiveDate::from_ymd_opt(2026, 12, 23).unwrap();
    let zone = chrono_tz::Europe::Berlin;
    let (daily, once) = (FreezeTime::Daily(time), FreezeTime::Once(day.and_time(time)));
    let weekly = FreezeTime::Weekly(chrono::Weekday::Fri, time);
    plan.freeze =
        [daily, once, weekly].map(|moment| Freeze { from: moment, to: moment, zone }).into();
    plan
}

// ---- defaults

/// Shares in percent, hold and deadline in seconds.
fn stages_of(plan: &Plan) -> Vec<(f64, u64, u64)> {
    let stage = |stage: &Stage| {
        let percent = f64::from(stage.share.basis_points()) / 100.0;
        (percent, stage.hold.as_secs(), stage.deadline.as_secs())
    };
    plan.stages.iter().map(stage).collect()
}

#[test]
fn each_strategy_has_stages_of_its_own() {
    let mut policy = policy("seed");
    policy.stages.clear();
    policy.strategy = Kind::Canary;
    let canary = [(5.0, 60, 600), (25.0, 60, 600), (50.0, 60, 600), (100.0, 60, 600)];
    assert_eq!(stages_of(&plan_of(&policy)), canary);
    policy.strategy = Kind::BlueGreen;
    assert_eq!(stages_of(&plan_of(&policy)), [(0.0, 60, 600), (100.0, 60, 600)]);
    assert!(plan_of(&policy).stages.iter().all(|stage| !stage.approval));
}

#[test]
fn a_stage_keeps_what_is_written_and_gets_what_is_not() {
    // hold and deadline as written, as planned, all in seconds
    let table = [
        (None, None, (60, 600)),
        (Some(30), None, (30, 600)),
        (Some(120), None, (120, 600)),
        (Some(121), None, (121, 605)), // five holds are more than ten minutes
        (Some(3600), None, (3600, 18_000)),
        (None, Some(90), (60, 90)),
        (Some(45), Some(50), (45, 50)),
    ];
    for (hold, deadline, planned) in table {
        let mut policy = policy("canary");
        let (hold, deadline) = (hold.map(seconds), deadline.map(seconds));
        let share = Share::from_percent(12.5).unwrap();
        policy.stages = vec![StagePolicy { share, hold, deadline, approval: true }];
        let plan = plan_of(&policy);
        assert_eq!(stages_of(&plan), [(12.5, planned.0, planned.1)]);
        assert!(plan.stages[0].approval);
    }
}

#[test]
fn looks_are_the_platforms_unless_the_policy_says_otherwise() {
    let mut policy = policy("canary");
    let judge = plan_of(&policy).judge;
    assert_eq!((judge.interval, judge.window), (seconds(5), seconds(15)));
    assert_eq!((judge.looks, judge.min_requests), (3, 50));
    (policy.evidence.interval, policy.evidence.window) = (Some(seconds(7)), Some(seconds(77)));
    let judge = plan_of(&policy).judge;
    assert_eq!((judge.interval, judge.window), (seconds(7), seconds(77)));
}

#[test]
fn a_metrics_server_has_a_pace_of_its_own() {
    let mut policy = policy("canary");
    assert_eq!(plan_of(&policy).judge.server(), None);
    policy.evidence.source = Some("metrics".into());
    let judge = plan_of(&policy).judge;
    assert_eq!((judge.server(), judge.preset.as_deref(), judge.interval), (None, None, seconds(5)));
    for url in ["http://prometheus:9090", "https://prometheus"] {
        policy.evidence.source = Some(url.into());
        let judge = plan_of(&policy).judge;
        assert_eq!((judge.interval, judge.window), (seconds(15), seconds(60)));
        assert_eq!((judge.server(), judge.preset.as_deref()), (Some(url), Some("plain")));
        assert_eq!(judge.source_interval, None, "it is measured, not planned");
    }
    policy.evidence.preset = Some("envoy".into());
    policy.evidence.queries.insert("depth".into(), "max(depth)".into());
    (policy.evidence.interval, policy.evidence.window) = (Some(seconds(1)), Some(seconds(4)));
    let judge = plan_of(&policy).judge;
    assert_eq!(judge.preset.as_deref(), Some("envoy"));
    assert_eq!(judge.queries["depth"], "max(depth)");
    assert_eq!((judge.interval, judge.window), (seconds(1), seconds(4)));
}

#[test]
fn no_sample_is_looked_at_twice_by_a_threshold() {
    // judge; interval and window as written; between two samples; interval and window as judged
    let table = [
        (JudgeKind::Threshold, (5, 15), 15, (15, 30)),
        (JudgeKind::Threshold, (15, 60), 15, (15, 60)),
        (JudgeKind::Threshold, (15, 60), 5, (15, 60)),
        (JudgeKind::Threshold, (15, 60), 60, (60, 120)),
        (JudgeKind::Evidence, (5, 15), 60, (5, 15)),
    ];
    for (kind, (interval, window), every, judged) in table {
        let mut policy = policy("canary");
        policy.evidence.judge = kind;
        policy.evidence.interval = Some(seconds(interval));
        policy.evidence.window = Some(seconds(window));
        let mut judge = plan_of(&policy).judge;
        judge.pace(seconds(every));
        let seen = (judge.interval.as_secs(), judge.window.as_secs());
        assert_eq!((seen, judge.source_interval), (judged, Some(seconds(every))), "{kind:?}");
    }
}

#[test]
fn a_plan_of_before_there_were_metrics_servers_is_read() {
    let plan = plan_of(&policy("canary"));
    let stored = serde_json::to_value(&plan).unwrap();
    let judge = stored["judge"].as_object().unwrap();
    for new in ["preset", "queries", "source_interval_s"] {
        assert!(!judge.contains_key(new), "{new} changes the hash of plans that have none");
    }
    assert_eq!(serde_json::from_value::<Plan>(stored).unwrap(), plan);
}

#[test]
fn a_plan_of_before_there_were_testers_is_read() {
    let mut plan = complete();
    let traffic = plan.traffic.as_mut().unwrap();
    traffic.testers = None;
    let stored = serde_json::to_value(&plan).unwrap();
    assert_eq!(stored["traffic"].get("testers"), None, "it changes the hash of plans without");
    assert_eq!(serde_json::from_value::<Plan>(stored).unwrap(), plan);
}

#[test]
fn who_does_not_roll_back_only_observes() {
    let mut policy = policy("canary");
    assert!(!plan_of(&policy).observe_only);
    policy.auto_rollback = false;
    assert!(plan_of(&policy).observe_only);
}

#[test]
fn a_plan_says_what_it_was_made_of() {
    let plan = plan_of(&policy("canary"));
    assert_eq!((plan.target.as_str(), plan.policy_source.as_str()), ("local/shop", "canary"));
    assert_eq!((plan.stable, plan.release), (release("v1"), release("v2")));
}

// ---- times

#[test]
fn it_takes_the_holds_at_least_and_the_deadlines_at_most() {
    let mut plan = plan_of(&policy("canary"));
    (plan.prepare_deadline, plan.adopt_deadline) = (seconds(7), seconds(11));
    assert_eq!((plan.least(), plan.most()), (seconds(4 * 60), seconds(7 + 4 * 600 + 11)));
    plan.stages[0].hold = seconds(100);
    plan.stages[1].deadline = seconds(1000);
    assert_eq!((plan.least(), plan.most()), (seconds(280), seconds(7 + 2800 + 11)));
    plan.stages.clear();
    assert_eq!((plan.least(), plan.most()), (seconds(0), seconds(18)));
}

#[test]
fn of_two_freezes_the_one_that_ends_later_counts() {
    let daily = |from, to| {
        let time = |hour| FreezeTime::Daily(chrono::NaiveTime::from_hms_opt(hour, 0, 0).unwrap());
        Freeze { from: time(from), to: time(to), zone: chrono_tz::UTC }
    };
    let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    let mut plan = plan_of(&policy("canary"));
    assert_eq!(plan.frozen_until(at("2026-11-24T04:00:00Z")), None);
    plan.freeze = vec![daily(2, 6), daily(3, 8), daily(22, 23)];
    for (now, until) in [
        ("2026-11-24T01:59:59Z", None),
        ("2026-11-24T02:30:00Z", Some("2026-11-24T06:00:00Z")),
        ("2026-11-24T04:00:00Z", Some("2026-11-24T08:00:00Z")),
        ("2026-11-24T08:00:00Z", None),
    ] {
        assert_eq!(plan.frozen_until(at(now)), until.map(at), "{now}");
    }
}

// ---- the hash

#[test]
fn a_plan_comes_back_from_storage_with_its_hash() {
    let plan = complete();
    let stored = serde_json::to_string(&plan).unwrap();
    let back: Plan = serde_json::from_str(&stored).unwrap();
    assert_eq!((&back, back.hash()), (&plan, plan.hash()));
    let hash = plan.hash();
    let hex = hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    assert!(hash.len() == 64 && hex, "{hash}");
}

/// Returns every way to change one value somewhere in a tree: the changed trees, with their place.
fn changes(value: &Value) -> Vec<(String, Value)> {
    let inside = |key: String, part: &Value, put: &dyn Fn(Value) -> Value| -> Vec<_> {
        let below = changes(part).into_iter();
        below.map(|(place, changed)| (format!("{key}.{place}"), put(changed))).collect()
    };
    let own = |changed: Value| vec![(String::new(), changed)];
    match value {
        Value::Null => own(8080.into()),
        Value::Bool(bool) => own((!bool).into()),
        Value::Number(number) if number.is_f64() => {
            own((number.as_f64().unwrap() / 2.0 + 0.2).into())
        }
        Value::Number(number) => own((number.as_u64().unwrap() + 1).into()),
        Value::String(text) => own(other(text).into()),
        Value::Array(parts) => {
            let put = |n: usize, new| {
                let mut parts = parts.clone();
                parts[n] = new;
                Value::Array(parts)
            };
            let parts = parts.iter().enumerate();
            parts.flat_map(|(n, part)| inside(n.to_string(), part, &|new| put(n, new))).collect()
        }
        Value::Object(parts) => {
            let put = |key: &str, new| {
                let mut parts = parts.clone();
                parts.insert(key.to_owned(), new);
                Value::Object(parts)
            };
            let parts = parts.iter();
            parts.flat_map(|(key, part)| inside(key.clone(), part, &|new| put(key, new))).collect()
        }
    }
}

/// Returns another text that is fine in the same place.
fn other(text: &str) -> String {
    let twins = [
        ("canary", "blue-green"),
        ("evidence", "threshold"),
        ("rollback", "hold"),
        ("Europe/Berlin", "Europe/Paris"),
        ("Fri", "Sat"),
        ("error_rate > 1.3x baseline", "error_rate > 1.4x baseline"),
        ("response_time_p95 > 1.1x baseline", "response_time_p99 > 1.1x baseline"),
        ("traffic_share < 0.5x asked", "traffic_share < 0.6x asked"),
        ("22:30:00", "22:31:00"),
        ("2026-12-23T22:30:00", "2026-12-23T22:30:01"),
    ];
    match twins.iter().find(|(known, _)| *known == text) {
        Some((_, twin)) => (*twin).to_owned(),
        None if text.contains(" > ") => text.replacen(" > ", " > 1", 1),
        None => format!("{text}!"),
    }
}

#[test]
fn whatever_changes_in_a_plan_changes_its_hash() {
    let plan = complete();
    let whole = serde_json::to_value(&plan).unwrap();
    let mut hashes = std::collections::BTreeMap::from([(plan.hash(), "nothing".to_owned())]);
    let mut seen = 0;
    for (place, changed) in changes(&whole) {
        let Ok(changed) = serde_json::from_value::<Plan>(changed) else { panic!("{place}") };
        assert_ne!(changed, plan, "{place}");
        let before = hashes.insert(changed.hash(), place.clone());
        assert_eq!(before, None, "{place} has the hash of another change");
        seen += 1;
    }
    assert!(seen > 40, "only {seen} places: what is not written is not in the hash");
}

proptest! {
    #[test]
    fn stages_are_in_order_and_never_end_before_their_hold(
        written in prop::collection::vec(
            (0_u16..=10_000, prop::option::of(1_u64..700_000), any::<bool>()), 1..20,
        ),
    ) {
        let mut policy = policy("canary");
        let stage = |&(points, hold, approval): &(u16, Option<u64>, bool)| StagePolicy {
            share: Share::from_basis_points(points).unwrap(),
            hold: hold.map(seconds),
            deadline: None,
            approval,
        };
        policy.stages = written.iter().map(stage).collect();
        let plan = plan_of(&policy);
        prop_assert_eq!(plan.stages.len(), written.len());
        for (planned, written) in plan.stages.iter().zip(&policy.stages) {
            prop_assert_eq!((planned.share, planned.approval), (written.share, written.approval));
            prop_assert!(planned.hold < planned.deadline);
            prop_assert!(planned.deadline >= DEADLINE_MIN);
        }
        prop_assert!(plan.least() < plan.most());
    }

    #[test]
    fn another_stage_is_another_plan(points in 0_u16..=10_000, hold in 0_u64..100_000) {
        let plan = plan_of(&policy("canary"));
        let mut other = plan.clone();
        other.stages[1].share = Share::from_basis_points(points).unwrap();
        other.stages[1].hold = seconds(hold);
        prop_assert_eq!(other == plan, other.hash() == plan.hash());
    }
}
