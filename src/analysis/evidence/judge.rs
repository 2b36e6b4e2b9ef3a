//! Looks to blocks to verdicts, for one promotion.
//!
//! * **Grid**: block n ends at `anchor + n·block`. The anchor is the promotion's start, or the last
//!   change of stage or share: a change closes the open block, so no block mixes two shares, and
//!   a late look shifts nothing.
//! * The first look at or past a block's end *commits* it. Looks before are judged on a copy and leave
//!   no trace but the running maximum of E (the confidence) and a breach.
//! * Blocks without a look are committed empty: they age, grow stale, and owe their mass.
//! * Lines up to 0 s are history: the baseline learns from them, and nothing is said.
//! * A breach stays one: `may_pass` is a formula and may come back, the verdict does not.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::blocks::{BLOCK_TOLERANCE, Block, blocks_in};
use super::config::{
    ALPHA, BLOCK_S, HEALTH_MAX_S, HEALTH_S, MAX_GAP_S, MAX_INTERVAL_S, PHI_SECONDS, STAGES_MAX,
    STALE_S,
};
use super::counters::{Arm, LastSamples};
use super::limits::{Limits, Refused};
use super::numbers::log;
use super::onset::Onset;
use super::process::{Evidence, Judged};
use super::recording::{
    Header, Line, Reason, StageTimes, VERDICT_SCHEMA, VerdictLine, Word, believable,
};
use super::stream::Baseline;
use crate::analysis::{Cause, JudgedOn, PerArm};
use crate::policy::Condition;

/// The judge of one promotion. Plain data: it can be stored after any look, and restored bit for bit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judge {
    interval_s: f64,
    block_s: f64,
    stages: Vec<StageTimes>,
    pub(super) evidence: Evidence,
    pub(super) base: Baseline,
    samples: LastSamples,
    /// Looks that could not be used: repeated, out of order, or no look at all.
    dropped_lines: u64,
    last_at: Option<f64>,
    now: Option<Entered>,
    /// Stages with users that have been entered.
    entered: BTreeSet<usize>,
    /// When the grid's block 0 ends, in seconds.
    anchor: f64,
    /// Blocks of this grid that are committed; `None` before the first line.
    done: Option<i64>,
    pub(super) open: Block,
    expected: PerArm<u32>,
    /// Of the candidate, in a row since the stage began.
    pub(super) good_probes: u64,
    #[serde(with = "log")]
    pub(super) max_log_e: f64,
    /// ln E at the last look.
    #[serde(with = "log")]
    pub(super) log_e: f64,
    pub(super) breach: Option<Breach>,
}

/// Where the promotion is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Entered {
    stage: usize,
    share: f64,
}

/// The first breach: it stays the verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Breach {
    pub reason: Reason,
    pub causes: Vec<Cause>,
}

/// A look that was judged.
pub(super) struct Looked {
    pub at_s: f64,
    pub committed: bool,
    pub judged: Judged,
    /// The copy that a look inside a block was judged on.
    pub provisional: Option<Box<Evidence>>,
}

impl Judge {
    /// # Errors
    /// Conditions that can't be judged, or a header without what they need.
    pub fn new(policy: &[Condition], header: &Header) -> Result<Self, Refused> {
        header.check()?;
        let limits = Limits::read(policy)?;
        limits.check_bounds(&header.bounds_ms)?;
        let source = header.source_interval_s.unwrap_or(0.0);
        let block_s = BLOCK_S.max(header.interval_s).max(source);
        if block_s > MAX_INTERVAL_S {
            return Err(Refused::TooRare { seconds: block_s });
        }
        let bounds = if limits.want_latency() { header.bounds_ms.clone() } else { Vec::new() };
        let stages = header.stages();
        let with_users = stages.iter().filter(|stage| stage.share != Some(0.0)).count() as u64;
        let onset = Onset::new(blocks_in(header.horizon(), block_s, 1), with_users);
        let mut cells: Vec<u64> = PHI_SECONDS.iter().map(|s| blocks_in(*s, block_s, 1)).collect();
        cells.dedup();
        let stale = blocks_in(STALE_S, block_s, 2);
        let health = blocks_in(health_window_s(&limits, header.probe_interval_s), block_s, 1);
        let width = 2 + bounds.len();
        Ok(Self {
            interval_s: header.interval_s,
            block_s,
            stages,
            base: Baseline::new(bounds.len(), &cells, stale, onset.masses()),
            evidence: Evidence::new(limits, bounds, block_s, onset, (health, stale)),
            samples: LastSamples::new(2 + header.bounds_ms.len()),
            dropped_lines: 0,
            last_at: None,
            now: None,
            entered: BTreeSet::new(),
            anchor: 0.0,
            done: None,
            open: Block::new(width, 0.0, PerArm::default()),
            expected: PerArm::default(),
            good_probes: 0,
            max_log_e: f64::NEG_INFINITY,
            log_e: f64::NEG_INFINITY,
            breach: None,
        })
    }

