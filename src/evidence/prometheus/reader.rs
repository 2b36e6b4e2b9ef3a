//! Looks at a Prometheus, one after the other.
//!
//! * *Fresh*: an instance stands in a look only if its newest sample is newer than at the look before.
//! * *Patience*: at most one question is under way; a look that it keeps waiting ends without it, and
//!   the next look takes its answer.
//! * *A dead source* is asked once per interval, with one question: what opened the circuit is the
//!   reason until then.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::answer::{Data, Point, QueryError};
use super::expression::{Arm, Arms};
use super::native::Resets;
use super::source::Source;
use super::table::{Row, Table};
use super::{PATIENCE, STALE};
use crate::analysis::{Answer, Counters, Unknown};
use crate::evidence::presets::KeptBy;

/// Looks keep to a grid and may come a little early: a circuit is closed after this part of the interval.
const EARLY: f64 = 0.9;

/// A server learns of a new instance so late, and has scraped it two intervals later: so long nothing is
/// lost. Source: discovery passes its targets on every five seconds.
const DISCOVERED_WITHIN: Duration = Duration::from_secs(10);

/// Reads looks from a [`Source`], and remembers what was seen.
#[derive(Debug)]
pub struct Reader {
    source: Source,
    settings: Settings,
    /// Per instance: when its newest sample that stood in a look was taken, in the server's Unix seconds.
    seen: BTreeMap<(Arm, String), f64>,
    resets: Resets,
    /// Of a candidate behind a proxy: what its route had counted before this promotion.
    before: BTreeMap<String, Vec<f64>>,
    /// When a candidate was first asked for.
    candidate_asked: Option<Instant>,
    /// What is asked for as stable.
    stable: Option<String>,
    /// When other instances took stable's place, as they do at an adoption.
    stable_replaced: Option<Instant>,
    /// The question that is under way.
    asked: JoinSet<Told>,
    open: Option<Open>,
}

/// What a promotion knows of its source.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The bounds that the judge was made with; empty where no condition is on response times.
    pub bounds_ms: Vec<f64>,
    /// Between two looks.
    pub interval: Duration,
    /// Between two scrapes, as measured.
    pub scrape_interval: Duration,
    /// See [`PATIENCE`].
    pub patience: Duration,
    /// When the promotion began: an older sample of a candidate is another process's, which had its name
    /// or its port before. Absent: any is taken.
    pub candidate_since: Option<Instant>,
}

/// What a look saw.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    pub baseline: BTreeMap<String, Counters>,
    pub candidate: BTreeMap<String, Counters>,
    pub queries: BTreeMap<String, Answer>,
    /// Why a revision has no counters that should have some.
    pub missing: Option<Unknown>,
}

/// The answers to all questions of a look.
#[derive(Debug)]
struct Told {
    table: Result<Table, Unknown>,
    queries: BTreeMap<String, Answer>,
    /// The source is not there.
    dead: bool,
}

/// The source was found dead.
#[derive(Debug)]
struct Open {
    since: Instant,
    why: Unknown,
}

impl Settings {
    /// Returns the settings of looks that are `interval` apart.
    #[must_use]
    pub const fn new(bounds_ms: Vec<f64>, interval: Duration, scrape_interval: Duration) -> Self {
        Self { bounds_ms, interval, scrape_interval, patience: PATIENCE, candidate_since: None }
    }
}

impl Reader {
    #[must_use]
    pub fn new(source: Source, settings: Settings) -> Self {
        Self {
            source,
            settings,
            seen: BTreeMap::new(),
            resets: Resets::default(),
            before: BTreeMap::new(),
            candidate_asked: None,
            stable: None,
            stable_replaced: None,
            asked: JoinSet::new(),
            open: None,
        }
    }

    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(super) const fn source(&self) -> &Source {
        &self.source
    }

