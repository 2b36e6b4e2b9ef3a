//! Before the beginning: what the plan's source of counters has to say of itself.

use super::requests::Stopped;
use crate::evidence::prometheus::{Counted, Fitness, Source, Traffic};
use crate::plan::Plan;
use crate::platform::kubernetes::Access;
use crate::platform::kubernetes::evidence::routed::{Apart, NoBackends};
use crate::platform::kubernetes::evidence::{Counting, KubeEvidence, interval, own_bounds_ms};
use crate::platform::kubernetes::snapshot::Snapshot;
use crate::platform::kubernetes::watching::Watched;
use crate::policy::Condition;

/// Scrapes that are further apart are no evidence (rules of the judge: slowest source).
const APART_MAX: std::time::Duration = std::time::Duration::from_secs(60);

/// Writes into the plan what its source has to say: bounds, and how often it has new samples.
///
/// # Errors
/// The source can't be read, or is of no use; nothing was begun.
pub(super) async fn measure(
    access: &Access,
    seen: &Snapshot,
    plan: &mut Plan,
) -> Result<(), Stopped> {
    match Counting::of(&plan.judge.source) {
        Counting::Server => ask_server(access, seen, plan).await,
        Counting::OwnMetrics => ask_pods(access, seen, plan).await,
    }
}

async fn ask_server(access: &Access, seen: &Snapshot, plan: &mut Plan) -> Result<(), Stopped> {
    let url = plan.judge.source.clone();
    let unfit = |why: String| {
        let message = format!("the metrics server {url} can't be judged with: {why}");
        Stopped::refused(message, None)
    };
    let apart = Apart::of(plan, &access.namespace)
        .map_err(|why| Stopped::usage(why.to_string(), Some(NoBackends::HINT.into())))?;
    let source = Source::for_plan(&plan.judge, Some(apart.label()));
    let source = source.map_err(|why| Stopped::usage(why.to_string(), None))?;
    let Some(source) = source else { return Ok(()) };
    let fitness: Fitness = source
        .fitness(&apart.arms(seen), &plan.conditions)
        .await
        .map_err(|why| unfit(why.to_string()))?;
    fitness.complete(&mut plan.judge);
    Ok(())
}

/// Returns stable's traffic as the plan's metrics server counts it; `None`: it has none, or does not know.
pub(super) async fn traffic(access: &Access, seen: &Snapshot, plan: &Plan) -> Option<Traffic> {
    let apart = Apart::of(plan, &access.namespace).ok()?;
    let source = Source::for_plan(&plan.judge, Some(apart.label())).ok().flatten()?;
    source.traffic(&apart.arms(seen)).await.ok()
}

/// The pods are asked in turn, so that many are asked less often.
async fn ask_pods(access: &Access, seen: &Snapshot, plan: &mut Plan) -> Result<(), Stopped> {
    if !plan.conditions.iter().any(needs_counters) {
        return Ok(());
    }
    let unfit = |why: String| {
        let message = format!("stable's own metrics can't be used: {why}");
        let hint = "name a metrics server in the policy: `evidence: { source: http://… }`";
        Stopped::refused(message, Some(hint.into()))
    };
    let bounds = own_bounds_ms(access, seen).await.map_err(|why| unfit(why.to_string()))?;
    if bounds.is_empty() && plan.conditions.iter().any(needs_latencies) {
        return Err(unfit("they have no histogram of response times".into()));
    }
    plan.judge.bounds_ms = bounds;
    // At the last stage both revisions are complete.
    let pods = 2 * seen.stable_pods().count();
    let apart = interval(plan.judge.interval, pods);
    if apart > APART_MAX {
        return Err(unfit(format!("{pods} pods are asked once in {} s each", apart.as_secs())));
    }
    if apart > plan.judge.interval {
        plan.judge.pace(apart);
    }
    if let Some(check) = plan.health_check.as_mut() {
        check.interval = interval(check.interval, pods);
    }
    Ok(())
}

const fn needs_counters(condition: &Condition) -> bool {
    match condition {
        Condition::HealthCheckFailures { .. } | Condition::Query { .. } => false,
        Condition::ErrorRate { .. }
        | Condition::ResponseTime { .. }
        | Condition::ErrorRateRatio { .. }
        | Condition::ResponseTimeRatio { .. }
        | Condition::TrafficShare { .. } => true,
    }
}

const fn needs_latencies(condition: &Condition) -> bool {
    matches!(condition, Condition::ResponseTime { .. } | Condition::ResponseTimeRatio { .. })
}

/// Returns the evidence of a promotion: probes and health from the pods, counters from where the plan says.
pub(super) fn evidence(
    access: Access,
    watched: Watched,
    plan: &Plan,
) -> Counted<
    KubeEvidence,
    impl FnMut(&crate::rollout::World) -> crate::evidence::prometheus::Arms + Send,
> {
    // A plan whose preset can't tell them apart was refused: its pods have no such series either.
    let apart = Apart::of(plan, &access.namespace).unwrap_or(Apart::Pods);
    let source = Source::for_plan(&plan.judge, Some(apart.label()));
    let pods = KubeEvidence::start(access, watched.clone(), plan);
    Counted::new(source, &plan.judge, pods, move |_: &_| apart.arms(&watched.last_known()))
}
