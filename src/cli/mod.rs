//! The commands.
//!
//! stdout is the answer, stderr the conversation; colour never carries meaning alone, and nothing
//! ever asks a question. Exit codes are in [`exit`], errors in [`error`]; there is one file for each
//! command. Nothing is touched, and no runtime started, before the command line is understood.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

pub mod exit;

pub mod error;

mod global;

pub mod output;

mod target;

mod runtime;
mod traffic;

mod chosen;

mod embedded;

mod signals;

mod report;

mod peer;

mod follow;

mod own;

mod ask;
mod backtest;
mod completions;
mod demo;
mod doctor;
mod explain;
mod hidden;
mod history;
mod init;
mod past;
mod place;
mod plan;
mod preflight;
mod promote;
mod record;
mod recorded;
mod remembered;
mod schema;
mod serve;
mod simulate;
mod status;
mod validate;
mod watchdog;

pub(crate) use error::Error;
pub use exit::Exit;
pub(crate) use global::{Format, Global};
use output::Printer;
use runtime::{block_on, runtime};

use crate::history::AskedFor;
use crate::platform::kubernetes::Where;

const EXAMPLES: &str = "\
Examples:
  gate demo
  gate promote examples/local/checkout.yaml --release v2 --load 200
  gate serve examples/local/checkout.yaml
  gate promote local/checkout --release v2
  gate promote deployment/checkout -n shop --release registry.example/checkout:v2";

/// Release progressively, judge on evidence, go back in one write
///
/// gate gives a new version a small part of the real traffic, watches it beside the old one, goes on
/// stage by stage, and puts the old version back by itself when a limit is breached.
#[derive(Debug, Parser)]
#[command(name = "gate", version, disable_help_subcommand = true, max_term_width = 100)]
#[command(after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(flatten)]
    leave: report::LeaveArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Promote a healthy and a broken release here, under real load (under 3 minutes)
    Demo,
    /// Promote a release: stage by stage to its end, or back
    Promote(promote::PromoteArgs),
    /// Show where it stands, what it waits for, until when, and why
    Status(status::StatusArgs),
    /// Abort the promotion: all traffic back to stable
    Abort(ask::AbortArgs),
    /// Hold the promotion where it is
    Hold(ask::AskArgs),
    /// Let a held promotion go on
    Resume(ask::AskArgs),
    /// Answer a stage that asks for a person
    Approve(ask::ApproveArgs),
    /// Lift the quarantine of the release that was rolled back last, and promote it again
    Retry(ask::RetryArgs),
    /// Go back to an earlier revision, also after a promotion has ended
    Rollback(ask::RollbackArgs),
    /// Show what was decided, and on what evidence
    History(history::HistoryArgs),
    /// Check policy and app files: every mistake at once
    Validate(validate::ValidateArgs),
    /// Show what a promotion would do, stage by stage
    Plan(preflight::TrafficArgs),
    /// Check permissions, objects, metrics, and whether the traffic can prove each stage; change nothing
    Preflight(preflight::PreflightArgs),
    /// Find what an interrupted promotion left behind, and repair it
    Doctor(doctor::DoctorArgs),
    /// Simulate promotions: how soon a regression is found, how often a harmless release is taken back
    Simulate(simulate::SimulateArgs),
    /// Judge a recording or a past deployment: what would have been done, and when
    Backtest(backtest::BacktestArgs),
    /// Explain one decision in plain words, with its numbers
    Explain(explain::ExplainArgs),
    /// Write the evidence of a promotion to a recording
    Record(record::RecordArgs),
    /// Serve an app: processes, proxy, and the engine of its promotions
    Serve(serve::ServeArgs),
    /// Write a policy to start from
    Init(init::InitArgs),
    /// Print the JSON Schema of a policy or an app file
    Schema(schema::SchemaArgs),
    /// Print the completions of a shell
    Completions(completions::CompletionsArgs),
    /// Print the manual page
    Man,
    /// Print the version
    Version,
    #[command(flatten)]
    Hidden(hidden::Hidden),
}

