//! The reader of app files.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::shape::APP;
use super::*;
use crate::evidence::probe::{Http, Kind, Probe};

const CHECKOUT: &str = include_str!("../../../../examples/local/checkout.yaml");
const COMPLETE: &str = include_str!("../../../../tests/policies/complete-app.yaml");

fn accepted(text: &str) -> App {
    match read(Path::new("apps/app.yaml"), text.as_bytes()) {
        Ok(checked) => checked.value,
        Err(report) => panic!("{report}"),
    }
}

/// Returns the report of an app file that is not accepted.
fn refused(text: &str) -> Report {
    match read(Path::new("apps/app.yaml"), text.as_bytes()) {
        Ok(checked) => panic!("accepted: {:?}", checked.value),
        Err(report) => report,
    }
}

/// A whole app file but for one piece, which begins in line 6, column 1.
fn with(piece: &str) -> String {
    format!(
        "app: shop\nlisten: 127.0.0.1:0\nadmin: 127.0.0.1:0\nstable: v1\n\
         releases: {{ v1: {{ command: [./shop] }}, v2: {{ command: [./shop] }} }}\n{piece}\n"
    )
}

#[test]
fn the_example_reads_without_a_warning() {
    let checked = read(Path::new("examples/local/checkout.yaml"), CHECKOUT.as_bytes()).unwrap();
    assert!(checked.warnings.is_empty(), "{}", checked.warnings);
    let app = checked.value;
    let names: Vec<&str> = app.releases.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["broken", "crashing", "flapping", "hanging", "never-ready", "slow", "v1", "v2"]
    );
    assert_eq!(app.releases["v1"].command, ["{gate}", "example-app", "--version", "v1"]);
    let Some(PolicySource::Inline(policy)) = &app.policy else { panic!("no inline policy") };
    let shares: Vec<u16> = policy.stages.iter().map(|s| s.share.basis_points()).collect();
    assert_eq!(shares, [1000, 5000, 10_000]);
    assert!(policy.stages.iter().all(|s| s.hold == Some(Duration::from_secs(30))));
    assert_eq!(policy.evidence.interval, Some(Duration::from_secs(5)));
    assert_eq!(app.probes.readiness.unwrap().interval, Duration::from_secs(2));
}

#[test]
fn every_key_is_read() {
    let app = accepted(COMPLETE);
    assert_eq!((app.name.as_str(), app.stable.as_str()), ("shop", "v1"));
    assert_eq!(app.policy, Some(PolicySource::File("apps/../policies/canary.yaml".into())));
    assert_eq!(app.sticky, Some(Sticky::Cookie("session".to_owned())));
    let v1 = &app.releases["v1"];
    assert_eq!(v1.command, ["./shop", "--port", "{port}", ""]);
    assert_eq!(v1.env["WORKERS"], "4");
    assert_eq!((v1.port, v1.irreversible), (PortRule::Fixed(9001), true));
    assert_eq!(v1.drain, Some(Duration::from_secs(5)));
    assert_eq!(app.cwd(v1), Path::new("apps/v1"));
    assert_eq!(app.cwd(&app.releases["v2"]), Path::new("apps"));
    assert_eq!(app.releases["v2"].port, PortRule::Auto);
}

#[test]
fn a_release_of_a_file_named_without_its_folder_runs_in_this_one() {
    let app = read(Path::new("shop.yaml"), COMPLETE.as_bytes()).unwrap().value;
    assert_eq!(app.cwd(&app.releases["v1"]), Path::new("./v1"));
    assert_eq!(app.cwd(&app.releases["v2"]), Path::new("."));
}

#[test]
fn an_app_file_is_told_from_a_policy() {
    assert!(is_app_file(CHECKOUT.as_bytes()));
    assert!(!policy::SHIPPED.iter().any(|(_, text)| is_app_file(text.as_bytes())));
    assert!(!is_app_file(b"- app") && !is_app_file(b"\xff") && !is_app_file(b""));
}

