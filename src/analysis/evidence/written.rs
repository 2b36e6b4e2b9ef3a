//! Looks as the lines of a recording, so that they are judged again to the bit.
//!
//! Beyond the published keys a line may carry `healthy`: whether every candidate instance was ready and
//! its last probes good at that look. Only a live look knows; where it is `false`, nothing passes.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Number, Value};

use super::config::COUNT_MAX;
use super::recording::{Line, Sample};
use crate::analysis::{PerArm, ProbeCount};

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut line = to.serialize_map(None)?;
        line.serialize_entry("at_s", &self.at_s.and_then(number))?;
        if let Some(stage) = self.stage {
            line.serialize_entry("stage", &stage)?;
        }
        line.serialize_entry("baseline", &samples(&self.samples.baseline))?;
        line.serialize_entry("candidate", &samples(&self.samples.candidate))?;
        if let PerArm { baseline: Some(baseline), candidate: Some(candidate) } = self.expected {
            line.serialize_entry("expected", &PerArm { baseline, candidate })?;
        }
        let pair = |probes: Option<ProbeCount>| probes.map(|probes| [probes.failed, probes.sent]);
        let probes =
            PerArm { baseline: pair(self.probes.baseline), candidate: pair(self.probes.candidate) };
        line.serialize_entry("probes", &probes)?;
        if let Some(share) = self.share {
            line.serialize_entry("share", &number(share))?;
        }
        if let Some(healthy) = self.healthy {
            line.serialize_entry("healthy", &healthy)?;
        }
        line.end()
    }
}

fn samples(pods: &std::collections::BTreeMap<String, Sample>) -> serde_json::Map<String, Value> {
    let sample = |sample: &Sample| match sample {
        Some(values) => Value::Array(
            values.iter().map(|v| number(*v).map_or(Value::Null, Value::Number)).collect(),
        ),
        None => Value::Null,
    };
    pods.iter().map(|(pod, values)| (pod.clone(), sample(values))).collect()
}

/// Counters are mostly whole, and recordings write them so; what is no number is `null`.
fn number(value: f64) -> Option<Number> {
    match value.fract() == 0.0 && value.abs() <= COUNT_MAX {
        true => Some(Number::from(value as i64)),
        false => Number::from_f64(value),
    }
}
