//! Where a promotion stands, as one block of a few lines: redrawn in place on a terminal, printed
//! once by `gate status`. A pure function of what the host told, the time and the width.

use anstyle::Style;
use chrono::{DateTime, Utc};

use super::line::Line;
use super::series::{POINTS_MAX, Point, Series, spark};
use super::style::{BAD, BUSY, CARE, FAINT, GOOD, PLAIN, STRONG};
use super::{readings, words};
use crate::analysis::VerdictWord;
use crate::published::{PromotionStatus, StageStatus, StatusLine};

/// An error rate below this looks flat: noise is no mountain.
const ERRORS_SCALE_MIN: f64 = 0.01;
/// The same for the response time, in milliseconds.
const P95_SCALE_MIN_MS: f64 = 10.0;

/// Less is nothing to say.
const SURE_MIN: f64 = 0.5;

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
        lines.extend(self.sparks(status, run, width));
        lines.push(verdict(run));
        lines.extend(waits(status, run, now));
        lines
    }

    fn sparks(&self, status: &StatusLine, run: &PromotionStatus, width: usize) -> Vec<Line> {
        if self.series.candidate.is_empty() && self.series.baseline.is_empty() {
            return Vec::new();
        }
        let names = [status.stable_revision.as_str(), run.release.as_str()];
        let percent = |value: f64| format!("{:.2} %", value * 100.0);
        let ms = |value: f64| format!("{value:.0} ms");
        vec![
            self.spark_line("errors", names, width, |p| p.errors, ERRORS_SCALE_MIN, percent),
            self.spark_line("p95", names, width, |p| p.p95_ms, P95_SCALE_MIN_MS, ms),
        ]
    }

    /// Both revisions on one scale, so that they can be compared; as much of the past as fits.
    fn spark_line(
        &self,
        what: &str,
        names: [&str; 2],
        width: usize,
        value: impl Fn(&Point) -> Option<f64>,
        scale_min: f64,
        in_unit: impl Fn(f64) -> String,
    ) -> Line {
        let arms = [&self.series.baseline, &self.series.candidate];
        let most = arms.into_iter().flatten().filter_map(&value).fold(scale_min, f64::max);
        let newest = arms.map(|arm| arm.back().and_then(&value).map_or("–".to_owned(), &in_unit));
        let words: usize =
            names.into_iter().chain(newest.iter().map(String::as_str)).map(wide).sum();
        // The label, a blank on both sides of each row of bars, and three between the revisions.
        let bars = (width.saturating_sub(11 + words + 4 + 3) / 2).clamp(1, POINTS_MAX);
        let mut line = Line::plain(format!("{what:<11}"));
        for (at, (arm, name)) in arms.into_iter().zip(names).enumerate() {
            let recent = arm.iter().skip(arm.len().saturating_sub(bars));
            let (gap, style) = if at == 0 { ("", PLAIN) } else { ("   ", BUSY) };
            line = line
                .and(FAINT, format!("{gap}{name} "))
                .and(style, spark(recent.map(&value), most))
                .and(PLAIN, format!(" {}", newest[at]));
        }
        line
    }
}

