//! What is made from the commands themselves: completions, the manual page, the version.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde::Serialize;

use super::Cli;
use super::error::Error;
use super::exit::Exit;
use super::output::Printer;

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

#[derive(Debug, Serialize)]
struct VersionLine {
    schema: &'static str,
    version: &'static str,
}

pub(crate) fn completions(printer: &Printer, args: &CompletionsArgs) -> Result<Exit, Error> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "gate", &mut text);
    printer.raw(&text);
    Ok(Exit::Done)
}

pub(crate) fn man(printer: &Printer) -> Result<Exit, Error> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut page)
        .map_err(|error| Error::internal("can't write the manual page").caused_by(error))?;
    printer.raw(&page);
    Ok(Exit::Done)
}

pub(crate) fn version(printer: &Printer) -> Exit {
    let version = env!("CARGO_PKG_VERSION");
    if printer.is_json() {
        printer.object(&VersionLine { schema: "gate.version/v1", version });
    } else {
        printer.answer(&format!("gate {version}"));
    }
    Exit::Done
}
