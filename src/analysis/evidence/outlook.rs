//! What can a stage prove with this traffic? Asked before anything is done.
//!
//! The judge itself is asked, on the counts that are to be expected: a candidate with so much more
//! errors, no noise, no history, one instance of each revision (or as many as the traffic is known to
//! have). What it needs then is what a promotion needs at least; half of all promotions need more.

use std::collections::BTreeMap;

use super::config::PASS_REQUESTS;
use super::judge::Judge;
use super::limits::Refused;
use super::recording::{Header, Line, Sample, StageTimes, Word};
use crate::analysis::{PerArm, ProbeCount};
use crate::policy::Condition;

/// Regressions larger than this are not looked for: everything fails.
const ERRORS_MAX: f64 = 1.0;
/// Halvings of the interval in which the smallest visible regression lies: exact to 0.01 points.
const HALVINGS: usize = 14;
/// Looks that one question may cost, whatever the deadline: a day of them.
const LOOKS_MAX: u64 = 20_000;

/// What is known of the traffic, and of the stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assumed {
    /// Requests per second, of both revisions.
    pub rps: f64,
    /// Of the stable revision, as a fraction.
    pub error_rate: f64,
    /// The candidate's, above 0.
    pub share: f64,
    pub hold_s: f64,
    pub deadline_s: f64,
    /// Between two looks.
    pub interval_s: f64,
}

/// What a stage can prove.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outlook {
    /// When a harmless release passes at the earliest, in seconds; `None`: not before its deadline.
    pub passes_after_s: Option<f64>,
    /// The least addition to the error rate that the stage does not let through: it is held or rolled
    /// back when a harmless release would pass. `None`: nothing passes, or everything.
    pub catches_errors: Option<f64>,
    /// Candidate requests within the hold.
    pub requests_in_hold: f64,
    /// Candidate requests without which no limit of the error rate is proven.
    pub requests_needed: f64,
}

/// Asks the judge what a stage can prove.
///
/// # Errors
/// Conditions that can't be judged with these bounds.
pub fn outlook(
    conditions: &[Condition],
    bounds_ms: &[f64],
    assumed: &Assumed,
) -> Result<Outlook, Refused> {
    let passes_after_s = passes(conditions, bounds_ms, assumed, 0.0, assumed.deadline_s)?;
    let catches_errors = match passes_after_s {
        Some(end) => least_caught(conditions, bounds_ms, assumed, end)?,
        None => None,
    };
    Ok(Outlook {
        passes_after_s,
        catches_errors,
        requests_in_hold: assumed.rps * assumed.share * assumed.hold_s,
        requests_needed: requests_needed(conditions),
    })
}

/// The least addition to the error rate with which the stage has not passed by the time at which a
/// harmless release has.
fn least_caught(
    conditions: &[Condition],
    bounds_ms: &[f64],
    assumed: &Assumed,
    end: f64,
) -> Result<Option<f64>, Refused> {
    let caught = |added: f64| Ok(passes(conditions, bounds_ms, assumed, added, end)?.is_none());
    if !caught(ERRORS_MAX)? {
        return Ok(None);
    }
    let (mut low, mut high) = (0.0, ERRORS_MAX);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if caught(middle)? { high = middle } else { low = middle }
    }
    Ok(Some(high))
}

/// For a limit of 5 % the rule of thumb is 85 requests without an error; for others it scales.
fn requests_needed(conditions: &[Condition]) -> f64 {
    let limit = conditions.iter().find_map(|condition| match condition {
        Condition::ErrorRate { limit } => Some(*limit),
        _ => None,
    });
    limit.map_or(PASS_REQUESTS, |limit| (PASS_REQUESTS * 0.05 / limit).ceil())
}

/// When one stage passes on expected counts, if it does by `end`.
fn passes(
    conditions: &[Condition],
    bounds_ms: &[f64],
    assumed: &Assumed,
    added: f64,
    end: f64,
) -> Result<Option<f64>, Refused> {
    let stage = StageTimes {
        at_s: Some(0.0),
        share: Some(assumed.share),
        hold_s: Some(assumed.hold_s),
        deadline_s: Some(assumed.deadline_s),
    };
    let header = Header::new(bounds_ms.to_vec(), assumed.interval_s, vec![stage]);
    let mut judge = Judge::new(conditions, &header)?;
    let looks = ((end / assumed.interval_s) as u64).min(LOOKS_MAX);
    for n in 0..=looks {
        let line = expected(assumed, added, bounds_ms.len(), n as f64 * assumed.interval_s);
        let Some(verdict) = judge.look(&line) else { continue };
        match verdict.verdict {
            Word::Breach => return Ok(None),
            Word::Pass if verdict.at_s >= assumed.hold_s => return Ok(Some(verdict.at_s)),
            Word::Pass | Word::Unknown => {}
        }
    }
    Ok(None)
}

/// The counters to be expected after so many seconds, and good probes.
fn expected(assumed: &Assumed, added: f64, bounds: usize, at_s: f64) -> Line {
    let pod = |requests: f64, errors: f64| -> BTreeMap<String, Sample> {
        let mut counters = vec![requests, requests * errors.min(1.0)];
        counters.resize(2 + bounds, 0.0);
        BTreeMap::from([("0".to_owned(), Some(counters))])
    };
    let requests = assumed.rps * at_s;
    let probes = Some(ProbeCount { failed: 0, sent: 1 });
    Line {
        at_s: Some(at_s),
        stage: Some(0),
        share: Some(assumed.share),
        samples: PerArm {
            baseline: pod(requests * (1.0 - assumed.share), assumed.error_rate),
            candidate: pod(requests * assumed.share, assumed.error_rate + added),
        },
        expected: PerArm { baseline: Some(1), candidate: Some(1) },
        probes: PerArm { baseline: probes, candidate: probes },
        healthy: None,
    }
}
