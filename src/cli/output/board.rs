//! Where a promotion stands, as one block of a few lines: redrawn in place on a terminal, printed
//! once by `gate status`. A pure function of what the host told, the time and the width.

use anstyle::Style;
use chrono::{DateTime, Utc};

use super::line::Line;
use super::series::{Point, Series, spark};
use super::style::{BAD, BUSY, CARE, FAINT, GOOD, PLAIN, STRONG};
use super::{readings, words};
use crate::analysis::VerdictWord;
use crate::published::{PromotionStatus, StageStatus, StatusLine};

/// An error rate below this looks flat: noise is no mountain.
const ERRORS_SCALE_MIN: f64 = 0.01;
/// The same for the response time, in milliseconds.
const P95_SCALE_MIN_MS: f64 = 10.0;

/// What the host has told up to now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board {
    status: Option<StatusLine>,
    series: Series,
}

impl Board {
    pub(crate) fn take(&mut self, status: StatusLine) {
        if let Some(sample) = status.promotion.as_ref().and_then(|run| run.sample.as_ref()) {
            self.series.take(sample);
        }
        self.status = Some(status);
    }

    /// Returns the block.
    pub(crate) fn lines(&self, now: DateTime<Utc>, width: usize) -> Vec<Line> {
        let Some(status) = &self.status else { return Vec::new() };
        match &status.promotion {
            Some(run) => self.running(status, run, now, width),
            None => idle(status),
        }
    }

    /// Returns the block as text.
    pub(crate) fn text(&self, now: DateTime<Utc>, width: usize) -> String {
        let lines: Vec<String> =
            self.lines(now, width).iter().map(|line| line.render(width)).collect();
        lines.join("\n")
    }

    fn running(
        &self,
        status: &StatusLine,
        run: &PromotionStatus,
        now: DateTime<Utc>,
        width: usize,
    ) -> Vec<Line> {
        let mut lines = vec![head(status, run, now), stages(run), instances(status, run)];
        if let Some(trouble) = &run.trouble {
            lines.push(Line::plain("trouble    ").and(CARE, trouble));
        }
        lines.extend(readings::table(&run.readings, width));
        lines.extend(self.sparks(status, run));
        lines.push(verdict(run));
        lines.extend(waits(status, run, now));
        lines
    }

    fn sparks(&self, status: &StatusLine, run: &PromotionStatus) -> Vec<Line> {
        if self.series.candidate.is_empty() && self.series.baseline.is_empty() {
            return Vec::new();
        }
        let revisions = [(&status.stable_revision, false), (&run.release, true)];
        let percent = |value: f64| format!("{:.2} %", value * 100.0);
        let ms = |value: f64| format!("{value:.0} ms");
        vec![
            self.spark_line("errors", revisions, |p| p.errors, ERRORS_SCALE_MIN, percent),
            self.spark_line("p95", revisions, |p| p.p95_ms, P95_SCALE_MIN_MS, ms),
        ]
    }

    /// Both revisions on one scale, so that they can be compared.
    fn spark_line(
        &self,
        name: &str,
        revisions: [(&String, bool); 2],
        value: impl Fn(&Point) -> Option<f64>,
        scale_min: f64,
        in_unit: impl Fn(f64) -> String,
    ) -> Line {
        let both = self.series.baseline.iter().chain(&self.series.candidate);
        let most = both.filter_map(&value).fold(scale_min, f64::max);
        let mut line = Line::plain(format!("{name:<11}"));
        for (revision, is_candidate) in revisions {
            let points = if is_candidate { &self.series.candidate } else { &self.series.baseline };
            let newest = points.back().and_then(&value).map_or("–".to_owned(), &in_unit);
            let style = if is_candidate { BUSY } else { PLAIN };
            line = line
                .and(FAINT, format!("{revision} "))
                .and(style, spark(points.iter().map(&value), most))
                .and(PLAIN, format!(" {newest}   "));
        }
        line
    }
}

fn head(status: &StatusLine, run: &PromotionStatus, now: DateTime<Utc>) -> Line {
    let elapsed = (now - run.started).num_milliseconds() as f64 / 1000.0;
    Line::of(STRONG, &status.target)
        .and(PLAIN, format!("  {} → ", status.stable_revision))
        .and(STRONG, &run.release)
        .and(PLAIN, "  ")
        .and(phase_style(&run.phase), phase(&run.phase))
        .and(FAINT, format!("  {}  policy: {}", words::seconds(elapsed), run.policy_source))
}

/// Returns a phase as people say it.
pub(crate) fn phase(word: &str) -> String {
    word.replace('_', " ")
}

fn phase_style(word: &str) -> Style {
    match word {
        "rolling_back" => BAD,
        "parked" | "waiting" => CARE,
        _ => BUSY,
    }
}