#[test]
fn probes_read_as_kubernetes_writes_them() {
    let app = accepted(COMPLETE);
    let seconds = Duration::from_secs;
    let readiness = app.probes.readiness.as_ref().unwrap();
    assert_eq!(
        *readiness,
        Probe {
            kind: Kind::Http(Http {
                port: Some(9000),
                headers: vec![("X-Probe".to_owned(), "yes".to_owned())],
                ..Http::get("/ready".to_owned())
            }),
            initial_delay: seconds(1),
            interval: seconds(2),
            timeout: seconds(3),
            failure_threshold: 4,
            success_threshold: 2,
            recovery_threshold: 2,
        }
    );
    let liveness = app.probes.liveness.as_ref().unwrap();
    assert_eq!(liveness.kind, Kind::Tcp { port: None });
    let startup = app.probes.startup.as_ref().unwrap();
    assert_eq!(startup.kind, Kind::Exec { command: vec!["./up".to_owned()] });
}

#[test]
fn a_probe_has_the_defaults_of_kubernetes() {
    let seed = "livenessProbe:\n  httpGet:\n    path: /health\n    port: 8080\n  \
                initialDelaySeconds: 30\n  periodSeconds: 10\n  failureThreshold: 3";
    let checked = read(Path::new("app.yaml"), with(seed).as_bytes()).unwrap();
    let warned: Vec<usize> = checked.warnings.findings().iter().map(|f| f.line).collect();
    assert_eq!(warned, [9], "{}", checked.warnings);
    let app = checked.value;
    let probe = app.probes.liveness.unwrap();
    assert_eq!((probe.timeout, probe.success_threshold), (Duration::from_secs(1), 1));
    assert_eq!(probe.initial_delay, Duration::from_secs(30));
    let app = accepted(&with("readinessProbe: { httpGet: {} }"));
    let probe = app.probes.readiness.unwrap();
    let root = Kind::Http(Http::get("/".to_owned()));
    assert_eq!((probe.kind, probe.interval), (root, Duration::from_secs(10)));
    assert_eq!((probe.failure_threshold, probe.initial_delay), (3, Duration::ZERO));
}

#[test]
fn a_release_is_told_apart_by_all_that_makes_its_process() {
    let hash = |piece: &str| {
        let text = format!(
            "app: a\nlisten: 127.0.0.1:0\nadmin: 127.0.0.1:0\nstable: v\nreleases: {{ v: {{ {piece} }} }}"
        );
        accepted(&text).releases["v"].hash()
    };
    let pieces = [
        "command: [./a]",
        "command: [./a, b]",
        "command: [./a, b, '']",
        "command: [./ab]",
        "command: [./a], env: { B: c }",
        "command: [./a], env: { B: '' }",
        "command: [./a, B, c]",
        "command: [./a], cwd: b",
        "command: [./a], port: 9001",
    ];
    let all: std::collections::BTreeSet<String> = pieces.iter().map(|p| hash(p)).collect();
    assert_eq!(all.len(), pieces.len());
    assert_eq!(hash("command: [./a], port: auto, irreversible: true, drain: 1s"), hash(pieces[0]));
    assert_snapshot!(hash("command: [./a], env: { B: c }, cwd: d, port: 9001"), @"f44c69e210ad523d4a5ea1bfb540dea38d255e5d19ff9cc6893abd862fa304f6");
}

#[test]
fn each_mistake_is_told_with_its_place() {
    let table = [
        ("polcy: a.yaml", "6:1", "did you mean `policy`?"),
        ("policy: [a.yaml]", "6:9", "expected a text"),
        ("health_check: { path: up }", "6:23", "did you mean `/up`?"),
        ("health_check: { path: /up, interval: 2 }", "6:38", "did you mean `2s`?"),
        ("readinessProbe: {}", "6:1", "give it one of httpGet, tcpSocket and exec"),
        ("readinessProbe: { httpGet: {}, tcpSocket: {} }", "6:1", "does one thing"),
        ("readinessProbe: { grpc: {} , exec: { command: [a] } }", "6:19", "unknown key `grpc`"),
        ("readinessProbe: { httpGet: { path: up } }", "6:36", "did you mean `/up`?"),
        ("readinessProbe: { httpGet: { scheme: HTTPS } }", "6:38", "did you mean `HTTP`?"),
        ("readinessProbe: { httpGet: { port: http } }", "6:36", "a whole number from 1 to 65535"),
        (
            "readinessProbe: { httpGet: { httpHeaders: [{ name: a b, value: c }] } }",
            "6:52",
            "can't be the name of a header",
        ),
        ("readinessProbe: { exec: { command: [] } }", "6:36", "a command needs a program"),
        ("readinessProbe: { httpGet: {}, periodSeconds: 10s }", "6:47", "a whole number"),
        ("livenessProbe: { httpGet: {}, successThreshold: 2 }", "6:1", "is 1, as in Kubernetes"),
        ("sticky: { cookie: a, header: b }", "6:1", "one cookie or one header"),
        ("sticky: {}", "6:1", "one cookie or one header"),
        ("sticky: { cookie: a=b }", "6:19", "can't be the name"),
        ("deployment: { strategy: canary }", "6:15", "no condition says when to roll back"),
    ];
    for (piece, place, part) in table {
        check(&with(piece), place, part);
    }
}

