//! A past deployment that a Prometheus remembers: `--prometheus URL --range 7d TARGET`.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;

use super::error::Error;
use super::exit::Exit;
use super::output::Printer;
use crate::analysis::PerArm;
use crate::analysis::evidence::{Header, Line, StageTimes};
use crate::evidence::prometheus::past::{Asked, PIECE_TIMEOUT, Past, RANGE_MAX, Unreadable};
use crate::evidence::prometheus::revisions::Revisions;
use crate::evidence::prometheus::{Credentials, Source};
use crate::plan::{Defaults, Plan, Release};
use crate::platform::kubernetes::Where;
use crate::policy::{Condition, EvidencePolicy, Policy};
use crate::share::Share;

/// Between two looks at a Prometheus, and the threshold judge's window there. Source: the judges' table of defaults.
const DEFAULTS: Defaults =
    Defaults { interval: Duration::from_secs(15), window: Duration::from_secs(60) };

/// The label that names a Deployment's pods.
const POD: &str = "pod";

/// Where the past is, and who was who.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The past, as a Prometheus remembers it")]
pub(crate) struct RememberedArgs {
    /// Read a past deployment of TARGET from this server (credentials: GATE_PROMETHEUS_…)
    #[arg(long, value_name = "URL")]
    pub(crate) prometheus: Option<String>,
    /// How far back to look for it, at most 31 days
    #[arg(long, value_name = "DURATION", default_value = "24h", requires = "prometheus",
          value_parser = humantime::parse_duration)]
    range: Duration,
    /// Where the range ends, in RFC 3339 [default: now]
    #[arg(long, value_name = "TIME", requires = "prometheus")]
    until: Option<DateTime<Utc>>,
    /// The release: a ReplicaSet's hash, or series by matchers: 'version="v2"' [default: the newest]
    #[arg(long, value_name = "HASH|MATCHERS", requires = "prometheus")]
    candidate: Option<String>,
    /// What it replaced [default: the revision before the newest]
    #[arg(long, value_name = "HASH|MATCHERS", requires = "prometheus")]
    baseline: Option<String>,
    /// The share that was asked for, in percent [default: the candidate's part of the instances]
    #[arg(long, value_name = "PERCENT", requires = "prometheus", value_parser = percent)]
    share: Option<Share>,
    /// What was said of a cluster. Of a past only the namespace counts, as the label `namespace` has it.
    #[arg(skip)]
    pub(crate) place: Where,
}

fn percent(written: &str) -> Result<Share, String> {
    let number = written.trim().trim_end_matches('%').trim_end().parse().ok();
    number
        .and_then(Share::from_percent)
        .ok_or_else(|| format!("`{written}` is not a share from 0 to 100 %"))
}

impl RememberedArgs {
    /// Finds the deployment and opens its past.
    ///
    /// # Errors
    /// The server can't be asked, or remembers no such deployment.
    pub(crate) async fn open(
        &self,
        url: &str,
        target: &str,
        policy: &Policy,
    ) -> Result<Remembered, Error> {
        if self.range > RANGE_MAX || self.range.is_zero() {
            return Err(Error::user("--range lies above 0 and is at most 31 days"));
        }
        if self.place.context.is_some() || self.place.kubeconfig.is_some() {
            return Err(Error::user(
                "--context and --kubeconfig are of a cluster, and none is asked",
            ));
        }
        let revisions = self.revisions(target)?;
        let mut source = source(url, &policy.evidence, &revisions)?;
        source.timeout = PIECE_TIMEOUT;
        let past = self.past(source, &revisions, policy).await;
        let (past, names) = past.map_err(|error| unreadable(url, error))?;
        Ok(Remembered { past, names, url: url.to_owned(), read: VecDeque::new() })
    }

    async fn past(
        &self,
        source: Source,
        revisions: &Revisions,
        policy: &Policy,
    ) -> Result<(Past, PerArm<String>), Unreadable> {
        let end = match self.until {
            Some(until) => until.timestamp(),
            None => source.now().await?,
        };
        let range = (end - self.range.as_secs().cast_signed(), end);
        let found = source.find(revisions, range).await?;
        let names = found.names.clone();
        let (header, limits_ms) = (header(policy), limits_ms(&policy.conditions));
        let asked = Asked { found, range, header, limits_ms, share: self.share };
        Ok((Past::open(source, asked).await?, names))
    }

