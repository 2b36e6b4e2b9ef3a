//! `gate record`: the evidence of a promotion as a recording, which can be judged again by anyone.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::chosen;
use super::error::Error;
use super::exit::Exit;
use super::output::Printer;
use super::past::Past;
use super::remembered::RememberedArgs;
use super::target::Target;
use crate::analysis::Look;
use crate::analysis::evidence::{Header, Line};
use crate::durable;
use crate::history::Record;

pub(crate) const RECORDED_SCHEMA: &str = "gate.recorded/v1";

#[derive(Debug, Args)]
pub(crate) struct RecordArgs {
    /// What was released: deployment/NAME, local/NAME or an app file [default: the only app that is known here]
    target: Option<String>,
    /// The promotion: its id, or how it begins [default: the newest]
    #[arg(long, value_name = "ID", conflicts_with = "prometheus")]
    id: Option<String>,
    /// With --prometheus: whose limits, interval and preset to record for [default: the built-in canary]
    #[arg(long, value_name = "FILE|NAME", requires = "prometheus")]
    policy: Option<String>,
    /// Where the recording goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    pub(super) remembered: RememberedArgs,
}

/// What was written.
#[derive(Debug, Serialize)]
struct Recorded<'a> {
    schema: &'static str,
    /// Absent: it was not gate's own promotion.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    file: String,
    /// Those of the promotion itself: what a judge was taught before it is written, and not counted.
    looks: usize,
}

/// A recording in the making.
#[derive(Debug, Default)]
struct Written {
    text: Vec<u8>,
    looks: usize,
}

impl Written {
    fn begin(header: &Header) -> Result<Self, Error> {
        let mut written = Self::default();
        written.line(header)?;
        Ok(written)
    }

    fn look(&mut self, line: &Line) -> Result<(), Error> {
        self.looks += 1;
        self.line(line)
    }

    fn learned(&mut self, looks: &[Look]) -> Result<(), Error> {
        looks.iter().try_for_each(|look| self.line(&Line::from(look)))
    }

    fn line(&mut self, line: &impl Serialize) -> Result<(), Error> {
        let line = serde_json::to_string(line)
            .map_err(|error| Error::internal("a look has no line of its own").caused_by(error))?;
        // Writing into memory can't fail.
        let _ = writeln!(self.text, "{line}");
        Ok(())
    }

    fn save(&self, to: &Path) -> Result<(), Error> {
        durable::write(to, &self.text)
            .map_err(|error| Error::user(format!("can't write {}", to.display())).caused_by(error))
    }
}

pub(crate) async fn record(printer: &Printer, args: RecordArgs) -> Result<Exit, Error> {
    let (written, id, what) = match &args.remembered.prometheus {
        Some(url) => remembered(printer, &args, url).await?,
        None => own(printer, &args).await?,
    };
    written.save(&args.out)?;
    let (file, looks) = (args.out.display().to_string(), written.looks);
    if printer.is_json() {
        printer.object(&Recorded { schema: RECORDED_SCHEMA, id: id.as_deref(), file, looks });
    } else {
        printer.answer(&format!("{file}: {looks} looks of {what}"));
    }
    Ok(Exit::Done)
}

/// A promotion of this host's: its recording, its id, and what it was.
async fn own(
    printer: &Printer,
    args: &RecordArgs,
) -> Result<(Written, Option<String>, String), Error> {
    let target = args.target.as_ref().map(|written| written.parse::<Target>().map_err(Error::user));
    let mut target = target.transpose()?;
    if let Some(target) = &mut target {
        target.put(&args.remembered.place)?;
    }
    let past = Past::newest(printer, target.as_ref(), args.id.as_deref()).await?;
    let mut written = Written::begin(&Header::of_plan(&past.plan))?;
    for (_, record) in &past.records {
        match record {
            Record::Learned { looks } => written.learned(looks)?,
            Record::Observed { look, .. } => written.look(&Line::from(look))?,
            _ => {}
        }
    }
    let what = format!("{} of {}", past.plan.release.name, past.plan.target);
    Ok((written, Some(past.id), what))
}

/// A past deployment that a Prometheus remembers.
async fn remembered(
    printer: &Printer,
    args: &RecordArgs,
    url: &str,
) -> Result<(Written, Option<String>, String), Error> {
    let target = args.target.as_deref().unwrap_or_default();
    let policy = match chosen::named(printer, args.policy.as_deref())? {
        Some(chosen) => chosen.policy,
        None => chosen::built_in().1,
    };
    let mut past = args.remembered.open(url, target, &policy).await?;
    past.introduce(printer);
    let mut written = Written::begin(past.header())?;
    while let Some(line) = past.next().await? {
        written.look(&line)?;
    }
    past.complain(printer);
    Ok((written, None, target.to_owned()))
}
