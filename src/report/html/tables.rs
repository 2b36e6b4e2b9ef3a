//! What is read rather than seen: stages, events, and the curves as numbers.

use crate::analysis::Reading;
use crate::history::AskedFor;
use crate::report::escape::xml;
use crate::report::story::{StageStory, Story};
use crate::report::words::{self, NONE, Tone};
use crate::rollout::{Ask, Event};

/// Events that are listed; between the first and the last of more, some are left out.
const EVENTS_MAX: usize = 400;
/// Looks in the table of numbers.
const LOOKS_MAX: usize = 600;

pub(super) fn stages(story: &Story) -> String {
    let rows = story.stages.iter().enumerate().flat_map(|(at, stage)| stage_rows(story, at, stage));
    format!(
        "<section>\n<h2>Stages</h2>\n<table><caption>Each condition at the newest look of its stage</caption>\n\
         <thead><tr><th scope=\"col\">Stage</th><th scope=\"col\">Condition</th><th scope=\"col\" class=\"number\">{}</th>\
         <th scope=\"col\" class=\"number\">{}</th><th scope=\"col\" class=\"number\">Limit</th><th scope=\"col\" class=\"number\">Requests</th></tr></thead>\n\
         <tbody>\n{}</tbody></table>\n</section>\n",
        xml(&story.plan.release.name),
        xml(&story.plan.stable.name),
        rows.collect::<String>()
    )
}

fn stage_rows(story: &Story, at: usize, stage: &StageStory) -> Vec<String> {
    let held = stage
        .held
        .map_or_else(String::new, |held| format!(", held {}", words::seconds(held.as_secs_f64())));
    let sure = stage.confidence.map_or_else(String::new, |sure| {
        format!(", {} sure that it is worse", words::confidence(Some(sure)))
    });
    let unknown = stage.unknown.join("; ");
    let unknown = if unknown.is_empty() { unknown } else { format!("<br>{}", xml(&unknown)) };
    let head = format!(
        "<b>{}: {}</b><br>{}<span class=\"faint\">{held}{sure}{unknown}</span>",
        at + 1,
        stage.plan.share,
        words::stage_end(stage)
    );
    let count = stage.readings.len().max(1);
    let head = format!("<th scope=\"rowgroup\" rowspan=\"{count}\">{head}</th>");
    if stage.readings.is_empty() {
        return vec![format!("<tr>{head}<td colspan=\"5\">{NONE}</td></tr>\n")];
    }
    let row = |(k, reading): (usize, &Reading)| {
        let head = if k == 0 { head.as_str() } else { "" };
        format!("<tr>{head}{}</tr>\n", reading_cells(story, reading))
    };
    stage.readings.iter().enumerate().map(row).collect()
}

fn reading_cells(story: &Story, reading: &Reading) -> String {
    let [seen, baseline, limit, requests] = words::values(reading).map(|value| xml(&value));
    let cell = |of: &str, value: &str| {
        format!("<td class=\"number\" data-of=\"{}\">{value}</td>", xml(of))
    };
    [
        format!("<td>{}</td>", xml(&reading.condition)),
        cell(&story.plan.release.name, &seen),
        cell(&story.plan.stable.name, &baseline),
        cell("limit", &limit),
        cell("requests", &requests),
    ]
    .concat()
}

pub(super) fn happened(story: &Story) -> String {
    let event = |event: &Event| {
        let name = serde_json::to_value(event.event).ok();
        let name = name.as_ref().and_then(|name| name.as_str()).unwrap_or_default();
        // A stage's own message names it already.
        let stage = event.stage.filter(|_| !event.message.starts_with("stage "));
        let stage = stage.map_or_else(String::new, |stage| format!("stage {stage}: "));
        (event.at, name.to_owned(), format!("{stage}{}", event.message))
    };
    let ask = |(what, ask): &(AskedFor, Ask)| {
        let reason = ask.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        (ask.at, asked(*what).to_owned(), format!("asked by {}{reason}", ask.by))
    };
    let mut all: Vec<_> =
        story.events.iter().map(event).chain(story.asks.iter().map(ask)).collect();
    all.sort_by_key(|(at, ..)| *at);
    let left_out = all.len().saturating_sub(EVENTS_MAX);
    if left_out > 0 {
        all.drain(EVENTS_MAX / 2..EVENTS_MAX / 2 + left_out);
    }
    let rows = all.iter().map(|(at, name, message)| {
        format!(
            "<li><time datetime=\"{}\">{}</time><span><b>{name}</b> {}</span></li>\n",
            at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
            words::seconds(story.seconds(*at)),
            xml(message)
        )
    });
    let rows: String = rows.collect();
    let left_out = match left_out {
        0 => String::new(),
        left_out => format!("<p class=\"faint\">{left_out} in the middle are left out.</p>\n"),
    };
    format!("<section>\n<h2>What happened</h2>\n<ol>\n{rows}</ol>\n{left_out}</section>\n")
}

const fn asked(what: AskedFor) -> &'static str {
    match what {
        AskedFor::Abort => "abort",
        AskedFor::Hold => "hold",
        AskedFor::Resume => "resume",
        AskedFor::Approve { .. } => "approve",
        AskedFor::Supersede => "supersede",
    }
}

/// The curves as numbers.
pub(super) fn numbers(story: &Story) -> String {
    if story.looks.is_empty() {
        return String::new();
    }
    let (stable, release) = (xml(&story.plan.stable.name), xml(&story.plan.release.name));
    let heads = [
        "After".to_owned(),
        "Verdict".to_owned(),
        format!("{release}: errors"),
        format!("{stable}: errors"),
        format!("{release}: p95"),
        format!("{stable}: p95"),
        format!("{release}: requests"),
    ];
    let percent = |value: Option<f64>| value.map_or(NONE.to_owned(), words::percent);
    let ms = |value: Option<f64>| value.map_or(NONE.to_owned(), |ms| format!("{ms:.0} ms"));
    let left_out = story.looks.len().saturating_sub(LOOKS_MAX);
    let rows = story.looks.iter().skip(left_out).map(|look| {
        let tone = Tone::of_verdict(look.verdict);
        let verdict = format!(
            "<span class=\"{}\"><span class=\"word\">{}</span></span>",
            tone.class(),
            look.verdict
        );
        let cells = [
            words::seconds(story.seconds(look.at)),
            verdict,
            percent(look.candidate.errors),
            percent(look.baseline.errors),
            ms(look.candidate.p95_ms),
            ms(look.baseline.p95_ms),
            format!("{:.0}", look.candidate.requests),
        ];
        let cells = heads
            .iter()
            .zip(cells)
            .map(|(head, cell)| format!("<td class=\"number\" data-of=\"{head}\">{cell}</td>"));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    });
    let rows: String = rows.collect();
    let heads: String = heads
        .iter()
        .map(|head| format!("<th scope=\"col\" class=\"number\">{head}</th>"))
        .collect();
    format!(
        "<section>\n<details><summary>The curves as numbers: the newest {} looks</summary>\n<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody></table>\n</details>\n</section>\n",
        story.looks.len() - left_out
    )
}