    /// Judges one line of a recording; `None` for history, and for lines that can't be used.
    pub fn look(&mut self, line: &Line) -> Option<VerdictLine> {
        let looked = self.take(line)?;
        let mut verdict = self.verdict_line(&looked);
        if verdict.verdict == Word::Pass && line.healthy == Some(false) {
            (verdict.verdict, verdict.reason) = (Word::Unknown, Reason::CollectingProbes);
        }
        Some(verdict)
    }

    /// Lines and samples that could not be used.
    #[must_use]
    pub const fn dropped(&self) -> (u64, u64) {
        (self.dropped_lines, self.samples.bad)
    }

    pub(super) fn take(&mut self, line: &Line) -> Option<Looked> {
        let at =
            line.at_s.filter(|at| at.is_finite() && self.last_at.is_none_or(|last| *at > last));
        let Some(at) = at else {
            self.dropped_lines += 1;
            return None;
        };
        if self.done.is_none() {
            let before = ((at / self.block_s - BLOCK_TOLERANCE).ceil() as i64).saturating_sub(1);
            self.done = Some(if at <= 0.0 { before } else { 0 });
        }
        if at > 0.0 {
            self.place(line, at);
        }
        let ends = self.ended_by(at);
        self.close_until(ends.saturating_sub(1));
        self.read(line);
        self.last_at = Some(at);
        let committed = ends > self.done.unwrap_or(0);
        let (judged, provisional) =
            if committed { (self.close(), None) } else { self.judge_open() };
        judged.map(|judged| Looked { at_s: at, committed, judged, provisional })
    }

    /// Judges the open block on a copy, which leaves no trace.
    fn judge_open(&mut self) -> (Option<Judged>, Option<Box<Evidence>>) {
        if self.now.is_none() {
            return (None, None);
        }
        let mut copy = Box::new(self.evidence.clone());
        let judged = copy.judge(&self.open, &self.base, self.good_probes, false);
        self.note(&judged, Some(&copy));
        (Some(judged), Some(copy))
    }

    /// Blocks of this grid that have ended at this time.
    fn ended_by(&self, at: f64) -> i64 {
        ((at - self.anchor) / self.block_s + BLOCK_TOLERANCE).floor() as i64
    }

    /// Finds the line's stage and share. A change of either closes the open block and starts a new grid.
    fn place(&mut self, line: &Line, at: f64) {
        let begun = |times: &StageTimes| times.at_s.is_some_and(|begin| begin < at);
        let by_time = || self.stages.iter().rposition(begun).unwrap_or(0);
        let stage = line.stage.filter(|stage| *stage < STAGES_MAX).unwrap_or_else(by_time);
        let share = line.share.filter(|share| (0.0..=1.0).contains(share));
        self.samples.bad += u64::from(line.share.is_some() && share.is_none());
        let now = Entered {
            stage,
            share: share.unwrap_or_else(|| self.times(stage).share.unwrap_or(0.0)),
        };
        if self.now == Some(now) {
            return;
        }
        let start = match (self.now, self.last_at) {
            (Some(_), Some(last)) => (at - self.interval_s).max(last),
            _ => 0.0,
        };
        self.close_until(self.ended_by(start));
        if self.open.looks > 0 {
            self.close();
        }
        self.anchor = start;
        self.done = Some(0);
        self.enter(now);
    }

    fn times(&self, stage: usize) -> StageTimes {
        self.stages.get(stage).or(self.stages.last()).copied().unwrap_or_default()
    }

    fn enter(&mut self, now: Entered) {
        self.evidence.change_share();
        let has_users = now.share > 0.0;
        if self.now.map(|before| before.stage) != Some(now.stage) {
            let later = has_users && !self.entered.is_empty() && !self.entered.contains(&now.stage);
            self.evidence.enter_stage(self.times(now.stage).hold(), later);
            self.good_probes = 0;
        }
        if has_users {
            self.entered.insert(now.stage);
        }
        self.now = Some(now);
        self.open_block();
    }

