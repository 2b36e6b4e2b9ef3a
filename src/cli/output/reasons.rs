//! The published words of verdicts, as people say them.

/// Returns what a reason means. A word that is not known here is shown as it is.
pub(crate) fn in_words(reason: &str) -> String {
    let words = match reason {
        "passed" => "every limit is proven to hold",
        "no_data" => "users, but no fresh counters of both revisions for a minute",
        "shared_incident" => "a limit is broken by both revisions: an incident of both",
        "suspicion" => "something looks worse: too little to go back, too much to go on",
        "share_not_seen" => "the candidate has not been seen to get its share",
        "testers_not_let_in" => "no gateway has been seen to let the testers in",
        "waiting_for_data" => "waiting for fresh counters of both revisions",
        "candidate_pod_silent" => "an instance of the candidate does not report",
        "bake" => "nothing wrong; the stage is younger than its bake",
        "collecting_evidence" => "nothing wrong; too few requests to prove every limit",
        "collecting_probes" => "nothing wrong; too few health probes",
        "too_few_requests" => "too few requests in the window",
        "breach:err_rel" => "more errors than the baseline",
        "breach:lat_rel" => "slower than the baseline",
        "breach:err_abs" => "more errors than the limit allows",
        "breach:lat_abs" => "slower than the limit allows",
        "breach:disaster" => "a large part of the requests fails",
        "breach:share" => "fewer requests than its share",
        "breach:health" => "failing health probes",
        other => return other.replace('_', " "),
    };
    words.to_owned()
}
