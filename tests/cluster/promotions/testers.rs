//! Testers: who sends the header reaches a release before anybody else, and a condemned one never again.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{BLUE_GREEN, app, none_failed};
use crate::belongings::Belongings;
use crate::cluster::Cluster;
use crate::load::{Connections, Seen, tally};
use crate::manifests;
use crate::trial::{By, Ran, SHOP, Trial};

const HEADER: (&str, &str) = ("x-release", "next");

fn policy() -> String {
    format!(
        "{BLUE_GREEN}  traffic: {{ router: gateway-api, route: shop, testers: {{ header: {}, value: {} }} }}\n",
        HEADER.0, HEADER.1
    )
}

/// When an event of a stage was told.
#[track_caller]
fn at(ran: &Ran, event: &str, stage: Option<u64>) -> DateTime<Utc> {
    let mut told = ran.events(event).into_iter();
    let told = told.find(|line| stage.is_none_or(|stage| line["stage"] == stage));
    let told = told.unwrap_or_else(|| panic!("no {event}: {:#?}", ran.lines));
    told["at"].as_str().unwrap().parse().unwrap()
}

/// Who answered the requests that were sent after a moment, and answered before another.
#[track_caller]
fn between(seen: &[Seen], from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<String> {
    let chosen: Vec<_> = seen.iter().filter(|one| one.sent > from && one.done < to).collect();
    assert!(chosen.len() > 20, "{} requests between {from} and {to}", chosen.len());
    tally(chosen).into_keys().collect()
}

#[test]
fn testers_reach_a_release_first_and_a_condemned_one_never_again() {
    let Some(cluster) = Cluster::there() else { return };
    first_and_never_again(&Trial::new(cluster, "testers", &app(), By::Routes));
}

#[test]
fn testers_of_a_route_that_somebody_keeps_applying_are_told_apart_as_well() {
    let Some(cluster) = Cluster::there() else { return };
    let trial = Trial::new(cluster, "testers-over", &app(), By::Routes);
    // The API allows such a rule one match.
    let rewrite =
        "{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}";
    let route = manifests::route(SHOP, &trial.host, &[(SHOP, 1)])
        .replace("rules: [{", &format!("rules: [{{filters: [{rewrite}], "));
    let file = trial.file("route.yaml", &route);
    let file = file.to_str().unwrap();
    trial.space.kubectl(&[
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=flux",
        "--filename",
        file,
    ]);
    first_and_never_again(&trial);
}

#[track_caller]
fn first_and_never_again(trial: &Trial) {
    let before = Belongings::of(&trial.space);
    let (everybody, testers) = (trial.users(Connections::Fresh), trial.testers(HEADER));
    let ran = trial.promote("gate.test/app:v2", &policy());
    ran.expect(0, "promoted");
    let (ready, switched) = (at(&ran, "share.seen", Some(1)), at(&ran, "share.asked", Some(2)));
    assert_eq!(between(&everybody.so_far(), ready, switched), ["v1"], "nobody else has it");
    assert_eq!(between(&testers.so_far(), ready, Utc::now()), ["v2"], "testers have it throughout");
    before.are_still(&trial.space, "gate.test/app:v2");

    let ran = trial.promote("gate.test/app:broken", &policy());
    let ended = Utc::now();
    let line: &Value = ran.expect(3, "rolled_back");
    assert!(line["reason"].as_str().unwrap().contains("error_rate > 5%"), "{line:#}");
    let (ready, switched) = (at(&ran, "share.seen", Some(1)), at(&ran, "share.asked", Some(2)));
    let safe = at(&ran, "rollback.verified", None);
    before.are_still(&trial.space, "gate.test/app:v2");
    let (everybody, testers) = (everybody.stop(), testers.stop());
    assert_eq!(between(&everybody, ready, switched), ["v2"], "nobody else has it");
    let reached = between(&testers, ready, switched);
    assert!(reached.iter().any(|who| who.contains("broken")), "{reached:?}");
    let sent_later: Vec<Seen> = testers.iter().filter(|one| one.sent > safe).cloned().collect();
    assert_eq!(
        between(&sent_later, safe, Utc::now()),
        ["v2"],
        "no tester reaches it, safe at {safe}, ended at {ended}"
    );
    let good = |one: &&Seen| !one.outcome().contains("broken");
    none_failed("everybody", &everybody.iter().filter(good).cloned().collect::<Vec<_>>());
    let failed = |one: &&Seen| one.answer.as_ref().is_err() || one.outcome().starts_with("503");
    let failed: Vec<_> = testers.iter().filter(failed).collect();
    assert!(failed.is_empty(), "between the two no tester is lost: {failed:#?}");
}
