//! `gate backtest`: what a policy would have done, when, and with which numbers.

use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::chosen;
use super::error::Error;
use super::exit::Exit;
use super::output::{Printer, backtest as shown};
use super::recorded::Recording;
use super::remembered::{Remembered, RememberedArgs};
use crate::analysis::evidence::{Header, Line};
use crate::analysis::replay::{Course, Replay};
use crate::platform::kubernetes::Where;
use crate::policy::{JudgeKind, Policy};
use crate::published::{RESULT_SCHEMA, ResultLine};
use crate::rollout::{Outcome, ResultWord, TrafficIs};
use crate::share::Share;

#[derive(Debug, Args)]
pub(crate) struct BacktestArgs {
    /// A policy file, or a shipped policy: canary, blue-green, cautious, seed, all-conditions
    policy: String,
    /// A recording, as `gate record` writes it; with --prometheus the target: deployment/NAME
    #[arg(value_name = "RECORDING|TARGET")]
    recording: String,
    /// Judge with this judge instead of the policy's own
    #[arg(long, value_enum, value_name = "JUDGE")]
    judge: Option<JudgeWord>,
    #[command(flatten)]
    pub(super) remembered: RememberedArgs,
}

/// Where the looks come from.
#[derive(Debug)]
enum Looks {
    Recording(Box<Recording>),
    Remembered(Box<Remembered>),
}

/// A judge as it is named on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum JudgeWord {
    /// Sequential tests on raw counts: the default
    Evidence,
    /// A value over a sliding window against its limit
    Threshold,
}

impl From<JudgeWord> for JudgeKind {
    fn from(word: JudgeWord) -> Self {
        match word {
            JudgeWord::Evidence => Self::Evidence,
            JudgeWord::Threshold => Self::Threshold,
        }
    }
}

/// The last line: a result, and what it rests on.
#[derive(Debug, Serialize)]
struct BacktestLine<'a> {
    #[serde(flatten)]
    result: &'a ResultLine,
    judge: JudgeKind,
    looks: u64,
    dropped_lines: u64,
    dropped_samples: u64,
}

impl Looks {
    async fn open(printer: &Printer, args: &BacktestArgs, policy: &Policy) -> Result<Self, Error> {
        let Some(url) = &args.remembered.prometheus else {
            if args.remembered.place != Where::default() {
                return Err(Error::user("a recording is in no cluster")
                    .hint("-n/--namespace is of `deployment/NAME`, with --prometheus URL"));
            }
            let recording = Recording::open(Path::new(&args.recording)).map_err(|error| {
                let is_target = args.recording.starts_with("deployment/");
                error.maybe_hint(is_target.then(|| "name the server: --prometheus URL".to_owned()))
            })?;
            return Ok(Self::Recording(Box::new(recording)));
        };
        let remembered = args.remembered.open(url, &args.recording, policy).await?;
        remembered.introduce(printer);
        Ok(Self::Remembered(Box::new(remembered)))
    }

    fn header(&self) -> &Header {
        match self {
            Self::Recording(recording) => &recording.header,
            Self::Remembered(remembered) => remembered.header(),
        }
    }

    async fn next(&mut self) -> Result<Option<Line>, Error> {
        match self {
            Self::Recording(recording) => recording.next(),
            Self::Remembered(remembered) => remembered.next().await,
        }
    }
}

pub(crate) async fn backtest(printer: &Printer, args: BacktestArgs) -> Result<Exit, Error> {
    let chosen = chosen::of(printer, &args.policy)?;
    let judge = args.judge.map_or(chosen.policy.evidence.judge, JudgeKind::from);
    let mut looks = Looks::open(printer, &args, &chosen.policy).await?;
    let mut replay = Replay::new(&chosen.policy, judge, looks.header())
        .map_err(|refused| Error::user(format!("{} can't be judged: {refused}", args.policy)))?;
    let mut story = shown::Story::default();
    while let Some(line) = looks.next().await? {
        let Some(said) = replay.look(&line) else { continue };
        if printer.is_json() {
            printer.object(&said);
        } else {
            story.take(&said, printer.verbose);
        }
    }
    if let Looks::Remembered(remembered) = &looks {
        remembered.complain(printer);
    }
    conclude(printer, &args.recording, judge, &replay, story);
    Ok(Exit::Done)
}

fn conclude(
    printer: &Printer,
    target: &str,
    judge: JudgeKind,
    replay: &Replay,
    story: shown::Story,
) {
    let (dropped_lines, dropped_samples) = replay.dropped();
    if dropped_lines + dropped_samples > 0 {
        printer.complain(&format!(
            "dropped: {dropped_lines} lines, {dropped_samples} samples that can't be used"
        ));
    }
    let result = result(target, replay);
    if printer.is_json() {
        let looks = replay.course().looks;
        let line = BacktestLine { result: &result, judge, looks, dropped_lines, dropped_samples };
        printer.object(&line);
    } else {
        printer.answer(&story.render(&result, judge, replay.course()));
    }
}

/// What the promotion would have come to.
fn result(recording: &str, replay: &Replay) -> ResultLine {
    let course = replay.course();
    let causes = replay.causes().to_vec();
    let (result, reason) = match (course.breach, course.is_clean()) {
        (Some(_), _) => {
            let causes: Vec<String> = causes.iter().map(ToString::to_string).collect();
            (ResultWord::RolledBack, causes.join("; "))
        }
        (None, true) => (ResultWord::Promoted, "it passed every stage".to_owned()),
        (None, false) => (ResultWord::Inconclusive, unproven(course)),
    };
    let outcome = Outcome {
        result,
        exit_code: Exit::of_result(result).code(),
        reason,
        causes,
        stable_revision: "baseline".to_owned(),
        candidate_revision: "candidate".to_owned(),
        final_share: if result == ResultWord::Promoted { Share::FULL } else { Share::ZERO },
        stages_passed: course.passed,
        detected_after_s: course.breach.map(|breach| breach.after_s),
        safe_after_ms: None,
        drained_after_ms: None,
        duration_s: course.breach.map_or(course.last_at_s, |breach| breach.at_s),
        // Nothing was moved.
        traffic: TrafficIs::Unchanged,
        observe_only: false,
        would_have: None,
    };
    let (schema, target) = (RESULT_SCHEMA.to_owned(), recording.to_owned());
    ResultLine { schema, id: None, target, outcome, next: None }
}

fn unproven(course: &Course) -> String {
    match course.looks {
        0 => "there is no look after its start".to_owned(),
        _ => format!("{} of {} stages passed", course.passed, course.entered),
    }
}
