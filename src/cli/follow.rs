//! Following a promotion to its end: what the host tells, signals, and time-outs.
//!
//! The promotion runs at the host: what happens here can only ask. The first signal asks for an
//! abort and waits for the result, the second leaves at once. Every wait has an end: a host that
//! does not obey within [`OBEY_LIMIT`] is left, and that is said.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::error::Error;
use super::exit::Exit;
use super::output::live::Live;
use super::output::{Printer, board, human};
use super::signals::Signals;
use crate::clock::{Clock as _, SystemClock};
use crate::history::AskedFor;
use crate::host::client::{self, ClientError, Conversation};
use crate::host::protocol::{Answer, Request};
use crate::published::{PromotionStatus, ResultLine, StatusLine};
use crate::rollout::{ResultWord, TrafficIs};

/// Between two redraws of the block.
const REDRAW: Duration = Duration::from_millis(250);
/// Answers read ahead.
const ANSWERS_MAX: usize = 64;
/// How long an abort may take to be over.
const OBEY_LIMIT: Duration = Duration::from_secs(120);

/// What a signal does to the promotion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnCancel {
    /// Roll back, and wait for it
    #[default]
    Abort,
    /// Leave it to the host
    Detach,
}

/// What happens when the promotion waits for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnUnknown {
    /// End the command (exit code 5)
    Exit,
    /// Wait for the person
    Hold,
}

/// Whom to follow, and how.
#[derive(Debug)]
pub(crate) struct Following<'a> {
    pub(crate) printer: &'a Printer,
    pub(crate) socket: PathBuf,
    /// As people write it: `local/NAME`.
    pub(crate) target: String,
    pub(crate) on_cancel: OnCancel,
    pub(crate) on_unknown: OnUnknown,
    /// The end of `--timeout`, and how long it is.
    pub(crate) deadline: Option<(Instant, Duration)>,
    /// The host ends with this command: nothing can be left to it.
    pub(crate) embedded: bool,
}

/// How the following ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The promotion has a result.
    Result(Box<ResultLine>),
    /// It goes on without this command.
    Left(Exit),
}

/// Why an abort was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ending {
    Signal(&'static str),
    Timeout(Duration),
    NobodyAnswers,
}

struct Follower<'a> {
    how: Following<'a>,
    clock: SystemClock,
    live: Option<Live>,
    newest: Option<StatusLine>,
    ending: Option<Ending>,
    /// By when an abort must be over.
    obey_by: Option<Instant>,
}

/// Asks the host, and follows what comes of it.
///
/// # Errors
/// The host can't be reached, hangs up, or refuses.
pub(crate) async fn follow(
    how: Following<'_>,
    request: &Request,
    signals: &mut Signals,
) -> Result<Ended, Error> {
    let unreachable = |error| Error::unreachable(&how.target, error);
    let conversation = Conversation::begin(&how.socket, request).await.map_err(unreachable)?;
    let mut answers = read(conversation);
    let live = how.printer.is_live().then(Live::default);
    let mut follower = Follower {
        how,
        clock: SystemClock::start(),
        live,
        newest: None,
        ending: None,
        obey_by: None,
    };
    let ended = follower.to_the_end(&mut answers, signals).await;
    if let Some(live) = &mut follower.live {
        live.clear();
    }
    ended
}

/// Reads in a task of its own: a read that is given up half-way would lose what it has.
fn read(mut conversation: Conversation) -> mpsc::Receiver<Result<Answer, ClientError>> {
    let (send, answers) = mpsc::channel(ANSWERS_MAX);
    tokio::spawn(async move {
        while let Some(answer) = conversation.next().await.transpose() {
            let broken = answer.is_err();
            if send.send(answer).await.is_err() || broken {
                return;
            }
        }
    });
    answers
}

