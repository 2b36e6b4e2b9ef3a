//! `gate plan`: what a promotion would do, before it is done.

use clap::Args;
use serde::Serialize;

use super::chosen::{self, Chosen};
use super::error::Error;
use super::output::{Printer, plan as shown};
use super::peer::Peer;
use super::target::{Found, Target};
use crate::cluster::Cluster;
use crate::cluster::look::{Looked, Reach};
use crate::evidence::prometheus::{Arms, Source};
use crate::host::HostError;
use crate::host::protocol::{Answer, PolicyText, Promote, Request};
use crate::plan::{LOCAL_DEFAULTS, Plan, Release};
use crate::platform::kubernetes::preflight::Finding;
use crate::platform::local::app::App;
use crate::platform::local::scraped;
use crate::policy::diagnostic::did_you_mean;
use crate::share::Share;

pub(crate) const PLAN_SCHEMA: &str = "gate.plan/v1";

#[derive(Clone, Debug, Args)]
pub(crate) struct PlanArgs {
    /// What is released: deployment/NAME, local/NAME or an app file
    pub(crate) target: Target,
    /// The new version: IMAGE or CONTAINER=IMAGE (repeatable) of a Deployment, else the name of a
    /// release in the app file
    #[arg(long, value_name = "RELEASE", required = true)]
    release: Vec<String>,
    /// A policy file, or a shipped policy: canary, blue-green, cautious, seed, all-conditions
    #[arg(long, value_name = "FILE|NAME")]
    pub(crate) policy: Option<String>,
}

impl PlanArgs {
    /// Returns the release as a request names it: a Deployment's images with commas between them.
    pub(crate) fn release(&self) -> String {
        self.release.join(",")
    }
}

/// A plan as programs read it.
#[derive(Debug, Serialize)]
struct PlanLine<'a> {
    schema: &'static str,
    hash: String,
    least_s: f64,
    most_s: f64,
    #[serde(flatten)]
    plan: &'a Plan,
    /// What the stages' shares are with whole pods; absent outside a cluster.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reach: Vec<ReachLine>,
    /// Absent outside a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    findings: Option<&'a [Finding]>,
}

/// What a stage's share is with whole pods.
#[derive(Debug, Serialize)]
struct ReachLine {
    /// From 1.
    stage: usize,
    stage_share: Share,
    candidate_copies: u32,
    stable_copies: u32,
    seen_share: Share,
}

/// Returns the plan: the host's where one serves the app, else what a host of its own would make.
pub(crate) async fn resolve(printer: &Printer, args: &PlanArgs) -> Result<Plan, Error> {
    let named = chosen::named(printer, args.policy.as_deref())?;
    match args.target.find(printer).await? {
        Found::Served { peer, .. } => {
            let policy = chosen::for_peer(printer, named.as_ref())?;
            let promote = request(&args.release(), policy);
            ask(&peer, promote).await
        }
        Found::File { app, .. } => of_file(printer, &app, &args.release(), named),
    }
}

/// Shows a plan; `looked`: what was found of it in a cluster.
pub(crate) fn show(printer: &Printer, plan: &Plan, looked: Option<&Looked>) {
    if printer.is_json() {
        let reach = looked.map_or(&[][..], |looked| &looked.reach);
        printer.object(&PlanLine {
            schema: PLAN_SCHEMA,
            hash: plan.hash(),
            least_s: plan.least().as_secs_f64(),
            most_s: plan.most().as_secs_f64(),
            plan,
            reach: reach.iter().enumerate().map(|(at, reach)| line(at + 1, reach)).collect(),
            findings: looked.map(|looked| looked.findings.as_slice()),
        });
    } else {
        printer.answer(&shown::render(plan, looked));
    }
}

const fn line(stage: usize, reach: &Reach) -> ReachLine {
    ReachLine {
        stage,
        stage_share: reach.asked,
        candidate_copies: reach.candidate,
        stable_copies: reach.stable,
        seen_share: reach.seen,
    }
}

/// Looks at all that a cluster has to say.
pub(crate) async fn look(
    printer: &Printer,
    args: &PlanArgs,
    cluster: &Cluster,
) -> Result<Looked, Error> {
    let named = chosen::named(printer, args.policy.as_deref())?;
    let promote = request(&args.release(), chosen::for_peer(printer, named.as_ref())?);
    cluster.look(&promote).await.map_err(|answer| super::follow::unexpected(*answer))
}

/// Returns the plan of an app that nobody serves yet. Pure but for the files that it names.
pub(crate) fn of_file(
    printer: &Printer,
    app: &App,
    release: &str,
    named: Option<Chosen>,
) -> Result<Plan, Error> {
    let (source, policy) = match for_file(printer, app, named)? {
        Some(chosen) => (chosen.source, chosen.policy),
        None => chosen::of_app(printer, app)?.unwrap_or_else(chosen::built_in),
    };
    HostError::unless_without_testers(&policy).map_err(Error::said)?;
    let stable = release_of(app, &app.stable)?;
    let release = release_of(app, release)?;
    let target = format!("local/{}", app.name);
    let mut plan = Plan::new(&policy, source, target, stable, release, LOCAL_DEFAULTS);
    plan.health_check = app.health_check().or(plan.health_check);
    server_of(app, &plan)?;
    Ok(plan)
}

/// Returns the metrics server of a plan and what stable is called there, if it has one.
///
/// # Errors
/// It can't count the releases of this app, or the credentials are no good.
pub(crate) fn server_of(app: &App, plan: &Plan) -> Result<Option<(Source, Arms)>, Error> {
    let spec = |name| {
        let unknown = || Error::user(format!("{} has no release `{name}`", app.name));
        app.releases.get(name).ok_or_else(unknown)
    };
    let stable = spec(&plan.stable.name)?;
    let source = scraped::source(plan, stable, spec(&plan.release.name)?)
        .map_err(|why| Error::user(why.to_string()).maybe_hint(why.hint()))?;
    Ok(source.zip(scraped::stable_of_spec(stable)))
}

/// Returns the policy that goes before the app's own, or stands in for it; `None`: the app's own,
/// or the built-in.
pub(crate) fn for_file(
    printer: &Printer,
    app: &App,
    named: Option<Chosen>,
) -> Result<Option<Chosen>, Error> {
    match (named, &app.policy) {
        (Some(named), _) => Ok(Some(named)),
        (None, Some(_)) => Ok(None),
        (None, None) => chosen::of_working_directory(printer),
    }
}

pub(crate) fn request(release: &str, policy: Option<PolicyText>) -> Promote {
    Promote {
        release: release.to_owned(),
        policy,
        by: super::me(),
        retry: None,
        gitops_ok: false,
        watchdog: None,
    }
}

pub(crate) async fn ask(peer: &Peer, promote: Promote) -> Result<Plan, Error> {
    match peer.ask(&Request::Plan(promote)).await {
        Ok(Answer::Plan { plan }) => Ok(*plan),
        Ok(answer) => Err(super::follow::unexpected(answer)),
        Err(error) => Err(peer.unreachable(error)),
    }
}

fn release_of(app: &App, name: &str) -> Result<Release, Error> {
    let Some(spec) = app.releases.get(name) else {
        let known: Vec<&str> = app.releases.keys().map(String::as_str).collect();
        return Err(Error::user(format!("{} has no release `{name}`", app.name))
            .hint(did_you_mean(name, &known)));
    };
    Ok(Release { name: name.to_owned(), hash: spec.hash(), irreversible: spec.irreversible })
}