    fn revisions(&self, target: &str) -> Result<Revisions, Error> {
        let named = PerArm { baseline: self.baseline.clone(), candidate: self.candidate.clone() };
        let is_matcher = |arm: &Option<String>| arm.as_ref().is_some_and(|arm| arm.contains('='));
        match (target.split_once('/'), &named) {
            (_, PerArm { baseline: Some(baseline), candidate: Some(candidate) })
                if is_matcher(&named.baseline) && is_matcher(&named.candidate) =>
            {
                if self.place.namespace.is_some() {
                    return Err(Error::user("--namespace is of deployment/NAME")
                        .hint("write it into both matchers: 'namespace=\"shop\",…'"));
                }
                let (baseline, candidate) = (baseline.clone(), candidate.clone());
                Ok(Revisions::Matchers(PerArm { baseline, candidate }))
            }
            (_, named) if is_matcher(&named.baseline) || is_matcher(&named.candidate) => {
                Err(Error::user("matchers are of both: --baseline and --candidate"))
            }
            (Some(("deployment" | "deploy", name)), _) if !name.is_empty() => {
                let (name, namespace) = (name.to_owned(), self.place.namespace.clone());
                Ok(Revisions::Deployment { name, namespace, named })
            }
            (Some(_) | None, _) => {
                Err(Error::user(format!("nothing tells whose series are of {target}")).hint(
                    "name deployment/NAME, or both by matchers: --baseline 'version=\"v1\"' --candidate 'version=\"v2\"'",
                ))
            }
        }
    }
}

/// A past deployment under reading.
#[derive(Debug)]
pub(crate) struct Remembered {
    past: Past,
    names: PerArm<String>,
    url: String,
    read: VecDeque<Line>,
}

impl Remembered {
    pub(crate) const fn header(&self) -> &Header {
        self.past.header()
    }

    /// When it began.
    fn began(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(self.past.zero(), 0).unwrap_or_default()
    }

    /// Returns the next look; `None` at the end.
    ///
    /// # Errors
    /// The server can't be asked any more, or has something else than was asked for.
    pub(crate) async fn next(&mut self) -> Result<Option<Line>, Error> {
        while self.read.is_empty() {
            match self.past.piece().await.map_err(|error| unreadable(&self.url, error))? {
                Some(lines) => self.read.extend(lines),
                None => return Ok(None),
            }
        }
        Ok(self.read.pop_front())
    }

    /// Says whose past it is.
    pub(crate) fn introduce(&self, printer: &Printer) {
        let PerArm { baseline, candidate } = &self.names;
        printer.say(&format!("{candidate} after {baseline}, first seen at {}", self.began()));
    }

    /// Says why some sample could not be used.
    pub(crate) fn complain(&self, printer: &Printer) {
        if let Some(why) = self.past.trouble() {
            printer.complain(&format!("some samples can't be used: {why}"));
        }
    }
}

fn source(url: &str, policy: &EvidencePolicy, revisions: &Revisions) -> Result<Source, Error> {
    let evidence = EvidencePolicy { source: Some(url.to_owned()), ..policy.clone() };
    let instance = match revisions {
        Revisions::Deployment { .. } => Some(POD),
        Revisions::Matchers(_) => None,
    };
    let source = Credentials::from_env(|name| std::env::var(name).ok())
        .map_err(Into::into)
        .and_then(|credentials| Source::from_policy(&evidence, instance, &credentials));
    match source {
        Ok(Some(source)) => Ok(source),
        Ok(None) => Err(Error::user(format!("`{url}` is no URL"))),
        Err(refusal) => Err(Error::user(refusal.to_string())),
    }
}

fn unreadable(url: &str, error: Unreadable) -> Error {
    let exit = if error.is_source_dead() { Exit::Unreachable } else { Exit::Usage };
    Error::new(exit, format!("can't read the past from {url}")).caused_by(error)
}

/// The header of the recording: the policy's times, and one stage, because nobody remembers the stages. It is held as
/// long as the policy's longest.
fn header(policy: &Policy) -> Header {
    let nobody = || Release { name: String::new(), hash: String::new(), irreversible: false };
    let plan = Plan::new(policy, "", "", nobody(), nobody(), DEFAULTS);
    let hold_s = plan.stages.iter().map(|stage| stage.hold.as_secs_f64()).fold(0.0, f64::max);
    let with_users = plan.stages.iter().filter(|stage| !stage.share.is_zero());
    let horizon_s: f64 = with_users.map(|stage| stage.deadline.as_secs_f64()).sum();
    let stage = StageTimes { at_s: Some(0.0), hold_s: Some(hold_s), ..StageTimes::default() };
    Header {
        bounds_ms: Vec::new(),
        // Looks of a range are whole seconds apart.
        interval_s: plan.judge.interval.as_secs_f64().floor().max(1.0),
        probe_interval_s: None,
        horizon_s: Some(horizon_s),
        stages: vec![stage],
        ..Header::of_plan(&plan)
    }
}

/// The limits on response times, in milliseconds; `None` if no condition speaks of them.
fn limits_ms(conditions: &[Condition]) -> Option<Vec<f64>> {
    let mut limits = None;
    for condition in conditions {
        match condition {
            Condition::ResponseTime { limit, .. } => {
                limits.get_or_insert_with(Vec::new).push(limit.as_nanos() as f64 / 1e6);
            }
            Condition::ResponseTimeRatio { .. } => {
                limits.get_or_insert_with(Vec::new);
            }
            Condition::ErrorRate { .. }
            | Condition::ErrorRateRatio { .. }
            | Condition::HealthCheckFailures { .. }
            | Condition::TrafficShare { .. }
            | Condition::Query { .. } => {}
        }
    }
    limits
}
