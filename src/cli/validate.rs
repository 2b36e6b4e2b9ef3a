//! `gate validate`: every mistake of every file, before anything runs.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::error::Error;
use super::exit::Exit;
use super::output::Printer;
use super::target::read_file;
use crate::platform::local::app;
use crate::policy::diagnostic::{Notes, Report};
use crate::policy::document::{self, Content};
use crate::policy::{self, Finding};

pub(crate) const FINDING_SCHEMA: &str = "gate.finding/v1";

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Policy or app files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// One mistake, as programs read it.
#[derive(Debug, Serialize)]
struct FindingLine {
    schema: &'static str,
    #[serde(flatten)]
    finding: Finding,
}

/// What a file was taken for.
enum Checked {
    Fine(&'static str, Report),
    Wrong(Report),
}

pub(crate) fn validate(printer: &Printer, args: &ValidateArgs) -> Result<Exit, Error> {
    let mut wrong = 0;
    let mut unreadable = false;
    for path in &args.files {
        let bytes = match read_file(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                error.print(printer);
                (wrong, unreadable) = (wrong + 1, true);
                continue;
            }
        };
        match check(path, &bytes) {
            Checked::Fine(kind, warnings) => {
                tell(printer, &warnings);
                if !printer.is_json() {
                    printer.answer(&format!("{}: a valid {kind}", path.display()));
                }
            }
            Checked::Wrong(report) => {
                tell(printer, &report);
                wrong += 1;
            }
        }
    }
    if args.files.len() > 1 && !printer.is_json() && (wrong > 0 || unreadable) {
        printer.answer(&format!("{wrong} of {} files are not valid", args.files.len()));
    }
    Ok(if wrong == 0 { Exit::Done } else { Exit::Usage })
}

fn check(path: &Path, bytes: &[u8]) -> Checked {
    let read = if is_app(bytes) {
        app::read(path, bytes).map(|checked| ("app file", checked.warnings))
    } else {
        policy::read(path, bytes).map(|checked| ("policy", checked.warnings))
    };
    match read {
        Ok((kind, warnings)) => Checked::Fine(kind, warnings),
        Err(report) => Checked::Wrong(report),
    }
}

/// An app file is told by the keys that only it has.
fn is_app(bytes: &[u8]) -> bool {
    let root = document::read(&mut Notes::default(), bytes);
    match root.map(|root| root.content) {
        Some(Content::Table(entries)) => {
            entries.iter().any(|entry| ["app", "releases", "listen"].contains(&entry.key.as_str()))
        }
        Some(_) | None => false,
    }
}

/// Mistakes are the answer here, for people and for programs.
fn tell(printer: &Printer, report: &Report) {
    if report.is_empty() {
        return;
    }
    super::report::findings(printer, &report.findings());
    if !printer.is_json() {
        return printer.answer(&report.coloured());
    }
    for finding in report.findings() {
        printer.object(&FindingLine { schema: FINDING_SCHEMA, finding });
    }
}
