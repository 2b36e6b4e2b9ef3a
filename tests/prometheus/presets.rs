//! Every preset reads the exposition that was recorded from the real component.
//!
//! All were asked the same: `/` some 60 times, `/status/503` and `/status/404` three times each,
//! and `/delay/1` once. Traefik besides: a WebSocket, an event stream and a gRPC request.

use std::time::Duration;

use gate::analysis::Counters;
use gate::evidence::presets::PRESETS;
use gate::evidence::prometheus::Reader;
use gate::evidence::prometheus::reader::Settings;

use crate::reading::arms;
use crate::real::{RealPrometheus, Target};
use crate::server::{Says, Server};

/// A component, its exposition, and what it has served.
struct Recorded {
    preset: &'static str,
    text: &'static str,
    /// The value of the instance label.
    instance: &'static str,
    requests: f64,
    errors: f64,
    /// A bound in milliseconds and how many were slower.
    slower: &'static [(f64, f64)],
}

const RECORDED: &[Recorded] = &[
    Recorded {
        preset: "plain",
        text: include_str!("expositions/podinfo-6.9.2.txt"),
        instance: "plain:80",
        requests: 70.0,
        errors: 3.0,
        slower: &[(500.0, 1.0), (1000.0, 1.0), (2500.0, 0.0)],
    },
    Recorded {
        preset: "opentelemetry",
        text: include_str!("expositions/opentelemetry-fastapi-0.66b2.txt"),
        instance: "opentelemetry:80",
        requests: 67.0,
        errors: 3.0,
        slower: &[(750.0, 1.0), (1000.0, 1.0), (2500.0, 0.0)],
    },
    Recorded {
        preset: "fastapi",
        text: include_str!("expositions/prometheus-fastapi-instrumentator-8.1.0.txt"),
        instance: "fastapi:80",
        requests: 67.0,
        errors: 3.0,
        slower: &[(10.0, 3.0), (1000.0, 1.0), (1500.0, 0.0)],
    },
    Recorded {
        preset: "express",
        text: include_str!("expositions/express-prom-bundle-8.0.0.txt"),
        instance: "express:80",
        requests: 69.0,
        errors: 3.0,
        slower: &[(1000.0, 1.0), (2500.0, 0.0)],
    },
    Recorded {
        preset: "micrometer",
        text: include_str!("expositions/spring-boot-3.5.7.txt"),
        instance: "micrometer:80",
        requests: 67.0, // and one of Prometheus itself
        errors: 3.0,
        slower: &[(30_000.0, 0.0)],
    },
    Recorded {
        preset: "envoy",
        text: include_str!("expositions/envoy-1.40.0.txt"),
        instance: "stable",
        requests: 63.0,
        errors: 3.0,
        slower: &[(0.5, 2.0), (5.0, 0.0), (1000.0, 0.0)],
    },
    Recorded {
        preset: "haproxy",
        text: include_str!("expositions/haproxy-2.6.12.txt"),
        instance: "stable",
        requests: 63.0,
        errors: 3.0,
        slower: &[],
    },
    Recorded {
        preset: "traefik",
        text: include_str!("expositions/traefik-3.7.13.txt"),
        instance: "httproute-shop-web-gw-gateway-edge-ep-web-0-676c9d7dc6fe07c95881-svc-shop-web-0@kubernetesgateway",
        requests: 61.0,
        errors: 3.0,
        slower: &[(100.0, 1.0), (300.0, 1.0), (1200.0, 0.0), (5000.0, 0.0)],
    },
];

#[test]
fn every_preset_has_a_recording() {
    for preset in PRESETS {
        assert!(RECORDED.iter().any(|recorded| recorded.preset == preset.name), "{}", preset.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_preset_reads_its_recording() {
    let mut servers = Vec::new();
    for recorded in RECORDED {
        let server = Server::start(Says::metrics(recorded.text)).await;
        servers.push((server, format!("{}:80", recorded.preset)));
    }
    let targets: Vec<Target<'_>> =
        servers.iter().map(|(server, instance)| Target { server, instance, labels: &[] }).collect();
    let Some(prometheus) = RealPrometheus::scraping(&targets).await else { return };
    for recorded in RECORDED {
        check(&prometheus, recorded).await;
    }
}

async fn check(prometheus: &RealPrometheus, recorded: &Recorded) {
    let Recorded { preset, instance, .. } = *recorded;
    let source = prometheus.source(preset);
    let arms = arms(&[(instance, "old")], &[]);
    let bounds = source.bounds(&arms, &[]).await.unwrap_or_default();
    let mut reader = Reader::new(
        source,
        Settings::new(bounds.clone(), Duration::from_secs(1), Duration::from_secs(1)),
    );
    let seen = reader.look(&arms).await;
    assert_eq!(seen.missing, None, "{preset}");
    let (_, Counters(row)) = seen.baseline.iter().next().unwrap();
    assert_eq!(row[..2], [recorded.requests, recorded.errors], "{preset}");
    assert_eq!(bounds.is_empty(), recorded.slower.is_empty(), "{preset}");
    for (bound, slower) in recorded.slower {
        let at = bounds.iter().position(|known| known == bound).expect(preset);
        assert_eq!(row[2 + at], *slower, "{preset}: slower than {bound} ms");
    }
}
