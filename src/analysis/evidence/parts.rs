//! The parts that the evidence is made of, and how they become one number.
//!
//! `E = Σ v_m·E_m` over the parts that the policy has conditions for, with weights v that add up to 1:
//! valid under any dependence between the parts, and never worse than Bonferroni. A part whose
//! guard does not hold (the limit is not really exceeded, or not by the candidate alone) contributes
//! at most 1. Two bad metrics never average out: E is a sum.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config;
use super::numbers::{log_sum, sum};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    ErrRel,
    LatRel,
    ErrAbs,
    LatAbs,
    Disaster,
    Share,
    Health,
}

impl Part {
    pub const ALL: [Self; 7] = [
        Self::ErrRel,
        Self::LatRel,
        Self::ErrAbs,
        Self::LatAbs,
        Self::Disaster,
        Self::Share,
        Self::Health,
    ];

    /// The word of recordings and verdicts.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::ErrRel => "err_rel",
            Self::LatRel => "lat_rel",
            Self::ErrAbs => "err_abs",
            Self::LatAbs => "lat_abs",
            Self::Disaster => "disaster",
            Self::Share => "share",
            Self::Health => "health",
        }
    }

    /// Its share of α if a policy has every part.
    const fn weight(self) -> f64 {
        match self {
            Self::ErrRel => config::W_ERR_REL,
            Self::LatRel => config::W_LAT_REL,
            Self::ErrAbs => config::W_ERR_ABS,
            Self::LatAbs => config::W_LAT_ABS,
            Self::Disaster => config::W_DISASTER,
            Self::Share => config::W_SHARE,
            Self::Health => config::W_HEALTH,
        }
    }
}

/// One number for each part that the policy has, in the order of [`Part::ALL`]. In JSON an object with
/// every part, `null` for those that the policy hasn't.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<Part, Option<f64>>", into = "BTreeMap<Part, Option<f64>>")]
pub struct Parts([Option<f64>; 7]);

impl Parts {
    /// The shares of α of these parts, normalised to 1.
    pub fn weights(of: &[Part]) -> Self {
        let total = sum(of.iter().map(|part| part.weight()));
        Self(Part::ALL.map(|part| of.contains(&part).then(|| part.weight() / total)))
    }

    #[must_use]
    pub const fn get(&self, part: Part) -> Option<f64> {
        self.0[part as usize]
    }

    /// Replaces each present number.
    pub fn map(&self, f: impl Fn(Part, f64) -> f64) -> Self {
        Self(Part::ALL.map(|part| self.get(part).map(|value| f(part, value))))
    }

    pub fn log_sum(&self) -> f64 {
        log_sum(&self.0.iter().copied().flatten().collect::<Vec<f64>>())
    }

    /// The part with the largest number; of several the first.
    pub fn largest(&self) -> Part {
        let mut best = Part::ErrRel;
        for part in Part::ALL {
            if self.get(part) > self.get(best) {
                best = part;
            }
        }
        best
    }
}

impl From<Parts> for BTreeMap<Part, Option<f64>> {
    fn from(parts: Parts) -> Self {
        Part::ALL.into_iter().map(|part| (part, parts.get(part))).collect()
    }
}

impl From<BTreeMap<Part, Option<f64>>> for Parts {
    fn from(parts: BTreeMap<Part, Option<f64>>) -> Self {
        Self(Part::ALL.map(|part| parts.get(&part).copied().flatten()))
    }
}
