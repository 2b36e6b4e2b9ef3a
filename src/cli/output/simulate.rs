//! Simulations for people: one with its whole answer, many as a table.

use super::plan::table;
use super::style::{FAINT, STRONG, paint};
use super::words;
use crate::policy::JudgeKind;
use crate::simulate::{Kind, Question, Scenario, Simulation};

/// Rows of the plot.
const ROWS: usize = 12;
/// The longest bar of the plot, in characters.
const BAR: usize = 40;

pub(crate) fn one(
    question: &Question<'_>,
    found: &Simulation,
    harmless: Option<&Simulation>,
) -> String {
    let mut parts = vec![head(question, found), table(&figures(found))];
    if !found.detected_s.is_empty() {
        parts.push(plot(&found.detected_s, question.scenario.scrape));
    }
    parts.push(sentence(question, found, harmless));
    parts.join("\n\n")
}

/// All simulations: one row a scenario, one column a judge.
pub(crate) fn many(rows: &[Vec<Simulation>]) -> String {
    let of_kind = |harmless: bool| {
        rows.iter().filter(move |row| row.iter().any(|s| (s.kind == Kind::Null) == harmless))
    };
    let judges: Vec<&str> = rows.iter().take(1).flatten().map(|s| judge_word(s.judge)).collect();
    let mut parts = Vec::new();
    for (harmless, title, cell) in [
        (true, "false rollbacks (first pass)", false_rollbacks as fn(&Simulation) -> String),
        (false, "found after, median/p90 (missed) [bad requests]", found_after),
    ] {
        let mut lines = vec![
            std::iter::once("scenario".to_owned())
                .chain(judges.iter().map(|j| (*j).to_owned()))
                .collect(),
        ];
        let row = |row: &Vec<Simulation>| -> Vec<String> {
            let name = row.first().map(|s| s.scenario.clone());
            name.into_iter().chain(row.iter().map(cell)).collect()
        };
        lines.extend(of_kind(harmless).map(row));
        if lines.len() > 1 {
            parts.push(format!("{}\n{}", paint(STRONG, title), table(&lines)));
        }
    }
    parts.join("\n\n")
}

fn false_rollbacks(found: &Simulation) -> String {
    let passed = found.pass_s.median.map_or("–".to_owned(), |s| format!("{s:.0} s"));
    format!("{:.1} % ({passed})", found.rolled_back_share * 100.0)
}

fn found_after(found: &Simulation) -> String {
    let time = |s: Option<f64>| s.map_or("–".to_owned(), |s| format!("{s:.0}"));
    let bad = found.bad_requests.median.map_or("–".to_owned(), |bad| format!("{bad:.0}"));
    let early = match found.early_share > 0.0 {
        true => format!(" early {:.1} %", found.early_share * 100.0),
        false => String::new(),
    };
    format!(
        "{}/{} s ({:.1} %) [{bad}]{early}",
        time(found.detect_s.median),
        time(found.detect_s.p90),
        found.missed_share * 100.0
    )
}

const fn judge_word(judge: JudgeKind) -> &'static str {
    match judge {
        JudgeKind::Evidence => "evidence",
        JudgeKind::Threshold => "threshold",
    }
}

fn head(question: &Question<'_>, found: &Simulation) -> String {
    let schedule = match question.is_closed() {
        true => "the policy's own stages, closed loop".to_owned(),
        false => format!("promotions of {}", words::seconds(f64::from(question.scenario.horizon))),
    };
    let title = paint(STRONG, &found.scenario);
    let count = words::count(found.reps);
    let judge = judge_word(found.judge);
    let rest = format!("{count} simulated, {schedule}, {judge} judge, seed {}", found.seed);
    format!("{title}\n{}", paint(FAINT, &rest))
}

fn figures(found: &Simulation) -> Vec<Vec<String>> {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    let time = |s: Option<f64>| s.map_or("never".to_owned(), words::seconds);
    let mut rows = vec![["", "of all", "median", "9 of 10 within"].map(str::to_owned).to_vec()];
    let mut row = |what: &str, share: String, median: String, p90: String| {
        rows.push(vec![what.to_owned(), share, median, p90]);
    };
    let (detect, none) = (found.detect_s, String::new);
    row("rolled back", percent(found.rolled_back_share), time(detect.median), time(detect.p90));
    if found.kind != Kind::Null {
        row("missed", percent(found.missed_share), none(), none());
    }
    if found.early_share > 0.0 {
        row("before it began", percent(found.early_share), none(), none());
    }
    row("first pass", percent(found.pass_s.reached_share), time(found.pass_s.median), none());
    if let (Some(promoted), Some(took)) = (found.promoted_share, found.duration_s) {
        row("promoted", percent(promoted), none(), none());
        row("took", none(), time(took.median), time(took.p90));
    }
    if let Some(bad) = found.bad_requests.median.filter(|_| found.kind != Kind::Null) {
        row("bad requests", none(), format!("{bad:.0}"), none());
    }
    rows
}

