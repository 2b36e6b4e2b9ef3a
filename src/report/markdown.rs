//! A job's summary: verdict and reason in the first line, then what each stage saw, the causes, a
//! plot, the command that goes on by hand, and the record folded away.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use super::escape::{fenced, markdown, plain};
use super::plot;
use super::record::BorrowedRecord;
use super::story::{StageStory, Story};
use super::words::{self, NONE, Tone};
use crate::history::Record;
use crate::published::ResultLine;

/// GitHub drops a larger summary whole; it counts all that a step writes.
pub const SUMMARY_BYTES_MAX: usize = 1024 * 1024;

/// Of the record: a summary is for reading, the whole record is a report of its own.
const RECORD_BYTES_MAX: usize = 200 * 1024;
/// Rows of the table of stages.
const ROWS_MAX: usize = 200;
/// Causes that are told one by one.
const CAUSES_MAX: usize = 50;

pub(super) fn render(
    result: &ResultLine,
    story: Option<&Story>,
    records: &[(DateTime<Utc>, Record)],
    bytes_max: usize,
) -> String {
    let mut text = head(result, story);
    let tail = next(result);
    let parts = [
        story.map(stages).unwrap_or_default(),
        causes(result),
        story.and_then(plot::render).map(|plot| fenced("text", &plot) + "\n").unwrap_or_default(),
    ];
    for part in parts {
        if text.len() + part.len() + tail.len() <= bytes_max {
            text.push_str(&part);
        }
    }
    text.push_str(&tail);
    text.push_str(&folded(records, bytes_max.saturating_sub(text.len()).min(RECORD_BYTES_MAX)));
    if text.len() > bytes_max {
        text.truncate((0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
    }
    text
}

fn head(result: &ResultLine, story: Option<&Story>) -> String {
    let outcome = &result.outcome;
    let mut text = format!(
        "## {} {}: {}\n\n",
        Tone::of_result(outcome.result).mark(),
        words::result(outcome.result),
        markdown(&outcome.reason)
    );
    // Writing into a string can't fail, here and below.
    let stable = stable_before(result, story);
    let from = if stable.is_empty() { String::new() } else { format!("{} → ", markdown(stable)) };
    let _ = writeln!(
        text,
        "**{}**: {from}**{}**. Traffic: {}. Time: {}.",
        markdown(&result.target),
        markdown(&outcome.candidate_revision),
        markdown(&words::served(outcome)),
        words::speed(outcome)
    );
    if let Some(story) = story {
        let id = result.id.as_deref().unwrap_or(&story.id);
        let _ = writeln!(
            text,
            "Promotion {} by {}, policy {}.",
            markdown(id),
            markdown(&story.by),
            markdown(&story.plan.policy_source)
        );
    }
    if let Some(would) = &outcome.would_have {
        let _ = writeln!(
            text,
            "Observed only: it would have been {} at stage {} after {}.",
            words::result(would.result),
            would.stage,
            words::seconds(would.after_s)
        );
    }
    text.push('\n');
    text
}

/// What was stable when it began; after a promotion the release is.
fn stable_before<'a>(result: &'a ResultLine, story: Option<&'a Story>) -> &'a str {
    story.map_or(&result.outcome.stable_revision, |story| &story.plan.stable.name)
}

fn stages(story: &Story) -> String {
    let mut text = format!(
        "| stage | share | held | end | condition | {} | {} | limit | requests | sure that it is worse |\n\
         |---|--:|--:|---|---|--:|--:|--:|--:|--:|\n",
        markdown(&story.plan.release.name),
        markdown(&story.plan.stable.name)
    );
    let rows: Vec<String> =
        story.stages.iter().enumerate().flat_map(|(at, stage)| rows(at, stage)).collect();
    text.extend(rows.iter().take(ROWS_MAX).cloned());
    text.push('\n');
    if rows.len() > ROWS_MAX {
        let _ = writeln!(text, "{} rows more are in the record.\n", rows.len() - ROWS_MAX);
    }
    text
}

/// A row for each condition; what is the stage's own stands in the first.
fn rows(at: usize, stage: &StageStory) -> Vec<String> {
    let held = stage.held.map_or(NONE.to_owned(), |held| words::seconds(held.as_secs_f64()));
    let own =
        format!("| {} | {} | {held} | {} ", at + 1, stage.plan.share, words::stage_end(stage));
    let sure = words::confidence(stage.confidence);
    if stage.readings.is_empty() {
        return vec![format!("{own}| {NONE} | {NONE} | {NONE} | {NONE} | {NONE} | {sure} |\n")];
    }
    let row = |(k, reading): (usize, &crate::analysis::Reading)| {
        let own = if k == 0 { own.as_str() } else { "| | | | " };
        let sure = if k == 0 { sure.as_str() } else { "" };
        let [seen, baseline, limit, requests] = words::values(reading);
        format!(
            "{own}| {} | {seen} | {baseline} | {limit} | {requests} | {sure} |\n",
            markdown(&reading.condition)
        )
    };
    stage.readings.iter().enumerate().map(row).collect()
}

fn causes(result: &ResultLine) -> String {
    let causes = &result.outcome.causes;
    if causes.is_empty() {
        return String::new();
    }
    let mut text = String::from("**Causes**\n\n");
    for cause in causes.iter().take(CAUSES_MAX) {
        let said = words::cause(cause);
        let said = if said.is_empty() { said } else { format!(": {said}") };
        let _ = writeln!(text, "- **{}**{}", markdown(&cause.condition), markdown(&said));
    }
    text.push('\n');
    text
}

fn next(result: &ResultLine) -> String {
    match &result.next {
        Some(next) => {
            format!("To go on by hand:\n\n{}\n", fenced("sh", &super::escape::line(next)))
        }
        None => String::new(),
    }
}

/// The newest records that fit, a line each.
fn folded(records: &[(DateTime<Utc>, Record)], bytes_max: usize) -> String {
    let line = |(at, record): &(DateTime<Utc>, Record)| {
        plain(&serde_json::to_string(&BorrowedRecord { at: *at, record }).unwrap_or_default())
    };
    // Room for the fold itself, and for a fence longer than usual.
    let mut room = bytes_max.saturating_sub(500);
    let mut lines = Vec::new();
    for record in records.iter().rev() {
        let line = line(record);
        let Some(left) = room.checked_sub(line.len() + 1) else { break };
        room = left;
        lines.push(line);
    }
    if lines.is_empty() {
        return String::new();
    }
    let left_out = records.len() - lines.len();
    let title = match left_out {
        0 => format!("The record: {} lines", lines.len()),
        left_out => format!("The record: the newest {} lines, {left_out} left out", lines.len()),
    };
    lines.reverse();
    let block = fenced("json", &lines.join("\n"));
    if block.len() + 200 > bytes_max {
        return String::new(); // a run of backticks without end
    }
    format!("<details><summary>{title}</summary>\n\n{block}\n</details>\n")
}
