//! Testers: who sends the header reaches the candidate, and nobody does once it is condemned.

use serde_json::{Value, json};

use super::cluster::ID;
use super::requests::reach;
use super::walk::{EVERY, HEADER, Kept, Walk, percent, same};
use crate::platform::kubernetes::doctor::{self, Repair};
use crate::platform::kubernetes::names::{REVISION, TARGET};
use crate::platform::kubernetes::removal::Removal;
use crate::platform::kubernetes::write::{Kind, Write};
use crate::rollout::TestersAre;
use crate::share::Share;

const BY_ROUTES: [Kept; 2] = [Kept::InPlace, Kept::Overlay];
const ROUTE: &str = "shop-gate-testers";
/// A path of the target alone, one that it shares, and one of somebody else.
const PATHS: [&str; 3] = ["/", "/news/today", "/blog/1"];

/// The candidate's part of everybody's requests for each path, and of the testers'.
#[track_caller]
fn check(walk: &Walk, everybody: [f64; 3], testers: [f64; 3]) {
    let seen = |is_tester| PATHS.map(|path| reach(&walk.cluster, path, is_tester));
    assert_eq!((seen(false), seen(true)), (everybody, testers), "{:#?}", walk.cluster.routed);
}

fn prepared(kept: Kept) -> Walk {
    let mut walk = Walk::with_testers(kept);
    walk.size(Share::FULL);
    walk.prepare();
    walk
}

fn write_of(walk: &Walk, order: Share) -> Vec<String> {
    let writes = walk.router.next(&walk.cluster.snapshot(), &walk.order(order));
    writes.iter().map(ToString::to_string).collect()
}

#[test]
fn testers_reach_the_candidate_before_and_while_everybody_else_is_on_stable() {
    for kept in BY_ROUTES {
        let before = Walk::new(kept).cluster;
        let mut walk = prepared(kept);
        check(&walk, [0.0, 0.0, 0.0], [1.0, 0.7, 0.0]);
        assert_eq!(walk.seen(Share::ZERO), Some(Share::ZERO), "testers are no part of the share");
        for (percents, part) in [(50.0, 0.5), (100.0, 1.0)] {
            walk.drive(percent(percents));
            check(&walk, [part, 0.7 * part, 0.0], [1.0, 0.7, 0.0]);
        }
        walk.drive(Share::ZERO);
        check(&walk, [0.0; 3], [0.0; 3]);
        walk.end();
        same(&before, &walk.cluster);
    }
}

#[test]
fn a_testers_route_asks_for_the_header_in_each_match_of_the_users() {
    for (kept, count) in [(Kept::InPlace, 1), (Kept::Overlay, 7)] {
        let walk = prepared(kept);
        let own = &walk.cluster.get(Kind::HttpRoute, ROUTE).unwrap()["spec"];
        let user = &walk.cluster.get(Kind::HttpRoute, "shop").unwrap()["spec"];
        assert_eq!(own["parentRefs"], user["parentRefs"]);
        assert_eq!(own["hostnames"], user["hostnames"]);
        let header = json!([{ "type": "Exact", "name": HEADER.0, "value": HEADER.1 }]);
        for rule in own["rules"].as_array().unwrap() {
            let matches = rule["matches"].as_array().unwrap();
            assert_eq!(matches.len(), count, "{kept:?}");
            for one in matches {
                assert_eq!(one["headers"], header);
                assert_eq!(one["method"].is_string(), kept == Kept::Overlay);
            }
        }
        assert_eq!(own["rules"][0]["matches"][0]["path"]["value"], "/");
    }
}

#[test]
fn what_else_a_match_and_a_rule_say_stays() {
    let mut walk = Walk::with_testers(Kept::InPlace);
    let mut route = walk.cluster.get(Kind::HttpRoute, "shop").unwrap().clone();
    let filter = json!({ "type": "RequestHeaderModifier", "requestHeaderModifier": {} });
    let rule = &mut route["spec"]["rules"][0];
    rule["matches"] = json!([
        { "path": { "type": "Exact", "value": "/" }, "method": "GET" },
        { "headers": [{ "name": "h", "value": "y" }], "queryParams": [{ "name": "q", "value": "1" }] },
    ]);
    (rule["filters"], rule["timeouts"]) = (json!([filter]), json!({ "request": "3s" }));
    walk.cluster.put(Kind::HttpRoute, "shop", route);
    walk.cluster.run();
    walk.size(Share::FULL);
    walk.prepare();
    let own = walk.cluster.get(Kind::HttpRoute, ROUTE).unwrap()["spec"]["rules"][0].clone();
    let header = json!({ "type": "Exact", "name": HEADER.0, "value": HEADER.1 });
    let expected = json!([
        { "path": { "type": "Exact", "value": "/" }, "method": "GET", "headers": [header] },
        {
            "headers": [{ "name": "h", "value": "y" }, header],
            "queryParams": [{ "name": "q", "value": "1" }],
        },
    ]);
    assert_eq!(own["matches"], expected);
    assert_eq!(
        (&own["filters"], &own["timeouts"]),
        (&json!([filter]), &json!({ "request": "3s" }))
    );
}

