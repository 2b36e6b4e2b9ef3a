//! Which router a policy asks for, and what none can do.

use serde_json::Value;

use crate::cluster::admission;
use crate::cluster::requests::Stopped;
use crate::platform::kubernetes::snapshot::Snapshot;
use crate::policy::{RouterKind, Testers, Traffic, built_in};

/// What splits the traffic, and the exit code and the words with which it is refused where there is nothing.
#[track_caller]
fn check(router: Option<RouterKind>, route: Option<&str>, testers: bool, code: u8, said: &str) {
    let testers = testers.then(|| Testers { header: "x-release".into(), value: "next".into() });
    let route = route.map(str::to_owned);
    let traffic = Traffic { router, route, testers, ..Traffic::default() };
    let mut policy = built_in();
    policy.traffic = traffic;
    let refused = admission::router(&policy, &Snapshot::default(), &Value::Null).map(drop);
    let Err(Stopped::Error { exit_code, message, hint }) = refused else { panic!("{refused:?}") };
    let all = format!("{message}: {}", hint.unwrap_or_default());
    assert!(exit_code == code && all.contains(said), "{exit_code}: {all}");
}

#[test]
fn testers_need_routes() {
    let (can_not, remedy) =
        ("the router service can't tell testers", "`traffic.router: gateway-api`");
    check(Some(RouterKind::Service), None, true, 2, can_not);
    check(None, None, true, 2, can_not);
    check(None, None, true, 2, remedy);
    // There is nothing to route to; the testers are no mistake.
    let nothing = "no Service of the namespace";
    check(Some(RouterKind::GatewayApi), None, true, 7, nothing);
    check(None, Some("shop"), true, 7, nothing);
    for router in [None, Some(RouterKind::Service), Some(RouterKind::GatewayApi)] {
        check(router, None, false, 7, nothing);
    }
}
