//! What a GitHub runner reads from a step: workflow commands in its log, and the file of its outputs.
//!
//! A runner obeys every line that begins with `::`, wherever it came from. So every text that is
//! printed for people goes through [`text`], and every value of a command through the escapes.

use std::fmt::Write as _;

use crate::policy::Finding;
use crate::policy::diagnostic::Severity;
use crate::published::{EventLine, ResultLine};
use crate::report::escape::line;
use crate::rollout::{EventName, ResultWord};

/// The runner shows so many annotations of a step, and drops the rest unseen.
pub(crate) const ANNOTATIONS_MAX: usize = 10;

/// Bytes of one annotation's message that are of use.
const MESSAGE_CHARS_MAX: usize = 1000;

/// Which kind of annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Error,
    Warning,
    Notice,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }

    const fn of_result(result: ResultWord) -> Self {
        match result {
            ResultWord::Promoted | ResultWord::Unchanged => Self::Notice,
            ResultWord::RolledBack
            | ResultWord::Aborted
            | ResultWord::Superseded
            | ResultWord::Inconclusive
            | ResultWord::Error
            | ResultWord::Refused => Self::Error,
        }
    }
}

/// Returns a text for the log: none of its lines is a command.
#[must_use]
pub(crate) fn text(text: &str) -> String {
    // Colours first: a command may stand behind one.
    let plain = anstream::adapter::strip_str(text).to_string();
    let lines: Vec<String> = plain.split(['\n', '\r']).map(harmless).collect();
    lines.join("\n")
}

/// The runner looks for `::` after blanks, and for the older `##[` anywhere.
fn harmless(line: &str) -> String {
    let line = line.replace("##[", "# #[");
    if line.trim_start().starts_with("::") { format!("| {line}") } else { line }
}

/// Returns a workflow command.
#[must_use]
pub(crate) fn command(name: &str, properties: &[(&str, &str)], message: &str) -> String {
    let properties: Vec<String> =
        properties.iter().map(|(name, value)| format!("{name}={}", property(value))).collect();
    let blank = if properties.is_empty() { "" } else { " " };
    format!("::{name}{blank}{}::{}", properties.join(","), data(message))
}

/// Escapes what follows the second `::`.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Returns an annotation, without a place in a file.
#[must_use]
pub(crate) fn annotation(level: Level, title: &str, message: &str) -> String {
    let message: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
    command(level.word(), &[("title", title)], &message)
}

/// Returns the annotation that sums up a promotion.
#[must_use]
pub(crate) fn of_result(result: &ResultLine) -> String {
    let outcome = &result.outcome;
    let word = crate::report::result_word(outcome.result);
    let title = format!("{} {}: {word}", result.target, outcome.candidate_revision);
    annotation(Level::of_result(outcome.result), &line(&title), &line(&outcome.reason))
}

/// Returns the annotation of a mistake in a file, at its place.
#[must_use]
pub(crate) fn of_finding(finding: &Finding) -> String {
    let level = match finding.severity {
        Severity::Error => Level::Error,
        Severity::Warning => Level::Warning,
    };
    let help = finding.help.as_ref().map(|help| format!("\n{help}")).unwrap_or_default();
    let message: String =
        format!("{}{help}", finding.message).chars().take(MESSAGE_CHARS_MAX).collect();
    let (at, column) = (finding.line.to_string(), finding.column.to_string());
    let place = [("file", finding.file.as_str()), ("line", &at), ("col", &column)];
    command(level.word(), &place, &message)
}

/// The groups of lines that a reader of the log can fold: one for each stage, and what is between.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    is_open: bool,
}

impl Groups {
    /// Returns the commands that come before an event's own line.
    pub(crate) fn before(&mut self, event: &EventLine) -> Vec<String> {
        let title = match event.event {
            EventName::PromotionStarted => "preparing".to_owned(),
            EventName::StageEntered => event.message.clone(),
            EventName::RollbackStarted => "rolling back".to_owned(),
            EventName::AdoptionStarted => "adopting".to_owned(),
            // The last word stands outside, where it is seen without unfolding anything.
            EventName::PromotionFinished => return self.close(),
            EventName::PromotionWaiting
            | EventName::PromotionSuperseded
            | EventName::StageHeld
            | EventName::StagePassed
            | EventName::ShareAsked
            | EventName::ShareSeen
            | EventName::VerdictChanged
            | EventName::HumanRequested
            | EventName::RollbackVerified
            | EventName::RollbackIneffective
            | EventName::AdoptionFinished
            | EventName::EffectFailed
            | EventName::EvidenceLost
            | EventName::EvidenceBack
            | EventName::CleanupFinished => return Vec::new(),
        };
        let mut commands = self.close();
        self.is_open = true;
        commands.push(command("group", &[], &line(&title)));
        commands
    }

    /// Returns what ends the group that is open.
    pub(crate) fn close(&mut self) -> Vec<String> {
        let was_open = std::mem::take(&mut self.is_open);
        if was_open { vec![command("endgroup", &[], "")] } else { Vec::new() }
    }
}

/// Returns the outputs as `$GITHUB_OUTPUT` takes them. The delimiter must be one that nobody who has
/// a say in a value can know: it would end the value, and begin outputs of their own.
#[must_use]
pub(crate) fn outputs(values: &[(&str, String)], delimiter: &str) -> String {
    let mut text = String::new();
    for (name, value) in values {
        let value = if value.contains(delimiter) { "" } else { value.as_str() };
        // Writing into a string can't fail.
        let _ = write!(text, "{name}<<{delimiter}\n{value}\n{delimiter}\n");
    }
    text
}

