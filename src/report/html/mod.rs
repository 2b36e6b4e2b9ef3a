//! One page for people who would rather look than read: no script, no network, one file.
//!
//! A policy in the page itself forbids everything but its own style, so that a name that gets
//! through all escaping still can't load or run anything.

use super::escape::{self, xml};
use super::story::Story;
use super::words::{self, Tone};
use crate::published::ResultLine;

mod chart;

mod curves;

mod tables;

const STYLE: &str = include_str!("page.css");

pub(super) fn render(result: &ResultLine, story: Option<&Story>) -> String {
    let title = format!(
        "{}: {} {}",
        words::result(result.outcome.result),
        result.target,
        result.outcome.candidate_revision
    );
    let body = story.map_or_else(String::new, |story| {
        [
            curves::render(story),
            tables::stages(story),
            tables::happened(story),
            tables::numbers(story),
        ]
        .concat()
    });
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{}<main>\n{}{body}</main>\n{}</body>\n</html>\n",
        xml(&escape::line(&title)),
        header(result),
        facts(result, story),
        footer(result, story)
    )
}

fn header(result: &ResultLine) -> String {
    let outcome = &result.outcome;
    let tone = Tone::of_result(outcome.result);
    format!(
        "<header class=\"{}\">\n<h1><span class=\"word\">{} {}</span> {} {}</h1>\n<p class=\"reason\">{}</p>\n</header>\n",
        tone.class(),
        tone.mark(),
        words::result(outcome.result),
        xml(&result.target),
        xml(&outcome.candidate_revision),
        xml(&outcome.reason)
    )
}

fn facts(result: &ResultLine, story: Option<&Story>) -> String {
    let outcome = &result.outcome;
    let mut rows = vec![("Serves now", words::served(outcome)), ("Speed", words::speed(outcome))];
    rows.push(("Exit code", outcome.exit_code.to_string()));
    rows.extend(result.id.clone().map(|id| ("Promotion", id)));
    if let Some(story) = story {
        rows.push(("From", story.plan.stable.name.clone()));
        rows.push(("Began", story.started.format("%Y-%m-%d %H:%M:%S UTC").to_string()));
        rows.push(("By", story.by.clone()));
        rows.push(("Policy", story.plan.policy_source.clone()));
    }
    if let Some(would) = &outcome.would_have {
        let said =
            format!("would have been {} at stage {}", words::result(would.result), would.stage);
        rows.push(("Observed only", said));
    }
    let rows = rows
        .iter()
        .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", xml(value)));
    let causes = outcome.causes.iter().map(|cause| {
        let (condition, said) = (xml(&cause.condition), xml(&words::cause(cause)));
        format!("<p><b>{condition}</b> {said}</p>\n")
    });
    let causes: String = causes.collect();
    let causes = if causes.is_empty() {
        causes
    } else {
        format!("<section><h2>Causes</h2>\n{causes}</section>\n")
    };
    let next = result.next.as_ref().map_or_else(String::new, |next| {
        let next = xml(&escape::line(next));
        format!(
            "<section><h2>To go on by hand</h2>\n<code class=\"command\">{next}</code></section>\n"
        )
    });
    format!("<dl>\n{}</dl>\n{causes}{next}", rows.collect::<String>())
}

fn footer(result: &ResultLine, story: Option<&Story>) -> String {
    let hash =
        story.map_or_else(String::new, |story| format!(", plan {}", &story.plan.hash()[..12]));
    format!(
        "<footer class=\"faint\">{} of gate{hash}. Times count from the promotion's start.</footer>\n",
        xml(&result.schema)
    )
}
