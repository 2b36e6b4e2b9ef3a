//! What tests apply.

/// A Deployment and its Service (port 80) of gate's own example application: `gate.test/app:RELEASE`.
///
/// Like podinfo's below it is probed each second, scraped by Prometheus, and keeps answering for two seconds
/// after its end was asked for, until every kube-proxy and Envoy has heard of that.
pub(crate) fn app(name: &str, release: &str, replicas: u32) -> String {
    workload(name, &format!("gate.test/app:{release}"), replicas, "/ready", 8080, 8080)
}

/// A Deployment and its Service (port 80) of podinfo, which others have written: `gate.test/podinfo:RELEASE`.
pub(crate) fn podinfo(name: &str, release: &str, replicas: u32) -> String {
    workload(name, &format!("gate.test/podinfo:{release}"), replicas, "/readyz", 9898, 9797)
}

fn workload(
    name: &str,
    image: &str,
    replicas: u32,
    ready: &str,
    port: u16,
    metrics_port: u16,
) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  strategy: {{rollingUpdate: {{maxSurge: 1, maxUnavailable: 0}}}}
  template:
    metadata:
      labels: {{app: {name}}}
      annotations: {{prometheus.io/scrape: "true", prometheus.io/port: "{metrics_port}"}}
    spec:
      dnsPolicy: Default
      terminationGracePeriodSeconds: 15
      containers:
      - name: app
        image: {image}
        imagePullPolicy: Never
        ports: [{{name: http, containerPort: {port}}}]
        readinessProbe: {{httpGet: {{path: {ready}, port: http}}, periodSeconds: 1}}
        lifecycle: {{preStop: {{sleep: {{seconds: 2}}}}}}
---
{}"#,
        service(name, name)
    )
}

/// A Service on port 80 of the pods with `app: SELECTED`.
pub(crate) fn service(name: &str, selected: &str) -> String {
    format!(
        r"
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {selected}}}
  ports: [{{name: http, port: 80, targetPort: http}}]
---
"
    )
}

/// An HTTPRoute of the shared Gateway, by host name, to Services with their weights.
pub(crate) fn route(name: &str, host: &str, backends: &[(&str, u32)]) -> String {
    let backends = backends
        .iter()
        .map(|(service, weight)| format!("{{name: {service}, port: 80, weight: {weight}}}"));
    let backends: Vec<_> = backends.collect();
    format!(
        r"
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: web, namespace: gateway}}]
  hostnames: [{host}]
  rules: [{{backendRefs: [{}]}}]
---
",
        backends.join(", ")
    )
}

/// An example's images, as this cluster has them.
pub(crate) fn in_this_cluster(example: &str) -> String {
    example
        .replace("ghcr.io/stefanprodan/podinfo:6.9.1", "gate.test/podinfo:v1")
        .replace("ghcr.io/stefanprodan/podinfo:6.9.2", "gate.test/podinfo:v2")
}
