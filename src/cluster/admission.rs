//! What a promotion would be: the target as it stands, the release in its template, the plan; and why
//! it does not start, if it does not.

use kube::api::DynamicObject;
use serde_json::Value;

use super::choice::{Given, choose};
use super::earlier;
use super::ledger::{Ledger, Templates};
use super::measure::measure;
use super::requests::Stopped;
use super::survey::{self, selector, target};
use crate::clock::{Clock as _, SystemClock};
use crate::host::protocol::{PolicyText, Promote};
use crate::plan::{CLUSTER_DEFAULTS, Plan, Release, TrafficPlan};
use crate::platform::kubernetes::access::Access;
use crate::platform::kubernetes::preflight::{self, Level, Question, Surroundings};
use crate::platform::kubernetes::router::{GatewayApi, PlainService, Router};
use crate::platform::kubernetes::snapshot::{Rollout, Snapshot};
use crate::platform::kubernetes::template::{self, Wanted};
use crate::platform::kubernetes::watching::Watched;
use crate::policy::Policy;
use crate::published::ResultLine;
use crate::rollout::ResultWord;

/// A promotion that may be prepared.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) plan: Plan,
    pub(super) router: Router,
    pub(super) stable: Value,
    pub(super) release: Value,
    /// The target's `matchLabels` as a selector.
    pub(super) selector: String,
    /// What was found, as it goes on.
    pub(super) watched: Watched,
}

/// Returns the plan for a request.
///
/// # Errors
/// What is asked for makes no sense, is refused, or is what stable runs already.
pub(super) async fn admit(
    access: &Access,
    name: &str,
    promote: &Promote,
    ledger: Option<&Ledger>,
) -> Result<Admitted, Stopped> {
    let given = Given::of(promote.policy.as_ref())?;
    let by_routes = given.as_ref().is_some_and(Given::goes_by_routes);
    let (seen, watched) = survey::watched(access, name, by_routes).await?;
    let asked = understand(&seen, promote, given)?;
    resolve(access, (seen, watched), asked, ledger).await
}

/// Returns what is asked for, whether or not it may begin.
///
/// # Errors
/// It makes no sense, or nothing can move the traffic.
pub(super) async fn considered(
    access: &Access,
    name: &str,
    promote: &Promote,
) -> Result<Considered, Stopped> {
    let given = Given::of(promote.policy.as_ref())?;
    let by_routes = given.as_ref().is_some_and(Given::goes_by_routes);
    let seen = survey::survey(access, name, by_routes).await?;
    let asked = understand(&seen, promote, given)?;
    consider(seen, asked, |_, _| Ok(()))
}

fn understand(seen: &Snapshot, promote: &Promote, given: Option<Given>) -> Result<Asked, Stopped> {
    let target = target_of(seen);
    let stable = template_of(target);
    let release = template::with_release(&stable, &wanted(&promote.release)?)
        .map_err(|misfit| Stopped::usage(misfit.to_string(), Some("CONTAINER=IMAGE".into())))?;
    let (policy, source) = choose(given, target)?;
    Ok(Asked {
        policy,
        source,
        release,
        retry: promote.retry.clone(),
        gitops_ok: promote.gitops_ok,
        watchdog: promote.watchdog.clone(),
        at_once: false,
    })
}

/// Returns the plan of a way back to a revision that the Deployment had before.
///
/// # Errors
/// There is none, it is known to be bad, or as [`admit`].
pub(super) async fn admit_back(
    access: &Access,
    name: &str,
    back: &Back,
    ledger: Option<&Ledger>,
) -> Result<Admitted, Stopped> {
    let given = Given::of(back.policy.as_ref())?;
    let by_routes = given.as_ref().is_some_and(Given::goes_by_routes);
    let (seen, watched) = survey::watched(access, name, by_routes).await?;
    let release = earlier::template(&seen, target_of(&seen), ledger, back.to.as_deref())?;
    let (mut policy, mut source) = choose(given, target_of(&seen))?;
    let now = back.now;
    if now {
        policy = policy.at_once();
        source = "rollback --now".into();
    }
    let ask = Asked {
        policy,
        source,
        release,
        retry: None,
        gitops_ok: now,
        watchdog: None,
        at_once: now,
    };
    resolve(access, (seen, watched), ask, ledger).await
}

