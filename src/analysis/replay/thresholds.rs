//! The threshold judge over the lines of a recording.

use std::collections::BTreeMap;

use serde::Serialize;

use super::LATE;
use crate::analysis::evidence::config::COUNT_MAX;
use crate::analysis::evidence::{
    Header, Line, Part, Parts, Sample, StageTimes, VERDICT_SCHEMA, Word,
};
use crate::analysis::{
    Cause, Counters, JudgedOn, Judgement, Look, PerArm, ProbeCount, Unknown, Verdict, threshold,
};
use crate::plan::{Defaults, Plan, Release};
use crate::policy::{Condition, Policy};
use crate::share::Share;

/// Looks closer together than this come from gate's own proxy; its window is the local one.
const LOCAL_INTERVAL_S: f64 = 15.0;
/// The threshold judge's window in a cluster. Source: the judges' table of defaults, as the local one.
const CLUSTER_WINDOW: std::time::Duration = std::time::Duration::from_secs(60);

/// `gate.verdict/v1` of the threshold judge.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ThresholdLine {
    pub schema: &'static str,
    pub at_s: f64,
    pub committed: bool,
    pub verdict: Word,
    pub reason: String,
    pub judged_on: JudgedOn,
    /// `null`, as are all numbers that only bets have.
    pub log_e: Option<f64>,
    pub log_e_parts: Parts,
    pub confidence: Option<f64>,
    pub may_pass: bool,
    pub no_data: bool,
}

/// The threshold judge, and what it needs to read lines.
#[derive(Clone, Debug)]
pub(super) struct Thresholds {
    judge: threshold::Judge,
    interval_s: f64,
    width: usize,
    expected: PerArm<u32>,
    pub(super) dropped_lines: u64,
    pub(super) dropped_samples: u64,
    pub(super) breach: Option<(String, Vec<Cause>)>,
}

impl Thresholds {
    pub(super) fn new(policy: &Policy, header: &Header) -> Self {
        Self {
            judge: threshold::Judge::new(&plan_for(policy, header)),
            interval_s: header.interval_s,
            width: 2 + header.bounds_ms.len(),
            expected: PerArm::default(),
            dropped_lines: 0,
            dropped_samples: 0,
            breach: None,
        }
    }

    /// `begun`: the stage, when it began, and its times.
    pub(super) fn look(
        &mut self,
        line: &Line,
        at: Option<f64>,
        begun: Option<(usize, f64, StageTimes)>,
    ) -> Option<ThresholdLine> {
        let Some(at) = at else {
            self.dropped_lines += 1;
            return None;
        };
        // History belongs to no stage, so that no window reaches from it into the first one.
        let (stage, since, times) =
            begun.filter(|_| at > 0.0).unwrap_or((usize::MAX, at, StageTimes::default()));
        let look = self.read(line, at, stage, times);
        let judgement = self.judge.judge(&look);
        let held = at - since >= times.hold() - LATE * self.interval_s;
        (at > 0.0).then(|| self.line(at, judgement, held))
    }

    fn read(&mut self, line: &Line, at_s: f64, stage: usize, times: StageTimes) -> Look {
        self.expected = PerArm {
            baseline: line.expected.baseline.unwrap_or(self.expected.baseline),
            candidate: line.expected.candidate.unwrap_or(self.expected.candidate),
        };
        let probes = PerArm {
            baseline: self.probes(line.probes.baseline),
            candidate: self.probes(line.probes.candidate),
        };
        let share = line.share.or(times.share).and_then(Share::from_fraction);
        self.dropped_samples += u64::from(line.share.is_some() && share.is_none());
        Look {
            at_s,
            stage,
            share: share.unwrap_or_default(),
            baseline: self.counters(&line.samples.baseline),
            candidate: self.counters(&line.samples.candidate),
            expected: self.expected,
            probes,
            candidate_healthy: line.healthy.unwrap_or(probes.candidate.failed == 0),
            queries: BTreeMap::new(),
            missing: None,
        }
    }

    fn probes(&mut self, probes: Option<ProbeCount>) -> ProbeCount {
        let good = probes.filter(|probes| probes.failed <= probes.sent);
        self.dropped_samples += u64::from(good.is_none());
        good.unwrap_or_default()
    }

    fn counters(&mut self, samples: &BTreeMap<String, Sample>) -> BTreeMap<String, Counters> {
        let mut counters = BTreeMap::new();
        for (pod, sample) in samples {
            let believable = |v: &f64| (0.0..=COUNT_MAX).contains(v);
            match sample {
                Some(values) if values.len() == self.width && values.iter().all(believable) => {
                    counters.insert(pod.clone(), Counters(values.clone()));
                }
                Some(_) | None => self.dropped_samples += 1,
            }
        }
        counters
    }