/// Asserts that a file is refused with exactly this one mistake, at this place.
fn check(text: &str, place: &str, part: &str) {
    let report = refused(text);
    let mut findings = report.findings();
    findings.retain(|finding| finding.severity == policy::Severity::Error);
    let [only] = findings.as_slice() else { panic!("{text}: {report}") };
    let said = format!("{}; {}", only.message, only.help.as_deref().unwrap_or_default());
    assert_eq!(format!("{}:{}", only.line, only.column), place, "{text}: {said}");
    assert!(said.contains(part), "{text}: {said}");
}

#[test]
fn each_mistake_in_the_head_or_a_release_is_told_with_its_place() {
    let table = [
        ("app: shop", "app: Shop", "1:6", "can't be the name of an app"),
        ("app: shop", "app: shop-", "1:6", "can't be the name of an app"),
        ("app: shop\n", "", "1:1", "the key `app` is missing"),
        ("listen: 127.0.0.1:0", "listen: localhost:8080", "2:9", "did you mean `127.0.0.1:8080`?"),
        ("listen: 127.0.0.1:0", "listen: 8080", "2:9", "did you mean `127.0.0.1:8080`?"),
        ("admin: 127.0.0.1:0", "admin: 127.0.0.1:99999", "3:8", "an IP address with a port"),
        ("stable: v1", "stable: v3", "4:9", "did you mean `v1`?"),
        ("v2: {", "-2: {", "5:40", "can't be the name of a release"),
        ("v2: { command: [./shop] }", "v2: {}", "5:44", "the key `command` is missing"),
        ("v2: { command: [./shop] }", "v2: { command: ./shop }", "5:55", "expected a list"),
        ("v2: { command: [./shop] }", "v2: { command: [] }", "5:55", "a command needs a program"),
        ("v2: { command: [./shop] }", "v2: { command: [\"a\\0\"] }", "5:55", "NUL"),
        ("v2: { c", "v2: { port: any, c", "5:52", "expected `auto` or a port"),
        ("v2: { c", "v2: { port: 70000, c", "5:52", "a number from 1 to 65535"),
        ("v2: { c", "v2: { env: { A=B: c }, c", "5:53", "can't be the name of a variable"),
        ("v2: { c", "v2: { env: { A: [b] }, c", "5:56", "expected a text, found a list"),
    ];
    for (old, new, place, part) in table {
        let text = with("");
        assert!(text.contains(old), "{old}");
        check(&text.replacen(old, new, 1), place, part);
    }
}

