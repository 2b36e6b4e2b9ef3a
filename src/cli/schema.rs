//! `gate schema`: what an editor needs to complete and check the files.

use clap::{Args, ValueEnum};

use super::exit::Exit;
use super::output::Printer;
use crate::platform::local::app;
use crate::policy;

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Which file
    #[arg(value_enum, default_value_t)]
    of: Of,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Of {
    #[default]
    Policy,
    App,
}

pub(crate) fn schema(printer: &Printer, args: &SchemaArgs) -> Exit {
    let schema = match args.of {
        Of::Policy => policy::schema(),
        Of::App => policy::schema::of("gate app", &app::shape::APP),
    };
    if printer.is_json() {
        printer.object(&schema);
    } else {
        printer.answer(&format!("{schema:#}"));
    }
    Exit::Done
}
