//! `gate preflight`, and `gate plan --rps`: whether the traffic can prove each stage before its deadline, and how
//! small a regression it lets through; in a cluster also what else speaks against a promotion.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::error::Error;
use super::exit::Exit;
use super::output::{Printer, preflight as shown};
use super::plan::{self, PlanArgs};
use super::target::{Target, read_app_again};
use super::traffic::{Traffic, ask_server, counted, given, measure};
use crate::analysis::evidence::{Assumed, Outlook, outlook};
use crate::cluster::look::Looked;
use crate::plan::{Plan, Stage};
use crate::platform::kubernetes::preflight::{Finding, Level};
use crate::policy::{InsufficientTraffic, JudgeKind};
use crate::share::Share;

pub(crate) const PREFLIGHT_SCHEMA: &str = "gate.preflight/v1";

/// Holds under users that are shorter than this in total let latency regressions below the limit pass
/// (measured: p95 × 2 needs 80 to 105 s).
const LATENCY_S: f64 = 90.0;
/// Requests per second that are believed.
const RPS_MAX: f64 = 1e7;

#[derive(Debug, Args)]
pub(crate) struct TrafficArgs {
    #[command(flatten)]
    what: PlanArgs,
    /// Requests a second of the app, of both revisions together
    #[arg(long, value_name = "RPS", value_parser = rps)]
    rps: Option<f64>,
}

impl TrafficArgs {
    pub(crate) const fn target(&mut self) -> &mut Target {
        &mut self.what.target
    }

    /// Where nothing is said of the traffic.
    pub(crate) const fn without(what: PlanArgs) -> Self {
        Self { what, rps: None }
    }
}

#[derive(Debug, Args)]
pub(crate) struct PreflightArgs {
    #[command(flatten)]
    traffic: TrafficArgs,
    /// In a cluster: print the Role that this promotion needs, for `kubectl apply -f -`, and nothing else
    #[arg(long)]
    role: bool,
}

impl PreflightArgs {
    pub(crate) const fn target(&mut self) -> &mut Target {
        self.traffic.target()
    }
}

fn rps(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|rps| (0.0..=RPS_MAX).contains(rps));
    number.ok_or_else(|| format!("a number from 0 to {RPS_MAX}"))
}

/// What the traffic can prove.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Preflight {
    schema: &'static str,
    pub(crate) target: String,
    pub(crate) release: String,
    pub(crate) requests_per_s: f64,
    /// Measured at the running host, or by the metrics server; otherwise given.
    pub(crate) measured: bool,
    /// For how long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) measured_over_s: Option<f64>,
    /// `proxy`, `metrics`, or the URL of a metrics server.
    pub(crate) source: String,
    /// Between two samples of a metrics server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source_interval_s: Option<f64>,
    pub(crate) stable_error_share: f64,
    pub(crate) provable: bool,
    pub(crate) stages: Vec<StageOutlook>,
    pub(crate) warnings: Vec<String>,
    /// Of the cluster, worst first; absent elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) findings: Option<Vec<Finding>>,
}

/// What the traffic can prove in one stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct StageOutlook {
    /// From 1.
    pub(crate) stage: usize,
    #[serde(rename = "stage_share")]
    pub(crate) share: Share,
    pub(crate) hold_s: f64,
    pub(crate) deadline_s: f64,
    /// When a harmless release passes at the earliest; absent: not before the deadline.
    pub(crate) passes_after_s: Option<f64>,
    /// So much more errors than the stable revision's are not let through.
    pub(crate) catches_errors_share: Option<f64>,
    /// Of the candidate.
    pub(crate) requests_in_hold: f64,
    pub(crate) provable: bool,
    /// What to change where it can't be proven.
    pub(crate) remedy: Option<String>,
}