#[test]
fn two_revisions_need_two_ports() {
    let text = "\
app: shop
listen: 127.0.0.1:8080
admin: 127.0.0.1:8080
stable: v1
policy: canary.yaml
deployment: { strategy: canary, auto_rollback: { enabled: false } }
health_check: { path: / }
readinessProbe: { httpGet: {} }
releases:
  v1: { command: [./shop], port: 9000 }
  v2: { command: [./shop], port: 9000 }
  v3: { command: [./shop], port: 8080 }
";
    assert_snapshot!(refused(text), @r#"
    error: `admin` and `listen` can't be the same address
     --> apps/app.yaml:3:8
      |
    3 | admin: 127.0.0.1:8080
      |        ^^^^^^^^^^^^^^

    error: there is a `policy` already
     --> apps/app.yaml:6:1
      |
    6 | deployment: { strategy: canary, auto_rollback: { enabled: false } }
      | ^^^^^^^^^^
      |
      = help: keep one of `policy` and `deployment`

    error: there is a `health_check` already, which is the same
     --> apps/app.yaml:8:1
      |
    8 | readinessProbe: { httpGet: {} }
      | ^^^^^^^^^^^^^^
      |
      = help: keep one of `health_check` and `readinessProbe`

    error: the port 9000 belongs to `v1` already
      --> apps/app.yaml:11:34
       |
    11 |   v2: { command: [./shop], port: 9000 }
       |                                  ^^^^
       |
       = help: two revisions run at once; `port: auto` gives each its own

    error: the port 8080 belongs to `admin` already
      --> apps/app.yaml:12:34
       |
    12 |   v3: { command: [./shop], port: 8080 }
       |                                  ^^^^
       |
       = help: two revisions run at once; `port: auto` gives each its own

    5 errors in apps/app.yaml
    "#);
}

#[test]
fn an_open_admin_address_is_a_warning() {
    let text = with("").replace("admin: 127.0.0.1:0", "admin: 0.0.0.0:9090");
    let checked = read(Path::new("app.yaml"), text.as_bytes()).unwrap();
    assert_snapshot!(checked.warnings, @r#"
    warning: everybody who reaches this host reaches the admin address
     --> app.yaml:3:8
      |
    3 | admin: 0.0.0.0:9090
      |        ^^^^^^^^^^^^
      |
      = help: write `127.0.0.1:9090` unless something else guards it

    1 warning in app.yaml
    "#);
}

#[test]
fn there_is_a_release_to_run() {
    check(
        "app: a\nlisten: 127.0.0.1:0\nadmin: 127.0.0.1:0\nstable: v\nreleases: { v: 5 }",
        "5:16",
        "expected a table",
    );
    let many: String = (0..101).map(|n| format!("  r{n}: {{ command: [a] }}\n")).collect();
    let head = "app: a\nlisten: 127.0.0.1:0\nadmin: 127.0.0.1:0\nstable: r0\nreleases:\n";
    check(&format!("{head}{many}"), "5:1", "101 releases, at most 100");
}

#[test]
fn the_reader_reads_every_key_of_the_schema() {
    use crate::policy::tests::schema::{breaks, each_key, value};
    let whole = value(COMPLETE);
    let schema = schema();
    assert_eq!(breaks(&schema, &whole, ""), Vec::<String>::new());
    assert_eq!(breaks(&schema, &value(CHECKOUT), ""), Vec::<String>::new());
    each_key(&APP, "", &mut |at, wrong| {
        // A policy's keys have a test of their own.
        if at.starts_with("/deployment/") {
            return;
        }
        let mut broken = whole.clone();
        remove_what_excludes(&mut broken, at);
        put(&mut broken, at, wrong);
        let report = refused(&serde_json::to_string_pretty(&broken).unwrap());
        let seen = report.notes().iter().any(|note| note.message.starts_with("expected"));
        assert!(seen, "the reader does not look at {at}: {report}");
    });
}

/// Removes the keys that may not stand beside this one.
fn remove_what_excludes(file: &mut serde_json::Value, at: &str) {
    let parts: Vec<&str> = at.split('/').skip(1).collect();
    let (table, others): (&str, &[&str]) = match parts.as_slice() {
        ["health_check", ..] => ("", &["readinessProbe"]),
        ["sticky", "header"] => ("sticky", &["cookie"]),
        [probe, "httpGet" | "tcpSocket" | "exec", ..] => {
            (*probe, &["httpGet", "tcpSocket", "exec"])
        }
        _ => return,
    };
    let kept = parts.get(1).copied();
    let table = if table.is_empty() { file } else { &mut file[table] };
    for other in others.iter().filter(|other| Some(**other) != kept) {
        table.as_object_mut().unwrap().remove(*other);
    }
}

/// Sets a value; tables and lists that are not there yet are made.
fn put(file: &mut serde_json::Value, at: &str, wrong: serde_json::Value) {
    let (parent, key) = at.rsplit_once('/').unwrap();
    if file.pointer(parent).is_none() {
        put(file, parent, serde_json::json!({}));
    }
    let parent = file.pointer_mut(parent).unwrap();
    if key == "0" {
        *parent = serde_json::json!([wrong]);
    } else {
        parent[key] = wrong;
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_inside_the_file(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Err(report) = read(Path::new("policy.yaml"), &bytes) {
            crate::policy::tests::hostile::check_report(&bytes, &report)?;
        }
    }

    #[test]
    fn a_damaged_app_file_is_read_or_refused_inside_the_file(
        bytes in crate::policy::tests::hostile::mutated(vec![CHECKOUT, COMPLETE])
    ) {
        match read(Path::new("policy.yaml"), &bytes) {
            Err(report) => crate::policy::tests::hostile::check_report(&bytes, &report)?,
            Ok(app) => prop_assert!(app.value.releases.contains_key(&app.value.stable)),
        }
    }
}
