//! From a file to a [`Policy`]: shape here, meaning in [`super::check`]; every mistake of both is
//! reported at once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use super::check;
use super::diagnostic::{Checked, Notes, Report};
use super::document::{self, Content, Entry, Node};
use super::fields::{Fields, list, mismatch, text};
use super::freeze::freeze_windows;
use super::shape;
use super::testers::testers;
use super::{
    Condition, EvidencePolicy, HealthCheck, InsufficientTraffic, JudgeKind, Policy, RouterKind,
    StagePolicy, Strategy, Traffic, parse_condition,
};
use super::{METRICS, PROXY};

const HEALTH_INTERVAL: Duration = Duration::from_secs(10);
const HEALTH_THRESHOLD: u32 = 3;
const LOOKS: u32 = 3;
const MIN_REQUESTS: u64 = 50;
const DRAIN: Duration = Duration::from_secs(30);
const ROLLBACK_DRAIN: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(10 * 60);
const HOLD_MAX: Duration = Duration::from_secs(24 * 3600);
const APPROVAL_TIMEOUT: Duration = Duration::from_secs(6 * 3600);

/// Reads a policy file. The path is only printed.
///
/// # Errors
/// Every mistake of the file, of shape and of meaning.
pub fn read(path: &Path, bytes: &[u8]) -> Result<Checked<Policy>, Report> {
    let mut notes = Notes::default();
    let policy = document::read(&mut notes, bytes).and_then(|root| {
        let file = Fields::open(&mut notes, &root, &shape::FILE)?;
        deployment(&mut notes, &file)
    });
    Report::new(path, bytes, notes).conclude(policy)
}

/// The policies that ship, by the names under which `--policy` finds them, as their files stand.
pub const SHIPPED: [(&str, &str); 5] = [
    ("canary", include_str!("../../policies/canary.yaml")),
    ("blue-green", include_str!("../../policies/blue-green.yaml")),
    ("cautious", include_str!("../../policies/cautious.yaml")),
    ("seed", include_str!("../../policies/seed.yaml")),
    ("all-conditions", include_str!("../../policies/all-conditions.yaml")),
];

/// Returns the policy that ships under a name.
#[must_use]
pub fn shipped(name: &str) -> Option<Policy> {
    let (_, text) = SHIPPED.iter().find(|(known, _)| *known == name)?;
    read(Path::new(name), text.as_bytes()).ok().map(|checked| checked.value)
}

/// The policy of who has none: canary, 5/25/50/100 %, held for 60 s each.
#[must_use]
pub fn built_in() -> Policy {
    shipped("canary").expect("it is compiled in, and a test reads it")
}

/// Reads and checks the `deployment` of a file that has one.
pub(crate) fn deployment(notes: &mut Notes, file: &Fields<'_>) -> Option<Policy> {
    let fields = file.table(notes, "deployment")?;
    let draft = draft(notes, &fields);
    check::check(notes, &draft);
    Some(draft.policy)
}

/// A policy as far as it could be read, and where its parts stand.
pub(super) struct Draft {
    pub(super) policy: Policy,
    pub(super) places: Places,
}

/// `None`: absent, or not readable and noted.
pub(super) struct Places {
    pub(super) whole: Range<usize>,
    pub(super) strategy: Option<Strategy>,
    /// Who judges, if that is known.
    pub(super) judge: Option<JudgeKind>,
    pub(super) window: Option<Range<usize>>,
    pub(super) looks: Option<Range<usize>>,
    pub(super) stages: Vec<StagePlaces>,
    /// Every stage of the file was readable.
    pub(super) stages_complete: bool,
    pub(super) health_path: Option<Range<usize>>,
    pub(super) conditions: Vec<Range<usize>>,
    /// Every condition of the file was readable.
    pub(super) conditions_complete: bool,
    pub(super) queries: BTreeMap<String, Range<usize>>,
}

pub(super) struct StagePlaces {
    pub(super) share: Range<usize>,
    pub(super) hold: Option<Range<usize>>,
    pub(super) deadline: Option<Range<usize>>,
}

