//! Evidence to verdict.
//!
//! One question, asked at every look: does what is known of the candidate prove that it keeps its
//! limits (`Pass`), prove that it breaks one (`Breach`), or neither (`Unknown`, with every reason)?
//! NaN, no data, old data and too little data are `Unknown`: never a pass, never a breach.
//!
//! Both judges share one seam: a [`Look`] goes in, a [`Judgement`] comes out, and the judge's
//! state is plain data that can be stored after any look and restored bit for bit.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::share::Share;

pub mod evidence;
mod judge;
mod quantile;
pub mod threshold;

pub mod replay;

pub use judge::Judge;
pub use quantile::quantile_ms;

/// Everything that is known at one moment, as cumulative counters. Also one line of a recording.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Seconds since the promotion began; negative for the baseline's history before it.
    pub at_s: f64,
    pub stage: usize,
    pub share: Share,
    /// Per instance with a fresh sample.
    pub baseline: BTreeMap<String, Counters>,
    pub candidate: BTreeMap<String, Counters>,
    /// Instances that should have reported.
    pub expected: PerArm<u32>,
    pub probes: PerArm<ProbeCount>,
    /// At least `threshold` probes of every candidate instance in a row are good, and all are ready.
    pub candidate_healthy: bool,
    /// The answers of the policy's named queries.
    #[serde(default)]
    pub queries: BTreeMap<String, Answer>,
    /// Why the counters are not there, when the source could not be asked.
    #[serde(default)]
    pub missing: Option<Unknown>,
}

impl Look {
    /// Returns a look at the time before the promotion, of which only the baseline is known: nothing yet.
    #[must_use]
    pub fn of_the_past(at_s: f64) -> Self {
        Self {
            at_s,
            stage: 0,
            share: Share::ZERO,
            baseline: BTreeMap::new(),
            candidate: BTreeMap::new(),
            expected: PerArm::default(),
            probes: PerArm::default(),
            candidate_healthy: false,
            queries: BTreeMap::new(),
            missing: None,
        }
    }
}

/// Cumulative counters of one instance: `requests, errors, slower than bound 1, slower than bound 2, …`.
///
/// Bounds rise; they are the same for every instance of a promotion (see [`Look`]'s source).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counters(pub Vec<f64>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerArm<T> {
    pub baseline: T,
    pub candidate: T,
}

/// Health probes since the look before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeCount {
    pub failed: u64,
    pub sent: u64,
}

/// What a named query gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Value(f64),
    Unknown(Unknown),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    Pass,
    Breach { causes: Vec<Cause> },
    Unknown { why: Vec<Unknown> },
}

/// A verdict without its reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictWord {
    Pass,
    Breach,
    Unknown,
}

impl Verdict {
    #[must_use]
    pub const fn word(&self) -> VerdictWord {
        match self {
            Self::Pass => VerdictWord::Pass,
            Self::Breach { .. } => VerdictWord::Breach,
            Self::Unknown { .. } => VerdictWord::Unknown,
        }
    }

    /// Returns whether evidence is missing that should be there: a source that is down or stale,
    /// not one that has simply not seen enough yet.
    #[must_use]
    pub fn evidence_lost(&self) -> bool {
        match self {
            Self::Pass | Self::Breach { .. } => false,
            Self::Unknown { why } => why.iter().any(Unknown::is_loss),
        }
    }
}

impl fmt::Display for VerdictWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Breach => "breach",
            Self::Unknown => "unknown",
        })
    }
}

/// A breached condition, as it stands in the result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// The condition as the policy writes it, or what went wrong in words.
    pub condition: String,
    pub seen: Option<f64>,
    pub limit: Option<f64>,
    pub baseline: Option<f64>,
    /// 0–1; absent where the judge has no number for it.
    pub confidence: Option<f64>,
    pub requests: Option<u64>,
}