/// A way back that is asked for.
pub(super) struct Back {
    /// Absent: the newest before the present one that passed.
    pub(super) to: Option<String>,
    /// Without stages.
    pub(super) now: bool,
    /// Absent: the target's own, or the built-in.
    pub(super) policy: Option<PolicyText>,
}

/// What is asked for, understood.
struct Asked {
    policy: Policy,
    source: String,
    release: Value,
    retry: Option<String>,
    gitops_ok: bool,
    watchdog: Option<String>,
    /// A person has decided: nothing is measured, so that nothing can be in the way.
    at_once: bool,
}

async fn resolve(
    access: &Access,
    (seen, watched): (Snapshot, Watched),
    asked: Asked,
    ledger: Option<&Ledger>,
) -> Result<Admitted, Stopped> {
    let (retry, at_once) = (asked.retry.clone(), asked.at_once);
    let may_begin = |plan: &Plan, target: &_| refuse(plan, target, ledger, retry.as_deref());
    let mut asked = consider(seen, asked, may_begin)?;
    let found = preflight::judged(&asked.question(), &Surroundings::default());
    if let Some(finding) = found.into_iter().find(|finding| finding.level == Level::Refuse) {
        return Err(Stopped::refused(finding.what, finding.remedy));
    }
    if !at_once {
        measure(access, &asked.seen, &mut asked.plan).await?;
    }
    let selector = selector(target_of(&asked.seen));
    let Considered { plan, router, stable, release, .. } = asked;
    Ok(Admitted { plan, router, stable, release, selector, watched })
}

/// What a promotion would be.
#[derive(Debug)]
pub(super) struct Considered {
    pub(super) seen: Snapshot,
    pub(super) plan: Plan,
    pub(super) router: Router,
    policy: Policy,
    stable: Value,
    release: Value,
    gitops_ok: bool,
}

impl Considered {
    pub(super) fn question(&self) -> Question<'_> {
        let target = target_of(&self.seen);
        Question {
            seen: &self.seen,
            plan: &self.plan,
            policy: &self.policy,
            router: &self.router,
            template: &self.release,
            target: target.metadata.name.as_deref().unwrap_or_default(),
            gitops_ok: self.gitops_ok,
            pods_proxy: self.plan.judge.server().is_none(),
            watchdog: self.plan.traffic.as_ref().is_some_and(|traffic| traffic.watchdog.is_some()),
        }
    }

    /// Returns what would be answered instead of beginning.
    pub(super) fn refused(&self, ledger: Option<&Ledger>) -> Option<Stopped> {
        refuse(&self.plan, target_of(&self.seen), ledger, None).err()
    }

    /// Returns how many copies stable has.
    pub(super) fn copies(&self) -> u32 {
        Rollout::of(target_of(&self.seen)).wanted
    }
}

fn consider(
    seen: Snapshot,
    asked: Asked,
    may_begin: impl FnOnce(&Plan, &DynamicObject) -> Result<(), Stopped>,
) -> Result<Considered, Stopped> {
    let Asked { policy, source, release, gitops_ok, watchdog, retry: _, at_once: _ } = asked;
    let target = target_of(&seen);
    let stable = template_of(target);
    let name = target.metadata.name.as_deref().unwrap_or_default();
    let named = |template: &Value, other: &Value| Release {
        name: template::name(template, Some(other)),
        hash: template::hash(template),
        irreversible: false,
    };
    let (old, new) = (named(&stable, &release), named(&release, &stable));
    let target_name = format!("deployment/{name}");
    let mut plan = Plan::new(&policy, source, target_name, old, new, CLUSTER_DEFAULTS);
    may_begin(&plan, target)?;
    let router = router(&policy, &seen, &stable)?;
    plan.traffic = Some(TrafficPlan { watchdog, ..router.plan() });
    Ok(Considered { seen, plan, router, policy, stable, release, gitops_ok })
}

