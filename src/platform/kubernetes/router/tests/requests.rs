//! Where a gateway sends a request, by the precedence that the Gateway API lays down.

use serde_json::Value;

use super::cluster::Cluster;
use super::walk::{HEADER, weight};

/// Returns the candidate's part of the requests for a path: those of testers, or of everybody else.
pub(super) fn reach(cluster: &Cluster, path: &str, is_tester: bool) -> f64 {
    let Some(rule) = rule(cluster, path, is_tester) else { return 0.0 };
    let (mut own, mut all) = (0.0, 0.0);
    for backend in rule["backendRefs"].as_array().unwrap() {
        let weight = weight(backend);
        let of_candidate = backend["name"].as_str().unwrap().ends_with("-candidate");
        (own, all) = (own + if of_candidate { weight } else { 0.0 }, all + weight);
    }
    assert!(all > 0.0, "a rule sends nobody anything: {rule}");
    own / all
}

/// Returns the rule that a GET goes by: of all that match it the one with the longest path, then with a
/// method, then with the most headers.
fn rule<'a>(cluster: &'a Cluster, path: &str, is_tester: bool) -> Option<&'a Value> {
    let rules = cluster.routed.values().flat_map(|rules| rules.as_array().unwrap());
    let ranked = rules.flat_map(|rule| {
        let matches = rule["matches"].as_array().map_or(&[][..], Vec::as_slice);
        let ranks = matches.iter().filter_map(|one| rank(one, path, is_tester));
        // Without matches it matches every path.
        let best = if matches.is_empty() { Some((1, false, 0)) } else { ranks.max() };
        best.map(|rank| (rank, rule))
    });
    ranked.max_by_key(|(rank, _)| *rank).map(|(_, rule)| rule)
}

fn rank(one: &Value, path: &str, is_tester: bool) -> Option<(usize, bool, usize)> {
    let prefix = one["path"]["value"].as_str().unwrap_or("/");
    let method = one["method"].as_str();
    let headers = one["headers"].as_array().map_or(&[][..], Vec::as_slice);
    let sent =
        |header: &Value| is_tester && header["name"] == HEADER.0 && header["value"] == HEADER.1;
    let fits = path.starts_with(prefix)
        && method.is_none_or(|method| method == "GET")
        && headers.iter().all(sent);
    fits.then_some((prefix.len(), method.is_some(), headers.len()))
}
