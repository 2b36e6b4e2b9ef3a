//! What a policy means, beyond its shape. Every rule notes all that breaks it.
//!
//! The rules are those of the judges (what they can decide on) and of the stages (what the
//! machine can go through). A rule whose subject could not be read says nothing.

use std::ops::Range;
use std::time::Duration;

use super::diagnostic::{Notes, did_you_mean, nearest};
use super::grammar::{METRICS, is_name, is_reserved};
use super::parse::Draft;
use super::{Comparison, Condition, JudgeKind, Quantile, Strategy};

/// The shortest hold that the evidence judge can do with: two of its blocks of 15 s.
const EVIDENCE_HOLD_LEAST: Duration = Duration::from_secs(30);

/// The hold of a stage that says none.
const HOLD: Duration = Duration::from_secs(60);

pub(super) fn check(notes: &mut Notes, draft: &Draft) {
    health_path(notes, draft);
    some_condition(notes, draft);
    match draft.places.strategy {
        Some(Strategy::Canary) => canary_shares(notes, draft),
        Some(Strategy::BlueGreen) => blue_green_shares(notes, draft),
        None => {}
    }
    holds(notes, draft);
    one_limit_each(notes, draft);
    queries(notes, draft);
    window_and_looks(notes, draft);
}

fn health_path(notes: &mut Notes, draft: &Draft) {
    if let (Some(health), Some(at)) = (&draft.policy.health_check, &draft.places.health_path) {
        begins_with_slash(notes, &health.path, at);
    }
}

/// Notes a path of a probe that is none.
pub(crate) fn begins_with_slash(notes: &mut Notes, path: &str, at: &Range<usize>) {
    if !path.starts_with('/') {
        notes.error(at.clone(), "a path begins with `/`").help(format!("did you mean `/{path}`?"));
    }
}

fn some_condition(notes: &mut Notes, draft: &Draft) {
    let Draft { policy, places } = draft;
    if policy.auto_rollback && places.conditions_complete && policy.conditions.is_empty() {
        notes
            .error(places.whole.clone(), "no condition says when to roll back")
            .help("add `auto_rollback: { conditions: [\"error_rate > 5%\"] }`, or `enabled: false` to only observe");
    }
}

fn canary_shares(notes: &mut Notes, draft: &Draft) {
    let stages = || draft.policy.stages.iter().zip(&draft.places.stages);
    for ((before, _), (stage, places)) in stages().zip(stages().skip(1)) {
        if stage.share <= before.share {
            notes
                .error(places.share.clone(), "the shares of the stages must rise")
                .label(format!("not above the stage before: {}", before.share))
                .help("a canary only grows until it is promoted or rolled back");
        }
    }
    if let Some((stage, places)) = stages().next_back()
        && draft.places.stages_complete
        && !stage.share.is_full()
    {
        notes
            .warning(places.share.clone(), format!("the release is adopted after {}", stage.share))
            .help("a last stage of 100% proves it under the whole load, with the way back open");
    }
}

fn blue_green_shares(notes: &mut Notes, draft: &Draft) {
    let shares: Vec<u16> = draft.policy.stages.iter().map(|s| s.share.basis_points()).collect();
    let Some(first) = draft.places.stages.first().filter(|_| draft.places.stages_complete) else {
        return;
    };
    if shares != [0, 10_000] {
        let wrong = shares.iter().zip([0, 10_000]).position(|(share, own)| *share != own);
        let at = draft.places.stages.get(wrong.unwrap_or(2)).unwrap_or(first);
        notes
            .error(at.share.clone(), "blue-green has two stages: 0% and 100%")
            .help("use `strategy: canary` for shares in between");
    }
}

fn holds(notes: &mut Notes, draft: &Draft) {
    let evidence = draft.places.judge == Some(JudgeKind::Evidence);
    for (stage, places) in draft.policy.stages.iter().zip(&draft.places.stages) {
        if let (Some(hold), Some(at)) = (stage.hold, &places.hold)
            && evidence
            && hold < EVIDENCE_HOLD_LEAST
        {
            notes
                .error(at.clone(), "the evidence judge needs a hold of at least 30s")
                .help("a shorter one lets regressions pass; `evidence: { judge: threshold }` can do with less");
        }
        let hold = stage.hold.unwrap_or(HOLD);
        if let (Some(deadline), Some(at)) = (stage.deadline, &places.deadline)
            && deadline < hold
        {
            let hold = humantime::format_duration(hold);
            notes
                .error(at.clone(), format!("the deadline comes before the hold of {hold} is over"));
        }
    }
}

