//! Looks at a real Prometheus that scrapes what changes.

use std::collections::BTreeMap;
use std::time::Duration;

use gate::analysis::{Answer, Counters, Look, PerArm, ProbeCount, Unknown};
use gate::evidence::Evidence;
use gate::evidence::prometheus::reader::Settings;
use gate::evidence::prometheus::{Arms, Credentials, Prometheus, Reader, Source};
use gate::policy::EvidencePolicy;
use gate::rollout::{TestersAre, Workload, World};
use gate::share::Share;

use crate::real::{RealPrometheus, Target};
use crate::server::{Says, Server};

const SECOND: Duration = Duration::from_secs(1);
/// As often as the scrapes, and patient: these tests are about what is read, not about how long it takes.
const PATIENT: Duration = Duration::from_secs(30);

pub(crate) fn arms(baseline: &[(&str, &str)], candidate: &[(&str, &str)]) -> Arms {
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(label, name)| ((*label).to_owned(), (*name).to_owned())).collect()
    };
    Arms::Instances(PerArm { baseline: map(baseline), candidate: map(candidate) })
}

pub(crate) fn reader(source: Source, bounds_ms: &[f64]) -> Reader {
    let settings = Settings::new(bounds_ms.to_vec(), SECOND, SECOND);
    Reader::new(source, Settings { patience: PATIENT, ..settings })
}

pub(crate) fn row(values: &[f64]) -> Counters {
    Counters(values.to_vec())
}

