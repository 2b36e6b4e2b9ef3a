//! What each kind of condition says of a window, and the guards beside it.

use super::super::{Answer, Look, ProbeCount, Reading, Unknown};
use super::Judge;
use super::window::{FLAKE_CHANCE, Window, more_than_flakes};
use crate::policy::{Comparison, Condition};

/// An error rate is the candidate's own from this ratio to the baseline's on.
pub const WORSE_ERRORS: f64 = 1.5;
/// A response time is the candidate's own from this ratio to the baseline's on.
pub const WORSE_LATENCY: f64 = 1.1;
/// Errors beyond what the baseline's rate explains that a relative limit needs.
pub const EXCESS_MIN: f64 = 5.0;
/// Failed probes must be so many times as frequent as the baseline's.
const WORSE_PROBES: f64 = 3.0;
/// What a condition says at one look.
pub(super) enum Said {
    Kept,
    Broken,
    Unknown(Unknown),
}

impl Judge {
    pub(super) fn read(&self, condition: &Condition, look: &Look) -> (Reading, Said) {
        let candidate = self.window(|slice| &slice.candidate);
        let baseline = self.window(|slice| &slice.baseline);
        let mut reading = Reading {
            condition: condition.to_string(),
            seen: None,
            limit: None,
            baseline: None,
            requests: Some(candidate.requests() as u64),
            unknown: None,
        };
        let said = match condition {
            Condition::HealthCheckFailures { limit } => self.health(*limit, &mut reading),
            Condition::Query { name, comparison, limit } => {
                query(name, *comparison, *limit, look.queries.get(name), &mut reading)
            }
            Condition::TrafficShare { factor } => {
                self.traffic_share(*factor, look, &candidate, &baseline, &mut reading)
            }
            Condition::ErrorRate { .. }
            | Condition::ResponseTime { .. }
            | Condition::ErrorRateRatio { .. }
            | Condition::ResponseTimeRatio { .. } => match self.too_little(look, &candidate) {
                Some(reason) => Said::Unknown(reason),
                None => self.counted(condition, look, &candidate, &baseline, &mut reading),
            },
        };
        (reading, said)
    }

    fn too_little(&self, look: &Look, candidate: &Window<'_>) -> Option<Unknown> {
        if let Some(reason) = &look.missing {
            return Some(reason.clone());
        }
        let seen = candidate.requests() as u64;
        (seen < self.min_requests)
            .then_some(Unknown::TooFewRequests { seen, needed: self.min_requests })
    }

    /// Conditions on the counts of requests.
    fn counted(
        &self,
        condition: &Condition,
        look: &Look,
        candidate: &Window<'_>,
        baseline: &Window<'_>,
        reading: &mut Reading,
    ) -> Said {
        let comparable = !look.share.is_full() && baseline.requests() > 0.0;
        match condition {
            Condition::ErrorRate { limit } => {
                let (seen, base) = (candidate.error_rate(), baseline.error_rate());
                reading.fill(Some(seen), Some(*limit), comparable.then_some(base));
                let own = if comparable {
                    seen >= WORSE_ERRORS * base
                } else {
                    !self.stable_fails_probes()
                };
                absolute(condition, seen > *limit, own)
            }
            Condition::ResponseTime { quantile, limit } => {
                let limit_ms = limit.as_secs_f64() * 1000.0;
                let (seen, base) = (candidate.quantile(quantile), baseline.quantile(quantile));
                reading.fill(seen, Some(limit_ms), base.filter(|_| comparable));
                let Some(seen) = seen else { return Said::Unknown(no_latencies()) };
                let broken = candidate
                    .slower_share(limit_ms)
                    .map_or(seen > limit_ms, |share| share > 1.0 - quantile.fraction());
                let own = match base {
                    Some(base) if comparable => seen >= WORSE_LATENCY * base,
                    _ => !self.stable_fails_probes(),
                };
                absolute(condition, broken, own)
            }
            Condition::ErrorRateRatio { ratio } => {
                let (seen, base) = (candidate.error_rate(), baseline.error_rate());
                reading.fill(Some(seen), Some(ratio * base), Some(base));
                let excess = candidate.errors() - ratio * base * candidate.requests();
                relative(look, comparable, reading, excess >= EXCESS_MIN)
            }
            Condition::ResponseTimeRatio { quantile, ratio } => {
                let (seen, base) = (candidate.quantile(quantile), baseline.quantile(quantile));
                reading.fill(seen, base.map(|base| ratio * base), base);
                let enough = baseline.requests() >= self.min_requests as f64;
                match (seen, base) {
                    (Some(seen), Some(base)) => {
                        relative(look, comparable && enough, reading, seen > ratio * base)
                    }
                    _ => relative(look, false, reading, false),
                }
            }
            Condition::HealthCheckFailures { .. }
            | Condition::TrafficShare { .. }
            | Condition::Query { .. } => Said::Kept,
        }
    }