fn wide(text: &str) -> usize {
    text.chars().count()
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
        Some(sure) if sure >= SURE_MIN => {
            line.and(PLAIN, format!(" ({:.0} % sure that it is worse)", sure * 100.0))
        }
        Some(_) | None => line,
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
        format!(" until {} (in {})", words::moment(until, now), words::seconds(left))
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
        let result = crate::report::result_word(last.result);
        lines.push(
            Line::plain("last       ")
                .and(super::human::result_style(last.result), result)
                .and(PLAIN, format!("  {}  {}: {}", last.release, last.id, last.reason))
                .and(FAINT, format!("  {}", last.at.format("%Y-%m-%d %H:%M:%S UTC"))),
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::analysis::Reading;
    use crate::published::{STATUS_SCHEMA, Sample};
    use crate::rollout::Waiting;
    use crate::share::Share;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(1_800_000_000 + second)
    }

    fn share(percent: f64) -> Share {
        Share::from_percent(percent).unwrap()
    }

    fn reading(condition: &str, values: [f64; 3], requests: Option<u64>) -> Reading {
        let [seen, limit, baseline] = values.map(Some);
        Reading { condition: condition.into(), seen, limit, baseline, requests, unknown: None }
    }

    fn run() -> PromotionStatus {
        let stage = |percent| StageStatus {
            share: share(percent),
            hold_s: 30.0,
            deadline_s: 600.0,
            approval: false,
        };
        PromotionStatus {
            id: "20270115-080000-abcdef".into(),
            release: "v2".into(),
            started: at(0),
            by: "ada".into(),
            policy_source: "the app file of checkout".into(),
            phase: "holding".into(),
            stage: Some(2),
            stages: [10.0, 50.0, 100.0].map(stage).to_vec(),
            stages_passed: 1,
            asked: share(50.0),
            seen: Some(share(50.0)),
            held_s: Some(18.4),
            waiting: Waiting {
                for_what: "the hold to be over".into(),
                until: Some(at(62)),
                on_person: false,
            },
            verdict: VerdictWord::Unknown,
            unknown: vec!["collecting evidence".into()],
            readings: vec![
                reading("error_rate > 5%", [0.021, 0.05, 0.001], Some(1234)),
                reading("response_time_p95 > 1000ms", [870.0, 1000.0, 41.0], Some(1234)),
                reading("error_rate > 1.3x baseline", [0.021, 0.0013, 0.001], Some(1234)),
            ],
            confidence: Some(0.93),
            candidate_ready: [1, 1],
            trouble: None,
            sample: None,
        }
    }

    fn board(run: Option<PromotionStatus>) -> Board {
        let mut board = Board::default();
        for look in 0..40_u32 {
            let n = f64::from(look) + 1.0;
            let bad = (n - 30.0).max(0.0);
            let mut run = run.clone();
            if let Some(run) = &mut run {
                run.sample = Some(Sample {
                    at_s: 5.0 * n,
                    bounds_ms: vec![10.0, 100.0, 1000.0],
                    baseline: vec![100.0 * n, 0.0, 50.0 * n, n, 0.0],
                    candidate: vec![100.0 * n, bad * bad, 50.0 * n + bad, n + bad * bad, 0.0],
                });
            }
            board.take(StatusLine {
                schema: STATUS_SCHEMA.into(),
                at: at(50),
                target: "local/checkout".into(),
                stable_revision: "v1".into(),
                stable_ready: [1, 1],
                promotion: run,
                last: None,
            });
        }
        board
    }

    fn plain(board: &Board, width: usize) -> String {
        let text = anstream::adapter::strip_str(&board.text(at(50), width)).to_string();
        for line in text.lines() {
            assert!(line.chars().count() <= width, "wider than {width}: {line}");
        }
        text
    }

    #[test]
    fn holding_at_80_columns() {
        insta::assert_snapshot!(plain(&board(Some(run())), 80));
    }

    #[test]
    fn holding_at_50_columns() {
        insta::assert_snapshot!(plain(&board(Some(run())), 50));
    }

    #[test]
    fn parked_it_says_who_must_act() {
        let mut run = run();
        (run.phase, run.held_s) = ("parked".into(), None);
        run.waiting.for_what = "a person: the deadline passed without proof".into();
        run.waiting.on_person = true;
        run.trouble = Some("its last probe failed: 503".into());
        insta::assert_snapshot!(plain(&board(Some(run)), 80));
    }

    #[test]
    fn rolling_back_and_adopting() {
        let mut back = run();
        (back.phase, back.stage, back.held_s) = ("rolling_back".into(), None, None);
        back.verdict = VerdictWord::Breach;
        back.readings.clear();
        let mut adopting = back.clone();
        (adopting.phase, adopting.stages_passed) = ("adopting".into(), 3);
        adopting.verdict = VerdictWord::Pass;
        let both = [back, adopting].map(|run| plain(&board(Some(run)), 80));
        insta::assert_snapshot!(both.join("\n\n"));
    }

    #[test]
    fn nothing_runs() {
        insta::assert_snapshot!(plain(&board(None), 80), @"local/checkout  v1 serves everything  1/1 ready, no promotion runs");
    }

    #[test]
    fn no_width_breaks_it() {
        for width in 0..120 {
            plain(&board(Some(run())), width);
        }
    }

    #[test]
    fn nothing_known_is_nothing_drawn() {
        assert_eq!(Board::default().text(at(0), 80), "");
    }
}
