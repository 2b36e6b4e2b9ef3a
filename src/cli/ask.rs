//! `gate abort|hold|resume|approve|retry|rollback`: a person steps in.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::time::Instant;

use super::chosen;
use super::error::Error;
use super::exit::Exit;
use super::follow::{self, Following, OnCancel, OnUnknown};
use super::output::{Printer, human};
use super::peer::Peer;
use super::report::About;
use super::signals::Signals;
use super::target::{Found, Target};
use crate::history::AskedFor;
use crate::host::client::ClientError;
use crate::host::protocol::{Answer, PolicyText, Request};
use crate::published::StatusLine;

pub(crate) const DONE_SCHEMA: &str = "gate.done/v1";

#[derive(Debug, Args)]
pub(crate) struct AskArgs {
    /// What is released: deployment/NAME, local/NAME or an app file
    target: Target,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl AskArgs {
    pub(crate) const fn target(&mut self) -> &mut Target {
        &mut self.target
    }
}

#[derive(Debug, Args)]
pub(crate) struct AbortArgs {
    #[command(flatten)]
    ask: AskArgs,
    /// Only if the gate that began it is gone
    #[arg(long)]
    if_orphaned: bool,
}

impl AbortArgs {
    pub(crate) const fn target(&mut self) -> &mut Target {
        &mut self.ask.target
    }
}

#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    #[command(flatten)]
    ask: AskArgs,
    /// The stage, counted from 1 [default: the one that it is in]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    stage: Option<u16>,
}

impl ApproveArgs {
    pub(crate) const fn target(&mut self) -> &mut Target {
        &mut self.ask.target
    }
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    #[command(flatten)]
    ask: AskArgs,
    /// The revision to go back to [default: the newest before the present one that passed]
    #[arg(long, value_name = "REVISION")]
    to: Option<String>,
    /// Move all traffic at once, without stages
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    judged: Judged,
}

#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    ask: AskArgs,
    #[command(flatten)]
    judged: Judged,
}

impl RetryArgs {
    pub(crate) const fn target(&mut self) -> &mut Target {
        &mut self.ask.target
    }

    pub(crate) fn about(&self) -> About {
        self.ask.about()
    }
}

/// How a promotion is judged that no `gate promote` begins.
#[derive(Debug, Args)]
struct Judged {
    /// A policy file, or a shipped policy [default: the target's own, else .gate.yaml, else canary]
    #[arg(long, value_name = "FILE|NAME")]
    policy: Option<String>,
}

impl Judged {
    fn policy(&self, printer: &Printer) -> Result<Option<PolicyText>, Error> {
        let named = chosen::named(printer, self.policy.as_deref())?;
        chosen::for_peer(printer, named.as_ref())
    }
}

impl RollbackArgs {
    pub(crate) const fn target(&mut self) -> &mut Target {
        &mut self.ask.target
    }
}

impl AskArgs {
    pub(crate) fn about(&self) -> About {
        About { target: self.target.to_string(), release: String::new() }
    }
}

impl RollbackArgs {
    pub(crate) fn about(&self) -> About {
        About { release: self.to.clone().unwrap_or_default(), ..self.ask.about() }
    }
}

/// What was done, as programs read it.
#[derive(Debug, Serialize)]
struct DoneLine<'a> {
    schema: &'static str,
    target: String,
    message: &'a str,
}

pub(crate) async fn abort(printer: &Printer, args: AbortArgs) -> Result<Exit, Error> {
    // A step that always runs asks this also where a promotion has come and gone with its host.
    if args.if_orphaned
        && let Found::File { app, .. } = args.ask.target.find(printer).await?
    {
        printer.answer(&format!("no gate serves {}: nothing is orphaned", app.name));
        return Ok(Exit::Done);
    }
    let (by, reason) = (super::me(), args.ask.reason);
    let request = if args.if_orphaned {
        Request::AbortIfOrphaned { by, reason }
    } else {
        Request::Ask { what: AskedFor::Abort, by, reason }
    };
    let peer = args.ask.target.peer(printer).await?;
    send(printer, &peer, &request).await
}