    fn health(&self, limit: u32, reading: &mut Reading) -> Said {
        let (mut candidate, mut baseline) = (ProbeCount::default(), ProbeCount::default());
        for (_, probes) in &self.probes {
            candidate.add(probes.candidate);
            baseline.add(probes.baseline);
        }
        reading.fill(
            Some(candidate.failed as f64),
            Some(f64::from(limit)),
            (baseline.sent > 0).then_some(baseline.failed as f64),
        );
        reading.requests = None;
        let own = candidate.rate() >= WORSE_PROBES * baseline.rate();
        if candidate.failed <= u64::from(limit) || more_than_flakes(candidate) > FLAKE_CHANCE {
            Said::Kept
        } else if own {
            Said::Broken
        } else {
            shared(&reading.condition)
        }
    }

    fn traffic_share(
        &self,
        factor: f64,
        look: &Look,
        candidate: &Window<'_>,
        baseline: &Window<'_>,
        reading: &mut Reading,
    ) -> Said {
        let (asked, total) = (look.share.fraction(), candidate.requests() + baseline.requests());
        reading.limit = Some(factor * asked);
        if look.share.is_full() {
            return Said::Kept; // there is nothing to divide
        }
        if let Some(reason) = &look.missing {
            return Said::Unknown(reason.clone());
        }
        if total < self.min_requests as f64 {
            let (seen, needed) = (total as u64, self.min_requests);
            return Said::Unknown(Unknown::TooFewRequests { seen, needed });
        }
        reading.seen = Some(candidate.requests() / total);
        let broken = candidate.requests() < factor * asked * total;
        if broken { Said::Broken } else { Said::Kept }
    }

    fn stable_fails_probes(&self) -> bool {
        let mut stable = ProbeCount::default();
        self.probes.iter().for_each(|(_, probes)| stable.add(probes.baseline));
        stable.sent > 0 && stable.failed * 2 >= stable.sent
    }
}

impl Reading {
    const fn fill(&mut self, seen: Option<f64>, limit: Option<f64>, baseline: Option<f64>) {
        (self.seen, self.limit, self.baseline) = (seen, limit, baseline);
    }
}

fn absolute(condition: &Condition, broken: bool, own: bool) -> Said {
    match (broken, own) {
        (false, _) => Said::Kept,
        (true, true) => Said::Broken,
        (true, false) => shared(&condition.to_string()),
    }
}

/// At 100 % there is nothing to compare with, which is said nowhere to be a fault; below it, a
/// baseline without data leaves the question open.
fn relative(look: &Look, comparable: bool, reading: &mut Reading, broken: bool) -> Said {
    match (look.share.is_full(), comparable) {
        (true, _) => {
            reading.fill(reading.seen, None, None);
            Said::Kept
        }
        (false, false) => Said::Unknown(Unknown::NoData { arm: "baseline".into() }),
        (false, true) if broken => Said::Broken,
        (false, true) => Said::Kept,
    }
}

fn query(
    name: &str,
    comparison: Comparison,
    limit: f64,
    answer: Option<&Answer>,
    reading: &mut Reading,
) -> Said {
    reading.limit = Some(limit);
    reading.requests = None;
    match answer {
        Some(Answer::Value(value)) if value.is_finite() => {
            reading.seen = Some(*value);
            let broken = match comparison {
                Comparison::Above => *value > limit,
                Comparison::Below => *value < limit,
            };
            if broken { Said::Broken } else { Said::Kept }
        }
        Some(Answer::Value(_)) => Said::Unknown(Unknown::NotANumber { of: name.to_owned() }),
        Some(Answer::Unknown(reason)) => Said::Unknown(reason.clone()),
        None => Said::Unknown(Unknown::NoData { arm: format!("query {name}") }),
    }
}

fn shared(condition: &str) -> Said {
    Said::Unknown(Unknown::SharedIncident { condition: condition.to_owned() })
}

fn no_latencies() -> Unknown {
    Unknown::Judge { word: "no_latencies".into() }
}
