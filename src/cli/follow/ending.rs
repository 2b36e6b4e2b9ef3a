//! How a following ends: the results that only the client knows of, and what is printed last.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Ended;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::output::{Printer, board, human};
use crate::cli::span;
use crate::host::HostError;
use crate::host::client::ClientError;
use crate::host::protocol::Answer;
use crate::published::{PromotionStatus, ResultLine};
use crate::rollout::{ResultWord, TrafficIs};

/// Why an abort was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Signal(&'static str),
    Timeout(Duration),
    NobodyAnswers,
}

impl Ending {
    /// Returns why, for the record.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Signal(signal) => (*signal).to_owned(),
            Self::Timeout(limit) => format!("--timeout {} is over", span(*limit)),
            Self::NobodyAnswers => "nobody is there to answer".into(),
        }
    }
}

/// What was known last of a promotion that is not followed to its end.
#[derive(Debug)]
pub(super) struct Known<'a> {
    pub(super) target: &'a str,
    pub(super) stable: &'a str,
    pub(super) run: &'a PromotionStatus,
    pub(super) now: DateTime<Utc>,
}

impl Known<'_> {
    /// Returns the result of a promotion that is left held for a person.
    pub(super) fn held(&self) -> ResultLine {
        let Self { target, run, .. } = self;
        let reason = format!("held at {} for {}", run.asked, run.waiting.for_what);
        let next = board::answers(target, run).join("  or  ");
        let mut line = self.result(ResultWord::Inconclusive, Exit::Inconclusive, reason, next);
        let share = line.outcome.final_share;
        line.outcome.traffic = if share.is_zero() { TrafficIs::Safe } else { TrafficIs::Candidate };
        line
    }

    /// Returns the result of a promotion whose host is gone: the next one goes on with it.
    pub(super) fn lost(&self, error: &ClientError) -> ResultLine {
        let reason = format!("the host is gone before the promotion has ended: {error}");
        let next = format!("gate status {}", self.target);
        let mut line = self.result(ResultWord::Error, Exit::Unreachable, reason, next);
        line.outcome.traffic = TrafficIs::Unknown;
        line
    }

    /// Returns the result of a promotion that goes on at its host, unwatched.
    pub(super) fn left(&self, exit: Exit) -> ResultLine {
        let word = if exit == Exit::Aborted { ResultWord::Aborted } else { ResultWord::Error };
        let phase = board::phase(&self.run.phase);
        let reason = format!("left to its host while it was {phase}");
        let next = format!("gate status {}", self.target);
        let mut line = self.result(word, exit, reason, next);
        let share = line.outcome.final_share;
        line.outcome.traffic = if share.is_zero() { TrafficIs::Safe } else { TrafficIs::Candidate };
        line
    }

    fn result(&self, word: ResultWord, exit: Exit, reason: String, next: String) -> ResultLine {
        let Self { target, stable, run, now } = self;
        let (code, next) = (exit.code(), Some(next));
        let mut line =
            ResultLine::not_started(target, word, code, stable, &run.release, reason, next);
        line.id = Some(run.id.clone());
        line.outcome.final_share = run.seen.unwrap_or(run.asked);
        line.outcome.stages_passed = run.stages_passed;
        line.outcome.duration_s = (*now - run.started).num_milliseconds() as f64 / 1000.0;
        line
    }
}

/// An abort that a time-out asked for was nobody's wish: it is inconclusive.
pub(super) fn judged(ending: Option<&Ending>, mut line: Box<ResultLine>) -> Box<ResultLine> {
    let why = match ending {
        Some(Ending::Timeout(limit)) => format!("--timeout {} was over", span(*limit)),
        Some(Ending::NobodyAnswers) => "it waited for a person, and nobody was there".into(),
        Some(Ending::Signal(_)) | None => return line,
    };
    if line.outcome.result == ResultWord::Aborted {
        line.outcome.result = ResultWord::Inconclusive;
        line.outcome.exit_code = Exit::Inconclusive.code();
        line.outcome.reason = why;
    }
    line
}

/// Prints a result, and returns its exit code.
pub(crate) fn conclude(printer: &Printer, ended: Ended) -> Exit {
    match ended {
        Ended::Left(exit, newest) => {
            if let Some(line) = newest.filter(|_| printer.is_json()) {
                printer.object(&line);
            }
            exit
        }
        Ended::Result(line) => {
            if printer.is_json() {
                printer.object(&line);
            } else {
                printer.answer(&human::result(&line));
            }
            crate::cli::report::result(printer, &line);
            Exit::of_code(line.outcome.exit_code)
        }
    }
}

/// Returns the error that an answer stands for where another was due.
pub(crate) fn unexpected(answer: Answer) -> Error {
    match answer {
        Answer::Error { exit_code, message, hint } => {
            Error::said(HostError { exit_code, message, hint })
        }
        Answer::Begun { .. }
        | Answer::Event { .. }
        | Answer::Status { .. }
        | Answer::Result { .. }
        | Answer::Plan { .. }
        | Answer::Done { .. } => Error::internal("the host gave another answer than was asked for"),
    }
}
