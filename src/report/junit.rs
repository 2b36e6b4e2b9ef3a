//! `JUnit` XML: each stage a test case, each of its conditions another, and the promotion as a whole.
//!
//! *Failure*: the release is bad. *Error*: the gate could not do its work, or was stopped. *Skipped*:
//! not reached, or not known. Valid by the two schemas in use, Ant's (strict: one child a case, no
//! time zone) and Jenkins'.

use std::fmt::Write as _;

use super::escape::{line, xml};
use super::story::{StageEnd, StageStory, Story};
use super::words;
use crate::analysis::Reading;
use crate::published::ResultLine;
use crate::rollout::{Outcome, ResultWord};

/// One test case.
struct Case {
    classname: String,
    name: String,
    time_s: f64,
    end: End,
}

enum End {
    Passed,
    Failed(String),
    Errored(String),
    Skipped(String),
}

pub(super) fn render(result: &ResultLine, story: Option<&Story>) -> String {
    let mut cases = Vec::new();
    for (at, stage) in story.into_iter().flat_map(|story| story.stages.iter().enumerate()) {
        cases.push(stage_case(result, at, stage));
        cases.extend(conditions(result, story, at, stage));
    }
    cases.push(whole(result));
    suite(result, story, &cases)
}

/// The last case: it fails whenever the promotion does, also where no stage was reached.
fn whole(result: &ResultLine) -> Case {
    Case {
        classname: result.target.clone(),
        name: "promotion".into(),
        time_s: result.outcome.duration_s,
        end: end_of(&result.outcome, &result.outcome.reason),
    }
}

fn end_of(outcome: &Outcome, why: &str) -> End {
    match outcome.result {
        ResultWord::Promoted | ResultWord::Unchanged => End::Passed,
        ResultWord::RolledBack => End::Failed(why.to_owned()),
        ResultWord::Aborted
        | ResultWord::Superseded
        | ResultWord::Inconclusive
        | ResultWord::Error
        | ResultWord::Refused => End::Errored(format!("{}: {why}", words::result(outcome.result))),
    }
}

fn stage_case(result: &ResultLine, at: usize, stage: &StageStory) -> Case {
    Case {
        classname: result.target.clone(),
        name: stage_name(at, stage),
        time_s: stage.held.map_or(0.0, |held| held.as_secs_f64()),
        end: match stage.end {
            StageEnd::Passed | StageEnd::PassedOnHealth => End::Passed,
            StageEnd::NotReached => End::Skipped("not reached".into()),
            StageEnd::WentBack => end_of(&result.outcome, &result.outcome.reason),
            StageEnd::Present => End::Errored("it has not ended".into()),
        },
    }
}

fn stage_name(at: usize, stage: &StageStory) -> String {
    format!("stage {}: {}", at + 1, stage.plan.share)
}

/// Every condition of the plan, at the stage's newest look.
fn conditions(
    result: &ResultLine,
    story: Option<&Story>,
    at: usize,
    stage: &StageStory,
) -> Vec<Case> {
    let plan = story.into_iter().flat_map(|story| &story.plan.conditions);
    plan.map(|condition| {
        let condition = condition.to_string();
        let reading = stage.readings.iter().find(|reading| reading.condition == condition);
        Case {
            classname: format!("{}.{}", result.target, stage_name(at, stage)),
            end: condition_end(result, stage, &condition, reading),
            name: condition,
            time_s: 0.0,
        }
    })
    .collect()
}

fn condition_end(
    result: &ResultLine,
    stage: &StageStory,
    condition: &str,
    reading: Option<&Reading>,
) -> End {
    let causes = &result.outcome.causes;
    let cause = causes.iter().find(|cause| cause.condition == condition);
    match (reading, cause) {
        (_, Some(cause)) if stage.end == StageEnd::WentBack => {
            End::Failed(format!("{condition}: {}", words::cause(cause)))
        }
        (None, _) => End::Skipped("not looked at".into()),
        (Some(Reading { unknown: Some(why), .. }), _) => End::Skipped(why.to_string()),
        (Some(_), _) => End::Passed,
    }
}

