//! `gate.recording/v1`: looks as JSON lines, and the `gate.verdict/v1` that each of them gets.
//!
//! A recording may come from anywhere, so a line is read for what it is worth: what is not a JSON
//! object has no time and is dropped by the judge, and what is no number is not there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::config::{COUNT_MAX, DEFAULT_HOLD_S, MIN_DEADLINE_S, STAGES_MAX};
use super::limits::Refused;
use super::parts::{Part, Parts};
use crate::analysis::{JudgedOn, Look, PerArm, ProbeCount};
use crate::plan::{Plan, Stage};

pub const RECORDING_SCHEMA: &str = "gate.recording/v1";
pub const VERDICT_SCHEMA: &str = "gate.verdict/v1";

/// What is fixed for a whole promotion: the first line of a recording; live, it comes from the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    pub schema: String,
    /// Rising.
    #[serde(default)]
    pub bounds_ms: Vec<f64>,
    /// Between two looks.
    pub interval_s: f64,
    /// Between two samples of a pod, where that is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_interval_s: Option<f64>,
    /// Between two probes of a pod: stretches the health window of large limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_interval_s: Option<f64>,
    /// Time in which a change may still be expected; absent: the sum of the stages' deadlines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizon_s: Option<f64>,
    #[serde(default)]
    pub stages: Vec<StageTimes>,
}

impl Header {
    /// Returns the header of the recording that a promotion with this plan makes.
    #[must_use]
    pub fn of_plan(plan: &Plan) -> Self {
        let stage = |stage: &Stage| StageTimes {
            at_s: None,
            share: Some(stage.share.fraction()),
            hold_s: Some(stage.hold.as_secs_f64()),
            deadline_s: Some(stage.deadline.as_secs_f64()),
        };
        let health_check = plan.health_check.as_ref();
        Self {
            schema: RECORDING_SCHEMA.to_owned(),
            bounds_ms: plan.judge.bounds_ms.clone(),
            interval_s: plan.judge.interval.as_secs_f64(),
            source_interval_s: plan.judge.source_interval.map(|every| every.as_secs_f64()),
            probe_interval_s: health_check.map(|check| check.interval.as_secs_f64()),
            horizon_s: None,
            stages: plan.stages.iter().map(stage).collect(),
        }
    }
}

/// One stage as a recording's header knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageTimes {
    /// When it begins; absent where the lines say in which stage they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_s: Option<f64>,
    /// 0–1
    #[serde(default)]
    pub share: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_s: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_s: Option<f64>,
}

impl StageTimes {
    pub fn hold(&self) -> f64 {
        self.hold_s.unwrap_or(DEFAULT_HOLD_S)
    }

    fn deadline(&self) -> f64 {
        self.deadline_s.unwrap_or_else(|| (5.0 * self.hold()).max(MIN_DEADLINE_S))
    }
}

impl Header {
    /// The header of a promotion that is judged as it runs: the lines will say their stage.
    #[must_use]
    pub fn new(bounds_ms: Vec<f64>, interval_s: f64, stages: Vec<StageTimes>) -> Self {
        Self {
            schema: RECORDING_SCHEMA.to_owned(),
            bounds_ms,
            interval_s,
            source_interval_s: None,
            probe_interval_s: None,
            horizon_s: None,
            stages,
        }
    }

    /// Reads the first line of a recording.
    ///
    /// # Errors
    /// It is something else, or lacks what every recording has.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        serde_json::from_str(text).map_err(|e| Refused::NotARecording { what: e.to_string() })
    }

    /// # Errors
    /// A number that makes no sense.
    pub fn check(&self) -> Result<(), Refused> {
        if self.schema != RECORDING_SCHEMA {
            return Err(Refused::NotARecording {
                what: format!("its schema is {:?}", self.schema),
            });
        }
        let need = |ok: bool, what| if ok { Ok(()) } else { Err(Refused::Header { what }) };
        let positive = |v: Option<f64>| v.is_none_or(|v| v.is_finite() && v > 0.0);
        let not_negative = |v: Option<f64>| v.is_none_or(|v| v.is_finite() && v >= 0.0);
        need(positive(Some(self.interval_s)), "interval_s lies above 0")?;
        need(not_negative(self.source_interval_s), "source_interval_s is not negative")?;
        need(not_negative(self.probe_interval_s), "probe_interval_s is not negative")?;
        need(not_negative(self.horizon_s), "horizon_s is not negative")?;
        need(self.stages.len() <= STAGES_MAX, "there are too many stages")?;
        for stage in &self.stages {
            need(stage.at_s.is_none_or(f64::is_finite), "a stage's at_s is a number")?;
            need(
                stage.share.is_none_or(|s| (0.0..=1.0).contains(&s)),
                "a share lies between 0 and 1",
            )?;
            need(not_negative(stage.hold_s), "hold_s is not negative")?;
            need(not_negative(stage.deadline_s), "deadline_s is not negative")?;
        }
        Ok(())
    }

    /// The stages; a recording without any has one.
    pub fn stages(&self) -> Vec<StageTimes> {
        if self.stages.is_empty() {
            return vec![StageTimes { at_s: Some(0.0), ..StageTimes::default() }];
        }
        self.stages.clone()
    }

    /// Time during which a change may be expected; later it is found more slowly.
    pub fn horizon(&self) -> f64 {
        let stages = self.stages();
        let with_users = stages.iter().filter(|s| s.share != Some(0.0));
        let sum: f64 = with_users.map(StageTimes::deadline).sum();
        self.horizon_s.unwrap_or(if sum > 0.0 { sum } else { MIN_DEADLINE_S })
    }
}

