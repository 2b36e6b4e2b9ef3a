//! Either judge over a recording: lines go in, `gate.verdict/v1` comes out, and at the end what
//! would have become of the promotion.
//!
//! The schedule is the recording's own: what a verdict would have changed can't be replayed. So a
//! breach after every stage has passed is still told, as what a longer bake would have found.
//!
//! The threshold judge knows neither blocks nor bets: its lines have no `log_e` and no confidence, every
//! look is committed, and a pass waits for the stage's hold as it does live.

use std::collections::BTreeMap;

use serde::Serialize;

use super::evidence::config::{COUNT_MAX, STAGES_MAX};
use super::evidence::{
    self, Header, Line, Part, Parts, Refused, Sample, StageTimes, VERDICT_SCHEMA, VerdictLine, Word,
};
use super::{
    Cause, Counters, JudgedOn, Judgement, Look, PerArm, ProbeCount, Unknown, Verdict, threshold,
};
use crate::plan::{Defaults, Plan, Release};
use crate::policy::{Condition, JudgeKind, Policy};
use crate::share::Share;

/// Looks closer together than this come from gate's own proxy; its window is the local one.
const LOCAL_INTERVAL_S: f64 = 15.0;
/// The threshold judge's window in a cluster. Source: the judges' table of defaults, as the local one.
const CLUSTER_WINDOW: std::time::Duration = std::time::Duration::from_secs(60);

/// Live looks come a little late, so a stage looks a little younger than it was: by at most this
/// part of the interval.
const LATE: f64 = 0.1;

/// A recording under judgement.
#[derive(Clone, Debug)]
pub struct Replay {
    judge: Kind,
    stages: Vec<StageTimes>,
    interval_s: f64,
    last_at: Option<f64>,
    /// The stage, and when it began.
    now: Option<(usize, f64)>,
    course: Course,
}

#[derive(Clone, Debug)]
enum Kind {
    Evidence(Box<evidence::Judge>),
    Threshold(Box<Thresholds>),
}

/// What became of the promotion so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Course {
    /// Stages that were seen.
    pub entered: usize,
    /// Stages with a pass after their hold and before any breach.
    pub passed: usize,
    pub breach: Option<Breached>,
    /// Lines that were judged.
    pub looks: u64,
    pub last_at_s: f64,
    /// Whether the present stage has passed.
    stage_passed: bool,
}

/// The first breach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Breached {
    /// 0-based.
    pub stage: usize,
    pub at_s: f64,
    /// From the stage's beginning.
    pub after_s: f64,
}

/// One line's verdict, of either judge.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Said {
    Evidence(VerdictLine),
    Threshold(ThresholdLine),
}

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

impl Said {
    #[must_use]
    pub const fn at_s(&self) -> f64 {
        match self {
            Self::Evidence(line) => line.at_s,
            Self::Threshold(line) => line.at_s,
        }
    }

    #[must_use]
    pub const fn word(&self) -> Word {
        match self {
            Self::Evidence(line) => line.verdict,
            Self::Threshold(line) => line.verdict,
        }
    }

    /// The published word of the reason, as in JSON.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Evidence(line) => line.reason.to_string(),
            Self::Threshold(line) => line.reason.clone(),
        }
    }

    #[must_use]
    pub const fn confidence(&self) -> Option<f64> {
        match self {
            Self::Evidence(line) => Some(line.confidence),
            Self::Threshold(line) => line.confidence,
        }
    }
}

impl Replay {
    /// # Errors
    /// A header that makes no sense, or conditions that the judge can't judge with it.
    pub fn new(policy: &Policy, kind: JudgeKind, header: &Header) -> Result<Self, Refused> {
        let judge = match kind {
            JudgeKind::Evidence => evidence::Judge::new(&policy.conditions, header)
                .map(Box::new)
                .map(Kind::Evidence)?,
            JudgeKind::Threshold => {
                header.check()?;
                Kind::Threshold(Box::new(Thresholds::new(policy, header)))
            }
        };
        Ok(Self {
            judge,
            stages: header.stages(),
            interval_s: header.interval_s,
            last_at: None,
            now: None,
            course: Course::default(),
        })
    }

