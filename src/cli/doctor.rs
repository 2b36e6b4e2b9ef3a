//! `gate doctor`: what an interrupted promotion left behind, and with `--fix` its repair.

use clap::Args;
use serde::Serialize;

use super::error::Error;
use super::exit::Exit;
use super::follow::unexpected;
use super::output::{Printer, doctor as shown};
use super::target::Target;
use crate::cluster::doctor::Checkup;
use crate::platform::kubernetes::doctor::{Leftover, Trace};

pub(crate) const DOCTOR_SCHEMA: &str = "gate.doctor/v1";

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// What is released: deployment/NAME
    target: Target,
    /// Repair it: traffic first, then pods, then objects (within two minutes)
    #[arg(long)]
    fix: bool,
}

impl DoctorArgs {
    pub(crate) const fn target(&mut self) -> &mut Target {
        &mut self.target
    }
}

/// What was found, and done.
#[derive(Debug, Serialize)]
pub(crate) struct Diagnosis<'a> {
    schema: &'static str,
    pub(crate) target: &'a str,
    /// Nothing was left, or nothing is any more.
    pub(crate) clean: bool,
    /// The promotion that was left behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) orphan: Option<&'a str>,
    pub(crate) left: Vec<LeftoverLine<'a>>,
    pub(crate) wrote: &'a [String],
    /// Why not everything is repaired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) waits_for: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// One thing that should not be there.
#[derive(Debug, Serialize)]
pub(crate) struct LeftoverLine<'a> {
    kind: String,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    promotion: Option<&'a str>,
    /// That is the promotion of the record.
    recorded: bool,
    /// `serving`, `made`, `changed` or `owned`.
    trace: &'static str,
    /// The same in words.
    pub(crate) what: String,
}

impl<'a> LeftoverLine<'a> {
    fn of(left: &'a Leftover) -> Self {
        Self {
            kind: left.kind.to_string(),
            name: &left.name,
            promotion: left.revision.as_deref(),
            recorded: left.recorded,
            trace: match left.trace {
                Trace::Serving => "serving",
                Trace::Made => "made",
                Trace::Changed => "changed",
                Trace::Owned => "owned",
            },
            what: left.to_string(),
        }
    }
}

pub(crate) async fn doctor(printer: &Printer, args: DoctorArgs) -> Result<Exit, Error> {
    let Some(cluster) = args.target.cluster() else {
        return Err(Error::user("a host repairs what it finds by itself, when it starts")
            .hint("`gate doctor` is of `deployment/NAME`"));
    };
    let mut tell = |step: &str| printer.say(step);
    let checkup = cluster.doctor(args.fix, &super::me(), &mut tell).await;
    let checkup = checkup.map_err(|answer| unexpected(*answer))?;
    let diagnosis = Diagnosis::of(&checkup, args.fix);
    if printer.is_json() {
        printer.object(&diagnosis);
    } else {
        printer.answer(&shown::render(&diagnosis));
    }
    match &checkup.waits_for {
        None => Ok(Exit::Done),
        Some(why) => {
            Err(Error::new(Exit::Unreachable, format!("not everything is repaired: {why}"))
                .hint(format!("gate doctor {} --fix", checkup.target)))
        }
    }
}

impl<'a> Diagnosis<'a> {
    fn of(checkup: &'a Checkup, fix: bool) -> Self {
        let Checkup { target, orphan, left, wrote, waits_for } = checkup;
        let clean = waits_for.is_none() && (fix || (left.is_empty() && orphan.is_none()));
        Self {
            schema: DOCTOR_SCHEMA,
            target,
            clean,
            orphan: orphan.as_deref(),
            left: left.iter().map(LeftoverLine::of).collect(),
            wrote,
            waits_for: waits_for.as_deref(),
            next: (!clean).then(|| format!("gate doctor {target} --fix")),
        }
    }
}