/// A pod's counters; `None` where they are not a row of numbers.
pub type Sample = Option<Vec<f64>>;

/// One look. What is absent is as before, or as the header says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// End of the window; 0 is the promotion's start. `None`: nothing in it can be used.
    pub at_s: Option<f64>,
    pub stage: Option<usize>,
    pub share: Option<f64>,
    pub samples: PerArm<BTreeMap<String, Sample>>,
    pub expected: PerArm<Option<u32>>,
    /// `None`: not two numbers of which the first is not the larger.
    pub probes: PerArm<Option<ProbeCount>>,
    /// Whether every candidate instance was seen to be healthy; absent where nobody could tell.
    pub healthy: Option<bool>,
}

impl Line {
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match serde_json::from_str(text) {
            Ok(Value::Object(line)) => Self::read(&line),
            Ok(_) | Err(_) => Self::default(),
        }
    }

    fn read(line: &serde_json::Map<String, Value>) -> Self {
        let nothing = Value::Null;
        let of = |key: &str, arm: &str| line.get(key).and_then(|v| v.get(arm)).unwrap_or(&nothing);
        let per_arm = |key: &str| line.get(key).unwrap_or(&nothing);
        let expected = |arm| of("expected", arm).as_u64().and_then(|n| u32::try_from(n).ok());
        let probes = |arm| match line.get("probes").and_then(|v| v.get(arm)) {
            None => Some(ProbeCount::default()),
            Some(pair) => probe_count(pair),
        };
        Self {
            at_s: per_arm("at_s").as_f64(),
            stage: per_arm("stage").as_u64().and_then(|n| usize::try_from(n).ok()),
            share: per_arm("share").as_f64(),
            samples: PerArm {
                baseline: samples(per_arm("baseline")),
                candidate: samples(per_arm("candidate")),
            },
            expected: PerArm { baseline: expected("baseline"), candidate: expected("candidate") },
            probes: PerArm { baseline: probes("baseline"), candidate: probes("candidate") },
            healthy: per_arm("healthy").as_bool(),
        }
    }
}

fn samples(pods: &Value) -> BTreeMap<String, Sample> {
    let numbers = |sample: &Value| sample.as_array()?.iter().map(Value::as_f64).collect();
    let pods = pods.as_object().into_iter().flatten();
    pods.map(|(pod, sample)| (pod.clone(), numbers(sample))).collect()
}

fn probe_count(pair: &Value) -> Option<ProbeCount> {
    let [failed, sent] = pair.as_array()?.as_slice() else { return None };
    Some(ProbeCount { failed: failed.as_u64()?, sent: sent.as_u64()? })
}

/// Whether probes can be counted at all.
pub(super) fn believable(probes: ProbeCount) -> bool {
    probes.failed <= probes.sent && probes.sent as f64 <= COUNT_MAX
}

impl From<&Look> for Line {
    fn from(look: &Look) -> Self {
        let samples = |pods: &BTreeMap<String, crate::analysis::Counters>| {
            pods.iter().map(|(pod, counters)| (pod.clone(), Some(counters.0.clone()))).collect()
        };
        Self {
            at_s: Some(look.at_s),
            stage: Some(look.stage),
            share: Some(look.share.fraction()),
            samples: PerArm {
                baseline: samples(&look.baseline),
                candidate: samples(&look.candidate),
            },
            expected: PerArm {
                baseline: Some(look.expected.baseline),
                candidate: Some(look.expected.candidate),
            },
            probes: PerArm {
                baseline: Some(look.probes.baseline),
                candidate: Some(look.probes.candidate),
            },
            healthy: Some(look.candidate_healthy),
        }
    }
}

/// The word of a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    Pass,
    Breach,
    Unknown,
}

/// Why the verdict is what it is: the first of these that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// E ≥ 1/α; the part with most of the evidence.
    Breach(Part),
    Passed,
    /// Users, and no joint window for a minute.
    NoData,
    /// Both revisions break an absolute limit.
    SharedIncident,
    /// E ≥ 5: not enough to go back, too much to go on.
    Suspicion,
    /// The arms have not both reported in this block.
    WaitingForData,
    CandidatePodSilent,
    /// The stage is younger than its bake.
    Bake,
    CollectingEvidence,
    CollectingProbes,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Breach(part) => return write!(f, "breach:{}", part.word()),
            Self::Passed => "passed",
            Self::NoData => "no_data",
            Self::SharedIncident => "shared_incident",
            Self::Suspicion => "suspicion",
            Self::WaitingForData => "waiting_for_data",
            Self::CandidatePodSilent => "candidate_pod_silent",
            Self::Bake => "bake",
            Self::CollectingEvidence => "collecting_evidence",
            Self::CollectingProbes => "collecting_probes",
        })
    }
}

/// What one look of a recording gets: `gate.verdict/v1`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VerdictLine {
    pub schema: &'static str,
    #[serde(serialize_with = "whole_if_whole")]
    pub at_s: f64,
    /// The look ended a block.
    pub committed: bool,
    pub verdict: Word,
    #[serde(serialize_with = "as_text")]
    pub reason: Reason,
    pub judged_on: JudgedOn,
    /// ln E
    pub log_e: f64,
    /// Weighted.
    pub log_e_parts: Parts,
    /// 1 − 1/max E
    pub confidence: f64,
    pub may_pass: bool,
    pub no_data: bool,
}

fn as_text<S: Serializer>(value: &Reason, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(value)
}

/// Seconds are mostly whole, and recordings write them so.
fn whole_if_whole<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    if value.fract() == 0.0 && value.abs() <= COUNT_MAX {
        to.serialize_i64(*value as i64)
    } else {
        to.serialize_f64(*value)
    }
}