/// Hold or resume.
pub(crate) async fn ask(printer: &Printer, what: AskedFor, args: AskArgs) -> Result<Exit, Error> {
    let peer = args.target.peer(printer).await?;
    let request = Request::Ask { what, by: super::me(), reason: args.reason };
    send(printer, &peer, &request).await
}

pub(crate) async fn approve(printer: &Printer, args: ApproveArgs) -> Result<Exit, Error> {
    let (peer, status) = args.ask.target.served(printer).await?;
    let stage = stage(&status, args.stage)?;
    let what = AskedFor::Approve { stage: stage - 1 };
    let request = Request::Ask { what, by: super::me(), reason: args.ask.reason };
    send(printer, &peer, &request).await
}

/// Returns the stage that is meant, counted from 1.
fn stage(status: &StatusLine, written: Option<u16>) -> Result<usize, Error> {
    let Some(run) = &status.promotion else {
        return Err(Error::new(Exit::Refused, format!("no promotion of {} runs", status.target)));
    };
    let count = run.stages.len();
    match (written.map(usize::from), run.stage) {
        (Some(stage), _) if stage <= count => Ok(stage),
        (Some(stage), _) => Err(Error::user(format!("there is no stage {stage} of {count}"))),
        (None, Some(stage)) => Ok(stage),
        (None, None) => {
            Err(Error::new(Exit::Refused, "it is in no stage now").hint("name one: `--stage N`"))
        }
    }
}

async fn send(printer: &Printer, peer: &Peer, request: &Request) -> Result<Exit, Error> {
    match last_answer(printer, peer, request).await {
        Ok(Answer::Done { message }) => {
            if printer.is_json() {
                let target = peer.target();
                printer.object(&DoneLine { schema: DONE_SCHEMA, target, message: &message });
            } else {
                printer.answer(&message);
            }
            Ok(Exit::Done)
        }
        Ok(answer) => Err(follow::unexpected(answer)),
        Err(error) => Err(peer.unreachable(error)),
    }
}

/// Waits for the end of what is asked for: what is done in this process ends with it. An orphan's way
/// back is told as it goes.
async fn last_answer(
    printer: &Printer,
    peer: &Peer,
    request: &Request,
) -> Result<Answer, ClientError> {
    let mut answers = peer.begin(request).await?;
    loop {
        match answers.recv().await.ok_or(ClientError::HungUp)?? {
            Answer::Event { line } if printer.is_json() => printer.object(&line),
            Answer::Event { line } => printer.say(&human::event(&line)),
            Answer::Begun { .. } | Answer::Status { .. } => {}
            answer @ (Answer::Done { .. }
            | Answer::Result { .. }
            | Answer::Plan { .. }
            | Answer::Error { .. }) => return Ok(answer),
        }
    }
}

pub(crate) async fn retry(
    printer: &Printer,
    timeout: Option<Duration>,
    args: RetryArgs,
) -> Result<Exit, Error> {
    let policy = args.judged.policy(printer)?;
    let peer = args.ask.target.peer(printer).await?;
    let request = Request::Retry { by: super::me(), reason: args.ask.reason, policy };
    followed(printer, timeout, peer, &request, OnCancel::Abort).await
}

/// A signal leaves a way back to the host: it must not be stopped half-way.
pub(crate) async fn rollback(
    printer: &Printer,
    timeout: Option<Duration>,
    args: RollbackArgs,
) -> Result<Exit, Error> {
    let policy = args.judged.policy(printer)?;
    let peer = args.ask.target.peer(printer).await?;
    let (to, now, by, reason) = (args.to, args.now, super::me(), args.ask.reason);
    let request = Request::Rollback { to, now, by, reason, policy };
    followed(printer, timeout, peer, &request, OnCancel::Detach).await
}

async fn followed(
    printer: &Printer,
    timeout: Option<Duration>,
    peer: Peer,
    request: &Request,
    on_cancel: OnCancel,
) -> Result<Exit, Error> {
    let mut signals = Signals::listen()?;
    let following = Following {
        printer,
        peer,
        on_cancel,
        on_unknown: OnUnknown::Hold,
        deadline: timeout.map(|limit| (Instant::now() + limit, limit)),
        embedded: false,
    };
    let ended = follow::follow(following, request, &mut signals).await?;
    Ok(follow::conclude(printer, ended))
}