impl Follower<'_> {
    async fn to_the_end(
        &mut self,
        answers: &mut mpsc::Receiver<Result<Answer, ClientError>>,
        signals: &mut Signals,
    ) -> Result<Ended, Error> {
        let mut redraw = ticks();
        loop {
            let ended = tokio::select! {
                biased;
                signal = signals.next() => self.signalled(signal),
                answer = answers.recv() => self.answered(answer)?,
                () = at(self.obey_by) => Some(self.not_obeyed()),
                () = at(self.timeout()) => {
                    self.timed_out();
                    None
                }
                _ = redraw.tick(), if self.live.is_some() => {
                    self.draw();
                    None
                }
            };
            if let Some(ended) = ended {
                return Ok(ended);
            }
        }
    }

    fn answered(
        &mut self,
        answer: Option<Result<Answer, ClientError>>,
    ) -> Result<Option<Ended>, Error> {
        let hung_up = |error| {
            Error::new(Exit::Unreachable, "the host is gone before the promotion has ended")
                .caused_by(error)
                .hint(format!("gate status {}", self.how.target))
        };
        let answer = answer.ok_or(ClientError::HungUp).and_then(|answer| answer);
        match answer.map_err(hung_up)? {
            Answer::Event { line } => self.happened(&line),
            Answer::Status { line } => return Ok(self.stands(*line)),
            Answer::Result { line } => return Ok(Some(Ended::Result(self.judged(line)))),
            Answer::Done { message } => self.say(&message),
            Answer::Begun { .. } | Answer::Plan { .. } => {}
            answer @ Answer::Error { .. } => return Err(unexpected(answer)),
        }
        Ok(None)
    }

    fn happened(&mut self, line: &crate::published::EventLine) {
        super::report::happened(self.how.printer, line);
        if self.how.printer.is_json() {
            self.how.printer.object(line);
        } else {
            self.say(&human::event(line));
        }
    }

    fn stands(&mut self, line: StatusLine) -> Option<Ended> {
        if self.how.printer.verbose {
            if self.how.printer.is_json() {
                self.how.printer.object(&line);
            } else if let Some(run) = &line.promotion {
                let look = human::look(line.at, run);
                self.say(&look);
            }
        }
        if let Some(live) = &mut self.live {
            live.board.take(line.clone());
        }
        let parked = line.promotion.as_ref().filter(|run| run.phase == "parked").cloned();
        self.newest = Some(line);
        match (parked, self.how.on_unknown) {
            (Some(run), OnUnknown::Exit) if self.ending.is_none() => self.nobody_answers(&run),
            (Some(_) | None, OnUnknown::Exit | OnUnknown::Hold) => None,
        }
    }

    fn draw(&mut self) {
        let now = self.clock.now();
        if let Some(live) = &mut self.live {
            live.draw(now);
        }
    }

    /// A line of the conversation: above the block where there is one.
    fn say(&mut self, text: &str) {
        match &mut self.live {
            Some(live) => live.scroll(text),
            None => self.how.printer.say(text),
        }
    }

    fn signalled(&mut self, signal: &'static str) -> Option<Ended> {
        let target = &self.how.target;
        if matches!(self.ending, Some(Ending::Signal(_))) {
            let text = format!("{signal} again: leaving; {}", self.where_it_stands());
            self.say(&text);
            return Some(Ended::Left(Exit::Aborted));
        }
        if self.how.on_cancel == OnCancel::Detach {
            let text = format!(
                "{signal}: left to the host; {}; gate status {target}",
                self.where_it_stands()
            );
            self.say(&text);
            return Some(Ended::Left(Exit::Aborted));
        }
        self.end(Ending::Signal(signal), format!("{signal}: aborting; once more leaves at once"));
        None
    }

    fn timed_out(&mut self) {
        if let Some((_, limit)) = self.how.deadline {
            let limit_text = super::span(limit);
            self.end(Ending::Timeout(limit), format!("--timeout {limit_text} is over: aborting"));
        }
    }

    /// The promotion waits for a person, and nobody is there to be one.
    fn nobody_answers(&mut self, run: &PromotionStatus) -> Option<Ended> {
        if self.how.embedded {
            self.end(
                Ending::NobodyAnswers,
                "it waits for a person, and nobody is there: aborting".into(),
            );
            return None;
        }
        Some(Ended::Result(Box::new(self.held(run))))
    }

    /// Returns the result of a promotion that is left held for a person.
    fn held(&self, run: &PromotionStatus) -> ResultLine {
        let stable = self.newest.as_ref().map_or("", |line| line.stable_revision.as_str());
        let reason = format!("held at {} for {}", run.asked, run.waiting.for_what);
        let next = board::answers(&self.how.target, run).join("  or  ");
        let (word, code) = (ResultWord::Inconclusive, Exit::Inconclusive.code());
        let mut line = ResultLine::not_started(
            &self.how.target,
            word,
            code,
            stable,
            &run.release,
            reason,
            Some(next),
        );
        line.id = Some(run.id.clone());
        line.outcome.final_share = run.seen.unwrap_or(run.asked);
        line.outcome.stages_passed = run.stages_passed;
        line.outcome.duration_s =
            (self.clock.now() - run.started).num_milliseconds() as f64 / 1000.0;
        line.outcome.traffic =
            if line.outcome.final_share.is_zero() { TrafficIs::Safe } else { TrafficIs::Candidate };
        line
    }

    /// Asks for an abort, and goes on listening.
    fn end(&mut self, ending: Ending, text: String) {
        self.say(&text);
        let reason = match &ending {
            Ending::Signal(signal) => (*signal).to_owned(),
            Ending::Timeout(limit) => format!("--timeout {} is over", super::span(*limit)),
            Ending::NobodyAnswers => "nobody is there to answer".into(),
        };
        self.ending = Some(ending);
        self.obey_by = Some(Instant::now() + OBEY_LIMIT);
        let socket = self.how.socket.clone();
        let ask = Request::Ask { what: AskedFor::Abort, by: super::me(), reason: Some(reason) };
        // What comes of it is seen in the conversation; a host that is gone ends that as well.
        tokio::spawn(async move { client::ask(&socket, &ask).await });
    }

    fn not_obeyed(&mut self) -> Ended {
        let limit = super::span(OBEY_LIMIT);
        let text =
            format!("the abort is not over after {limit}: leaving; {}", self.where_it_stands());
        self.say(&text);
        Ended::Left(Exit::Unreachable)
    }

    fn timeout(&self) -> Option<Instant> {
        self.how.deadline.filter(|_| self.ending.is_none()).map(|(at, _)| at)
    }

    /// An abort that a time-out asked for was nobody's wish: it is inconclusive.
    fn judged(&self, mut line: Box<ResultLine>) -> Box<ResultLine> {
        let why = match &self.ending {
            Some(Ending::Timeout(limit)) => format!("--timeout {} was over", super::span(*limit)),
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

    fn where_it_stands(&self) -> String {
        let run = self.newest.as_ref().and_then(|line| line.promotion.as_ref());
        match run {
            Some(run) => format!(
                "{} was {}, at {} of the traffic",
                run.release,
                board::phase(&run.phase),
                run.seen.unwrap_or(run.asked)
            ),
            None => "nothing is known of it yet".into(),
        }
    }
}

/// Prints a result, and returns its exit code.
pub(crate) fn conclude(printer: &Printer, ended: Ended) -> Exit {
    match ended {
        Ended::Left(exit) => exit,
        Ended::Result(line) => {
            if printer.is_json() {
                printer.object(&line);
            } else {
                printer.answer(&human::result(&line));
            }
            super::report::result(printer, &line);
            Exit::of_code(line.outcome.exit_code)
        }
    }
}

/// Returns the error that an answer stands for where another was due.
pub(crate) fn unexpected(answer: Answer) -> Error {
    match answer {
        Answer::Error { exit_code, message, hint } => {
            Error::new(Exit::of_code(exit_code), message).maybe_hint(hint)
        }
        Answer::Begun { .. }
        | Answer::Event { .. }
        | Answer::Status { .. }
        | Answer::Result { .. }
        | Answer::Plan { .. }
        | Answer::Done { .. } => Error::internal("the host gave another answer than was asked for"),
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn ticks() -> Interval {
    let mut ticks = interval(REDRAW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticks
}
