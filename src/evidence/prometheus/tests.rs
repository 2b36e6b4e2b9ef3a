use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::answer::Data;
use super::before::{BOUNDS_MAX, thinned};
use super::credentials::{IdentityFiles, Login, Secret};
use super::expression::{Arm, is_label, literal, quoted};
use super::table::Table;
use super::*;
use crate::analysis::PerArm;
use crate::evidence::presets::{PRESETS, Preset};
use crate::policy::{EvidencePolicy, JudgeKind};

const URL: &str = "http://127.0.0.1:9090";

fn source(preset: &str) -> Source {
    Source::new(URL, Preset::named(preset).unwrap(), &Credentials::default()).unwrap()
}

fn instances(baseline: &[&str], candidate: &[&str]) -> Arms {
    let same = |names: &[&str]| names.iter().map(|n| ((*n).to_owned(), (*n).to_owned())).collect();
    Arms::Instances(PerArm { baseline: same(baseline), candidate: same(candidate) })
}

#[test]
fn one_query_asks_for_everything() {
    let arms = instances(&["10.0.0.1:80", "a\"b"], &[]);
    let expression = source("fastapi").expression(&arms, &Arm::BOTH).unwrap();
    insta::assert_snapshot!(expression.replace(" or label", "\nor label"), @r#"
    label_replace(sum by (instance) (http_requests_total{instance=~"10\\.0\\.0\\.1:80|a\\\"b"}), "gate", "baseline requests", "", "")
    or label_replace(sum by (instance) (http_requests_total{instance=~"10\\.0\\.0\\.1:80|a\\\"b",status=~"5.."}), "gate", "baseline errors", "", "")
    or label_replace(max by (instance) (timestamp(http_requests_total{instance=~"10\\.0\\.0\\.1:80|a\\\"b"})), "gate", "baseline sampled_at", "", "")
    or label_replace(count by (instance) (http_requests_total{instance=~"10\\.0\\.0\\.1:80|a\\\"b",status=""}), "gate", "baseline untold", "", "")
    or label_replace(sum by (instance, le) (http_request_duration_highr_seconds_bucket{instance=~"10\\.0\\.0\\.1:80|a\\\"b"}), "gate", "baseline within", "", "") or sum by (instance) (http_request_duration_highr_seconds{instance=~"10\\.0\\.0\\.1:80|a\\\"b"})
    or label_replace(max by (instance) (timestamp(up{instance=~"10\\.0\\.0\\.1:80|a\\\"b"}) and up{instance=~"10\\.0\\.0\\.1:80|a\\\"b"} == 1), "gate", "baseline scraped_at", "", "")
    "#);
    assert_eq!(source("plain").expression(&instances(&[], &[]), &Arm::BOTH), None);
    let matchers = PerArm { baseline: String::new(), candidate: "pod=~\"v2-.*\"".to_owned() };
    let expression = source("haproxy").expression(&Arms::Matchers(matchers), &Arm::BOTH).unwrap();
    insta::assert_snapshot!(expression.replace(" or label", "\nor label"), @r#"
    label_replace(sum by (server, instance) (haproxy_server_http_responses_total{pod=~"v2-.*"}), "gate", "candidate requests", "", "")
    or label_replace(sum by (server, instance) (haproxy_server_http_responses_total{pod=~"v2-.*",code=~"5.."}), "gate", "candidate errors", "", "")
    or label_replace(max by (server, instance) (timestamp(haproxy_server_http_responses_total{pod=~"v2-.*"})), "gate", "candidate sampled_at", "", "")
    or label_replace(count by (server, instance) (haproxy_server_http_responses_total{pod=~"v2-.*",code=""}), "gate", "candidate untold", "", "")
    "#);
}

#[test]
fn texts_are_quoted_and_escaped() {
    assert_eq!(quoted("a\\\"\nb"), r#""a\\\"\nb""#);
    assert_eq!(literal("10.0.0.1:80"), r"10\.0\.0\.1:80");
    assert_eq!(literal("(a|b)*[^ä]$"), r"\(a\|b\)\*\[\^ä\]\$");
    for good in ["instance", "_x9", "envoy_cluster_name"] {
        assert!(is_label(good), "{good}");
    }
    for bad in ["", "9a", "a-b", "a b", "ä", "a,b"] {
        assert!(!is_label(bad), "{bad}");
    }
}

#[test]
fn presets_have_names_of_their_own_and_sound_labels() {
    for preset in PRESETS {
        assert_eq!(Preset::named(preset.name), Some(preset));
        assert!(preset.status.iter().chain([&preset.instance]).all(|label| is_label(label)));
    }
}

#[test]
fn histograms_with_many_buckets_are_thinned() {
    let few: Vec<f64> = (1..=32).map(f64::from).collect();
    assert_eq!(thinned(&few, &[]), few);
    let many: Vec<f64> = (1..=300).map(f64::from).collect();
    for limits in [&[][..], &[150.5], &[1.0, 77.0, 299.5], &[5000.0], &[0.1]] {
        let kept = thinned(&many, limits);
        assert!(kept.len() <= BOUNDS_MAX && kept.len() > BOUNDS_MAX / 2, "{}", kept.len());
        assert!(kept.is_sorted() && kept.first() == Some(&1.0) && kept.last() == Some(&300.0));
        for limit in limits {
            let below = many.iter().rev().find(|bound| *bound <= limit);
            let above = many.iter().find(|bound| *bound >= limit);
            assert!(below.into_iter().chain(above).all(|bound| kept.contains(bound)), "{limit}");
        }
    }
}

#[test]
fn credentials_come_from_the_environment() {
    let read = |vars: &[(&str, &str)]| {
        let vars: BTreeMap<&str, &str> = vars.iter().copied().collect();
        Credentials::from_env(|name| {
            vars.get(name.strip_prefix("GATE_PROMETHEUS_")?).map(|v| (*v).to_owned())
        })
    };
    let login = |login: Login| Ok(Credentials { login, ..Credentials::default() });
    assert_eq!(read(&[]), Ok(Credentials::default()));
    assert_eq!(read(&[("TOKEN", "t")]), login(Login::Token(Secret::Text("t".into()))));
    assert_eq!(read(&[("TOKEN_FILE", "f")]), login(Login::Token(Secret::File("f".into()))));
    let basic = Login::Basic { user: "u".into(), password: Secret::File("p".into()) };
    assert_eq!(read(&[("USER", "u"), ("PASSWORD_FILE", "p"), ("TOKEN", "")]), login(basic));
    let files = |text: &str| Some(PathBuf::from(text));
    let tls = Credentials {
        login: Login::None,
        ca_file: files("ca"),
        identity: Some(IdentityFiles { cert: "c".into(), key: "k".into() }),
    };
    assert_eq!(read(&[("CA_FILE", "ca"), ("CERT_FILE", "c"), ("KEY_FILE", "k")]), Ok(tls));
    let refused = |vars: &[(&str, &str)], message: &str| {
        assert_eq!(read(vars).unwrap_err().to_string(), message.replace('~', "GATE_PROMETHEUS_"));
    };
    refused(
        &[("TOKEN", "t"), ("TOKEN_FILE", "f")],
        "~TOKEN and ~TOKEN_FILE are both set: keep one",
    );
    refused(&[("TOKEN", "t"), ("USER", "u")], "~TOKEN and ~USER are both set: keep one");
    refused(&[("TOKEN", "t"), ("PASSWORD", "p")], "~TOKEN and ~PASSWORD are both set: keep one");
    refused(&[("USER", "u")], "~USER is set without ~PASSWORD");
    refused(&[("PASSWORD", "p")], "~PASSWORD is set without ~USER");
    refused(&[("CERT_FILE", "c")], "~CERT_FILE is set without ~KEY_FILE");
    refused(&[("KEY_FILE", "k")], "~KEY_FILE is set without ~CERT_FILE");
}

#[test]
fn secrets_are_not_printed_and_fit_a_header() {
    let login =
        Login::Basic { user: "gate".into(), password: Secret::Text("correct horse".into()) };
    assert!(!format!("{login:?}").contains("horse"));
    let header = login.header().unwrap().unwrap();
    assert_eq!(header.to_str().unwrap(), "Basic Z2F0ZTpjb3JyZWN0IGhvcnNl");
    assert!(header.is_sensitive());
    let broken = Login::Token(Secret::Text("a\nb".into()));
    assert_eq!(broken.header(), Err(CredentialsError::NotAHeader));
}

#[test]
fn files_of_credentials_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f");
    let refused = |credentials: Credentials| {
        let error = Source::new("https://127.0.0.1:9", Preset::DEFAULT, &credentials).unwrap_err();
        error.to_string().replace(&file.display().to_string(), "F")
    };
    let ca = || Credentials { ca_file: Some(file.clone()), ..Credentials::default() };
    let own = IdentityFiles { cert: file.clone(), key: file.clone() };
    let own = Credentials { identity: Some(own), ..Credentials::default() };
    assert_eq!(refused(ca()), "F can't be read: No such file or directory (os error 2)");
    std::fs::write(&file, "no PEM").unwrap();
    assert!(refused(own).starts_with("F is not the PEM of a certificate with its key: "));
    std::fs::write(&file, vec![b' '; 1024 * 1024 + 1]).unwrap();
    assert_eq!(refused(ca()), "F is longer than 1048576 bytes");
}

fn policy(source: Option<&str>, preset: Option<&str>, queries: usize) -> EvidencePolicy {
    EvidencePolicy {
        judge: JudgeKind::Threshold,
        source: source.map(str::to_owned),
        preset: preset.map(str::to_owned),
        queries: (0..queries).map(|n| (format!("q{n}"), "1".to_owned())).collect(),
        interval: None,
        window: None,
        looks: 3,
        min_requests: 50,
    }
}

#[test]
fn a_policy_names_a_source_or_the_platforms_own() {
    let read = |policy: &EvidencePolicy, label: Option<&str>| {
        Source::from_policy(policy, label, &Credentials::default())
    };
    for own in [None, Some("proxy"), Some("metrics")] {
        assert!(read(&policy(own, None, 0), None).unwrap().is_none());
    }
    assert!(read(&policy(Some("metrics"), Some("plain"), 0), None).unwrap().is_none());
    let named = read(&policy(Some(URL), None, 2), None).unwrap().unwrap();
    assert_eq!((named.preset.name, named.instance.as_str()), ("plain", "instance"));
    assert_eq!(named.queries.len(), 2);
    let named = read(&policy(Some(URL), Some("envoy"), 0), None).unwrap().unwrap();
    assert_eq!(named.instance, "envoy_cluster_name");
    let named = read(&policy(Some("https://[::1]/prometheus/"), None, 0), Some("pod"));
    assert_eq!(named.unwrap().unwrap().instance, "pod");
    let refused = |source: Option<&str>, preset, queries, label, expected: &str| {
        let error = read(&policy(source, preset, queries), label).unwrap_err().to_string();
        assert_eq!(error, expected);
    };
    refused(
        None,
        None,
        1,
        None,
        "evidence.queries needs a Prometheus to ask: set `source` to its URL",
    );
    refused(
        None,
        Some("plain"),
        0,
        None,
        "evidence.preset needs a Prometheus to ask: set `source` to its URL",
    );
    refused(
        Some(URL),
        Some("istio"),
        0,
        None,
        "evidence.preset: there is no `istio`; there are plain, opentelemetry, fastapi, express, micrometer, envoy, haproxy, traefik",
    );
    refused(Some(URL), None, 17, None, "evidence.queries: 17 are more than 16");
    refused(Some(URL), None, 0, Some("a-b"), "`a-b` is not the name of a label");
    refused(
        Some("ftp://a"),
        None,
        0,
        None,
        "evidence.source: ftp://a is not an http or https URL: its scheme is ftp",
    );
    refused(
        Some("http://"),
        None,
        0,
        None,
        "evidence.source: http:// is not an http or https URL: empty host",
    );
    refused(
        Some("http://u:p@a"),
        None,
        0,
        None,
        "evidence.source: a password does not belong in a policy; set GATE_PROMETHEUS_USER and GATE_PROMETHEUS_PASSWORD_FILE",
    );
}

#[test]
fn the_limits_are_the_rules() {
    assert_eq!(STALE, Duration::from_secs(60));
    assert_eq!(SCRAPE_INTERVAL_MAX, Duration::from_secs(60));
    assert!(PATIENCE < ANSWER_TIMEOUT);
}

/// Text that is near to an answer.
fn nearly_answers() -> impl Strategy<Value = String> {
    let label =
        prop_oneof![Just("gate"), Just("instance"), Just("le"), Just("__name__"), Just("server")];
    let text = prop_oneof![
        Just("baseline requests".to_owned()),
        Just("candidate within".to_owned()),
        Just("baseline sampled_at".to_owned()),
        Just("baseline untold".to_owned()),
        Just("a".to_owned()),
        Just("+Inf".to_owned()),
        Just("NaN".to_owned()),
        Just("1e308".to_owned()),
        "[-+0-9.eInfNa ]{0,8}",
    ];
    let metric = proptest::collection::btree_map(label, text.clone(), 0..4);
    let one = (metric, any::<f64>(), text).prop_map(|(metric, at, value)| {
        serde_json::json!({"metric": metric, "value": [at, value], "values": [[at, value]]})
    });
    let kind = prop_oneof![Just("vector"), Just("matrix"), Just("scalar"), Just("string")];
    (kind, proptest::collection::vec(one, 0..6)).prop_map(|(kind, result)| {
        serde_json::json!({"status": "success", "data": {"resultType": kind, "result": result}})
            .to_string()
    })
}

proptest! {
    /// Whatever is answered: no panic, and what becomes counters is numbers.
    #[test]
    fn any_answer_is_read_or_refused(status in 100_u16..600, body in nearly_answers(), cut in any::<prop::sample::Index>()) {
        let _ = Data::parse(status, &body.as_bytes()[..cut.index(body.len())]);
        let Ok(data) = Data::parse(status, body.as_bytes()) else { return Ok(()) };
        for preset in ["plain", "haproxy"] {
            let (source, arms) = (source(preset), instances(&["a"], &["a"]));
            let Ok(table) = Table::of_vector(&source, &arms, &data) else { continue };
            for ((_, name), row) in &table.rows {
                if let Ok(counters) = row.counters(source.preset, name, &[100.0]) {
                    prop_assert!(counters.0.iter().all(|value| value.is_finite() && *value >= 0.0));
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(status in 100_u16..600, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Data::parse(status, &body);
    }
}