/// `gate plan`: the plan, and what the traffic can prove where it is given, or where a metrics server knows it.
pub(crate) async fn plan(printer: &Printer, args: TrafficArgs) -> Result<Exit, Error> {
    if let Some(cluster) = args.what.target.cluster() {
        let looked = plan::look(printer, &args.what, &cluster).await?;
        plan::show(printer, &looked.plan, Some(&looked));
        let refused = refused(&looked.findings);
        let traffic = args.rps.map(given).or_else(|| looked.traffic.map(counted));
        let proven = traffic.map(|traffic| judge(printer, of(&looked.plan, traffic, Vec::new())?));
        return refused.map_or_else(|| proven.unwrap_or(Ok(Exit::Done)), Err);
    }
    let mut plan = plan::resolve(printer, &args.what).await?;
    let asked = ask_server(&mut plan, &args.what.target).await;
    plan::show(printer, &plan, None);
    let known = match (args.rps, asked) {
        (Some(rps), Ok(asked)) => Some((given(rps), asked.map_or_else(Vec::new, |(_, n)| n))),
        (Some(rps), Err(why)) => Some((given(rps), vec![why.in_one_line()])),
        (None, Ok(asked)) => asked,
        (None, Err(why)) => {
            printer.complain(&format!("note: {}", why.in_one_line()));
            None
        }
    };
    match known {
        Some((traffic, notes)) => judge(printer, of(&plan, traffic, notes)?),
        None => Ok(Exit::Done),
    }
}

/// `gate preflight`: whether its source can be judged with, and what the traffic can prove, measured where it
/// is not given.
pub(crate) async fn preflight(printer: &Printer, args: PreflightArgs) -> Result<Exit, Error> {
    let PreflightArgs { traffic: args, role } = args;
    if let Some(cluster) = args.what.target.cluster() {
        let looked = plan::look(printer, &args.what, &cluster).await?;
        if role {
            printer.raw(looked.role.as_bytes());
            return Ok(Exit::Done);
        }
        return in_cluster(printer, args.rps, looked);
    }
    if role {
        return Err(Error::user("`--role` is of `deployment/NAME`"));
    }
    let mut plan = plan::resolve(printer, &args.what).await?;
    let asked = ask_server(&mut plan, &args.what.target).await?;
    let (traffic, notes) = match (args.rps, asked, &args.what.target) {
        (Some(rps), asked, _) => (given(rps), asked.map_or_else(Vec::new, |(_, notes)| notes)),
        (None, Some(known), _) => known,
        (None, None, Target::File(path)) => {
            (measure(printer, read_app_again(path)?.admin).await?, Vec::new())
        }
        (None, None, target @ (Target::Local(_) | Target::Deployment { .. })) => {
            return Err(unknown_traffic(target));
        }
    };
    judge(printer, of(&plan, traffic, notes)?)
}

/// What speaks against it comes first; without known traffic nothing is said of what it can prove.
fn in_cluster(printer: &Printer, rps: Option<f64>, looked: Looked) -> Result<Exit, Error> {
    let refused = refused(&looked.findings);
    let traffic = rps.map(given).or_else(|| looked.traffic.map(counted));
    let mut preflight = of(&looked.plan, traffic.unwrap_or(given(0.0)), Vec::new())?;
    if traffic.is_none() {
        preflight.stages.clear();
        preflight.provable = false;
        preflight.warnings = vec![
            "how much traffic there is nobody counts before it begins: give `--rps N` to see what it can prove"
                .into(),
        ];
    }
    preflight.findings = Some(looked.findings);
    let judged = match traffic {
        Some(_) => judge(printer, preflight),
        None => {
            show(printer, &preflight);
            Ok(Exit::Done)
        }
    };
    refused.map_or(judged, Err)
}

/// Returns the error that findings are, if one of them refuses.
fn refused(findings: &[Finding]) -> Option<Error> {
    let count = findings.iter().filter(|finding| finding.level == Level::Refuse).count();
    let what = match count {
        0 => return None,
        1 => "something has to change before it can begin".to_owned(),
        several => format!("{several} things have to change before it can begin"),
    };
    Some(Error::new(Exit::Refused, what))
}

fn unknown_traffic(target: &Target) -> Error {
    Error::user(format!("the traffic of {target} is not known"))
        .hint("name its app file, so that its running host is measured, or give `--rps N`")
}

fn judge(printer: &Printer, preflight: Preflight) -> Result<Exit, Error> {
    show(printer, &preflight);
    if preflight.provable {
        return Ok(Exit::Done);
    }
    let unproven = preflight.stages.iter().find(|stage| !stage.provable);
    let remedy = unproven.and_then(|stage| stage.remedy.clone());
    Err(Error::user("the traffic can't prove every stage before its deadline").maybe_hint(remedy))
}

fn show(printer: &Printer, preflight: &Preflight) {
    if printer.is_json() {
        printer.object(preflight);
    } else {
        printer.answer(&shown::render(preflight));
    }
}

