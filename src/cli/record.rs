//! `gate record`: the evidence of a promotion as a recording, which can be judged again by anyone.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::error::Error;
use super::exit::Exit;
use super::output::Printer;
use super::past::Past;
use super::target::Target;
use crate::analysis::evidence::{Header, Line};
use crate::durable;
use crate::history::Record;

pub(crate) const RECORDED_SCHEMA: &str = "gate.recorded/v1";

#[derive(Debug, Args)]
pub(crate) struct RecordArgs {
    /// What was released: local/NAME or an app file [default: the only app that is known here]
    target: Option<Target>,
    /// The promotion: its id, or how it begins [default: the newest]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Where the recording goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl RecordArgs {
    pub(crate) const fn target(&mut self) -> Option<&mut Target> {
        self.target.as_mut()
    }
}

/// What was written.
#[derive(Debug, Serialize)]
struct Recorded<'a> {
    schema: &'static str,
    id: &'a str,
    file: String,
    looks: usize,
}

pub(crate) fn record(printer: &Printer, args: &RecordArgs) -> Result<Exit, Error> {
    let past = Past::find(printer, args.target.as_ref(), args.id.as_deref())?;
    let (text, looks) = recording(&past)?;
    durable::write(&args.out, &text).map_err(|error| {
        Error::user(format!("can't write {}", args.out.display())).caused_by(error)
    })?;
    let file = args.out.display().to_string();
    if printer.is_json() {
        printer.object(&Recorded { schema: RECORDED_SCHEMA, id: &past.id, file, looks });
    } else {
        printer.answer(&format!(
            "{file}: {looks} looks of {} of {}",
            past.plan.release.name, past.plan.target
        ));
    }
    Ok(Exit::Done)
}

/// Returns the lines, and how many of them are looks of the promotion itself.
fn recording(past: &Past) -> Result<(Vec<u8>, usize), Error> {
    let mut text = Vec::new();
    let mut write = |line: serde_json::Result<String>| {
        let line = line
            .map_err(|error| Error::internal("a look has no line of its own").caused_by(error))?;
        // Writing into memory can't fail.
        let _ = writeln!(text, "{line}");
        Ok::<_, Error>(())
    };
    let header = Header::of_plan(&past.plan);
    write(serde_json::to_string(&header))?;
    let mut count = 0;
    for (_, record) in &past.records {
        let looks = match record {
            Record::Learned { looks } => looks.as_slice(),
            Record::Observed { look, .. } => {
                count += 1;
                std::slice::from_ref(look)
            }
            _ => &[],
        };
        for look in looks {
            write(serde_json::to_string(&Line::from(look)))?;
        }
    }
    Ok((text, count))
}
