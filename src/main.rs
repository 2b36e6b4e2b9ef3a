//! The binary. For now it wires only the hidden subcommands.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use gate::example_app::{self, ExampleApp};
use gate::load::{self, LoadArgs};
use gate::platform::local::process::session;

#[derive(clap::Parser)]
enum Command {
    /// Become a command that leads a session of its own
    #[command(hide = true)]
    ExecSession {
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    /// A small service that can misbehave on purpose
    #[command(hide = true)]
    ExampleApp(ExampleApp),
    /// Send a bounded load to an application of this machine
    #[command(hide = true)]
    Load(LoadArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    match Command::parse() {
        Command::ExecSession { command } => match session::exec(&command)? {},
        Command::ExampleApp(app) => Ok(runtime()?.block_on(example_app::run(app))?),
        Command::Load(args) => {
            let report = runtime()?.block_on(load::run(&args))?;
            anstream::println!("{report}");
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
