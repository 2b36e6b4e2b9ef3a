//! May a promotion start? What is asked for against what runs, what is frozen, and what is known to be bad.
//!
//! A refusal changes nothing; it says why, and what to type.

use chrono::{DateTime, Utc};

use super::HostError;
use super::running::Running;
use crate::plan::{LOCAL_DEFAULTS, Plan, Release};
use crate::platform::local::app::{App, PolicySource, ReleaseSpec};
use crate::platform::local::stored::Stored;
use crate::platform::local::{release_of, scraped};
use crate::policy::{self, HealthCheck, Policy};
use crate::published::ResultLine;
use crate::rollout::ResultWord;

use super::protocol::{PolicyText, Promote};

/// A promotion that may be prepared.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) plan: Plan,
    pub(super) spec: ReleaseSpec,
}

/// Returns the plan for a request.
pub(super) fn plan(app: &App, stored: &Stored, promote: &Promote) -> Result<Admitted, HostError> {
    let spec = find_release(app, &promote.release)?;
    let (policy, source) = choose_policy(app, promote.policy.as_ref())?;
    let release = release_of(&promote.release, &spec);
    let plan = resolve(app, &policy, source, stored.stable.release.clone(), release);
    scraped::source(&plan, &stored.stable.spec, &spec)?;
    Ok(Admitted { plan, spec })
}

/// Returns the plan of a way back to a revision that was stable before.
pub(super) fn plan_back(
    app: &App,
    stored: &Stored,
    to: Option<&str>,
    now: bool,
    policy: Option<&PolicyText>,
) -> Result<Admitted, HostError> {
    let past = stored
        .passed
        .iter()
        .rev()
        .filter(|past| stored.condemned(&past.release.hash).is_none())
        .find(|past| {
            to.is_none_or(|to| past.release.name == to || past.release.hash.starts_with(to))
        })
        .ok_or_else(|| no_such_past(stored, to))?;
    let (mut policy, mut source) = choose_policy(app, policy)?;
    if now {
        policy = policy.at_once();
        source = "rollback --now".into();
    }
    let stable = stored.stable.release.clone();
    let release = Release { irreversible: false, ..past.release.clone() };
    let plan = resolve(app, &policy, source, stable, release);
    // A way back at once is not judged: no metrics server stands in its way.
    if !now {
        scraped::source(&plan, &stored.stable.spec, &past.spec)?;
    }
    Ok(Admitted { plan, spec: past.spec.clone() })
}

fn resolve(app: &App, policy: &Policy, source: String, stable: Release, release: Release) -> Plan {
    let target = format!("local/{}", app.name);
    let mut plan = Plan::new(policy, source, target, stable, release, LOCAL_DEFAULTS);
    plan.health_check = app.health_check().or(plan.health_check);
    plan
}

/// Returns why a promotion with this plan does not start, if it does not.
pub(super) fn refusal(
    plan: &Plan,
    stored: &Stored,
    retry: Option<&str>,
    now: DateTime<Utc>,
) -> Option<ResultLine> {
    let line = |result, code, reason: String, next: Option<String>| {
        Some(ResultLine::not_started(
            &plan.target,
            result,
            code,
            &plan.stable.name,
            &plan.release.name,
            reason,
            next,
        ))
    };
    let release = &plan.release.name;
    if plan.release.hash == plan.stable.hash {
        let reason = format!("{release} is what stable runs already");
        return line(ResultWord::Unchanged, 0, reason, None);
    }
    if let Some(bad) = stored.condemned(&plan.release.hash)
        && retry.is_none()
    {
        let at = bad.at.format("%Y-%m-%d %H:%M:%S UTC");
        let reason = format!("{release} is in quarantine since {at}: {}", bad.cause);
        let target = &plan.target;
        let next =
            format!("gate promote {target} --release {release} --retry 'why it is good now'");
        return line(ResultWord::Refused, 7, reason, Some(next));
    }
    if let Some(until) = plan.frozen_until(now) {
        let reason = format!("a freeze is on until {}", until.format("%Y-%m-%d %H:%M:%S UTC"));
        return line(ResultWord::Refused, 7, reason, None);
    }
    None
}