/// Requests, of which `failed` failed and `slow` took between 0.1 and 1 s.
fn metrics(requests: u64, failed: u64, slow: u64) -> Says {
    let (good, quick) = (requests - failed, requests - slow);
    let failures = if failed > 0 {
        format!("http_requests_total{{code=\"500\"}} {failed}\n")
    } else {
        String::new()
    };
    Says::metrics(format!(
        "http_requests_total{{code=\"200\"}} {good}\n{failures}\
         http_request_duration_seconds_bucket{{le=\"0.1\"}} {quick}\n\
         http_request_duration_seconds_bucket{{le=\"1\"}} {requests}\n\
         http_request_duration_seconds_bucket{{le=\"+Inf\"}} {requests}\n\
         http_request_duration_seconds_count {requests}\nqueue_depth 7\nhot NaN\n"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_counts_once_and_restarts_are_seen() {
    let (old, new) =
        (Server::start(metrics(100, 0, 3)).await, Server::start(Says::metrics("other 1\n")).await);
    let targets = [
        Target { server: &old, instance: "10.0.0.1:80", labels: &[] },
        Target { server: &new, instance: "10.0.0.2:80", labels: &[] },
    ];
    let Some(prometheus) = RealPrometheus::scraping(&targets).await else { return };
    let arms = arms(&[("10.0.0.1:80", "old")], &[("10.0.0.2:80", "new")]);
    let source = prometheus.source("plain");
    assert_eq!(source.bounds(&arms, &[]).await.unwrap(), [100.0, 1000.0]);
    let mut reader = reader(source.clone(), &[100.0, 1000.0]);

    let seen = reader.look(&arms).await;
    assert_eq!(seen.missing, None);
    assert_eq!(
        seen.baseline["old"],
        row(&[100.0, 0.0, 3.0, 0.0]),
        "nothing has failed yet: 0 errors"
    );
    assert_eq!(seen.candidate["new"], row(&[0.0; 4]), "scraped, and nothing served: 0 requests");

    // Scrapes are a second apart, so sooner or later a look sees no new sample: that is no trouble.
    let mut looks = 0;
    loop {
        let seen = reader.look(&arms).await;
        assert_eq!(seen.missing, None);
        if seen.baseline.is_empty() && seen.candidate.is_empty() {
            break;
        }
        looks += 1;
        assert!(looks < 50, "every look found a new sample");
    }

    old.say(metrics(160, 5, 4));
    new.say(metrics(12, 1, 0));
    prometheus.until(&source, "sum(http_requests_total) == 172").await;
    let seen = reader.look(&arms).await;
    assert_eq!(seen.baseline["old"], row(&[160.0, 5.0, 4.0, 0.0]));
    assert_eq!(seen.candidate["new"], row(&[12.0, 1.0, 0.0, 0.0]));

    // A process that begins anew has its first counters, or none at all.
    old.say(metrics(2, 0, 0));
    new.say(Says::metrics("other 1\n"));
    prometheus.until(&source, "sum(http_requests_total) == 2").await;
    let seen = reader.look(&arms).await;
    assert_eq!(seen.baseline["old"], row(&[2.0, 0.0, 0.0, 0.0]));
    assert_eq!(seen.candidate["new"], row(&[0.0; 4]));
}

#[tokio::test(flavor = "multi_thread")]
async fn senseless_metrics_are_named() {
    let nan = Says::metrics("http_requests_total{code=\"200\"} NaN\n");
    let endless = Says::metrics("http_requests_total{code=\"200\"} +Inf\n");
    let negative = Says::metrics("http_requests_total{code=\"200\"} -4\n");
    let untold =
        Says::metrics("http_requests_total{code=\"200\"} 5\nhttp_requests_total{path=\"/\"} 4\n");
    let bare = Says::metrics("http_requests_total{code=\"200\"} 5\n");
    let other = Says::metrics(
        "http_requests_total{code=\"200\"} 5\nhttp_request_duration_seconds_bucket{le=\"0.5\"} 1\nhttp_request_duration_seconds_bucket{le=\"+Inf\"} 5\n",
    );
    let silent = Says::Text { status: 500, kind: "text/plain", body: String::new() };
    let cases = [
        ("nan", nan, "http_requests_total of a is not a number"),
        ("endless", endless, "http_requests_total of a is not a number"),
        ("negative", negative, "http_requests_total of a is not a number"),
        (
            "untold",
            untold,
            "the source can't be read: http_requests_total of a has no label code or status or status_code that tells failed requests",
        ),
        ("bare", bare, "no data from the a: no series of http_request_duration_seconds_bucket"),
        (
            "other",
            other,
            "the source can't be read: http_request_duration_seconds_bucket of a has no bucket at 100 ms any more",
        ),
        (
            "silent",
            silent,
            "no data from the candidate: no series of http_requests_total{instance=~\"silent\"}",
        ),
    ];
    let good = Server::start(metrics(10, 0, 0)).await;
    let mut servers = Vec::new();
    for (instance, says, _) in &cases {
        servers.push((*instance, Server::start(says.clone()).await));
    }
    let mut targets = vec![Target { server: &good, instance: "good", labels: &[] }];
    targets.extend(servers.iter().map(|(instance, server)| Target {
        server,
        instance,
        labels: &[],
    }));
    let Some(prometheus) = RealPrometheus::scraping_but(1, &targets).await else { return };
    for (instance, _, expected) in &cases {
        let arms = arms(&[("good", "b")], &[(instance, "a")]);
        let seen = reader(prometheus.source("plain"), &[100.0, 1000.0]).look(&arms).await;
        assert_eq!(
            seen.missing.map(|why| why.to_string()).as_deref(),
            Some(*expected),
            "{instance}"
        );
        assert_eq!((seen.baseline.len(), seen.candidate.len()), (1, 0), "{instance}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxys_old_counts_are_not_the_candidates() {
    let haproxy = |stable: u64, canary: u64, failed: u64| {
        Says::metrics(format!(
            "haproxy_server_http_responses_total{{proxy=\"shop\",server=\"stable\",code=\"2xx\"}} {stable}\n\
             haproxy_server_http_responses_total{{proxy=\"shop\",server=\"canary\",code=\"2xx\"}} {canary}\n\
             haproxy_server_http_responses_total{{proxy=\"shop\",server=\"canary\",code=\"5xx\"}} {failed}\n"
        ))
    };
    let (one, two) =
        (Server::start(haproxy(900, 80, 70)).await, Server::start(haproxy(500, 40, 0)).await);
    let targets = [
        Target { server: &one, instance: "one", labels: &[] },
        Target { server: &two, instance: "two", labels: &[] },
    ];
    let Some(prometheus) = RealPrometheus::scraping(&targets).await else { return };
    let (source, arms) =
        (prometheus.source("haproxy"), arms(&[("stable", "old")], &[("canary", "new")]));
    let mut reader = reader(source.clone(), &[]);
    let seen = reader.look(&arms).await;
    assert_eq!(seen.baseline["old@one"], row(&[900.0, 0.0]));
    assert_eq!(seen.baseline["old@two"], row(&[500.0, 0.0]));
    assert_eq!(
        seen.candidate["new@one"],
        row(&[0.0, 0.0]),
        "the last release's failures are its own"
    );
    one.say(haproxy(950, 85, 71));
    two.say(haproxy(3, 2, 1)); // restarted
    prometheus.until(&source, "sum(haproxy_server_http_responses_total) == 1112").await;
    let seen = reader.look(&arms).await;
    assert_eq!(seen.candidate["new@one"], row(&[6.0, 1.0]));
    assert_eq!(seen.candidate["new@two"], row(&[3.0, 1.0]));
    assert_eq!(seen.baseline["old@two"], row(&[3.0, 0.0]));
}

/// A platform that has probes, but no counters.
struct Bare;

impl Evidence for Bare {
    async fn look(&mut self, _world: &World) -> Look {
        Look {
            at_s: 0.0,
            stage: 0,
            share: Share::ZERO,
            baseline: BTreeMap::new(),
            candidate: BTreeMap::new(),
            expected: PerArm { baseline: 3, candidate: 0 },
            probes: PerArm {
                baseline: ProbeCount { failed: 0, sent: 3 },
                candidate: ProbeCount { failed: 1, sent: 3 },
            },
            candidate_healthy: true,
            queries: BTreeMap::new(),
            missing: None,
        }
    }
}

pub(crate) fn world() -> World {
    let workload = |revision: &str| Workload {
        revision: revision.into(),
        ready: 1,
        wanted: 1,
        sized_for: Share::FULL,
        trouble: None,
    };
    World {
        share: Some(Share::ZERO),
        testers: TestersAre::Out,
        stable: workload("v1"),
        candidate: Some(workload("v2")),
        retiring: false,
        last_assigned: None,
        connections: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policys_source_stands_in_the_platforms_look() {
    let (old, new) =
        (Server::start(metrics(100, 1, 0)).await, Server::start(metrics(20, 2, 0)).await);
    let targets = [
        Target { server: &old, instance: "a", labels: &[("pod", "shop-1"), ("revision", "v1")] },
        Target { server: &new, instance: "b", labels: &[("pod", "shop-2"), ("revision", "v2")] },
    ];
    let Some(prometheus) = RealPrometheus::scraping(&targets).await else { return };
    let query = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let policy = EvidencePolicy {
        judge: gate::policy::JudgeKind::Threshold,
        source: Some(prometheus.url() + "/"),
        preset: Some("plain".into()),
        queries: BTreeMap::from([
            query("depth", "max(queue_depth)"),
            query("scalar", "scalar(max(queue_depth)) + 1"),
            query("several", "queue_depth"),
            query("none", "no_such_metric"),
            query("hot", "max(hot)"),
            query("wrong", "max("),
            query("text", "\"text\""),
        ]),
        interval: None,
        window: None,
        looks: 3,
        min_requests: 50,
    };
    let source =
        Source::from_policy(&policy, Some("pod"), &Credentials::default()).unwrap().unwrap();
    let by_revision = |world: &World| {
        let of = |workload: &Workload| format!("revision={:?}", workload.revision);
        Arms::Matchers(PerArm {
            baseline: of(&world.stable),
            candidate: world.candidate.as_ref().map(of).unwrap_or_default(),
        })
    };
    let mut evidence = Prometheus::new(Bare, by_revision, reader(source, &[100.0]));
    let look = evidence.look(&world()).await;
    assert_eq!(look.baseline, BTreeMap::from([("shop-1".into(), row(&[100.0, 1.0, 0.0]))]));
    assert_eq!(look.candidate, BTreeMap::from([("shop-2".into(), row(&[20.0, 2.0, 0.0]))]));
    assert_eq!((look.missing, look.candidate_healthy), (None, true));
    let expected = PerArm { baseline: 1, candidate: 0 };
    assert_eq!(look.expected, expected, "who they are the platform does not know");
    assert_eq!(look.probes.candidate, ProbeCount { failed: 1, sent: 3 });
    let said = |name: &str| match &look.queries[name] {
        Answer::Value(value) => value.to_string(),
        Answer::Unknown(why) => why.to_string(),
    };
    assert_eq!(said("depth"), "7");
    assert_eq!(said("scalar"), "8");
    assert_eq!(
        look.queries["several"],
        Answer::Unknown(Unknown::SeveralSeries { of: "query several".into(), series: 2 })
    );
    assert_eq!(said("none"), "no data from the query none");
    assert_eq!(said("hot"), "query hot is not a number");
    assert!(
        said("wrong").contains("query wrong: it refuses the query: bad_data: "),
        "{}",
        said("wrong")
    );
    assert_eq!(said("text"), "the source can't be read: query text gives no vector of numbers");
}