fn draft(notes: &mut Notes, fields: &Fields<'_>) -> Draft {
    let strategy = fields.choice(notes, "strategy");
    let stages = stages(notes, fields);
    let rollback = rollback(notes, fields);
    let evidence = evidence(notes, fields);
    let health = fields.table(notes, "health_check");
    let places = Places {
        whole: fields.head(),
        strategy,
        judge: evidence.judge,
        window: evidence.window_at,
        looks: evidence.looks_at,
        stages: stages.places,
        stages_complete: stages.complete,
        health_path: health.as_ref().and_then(|health| health.place("path")),
        conditions: rollback.places,
        conditions_complete: rollback.complete,
        queries: evidence.queries_at,
    };
    let mut duration = |name, default| fields.duration(notes, name).unwrap_or(default);
    let drain = duration("drain", DRAIN);
    let rollback_drain = duration("rollback_drain", ROLLBACK_DRAIN);
    let hold_max = duration("hold_max", HOLD_MAX);
    let approval_timeout = duration("approval_timeout", APPROVAL_TIMEOUT);
    let policy = Policy {
        strategy: strategy.unwrap_or(Strategy::Canary),
        stages: stages.list,
        health_check: health.and_then(|health| health_check(notes, &health)),
        auto_rollback: rollback.enabled,
        conditions: rollback.conditions,
        evidence: evidence.policy,
        insufficient_traffic: fields
            .choice(notes, "insufficient_traffic")
            .unwrap_or(InsufficientTraffic::Rollback),
        traffic: traffic(notes, fields),
        drain,
        rollback_drain,
        prepare_deadline: deadline(notes, fields, "prepare"),
        adopt_deadline: deadline(notes, fields, "adopt"),
        side_by_side: fields.flag(notes, "side_by_side").unwrap_or(false),
        freeze: freeze_windows(notes, fields),
        hold_max,
        approval_timeout,
    };
    Draft { policy, places }
}

fn deadline(notes: &mut Notes, fields: &Fields<'_>, name: &str) -> Duration {
    let table = fields.table(notes, name);
    table.and_then(|table| table.duration(notes, "deadline")).unwrap_or(DEADLINE)
}

struct Stages {
    list: Vec<StagePolicy>,
    places: Vec<StagePlaces>,
    complete: bool,
}

fn stages(notes: &mut Notes, fields: &Fields<'_>) -> Stages {
    let before = notes.errors();
    let tables = fields.tables(notes, "stages");
    if let Some(Node { at, content: Content::List(items) }) = fields.get("stages")
        && items.is_empty()
    {
        notes
            .error(at.clone(), "there is no stage")
            .help("leave `stages` out for the default ones");
    }
    let mut stages = Stages { list: Vec::new(), places: Vec::new(), complete: true };
    for table in &tables {
        let share = table.share(notes, "share");
        let hold = table.duration(notes, "hold");
        let deadline = table.duration(notes, "deadline");
        let approval = table.flag(notes, "approval").unwrap_or(false);
        let (Some(share), Some(share_at)) = (share, table.place("share")) else { continue };
        stages.list.push(StagePolicy { share, hold, deadline, approval });
        stages.places.push(StagePlaces {
            share: share_at,
            hold: hold.and(table.place("hold")),
            deadline: deadline.and(table.place("deadline")),
        });
    }
    stages.complete = notes.errors() == before;
    stages
}

/// Reads a `health_check` block; its path is checked by who knows where it stands.
pub(crate) fn health_check(notes: &mut Notes, fields: &Fields<'_>) -> Option<HealthCheck> {
    let path = fields.text(notes, "path");
    let interval = fields.duration(notes, "interval").unwrap_or(HEALTH_INTERVAL);
    let threshold = fields.whole(notes, "threshold");
    let port = fields.whole(notes, "port").and_then(|port| u16::try_from(port).ok());
    let threshold = threshold.and_then(|n| u32::try_from(n).ok()).unwrap_or(HEALTH_THRESHOLD);
    let status = fields.whole(notes, "status").and_then(|status| u16::try_from(status).ok());
    let body = fields.text(notes, "body").map(str::to_owned);
    Some(HealthCheck { path: path?.to_owned(), interval, threshold, status, body, port })
}

struct Rollback {
    enabled: bool,
    conditions: Vec<Condition>,
    places: Vec<Range<usize>>,
    complete: bool,
}

