//! A backtest for people: when the verdict changed, why, and what would have become of it.

use super::human::result_style;
use super::plan::table;
use super::reasons;
use super::style::{STRONG, paint};
use super::words;
use crate::analysis::evidence::Word;
use crate::analysis::replay::{Course, Said};
use crate::policy::JudgeKind;
use crate::published::ResultLine;
use crate::report::result_word;

/// Changes of the verdict that are shown; those after are counted.
const ROWS_MAX: usize = 40;

/// The changes of the verdict, in order.
#[derive(Debug, Default)]
pub(crate) struct Story {
    rows: Vec<Vec<String>>,
    last: Option<(Word, String)>,
    untold: usize,
}

impl Story {
    /// Takes in a verdict; one that says the same as the last adds nothing, unless all are asked for.
    pub(crate) fn take(&mut self, said: &Said, all: bool) {
        let now = (said.word(), said.reason());
        if !all && self.last.as_ref() == Some(&now) {
            return;
        }
        if self.rows.len() < ROWS_MAX || all {
            self.rows.push(row(said, &now.1));
        } else {
            self.untold += 1;
        }
        self.last = Some(now);
    }

    pub(crate) fn render(self, result: &ResultLine, judge: JudgeKind, course: &Course) -> String {
        let mut parts = Vec::new();
        if !self.rows.is_empty() {
            let head = ["after", "verdict", "sure", "why"].map(str::to_owned).to_vec();
            let rows: Vec<Vec<String>> = std::iter::once(head).chain(self.rows).collect();
            parts.push(table(&rows));
        }
        if self.untold > 0 {
            parts.push(format!("… and {} more changes (--verbose shows every look)", self.untold));
        }
        parts.push(conclusion(result, judge, course));
        parts.join("\n\n")
    }
}

fn row(said: &Said, reason: &str) -> Vec<String> {
    let word = match said.word() {
        Word::Pass => "pass",
        Word::Breach => "breach",
        Word::Unknown => "unknown",
    };
    let sure = said.confidence().map_or("–".to_owned(), |sure| format!("{:.1} %", sure * 100.0));
    vec![words::seconds(said.at_s()), word.to_owned(), sure, reasons::in_words(reason)]
}

fn conclusion(result: &ResultLine, judge: JudgeKind, course: &Course) -> String {
    let outcome = &result.outcome;
    let judge = match judge {
        JudgeKind::Evidence => "evidence",
        JudgeKind::Threshold => "threshold",
    };
    let word = paint(result_style(outcome.result).bold(), result_word(outcome.result));
    let mut lines = vec![format!("{} would have been {word}", paint(STRONG, &result.target))];
    if let Some(breach) = course.breach {
        lines.push(format!(
            "  when       {} into stage {} ({} after the start)",
            words::seconds(breach.after_s),
            breach.stage + 1,
            words::seconds(breach.at_s)
        ));
        lines.extend(outcome.causes.iter().flat_map(super::human::cause));
    } else {
        lines.push(format!("  reason     {}", outcome.reason));
    }
    lines.push(format!(
        "  judged     {} looks over {} by the {judge} judge",
        words::count(course.looks),
        words::seconds(course.last_at_s)
    ));
    lines.join("\n")
}