#[test]
fn testers_come_in_once_somebody_is_there_and_the_gateway_is_ready_for_it() {
    for kept in BY_ROUTES {
        let mut walk = Walk::with_testers(kept);
        walk.size(Share::FULL);
        let pods = walk.cluster.clone();
        walk.cluster
            .objects
            .retain(|(kind, name), _| *kind != Kind::Pod || !name.starts_with("candidate-"));
        for _ in 0..3 {
            walk.let_in(EVERY);
            walk.cluster.run();
        }
        assert_eq!(walk.cluster.get(Kind::HttpRoute, ROUTE), None, "nobody is there yet");
        walk.cluster.objects.extend(pods.objects.clone());
        walk.cluster.run();
        assert_eq!(walk.let_in(EVERY), 1);
        assert_eq!(walk.testers_are(), TestersAre::Out);
        // Two seconds with 200 ms a turn, the gateway taking it in all the while.
        for turn in 1..10 {
            walk.cluster.run();
            assert_eq!((walk.let_in(EVERY), reach(&walk.cluster, "/", true)), (0, 0.0), "{turn}");
        }
        assert_eq!(walk.let_in(EVERY), 1);
        assert_eq!(walk.testers_are(), TestersAre::Between, "it is not accepted as it is now");
        walk.cluster.run();
        assert_eq!(walk.testers_are(), TestersAre::In);
        assert_eq!(walk.let_in(EVERY), 0);
    }
}

#[test]
fn the_way_back_is_the_share_first_and_the_testers_in_the_same_turn() {
    for (kept, carrier) in [(Kept::InPlace, "shop"), (Kept::Overlay, "shop-gate")] {
        let mut walk = prepared(kept);
        walk.drive(percent(50.0));
        let expected = [carrier, ROUTE].map(|name| format!("changing HTTPRoute {name}"));
        assert_eq!(write_of(&walk, Share::ZERO), expected);
        assert_eq!(walk.turn(Share::ZERO, EVERY), 2);
        assert_eq!(walk.testers_are(), TestersAre::Between, "the gateway has not seen it");
        walk.cluster.run();
        assert!(walk.is_given_back(Share::ZERO));
        check(&walk, [0.0; 3], [0.0; 3]);
    }
}

#[test]
fn testers_of_a_stage_of_0_are_taken_back_as_well() {
    for kept in BY_ROUTES {
        let mut walk = prepared(kept);
        assert_eq!(write_of(&walk, Share::ZERO), [format!("changing HTTPRoute {ROUTE}")]);
        walk.turn(Share::ZERO, EVERY);
        walk.cluster.run();
        assert!(walk.is_given_back(Share::ZERO));
        check(&walk, [0.0; 3], [0.0; 3]);
        let out = walk.router.keep_out(&walk.cluster.snapshot());
        let said: Vec<_> = out.iter().map(ToString::to_string).collect();
        assert_eq!(said, [format!("deleting HTTPRoute {ROUTE}")]);
    }
}

#[test]
fn testers_stay_where_they_are_served_while_stable_can_serve_nobody() {
    for kept in BY_ROUTES {
        let mut walk = prepared(kept);
        walk.cluster
            .objects
            .retain(|(kind, name), _| *kind != Kind::Pod || !name.starts_with("web-"));
        walk.cluster.run();
        assert_eq!(write_of(&walk, Share::ZERO), Vec::<String>::new());
    }
}