fn of(plan: &Plan, traffic: Traffic, mut warnings: Vec<String>) -> Result<Preflight, Error> {
    let stages = plan.stages.iter().enumerate();
    let stages: Result<Vec<StageOutlook>, Error> =
        stages.map(|(at, stage)| stage_outlook(plan, traffic, at + 1, stage)).collect();
    let stages = stages?;
    let held: f64 =
        plan.stages.iter().filter(|s| !s.share.is_zero()).map(|s| s.hold.as_secs_f64()).sum();
    if plan.judge.kind == JudgeKind::Evidence && held < LATENCY_S {
        warnings.push(format!(
            "users see it for {held:.0} s in all: latency regressions below the limit will pass"
        ));
    }
    Ok(Preflight {
        schema: PREFLIGHT_SCHEMA,
        target: plan.target.clone(),
        release: plan.release.name.clone(),
        requests_per_s: traffic.rps,
        measured: traffic.watched_s.is_some(),
        measured_over_s: traffic.watched_s,
        source: plan.judge.source.clone(),
        source_interval_s: plan.judge.source_interval.map(|every| every.as_secs_f64()),
        stable_error_share: traffic.error_rate,
        provable: stages.iter().all(|stage| stage.provable),
        stages,
        warnings,
        findings: None,
    })
}

fn stage_outlook(
    plan: &Plan,
    traffic: Traffic,
    number: usize,
    stage: &Stage,
) -> Result<StageOutlook, Error> {
    let (hold_s, deadline_s) = (stage.hold.as_secs_f64(), stage.deadline.as_secs_f64());
    let found = ask(plan, traffic, stage)?;
    let on_health = plan.insufficient_traffic == InsufficientTraffic::HealthOnly;
    let provable = found.passes_after_s.is_some() || on_health || plan.observe_only;
    let remedy = (!provable).then(|| remedy(number, traffic.rps, stage, found.requests_needed));
    Ok(StageOutlook {
        stage: number,
        share: stage.share,
        hold_s,
        deadline_s,
        passes_after_s: found.passes_after_s,
        catches_errors_share: found.catches_errors,
        requests_in_hold: found.requests_in_hold,
        provable,
        remedy,
    })
}

fn ask(plan: &Plan, traffic: Traffic, stage: &Stage) -> Result<Outlook, Error> {
    let (hold_s, share) = (stage.hold.as_secs_f64(), stage.share.fraction());
    let requests_in_hold = traffic.rps * share * hold_s;
    if stage.share.is_zero() {
        // Health alone decides, and needs no traffic.
        let passes_after_s = Some(hold_s);
        return Ok(Outlook {
            passes_after_s,
            catches_errors: None,
            requests_in_hold,
            requests_needed: 0.0,
        });
    }
    match plan.judge.kind {
        JudgeKind::Threshold => {
            let needed = plan.judge.min_requests as f64;
            let after = (needed / (traffic.rps * share)).max(hold_s);
            let in_time = after <= stage.deadline.as_secs_f64();
            Ok(Outlook {
                passes_after_s: in_time.then_some(after),
                catches_errors: None,
                requests_in_hold,
                requests_needed: needed,
            })
        }
        JudgeKind::Evidence => {
            let assumed = Assumed {
                rps: traffic.rps,
                error_rate: traffic.error_rate,
                share,
                hold_s,
                deadline_s: stage.deadline.as_secs_f64(),
                // Between two samples a look has nothing new.
                interval_s: plan
                    .judge
                    .interval
                    .max(plan.judge.source_interval.unwrap_or_default())
                    .as_secs_f64(),
            };
            outlook(&plan.conditions, &plan.judge.bounds_ms, &assumed)
                .map_err(|refused| Error::user(format!("the plan can't be judged: {refused}")))
        }
    }
}

/// What would make it provable: more time, more share, or less proof.
fn remedy(number: usize, rps: f64, stage: &Stage, needed: f64) -> String {
    let share = stage.share.fraction();
    let health = "`insufficient_traffic: health_only`";
    if rps * share <= 0.0 {
        return format!("stage {number}: without requests only {health} can end it");
    }
    let deadline =
        humantime::format_duration(Duration::from_secs((needed / (rps * share)).ceil() as u64));
    let share = needed / (rps * stage.deadline.as_secs_f64()) * 100.0;
    let share = match share <= 100.0 {
        true => format!("a share of at least {share:.1}%, "),
        false => String::new(),
    };
    format!(
        "stage {number} needs about {needed:.0} requests of the candidate: {share}a deadline of at least {deadline} (with a longer hold), or {health}"
    )
}