    fn open_block(&mut self) {
        let share = self.now.map_or(0.0, |now| now.share);
        self.open = Block::new(2 + self.evidence.bounds.len(), share, self.expected);
    }

    fn read(&mut self, line: &Line) {
        self.open.looks += 1;
        for arm in [Arm::Baseline, Arm::Candidate] {
            if let Some(expected) = line.expected.of(arm) {
                *self.expected.of_mut(arm) = *expected;
            }
            let probes = line.probes.of(arm).filter(|probes| believable(*probes));
            self.samples.bad += u64::from(probes.is_none());
            let probes = probes.unwrap_or_default();
            self.open.add_probes(arm, probes);
            if arm == Arm::Candidate {
                let good = self.good_probes.saturating_add(probes.sent);
                self.good_probes = if probes.failed > 0 { 0 } else { good };
            }
            let increments = self.samples.increments(arm, line.samples.of(arm));
            self.open.add(arm, increments);
        }
        self.open.expected = self.expected;
    }

    /// Commits blocks that ended without a look.
    fn close_until(&mut self, end: i64) {
        if self.done.unwrap_or(0) < end {
            self.close();
        }
        let most = (MAX_GAP_S / self.block_s) as i64;
        let done = self.done.unwrap_or(0).max(end.saturating_sub(most));
        self.done = Some(done);
        for _ in done..end {
            self.close();
        }
    }

    /// Commits the open block, then learns from it: what is learned is always older than what is judged.
    fn close(&mut self) -> Option<Judged> {
        let judged = self
            .now
            .is_some()
            .then(|| self.evidence.judge(&self.open, &self.base, self.good_probes, true));
        if let Some(judged) = &judged {
            self.note(judged, None);
        }
        self.base.join(&self.open.seen.baseline);
        match &judged {
            Some(judged) if self.open.has_users() => {
                self.base.learn(&judged.window.by_pod, Some(&judged.tail));
            }
            // Users are on the baseline alone: as history.
            Some(_) | None => self.base.learn(&self.open.baseline, None),
        }
        if self.open.baseline_is_fresh() {
            for pod in self.base.mark_silent(&self.open.seen.baseline) {
                self.samples.forget_baseline(&pod);
            }
        }
        self.done = Some(self.done.unwrap_or(0).saturating_add(1));
        self.open_block();
        judged
    }

    /// Confidence and breach are kept from provisional looks too.
    fn note(&mut self, judged: &Judged, provisional: Option<&Evidence>) {
        self.log_e = judged.log_e;
        self.max_log_e = self.max_log_e.max(judged.log_e);
        if self.breach.is_none() && judged.log_e >= (1.0 / ALPHA).ln() {
            let evidence = provisional.unwrap_or(&self.evidence);
            let causes = evidence.causes(judged, self.confidence());
            self.breach = Some(Breach { reason: judged.reason, causes });
        }
    }

    pub(super) fn verdict_line(&self, looked: &Looked) -> VerdictLine {
        let Judged { log_e, parts, may_pass, no_data, reason, .. } = looked.judged;
        let verdict = match (&self.breach, may_pass) {
            (Some(_), _) => Word::Breach,
            (None, true) => Word::Pass,
            (None, false) => Word::Unknown,
        };
        VerdictLine {
            schema: VERDICT_SCHEMA,
            at_s: looked.at_s,
            committed: looked.committed,
            verdict,
            reason: self.breach.as_ref().map_or(reason, |breach| breach.reason),
            judged_on: self.judged_on(),
            log_e,
            log_e_parts: parts,
            confidence: self.confidence(),
            may_pass,
            no_data,
        }
    }

    pub(super) fn judged_on(&self) -> JudgedOn {
        let has_users = self.now.is_some_and(|now| now.share > 0.0);
        if has_users { JudgedOn::All } else { JudgedOn::Health }
    }
}

/// The health window: long enough to hold more failures than the limit allows, probed at this interval.
fn health_window_s(limits: &Limits, probe_interval_s: Option<f64>) -> f64 {
    match (limits.health, probe_interval_s) {
        (Some(limit), Some(interval)) => {
            HEALTH_S.max(2.0 * (f64::from(limit) + 1.0) * interval).min(HEALTH_MAX_S)
        }
        (_, None) | (None, _) => HEALTH_S,
    }
}
