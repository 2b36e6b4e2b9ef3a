//! History for people: the list of promotions, and the whole story of one.

use super::style::{BAD, CARE, FAINT, STRONG, paint};
use super::{human, plan, words};
use crate::analysis::{Judgement, Unknown, Verdict, VerdictWord, in_unit};
use crate::cli::history::Past;
use crate::history::journal::{Body, Entry};
use crate::history::{AskedFor, Record};
use crate::published::EventLine;
use crate::rollout::{Ask, Effect};

/// The least of a reason that is printed, in characters.
const REASON_MIN: usize = 20;

/// Returns the promotions as a table, the newest first.
pub(crate) fn list(pasts: &[Past], width: usize) -> String {
    let head = ["id", "when (UTC)", "release", "result", "stages", "took", "reason"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(pasts.iter().map(row));
    let reason = head.len() - 1;
    let columns = rows[0].len() - 1;
    let wide =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let before: usize = (0..columns).map(|column| wide(column) + plan::GAP).sum();
    let left = width.saturating_sub(before).max(REASON_MIN);
    for row in &mut rows {
        row[reason] = cut(&row[reason], left);
    }
    plan::table(&rows)
}

fn row(past: &Past) -> Vec<String> {
    let outcome = past.outcome.as_ref();
    let text = |text: Option<String>| text.unwrap_or_else(|| "–".into());
    vec![
        past.id.clone(),
        past.at.format("%Y-%m-%d %H:%M").to_string(),
        past.release.clone(),
        outcome
            .map_or("unfinished", |outcome| crate::report::result_word(outcome.result))
            .to_owned(),
        text(outcome.map(|outcome| format!("{}/{}", outcome.stages_passed, past.stages))),
        text(outcome.map(|outcome| words::seconds(outcome.duration_s))),
        text(outcome.map(|outcome| outcome.reason.clone())),
    ]
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Returns everything that was seen, decided and done, in order.
pub(crate) fn tell(past: &Past, records: &[Entry<Record>]) -> String {
    let mut lines = vec![
        format!("{}  {} by {}", paint(STRONG, &past.id), past.release, past.by),
        format!("{}  {}", past.target, past.at.format("%Y-%m-%d %H:%M:%S UTC")),
    ];
    let mut told = Told::default();
    for entry in records {
        let at = paint(FAINT, &words::clock(entry.at));
        let text = match &entry.body {
            Body::Known(record) => told.line(past, record),
            Body::Unknown { schema, .. } => vec![format!("{:<20} of a newer gate", schema)],
        };
        for (number, text) in text.iter().enumerate() {
            let begin = if number == 0 { at.clone() } else { " ".repeat(8) };
            lines.push(format!("{begin} {text}"));
        }
    }
    lines.join("\n")
}

/// What was told last: an effect is asked for until it is seen, and a verdict stands until it changes.
#[derive(Default)]
struct Told {
    verdict: Option<VerdictWord>,
    effects: Vec<Effect>,
}

impl Told {
    fn line(&mut self, past: &Past, record: &Record) -> Vec<String> {
        match record {
            Record::Started { plan, .. } => {
                vec![format!("{:<20} policy: {}", "plan", plan.policy_source)]
            }
            Record::Learned { looks } => {
                let since = looks.first().map_or(0.0, |look| -look.at_s);
                let text = format!("{} looks of the last {}", looks.len(), words::seconds(since));
                vec![format!("{:<20} {text} before it began", "learned")]
            }
            Record::Observed { judgement, .. } => {
                let word = judgement.verdict.word();
                if self.verdict.replace(word) == Some(word) {
                    Vec::new()
                } else {
                    evidence(judgement)
                }
            }
            Record::Decided { effects, .. } => {
                if effects.is_empty() || self.effects == *effects {
                    return Vec::new();
                }
                self.effects.clone_from(effects);
                let effects: Vec<String> = effects.iter().map(|what| effect(*what)).collect();
                vec![format!("{:<20} {}", "decided", effects.join(", then "))]
            }
            Record::Done { effect: what, error: None } => {
                vec![format!("{:<20} {}", "done", effect(*what))]
            }
            Record::Done { effect: what, error: Some(error) } => {
                vec![format!(
                    "{} {}: {error}",
                    paint(BAD, &format!("{:<20}", "failed")),
                    effect(*what)
                )]
            }
            Record::Happened { event } => {
                let text = human::event(&EventLine::new(&past.id, &past.target, event));
                // The time stands before it already.
                vec![text.split_once(' ').map_or(text.clone(), |(_, rest)| rest.to_owned())]
            }
            Record::Asked { what, ask } => vec![asked(*what, ask)],
            Record::Finished { .. } => Vec::new(),
        }
    }
}

fn evidence(judgement: &Judgement) -> Vec<String> {
    let why = match &judgement.verdict {
        Verdict::Pass => String::new(),
        Verdict::Breach { causes } => {
            let causes: Vec<String> = causes.iter().map(ToString::to_string).collect();
            format!(": {}", causes.join("; "))
        }
        Verdict::Unknown { why } => {
            let why: Vec<String> = why.iter().map(Unknown::to_string).collect();
            format!(": {}", why.join("; "))
        }
    };
    let mut lines = vec![format!("{:<20} {}{why}", "evidence", judgement.verdict.word())];
    lines.extend(judgement.readings.iter().map(|reading| {
        let unit = |value: Option<f64>| {
            value.map_or("–".to_owned(), |value| in_unit(&reading.condition, value))
        };
        format!(
            "{:<20}   {}: seen {}, limit {}, baseline {}, {} requests",
            "",
            reading.condition,
            unit(reading.seen),
            unit(reading.limit),
            unit(reading.baseline),
            reading.requests.map_or("–".to_owned(), words::count)
        )
    }));
    lines
}

fn effect(effect: Effect) -> String {
    match effect {
        Effect::EnsureCandidate { share } => format!("have the candidate for {share}"),
        Effect::SetShare { share } => format!("set the share to {share}"),
        Effect::RemoveCandidate => "end the candidate".into(),
        Effect::Adopt => "let stable take the release".into(),
        Effect::RestoreStable => "give stable its old release back".into(),
    }
}

fn asked(what: AskedFor, ask: &Ask) -> String {
    let what = match what {
        AskedFor::Abort => "abort".to_owned(),
        AskedFor::Hold => "hold".to_owned(),
        AskedFor::Resume => "resume".to_owned(),
        AskedFor::Approve { stage } => format!("approve stage {}", stage + 1),
        AskedFor::Supersede => "supersede".to_owned(),
    };
    let reason = ask.reason.as_ref().map_or(String::new(), |reason| format!(" ({reason})"));
    format!("{} {what}, by {}{reason}", paint(CARE, &format!("{:<20}", "asked")), ask.by)
}