pub(super) fn router(
    policy: &Policy,
    seen: &Snapshot,
    template: &Value,
) -> Result<Router, Stopped> {
    let traffic = &policy.traffic;
    let router = if traffic.by_routes() {
        GatewayApi::new(seen, template, traffic).map(Router::GatewayApi)
    } else if traffic.testers.is_some() {
        let message = "the router service can't tell testers by a header";
        let hint = "`traffic.router: gateway-api`, or a policy without `testers`";
        return Err(Stopped::usage(message, Some(hint.into())));
    } else {
        PlainService::new(seen, template, &traffic.ignore_services).map(Router::Service)
    };
    router.map_err(|why| Stopped::refused(why, None))
}

/// Refuses what must not start.
fn refuse(
    plan: &Plan,
    target: &DynamicObject,
    ledger: Option<&Ledger>,
    retry: Option<&str>,
) -> Result<(), Stopped> {
    let (result, code, reason, next) = if plan.release.hash == plan.stable.hash {
        let reason = format!("{} is what stable runs already", plan.release.name);
        (ResultWord::Unchanged, 0, reason, None)
    } else if let Some(bad) =
        ledger.and_then(|ledger| ledger.remembered.condemned(&plan.release.hash))
        && retry.is_none()
    {
        let at = bad.at.format("%Y-%m-%d %H:%M:%S UTC");
        let reason = format!("{} is in quarantine since {at}: {}", plan.release.name, bad.cause);
        let (target, release) = (&plan.target, &plan.release.name);
        let next =
            format!("gate promote {target} --release {release} --retry 'why it is good now'");
        (ResultWord::Refused, 7, reason, Some(next))
    } else if let Some(until) = plan.frozen_until(SystemClock::start().now()) {
        let until = until.format("%Y-%m-%d %H:%M:%S UTC");
        (ResultWord::Refused, 7, format!("a freeze is on until {until}"), None)
    } else if Rollout::of(target).available == 0 {
        let reason = "stable has no ready copy: there would be nothing to go back to".to_owned();
        (ResultWord::Refused, 7, reason, None)
    } else {
        return Ok(());
    };
    Err(Stopped::Result(Box::new(ResultLine::not_started(
        &plan.target,
        result,
        code,
        &plan.stable.name,
        &plan.release.name,
        reason,
        next,
    ))))
}

/// Returns how a promotion that goes on moves traffic, and the target's selector.
///
/// # Errors
/// The Deployment can't be read, or is gone.
pub(super) async fn router_again(
    access: &Access,
    name: &str,
    plan: &Plan,
) -> Result<(Router, String), Stopped> {
    let target = target(access, name).await?;
    let router =
        plan.traffic.as_ref().and_then(Router::of_plan).ok_or_else(|| {
            Stopped::refused("its record does not say how it moves traffic", None)
        })?;
    Ok((router, selector(&target)))
}

/// Returns whether a release is the one that a promotion was begun with.
///
/// # Errors
/// It does not fit the template.
pub(super) fn is_release(templates: &Templates, written: &str) -> Result<bool, Stopped> {
    let release = template::with_release(&templates.stable, &wanted(written)?)
        .map_err(|misfit| Stopped::usage(misfit.to_string(), Some("CONTAINER=IMAGE".into())))?;
    Ok(template::hash(&release) == template::hash(&templates.release))
}

/// A survey without a target is an error of its own.
pub(super) fn target_of(seen: &Snapshot) -> &DynamicObject {
    seen.target.as_ref().unwrap_or_else(|| unreachable!("the survey has read it"))
}

pub(super) fn template_of(target: &DynamicObject) -> Value {
    target.data.pointer("/spec/template").cloned().unwrap_or(Value::Null)
}

/// Reads `IMAGE` or `CONTAINER=IMAGE`, several separated by commas.
fn wanted(written: &str) -> Result<Vec<Wanted>, Stopped> {
    let each = written.split(',').map(str::parse);
    each.collect::<Result<_, _>>().map_err(|message: String| Stopped::usage(message, None))
}