pub(super) fn is_busy(plan: &Plan, running: &Running) -> ResultLine {
    let since = running.started.format("%Y-%m-%d %H:%M:%S UTC");
    let reason = format!(
        "another promotion runs: {} of {}, by {} since {since}",
        running.id, running.plan.release.name, running.by
    );
    let mut line = not_possible(plan, reason);
    line.next = Some(format!("gate status {}", plan.target));
    line
}

pub(super) fn not_possible(plan: &Plan, reason: String) -> ResultLine {
    let (stable, release) = (&plan.stable.name, &plan.release.name);
    let refused = ResultWord::Refused;
    ResultLine::not_started(&plan.target, refused, 7, stable, release, reason, None)
}

fn find_release(app: &App, name: &str) -> Result<ReleaseSpec, HostError> {
    app.releases.get(name).cloned().ok_or_else(|| {
        let names: Vec<&str> = app.releases.keys().map(String::as_str).collect();
        HostError {
            exit_code: 2,
            message: format!("no release {name:?} in the app file of {}", app.name),
            hint: Some(format!("it has {}", names.join(", "))),
        }
    })
}

/// Returns the policy that was asked for, else the app's own, else the built-in one, and its source.
fn choose_policy(app: &App, asked: Option<&PolicyText>) -> Result<(Policy, String), HostError> {
    let (policy, source) = written_policy(app, asked)?;
    HostError::unless_without_testers(&policy)?;
    Ok((policy, source))
}

fn written_policy(app: &App, asked: Option<&PolicyText>) -> Result<(Policy, String), HostError> {
    if let Some(PolicyText { source, text, stands_in }) = asked
        && !(*stands_in && app.policy.is_some())
    {
        return Ok((read(source, text.as_bytes())?, source.clone()));
    }
    match &app.policy {
        Some(PolicySource::Inline(policy)) => {
            Ok(((**policy).clone(), format!("the app file of {}", app.name)))
        }
        Some(PolicySource::File(path)) => {
            let source = path.display().to_string();
            let bytes = std::fs::read(path).map_err(|error| HostError {
                exit_code: 2,
                message: format!("can't read the policy {source}: {error}"),
                hint: None,
            })?;
            Ok((read(&source, &bytes)?, source))
        }
        None => Ok((policy::built_in(), "the built-in canary".into())),
    }
}

fn read(source: &str, bytes: &[u8]) -> Result<Policy, HostError> {
    policy::read(source.as_ref(), bytes).map(|checked| checked.value).map_err(|report| HostError {
        exit_code: 2,
        message: report.to_string(),
        hint: None,
    })
}

fn no_such_past(stored: &Stored, to: Option<&str>) -> HostError {
    let names: Vec<&str> = stored.passed.iter().map(|past| past.release.name.as_str()).collect();
    let known = if names.is_empty() {
        "no earlier revision has passed here".to_owned()
    } else {
        format!("those that passed: {}", names.join(", "))
    };
    let message = to.map_or_else(
        || "there is nothing to go back to".to_owned(),
        |to| format!("there is no earlier revision {to:?}"),
    );
    HostError { exit_code: 7, message, hint: Some(known) }
}

impl App {
    /// Returns the probe whose interval and threshold evidence is judged by, as a health check.
    #[must_use]
    pub fn health_check(&self) -> Option<HealthCheck> {
        let probe = self.probes.readiness.as_ref().or(self.probes.liveness.as_ref())?;
        Some(HealthCheck {
            path: String::new(),
            interval: probe.interval,
            threshold: probe.failure_threshold,
            status: None,
            body: None,
            port: None,
        })
    }
}