/// Runs a command line and returns its exit code.
#[must_use]
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout with code 0, the rest to stderr with code 2. A reader
            // that has gone away is no error.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    cli.global.color.set();
    let printer = Printer::new(&cli.global);
    let printer = match cli.leave.clone().check() {
        Ok(leavings) => printer.leaving(leavings),
        Err(error) => return error.print(&printer).into(),
    };
    let ended = run(cli, &printer);
    let exit = printer.conclude(match &ended {
        Ok(exit) => *exit,
        Err(error) => error.print(&printer),
    });
    report::conclude(&printer, exit, ended.as_ref().err());
    exit.into()
}

fn run(mut cli: Cli, printer: &Printer) -> Result<Exit, Error> {
    let global = cli.global;
    let place = Where::from(global.place.clone());
    cli.command.put(place.clone())?;
    if printer.leavings.is_asked_for() && !cli.command.follows() {
        return Err(Error::user("`--report` and `--notify-url` are of a promotion")
            .hint("promote, retry and rollback take them"));
    }
    match cli.command {
        Command::Demo => runtime()?.block_on(demo::demo(printer, global.timeout)),
        Command::Promote(args) => {
            let (timeout, about) = (global.timeout, args.about());
            let promoted = promote::promote(printer, timeout, args);
            runtime()?.block_on(report::following(printer, about, promoted))
        }
        Command::Status(args) => {
            runtime()?.block_on(status::status(printer, global.timeout, &place, args))
        }
        Command::Abort(args) => block_on(&global, ask::abort(printer, args)),
        Command::Hold(args) => block_on(&global, ask::ask(printer, AskedFor::Hold, args)),
        Command::Resume(args) => block_on(&global, ask::ask(printer, AskedFor::Resume, args)),
        Command::Approve(args) => block_on(&global, ask::approve(printer, args)),
        Command::Retry(args) => {
            let about = args.about();
            let retried = ask::retry(printer, global.timeout, args);
            runtime()?.block_on(report::following(printer, about, retried))
        }
        Command::Rollback(args) => {
            let about = args.about();
            let back = ask::rollback(printer, global.timeout, args);
            runtime()?.block_on(report::following(printer, about, back))
        }
        Command::History(args) => block_on(&global, history::history(printer, args)),
        Command::Serve(args) => runtime()?.block_on(serve::serve(printer, args)),
        Command::Hidden(command) => command.run(printer),
        Command::Validate(args) => validate::validate(printer, &args),
        Command::Plan(args) => block_on(&global, preflight::plan(printer, args)),
        Command::Preflight(args) => block_on(&global, preflight::preflight(printer, args)),
        Command::Doctor(args) => block_on(&global, doctor::doctor(printer, args)),
        Command::Simulate(args) => simulate::simulate(printer, &args),
        Command::Backtest(args) => block_on(&global, backtest::backtest(printer, args)),
        Command::Explain(args) => block_on(&global, explain::explain(printer, args)),
        Command::Record(args) => block_on(&global, record::record(printer, args)),
        Command::Init(args) => init::init(printer, &args),
        Command::Schema(args) => Ok(schema::schema(printer, &args)),
        Command::Completions(args) => completions::completions(printer, &args),
        Command::Man => completions::man(printer),
        Command::Version => Ok(completions::version(printer)),
    }
}

impl Command {
    /// Returns whether it follows a promotion to its end.
    const fn follows(&self) -> bool {
        matches!(self, Self::Promote(_) | Self::Retry(_) | Self::Rollback(_))
    }
}

/// Returns a length of time as people write it.
fn span(length: Duration) -> String {
    humantime::format_duration(length).to_string()
}

/// Returns who asks, for the record.
fn me() -> String {
    let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    var("USER")
        .or_else(|| var("LOGNAME"))
        .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_commands_fit_together() {
        Cli::command().debug_assert();
    }
}
