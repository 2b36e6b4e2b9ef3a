//! Events and results in plain words.

use anstyle::Style;
use chrono::{DateTime, Utc};

use super::style::{BAD, BUSY, CARE, FAINT, GOOD, STRONG, paint};
use super::words;
use crate::analysis::{Cause, in_unit};
use crate::published::{EventLine, PromotionStatus, ResultLine};
use crate::report::result_word;
use crate::rollout::{EventName, Outcome, ResultWord, TrafficIs};

/// Returns one line for something that happened.
pub(crate) fn event(line: &EventLine) -> String {
    let at = paint(FAINT, &words::clock(line.at));
    let name = event_name(line.event);
    let stage = line.stage.map_or(String::new(), |stage| format!("stage {stage}: "));
    // A stage's own message names it already.
    let stage = if line.message.starts_with("stage ") { String::new() } else { stage };
    format!(
        "{at} {} {stage}{}",
        paint(event_style(line.event), &format!("{name:<20}")),
        line.message
    )
}

/// Returns the published name, as JSON has it.
fn event_name(event: EventName) -> String {
    let name = serde_json::to_value(event).ok();
    name.as_ref().and_then(|name| name.as_str()).unwrap_or_default().to_owned()
}

const fn event_style(event: EventName) -> Style {
    match event {
        EventName::StagePassed
        | EventName::AdoptionFinished
        | EventName::RollbackVerified
        | EventName::EvidenceBack
        | EventName::CleanupFinished => GOOD,
        EventName::RollbackStarted | EventName::RollbackIneffective | EventName::EffectFailed => {
            BAD
        }
        EventName::HumanRequested
        | EventName::EvidenceLost
        | EventName::StageHeld
        | EventName::PromotionWaiting
        | EventName::PromotionSuperseded => CARE,
        EventName::PromotionStarted
        | EventName::PromotionFinished
        | EventName::StageEntered
        | EventName::ShareAsked
        | EventName::ShareSeen
        | EventName::VerdictChanged
        | EventName::AdoptionStarted => BUSY,
    }
}

pub(crate) const fn result_style(result: ResultWord) -> Style {
    match result {
        ResultWord::Promoted | ResultWord::Unchanged => GOOD,
        ResultWord::RolledBack | ResultWord::Error => BAD,
        ResultWord::Aborted
        | ResultWord::Superseded
        | ResultWord::Inconclusive
        | ResultWord::Refused => CARE,
    }
}

/// Returns the result as a block: what happened, why, how fast, what is served, what to type next.
pub(crate) fn result(line: &ResultLine) -> String {
    let outcome = &line.outcome;
    let mark = match outcome.result {
        ResultWord::Promoted | ResultWord::Unchanged => '✔',
        ResultWord::RolledBack | ResultWord::Error => '✘',
        ResultWord::Aborted
        | ResultWord::Superseded
        | ResultWord::Inconclusive
        | ResultWord::Refused => '‖',
    };
    let title = format!("{mark} {}", result_word(outcome.result));
    let mut rows = vec![format!(
        "{}  {} {}",
        paint(result_style(outcome.result).bold(), &title),
        paint(STRONG, &line.target),
        outcome.candidate_revision
    )];
    rows.push(format!("  reason     {}", outcome.reason));
    rows.extend(outcome.causes.iter().flat_map(cause));
    rows.extend(fast(outcome));
    rows.push(format!("  serves     {}", served(outcome)));
    if let Some(would) = &outcome.would_have {
        rows.push(format!(
            "  observed   it would have been {} at stage {} after {}",
            result_word(would.result),
            would.stage,
            words::seconds(would.after_s)
        ));
    }
    rows.extend(line.id.as_ref().map(|id| format!("  id         {id}")));
    rows.extend(next(line).map(|next| format!("  next       {}", paint(STRONG, &next))));
    rows.join("\n")
}

pub(crate) fn cause(cause: &Cause) -> Vec<String> {
    let mut rows = vec![format!("  cause      {}", cause.condition)];
    let unit = |value: f64| in_unit(&cause.condition, value);
    let mut parts: Vec<String> = Vec::new();
    parts.extend(cause.seen.map(|seen| format!("seen {}", unit(seen))));
    parts.extend(cause.limit.map(|limit| format!("limit {}", unit(limit))));
    parts.extend(cause.baseline.map(|baseline| format!("baseline {}", unit(baseline))));
    parts.extend(cause.requests.map(|requests| format!("{} requests", words::count(requests))));
    parts.extend(cause.confidence.map(|sure| format!("{:.1} % sure", sure * 100.0)));
    if !parts.is_empty() {
        rows.push(format!("             {}", parts.join(", ")));
    }
    rows
}

