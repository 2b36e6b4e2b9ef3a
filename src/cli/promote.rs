//! `gate promote`: drives one promotion to its end, at the host that serves the app or at one of
//! its own that lives as long.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::chosen::{self, Chosen};
use super::error::Error;
use super::exit::Exit;
use super::follow::{self, Following, OnCancel, OnUnknown};
use super::output::Printer;
use super::own::{self, OwnRun};
use super::peer::Peer;
use super::plan::{self, PlanArgs};
use super::preflight::{self, TrafficArgs};
use super::report::About;
use super::signals::Signals;
use super::target::{self, Found, Target};
use crate::host::protocol::Request;
use crate::load::DURATION_MAX;
use crate::platform::local::app::App;
use crate::published::ResultLine;
use crate::rollout::ResultWord;

/// What a promotion takes beside its stages: drains, and the load must not end before it.
const OVERHEAD: Duration = Duration::from_secs(3600);

/// For those who write pipelines.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  promoted, or unchanged: stable runs it already
  1  a bug in gate
  2  usage, or an invalid policy or app file
  3  rolled back: the release is bad
  4  aborted, or superseded by a newer release
  5  inconclusive: a deadline or --timeout passed without proof
  6  the host can't be reached, or adoption did not finish
  7  refused: not started, nothing was changed";

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct PromoteArgs {
    #[command(flatten)]
    what: PlanArgs,
    /// Show the plan and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Promote a quarantined release all the same, and say why
    #[arg(long, value_name = "REASON")]
    retry: Option<String>,
    /// In a cluster: although a GitOps tool holds the fields that are released
    #[arg(long)]
    gitops_ok: bool,
    /// In a cluster: end the promotion of a gate that has been silent for a minute, and begin this one
    #[arg(long)]
    take_over: bool,
    /// In a cluster: start a pod of this image of gate that takes the share to 0 when this gate is
    /// silent for a minute
    #[arg(long, value_name = "IMAGE")]
    watchdog: Option<String>,
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
    pub(crate) const fn target(&mut self) -> &mut Target {
        &mut self.what.target
    }
}

impl PromoteArgs {
    pub(crate) fn about(&self) -> About {
        About { target: self.what.target.to_string(), release: self.what.release() }
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
        return preflight::plan(printer, TrafficArgs::without(args.what)).await;
    }
    let deadline = timeout.map(|limit| (Instant::now() + limit, limit));
    let start = Start { printer, args: &args, deadline };
    match start.run().await {
        Ok(exit) => Ok(exit),
        Err(error) => {
            if printer.is_json() {
                tell_result(printer, &args, &error);
            }
            Err(error)
        }
    }
}

/// Programs read the result also where nothing was begun; a mistake of usage has none.
fn tell_result(printer: &Printer, args: &PromoteArgs, error: &Error) {
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
        &args.what.release(),
        error.in_one_line(),
        error.hint_text().map(str::to_owned),
    ));
}

impl Start<'_> {
    async fn run(&self) -> Result<Exit, Error> {
        let named = chosen::named(self.printer, self.args.what.policy.as_deref())?;
        match self.args.what.target.find(self.printer).await? {
            Found::Served { peer } => {
                self.at_peer(peer.taking_over(self.args.take_over), named).await
            }
            Found::File { app, path } => self.embedded(*app, &path, named).await,
        }
    }

    async fn at_peer(&self, peer: Peer, named: Option<Chosen>) -> Result<Exit, Error> {
        if self.args.watchdog.is_some() && matches!(peer, Peer::Host { .. }) {
            return Err(no_watchdog());
        }
        if self.args.load.is_some() {
            return Err(Error::user("`--load` needs an app file that no gate serves yet")
                .hint("`gate load URL --rps N --duration TIME` sends load to a running app"));
        }
        let release = &self.args.what.release();
        let policy = chosen::for_peer(self.printer, named.as_ref())?;
        let mut promote = plan::request(release, policy);
        promote.retry.clone_from(&self.args.retry);
        promote.gitops_ok = self.args.gitops_ok;
        promote.watchdog.clone_from(&self.args.watchdog);
        let mut signals = Signals::listen()?;
        let following = Following {
            printer: self.printer,
            peer,
            on_cancel: self.args.on_cancel,
            on_unknown: self.on_unknown(),
            deadline: self.deadline,
            embedded: false,
        };
        let ended = follow::follow(following, &Request::Promote(promote), &mut signals).await?;
        Ok(follow::conclude(self.printer, ended))
    }

    async fn embedded(&self, app: App, path: &Path, named: Option<Chosen>) -> Result<Exit, Error> {
        if self.args.on_cancel == OnCancel::Detach {
            return Err(Error::user("`--on-cancel detach` needs a host to leave it to")
                .hint(format!("start one with `gate serve {}`", path.display())));
        }
        if self.args.watchdog.is_some() {
            return Err(no_watchdog());
        }
        // Everything that the user can have got wrong is said before a process is started.
        let release = &self.args.what.release();
        let plan = plan::of_file(self.printer, &app, release, named.clone())?;
        let own = plan::for_file(self.printer, &app, named)?;
        let mut promote = plan::request(release, own.as_ref().map(Chosen::wire));
        promote.retry.clone_from(&self.args.retry);
        let length = (plan.most() + OVERHEAD).min(DURATION_MAX);
        if let Some(rps) = self.args.load {
            own::check_load(rps, length)?;
        }
        let mut signals = Signals::listen()?;
        let run = OwnRun {
            printer: self.printer,
            app,
            paths: target::paths()?,
            promote,
            load: self.args.load.map(|rps| (rps, length)),
            on_unknown: self.on_unknown(),
            deadline: self.deadline,
        };
        let (exit, _) = run.run(&mut signals).await?;
        Ok(exit)
    }

    fn on_unknown(&self) -> OnUnknown {
        let nobody = if io::stdin().is_terminal() { OnUnknown::Hold } else { OnUnknown::Exit };
        self.args.on_unknown.unwrap_or(nobody)
    }
}

fn no_watchdog() -> Error {
    Error::user("`--watchdog` is a pod, and this target is in no cluster")
        .hint("a host that is killed finishes the promotion when it is started again")
}