fn suite(result: &ResultLine, story: Option<&Story>, cases: &[Case]) -> String {
    let count = |is: fn(&End) -> bool| cases.iter().filter(|case| is(&case.end)).count();
    let outcome = &result.outcome;
    let name = format!("{} {}", result.target, outcome.candidate_revision);
    // Ant's schema knows no time zone; it is UTC. Where nothing began there is no time either.
    let began = story.map_or("1970-01-01T00:00:00".to_owned(), |story| {
        story.started.format("%Y-%m-%dT%H:%M:%S").to_string()
    });
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    // Writing into a string can't fail.
    let _ = writeln!(
        out,
        "  <testsuite id=\"0\" package=\"gate\" name=\"{}\" hostname=\"localhost\" timestamp=\"{began}\" \
         tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}\">",
        token(&name),
        cases.len(),
        count(|end| matches!(end, End::Failed(_))),
        count(|end| matches!(end, End::Errored(_))),
        count(|end| matches!(end, End::Skipped(_))),
        decimal(outcome.duration_s),
    );
    out.push_str(&properties(result, story));
    cases.iter().for_each(|case| out.push_str(&case.render()));
    let said = story.map(system_out).unwrap_or_default();
    let _ = writeln!(out, "    <system-out>{}</system-out>", said);
    out.push_str("    <system-err></system-err>\n  </testsuite>\n</testsuites>\n");
    out
}

fn properties(result: &ResultLine, story: Option<&Story>) -> String {
    let outcome = &result.outcome;
    let mut rows = vec![
        ("result", words::result(outcome.result).to_owned()),
        ("reason", outcome.reason.clone()),
        ("exit_code", outcome.exit_code.to_string()),
        ("stable_revision", outcome.stable_revision.clone()),
        ("candidate_revision", outcome.candidate_revision.clone()),
        ("final_share", outcome.final_share.to_string()),
    ];
    rows.extend(result.id.clone().map(|id| ("promotion", id)));
    rows.extend(story.map(|story| ("policy", story.plan.policy_source.clone())));
    let rows = rows.iter().map(|(name, value)| {
        format!("      <property name=\"{name}\" value=\"{}\"/>\n", xml(value))
    });
    format!("    <properties>\n{}    </properties>\n", rows.collect::<String>())
}

/// What every stage saw last, in a line for each condition.
fn system_out(story: &Story) -> String {
    let mut out = String::new();
    for (at, stage) in story.stages.iter().enumerate() {
        for reading in &stage.readings {
            let [seen, baseline, limit, requests] = words::values(reading);
            let row = format!(
                "stage {} {}: seen {seen}, baseline {baseline}, limit {limit}, {requests} requests",
                at + 1,
                reading.condition
            );
            out.push_str(&xml(&line(&row)));
            out.push('\n');
        }
    }
    out
}

impl Case {
    fn render(&self) -> String {
        let head = format!(
            "    <testcase classname=\"{}\" name=\"{}\" time=\"{}\"",
            token(&self.classname),
            token(&self.name),
            decimal(self.time_s)
        );
        let (element, kind, why) = match &self.end {
            End::Passed => return format!("{head}/>\n"),
            End::Failed(why) => ("failure", "breach", why),
            End::Errored(why) => ("error", "no verdict", why),
            End::Skipped(why) => ("skipped", "", why),
        };
        let kind = if kind.is_empty() { String::new() } else { format!(" type=\"{kind}\"") };
        let why = xml(why);
        format!(
            "{head}>\n      <{element} message=\"{why}\"{kind}>{why}</{element}>\n    </testcase>\n"
        )
    }
}

/// A name is one line without blanks around it, and never empty.
fn token(text: &str) -> String {
    let text = line(text);
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() { "-".into() } else { xml(&words.join(" ")) }
}

/// Jenkins takes no sign and no exponent.
fn decimal(seconds: f64) -> String {
    format!("{:.3}", if seconds.is_finite() { seconds.max(0.0) } else { 0.0 })
}