/// What may be limited only once.
#[derive(PartialEq)]
enum Kind<'c> {
    ErrorRate,
    /// The evidence judge has one state for all quantiles.
    ResponseTime(Option<&'c Quantile>),
    HealthCheckFailures,
    ErrorRateRatio,
    ResponseTimeRatio(Option<&'c Quantile>),
    TrafficShare,
    Query(&'c str, Comparison),
}

impl<'c> Kind<'c> {
    fn of(condition: &'c Condition, judge: JudgeKind) -> Self {
        let told_apart = |quantile| match judge {
            JudgeKind::Evidence => None,
            JudgeKind::Threshold => Some(quantile),
        };
        match condition {
            Condition::ErrorRate { .. } => Self::ErrorRate,
            Condition::ResponseTime { quantile, .. } => Self::ResponseTime(told_apart(quantile)),
            Condition::HealthCheckFailures { .. } => Self::HealthCheckFailures,
            Condition::ErrorRateRatio { .. } => Self::ErrorRateRatio,
            Condition::ResponseTimeRatio { quantile, .. } => {
                Self::ResponseTimeRatio(told_apart(quantile))
            }
            Condition::TrafficShare { .. } => Self::TrafficShare,
            Condition::Query { name, comparison, .. } => Self::Query(name, *comparison),
        }
    }
}

fn one_limit_each(notes: &mut Notes, draft: &Draft) {
    let Some(judge) = draft.places.judge else { return };
    let conditions: Vec<_> = draft.policy.conditions.iter().zip(&draft.places.conditions).collect();
    for (n, &(condition, at)) in conditions.iter().enumerate() {
        let kind = Kind::of(condition, judge);
        let stricter = conditions.iter().enumerate().find(|&(m, &(other, _))| {
            Kind::of(other, judge) == kind && (looseness(other), m) < (looseness(condition), n)
        });
        let Some((_, (stricter, stricter_at))) = stricter else { continue };
        let why = match (condition.quantile(), stricter.quantile()) {
            (Some(this), Some(other)) if this != other => {
                "; the evidence judge takes one limit for all quantiles"
            }
            _ => "",
        };
        notes
            .error(at.clone(), format!("`{condition}` is a second limit of the same kind"))
            .help(format!("`{stricter}` is the stricter one: remove this{why}"))
            .related("the stricter one is", stricter_at.start);
    }
}

/// Larger is looser, within one kind. Compared in whole billionths: floats have no order of their own.
fn looseness(condition: &Condition) -> i128 {
    let billionths = |value: f64| (value * 1e9).round() as i128;
    match condition {
        Condition::ErrorRate { limit } => billionths(*limit),
        Condition::ResponseTime { limit, .. } => limit.as_nanos() as i128,
        Condition::HealthCheckFailures { limit } => i128::from(*limit),
        Condition::ErrorRateRatio { ratio } | Condition::ResponseTimeRatio { ratio, .. } => {
            billionths(*ratio)
        }
        Condition::TrafficShare { factor } => -billionths(*factor),
        Condition::Query { comparison: Comparison::Above, limit, .. } => billionths(*limit),
        Condition::Query { comparison: Comparison::Below, limit, .. } => -billionths(*limit),
    }
}

fn queries(notes: &mut Notes, draft: &Draft) {
    let Draft { policy, places } = draft;
    let before = notes.errors();
    for (name, at) in &places.queries {
        query_itself(notes, draft, name, at);
    }
    for (condition, at) in policy.conditions.iter().zip(&places.conditions) {
        if let Condition::Query { name, .. } = condition {
            query_used(notes, draft, name, at);
        }
    }
    let used = |name: &str| {
        policy.conditions.iter().any(|c| matches!(c, Condition::Query { name: n, .. } if n == name))
    };
    // Beside a misspelt name, the right one is unused only because of that.
    if places.conditions_complete && notes.errors() == before {
        for (name, at) in places.queries.iter().filter(|(name, _)| !used(name)) {
            notes.warning(at.clone(), format!("no condition uses the query `{name}`"));
        }
    }
}

fn query_itself(notes: &mut Notes, draft: &Draft, name: &str, at: &Range<usize>) {
    let text = draft.policy.evidence.queries.get(name).map_or("", |query| query.trim());
    if is_reserved(name) {
        notes
            .error(at.clone(), format!("`{name}` is a metric of gate's own"))
            .help("give the query another name");
    } else if !is_name(name) {
        notes
            .error(at.clone(), format!("`{name}` can't be the name of a query"))
            .help("use small letters, digits and `_`, at most 64 of them");
    } else if text.is_empty() {
        notes.error(at.clone(), format!("the query `{name}` is empty"));
    }
}

fn query_used(notes: &mut Notes, draft: &Draft, name: &str, at: &Range<usize>) {
    let known: Vec<&str> = draft.places.queries.keys().map(String::as_str).chain(METRICS).collect();
    if !draft.places.queries.contains_key(name) {
        let help = match nearest(name, known.iter().copied()) {
            Some(_) => did_you_mean(name, &known),
            None => format!("define it under `evidence: {{ queries: {{ {name}: … }} }}`"),
        };
        notes.error(at.clone(), format!("there is no query `{name}`")).help(help);
    } else if draft.places.judge == Some(JudgeKind::Evidence) {
        notes
            .error(at.clone(), format!("the evidence judge can't judge the query `{name}`"))
            .help("it needs counts; set `evidence: { judge: threshold }`");
    }
}

fn window_and_looks(notes: &mut Notes, draft: &Draft) {
    let places = &draft.places;
    let Some(judge) = places.judge else { return };
    if judge == JudgeKind::Threshold {
        let evidence = &draft.policy.evidence;
        if let (Some(at), Some(window), Some(interval)) =
            (&places.window, evidence.window, evidence.interval)
            && window < interval
        {
            notes.error(at.clone(), "the window is shorter than the interval between two looks");
        }
        return;
    }
    for (name, at) in [("window", &places.window), ("looks", &places.looks)] {
        if let Some(at) = at {
            notes.warning(at.clone(), format!("only the threshold judge uses `{name}`"));
        }
    }
}
