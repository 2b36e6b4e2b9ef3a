//! Where in a pod its metrics and its health are asked for. Pure: a function of the pod's own spec
//! and annotations.

use std::fmt;

use http::uri::PathAndQuery;
use k8s_openapi::api::core::v1::{Container, ContainerPort, HTTPGetAction, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt as _;

use crate::policy::HealthCheck;

/// What Prometheus' own example configuration for Kubernetes reads; they win over the spec.
const ANNOTATED_PORT: &str = "prometheus.io/port";
const ANNOTATED_PATH: &str = "prometheus.io/path";
const ANNOTATED_SCHEME: &str = "prometheus.io/scheme";

/// The container port that is asked where nothing else is written.
const HTTP_PORT: &str = "http";
/// Where metrics are, where nothing else is written.
const METRICS_PATH: &str = "/metrics";

/// One address behind the API server's proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub pod: String,
    pub port: u16,
    /// With a leading slash; may hold a query.
    pub path: String,
    pub tls: bool,
}

/// Why a pod can't be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    #[error(
        "pod {pod} has no container port to ask: name one in the spec, or in the annotation {ANNOTATED_PORT}"
    )]
    NoPort { pod: String },
    #[error("pod {pod}: {what} {written:?} is neither the number nor the name of a port")]
    Port { pod: String, what: String, written: String },
    #[error("pod {pod}: {written:?} is no path")]
    Path { pod: String, written: String },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pod {}, port {}, path {}", self.pod, self.port, self.path)
    }
}

impl Place {
    /// Returns where the pod's metrics are.
    ///
    /// # Errors
    /// See [`NoPlace`].
    pub fn of_metrics(pod: &Pod) -> Result<Self, NoPlace> {
        let annotation = |key: &str| pod.annotations().get(key).map(String::as_str);
        let port = match annotation(ANNOTATED_PORT) {
            Some(written) => number(pod, written)
                .ok_or_else(|| not_a_port(pod, &format!("annotation {ANNOTATED_PORT}"), written))?,
            None => usual_port(pod)?,
        };
        let path = annotation(ANNOTATED_PATH).unwrap_or(METRICS_PATH);
        Self::at(pod, port, path, annotation(ANNOTATED_SCHEME) == Some("https"))
    }

    /// Returns where a policy's health check asks the pod.
    ///
    /// # Errors
    /// See [`NoPlace`].
    pub fn of_health(pod: &Pod, check: &HealthCheck) -> Result<Self, NoPlace> {
        let probed = readiness(pod);
        let (port, tls) = match (check.port, probed) {
            (Some(port), _) => (port, false),
            (None, Some((container, asked))) => {
                let (port, written) = match &asked.port {
                    IntOrString::Int(port) => (valid(*port), port.to_string()),
                    IntOrString::String(name) => {
                        (named(container.ports.iter().flatten(), name), name.clone())
                    }
                };
                let port = port.ok_or_else(|| not_a_port(pod, "readinessProbe", &written))?;
                (port, asked.scheme.as_deref() == Some("HTTPS"))
            }
            (None, None) => (usual_port(pod)?, false),
        };
        Self::at(pod, port, &check.path, tls)
    }

    fn at(pod: &Pod, port: u16, path: &str, tls: bool) -> Result<Self, NoPlace> {
        let slashed = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        if slashed.parse::<PathAndQuery>().is_err() {
            return Err(NoPlace::Path { pod: pod.name_any(), written: path.to_owned() });
        }
        Ok(Self { pod: pod.name_any(), port, path: slashed, tls })
    }

    /// Returns the path at the API server that leads there.
    #[must_use]
    pub fn behind_proxy(&self, namespace: &str) -> String {
        let Self { pod, port, path, tls } = self;
        let scheme = if *tls { "https:" } else { "" };
        format!("/api/v1/namespaces/{namespace}/pods/{scheme}{pod}:{port}/proxy{path}")
    }
}

/// The port named `http`, else the first one.
fn usual_port(pod: &Pod) -> Result<u16, NoPlace> {
    let found = named(ports(pod), HTTP_PORT)
        .or_else(|| ports(pod).find_map(|port| valid(port.container_port)));
    found.ok_or_else(|| NoPlace::NoPort { pod: pod.name_any() })
}

fn number(pod: &Pod, written: &str) -> Option<u16> {
    let written = written.trim();
    written.parse().ok().filter(|port| *port > 0).or_else(|| named(ports(pod), written))
}

fn named<'a>(ports: impl Iterator<Item = &'a ContainerPort>, name: &str) -> Option<u16> {
    let mut ports = ports.filter(|port| port.name.as_deref() == Some(name));
    ports.find_map(|port| valid(port.container_port))
}

fn valid(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port > 0)
}

fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.spec.iter().flat_map(|spec| &spec.containers)
}

