//! `gate serve`: the local platform's host.

use std::path::PathBuf;

use clap::Args;

use super::chosen;
use super::embedded::{self, Applications};
use super::error::Error;
use super::exit::Exit;
use super::output::Printer;
use super::signals::Signals;
use super::target::{self, read_app};

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The app file
    #[arg(value_name = "APP.yaml")]
    app: PathBuf,
}

pub(crate) async fn serve(printer: &Printer, args: ServeArgs) -> Result<Exit, Error> {
    let app = read_app(printer, &args.app)?;
    // A policy file that is wrong is said now, not at the first promotion.
    chosen::of_app(printer, &app)?;
    let name = app.name.clone();
    let mut signals = Signals::listen()?;
    let stop = async {
        let signal = signals.next().await;
        let (then, what) = match signal {
            "SIGINT" => (Applications::End, "ending, with the applications"),
            _ => (Applications::Leave, "ending; the applications serve on for the next start"),
        };
        printer.say(&format!("{signal}: {what}"));
        then
    };
    let started = |users, admin| {
        printer.say(&format!("serving local/{name}"));
        printer.say(&format!("users  http://{users}  admin  http://{admin}"));
        printer.say(&format!("next   gate promote local/{name} --release RELEASE"));
    };
    embedded::serve(printer, app, target::paths()?, started, stop).await?;
    Ok(Exit::Done)
}