/// Why there is no verdict. Each is printed and recorded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason", content = "detail")]
pub enum Unknown {
    /// The hold or the window is not over yet.
    Collecting,
    /// Fewer candidate requests in the window than the policy asks for.
    TooFewRequests { seen: u64, needed: u64 },
    /// No sample of this revision.
    NoData { arm: String },
    /// The newest sample is too old.
    Stale { age_s: u64 },
    /// A value that is no number.
    NotANumber { of: String },
    /// A query gave several series where one is needed.
    SeveralSeries { of: String, series: usize },
    /// The source could not be asked: down, slow, or an answer that can't be read.
    SourceDown { what: String },
    /// The stable revision fails as well: an incident of both.
    SharedIncident { condition: String },
    /// Not enough good probes yet.
    CollectingProbes,
    /// Anything else a judge has a word for (`suspicion`, `bake`, …).
    Judge { word: String },
}

/// One condition at one look, recorded for passes as well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    pub condition: String,
    pub seen: Option<f64>,
    pub limit: Option<f64>,
    pub baseline: Option<f64>,
    pub requests: Option<u64>,
    pub unknown: Option<Unknown>,
}

/// What evidence says at one look.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    #[serde(flatten)]
    pub verdict: Verdict,
    pub readings: Vec<Reading>,
    /// How sure it is that the candidate is worse, 0–1; absent with the threshold judge.
    pub confidence: Option<f64>,
    /// `all`, or `health` where the candidate has no users.
    pub judged_on: JudgedOn,
    /// Health alone would pass: every instance ready, its last probes good, nothing suspicious.
    /// What `insufficient_traffic: health_only` asks for.
    pub healthy: bool,
    /// Candidate requests in the present stage.
    pub stage_requests: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JudgedOn {
    All,
    Health,
}

impl Unknown {
    /// Returns whether evidence is missing that should be there.
    #[must_use]
    pub const fn is_loss(&self) -> bool {
        match self {
            Self::NoData { .. }
            | Self::Stale { .. }
            | Self::NotANumber { .. }
            | Self::SeveralSeries { .. }
            | Self::SourceDown { .. } => true,
            Self::Collecting
            | Self::TooFewRequests { .. }
            | Self::SharedIncident { .. }
            | Self::CollectingProbes
            | Self::Judge { .. } => false,
        }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collecting => write!(f, "collecting evidence"),
            Self::TooFewRequests { seen, needed } => {
                write!(f, "{seen} of the {needed} requests that a verdict needs")
            }
            Self::NoData { arm } => write!(f, "no data from the {arm}"),
            Self::Stale { age_s } => write!(f, "the newest sample is {age_s} s old"),
            Self::NotANumber { of } => write!(f, "{of} is not a number"),
            Self::SeveralSeries { of, series } => {
                write!(f, "{of} gave {series} series where one is needed")
            }
            Self::SourceDown { what } => write!(f, "the source can't be read: {what}"),
            Self::SharedIncident { condition } => {
                write!(f, "{condition} is broken by the stable revision as well: a shared incident")
            }
            Self::CollectingProbes => write!(f, "collecting health probes"),
            Self::Judge { word } => write!(f, "{}", word.replace('_', " ")),
        }
    }
}

impl Cause {
    /// Returns a cause that is not a limit of the policy, such as a crash.
    #[must_use]
    pub fn in_words(what: impl Into<String>) -> Self {
        Self {
            condition: what.into(),
            seen: None,
            limit: None,
            baseline: None,
            confidence: None,
            requests: None,
        }
    }
}

impl fmt::Display for Cause {
    /// `error_rate > 5%: 8.1 % of 1234 requests (baseline 0.1 %)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.condition)?;
        let Some(seen) = self.seen else { return Ok(()) };
        write!(f, ": {} seen", in_unit(&self.condition, seen))?;
        if let Some(baseline) = self.baseline {
            write!(f, ", baseline {}", in_unit(&self.condition, baseline))?;
        }
        match self.requests {
            Some(requests) => write!(f, ", {requests} requests"),
            None => Ok(()),
        }
    }
}

/// Returns a condition's value with the unit that its metric has.
#[must_use]
pub fn in_unit(condition: &str, value: f64) -> String {
    let percent = condition.starts_with("error_rate") || condition.starts_with("traffic_share");
    if percent {
        format!("{:.2} %", value * 100.0)
    } else if condition.starts_with("response_time") {
        if value < 10.0 { format!("{value:.1} ms") } else { format!("{value:.0} ms") }
    } else {
        format!("{value}")
    }
}

#[cfg(test)]
mod tests;
