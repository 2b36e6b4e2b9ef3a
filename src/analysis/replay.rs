//! Either judge over a recording: lines go in, `gate.verdict/v1` comes out, and at the end what
//! would have become of the promotion.
//!
//! The schedule is the recording's own: what a verdict would have changed can't be replayed. So a
//! breach after every stage has passed is still told, as what a longer bake would have found.
//!
//! The threshold judge knows neither blocks nor bets: its lines have no `log_e` and no confidence, every
//! look is committed, and a pass waits for the stage's hold as it does live.

use serde::Serialize;

use super::Cause;
use super::evidence::config::STAGES_MAX;
use super::evidence::{self, Header, Line, Refused, StageTimes, VerdictLine, Word};
use crate::policy::{JudgeKind, Policy};

mod thresholds;

pub use thresholds::ThresholdLine;

use thresholds::Thresholds;

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