fn fast(outcome: &Outcome) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(outcome.detected_after_s.map(|s| format!("detected after {s:.1} s")));
    parts.extend(outcome.safe_after_ms.map(|ms| format!("safe after {}", words::milliseconds(ms))));
    let drained = outcome.drained_after_ms;
    parts.extend(drained.map(|ms| format!("drained after {}", words::milliseconds(ms))));
    if outcome.duration_s > 0.0 {
        parts.push(format!("{} in all", words::seconds(outcome.duration_s)));
    }
    (!parts.is_empty()).then(|| format!("  time       {}", parts.join(", ")))
}

fn served(outcome: &Outcome) -> String {
    let stable = &outcome.stable_revision;
    match outcome.traffic {
        TrafficIs::Safe => format!("{stable}, everything"),
        TrafficIs::Unchanged => format!("{stable}: nothing was changed"),
        TrafficIs::Candidate => {
            format!("{} gets {}", outcome.candidate_revision, outcome.final_share)
        }
        TrafficIs::Unknown => "unknown: look at `gate status`".to_owned(),
    }
}

fn next(line: &ResultLine) -> Option<String> {
    let history = || line.id.as_ref().map(|id| format!("gate history {} --id {id}", line.target));
    line.next.clone().or_else(|| match line.outcome.result {
        ResultWord::Promoted | ResultWord::Unchanged => None,
        ResultWord::RolledBack
        | ResultWord::Aborted
        | ResultWord::Superseded
        | ResultWord::Inconclusive
        | ResultWord::Error
        | ResultWord::Refused => history(),
    })
}

/// Returns one line for a look: the verdict, why, and what is seen.
pub(crate) fn look(at: DateTime<Utc>, run: &PromotionStatus) -> String {
    let seen = run.readings.iter().filter_map(|reading| {
        reading
            .seen
            .map(|seen| format!("{}: {}", reading.condition, in_unit(&reading.condition, seen)))
    });
    let parts: Vec<String> = run.unknown.iter().cloned().chain(seen).collect();
    let at = paint(FAINT, &words::clock(at));
    format!("{at} {:<20} {}: {}", "look", run.verdict, parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::Share;

    fn outcome(result: ResultWord, exit_code: u8) -> Outcome {
        Outcome {
            result,
            exit_code,
            reason: "error_rate > 5%: 8.10 % seen".into(),
            causes: vec![Cause {
                condition: "error_rate > 5%".into(),
                seen: Some(0.081),
                limit: Some(0.05),
                baseline: Some(0.001),
                confidence: Some(0.994),
                requests: Some(1234),
            }],
            stable_revision: "v1".into(),
            candidate_revision: "v2".into(),
            final_share: Share::ZERO,
            stages_passed: 1,
            detected_after_s: Some(48.0),
            safe_after_ms: Some(12),
            drained_after_ms: Some(1340),
            duration_s: 61.2,
            traffic: TrafficIs::Safe,
            observe_only: false,
            would_have: None,
        }
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn a_result_says_why_how_fast_and_what_next() {
        let outcome = outcome(ResultWord::RolledBack, 3);
        let line = ResultLine::new("20270115-080000-abcdef", "local/checkout", outcome);
        insta::assert_snapshot!(plain(&result(&line)), @r"
        ✘ rolled back  local/checkout v2
          reason     error_rate > 5%: 8.10 % seen
          cause      error_rate > 5%
                     seen 8.10 %, limit 5.00 %, baseline 0.10 %, 1 234 requests, 99.4 % sure
          time       detected after 48.0 s, safe after 12 ms, drained after 1.3 s, 1 min 1 s in all
          serves     v1, everything
          id         20270115-080000-abcdef
          next       gate history local/checkout --id 20270115-080000-abcdef
        ");
    }

    #[test]
    fn a_refusal_says_that_nothing_was_changed() {
        let line = ResultLine::not_started(
            "local/checkout",
            ResultWord::Refused,
            7,
            "v1",
            "v2",
            "v2 is quarantined".into(),
            Some("gate promote local/checkout --release v2 --retry REASON".into()),
        );
        insta::assert_snapshot!(plain(&result(&line)), @r"
        ‖ refused  local/checkout v2
          reason     v2 is quarantined
          serves     v1: nothing was changed
          next       gate promote local/checkout --release v2 --retry REASON
        ");
    }

    #[test]
    fn an_event_is_one_line() {
        let line = EventLine {
            schema: crate::published::EVENT_SCHEMA.into(),
            event: EventName::StagePassed,
            at: DateTime::UNIX_EPOCH,
            promotion: "p".into(),
            target: "local/checkout".into(),
            stage: Some(2),
            share: None,
            message: "passed".into(),
        };
        assert_eq!(plain(&event(&line)), "00:00:00 stage.passed         stage 2: passed");
    }
}