/// Somebody does something to the testers' route, which is then as it was; never on the way back.
#[track_caller]
fn check_fight(somebody: impl Fn(&mut Walk)) {
    for kept in BY_ROUTES {
        let mut walk = prepared(kept);
        walk.drive(percent(50.0));
        let before = walk.cluster.get(Kind::HttpRoute, ROUTE).unwrap()["spec"].clone();
        somebody(&mut walk);
        walk.cluster.run();
        assert_ne!(walk.testers_are(), TestersAre::In, "{kept:?}");
        walk.drive(percent(50.0));
        assert_eq!(walk.cluster.get(Kind::HttpRoute, ROUTE).unwrap()["spec"], before, "{kept:?}");
        check(&walk, [0.5, 0.35, 0.0], [1.0, 0.7, 0.0]);
        somebody(&mut walk);
        walk.cluster.run();
        let writes = walk.router.next(&walk.cluster.snapshot(), &walk.order(Share::ZERO));
        assert!(writes.iter().all(|write| matches!(write, Write::Patch { .. })), "{writes:?}");
        walk.drive(Share::ZERO);
        check(&walk, [0.0; 3], [0.0; 3]);
        walk.end();
    }
}

fn edit(walk: &mut Walk, change: impl Fn(&mut Value)) {
    let mut route = walk.cluster.get(Kind::HttpRoute, ROUTE).unwrap().clone();
    change(&mut route);
    walk.cluster.put(Kind::HttpRoute, ROUTE, route);
}

#[test]
fn a_testers_route_that_somebody_touches_is_put_back_on_the_way_forward_alone() {
    check_fight(|walk| {
        walk.cluster.objects.remove(&(Kind::HttpRoute, ROUTE.into()));
    });
    check_fight(|walk| edit(walk, |route| route["spec"]["hostnames"] = json!(["other.example"])));
    check_fight(|walk| {
        edit(walk, |route| route["spec"]["rules"][0]["backendRefs"][0]["weight"] = json!(7));
    });
}

#[test]
fn a_testers_route_follows_the_users() {
    let mut walk = prepared(Kept::InPlace);
    let mut route = walk.cluster.get(Kind::HttpRoute, "shop").unwrap().clone();
    route["spec"]["hostnames"] = json!(["new.example"]);
    walk.cluster.put(Kind::HttpRoute, "shop", route);
    walk.cluster.run();
    assert_eq!(walk.testers_are(), TestersAre::Between);
    walk.prepare();
    let own = walk.cluster.get(Kind::HttpRoute, ROUTE).unwrap();
    assert_eq!(own["spec"]["hostnames"], json!(["new.example"]));
    walk.cluster.objects.remove(&(Kind::HttpRoute, "shop".into()));
    walk.cluster.run();
    assert_eq!(walk.testers_are(), TestersAre::Between);
    walk.let_in(EVERY);
    assert_eq!(walk.cluster.get(Kind::HttpRoute, ROUTE), None, "there is nothing under it");
}

#[test]
fn what_another_promotion_has_left_for_testers_is_removed_before_its_own_comes() {
    for kept in BY_ROUTES {
        for testers in [true, false] {
            let mut left = prepared(kept);
            edit(&mut left, |route| route["metadata"]["labels"][REVISION] = json!("p-0"));
            let mut walk = if testers { Walk::with_testers(kept) } else { Walk::new(kept) };
            walk.cluster = left.cluster;
            assert_eq!(walk.testers_are(), TestersAre::Between);
            assert_eq!(walk.let_in(EVERY), 1);
            walk.cluster.run();
            assert_eq!(
                (walk.testers_are(), walk.cluster.get(Kind::HttpRoute, ROUTE)),
                (TestersAre::Out, None)
            );
            if testers {
                walk.prepare();
                let own = walk.cluster.get(Kind::HttpRoute, ROUTE).unwrap();
                assert_eq!(own["metadata"]["labels"][REVISION], json!(ID));
            }
            walk.end();
        }
    }
}

#[test]
fn a_way_back_that_finds_testers_takes_them_out_whatever_the_plan_says() {
    for kept in BY_ROUTES {
        let before = Walk::new(kept).cluster;
        let mut walk = Walk::new(kept);
        walk.cluster = prepared(kept).cluster;
        assert_eq!(write_of(&walk, Share::ZERO), [format!("changing HTTPRoute {ROUTE}")]);
        walk.drive(Share::ZERO);
        walk.cluster.end_candidate();
        walk.restore();
        same(&before, &walk.cluster);
    }
}

#[test]
fn another_targets_testers_are_no_business_of_this_one() {
    let mut walk = prepared(Kept::InPlace);
    edit(&mut walk, |route| {
        route["metadata"]["labels"][TARGET] = json!("blog");
    });
    assert_eq!(walk.testers_are(), TestersAre::Out);
    assert_eq!(write_of(&walk, Share::ZERO), Vec::<String>::new());
    assert_eq!(walk.router.keep_out(&walk.cluster.snapshot()), []);
}

