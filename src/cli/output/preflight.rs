//! What the traffic can prove, for people.

use super::plan::{self, table};
use super::style::{BAD, CARE, GOOD, STRONG, paint};
use super::words;
use crate::cli::preflight::{Preflight, StageOutlook};
use crate::policy::PROXY;

pub(crate) fn render(preflight: &Preflight) -> String {
    let Preflight { target, release, stages, .. } = preflight;
    let mut parts = Vec::new();
    if let Some(findings) = &preflight.findings {
        let title = paint(STRONG, &format!("{target}: can {release} be promoted?"));
        let found = plan::findings(findings);
        let nothing = || format!("{}: nothing speaks against it", paint(GOOD, "good"));
        parts.push(format!("{title}\n{}", found.unwrap_or_else(nothing)));
    }
    if !stages.is_empty() {
        let title = paint(STRONG, &format!("{target}: can the traffic prove {release}?"));
        parts.push([vec![title], traffic(preflight)].concat().join("\n"));
        parts.push(table(&rows(stages)));
    }
    let warnings = preflight.warnings.iter().map(|text| format!("{}: {text}", paint(CARE, "note")));
    parts.extend(warnings);
    parts.join("\n\n")
}

fn traffic(preflight: &Preflight) -> Vec<String> {
    let source = match preflight.measured_over_s {
        Some(seconds) => format!("measured over {}", words::seconds(seconds)),
        None => "as given".to_owned(),
    };
    let mut lines = vec![format!(
        "traffic    {:.1} requests/s ({source}), {:.2} % of stable's fail",
        preflight.requests_per_s,
        preflight.stable_error_share * 100.0
    )];
    lines.extend(preflight.source_interval_s.map(|every| {
        let source = match (&preflight.findings, preflight.source.as_str()) {
            (Some(_), PROXY) => "the pods' own metrics",
            (Some(_) | None, source) => source,
        };
        format!("source     {source}, scraped every {}", words::seconds(every))
    }));
    lines
}

fn rows(stages: &[StageOutlook]) -> Vec<Vec<String>> {
    let head = ["stage", "share", "hold", "deadline", "passes after", "catches", "provable"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(stages.iter().map(row));
    rows
}

fn row(stage: &StageOutlook) -> Vec<String> {
    let points = |errors: f64| format!("+{:.1} points of errors", errors * 100.0);
    let health = stage.share.is_zero();
    vec![
        stage.stage.to_string(),
        stage.share.to_string(),
        words::seconds(stage.hold_s),
        words::seconds(stage.deadline_s),
        stage.passes_after_s.map_or("–".to_owned(), words::seconds),
        match (health, stage.catches_errors_share) {
            (true, _) => "failing probes".to_owned(),
            (false, least) => least.map_or("–".to_owned(), points),
        },
        if stage.provable { paint(GOOD, "yes") } else { paint(BAD, "no") },
    ]
}
