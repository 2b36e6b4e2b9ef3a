//! A plan for people to read before they say yes.

use tabled::builder::Builder;
use tabled::settings::object::Rows;
use tabled::settings::{Alignment, Padding, Style};

use super::style::{BAD, CARE, FAINT, STRONG, paint};
use super::words;
use crate::cluster::look::{Looked, Reach};
use crate::cluster::owner::SILENT_AFTER;
use crate::plan::{JudgePlan, Plan, Stage, TrafficPlan};
use crate::platform::kubernetes::preflight::{Finding, Level};
use crate::policy::{InsufficientTraffic, JudgeKind, Strategy, Testers};

/// Columns between two columns of a table: what they stand apart, and nothing else.
pub(crate) const GAP: usize = 3;

/// Digits of the hash that are printed: enough to tell two plans apart.
const HASH_DIGITS: usize = 12;

pub(crate) fn render(plan: &Plan, looked: Option<&Looked>) -> String {
    let mut parts = vec![head(plan), table(&stages(plan, looked)), conditions(plan)];
    parts.extend(plan.traffic.as_ref().map(traffic));
    parts.push(rest(plan));
    parts.extend(looked.into_iter().filter_map(|looked| findings(&looked.findings)));
    parts.join("\n\n")
}

/// What was found in a cluster; `None`: nothing.
pub(crate) fn findings(findings: &[Finding]) -> Option<String> {
    let lines = findings.iter().map(|finding| {
        let (style, word) = match finding.level {
            Level::Refuse => (BAD, "refused"),
            Level::Warn => (CARE, "warning"),
            Level::Note => (FAINT, "note"),
        };
        let what = words::wrapped(&format!("{word}: {}", finding.what), "  ");
        let what = what.replacen(word, &paint(style, word), 1);
        let remedy = finding.remedy.iter().flat_map(|remedy| remedy.trim_end().lines());
        let remedy = remedy.map(|line| format!("\n  {}", words::wrapped(line, "  ")));
        format!("{what}{}", remedy.collect::<String>())
    });
    let lines: Vec<String> = lines.collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Through what the users come, and what is done there.
fn traffic(plan: &TrafficPlan) -> String {
    let services = plan.services.join(", ");
    let how = match plan.routes.is_empty() {
        true => "by the number of pods that are let in".to_owned(),
        false => format!("by the weights of HTTPRoute {}", plan.routes.join(", ")),
    };
    let mut lines =
        vec![format!("router     {}: {how}", plan.router), format!("services   {services}")];
    lines.extend(plan.set_apart.as_ref().map(|(key, value)| {
        format!("apart      the candidate's pods have {key}={value}, and a Service of their own")
    }));
    lines.extend(plan.testers.as_ref().map(|Testers { header, value }| {
        format!(
            "testers    who sends {header}: {value} reaches the candidate from when it is ready"
        )
    }));
    lines.join("\n")
}

/// Returns rows as an aligned table; the first row is its head.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let mut builder = Builder::default();
    for row in rows {
        builder.push_record(row.iter().map(String::as_str));
    }
    let mut table = builder.build();
    table
        .with(Style::empty())
        .with(Padding::new(0, GAP, 0, 0))
        .modify(Rows::new(..), Alignment::left());
    let text = table.to_string();
    let mut lines = text.lines().map(str::trim_end);
    let head = lines.next().map(|head| paint(FAINT, head));
    head.into_iter().chain(lines.map(str::to_owned)).collect::<Vec<_>>().join("\n")
}

fn head(plan: &Plan) -> String {
    let strategy = match plan.strategy {
        Strategy::Canary => "canary",
        Strategy::BlueGreen => "blue-green",
    };
    let title = format!("{}: {} → {}", plan.target, plan.stable.name, plan.release.name);
    let hash: String = plan.hash().chars().take(HASH_DIGITS).collect();
    let mut lines = vec![
        paint(STRONG, &title),
        format!("strategy   {strategy}"),
        format!("policy     {}", plan.policy_source),
        format!("plan       {hash}"),
    ];
    if plan.release.hash == plan.stable.hash {
        lines.push(format!("note       stable runs {} already: unchanged", plan.release.name));
    }
    if plan.release.irreversible {
        lines.push("note       it can't be undone: no automatic rollback past it".into());
    }
    if plan.observe_only {
        lines.push("note       observe only: stages advance whatever the verdict".into());
    }
    lines.join("\n")
}

