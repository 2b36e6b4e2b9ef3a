//! Commands that gate runs itself, and those for trying it out: not in the help.

use std::ffi::OsString;

use clap::Subcommand;

use super::error::Error;
use super::exit::Exit;
use super::output::Printer;
use super::target::Target;
use super::watchdog;
use crate::example_app::{self, ExampleApp};
use crate::load::{self, LoadArgs};
use crate::platform::local::process::session;

#[derive(Debug, Subcommand)]
pub(crate) enum Hidden {
    /// Become a command that leads a session of its own
    #[command(hide = true)]
    ExecSession {
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    /// Take a promotion back when nobody runs it any more: what the pod of `--watchdog` does
    #[command(hide = true)]
    Watchdog {
        target: Target,
        /// The promotion
        #[arg(long)]
        id: String,
    },
    /// A small service that can misbehave on purpose
    #[command(hide = true)]
    ExampleApp(Box<ExampleApp>),
    /// Send a bounded load to an application of this machine
    #[command(hide = true)]
    Load(LoadArgs),
}

impl Hidden {
    /// Returns the target that it names.
    pub(crate) const fn target(&mut self) -> Option<&mut Target> {
        match self {
            Self::Watchdog { target, .. } => Some(target),
            Self::ExecSession { .. } | Self::ExampleApp(_) | Self::Load(_) => None,
        }
    }

    pub(crate) fn run(self, printer: &Printer) -> Result<Exit, Error> {
        match self {
            Self::ExecSession { command } => match session::exec(&command) {
                Ok(never) => match never {},
                Err(error) => Err(Error::internal("can't become the command").caused_by(error)),
            },
            Self::Watchdog { target, id } => {
                super::runtime()?.block_on(watchdog::watch(printer, &target, &id))
            }
            Self::ExampleApp(app) => {
                let ended = super::runtime()?.block_on(example_app::run(*app));
                let ended = ended
                    .map_err(|error| Error::internal("the example app failed").caused_by(error))?;
                // It says success or failure, no more.
                let success = ended == std::process::ExitCode::SUCCESS;
                Ok(if success { Exit::Done } else { Exit::Internal })
            }
            Self::Load(args) => {
                let report = super::runtime()?.block_on(load::run(&args));
                let report = report.map_err(|error| Error::user("no load").caused_by(error))?;
                if printer.is_json() {
                    printer.object(&report);
                } else {
                    printer.answer(&report.to_string());
                }
                Ok(Exit::Done)
            }
        }
    }
}
