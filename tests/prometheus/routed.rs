//! What a Gateway's data plane counts for the backends of routes.

use std::collections::BTreeMap;

use gate::analysis::PerArm;
use gate::evidence::prometheus::Arms;
use gate::plan::{CLUSTER_DEFAULTS, Plan, Release, TrafficPlan};
use gate::platform::kubernetes::evidence::routed::Apart;
use gate::platform::kubernetes::snapshot::Snapshot;

use crate::reading::{reader, row};
use crate::real::{RealPrometheus, Target};
use crate::server::{Says, Server};

/// Of the Deployment `web` behind the HTTPRoute `web`, both in the namespace `shop`.
fn plan(source: String) -> Plan {
    let mut policy = gate::policy::built_in();
    policy.evidence.source = Some(source);
    policy.evidence.preset = Some("traefik".into());
    let named = |name: &str| Release { name: name.into(), hash: name.into(), irreversible: false };
    let (old, new) = (named("v1"), named("v2"));
    let mut plan = Plan::new(&policy, "", "deployment/web", old, new, CLUSTER_DEFAULTS);
    plan.traffic = Some(TrafficPlan {
        router: "gateway-api".into(),
        services: vec!["web".into()],
        routes: vec!["web".into()],
        set_apart: None,
        watchdog: None,
        testers: None,
    });
    plan
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_backends_are_told_apart_by_their_names() {
    let recorded = Says::metrics(include_str!("expositions/traefik-3.7.13.txt"));
    let server = Server::start(recorded).await;
    let targets = [Target { server: &server, instance: "edge", labels: &[] }];
    let Some(prometheus) = RealPrometheus::scraping(&targets).await else { return };
    let apart = Apart::of(&plan(prometheus.url()), "shop").unwrap();
    let mut source = prometheus.source("traefik");
    source.instance = apart.label().into();
    let candidates = BTreeMap::from([("web-candidate-1".to_owned(), Default::default())]);
    let arms = apart.arms(&Snapshot { candidates, ..Snapshot::default() });
    // Both arms from the baseline's side: a candidate's first counts are taken off.
    let Arms::Matchers(PerArm { baseline, candidate }) = arms else { panic!("{arms:?}") };
    for (matchers, counted) in [(baseline, [61.0, 3.0]), (candidate, [6.0, 0.0])] {
        let arms = Arms::Matchers(PerArm { baseline: matchers, candidate: String::new() });
        let seen = reader(source.clone(), &[]).look(&arms).await;
        assert_eq!(seen.baseline, BTreeMap::from([("edge".to_owned(), row(&counted))]));
    }
}

/// What a Traefik counts for backends of routes: rule, Service, code, requests.
fn traefik(counted: &[(u32, &str, u32, u64)]) -> Says {
    let mut text = String::new();
    for (rule, service, code, requests) in counted {
        for protocol in ["http", "websocket"] {
            text += &format!(
                "traefik_service_requests_total{{code=\"{code}\",protocol=\"{protocol}\",\
                 service=\"r-{rule}-svc-shop-{service}-0@kubernetesgateway\"}} {requests}\n"
            );
        }
    }
    Says::metrics(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_routes_the_proxies_are_the_rows() {
    let one = Server::start(traefik(&[
        (0, "web", 200, 900),
        (1, "web", 503, 5),
        (0, "web-candidate", 200, 40),
    ]));
    let (one, two) = (one.await, Server::start(traefik(&[(0, "web", 200, 500)])).await);
    let targets = [
        Target { server: &one, instance: "one", labels: &[] },
        Target { server: &two, instance: "two", labels: &[] },
    ];
    let Some(prometheus) = RealPrometheus::scraping(&targets).await else { return };
    let mut source = prometheus.source("traefik");
    source.instance = "instance".into();
    let of = |service: &str| format!("service=~\".*-svc-shop-{service}-[0-9]+@kubernetesgateway\"");
    let arms = Arms::Matchers(PerArm { baseline: of("web"), candidate: of("web-candidate") });
    let mut reader = reader(source.clone(), &[]);
    let seen = reader.look(&arms).await;
    assert_eq!(seen.missing, None);
    assert_eq!(seen.baseline["one"], row(&[905.0, 5.0]), "all rules of a Service");
    assert_eq!(seen.baseline["two"], row(&[500.0, 0.0]));
    assert_eq!(seen.candidate["one"], row(&[0.0, 0.0]), "the last release's requests");
    assert_eq!(seen.candidate["two"], row(&[0.0, 0.0]), "nobody has been sent there");

    one.say(traefik(&[(0, "web", 200, 950), (0, "web-candidate", 200, 43)]));
    two.say(traefik(&[(0, "web-candidate", 502, 7)])); // restarted, and stable gets nothing any more
    prometheus
        .until(&source, "sum(traefik_service_requests_total{protocol=\"http\"}) == 1000")
        .await;
    let seen = reader.look(&arms).await;
    assert_eq!(seen.missing, None);
    assert_eq!(seen.candidate["one"], row(&[3.0, 0.0]));
    assert_eq!(seen.candidate["two"], row(&[7.0, 7.0]), "counted from the first request on");
    assert_eq!(seen.baseline["two"], row(&[0.0, 0.0]));
}
