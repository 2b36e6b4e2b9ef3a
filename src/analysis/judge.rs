//! Either judge, behind one seam.

use serde::{Deserialize, Serialize};

use super::{Judgement, Look, evidence, threshold};
use crate::plan::Plan;
use crate::policy::JudgeKind;

/// A judge of either kind, as plain data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judge {
    Threshold(Box<threshold::Judge>),
    Evidence(Box<evidence::Judge>),
}

impl Judge {
    /// # Errors
    /// Conditions that this judge can't judge, or not with the plan's bounds.
    pub fn new(plan: &Plan) -> Result<Self, evidence::Refused> {
        match plan.judge.kind {
            JudgeKind::Threshold => Ok(Self::Threshold(Box::new(threshold::Judge::new(plan)))),
            JudgeKind::Evidence => {
                let header = evidence::Header::of_plan(plan);
                evidence::Judge::new(&plan.conditions, &header).map(Box::new).map(Self::Evidence)
            }
        }
    }

    /// Returns whether the baseline's history teaches it anything: a window knows no past.
    #[must_use]
    pub const fn learns(&self) -> bool {
        match self {
            Self::Threshold(_) => false,
            Self::Evidence(_) => true,
        }
    }

    /// Takes in a look at the time before the promotion; `at_s` is not above 0.
    pub fn teach(&mut self, look: &Look) {
        match self {
            Self::Threshold(_) => {}
            Self::Evidence(judge) => {
                judge.judge_live(look);
            }
        }
    }

    /// Judges one look.
    pub fn judge(&mut self, look: &Look) -> Judgement {
        match self {
            Self::Threshold(judge) => judge.judge(look),
            Self::Evidence(judge) => judge.judge_live(look),
        }
    }
}
