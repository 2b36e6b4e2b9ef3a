//! Answering clients.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, broadcast, watch};

use super::protocol::{Answer, LINE_BYTES_MAX, PolicyText, Request};
use super::running::{Running, status_line};
use super::{HostError, Shared, admission};
use crate::clock::Clock;
use crate::history::AskedFor;
use crate::published::ResultLine;

/// The phase in which an abort is too late.
const CLEANING: &str = crate::published::phase_word(&crate::rollout::Phase::Cleaning);
/// Clients at a time.
const CLIENTS_MAX: usize = 100;
/// A client that does not read its answers is hung up on.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A client that has connected and says nothing is hung up on.
const REQUEST_MAX: Duration = Duration::from_secs(10);
/// Somebody who is refused may take so long to say what nobody reads.
const REFUSED_MAX: Duration = Duration::from_secs(1);

pub(super) async fn serve(shared: &Arc<Shared>, listener: &UnixListener) {
    let places = Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = Arc::clone(shared);
                tokio::spawn(async move {
                    // A client that hangs up is no trouble of the host's.
                    let _ = converse(&shared, stream).await;
                    drop(place);
                });
            }
            // Out of descriptors, for example: it passes.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Only the user who runs the host, and root, are listened to.
fn may_ask(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn converse(shared: &Arc<Shared>, stream: UnixStream) -> io::Result<()> {
    let allowed = may_ask(&stream);
    let (read, mut write) = stream.into_split();
    if !allowed {
        let app = &shared.local.app().name;
        let owner = rustix::process::geteuid().as_raw();
        say(&mut write, &error(HostError::of_another(app, Some(owner)))).await?;
        // A socket that is closed with something unread in it may take the answer along.
        let (mut unread, mut nowhere) = (read.take(LINE_BYTES_MAX as u64), tokio::io::sink());
        let reading = tokio::io::copy(&mut unread, &mut nowhere);
        let _ = tokio::time::timeout(REFUSED_MAX, reading).await;
        return Ok(());
    }
    let mut reader = BufReader::new(read.take(LINE_BYTES_MAX as u64));
    let mut line = Vec::new();
    tokio::time::timeout(REQUEST_MAX, reader.read_until(b'\n', &mut line)).await??;
    match serde_json::from_slice(&line) {
        Ok(request) => answer(shared, request, &mut write).await,
        Err(what) => {
            let message = format!("the request makes no sense: {what}");
            let hint = Some("is the host another version of gate?".to_owned());
            say(&mut write, &error(HostError { exit_code: 2, message, hint })).await
        }
    }
}

async fn answer(shared: &Arc<Shared>, request: Request, to: &mut OwnedWriteHalf) -> io::Result<()> {
    let app = shared.local.app();
    match request {
        Request::Promote(promote) => {
            let admitted = admission::plan(app, &shared.local.stored(), &promote);
            begin(shared, admitted, promote.by, promote.retry, to).await
        }
        Request::Plan(promote) => match admission::plan(app, &shared.local.stored(), &promote) {
            Ok(admitted) => say(to, &Answer::Plan { plan: Box::new(admitted.plan) }).await,
            Err(what) => say(to, &error(what)).await,
        },
        Request::Rollback { to: revision, now, by, reason, policy } => {
            if let Some(running) = shared.running() {
                let asked = shared.ask(&running, AskedFor::Abort, &by, reason.as_deref()).await;
                return match asked {
                    Ok(()) => follow(&running, to, shared).await,
                    Err(what) => say(to, &error(what)).await,
                };
            }
            let (to_which, policy) = (revision.as_deref(), policy.as_ref());
            let admitted = admission::plan_back(app, &shared.local.stored(), to_which, now, policy);
            begin(shared, admitted, by, None, to).await
        }
        Request::Retry { by, reason, policy } => {
            let admitted = retried(shared, policy);
            let reason = reason.unwrap_or_else(|| "retried".into());
            begin(shared, admitted, by, Some(reason), to).await
        }
        Request::Status => {
            let promotion = shared.running().and_then(|running| running.newest());
            let mut line = status_line(&shared.local, promotion, shared.clock.now());
            line.last = shared.last();
            say(to, &Answer::Status { line: Box::new(line) }).await
        }
        Request::Follow => match shared.running() {
            Some(running) => follow(&running, to, shared).await,
            None => say(to, &error(nothing_runs(shared))).await,
        },
        Request::Ask { what, by, reason } => ask(shared, what, &by, reason.as_deref(), to).await,
        Request::AbortIfOrphaned { .. } => {
            let message = "this host owns its promotions and is alive: nothing is orphaned".into();
            say(to, &Answer::Done { message }).await
        }
    }
}

fn retried(shared: &Shared, policy: Option<PolicyText>) -> Result<admission::Admitted, HostError> {
    let stored = shared.local.stored();
    let bad = stored.quarantine.last().ok_or_else(|| HostError {
        exit_code: 7,
        message: "no release is in quarantine".into(),
        hint: None,
    })?;
    let promote = super::protocol::Promote {
        release: bad.release.name.clone(),
        policy,
        by: String::new(),
        retry: None,
        gitops_ok: false,
        watchdog: None,
    };
    admission::plan(shared.local.app(), &stored, &promote)
}

async fn begin(
    shared: &Arc<Shared>,
    admitted: Result<admission::Admitted, HostError>,
    by: String,
    retry: Option<String>,
    to: &mut OwnedWriteHalf,
) -> io::Result<()> {
    let admitted = match admitted {
        Ok(admitted) => admitted,
        Err(what) => return say(to, &error(what)).await,
    };
    match shared.begin(admitted, by, retry).await {
        Ok(running) => {
            if say(to, &Answer::Begun { id: running.id.clone() }).await.is_err() {
                // Nobody is there who could take it back: it must not go on by itself.
                let why = Some("its client had gone before it began");
                let _ = shared.ask(&running, AskedFor::Abort, "gate", why).await;
                return Ok(());
            }
            follow(&running, to, shared).await
        }
        Err(line) => say(to, &Answer::Result { line }).await,
    }
}

async fn ask(
    shared: &Arc<Shared>,
    what: AskedFor,
    by: &str,
    reason: Option<&str>,
    to: &mut OwnedWriteHalf,
) -> io::Result<()> {
    let Some(running) = shared.running() else {
        return say(to, &error(nothing_runs(shared))).await;
    };
    if let AskedFor::Approve { stage } = what
        && !running.plan.stages.get(stage).is_some_and(|stage| stage.approval)
    {
        let message = format!("stage {} asks for no approval", stage + 1);
        return say(to, &error(HostError { exit_code: 2, message, hint: None })).await;
    }
    let phase = running.newest().map(|newest| newest.phase);
    if what == AskedFor::Abort && phase.as_deref() == Some(CLEANING) {
        let message = "it is too late: stable has taken the release".into();
        let hint = Some(format!("gate rollback local/{} goes back", shared.local.app().name));
        return say(to, &error(HostError { exit_code: 7, message, hint })).await;
    }
    let answer = match shared.ask(&running, what, by, reason).await {
        Ok(()) => Answer::Done { message: format!("{} is told", running.id) },
        Err(what) => error(what),
    };
    say(to, &answer).await
}

/// Tells a client everything until the promotion has ended.
async fn follow(running: &Running, to: &mut OwnedWriteHalf, shared: &Shared) -> io::Result<()> {
    let (newest, mut answers) = running.follow();
    if newest.is_some() {
        let line = Box::new(status_line(&shared.local, newest, shared.clock.now()));
        say(to, &Answer::Status { line }).await?;
    }
    let mut result = running.result.clone();
    loop {
        tokio::select! {
            biased;
            answer = answers.recv() => match answer {
                Ok(answer) => say(to, &answer).await?,
                // A follower that was too slow has missed some; the history has them all.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
            ended = ended(&mut result) => {
                return match ended {
                    Some(line) => say(to, &Answer::Result { line: Box::new(line) }).await,
                    None => Ok(()),
                };
            }
        }
    }
}

async fn ended(result: &mut watch::Receiver<Option<ResultLine>>) -> Option<ResultLine> {
    let line = result.wait_for(Option::is_some).await.ok()?;
    line.clone()
}

fn nothing_runs(shared: &Shared) -> HostError {
    HostError {
        exit_code: 7,
        message: format!("no promotion of local/{} runs", shared.local.app().name),
        hint: None,
    }
}

fn error(error: HostError) -> Answer {
    let HostError { exit_code, message, hint } = error;
    Answer::Error { exit_code, message, hint }
}

/// A client that does not read is hung up on: it must not keep a place that others need.
async fn say(to: &mut OwnedWriteHalf, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    tokio::time::timeout(ANSWER_MAX, to.write_all(&line)).await?
}
