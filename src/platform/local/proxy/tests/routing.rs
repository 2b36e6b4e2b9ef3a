//! Where requests go, and where they go when the place is not there.

use http::header::{COOKIE, SET_COOKIE};

use super::super::{Assigned, Routes, Sticky};
use super::app::{
    Client, backend, before, both, counted, get, named, nobody, only, proxy, request, text, words,
};
use crate::share::Share;

#[tokio::test]
async fn a_request_is_answered_by_its_revision() {
    let proxy = before(named("v1"));
    assert_eq!(get(&proxy).await, (200, "v1".into()));
    assert_eq!(counted(&proxy, "app-0"), [1, 0]);
}

#[tokio::test]
async fn without_a_route_there_is_503_and_when_to_come_back() {
    let proxy = proxy();
    let mut client = Client::connect(proxy.addr()).await;
    let response = client.send(request("/").body(text("")).unwrap()).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(words(response).await, "503 no instance of the application can serve now\n");
}

#[tokio::test]
async fn requests_are_split_by_share_and_a_new_share_is_obeyed_at_once() {
    let proxy = proxy();
    proxy.set_routes(both(named("old"), named("new"), 10.0));
    let mut client = Client::connect(proxy.addr()).await;
    for (percent, expected) in [(10.0, 20), (0.0, 0), (100.0, 200), (50.0, 100)] {
        proxy.set_share(Share::from_percent(percent).unwrap());
        let mut new = 0;
        for _ in 0..200 {
            let response = client.send(request("/").body(text("")).unwrap()).await;
            new += i32::from(words(response).await == "new");
        }
        assert!((new - expected).abs() <= 2, "{percent} %: {new} of 200");
    }
}

#[tokio::test]
async fn a_revision_that_serves_is_found_whatever_the_share_says() {
    let (old, new) = (named("old"), named("new"));
    for (stable, candidate, percent, expected) in [
        (true, true, 100.0, (200, "new")),
        (true, false, 100.0, (200, "old")),
        (false, true, 0.0, (200, "new")),
        (true, true, 0.0, (200, "old")),
    ] {
        let proxy = proxy();
        let mut routes = both(old, new, percent);
        routes.stable.as_mut().unwrap().in_traffic = stable;
        routes.candidate.as_mut().unwrap().in_traffic = candidate;
        proxy.set_routes(routes);
        assert_eq!(
            get(&proxy).await,
            (expected.0, expected.1.into()),
            "{stable} {candidate} {percent}"
        );
    }
    let proxy = proxy();
    let unready =
        |name, addr| Some(super::super::Backend { in_traffic: false, ..backend(name, addr) });
    let (stable, candidate) = (unready("stable", old), unready("candidate", new));
    proxy.set_routes(Routes { stable, candidate, share: Share::FULL, sticky: None });
    assert_eq!(get(&proxy).await.0, 503);
}

#[tokio::test]
async fn a_candidate_that_cant_be_reached_costs_no_request_but_is_counted() {
    let proxy = proxy();
    proxy.set_routes(both(named("old"), nobody(), 100.0));
    for _ in 0..20 {
        assert_eq!(get(&proxy).await, (200, "old".into()));
    }
    assert_eq!(counted(&proxy, "candidate-0"), [20, 20]);
    assert_eq!(counted(&proxy, "stable-0"), [20, 0]);
    assert!(proxy.metrics().unwrap().contains(
        r#"gate_proxy_errors_total{revision="candidate",instance="candidate-0",arm="candidate",kind="connect"} 20"#
    ));
}

#[tokio::test]
async fn stable_never_falls_back_to_the_candidate() {
    let proxy = proxy();
    proxy.set_routes(both(nobody(), named("new"), 0.0));
    assert_eq!(get(&proxy).await, (502, "502 the application can't be reached\n".into()));
    assert_eq!(counted(&proxy, "stable-0"), [1, 1]);
    assert_eq!(counted(&proxy, "candidate-0"), [0, 0]);
}

#[tokio::test]
async fn the_last_request_to_the_candidate_is_known() {
    let proxy = proxy();
    proxy.set_routes(both(named("old"), named("new"), 100.0));
    assert_eq!(proxy.last_to_candidate(), None);
    let before = tokio::time::Instant::now();
    get(&proxy).await;
    let last = proxy.last_to_candidate().unwrap();
    assert!(before <= last && last <= tokio::time::Instant::now());
    proxy.set_share(Share::ZERO);
    get(&proxy).await;
    assert_eq!(proxy.last_to_candidate(), Some(last));
    assert_eq!(proxy.assigned(), Assigned { stable: 1, candidate: 1 });
}

#[tokio::test]
async fn a_user_with_a_cookie_stays() {
    let proxy = proxy();
    let sticky = Some(Sticky::Cookie("gate".into()));
    proxy.set_routes(Routes { sticky, ..both(named("old"), named("new"), 50.0) });
    let mut client = Client::connect(proxy.addr()).await;
    for _ in 0..10 {
        let first = client.send(request("/").body(text("")).unwrap()).await;
        let cookie = first.headers()[SET_COOKIE].to_str().unwrap().to_owned();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let version = words(first).await;
        for _ in 0..5 {
            let again = request("/").header(COOKIE, &cookie).body(text("")).unwrap();
            let again = client.send(again).await;
            assert!(!again.headers().contains_key(SET_COOKIE));
            assert_eq!(words(again).await, version);
        }
    }
}

#[tokio::test]
async fn counters_outlive_the_route_until_they_are_forgotten() {
    let proxy = before(named("v1"));
    get(&proxy).await;
    assert!(!proxy.forget("app-0"));
    proxy.set_routes(Routes::default());
    assert_eq!(counted(&proxy, "app-0"), [1, 0]);
    assert!(proxy.forget("app-0"));
    assert!(proxy.counters().is_empty());
}

#[tokio::test]
async fn an_instance_that_was_started_again_elsewhere_goes_on_counting() {
    let proxy = before(named("first"));
    get(&proxy).await;
    proxy.set_routes(only(named("second")));
    assert_eq!(get(&proxy).await.1, "second");
    assert_eq!(counted(&proxy, "app-0"), [2, 0]);
}