/// Every port that HTTP can be spoken at, in the order of the spec.
fn ports(pod: &Pod) -> impl Iterator<Item = &ContainerPort> {
    let all = containers(pod).flat_map(|container| container.ports.iter().flatten());
    all.filter(|port| port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP"))
}

fn readiness(pod: &Pod) -> Option<(&Container, &HTTPGetAction)> {
    containers(pod).find_map(|container| {
        let asked = container.readiness_probe.as_ref()?.http_get.as_ref()?;
        Some((container, asked))
    })
}

fn not_a_port(pod: &Pod, what: &str, written: &str) -> NoPlace {
    NoPlace::Port { pod: pod.name_any(), what: what.to_owned(), written: written.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    fn pod(annotations: Value, containers: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "web-1", "annotations": annotations },
            "spec": { "containers": containers },
        }))
        .unwrap()
    }

    fn two_ports() -> Value {
        json!([
            { "name": "sidecar", "ports": [{ "containerPort": 53, "protocol": "UDP" }, { "containerPort": 9000, "name": "admin" }] },
            { "name": "web", "ports": [{ "containerPort": 8080, "name": "http" }] },
        ])
    }

    #[track_caller]
    fn check_metrics(annotations: Value, containers: Value, expected: &str) {
        let place = Place::of_metrics(&pod(annotations, containers));
        let seen = place.map_or_else(|why| why.to_string(), |place| place.behind_proxy("shop"));
        assert_eq!(seen, expected);
    }

    #[test]
    fn metrics_are_at_the_http_port_unless_annotated() {
        let none = || json!({});
        let at = |rest: &str| format!("/api/v1/namespaces/shop/pods/{rest}");
        check_metrics(none(), two_ports(), &at("web-1:8080/proxy/metrics"));
        let unnamed =
            json!([{ "name": "web", "ports": [{ "containerPort": 81 }, { "containerPort": 82 }] }]);
        check_metrics(none(), unnamed, &at("web-1:81/proxy/metrics"));
        let annotated =
            json!({ ANNOTATED_PORT: "9102", ANNOTATED_PATH: "stats?format=prometheus" });
        check_metrics(annotated, two_ports(), &at("web-1:9102/proxy/stats?format=prometheus"));
        let by_name = json!({ ANNOTATED_PORT: "admin", ANNOTATED_SCHEME: "https" });
        check_metrics(by_name, two_ports(), &at("https:web-1:9000/proxy/metrics"));
        let no_port = json!([{ "name": "web" }]);
        let annotated = json!({ ANNOTATED_PORT: "9102" });
        check_metrics(annotated, no_port.clone(), &at("web-1:9102/proxy/metrics"));
        check_metrics(
            none(),
            no_port,
            "pod web-1 has no container port to ask: name one in the spec, or in the annotation prometheus.io/port",
        );
        for bad in ["0", "70000", "nobody", ""] {
            let words = format!(
                "pod web-1: annotation prometheus.io/port {bad:?} is neither the number nor the name of a port"
            );
            check_metrics(json!({ ANNOTATED_PORT: bad }), two_ports(), &words);
        }
        let bad = json!({ ANNOTATED_PATH: "/a b" });
        check_metrics(bad, two_ports(), "pod web-1: \"/a b\" is no path");
    }

    #[track_caller]
    fn check_health(port: Option<u16>, containers: Value, expected: &str) {
        let check = HealthCheck {
            path: "/healthz".into(),
            interval: Duration::from_secs(10),
            threshold: 3,
            status: None,
            body: None,
            port,
        };
        let place = Place::of_health(&pod(json!({}), containers), &check);
        let seen = place.map_or_else(|why| why.to_string(), |place| place.behind_proxy("shop"));
        let prefix = "/api/v1/namespaces/shop/pods/";
        assert_eq!(seen.strip_prefix(prefix).unwrap_or(&seen), expected);
    }

    fn probed(probe: Value) -> Value {
        let ports = json!([
            { "containerPort": 8080, "name": "http" }, { "containerPort": 8081, "name": "health" },
        ]);
        json!([{ "name": "web", "ports": ports, "readinessProbe": probe }])
    }

    #[test]
    fn health_is_at_the_readiness_probes_port_unless_the_policy_names_one() {
        let get = |port: Value| probed(json!({ "httpGet": { "port": port, "path": "/ready" } }));
        check_health(None, get(json!(9000)), "web-1:9000/proxy/healthz");
        check_health(None, get(json!("health")), "web-1:8081/proxy/healthz");
        check_health(Some(7000), get(json!("health")), "web-1:7000/proxy/healthz");
        let tls = probed(json!({ "httpGet": { "port": 8443, "scheme": "HTTPS" } }));
        check_health(None, tls, "https:web-1:8443/proxy/healthz");
        let tcp = probed(json!({ "tcpSocket": { "port": 8081 } }));
        check_health(None, tcp, "web-1:8080/proxy/healthz");
        let words =
            "pod web-1: readinessProbe \"nobody\" is neither the number nor the name of a port";
        check_health(None, get(json!("nobody")), words);
    }
}