    /// Looks once. Never longer than the settings' patience.
    pub async fn look(&mut self, arms: &Arms) -> Seen {
        if let Some(open) = &self.open
            && open.since.elapsed() < self.settings.interval.mul_f64(EARLY)
        {
            return self.nothing(open.why.clone());
        }
        let began = Instant::now();
        if self.asked.is_empty() {
            let (source, arms) = (self.source.clone(), arms.clone());
            self.asked.spawn(async move { ask(&source, &arms).await });
        }
        let told = match tokio::time::timeout(self.settings.patience, self.asked.join_next()).await
        {
            Ok(Some(Ok(told))) => told,
            // A question that ends without an answer has panicked or was cancelled: neither is meant to be.
            Ok(Some(Err(error))) => return self.nothing(down(&error.to_string())),
            Ok(None) => return self.nothing(down("nothing was asked")),
            Err(_) => {
                let waited = self.settings.patience;
                return self.nothing(down(&format!("no answer yet after {waited:?}")));
            }
        };
        self.open = match (&told.table, told.dead) {
            (Err(why), true) => Some(Open { since: began, why: why.clone() }),
            (Ok(_) | Err(_), _) => None,
        };
        match told.table {
            Ok(table) => self.take(arms, &table, told.queries),
            Err(why) => Seen { queries: told.queries, missing: Some(why), ..Seen::default() },
        }
    }

    fn take(&mut self, arms: &Arms, table: &Table, queries: BTreeMap<String, Answer>) -> Seen {
        let mut seen = Seen { queries, ..Seen::default() };
        // Where nobody has served anything, the metric may just as well have another name.
        let counted = table.rows.values().any(Row::has_served);
        for arm in Arm::BOTH {
            let (mut fresh, mut known, mut trouble) = (BTreeMap::new(), false, None);
            let rows = table
                .rows
                .iter()
                .filter(|((of, _), row)| *of == arm && (counted || row.has_served()));
            for ((_, name), row) in rows {
                match self.fresh(arm, name, row, table.at) {
                    Ok(Some(counters)) => {
                        fresh.insert(name.clone(), counters);
                    }
                    Ok(None) => known = true,
                    Err(why) => trouble = worse(trouble, why),
                }
            }
            let matchers = arms.matchers(arm, &self.source.instance);
            let asked_for = matchers.is_some();
            let is_new = self.is_new(arm, matchers);
            if asked_for && fresh.is_empty() && !known && (trouble.is_some() || !is_new) {
                let nobody = || Unknown::NoData { arm: self.nobody(arm, arms) };
                seen.missing = Some(trouble.unwrap_or_else(nobody));
            }
            *match arm {
                Arm::Baseline => &mut seen.baseline,
                Arm::Candidate => &mut seen.candidate,
            } = fresh;
        }
        seen
    }

    /// Returns an instance's counters; `None` while its newest sample has been in a look already.
    fn fresh(
        &mut self,
        arm: Arm,
        name: &str,
        row: &Row,
        now: f64,
    ) -> Result<Option<Counters>, Unknown> {
        let Some(heard_at) = row.heard_at() else {
            return Err(Unknown::NotANumber { of: format!("the time of {name}'s newest sample") });
        };
        let age_s = now - heard_at;
        if age_s > self.stale().as_secs_f64() {
            return Err(Unknown::Stale { age_s: age_s as u64 });
        }
        if arm == Arm::Candidate && self.is_of_another(age_s) {
            return Ok(None);
        }
        row.check(&mut self.resets, (arm, name))?;
        let counters = row.counters(self.source.preset, name, &self.settings.bounds_ms)?;
        let last = self.seen.entry((arm, name.to_owned())).or_insert(f64::NEG_INFINITY);
        if heard_at <= *last {
            return Ok(None);
        }
        *last = heard_at;
        Ok(Some(match (arm, self.source.preset.kept_by) {
            (Arm::Candidate, KeptBy::Proxy) => self.since_first_seen(name, counters),
            (Arm::Baseline, _) | (Arm::Candidate, KeptBy::Instance) => counters,
        }))
    }

    /// A judge takes a candidate's counters to begin at 0, but a proxy's go on from release to release.
    fn since_first_seen(&mut self, name: &str, Counters(row): Counters) -> Counters {
        let before = self.before.entry(name.to_owned()).or_insert_with(|| row.clone());
        if row.iter().zip(&*before).any(|(now, before)| now < before) {
            before.fill(0.0); // the proxy has begun anew
        }
        Counters(row.iter().zip(&*before).map(|(now, before)| now - before).collect())
    }

    /// Returns whether the server need not have scraped this revision's instances yet.
    fn is_new(&mut self, arm: Arm, matchers: Option<String>) -> bool {
        let since = match arm {
            Arm::Candidate => self.candidate_is_new_since(matchers.is_some()),
            Arm::Baseline => self.stable_is_new_since(matchers),
        };
        let allowed = DISCOVERED_WITHIN + self.settings.scrape_interval * 2;
        since.is_some_and(|since| since.elapsed() <= allowed)
    }

