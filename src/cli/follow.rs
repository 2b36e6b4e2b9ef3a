//! Following a promotion to its end: what the host tells, signals, and time-outs.
//!
//! The promotion runs at the host: what happens here can only ask. The first signal asks for an
//! abort and waits for the result, the second leaves at once. Every wait has an end: a host that
//! does not obey within [`OBEY_LIMIT`] is left, and that is said.

use std::time::Duration;

use clap::ValueEnum;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::error::Error;
use super::exit::Exit;
use super::output::live::Live;
use super::output::{Printer, board, human};
use super::peer::Peer;
use super::signals::Signals;
use crate::clock::{Clock as _, SystemClock};
use crate::history::AskedFor;
use crate::host::client::ClientError;
use crate::host::protocol::{Answer, Request};
use crate::published::{PromotionStatus, ResultLine, StatusLine};

mod ending;

use ending::{Ending, Known};
pub(crate) use ending::{conclude, unexpected};

/// Between two redraws of the block.
const REDRAW: Duration = Duration::from_millis(250);
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
    pub(crate) peer: Peer,
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
    /// It goes on without this command; what was known of it last.
    Left(Exit, Option<Box<StatusLine>>),
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
    let begun = how.peer.begin(request).await;
    let mut answers = begun.map_err(|error| how.peer.unreachable(error))?;
    let live = how.printer.is_live().then(Live::default);
    let mut follower = Follower {
        how,
        clock: SystemClock::start(),
        live,
        newest: None,
        ending: None,
        obey_by: None,
    };
    let ended = follower.follow(&mut answers, signals).await;
    if let Some(live) = &mut follower.live {
        live.clear();
    }
    ended
}

impl Follower<'_> {
    async fn follow(
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
        let answer = match answer.ok_or(ClientError::HungUp).and_then(|answer| answer) {
            Ok(answer) => answer,
            Err(error) => return self.lost(error),
        };
        match answer {
            Answer::Event { line } => self.happened(&line),
            Answer::Status { line } => return Ok(self.stands(*line)),
            Answer::Result { line } => {
                return Ok(Some(Ended::Result(ending::judged(self.ending.as_ref(), line))));
            }
            Answer::Done { message } => self.say(&message),
            // An abort that was asked for before there was anything to abort is asked for again.
            Answer::Begun { .. } => self.ask_abort(),
            Answer::Plan { .. } => {}
            answer @ Answer::Error { .. } => return Err(unexpected(answer)),
        }
        Ok(None)
    }

    /// The host is gone. What was begun has a result all the same, and nobody knows who serves.
    fn lost(&self, error: ClientError) -> Result<Option<Ended>, Error> {
        match self.known() {
            Some(known) => Ok(Some(Ended::Result(Box::new(known.lost(&error))))),
            None => Err(Error::new(Exit::Unreachable, "the host is gone before it has answered")
                .caused_by(error)
                .hint(format!("gate status {}", self.how.peer.target()))),
        }
    }

    fn known(&self) -> Option<Known<'_>> {
        let line = self.newest.as_ref()?;
        Some(Known {
            target: &line.target,
            stable: &line.stable_revision,
            run: line.promotion.as_ref()?,
            now: self.clock.now(),
        })
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
        // In a cluster the engine ends with this command: first the share is where it is to wait.
        let is_there = |run: &PromotionStatus| {
            !matches!(self.how.peer, Peer::Cluster(_)) || run.seen == Some(run.asked)
        };
        let parked = |run: &PromotionStatus| run.phase == "parked" && is_there(run);
        let parked = line.promotion.as_ref().is_some_and(parked);
        self.newest = Some(line);
        match self.how.on_unknown {
            OnUnknown::Exit if parked && self.ending.is_none() => self.nobody_answers(),
            OnUnknown::Exit | OnUnknown::Hold => None,
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
        let target = self.how.peer.target();
        if matches!(self.ending, Some(Ending::Signal(_))) {
            let text = format!("{signal} again: leaving; {}", self.where_it_stands());
            self.say(&text);
            return Some(self.left(Exit::Aborted));
        }
        if self.how.on_cancel == OnCancel::Detach {
            let text = format!(
                "{signal}: left to the host; {}; gate status {target}",
                self.where_it_stands()
            );
            self.say(&text);
            return Some(self.left(Exit::Aborted));
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
    fn nobody_answers(&mut self) -> Option<Ended> {
        if !self.how.embedded {
            return self.known().map(|known| Ended::Result(Box::new(known.held())));
        }
        let text = "it waits for a person, and nobody is there: aborting";
        self.end(Ending::NobodyAnswers, text.into());
        None
    }

    /// Asks for an abort, and goes on listening.
    fn end(&mut self, ending: Ending, text: String) {
        self.say(&text);
        self.ending = Some(ending);
        self.obey_by = Some(Instant::now() + OBEY_LIMIT);
        self.ask_abort();
    }

    fn ask_abort(&self) {
        let Some(ending) = &self.ending else { return };
        let (peer, reason) = (self.how.peer.clone(), Some(ending.reason()));
        let ask = Request::Ask { what: AskedFor::Abort, by: super::me(), reason };
        // What comes of it is seen in the conversation; a host that is gone ends that as well.
        tokio::spawn(async move { peer.ask(&ask).await });
    }

    fn left(&mut self, exit: Exit) -> Ended {
        match self.known() {
            Some(known) => Ended::Result(Box::new(known.left(exit))),
            None => Ended::Left(exit, self.newest.take().map(Box::new)),
        }
    }

    fn not_obeyed(&mut self) -> Ended {
        let limit = super::span(OBEY_LIMIT);
        let text =
            format!("the abort is not over after {limit}: leaving; {}", self.where_it_stands());
        self.say(&text);
        self.left(Exit::Unreachable)
    }

    fn timeout(&self) -> Option<Instant> {
        self.how.deadline.filter(|_| self.ending.is_none()).map(|(at, _)| at)
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

#[cfg(test)]
mod tests;