/// Returns the published outputs of a promotion. `ran_into` is the exit code, which the result of a
/// mistake of usage does not have.
#[must_use]
pub(crate) fn of_promotion(line: &ResultLine, stable_before: &str) -> Vec<(&'static str, String)> {
    let outcome = &line.outcome;
    let word = serde_json::to_value(outcome.result).ok();
    let word = word.as_ref().and_then(|word| word.as_str()).unwrap_or_default().to_owned();
    let seconds = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let usage = outcome.exit_code == crate::cli::Exit::Usage.code();
    vec![
        ("result", if usage { String::new() } else { word }),
        ("exit-code", outcome.exit_code.to_string()),
        ("reason", outcome.reason.clone()),
        ("causes", serde_json::to_string(&outcome.causes).unwrap_or_default()),
        ("promotion-id", line.id.clone().unwrap_or_default()),
        ("revision", outcome.candidate_revision.clone()),
        ("previous-revision", stable_before.to_owned()),
        ("rolled-back", (outcome.result == ResultWord::RolledBack).to_string()),
        ("final-share", outcome.final_share.fraction().to_string()),
        ("detected-after-s", seconds(outcome.detected_after_s)),
        ("duration-s", seconds(Some(outcome.duration_s))),
    ]
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use proptest::prelude::*;

    use super::{Groups, Level, annotation, command, outputs, text};
    use crate::published::EventLine;
    use crate::rollout::{Event, EventName};

    #[test]
    fn commands_are_escaped() {
        assert_eq!(command("endgroup", &[], ""), "::endgroup::");
        assert_eq!(
            command("error", &[("file", "a,b:c%.yaml"), ("line", "3")], "50 %\r\n::x::"),
            "::error file=a%2Cb%3Ac%25.yaml,line=3::50 %25%0D%0A::x::"
        );
        assert_eq!(annotation(Level::Warning, "a", "b"), "::warning title=a::b");
    }

    #[test]
    fn no_line_of_a_text_is_a_command() {
        for (input, expected) in [
            ("plain\n  indented", "plain\n  indented"),
            ("::error::x", "| ::error::x"),
            ("a\r \t::set-output name=x::y", "a\n|  \t::set-output name=x::y"),
            ("a ##[error]x", "a # #[error]x"),
            ("\u{1b}[31m  \u{1b}[0m::error::x", "|   ::error::x"),
        ] {
            assert_eq!(text(input), expected);
        }
    }

    /// As the runner reads the file: `name<<delimiter`, lines up to the delimiter alone.
    fn read(text: &str) -> Vec<(String, String)> {
        let mut lines = text.split('\n');
        let mut read = Vec::new();
        while let Some((name, delimiter)) = lines.next().and_then(|line| line.split_once("<<")) {
            let value: Vec<&str> = lines.by_ref().take_while(|line| *line != delimiter).collect();
            read.push((name.to_owned(), value.join("\n")));
        }
        read
    }

    proptest! {
        #[test]
        fn outputs_come_back_as_they_were(values in prop::collection::vec(any::<String>(), 0..5)) {
            let values: Vec<(&str, String)> = values.into_iter().map(|v| ("reason", v)).collect();
            let expected: Vec<_> = values.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
            prop_assert_eq!(read(&outputs(&values, "gate-6f1c")), expected);
        }

        #[test]
        fn no_text_gives_a_command(input in "(::|##\\[| |\n|\r|\t|a){0,30}") {
            for line in text(&input).lines() {
                prop_assert!(!line.trim_start().starts_with("::") && !line.contains("##["));
            }
        }

        #[test]
        fn a_command_is_one_line(name in any::<String>(), message in any::<String>()) {
            let command = command("error", &[("file", &name)], &message);
            prop_assert_eq!(command.lines().count(), 1);
            let (head, _) = command[2..].split_once("::").unwrap();
            prop_assert_eq!(head.matches(',').count(), 0);
        }
    }

    #[test]
    fn a_value_that_knows_the_delimiter_is_left_out() {
        let values = [("reason", "a\nkey\nresult<<key\npromoted\nkey".to_owned())];
        assert_eq!(read(&outputs(&values, "key")), [("reason".to_owned(), String::new())]);
    }

    #[test]
    fn every_group_is_closed() {
        let event = |event: EventName| {
            let event = Event {
                event,
                at: DateTime::UNIX_EPOCH,
                stage: Some(1),
                share: None,
                message: "stage 1 of 2\n::stop::".into(),
            };
            EventLine::new("p", "local/checkout", &event)
        };
        let mut groups = Groups::default();
        let names = [
            EventName::PromotionStarted,
            EventName::StageEntered,
            EventName::ShareSeen,
            EventName::RollbackStarted,
            EventName::PromotionFinished,
        ];
        let said: Vec<String> =
            names.iter().flat_map(|name| groups.before(&event(*name))).collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        ::group::preparing
        ::endgroup::
        ::group::stage 1 of 2 ::stop::
        ::endgroup::
        ::group::rolling back
        ::endgroup::
        ");
        assert!(groups.close().is_empty());
    }
}
