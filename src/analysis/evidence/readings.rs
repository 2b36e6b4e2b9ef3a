//! From evidence to what people are told: the reading of every condition at a look, and the causes
//! of a breach.
//!
//! A *reading* speaks of the present stage (error rates), of the last minutes (latency), or of the
//! health window. A *cause* speaks of the time since the most plausible onset of the regression: that
//! is what was evidence. Rates and shares are fractions, latencies milliseconds; a limit against the
//! baseline is given in the unit of what is seen, as ratio × baseline.

use super::config::ALPHA;
use super::latency::Quantiles;
use super::likelihood::Seen;
use super::limits::{Kind, QuantileLimit, Stated};
use super::parts::Part;
use super::process::{Evidence, Judged};
use crate::analysis::{Cause, Reading, Unknown};

/// What is known of one condition.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    seen: Option<f64>,
    limit: Option<f64>,
    baseline: Option<f64>,
    requests: Option<f64>,
}

impl Evidence {
    /// One reading for each condition, in the policy's order.
    pub(super) fn readings(&self) -> Vec<Reading> {
        let reading = |stated: &Stated| {
            let facts = self.facts(stated.kind);
            let missing = facts.seen.is_none();
            Reading {
                condition: stated.text.clone(),
                seen: facts.seen,
                limit: facts.limit,
                baseline: facts.baseline,
                requests: facts.requests.map(|n| n.round() as u64),
                unknown: missing.then(|| Unknown::NoData { arm: "candidate".to_owned() }),
            }
        };
        self.limits.stated.iter().map(reading).collect()
    }

    /// The condition with most of the evidence first, then the others that would breach alone.
    pub(super) fn causes(&self, judged: &Judged, confidence: f64) -> Vec<Cause> {
        let first = judged.parts.largest();
        let alone = |part: Part| judged.parts.get(part).is_some_and(|e| e >= (1.0 / ALPHA).ln());
        let others = Part::ALL.into_iter().filter(|part| *part != first && alone(*part));
        let mut causes: Vec<Cause> = Vec::new();
        for part in std::iter::once(first).chain(others) {
            let Some(stated) = self.limits.stated_for(part) else { continue };
            if causes.iter().any(|cause| cause.condition == stated.text) {
                continue;
            }
            let facts = self.facts_of_breach(part, stated.kind);
            causes.push(Cause {
                condition: stated.text.clone(),
                seen: facts.seen,
                limit: facts.limit,
                baseline: facts.baseline,
                confidence: Some(confidence),
                requests: facts.requests.map(|n| n.round() as u64),
            });
        }
        causes
    }

    fn facts(&self, kind: Kind) -> Facts {
        let limits = &self.limits;
        let seen = self.pass.seen();
        let quantiles = |limit: QuantileLimit| self.histograms.recent(limit.q, &self.bounds);
        match kind {
            Kind::Error => rates(seen, limits.error),
            Kind::ErrorRatio => against_baseline(rates(seen, None), limits.error_ratio),
            Kind::Latency => {
                limits.latency.map(|l| latencies(&quantiles(l), Some(l.limit))).unwrap_or_default()
            }
            Kind::LatencyRatio => limits
                .latency_ratio
                .map(|l| against_baseline(latencies(&quantiles(l), None), Some(l.limit)))
                .unwrap_or_default(),
            Kind::Health => self.failed_probes(),
            Kind::Share => self.share_of(seen.all, seen.all + seen.base_all),
        }
    }

    fn facts_of_breach(&self, part: Part, kind: Kind) -> Facts {
        let limits = &self.limits;
        let since_onset =
            self.absolute.iter().find(|test| test.part == part).map(|t| t.since_onset());
        match kind {
            Kind::Error => rates(&since_onset.unwrap_or_default(), limits.error),
            Kind::ErrorRatio => {
                against_baseline(rates(&self.errors.worse.since_onset(), None), limits.error_ratio)
            }
            Kind::LatencyRatio => limits
                .latency_ratio
                .map(|l| {
                    let worst = self.histograms.worst(l.q, &self.bounds);
                    against_baseline(latencies(&worst, None), Some(l.limit))
                })
                .unwrap_or_default(),
            Kind::Share => {
                let seen = self.share.since_onset();
                self.share_of(seen.bad, seen.all)
            }
            Kind::Latency | Kind::Health => self.facts(kind),
        }
    }

    fn failed_probes(&self) -> Facts {
        let (candidate, baseline) = self.health.failed();
        Facts {
            seen: Some(candidate as f64),
            limit: self.limits.health.map(f64::from),
            baseline: Some(baseline as f64),
            requests: None,
        }
    }

    /// Of the candidate's part of the requests; `limit` is the least that it should be.
    fn share_of(&self, candidate: f64, all: f64) -> Facts {
        Facts {
            seen: (all > 0.0).then(|| candidate / all),
            limit: Some(self.share.factor * self.last_share),
            baseline: None,
            requests: Some(candidate),
        }
    }
}

fn rates(seen: &Seen, limit: Option<f64>) -> Facts {
    let rate = |bad: f64, all: f64| (all > 0.0).then(|| bad / all);
    Facts {
        seen: rate(seen.bad, seen.all),
        limit,
        baseline: rate(seen.base_bad, seen.base_all),
        requests: Some(seen.all),
    }
}

const fn latencies(quantiles: &Quantiles, limit: Option<f64>) -> Facts {
    Facts {
        seen: quantiles.candidate,
        limit,
        baseline: quantiles.baseline,
        requests: Some(quantiles.requests),
    }
}

fn against_baseline(facts: Facts, ratio: Option<f64>) -> Facts {
    let limit = facts.baseline.zip(ratio).map(|(baseline, ratio)| ratio * baseline);
    Facts { limit, ..facts }
}
