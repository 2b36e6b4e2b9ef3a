//! `gate status`: where it stands, what it waits for, until when, and why.

use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::error::Error;
use super::exit::Exit;
use super::follow::{self, Following, OnCancel, OnUnknown};
use super::output::Printer;
use super::output::board::Board;
use super::output::live::{Live, width};
use super::peer::Peer;
use super::signals::Signals;
use super::target::{self, Target};
use crate::clock::{Clock as _, SystemClock};
use crate::cluster::Cluster;
use crate::host::protocol::{Answer, Request};
use crate::platform::kubernetes::Where;
use crate::published::StatusLine;

/// Between two questions of `--watch`.
const WATCH: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// What is released: deployment/NAME, local/NAME or an app file [default: the only app that is known here; with
    /// -n/--namespace every Deployment there that has a record]
    target: Option<Target>,
    /// Go on telling until it is interrupted
    #[arg(long)]
    watch: bool,
    /// End with the promotion that runs, with its exit code
    #[arg(long)]
    wait: bool,
}

impl StatusArgs {
    pub(crate) const fn target(&mut self) -> Option<&mut Target> {
        self.target.as_mut()
    }
}

pub(crate) async fn status(
    printer: &Printer,
    timeout: Option<Duration>,
    place: &Where,
    args: StatusArgs,
) -> Result<Exit, Error> {
    if args.target.is_none() && *place != Where::default() {
        return of_namespace(printer, place).await;
    }
    let deadline = timeout.map(|limit| (Instant::now() + limit, limit));
    let target = match args.target {
        Some(target) => target,
        None => target::only_one(&target::paths()?)?,
    };
    let (peer, line) = target.served(printer).await?;
    if args.wait && line.promotion.is_some() {
        return wait(printer, deadline, peer).await;
    }
    if args.wait {
        // It has ended already: its exit code is the answer.
        show(printer, line.clone());
        return Ok(line.last.map_or(Exit::Done, |last| Exit::of_result(last.result)));
    }
    if args.watch {
        return watch(printer, deadline, &peer, line).await;
    }
    show(printer, line);
    Ok(Exit::Done)
}

/// Shows every Deployment of a namespace that has a record.
async fn of_namespace(printer: &Printer, place: &Where) -> Result<Exit, Error> {
    let known = Cluster::all(place).await.map_err(|answer| follow::unexpected(*answer))?;
    if known.is_empty() && !printer.is_json() {
        printer.answer("nothing was promoted in this namespace");
    }
    for cluster in known {
        let peer = Peer::Cluster(cluster);
        match peer.ask(&Request::Status).await {
            Ok(Answer::Status { line }) => show(printer, *line),
            // One that is gone hides no other.
            Ok(answer) => {
                let error = follow::unexpected(answer).in_one_line();
                printer.complain(&format!("{}: {error}", peer.target()));
            }
            Err(error) => return Err(peer.unreachable(error)),
        }
    }
    Ok(Exit::Done)
}

fn show(printer: &Printer, line: StatusLine) {
    if printer.is_json() {
        return printer.object(&line);
    }
    let mut board = Board::default();
    board.take(line);
    printer.answer(&board.text(SystemClock::start().now(), width()));
}

/// Follows without owning: a signal or a time-out ends the command, never the promotion.
async fn wait(
    printer: &Printer,
    deadline: Option<(Instant, Duration)>,
    peer: Peer,
) -> Result<Exit, Error> {
    let mut signals = Signals::listen()?;
    let following = Following {
        printer,
        peer,
        on_cancel: OnCancel::Detach,
        on_unknown: OnUnknown::Hold,
        deadline: None,
        embedded: false,
    };
    let ended = follow::follow(following, &Request::Follow, &mut signals);
    let ended = match deadline {
        None => ended.await?,
        Some((at, limit)) => tokio::time::timeout_at(at, ended).await.map_err(|_| {
            Error::new(
                Exit::Inconclusive,
                format!("it has not ended within {}", super::span(limit)),
            )
        })??,
    };
    Ok(follow::conclude(printer, ended))
}

async fn watch(
    printer: &Printer,
    deadline: Option<(Instant, Duration)>,
    peer: &Peer,
    mut line: StatusLine,
) -> Result<Exit, Error> {
    let mut signals = Signals::listen()?;
    let clock = SystemClock::start();
    let mut live = printer.is_live().then(Live::default);
    let mut told = String::new();
    loop {
        match &mut live {
            Some(live) => {
                live.board.take(line);
                live.draw(clock.now());
            }
            None => tell(printer, line, &mut told),
        }
        let end = deadline
            .map_or_else(|| Instant::now() + WATCH, |(at, _)| at.min(Instant::now() + WATCH));
        tokio::select! {
            _ = signals.next() => return Ok(Exit::Done),
            () = tokio::time::sleep_until(end) => {}
        }
        if deadline.is_some_and(|(at, _)| at <= Instant::now()) {
            return Ok(Exit::Done);
        }
        line = match peer.ask(&Request::Status).await {
            Ok(Answer::Status { line }) => *line,
            Ok(answer) => return Err(follow::unexpected(answer)),
            Err(error) => return Err(peer.unreachable(error)),
        };
    }
}

/// Where there is no terminal: once for everything that changes.
fn tell(printer: &Printer, line: StatusLine, told: &mut String) {
    let what = line.promotion.as_ref().map_or_else(
        || format!("{} idle", line.stable_revision),
        |run| format!("{} {} {:?} {:?} {}", run.id, run.phase, run.stage, run.seen, run.verdict),
    );
    if what != *told {
        *told = what;
        show(printer, line);
    }
}