    fn line(&mut self, at_s: f64, judgement: Judgement, held: bool) -> ThresholdLine {
        let reason = reason(&judgement.verdict, held);
        if let Verdict::Breach { causes } = &judgement.verdict {
            self.breach.get_or_insert_with(|| (reason.clone(), causes.clone()));
        }
        let may_pass = judgement.verdict == Verdict::Pass && held;
        let (verdict, reason) = match (&self.breach, may_pass) {
            (Some((first, _)), _) => (Word::Breach, first.clone()),
            (None, true) => (Word::Pass, reason),
            (None, false) => (Word::Unknown, reason),
        };
        ThresholdLine {
            schema: VERDICT_SCHEMA,
            at_s,
            committed: true,
            verdict,
            reason,
            judged_on: judgement.judged_on,
            log_e: None,
            log_e_parts: Parts::weights(&[]),
            confidence: None,
            may_pass,
            no_data: judgement.verdict.evidence_lost(),
        }
    }
}

/// The plan that the judge of a recording needs: of a cluster or of one host, by the looks' interval.
fn plan_for(policy: &Policy, header: &Header) -> Plan {
    let nobody = || Release { name: String::new(), hash: String::new(), irreversible: false };
    let local = header.interval_s < LOCAL_INTERVAL_S;
    let window = if local { crate::plan::LOCAL_DEFAULTS.window } else { CLUSTER_WINDOW };
    let interval = std::time::Duration::try_from_secs_f64(header.interval_s).unwrap_or(window);
    let defaults = Defaults { interval, window };
    let mut plan = Plan::new(policy, "", "", nobody(), nobody(), defaults);
    plan.judge.bounds_ms.clone_from(&header.bounds_ms);
    let every = header.source_interval_s.map(std::time::Duration::try_from_secs_f64);
    if let Some(Ok(every)) = every {
        plan.judge.pace(every);
    }
    if let Some(check) = &mut plan.health_check {
        check.interval = header
            .probe_interval_s
            .and_then(|s| std::time::Duration::try_from_secs_f64(s).ok())
            .unwrap_or_default();
    }
    plan
}

fn reason(verdict: &Verdict, held: bool) -> String {
    match verdict {
        Verdict::Pass if held => "passed".to_owned(),
        Verdict::Pass => "bake".to_owned(),
        Verdict::Breach { causes } => {
            format!("breach:{}", causes.first().map_or("query", |cause| word_of(&cause.condition)))
        }
        Verdict::Unknown { why } => why.first().map_or("collecting_evidence", word).to_owned(),
    }
}

/// The part of the evidence judge that speaks of the same metric.
fn word_of(condition: &str) -> &'static str {
    match crate::policy::parse_condition(condition) {
        Ok(Condition::ErrorRate { .. }) => Part::ErrAbs.word(),
        Ok(Condition::ResponseTime { .. }) => Part::LatAbs.word(),
        Ok(Condition::HealthCheckFailures { .. }) => Part::Health.word(),
        Ok(Condition::ErrorRateRatio { .. }) => Part::ErrRel.word(),
        Ok(Condition::ResponseTimeRatio { .. }) => Part::LatRel.word(),
        Ok(Condition::TrafficShare { .. }) => Part::Share.word(),
        Ok(Condition::Query { .. }) | Err(_) => "query",
    }
}

fn word(unknown: &Unknown) -> &str {
    match unknown {
        Unknown::Collecting => "collecting_evidence",
        Unknown::TooFewRequests { .. } => "too_few_requests",
        Unknown::NoData { .. } => "no_data",
        Unknown::Stale { .. } => "stale",
        Unknown::NotANumber { .. } => "not_a_number",
        Unknown::SeveralSeries { .. } => "several_series",
        Unknown::SourceDown { .. } => "source_down",
        Unknown::SharedIncident { .. } => "shared_incident",
        Unknown::CollectingProbes => "collecting_probes",
        Unknown::Judge { word } => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_samples_are_judged_as_they_were_live() {
        let policy = Policy {
            evidence: crate::policy::EvidencePolicy {
                judge: crate::policy::JudgeKind::Threshold,
                ..crate::policy::built_in().evidence
            },
            ..crate::policy::built_in()
        };
        let mut header = Header::new(Vec::new(), 5.0, Vec::new());
        // Between two samples, and the window in seconds.
        for (every, window) in [(None, 15), (Some(0.0), 15), (Some(5.0), 15), (Some(20.0), 40)] {
            header.source_interval_s = every;
            let judged = plan_for(&policy, &header).judge;
            assert_eq!(judged.window.as_secs(), window, "{every:?}");
        }
    }
}
