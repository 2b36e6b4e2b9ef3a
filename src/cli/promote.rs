//! `gate promote`: drives one promotion to its end, at the host that serves the app or at one of
//! its own that lives as long.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::chosen::{self, Chosen};
use super::embedded::Embedded;
use super::error::Error;
use super::exit::Exit;
use super::follow::{self, Ended, Following, OnCancel, OnUnknown};
use super::output::Printer;
use super::plan::{self, PlanArgs};
use super::report::About;
use super::signals::Signals;
use super::target::{self, Found};
use crate::host::paths::Paths;
use crate::host::protocol::{Promote, Request};
use crate::load::{CONNECTIONS_DEFAULT, DURATION_MAX, Load, Running};
use crate::platform::local::app::App;
use crate::published::ResultLine;
use crate::rollout::ResultWord;

/// How long the end of an embedded host may take: a drain, and what is stubborn.
const SHUT_DOWN_LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub(crate) struct PromoteArgs {
    #[command(flatten)]
    what: PlanArgs,
    /// Show the plan and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Promote a quarantined release all the same, and say why
    #[arg(long, value_name = "REASON")]
    retry: Option<String>,
    /// What SIGINT and SIGTERM do
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    on_cancel: OnCancel,
    /// What to do when a stage waits for a person [default: exit unless stdin is a terminal]
    #[arg(long, value_enum, value_name = "WHAT")]
    on_unknown: Option<OnUnknown>,
    /// Send so many requests a second to the app meanwhile (app file only)
    #[arg(long, value_name = "RPS")]
    load: Option<f64>,
}

impl PromoteArgs {
    pub(crate) fn about(&self) -> About {
        About { target: self.what.target.to_string(), release: self.what.release.clone() }
    }
}

/// Everything that is known before anything is started.
struct Start<'a> {
    printer: &'a Printer,
    args: &'a PromoteArgs,
    deadline: Option<(Instant, Duration)>,
}

pub(crate) async fn promote(
    printer: &Printer,
    timeout: Option<Duration>,
    args: PromoteArgs,
) -> Result<Exit, Error> {
    if args.dry_run {
        return plan::plan(printer, args.what).await;
    }
    let deadline = timeout.map(|limit| (Instant::now() + limit, limit));
    let start = Start { printer, args: &args, deadline };
    match start.run().await {
        Ok(exit) => Ok(exit),
        Err(error) => {
            if printer.is_json() {
                printer_result(printer, &args, &error);
            }
            Err(error)
        }
    }
}

/// Programs read the result also where nothing was begun; a mistake of usage has none.
fn printer_result(printer: &Printer, args: &PromoteArgs, error: &Error) {
    let result = match error.exit() {
        Exit::Internal | Exit::Unreachable => ResultWord::Error,
        Exit::Refused => ResultWord::Refused,
        Exit::Inconclusive => ResultWord::Inconclusive,
        Exit::Aborted => ResultWord::Aborted,
        Exit::Done | Exit::Usage | Exit::RolledBack => return,
    };
    printer.object(&ResultLine::not_started(
        &args.what.target.to_string(),
        result,
        error.exit().code(),
        "",
        &args.what.release,
        error.in_one_line(),
        error.hint_text().map(str::to_owned),
    ));
}

