//! One decision for people: plain words first, numbers after.

use super::human::result_style;
use super::plan::table;
use super::style::{FAINT, STRONG, paint};
use super::words;
use crate::analysis::{Cause, VerdictWord, in_unit};
use crate::cli::explain::{Explanation, StageExplained, Still};
use crate::policy::{Condition, parse_condition};
use crate::report::result_word;
use crate::rollout::ResultWord;

/// Odds beyond which nobody counts.
const ODDS_MAX: f64 = 1e6;

pub(crate) fn render(told: &Explanation) -> String {
    let mut parts = vec![head(told), plain(told).join("\n")];
    if !told.stages.is_empty() {
        parts.push(table(&stages(&told.stages)));
    }
    parts.push(paint(FAINT, &format!("id {}", told.id)));
    parts.join("\n\n")
}

fn head(told: &Explanation) -> String {
    let what = match told.result {
        Some(result) => paint(result_style(result).bold(), result_word(result)),
        None if told.breached_at.is_some() => "on its way back".to_owned(),
        None => "under way".to_owned(),
    };
    format!("{}: {} {what}", paint(STRONG, &told.target), told.release)
}

fn plain(told: &Explanation) -> Vec<String> {
    let mut lines = Vec::new();
    match (told.causes.is_empty(), told.result) {
        (false, _) => {
            lines.push("It was taken back because".to_owned());
            lines.extend(told.causes.iter().map(|cause| format!("  {}", cause_in_words(cause))));
        }
        (true, Some(ResultWord::Promoted)) => {
            lines.push(
                "Every stage was proven: nothing looked worse, and the limits hold.".to_owned(),
            );
        }
        (true, Some(_)) => {
            lines.extend(told.reason.iter().map(|why| format!("It ended so: {why}.")))
        }
        (true, None) if told.unknown.is_empty() => {
            lines.push("Nothing is wrong so far.".to_owned())
        }
        (true, None) => lines.push(format!("It waits: {}.", told.unknown.join("; "))),
    }
    lines.extend(times(told));
    lines.extend(told.still.as_ref().map(still));
    lines.extend(told.stages.iter().rev().find_map(ruled_out));
    lines
}

/// `30.1 % of its requests failed; the limit is 5 %, and 0.1 % of the stable revision's failed`
fn cause_in_words(cause: &Cause) -> String {
    let number =
        |value: Option<f64>| value.map_or("?".to_owned(), |value| in_unit(&cause.condition, value));
    let (seen, limit, baseline) = (number(cause.seen), number(cause.limit), number(cause.baseline));
    let beside = |words: String| cause.baseline.map_or(String::new(), |_| format!(", {words}"));
    let words = match parse_condition(&cause.condition) {
        Ok(Condition::ErrorRate { .. }) => format!(
            "{seen} of its requests failed; the limit is {limit}{}",
            beside(format!("and of the stable revision's {baseline} failed"))
        ),
        Ok(Condition::ErrorRateRatio { ratio }) => format!(
            "{seen} of its requests failed, of the stable revision's {baseline} at the same time; \
             {ratio} times as many ({limit}) are allowed"
        ),
        Ok(Condition::ResponseTime { quantile, .. }) => format!(
            "its {quantile} was {seen}; the limit is {limit}{}",
            beside(format!("and the stable revision's was {baseline}"))
        ),
        Ok(Condition::ResponseTimeRatio { quantile, ratio }) => format!(
            "its {quantile} was {seen}, the stable revision's {baseline} at the same time; \
             {ratio} times as much ({limit}) is allowed"
        ),
        Ok(Condition::HealthCheckFailures { .. }) => format!(
            "{seen} of its health probes failed; the limit is {limit}{}",
            beside(format!("and of the stable revision's {baseline} failed"))
        ),
        Ok(Condition::TrafficShare { .. }) => {
            format!("it got {seen} of the requests; at least {limit} should have reached it")
        }
        Ok(Condition::Query { name, .. }) => format!("{name} was {seen}; the limit is {limit}"),
        Err(_) => return cause.condition.clone(),
    };
    let requests = cause.requests.map(|n| format!(", {} requests", words::count(n)));
    format!("{words} ({}{})", cause.condition, requests.unwrap_or_default())
}

fn times(told: &Explanation) -> Option<String> {
    let sure =
        told.confidence.filter(|_| told.breached_at.is_some() || told.suspected_at.is_some())?;
    let odds = 1.0 / (1.0 - sure).max(1.0 / ODDS_MAX);
    let odds = match odds >= ODDS_MAX * 0.999 {
        true => "a million".to_owned(),
        false => words::count(odds.floor() as u64),
    };
    let suspected = told.suspected_at.map(|at| format!("suspected since {}", words::clock(at)));
    let breached = told.breached_at.map(|at| format!("certain at {}", words::clock(at)));
    let when: Vec<String> = suspected.into_iter().chain(breached).collect();
    Some(format!(
        "It was {}: {:.1} % sure. Of {odds} harmless promotions at most one ever looks so bad.",
        when.join(", "),
        (sure * 1000.0).floor() / 10.0
    ))
}

fn still(still: &Still) -> String {
    let traffic = still
        .requests_per_s
        .map_or_else(String::new, |rate| format!(" at its present {rate:.1} requests/s"));
    match (still.needs_s, still.requests) {
        (Some(needs), Some(requests)) => format!(
            "It needs about {} more{traffic}: {} until it is old enough, {} requests for its limits.",
            words::seconds(needs),
            words::seconds(still.bake_s),
            words::count(requests)
        ),
        (None, Some(requests)) => {
            format!("It needs {} more requests, and gets none now.", words::count(requests))
        }
        (_, None) => "At its present rates its limits won't be proven.".to_owned(),
    }
}

fn ruled_out(stage: &StageExplained) -> Option<String> {
    let rate = stage.ruled_out_above_share?;
    Some(format!(
        "In stage {} an error rate above {} is ruled out at 95 %.",
        stage.stage,
        percent(rate)
    ))
}

fn percent(rate: f64) -> String {
    format!("{:.2} %", rate * 100.0)
}

fn stages(stages: &[StageExplained]) -> Vec<Vec<String>> {
    let head = ["stage", "share", "looks", "requests", "errors", "ruled out above", "verdict"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(stages.iter().map(|stage| {
        vec![
            stage.stage.to_string(),
            stage.share.to_string(),
            stage.looks.to_string(),
            words::count(stage.requests),
            stage.errors.map_or("–".to_owned(), words::count),
            stage.ruled_out_above_share.map_or("–".to_owned(), percent),
            match stage.verdict {
                VerdictWord::Pass => "pass",
                VerdictWord::Breach => "breach",
                VerdictWord::Unknown => "unknown",
            }
            .to_owned(),
        ]
    }));
    rows
}
