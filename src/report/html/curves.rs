//! What happened over time: the share, both revisions against their limits, and the verdicts.

use chrono::{DateTime, Utc};

use super::chart::{Chart, Curve, strip};
use crate::analysis::VerdictWord;
use crate::policy::Condition;
use crate::report::escape::xml;
use crate::report::rates::Rates;
use crate::report::story::{LookPoint, Story};
use crate::report::words;
use crate::share::Share;

/// An error rate below this looks flat: noise is no mountain.
const ERRORS_SCALE_MIN: f64 = 0.01;
/// The same for the response time, in milliseconds.
const P95_SCALE_MIN_MS: f64 = 10.0;
/// Runs of one verdict that are told in words.
const RUNS_MAX: usize = 20;

pub(super) fn render(story: &Story) -> String {
    let length_s = story.seconds(story.ended);
    let times = times(length_s);
    let marks: Vec<f64> =
        story.stages.iter().filter_map(|stage| stage.seen).map(|at| story.seconds(at)).collect();
    let mut text = String::from("<section aria-label=\"Over time\">\n");
    text.push_str(&shares(story, length_s, &marks).render(words::round_percent, xml, &times));
    if story.looks.is_empty() {
        return text
            + "<p class=\"faint\">No look was taken: there is nothing else to draw.</p></section>\n";
    }
    let errors = both(story, "errors", "Error rate", |rates| rates.errors, length_s, &marks);
    let limits = limits(story, |condition| match condition {
        Condition::ErrorRate { limit } => Some(*limit),
        _ => None,
    });
    text.push_str(&Chart { limits, least: ERRORS_SCALE_MIN, ..errors }.render(
        words::round_percent,
        xml,
        &times,
    ));
    let p95 = both(story, "p95", "Response time, p95", |rates| rates.p95_ms, length_s, &marks);
    let limits = limits_of_p95(story);
    let ms = |ms: f64| format!("{ms:.0} ms");
    text.push_str(&Chart { limits, least: P95_SCALE_MIN_MS, ..p95 }.render(ms, xml, &times));
    text.push_str(&verdicts(story, length_s, &times));
    text.push_str(&sure(story, length_s, &marks, &times));
    text + "</section>\n"
}

fn limits(story: &Story, of: impl Fn(&Condition) -> Option<f64>) -> Vec<(f64, String)> {
    let all = story.plan.conditions.iter();
    all.filter_map(|condition| of(condition).map(|limit| (limit, condition.to_string()))).collect()
}

fn limits_of_p95(story: &Story) -> Vec<(f64, String)> {
    limits(story, |condition| match condition {
        Condition::ResponseTime { quantile, limit } if quantile.to_string() == "p95" => {
            Some(limit.as_secs_f64() * 1000.0)
        }
        _ => None,
    })
}

fn shares<'a>(story: &'a Story, length_s: f64, marks: &[f64]) -> Chart<'a> {
    let share = |(at, share): &(DateTime<Utc>, Share)| (story.seconds(*at), Some(share.fraction()));
    let mut points: Vec<_> = story.shares.iter().map(share).collect();
    points.extend(points.last().map(|(_, share)| (length_s, *share)));
    let steps = story
        .shares
        .iter()
        .map(|(at, share)| format!("{share} from {}", words::seconds(story.seconds(*at))));
    Chart {
        id: "share",
        title: "Share of the traffic",
        words: steps.collect::<Vec<_>>().join(", "),
        curves: vec![Curve { class: "candidate", name: &story.plan.release.name, points }],
        limits: Vec::new(),
        marks: marks.to_vec(),
        length_s,
        least: 1.0,
        is_steps: true,
    }
}

fn both<'a>(
    story: &'a Story,
    id: &'static str,
    title: &'static str,
    value: impl Fn(&Rates) -> Option<f64>,
    length_s: f64,
    marks: &[f64],
) -> Chart<'a> {
    let at = |look: &LookPoint| story.seconds(look.at);
    let baseline = story.looks.iter().map(|look| (at(look), value(&look.baseline))).collect();
    let candidate = story.looks.iter().map(|look| (at(look), value(&look.candidate))).collect();
    let (stable, release) = (&story.plan.stable.name, &story.plan.release.name);
    Chart {
        id,
        title,
        words: format!(
            "{stable} (dashed) and {release} (solid); the numbers are in the table below"
        ),
        curves: vec![
            Curve { class: "baseline", name: stable, points: baseline },
            Curve { class: "candidate", name: release, points: candidate },
        ],
        limits: Vec::new(),
        marks: marks.to_vec(),
        length_s,
        least: 0.0,
        is_steps: false,
    }
}

fn verdicts(story: &Story, length_s: f64, times: &str) -> String {
    let looks: Vec<(f64, VerdictWord)> =
        story.looks.iter().map(|look| (story.seconds(look.at), look.verdict)).collect();
    let mut runs: Vec<(VerdictWord, usize)> = Vec::new();
    for (_, verdict) in &looks {
        match runs.last_mut() {
            Some((last, count)) if last == verdict => *count += 1,
            Some(_) | None => runs.push((*verdict, 1)),
        }
    }
    let said: Vec<String> =
        runs.iter().take(RUNS_MAX).map(|(word, count)| format!("{count} × {word}")).collect();
    let words = format!("the verdicts of {} looks, in order: {}", looks.len(), said.join(", "));
    let keys = [("pass", "pass (low)"), ("unknown", "unknown (half)"), ("breach", "breach (full)")];
    let keys = keys.map(|(class, name)| {
        format!(
            "<span class=\"key\"><svg viewBox=\"0 0 28 12\" aria-hidden=\"true\"><rect class=\"{class}\" width=\"28\" height=\"12\"/></svg>{name}</span>"
        )
    });
    format!(
        "<figure><figcaption><h2>Verdict</h2>{}</figcaption>\n{}</figure>\n",
        keys.concat(),
        strip(&looks, length_s, &xml(&words), times)
    )
}

/// How sure it is that the candidate is worse: only the evidence judge has a number for it.
fn sure(story: &Story, length_s: f64, marks: &[f64], times: &str) -> String {
    if story.looks.iter().all(|look| look.confidence.is_none()) {
        return String::new();
    }
    let point = |look: &LookPoint| (story.seconds(look.at), look.confidence);
    Chart {
        id: "sure",
        title: "How sure it is that the candidate is worse",
        words: "from 0 to 100 %; the numbers are in the table below".into(),
        curves: vec![Curve {
            class: "candidate",
            name: &story.plan.release.name,
            points: story.looks.iter().map(point).collect(),
        }],
        limits: Vec::new(),
        marks: marks.to_vec(),
        length_s,
        least: 1.0,
        is_steps: false,
    }
    .render(words::round_percent, xml, times)
}

fn times(length_s: f64) -> String {
    let at = |part: f64| words::seconds(length_s * part);
    format!(
        "<div class=\"times\" aria-hidden=\"true\"><span>0 s</span><span>{}</span><span>{}</span></div>",
        at(0.5),
        at(1.0)
    )
}