fn stages(plan: &Plan, looked: Option<&Looked>) -> Vec<Vec<String>> {
    let head = ["stage", "share", "hold", "deadline", "approval", "judged on"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(plan.stages.iter().enumerate().map(|(at, stage)| row(at + 1, stage)));
    if let Some(looked) = looked {
        rows[0].push("pods".to_owned());
        rows.iter_mut().skip(1).zip(&looked.reach).for_each(|(row, reach)| row.push(pods(reach)));
    }
    rows
}

/// The copies beside stable's, and the share that whole pods make of it.
fn pods(reach: &Reach) -> String {
    let Reach { asked, candidate, stable, seen } = reach;
    match asked == seen {
        true => format!("{candidate} beside {stable}"),
        false => format!("{candidate} beside {stable}: {seen}"),
    }
}

fn row(number: usize, stage: &Stage) -> Vec<String> {
    vec![
        number.to_string(),
        stage.share.to_string(),
        words::duration(stage.hold),
        words::duration(stage.deadline),
        if stage.approval { "a person" } else { "–" }.to_owned(),
        if stage.share.is_zero() { "health" } else { "all" }.to_owned(),
    ]
}

fn conditions(plan: &Plan) -> String {
    let mut lines = vec!["rolled back when any of these is true".to_owned()];
    lines.extend(plan.conditions.iter().map(|condition| format!("  {condition}")));
    lines.join("\n")
}

fn rest(plan: &Plan) -> String {
    let judge = &plan.judge;
    let looks = format!("looks every {}", words::duration(judge.interval));
    let judge = match judge.kind {
        JudgeKind::Evidence => format!("evidence, {looks}"),
        JudgeKind::Threshold => format!(
            "threshold, {looks}, window {}, {} in a row, at least {} requests",
            words::duration(judge.window),
            judge.looks,
            judge.min_requests
        ),
    };
    let unproven = match plan.insufficient_traffic {
        InsufficientTraffic::Rollback => "rolls back",
        InsufficientTraffic::Hold => "waits for a person",
        InsufficientTraffic::HealthOnly => "may pass on health alone",
    };
    let mut lines = vec![format!("judge      {judge}")];
    lines.extend(source(&plan.judge));
    lines.extend(plan.traffic.as_ref().map(|traffic| orphaned(plan, traffic)));
    lines.extend([
        format!("no proof   a stage without proof by its deadline {unproven}"),
        format!("prepare    ready within {}", words::duration(plan.prepare_deadline)),
        format!("adopt      within {}", words::duration(plan.adopt_deadline)),
        format!(
            "takes      at least {}, at most {}",
            words::duration(plan.least()),
            words::duration(plan.most())
        ),
    ]);
    lines.join("\n")
}

/// What becomes of the share when whoever runs the gate dies.
fn orphaned(plan: &Plan, traffic: &TrafficPlan) -> String {
    match &traffic.watchdog {
        Some(image) => format!(
            "gate dies  a pod of {image} goes back when it was silent for {}",
            words::duration(SILENT_AFTER)
        ),
        None => format!(
            "gate dies  its share stays until the next gate; without --watchdog IMAGE, end the pipeline\n           with a step that always runs (if: always()): gate abort {} --if-orphaned",
            plan.target
        ),
    }
}

/// A platform's own counters need no word; a metrics server has a name and a pace.
fn source(judge: &JudgePlan) -> Option<String> {
    let url = judge.server()?;
    let preset = judge.preset.as_deref().unwrap_or_default();
    let pace = match judge.source_interval {
        Some(every) => format!("scraped every {}", words::duration(every)),
        None => "how often it scrapes was not measured".to_owned(),
    };
    let queries = match judge.queries.len() {
        0 => String::new(),
        1 => ", 1 query of the policy's own".to_owned(),
        several => format!(", {several} queries of the policy's own"),
    };
    Some(format!("source     {url}\n           preset {preset}, {pace}{queries}"))
}

#[cfg(test)]
mod tests {
    use super::{Testers, TrafficPlan, traffic};

    #[test]
    fn a_plan_says_who_reaches_the_candidate_before_anybody_else() {
        let mut plan = TrafficPlan {
            router: "gateway-api".into(),
            services: vec!["shop".into()],
            routes: vec!["shop".into()],
            set_apart: None,
            testers: None,
            watchdog: None,
        };
        let without = traffic(&plan);
        plan.testers = Some(Testers { header: "x-release".into(), value: "next".into() });
        let line =
            "testers    who sends x-release: next reaches the candidate from when it is ready";
        assert_eq!(traffic(&plan), format!("{without}\n{line}"));
    }
}
