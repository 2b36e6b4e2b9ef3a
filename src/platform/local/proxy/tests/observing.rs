//! What operators see.

use http::Method;

use super::super::Admin;
use super::app::{Client, app, before, both, get, named, proxy, request, text, words};
use http::Response;

async fn admin(admin: &Admin, path: &str) -> (u16, String, String) {
    let mut client = Client::connect(admin.addr()).await;
    let response = client.send(request(path).body(text("")).unwrap()).await;
    let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    (response.status().as_u16(), media_type, words(response).await)
}

fn start(proxy: &super::super::Proxy) -> Admin {
    Admin::start(std::net::TcpListener::bind("127.0.0.1:0").unwrap(), proxy).unwrap()
}

#[tokio::test]
async fn the_admin_listener_has_metrics_and_health() {
    let proxy = before(named("v1"));
    get(&proxy).await;
    let listener = start(&proxy);
    assert_eq!(admin(&listener, "/healthz").await.0, 200);
    let (status, media_type, metrics) = admin(&listener, "/metrics").await;
    assert_eq!(
        (status, media_type.as_str()),
        (200, "application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let line =
        r#"gate_proxy_requests_total{revision="app",instance="app-0",arm="stable",code="200"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"));
    assert_eq!(admin(&listener, "/other").await.0, 404);
    let mut client = Client::connect(listener.addr()).await;
    let post = request("/metrics").method(Method::POST).body(text("")).unwrap();
    assert_eq!(client.send(post).await.status(), 405);
    proxy.shutdown(std::time::Duration::from_secs(5)).await;
    assert_eq!(admin(&listener, "/healthz").await.0, 503);
}

/// Metric names and labels are a promise; the figures of time are taken out.
#[tokio::test]
async fn the_names_of_the_metrics_stay() {
    let proxy = proxy();
    let failing = app(|_| async { Response::builder().status(500).body(text("")).unwrap() });
    proxy.set_routes(both(named("old"), failing, 50.0));
    for _ in 0..4 {
        get(&proxy).await;
    }
    super::app::eventually("clients are gone", || {
        proxy.metrics().unwrap().contains("gate_proxy_clients 0")
    })
    .await;
    let metrics = proxy.metrics().unwrap();
    let steady = metrics.lines().map(|line| match line.split_once("duration_seconds_sum") {
        Some((name, _)) => format!("{name}duration_seconds_sum …"),
        None if line.contains("_connections{") => {
            line.rsplit_once(' ').unwrap().0.to_owned() + " …"
        }
        None => line.to_owned(),
    });
    insta::assert_snapshot!(steady.collect::<Vec<_>>().join("\n"));
}