/// Everything but the routes is as a promotion leaves it.
fn left_behind(walk: &mut Walk) {
    let key = (Kind::Deployment, "web-candidate".to_owned());
    let labels = json!({ TARGET: "web", REVISION: ID });
    walk.cluster.objects.get_mut(&key).unwrap()["metadata"]["labels"] = labels;
    let target = walk.cluster.objects.get_mut(&(Kind::Deployment, "web".into())).unwrap();
    let counts = ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"];
    counts.iter().for_each(|count| target["status"][*count] = target["spec"]["replicas"].clone());
    target["status"]["observedGeneration"] = json!(99);
}

fn removal(walk: &Walk) -> Removal<'_> {
    let condemned = Some(std::time::Duration::from_secs(5));
    Removal { router: &walk.router, target: "web", revision: ID, condemned }
}

fn said(writes: &[Write]) -> Vec<String> {
    writes.iter().map(ToString::to_string).collect()
}

#[test]
fn the_testers_route_goes_before_condemned_pods_end() {
    let mut walk = prepared(Kept::InPlace);
    left_behind(&mut walk);
    walk.drive(Share::ZERO);
    let writes = removal(&walk).next(&walk.cluster.snapshot());
    let expected = [
        format!("deleting HTTPRoute {ROUTE}"),
        format!("ending the pods {REVISION}={ID}"),
        "deleting Deployment web-candidate".to_owned(),
    ];
    assert_eq!(said(&writes), expected);
    walk.cluster.write(&writes[0]);
    assert_eq!(said(&removal(&walk).next(&walk.cluster.snapshot())), expected[1..]);
    walk.cluster.end_candidate();
    let last = removal(&walk).next(&walk.cluster.snapshot());
    assert_eq!(
        said(&last),
        ["deleting Service web-candidate", "deleting Service web-front-candidate"]
    );
}

#[test]
fn a_repair_takes_testers_out_first_whatever_is_known_of_them() {
    for kept in BY_ROUTES {
        let mut walk = Walk::new(kept);
        walk.cluster = prepared(kept).cluster;
        left_behind(&mut walk);
        let repair = |walk: &Walk| {
            doctor::repair(&walk.cluster.snapshot(), &removal(walk), &walk.order(Share::ZERO))
        };
        let Repair::Write(first) = repair(&walk) else { panic!("{:?}", repair(&walk)) };
        assert_eq!(said(&first), [format!("changing HTTPRoute {ROUTE}")]);
        first.iter().for_each(|write| assert!(walk.cluster.write(write)));
        walk.cluster.run();
        let Repair::Write(next) = repair(&walk) else { panic!("{:?}", repair(&walk)) };
        assert_eq!(said(&next)[0], format!("deleting HTTPRoute {ROUTE}"));
    }
}

/// What the gateway says of the testers' route at weight 0, and where its testers are.
#[track_caller]
fn check_told(change: impl Fn(&mut Value), expected: TestersAre) {
    let mut walk = prepared(Kept::InPlace);
    walk.turn(Share::ZERO, EVERY);
    walk.cluster.run();
    let route = walk.cluster.objects.get_mut(&(Kind::HttpRoute, ROUTE.into())).unwrap();
    change(&mut route["status"]);
    assert_eq!(walk.testers_are(), expected);
}

#[test]
fn testers_are_out_when_whoever_took_their_route_has_seen_its_weights() {
    let condition = "/parents/0/conditions/0";
    check_told(|_| {}, TestersAre::Out);
    let accepted =
        |status: &mut Value| status.pointer_mut(condition).unwrap()["status"] = json!("False");
    check_told(accepted, TestersAre::Out);
    check_told(|status| *status = json!({}), TestersAre::Out);
    let old = |status: &mut Value| {
        status.pointer_mut(condition).unwrap()["observedGeneration"] = json!(1);
    };
    check_told(old, TestersAre::Between);
}

#[test]
fn a_share_of_0_by_weights_lasts() {
    for kept in BY_ROUTES {
        let walk = prepared(kept);
        assert!(walk.router.lasts(&walk.cluster.snapshot(), &walk.order(Share::ZERO)));
    }
}

#[test]
fn plain_services_know_no_testers() {
    let mut walk = Walk::new(Kept::Plain);
    walk.size(Share::FULL);
    walk.drive(percent(50.0));
    let seen = walk.cluster.snapshot();
    let order = walk.order(Share::ZERO);
    assert_eq!(walk.testers_are(), TestersAre::Out);
    assert_eq!((walk.router.let_in(&seen, &order), walk.router.keep_out(&seen)), (vec![], vec![]));
    assert!(!walk.router.lasts(&seen, &order), "the gates are open");
}
