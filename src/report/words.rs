//! Numbers and ends as a report says them.

use super::story::{StageEnd, StageStory};
use crate::analysis::{Cause, Reading, VerdictWord, in_unit};
use crate::rollout::{Outcome, ResultWord, TrafficIs};

/// Where there is no number.
pub(super) const NONE: &str = "–";

/// Returns a length of time: `0.4 s`, `48 s`, `2 min 5 s`, `1 h 2 min`.
pub(super) fn seconds(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{:.1} s", seconds.max(0.0));
    }
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, rest) => format!("{rest} s"),
        (0, minutes, 0) => format!("{minutes} min"),
        (0, minutes, rest) => format!("{minutes} min {rest} s"),
        (hours, 0, _) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

pub(super) fn percent(fraction: f64) -> String {
    format!("{:.2} %", fraction * 100.0)
}

/// Returns a percentage without zeros at its end, for a scale.
pub(super) fn round_percent(fraction: f64) -> String {
    format!("{} %", (fraction * 10_000.0).round() / 100.0)
}

/// Returns how sure it is; nothing that is measured is surer than 99.9 %.
pub(super) fn confidence(sure: Option<f64>) -> String {
    match sure {
        None => NONE.to_owned(),
        Some(sure) if sure > 0.999 => "over 99.9 %".to_owned(),
        Some(sure) => format!("{:.1} %", sure * 100.0),
    }
}

/// Returns how it ended, as people read it.
pub(crate) const fn result(result: ResultWord) -> &'static str {
    match result {
        ResultWord::Promoted => "promoted",
        ResultWord::Unchanged => "unchanged",
        ResultWord::RolledBack => "rolled back",
        ResultWord::Aborted => "aborted",
        ResultWord::Superseded => "superseded",
        ResultWord::Inconclusive => "inconclusive",
        ResultWord::Error => "error",
        ResultWord::Refused => "refused",
    }
}

/// Good, bad, or neither: what a result is drawn as, beside its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Bad,
    Care,
}

impl Tone {
    pub(super) const fn of_result(result: ResultWord) -> Self {
        match result {
            ResultWord::Promoted | ResultWord::Unchanged => Self::Good,
            ResultWord::RolledBack | ResultWord::Error => Self::Bad,
            ResultWord::Aborted
            | ResultWord::Superseded
            | ResultWord::Inconclusive
            | ResultWord::Refused => Self::Care,
        }
    }

    pub(super) const fn of_verdict(verdict: VerdictWord) -> Self {
        match verdict {
            VerdictWord::Pass => Self::Good,
            VerdictWord::Breach => Self::Bad,
            VerdictWord::Unknown => Self::Care,
        }
    }

    pub(super) const fn mark(self) -> &'static str {
        match self {
            Self::Good => "✔",
            Self::Bad => "✘",
            Self::Care => "‖",
        }
    }

    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Care => "care",
        }
    }
}

pub(super) const fn stage_end(stage: &StageStory) -> &'static str {
    match stage.end {
        StageEnd::NotReached => "not reached",
        StageEnd::Passed => "passed",
        StageEnd::PassedOnHealth => "passed on health alone",
        StageEnd::WentBack => "went back",
        StageEnd::Present => "not ended",
    }
}

/// A reading's four values as they are shown: candidate, baseline, limit, requests.
pub(super) fn values(reading: &Reading) -> [String; 4] {
    let unit = |value: Option<f64>| {
        value.map_or(NONE.to_owned(), |value| in_unit(&reading.condition, value))
    };
    let requests = reading.requests.map_or(NONE.to_owned(), |requests| requests.to_string());
    [unit(reading.seen), unit(reading.baseline), unit(reading.limit), requests]
}

/// `8.10 % seen, limit 5.00 %, baseline 0.10 %, 1234 requests, 99.4 % sure`
pub(super) fn cause(cause: &Cause) -> String {
    let unit = |value: f64| in_unit(&cause.condition, value);
    let mut parts: Vec<String> = Vec::new();
    parts.extend(cause.seen.map(|seen| format!("{} seen", unit(seen))));
    parts.extend(cause.limit.map(|limit| format!("limit {}", unit(limit))));
    parts.extend(cause.baseline.map(|baseline| format!("baseline {}", unit(baseline))));
    parts.extend(cause.requests.map(|requests| format!("{requests} requests")));
    parts.extend(cause.confidence.map(|sure| format!("{} sure", confidence(Some(sure)))));
    parts.join(", ")
}

pub(super) fn served(outcome: &Outcome) -> String {
    let stable = &outcome.stable_revision;
    match outcome.traffic {
        TrafficIs::Safe => format!("{stable} serves everything"),
        TrafficIs::Unchanged => "nothing was changed".to_owned(),
        TrafficIs::Candidate => {
            format!("{} serves {}", outcome.candidate_revision, outcome.final_share)
        }
        TrafficIs::Unknown => "who serves is not known".to_owned(),
    }
}

/// `detected after 3.0 s, safe after 12 ms, drained after 340 ms, 61 s in all`
pub(super) fn speed(outcome: &Outcome) -> String {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(outcome.detected_after_s.map(|s| format!("detected after {s:.1} s")));
    parts.extend(outcome.safe_after_ms.map(|ms| format!("safe after {ms} ms")));
    parts.extend(outcome.drained_after_ms.map(|ms| format!("drained after {ms} ms")));
    parts.push(format!("{} in all", seconds(outcome.duration_s)));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn a_length_of_time_reads_well() {
        for (input, expected) in [
            (-1.0, "0.0 s"),
            (0.44, "0.4 s"),
            (48.4, "48 s"),
            (120.0, "2 min"),
            (125.0, "2 min 5 s"),
            (3600.0, "1 h"),
            (3725.0, "1 h 2 min"),
        ] {
            assert_eq!(seconds(input), expected);
        }
    }
}