fn stages(run: &PromotionStatus) -> Line {
    let mut line = Line::default();
    for (at, stage) in run.stages.iter().enumerate() {
        if at > 0 {
            line = line.and(FAINT, " ─ ");
        }
        let (style, text) = stage_mark(run, at, stage);
        line = line.and(style, text);
    }
    match run.phase.as_str() {
        "adopting" => line.and(FAINT, " ─ ").and(BUSY, "● adopting"),
        "cleaning" => line.and(FAINT, " ─ ").and(GOOD, "✔ adopted"),
        "rolling_back" => line.and(FAINT, " ─ ").and(BAD, "↩ back to 0 %"),
        _ => line,
    }
}

fn stage_mark(run: &PromotionStatus, at: usize, stage: &StageStatus) -> (Style, String) {
    let share = stage.share;
    if at < run.stages_passed {
        return (GOOD, format!("✔ {share}"));
    }
    if run.stage != Some(at + 1) {
        let mark =
            if run.phase == "rolling_back" && at == run.stages_passed { '✘' } else { '○' };
        return (FAINT, format!("{mark} {share}"));
    }
    match run.held_s {
        Some(held) => {
            let held = held.floor().min(stage.hold_s);
            (BUSY, format!("● {share} {held:.0}/{:.0} s", stage.hold_s))
        }
        None if run.phase == "parked" => (CARE, format!("‖ {share}")),
        None => (BUSY, format!("◐ {share}")),
    }
}

fn instances(status: &StatusLine, run: &PromotionStatus) -> Line {
    let [ready, wanted] = status.stable_ready;
    let [candidate_ready, candidate_wanted] = run.candidate_ready;
    let share = match run.seen {
        Some(seen) if seen == run.asked => format!("{seen} to {}", run.release),
        Some(seen) => format!("{seen} seen, {} asked", run.asked),
        None => format!("{} asked, not seen yet", run.asked),
    };
    Line::plain("traffic    ").and(STRONG, share).and(
        PLAIN,
        format!(
            "   ready  {} {ready}/{wanted}  {} {candidate_ready}/{candidate_wanted}",
            status.stable_revision, run.release
        ),
    )
}

fn verdict(run: &PromotionStatus) -> Line {
    let (style, word) = match run.verdict {
        VerdictWord::Pass => (GOOD, "✔ pass"),
        VerdictWord::Breach => (BAD, "✘ breach"),
        VerdictWord::Unknown => (CARE, "… unknown"),
    };
    let line = Line::plain("verdict    ").and(style, word);
    let line = match run.confidence {
        Some(sure) => line.and(PLAIN, format!(" ({:.0} % sure that it is worse)", sure * 100.0)),
        None => line,
    };
    if run.unknown.is_empty() {
        line
    } else {
        line.and(PLAIN, format!(": {}", run.unknown.join("; ")))
    }
}

fn waits(status: &StatusLine, run: &PromotionStatus, now: DateTime<Utc>) -> Vec<Line> {
    let waiting = &run.waiting;
    let until = waiting.until.map_or(String::new(), |until| {
        let left = (until - now).num_milliseconds() as f64 / 1000.0;
        format!(" until {} (in {})", words::clock(until), words::seconds(left))
    });
    let style = if waiting.on_person { CARE } else { PLAIN };
    let mut lines =
        vec![Line::plain("waits for  ").and(style, &waiting.for_what).and(PLAIN, until)];
    if waiting.on_person {
        let who =
            Line::plain("you        ").and(STRONG, answers(&status.target, run).join("  or  "));
        lines.push(who);
    }
    lines
}

/// Returns the commands that answer what a promotion waits for.
pub(crate) fn answers(target: &str, run: &PromotionStatus) -> Vec<String> {
    let asks_for_approval = run.waiting.for_what.starts_with("approval");
    let yes = if asks_for_approval { "approve" } else { "resume" };
    vec![format!("gate {yes} {target}"), format!("gate abort {target}")]
}

fn idle(status: &StatusLine) -> Vec<Line> {
    let [ready, wanted] = status.stable_ready;
    let mut lines = vec![
        Line::of(STRONG, &status.target)
            .and(PLAIN, format!("  {} serves everything", status.stable_revision))
            .and(FAINT, format!("  {ready}/{wanted} ready, no promotion runs")),
    ];
    if let Some(last) = &status.last {
        let result = super::human::result_word(last.result);
        lines.push(
            Line::plain("last       ")
                .and(super::human::result_style(last.result), result)
                .and(PLAIN, format!("  {}  {}: {}", last.release, last.id, last.reason))
                .and(FAINT, format!("  {}", last.at.format("%Y-%m-%d %H:%M:%S UTC"))),
        );
    }
    lines
}