    fn candidate_is_new_since(&mut self, asked_for: bool) -> Option<Instant> {
        if !asked_for || self.settings.candidate_since.is_none() {
            return None;
        }
        let asked = *self.candidate_asked.get_or_insert_with(Instant::now);
        let known = self.seen.keys().any(|(arm, _)| *arm == Arm::Candidate);
        (!known).then_some(asked)
    }

    /// What stable is at the beginning has been there for long.
    fn stable_is_new_since(&mut self, matchers: Option<String>) -> Option<Instant> {
        let now = matchers?;
        if self.stable.as_ref().is_some_and(|before| *before != now) {
            self.stable_replaced = Some(Instant::now());
        }
        self.stable = Some(now);
        self.stable_replaced
    }

    fn is_of_another(&self, age_s: f64) -> bool {
        let since = self.settings.candidate_since;
        since.is_some_and(|since| age_s > since.elapsed().as_secs_f64())
    }

    fn stale(&self) -> Duration {
        STALE.max(self.settings.scrape_interval * 2)
    }

    fn nobody(&self, arm: Arm, arms: &Arms) -> String {
        let matchers = arms.matchers(arm, &self.source.instance).unwrap_or_default();
        let matchers = self.source.narrowed(&matchers);
        format!("{}: no series of {}{{{matchers}}}", arm.word(), self.source.preset.requests)
    }

    fn nothing(&self, why: Unknown) -> Seen {
        let unknown = |name: &String| (name.clone(), Answer::Unknown(why.clone()));
        let queries = self.source.queries.keys().map(unknown).collect();
        Seen { queries, missing: Some(why), ..Seen::default() }
    }
}

/// What can't be read tells more than what is old.
fn worse(known: Option<Unknown>, new: Unknown) -> Option<Unknown> {
    match (known, new) {
        (Some(Unknown::Stale { age_s: one }), Unknown::Stale { age_s: other }) => {
            Some(Unknown::Stale { age_s: one.min(other) })
        }
        (None | Some(Unknown::Stale { .. }), new) => Some(new),
        (Some(known), _) => Some(known),
    }
}

fn down(what: &str) -> Unknown {
    Unknown::SourceDown { what: what.to_owned() }
}

/// Asks everything that a look needs. The counters come first: where they find the source dead, nothing else is asked.
async fn ask(source: &Source, arms: &Arms) -> Told {
    let answer = match source.expression(arms, &Arm::BOTH) {
        Some(expression) => source.ask(&expression).await,
        None => Ok(Data::Vector(Vec::new())),
    };
    let dead = answer.as_ref().err().is_some_and(QueryError::is_source_dead);
    let table =
        answer.map_err(Unknown::from).and_then(|data| Table::of_vector(source, arms, &data));
    let mut queries = BTreeMap::new();
    let mut lost = table.as_ref().err().filter(|_| dead).cloned();
    for (name, expression) in &source.queries {
        let answer = match &lost {
            Some(why) => Answer::Unknown(why.clone()),
            None => match source.ask(expression).await {
                Ok(data) => gauge(name, &data),
                Err(error) => {
                    let why = Unknown::SourceDown { what: format!("query {name}: {error}") };
                    lost = error.is_source_dead().then(|| why.clone());
                    Answer::Unknown(why)
                }
            },
        };
        queries.insert(name.clone(), answer);
    }
    Told { table, queries, dead }
}

/// Reads the answer to a named query: one number.
fn gauge(name: &str, data: &Data) -> Answer {
    let of = format!("query {name}");
    let point = match data {
        Data::Scalar(point) => Some(point),
        Data::Vector(series) => match series.as_slice() {
            [] => return Answer::Unknown(Unknown::NoData { arm: of }),
            [one] if one.value.is_none() => return Answer::Unknown(one.no_number().into()),
            [one] => one.value.as_ref(),
            several => {
                return Answer::Unknown(Unknown::SeveralSeries { of, series: several.len() });
            }
        },
        Data::Matrix(_) | Data::String(_) => None,
    };
    match point.and_then(Point::number) {
        Some(value) if value.is_finite() => Answer::Value(value),
        Some(_) => Answer::Unknown(Unknown::NotANumber { of }),
        None => Answer::Unknown(down(&format!("{of} gives no vector of numbers"))),
    }
}
