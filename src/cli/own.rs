//! One promotion at a host of the command's own, beside the load that was asked for.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::embedded::Embedded;
use super::error::Error;
use super::exit::Exit;
use super::follow::{self, Ended, Following, OnCancel, OnUnknown};
use super::output::Printer;
use super::peer::Peer;
use super::signals::Signals;
use crate::host::paths::Paths;
use crate::host::protocol::{Answer, Promote, Request};
use crate::load::{CONNECTIONS_DEFAULT, Load, LoadReport, Running};
use crate::platform::local::app::App;
use crate::published::ResultLine;

/// How long load waits for a stable that is ready, and between two looks at it.
const SETTLED_MAX: Duration = Duration::from_secs(30);
const SETTLED_POLL: Duration = Duration::from_millis(50);

/// How long the end of an embedded host may take: a drain, and what is stubborn.
const SHUT_DOWN_LIMIT: Duration = Duration::from_secs(60);

/// Everything that is known before anything is started.
#[derive(Debug)]
pub(crate) struct OwnRun<'a> {
    pub(crate) printer: &'a Printer,
    pub(crate) app: App,
    pub(crate) paths: Paths,
    pub(crate) promote: Promote,
    /// Requests a second, and for how long at most.
    pub(crate) load: Option<(f64, Duration)>,
    pub(crate) on_unknown: OnUnknown,
    /// The end of `--timeout`, and how long it is.
    pub(crate) deadline: Option<(Instant, Duration)>,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct OwnEnd {
    /// Absent where it was left before its end.
    pub(crate) result: Option<Box<ResultLine>>,
    pub(crate) load: Option<LoadReport>,
}

impl OwnRun<'_> {
    /// Starts the host, promotes, tells the result, and ends the host whatever came of it.
    pub(crate) async fn run(self, signals: &mut Signals) -> Result<(Exit, OwnEnd), Error> {
        let Self { printer, app, paths, promote, load, on_unknown, deadline } = self;
        let name = app.name.clone();
        let host = start(printer, app, paths, signals).await?;
        let following = Following {
            printer,
            peer: Peer::Host { socket: host.socket().to_owned(), app: name },
            on_cancel: OnCancel::Abort,
            on_unknown,
            deadline,
            embedded: true,
        };
        let (users, admin) = (host.users(), host.admin());
        let ended = beside(users, admin, following, promote, load, signals).await;
        // The result is told before what is left is cleaned up.
        let ended = ended.map(|(ended, load)| {
            let result = match &ended {
                Ended::Result(line) => Some(line.clone()),
                Ended::Left(..) => None,
            };
            (follow::conclude(printer, ended), OwnEnd { result, load })
        });
        shut_down(printer, host).await;
        ended
    }
}

async fn beside(
    users: SocketAddr,
    admin: SocketAddr,
    following: Following<'_>,
    promote: Promote,
    load: Option<(f64, Duration)>,
    signals: &mut Signals,
) -> Result<(Ended, Option<LoadReport>), Error> {
    let printer = following.printer;
    printer.say(&format!("users  http://{users}  admin  http://{admin}"));
    let load = match load {
        None => None,
        Some((rps, length)) => {
            settled(&following.peer, signals).await?;
            Some(begin_load(users, rps, length)?)
        }
    };
    let ended = follow::follow(following, &Request::Promote(promote), signals).await;
    let report = load.map(Running::stop);
    if let Some(report) = &report {
        printer.say(&format!("load   {report}"));
    }
    Ok((ended?, report))
}

/// Starts the host. A signal meanwhile ends it as soon as it stands: what is half started can't be
/// put back.
async fn start(
    printer: &Printer,
    app: App,
    paths: Paths,
    signals: &mut Signals,
) -> Result<Embedded, Error> {
    let starting = Embedded::start(printer, app, paths);
    tokio::pin!(starting);
    let aborted = |signal: &str| Error::new(Exit::Aborted, format!("{signal} before it had begun"));
    tokio::select! {
        host = &mut starting => host,
        signal = signals.next() => {
            let text = format!("{signal}: ending as soon as it has started; once more leaves at once");
            printer.say(&text);
            tokio::select! {
                host = &mut starting => {
                    shut_down(printer, host?).await;
                    Err(aborted(signal))
                }
                signal = signals.next() => Err(aborted(signal)),
            }
        }
    }
}

/// Waits until stable is ready, so that load finds somebody. One that is never ready is for the host
/// to refuse.
async fn settled(peer: &Peer, signals: &mut Signals) -> Result<(), Error> {
    let until = Instant::now() + SETTLED_MAX;
    while Instant::now() < until {
        if let Ok(Answer::Status { line }) = peer.ask(&Request::Status).await
            && line.stable_ready[0] > 0
        {
            return Ok(());
        }
        tokio::select! {
            signal = signals.next() => {
                return Err(Error::new(Exit::Aborted, format!("{signal} before it had begun")));
            }
            () = tokio::time::sleep(SETTLED_POLL) => {}
        }
    }
    Ok(())
}

async fn shut_down(printer: &Printer, host: Embedded) {
    if tokio::time::timeout(SHUT_DOWN_LIMIT, host.shut_down()).await.is_err() {
        let limit = super::span(SHUT_DOWN_LIMIT);
        printer.complain(&format!("warning: the embedded host has not ended within {limit}"));
    }
}

/// Says what is wrong with a load before anything is started.
///
/// # Errors
/// It is out of the generator's limits.
pub(crate) fn check_load(rps: f64, length: Duration) -> Result<(), Error> {
    Load::new("http://127.0.0.1:1/", rps, length, CONNECTIONS_DEFAULT)
        .map(|_| ())
        .map_err(|error| Error::user(format!("`--load {rps}` can't be made")).caused_by(error))
}

fn begin_load(users: SocketAddr, rps: f64, length: Duration) -> Result<Running, Error> {
    let url = if users.ip().is_unspecified() {
        format!("http://127.0.0.1:{}/", users.port())
    } else {
        format!("http://{users}/")
    };
    Load::new(&url, rps, length, CONNECTIONS_DEFAULT)
        .map(Load::start)
        .map_err(|error| Error::user("the load can't be made").caused_by(error))
}
