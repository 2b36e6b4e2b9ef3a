//! Who may act, and who has to look first.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::json;

use super::ground::{Ground, elsewhere, new, now};
use super::server::Server;
use crate::clock::since_boot;
use crate::cluster::begin::begin;
use crate::cluster::owner::Owner;
use crate::cluster::tenure::Tenure;
use crate::platform::kubernetes::access::Access;
use crate::platform::kubernetes::names;

/// Longer than anybody waits for an answer.
const NEVER: Duration = Duration::from_secs(3);
/// Longer than a process is sure that a promotion is its own.
const LONG: Duration = Duration::from_secs(31);

/// A promotion that nobody writes of meanwhile.
async fn tenure(ground: &Ground) -> Tenure {
    let owner = elsewhere(now());
    begin(&ground.access, &ground.target, &new("p1"), &owner, false).await.unwrap();
    Tenure::begin(&ground.access, &ground.target, owner.to_string())
}

/// What was asked before it slept was answered: that says nothing of now.
fn slept(tenure: &Tenure) {
    tenure.lasts(since_boot().saturating_sub(LONG));
}

async fn may_act(tenure: &Tenure) -> bool {
    tokio::time::timeout(NEVER, tenure.may_act()).await.is_ok()
}

#[tokio::test]
async fn who_slept_looks_whose_the_promotion_is_before_it_acts() {
    let server = Server::start().await;
    let ground = Ground::on(&server).await;
    let tenure = tenure(&ground).await;
    let began = server.reads("get");
    let looks = || server.reads("get") - began;
    assert!(may_act(&tenure).await);
    assert_eq!(looks(), 0, "it has just begun");
    slept(&tenure);
    assert!(may_act(&tenure).await && may_act(&tenure).await);
    assert_eq!(looks(), 1, "and has just looked");
    let record = names::record(&ground.target);
    let own = |owner: Option<Owner>| {
        let owner = json!(owner.map(|owner| owner.to_string()));
        server.edit(&record, |record| record["metadata"]["annotations"][names::OWNER] = owner);
        slept(&tenure);
    };
    own(None);
    assert!(may_act(&tenure).await, "what was taken away is nobody else's");
    own(Some(Owner::this("grace", now()).unwrap()));
    assert!(!may_act(&tenure).await);
    assert_eq!(looks(), 3);
    let whose = tenure.lost().borrow().clone().unwrap();
    assert!(whose.starts_with("taken over by grace"), "{whose}");
    assert!(!may_act(&tenure).await, "for good");
}

#[tokio::test]
async fn who_slept_and_gets_no_answer_goes_back_all_the_same() {
    // Connections are taken, and nothing is said.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = mute.local_addr().unwrap();
    for url in [format!("http://{address}"), "http://127.0.0.1:1".into()] {
        let config = kube::Config::new(url.parse().unwrap());
        let access = Access::to(config, "shop".into()).unwrap();
        let tenure = Tenure::begin(&access, "checkout", elsewhere(now()).to_string());
        slept(&tenure);
        let began = Instant::now();
        assert!(may_act(&tenure).await, "{url}");
        assert!(tenure.lost().borrow().is_none(), "{url}: {:?}", began.elapsed());
    }
}