impl Start<'_> {
    async fn run(&self) -> Result<Exit, Error> {
        let named = chosen::named(self.printer, self.args.what.policy.as_deref())?;
        match self.args.what.target.find(self.printer).await? {
            Found::Served { socket, app, .. } => self.at_host(socket, app, named).await,
            Found::File { app, path } => self.embedded(*app, &path, named).await,
        }
    }

    async fn at_host(
        &self,
        socket: PathBuf,
        app: String,
        named: Option<Chosen>,
    ) -> Result<Exit, Error> {
        if self.args.load.is_some() {
            return Err(Error::user("`--load` needs an app file that no gate serves yet")
                .hint("`gate load URL --rps N --duration TIME` sends load to a running app"));
        }
        let release = &self.args.what.release;
        let mut promote = plan::to_host(self.printer, &socket, &app, release, named).await?;
        promote.retry.clone_from(&self.args.retry);
        let mut signals = Signals::listen()?;
        let following = self.following(socket, app, false);
        let ended = follow::follow(following, &Request::Promote(promote), &mut signals).await?;
        Ok(follow::conclude(self.printer, ended))
    }

    async fn embedded(&self, app: App, path: &Path, named: Option<Chosen>) -> Result<Exit, Error> {
        if self.args.on_cancel == OnCancel::Detach {
            return Err(Error::user("`--on-cancel detach` needs a host to leave it to")
                .hint(format!("start one with `gate serve {}`", path.display())));
        }
        // Everything that the user can have got wrong is said before a process is started.
        let release = &self.args.what.release;
        let plan = plan::of_file(self.printer, &app, path, release, named.clone())?;
        let own = plan::for_file(self.printer, &app, named)?;
        let mut promote = plan::request(release, own.as_ref().map(Chosen::wire));
        promote.retry.clone_from(&self.args.retry);
        let length = (plan.most() + OVERHEAD).min(DURATION_MAX);
        self.check_load(length)?;
        let mut signals = Signals::listen()?;
        let name = app.name.clone();
        let host = start(self.printer, app, target::paths()?, &mut signals).await?;
        let ended = self.beside(&host, name, promote, length, &mut signals).await;
        // The result is told before what is left is cleaned up.
        let exit = ended.map(|ended| follow::conclude(self.printer, ended));
        shut_down(self.printer, host).await;
        exit
    }

    /// Promotes at a host of its own, beside the load that was asked for.
    async fn beside(
        &self,
        host: &Embedded,
        name: String,
        promote: Promote,
        length: Duration,
        signals: &mut Signals,
    ) -> Result<Ended, Error> {
        let users = host.users();
        self.printer.say(&format!("users  http://{users}  admin  http://{}", host.admin()));
        let load = self.args.load.map(|rps| load(users, rps, length)).transpose()?;
        let following = self.following(host.socket().to_owned(), name, true);
        let ended = follow::follow(following, &Request::Promote(promote), signals).await;
        if let Some(load) = load {
            self.printer.say(&format!("load   {}", load.stop()));
        }
        ended
    }

    fn check_load(&self, length: Duration) -> Result<(), Error> {
        let nowhere = "http://127.0.0.1:1/";
        match self.args.load {
            None => Ok(()),
            Some(rps) => {
                Load::new(nowhere, rps, length, CONNECTIONS_DEFAULT).map(|_| ()).map_err(|error| {
                    Error::user(format!("`--load {rps}` can't be made")).caused_by(error)
                })
            }
        }
    }

    fn following(&self, socket: PathBuf, app: String, embedded: bool) -> Following<'_> {
        let nobody = if io::stdin().is_terminal() { OnUnknown::Hold } else { OnUnknown::Exit };
        Following {
            printer: self.printer,
            socket,
            target: format!("local/{app}"),
            on_cancel: self.args.on_cancel,
            on_unknown: self.args.on_unknown.unwrap_or(nobody),
            deadline: self.deadline,
            embedded,
        }
    }
}

/// What a promotion takes beside its stages: drains, and the load must not end before it.
const OVERHEAD: Duration = Duration::from_secs(3600);

/// Starts a host of this command's own. A signal meanwhile ends it as soon as it stands: what is
/// half started can't be put back.
pub(crate) async fn start(
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
            printer.say(&format!("{signal}: ending as soon as it has started; once more leaves at once"));
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

pub(crate) async fn shut_down(printer: &Printer, host: Embedded) {
    if tokio::time::timeout(SHUT_DOWN_LIMIT, host.shut_down()).await.is_err() {
        let limit = super::span(SHUT_DOWN_LIMIT);
        printer.complain(&format!("warning: the embedded host has not ended within {limit}"));
    }
}

/// Starts load on an app of this machine.
pub(crate) fn load(
    users: std::net::SocketAddr,
    rps: f64,
    length: Duration,
) -> Result<Running, Error> {
    let url = if users.ip().is_unspecified() {
        format!("http://127.0.0.1:{}/", users.port())
    } else {
        format!("http://{users}/")
    };
    Load::new(&url, rps, length, CONNECTIONS_DEFAULT)
        .map(Load::start)
        .map_err(|error| Error::user("the load can't be made").caused_by(error))
}