/// How the times to detection are spread: rows of one look or more, the last for what is later.
fn plot(sorted: &[f64], scrape: u32) -> String {
    let (Some(first), Some(last)) = (sorted.first(), sorted.last()) else { return String::new() };
    // Nine in ten fill the plot; a long tail has a row of its own.
    let p90 = sorted[(sorted.len() - 1) * 9 / 10];
    let grid = f64::from(scrape);
    let step = ((p90 - first) / (ROWS - 1) as f64 / grid).ceil().max(1.0) * grid;
    let begin = (first / step).floor() * step;
    let mut counts = [0usize; ROWS + 1];
    for time in sorted {
        counts[(((time - begin) / step) as usize).min(ROWS)] += 1;
    }
    let most = counts.iter().max().copied().unwrap_or(1).max(1);
    let used = counts.iter().rposition(|count| *count > 0).unwrap_or(0);
    let mut lines = vec![paint(FAINT, "found after")];
    for (n, count) in counts.iter().enumerate().take(used + 1) {
        let label = match n == ROWS {
            true => format!("to {}", words::seconds(*last)),
            false => words::seconds(begin + n as f64 * step),
        };
        let length = (count * BAR).div_ceil(most);
        let part = 100.0 * *count as f64 / sorted.len() as f64;
        lines.push(format!("{label:>14} {} {part:.0} %", "█".repeat(length)).replace("  0 %", " "));
    }
    lines.join("\n")
}

fn sentence(question: &Question<'_>, found: &Simulation, harmless: Option<&Simulation>) -> String {
    let scenario = question.scenario;
    let traffic = traffic(question);
    if found.kind == Kind::Null {
        return format!(
            "With {traffic}, a harmless release would be taken back in {:.1} % of its promotions{}.",
            found.rolled_back_share * 100.0,
            passes(found)
        );
    }
    let fault = fault(scenario);
    let answer = match (found.detect_s.median, found.detect_s.p90) {
        (Some(median), Some(p90)) if found.missed_share < 0.5 => format!(
            "{fault} found after {} (median; 9 in 10 within {})",
            words::seconds(median),
            words::seconds(p90)
        ),
        _ => format!("{fault} missed in {:.0} % of promotions", found.missed_share * 100.0),
    };
    let harmless = harmless.map(|harmless| {
        format!(
            "; a harmless release would be taken back in {:.1} %{}",
            harmless.rolled_back_share * 100.0,
            passes(harmless)
        )
    });
    format!("With {traffic}, {answer}{}.", harmless.unwrap_or_default())
}

fn passes(found: &Simulation) -> String {
    let pass = |s: f64| format!(", and pass its first stage after {}", words::seconds(s));
    found.pass_s.median.map(pass).unwrap_or_default()
}

fn traffic(question: &Question<'_>) -> String {
    let scenario = question.scenario;
    let shares = match (question.is_closed(), &scenario.stages) {
        (true, _) => "in the policy's stages".to_owned(),
        (false, Some(stages)) => format!("in {} stages", stages.len()),
        (false, None) => {
            format!("{} % of them to the candidate", percent(scenario.schedule()[0].1))
        }
    };
    format!("{} requests/s, {shares}", scenario.rps)
}

fn percent(part: f64) -> f64 {
    (part * 10_000.0).round() / 100.0
}

/// What is wrong with the candidate, and the verb that goes with it.
fn fault(s: &Scenario) -> String {
    match s.kind {
        Kind::Null => "nothing is".to_owned(),
        Kind::Err if s.err_add > 0.0 => format!("{} points more errors are", percent(s.err_add)),
        Kind::Err => format!("{} times the errors are", s.err_mult),
        Kind::Lat => format!("{} times the latency is", s.lat_mult),
        Kind::Hang => format!("{} % of requests that never end are", percent(s.hang)),
        Kind::Health => format!("{} % of failing probes are", percent(s.unhealthy)),
    }
}