fn rollback(notes: &mut Notes, fields: &Fields<'_>) -> Rollback {
    let before = notes.errors();
    let mut rollback =
        Rollback { enabled: true, conditions: Vec::new(), places: Vec::new(), complete: true };
    if let Some(table) = fields.table(notes, "auto_rollback") {
        rollback.enabled = table.flag(notes, "enabled").unwrap_or(true);
        let items = table.get("conditions").map_or(&[] as &[Node], |node| list(notes, node));
        for item in items {
            if let Some(condition) = condition(notes, item) {
                rollback.conditions.push(condition);
                rollback.places.push(item.at.clone());
            }
        }
    }
    rollback.complete = notes.errors() == before;
    rollback
}

fn condition(notes: &mut Notes, item: &Node) -> Option<Condition> {
    if let Content::Table(entries) = &item.content
        && let [Entry { key, .. }] = entries.as_slice()
    {
        mismatch(notes, item, "a condition").help(format!("write `{key} > LIMIT` as one text"));
        return None;
    }
    let written = &text(notes, item)?.text;
    match parse_condition(written) {
        Ok(condition) => Some(condition),
        Err(error) => {
            let note = notes.error(item.part(error.at), error.message);
            note.help = error.help;
            None
        }
    }
}

struct Evidence {
    policy: EvidencePolicy,
    judge: Option<JudgeKind>,
    window_at: Option<Range<usize>>,
    looks_at: Option<Range<usize>>,
    queries_at: BTreeMap<String, Range<usize>>,
}

fn evidence(notes: &mut Notes, fields: &Fields<'_>) -> Evidence {
    let mut policy = EvidencePolicy {
        judge: JudgeKind::Evidence,
        source: None,
        preset: None,
        queries: BTreeMap::new(),
        interval: None,
        window: None,
        looks: LOOKS,
        min_requests: MIN_REQUESTS,
    };
    let mut evidence = Evidence {
        judge: Some(policy.judge),
        window_at: None,
        looks_at: None,
        queries_at: BTreeMap::new(),
        policy: policy.clone(),
    };
    let Some(table) = fields.table(notes, "evidence") else { return evidence };
    policy.source = source(notes, &table);
    policy.preset = table.text(notes, "preset").map(str::to_owned);
    policy.interval = table.duration(notes, "interval");
    policy.window = table.duration(notes, "window");
    let looks = table.whole(notes, "looks").and_then(|looks| u32::try_from(looks).ok());
    policy.looks = looks.unwrap_or(LOOKS);
    policy.min_requests = table.whole(notes, "min_requests").unwrap_or(MIN_REQUESTS);
    if table.get("judge").is_some() {
        evidence.judge = table.choice(notes, "judge");
    }
    policy.judge = evidence.judge.unwrap_or(JudgeKind::Evidence);
    for (entry, query) in table.named(notes, "queries") {
        policy.queries.insert(entry.key.clone(), query.to_owned());
        evidence.queries_at.insert(entry.key.clone(), entry.key_at.clone());
    }
    evidence.window_at = table.place("window");
    evidence.looks_at = table.place("looks");
    Evidence { policy, ..evidence }
}

/// The platform's own counters, each instance's own metrics, or a metrics server.
fn source(notes: &mut Notes, table: &Fields<'_>) -> Option<String> {
    let written = table.text(notes, "source")?;
    let is_url = written.starts_with("http://") || written.starts_with("https://");
    if !is_url && written != PROXY && written != METRICS {
        notes
            .error(table.place("source")?, format!("no source is called {written:?}"))
            .help("write proxy, metrics, or the http(s) URL of a metrics server");
        return None;
    }
    Some(written.to_owned())
}

fn traffic(notes: &mut Notes, fields: &Fields<'_>) -> Traffic {
    let Some(table) = fields.table(notes, "traffic") else { return Traffic::default() };
    let router = table.choice(notes, "router");
    if router == Some(RouterKind::Service) {
        for key in ["route", "testers"] {
            if let Some(place) = table.place_of_key(key) {
                notes
                    .error(place, format!("the router service has no use for `{key}`"))
                    .help("write `router: gateway-api`, or leave it out");
            }
        }
    }
    Traffic {
        router,
        route: table.text(notes, "route").map(str::to_owned),
        ignore_services: table
            .texts(notes, "ignore_services")
            .iter()
            .map(|&s| s.to_owned())
            .collect(),
        testers: testers(notes, &table),
    }
}