    /// Judges one line; `None` for history and for lines that can't be used.
    pub fn look(&mut self, line: &Line) -> Option<Said> {
        let at = line.at_s.filter(|at| at.is_finite() && self.last_at.is_none_or(|l| *at > l));
        if let Some(at) = at.filter(|at| *at > 0.0) {
            self.place(line, at);
        }
        let said = match &mut self.judge {
            Kind::Evidence(judge) => judge.look(line).map(Said::Evidence),
            Kind::Threshold(judge) => {
                let begun =
                    self.now.map(|(stage, since)| (stage, since, times(&self.stages, stage)));
                judge.look(line, at, begun).map(Said::Threshold)
            }
        };
        self.last_at = at.or(self.last_at);
        if let (Some(said), Some((stage, since))) = (&said, self.now) {
            let hold = times(&self.stages, stage).hold() - LATE * self.interval_s;
            self.course.take(said, stage, since, hold);
        }
        said
    }

    /// Lines and samples that could not be used.
    #[must_use]
    pub const fn dropped(&self) -> (u64, u64) {
        match &self.judge {
            Kind::Evidence(judge) => judge.dropped(),
            Kind::Threshold(judge) => (judge.dropped_lines, judge.dropped_samples),
        }
    }

    /// The causes of the first breach.
    #[must_use]
    pub fn causes(&self) -> &[Cause] {
        match &self.judge {
            Kind::Evidence(judge) => judge.causes(),
            Kind::Threshold(judge) => judge.breach.as_ref().map_or(&[], |(_, causes)| causes),
        }
    }

    #[must_use]
    pub const fn course(&self) -> &Course {
        &self.course
    }

    /// Finds the line's stage as the judge does.
    fn place(&mut self, line: &Line, at: f64) {
        let begun = |times: &StageTimes| times.at_s.is_some_and(|begin| begin < at);
        let by_time = || self.stages.iter().rposition(begun).unwrap_or(0);
        let known = line.stage.filter(|stage| *stage < STAGES_MAX);
        let stage = known.unwrap_or_else(by_time);
        if self.now.is_some_and(|(now, _)| now == stage) {
            return;
        }
        let since = match (self.now, self.last_at) {
            (Some(_), Some(last)) => (at - self.interval_s).max(last),
            (Some(_) | None, _) => 0.0,
        };
        self.now = Some((stage, since));
        self.course.entered += 1;
        self.course.stage_passed = false;
    }
}

/// The times of a stage; of one that the header doesn't know, those of its last.
fn times(stages: &[StageTimes], stage: usize) -> StageTimes {
    stages.get(stage).or(stages.last()).copied().unwrap_or_default()
}

impl Course {
    fn take(&mut self, said: &Said, stage: usize, since: f64, hold_s: f64) {
        let at_s = said.at_s();
        self.looks += 1;
        self.last_at_s = at_s;
        match said.word() {
            Word::Breach if self.breach.is_none() => {
                self.breach = Some(Breached { stage, at_s, after_s: at_s - since });
            }
            Word::Pass if !self.stage_passed && at_s - since >= hold_s => {
                self.stage_passed = true;
                self.passed += 1;
            }
            Word::Breach | Word::Pass | Word::Unknown => {}
        }
    }

    /// Whether every stage that was seen has passed, and nothing breached.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.breach.is_none() && self.entered > 0 && self.passed == self.entered
    }
}

/// The threshold judge, and what it needs to read lines.
#[derive(Clone, Debug)]
struct Thresholds {
    judge: threshold::Judge,
    interval_s: f64,
    width: usize,
    expected: PerArm<u32>,
    dropped_lines: u64,
    dropped_samples: u64,
    breach: Option<(String, Vec<Cause>)>,
}

impl Thresholds {
    fn new(policy: &Policy, header: &Header) -> Self {
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
    fn look(
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
