//! `gate explain`: one decision in plain words, with its numbers. Read from the journal, whose looks are
//! judged again: what is said here is what the judge knew then.

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;

use super::error::Error;
use super::exit::Exit;
use super::output::{Printer, explain as shown};
use super::past::{Past, recorded};
use super::target::Target;
use crate::analysis::{Cause, Judge, Judgement, Look, Verdict, evidence};
use crate::cluster::ledger::Ledger;
use crate::history::{Folded, Record};
use crate::rollout::{Outcome, ResultWord};
use crate::share::Share;

pub(crate) const EXPLANATION_SCHEMA: &str = "gate.explanation/v1";

/// Confidence from which on something is suspected: E ≥ 5, from which on no stage passes.
const SUSPICION: f64 = 1.0 - 1.0 / evidence::config::WATCH;

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// What was released: deployment/NAME, local/NAME or an app file [default: the only app that is known here]
    target: Option<Target>,
    /// The promotion: its id, or how it begins [default: the newest]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
}

impl ExplainArgs {
    pub(crate) const fn target(&mut self) -> Option<&mut Target> {
        self.target.as_mut()
    }
}

/// Why a promotion is where it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Explanation {
    pub(crate) schema: &'static str,
    pub(crate) id: String,
    pub(crate) target: String,
    pub(crate) release: String,
    /// Absent while it has not ended.
    pub(crate) result: Option<ResultWord>,
    pub(crate) reason: Option<String>,
    pub(crate) causes: Vec<Cause>,
    /// Why the newest verdict is unknown.
    pub(crate) unknown: Vec<String>,
    pub(crate) confidence: Option<f64>,
    pub(crate) suspected_at: Option<DateTime<Utc>>,
    pub(crate) breached_at: Option<DateTime<Utc>>,
    pub(crate) stages: Vec<StageExplained>,
    /// What the present stage still needs; absent after a breach or an end.
    pub(crate) still: Option<Still>,
}

/// What was seen in one stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct StageExplained {
    /// From 1.
    pub(crate) stage: usize,
    #[serde(rename = "stage_share")]
    pub(crate) share: Share,
    pub(crate) looks: u64,
    /// Of the candidate, in this stage.
    pub(crate) requests: u64,
    pub(crate) errors: Option<u64>,
    /// Error rates above this are ruled out at 95 %.
    pub(crate) ruled_out_above_share: Option<f64>,
    pub(crate) verdict: crate::analysis::VerdictWord,
}

/// Until the stage can pass, if it goes on as it does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Still {
    pub(crate) bake_s: f64,
    /// Of the candidate; absent: its limits won't be proven at its present rates.
    pub(crate) requests: Option<u64>,
    /// The candidate's present traffic.
    pub(crate) requests_per_s: Option<f64>,
    pub(crate) needs_s: Option<f64>,
}

pub(crate) async fn explain(printer: &Printer, args: ExplainArgs) -> Result<Exit, Error> {
    let (target, id) = (args.target.as_ref(), args.id.as_deref());
    let explanation = match Past::newest(printer, target, id).await {
        Ok(past) => of(&past)?,
        Err(error) => match of_record(target, id).await? {
            Some(explanation) => explanation,
            None => return Err(error),
        },
    };
    if printer.is_json() {
        printer.object(&explanation);
    } else {
        printer.answer(&shown::render(&explanation));
    }
    Ok(Exit::Done)
}

/// What a cluster's record says where another machine has the story: the newest look, and its verdict.
async fn of_record(
    target: Option<&Target>,
    id: Option<&str>,
) -> Result<Option<Explanation>, Error> {
    let Some(cluster) = target.and_then(Target::cluster) else { return Ok(None) };
    let ledger = recorded(&cluster).await?;
    let meant = |ledger: &Ledger| id.is_none_or(|id| ledger.folded.id.starts_with(id));
    let Some(ledger) = ledger.filter(meant) else { return Ok(None) };
    let Folded { id, plan, judge, newest, outcome, .. } = ledger.folded;
    let past = Past { id, plan, records: Vec::new() };
    let mut walk = Walk { judge, told: empty(&past), explained: None, last: None, rate: None };
    if let Some((look, judgement)) = newest {
        walk.judged(ledger.heartbeat, &look, &judgement);
    }
    outcome.iter().for_each(|outcome| walk.finish(outcome));
    Ok(Some(walk.end()))
}

fn of(past: &Past) -> Result<Explanation, Error> {
    let plan = &past.plan;
    let judge = Judge::new(plan)
        .map_err(|refused| Error::internal("the plan can't be judged again").caused_by(refused))?;
    let mut walk = Walk { judge, told: empty(past), explained: None, last: None, rate: None };
    for (at, record) in &past.records {
        match record {
            Record::Observed { look, judgement } => walk.look(*at, look, judgement),
            Record::Learned { looks } => looks.iter().for_each(|look| walk.judge.teach(look)),
            Record::Finished { outcome } => walk.finish(outcome),
            Record::Started { .. }
            | Record::Decided { .. }
            | Record::Done { .. }
            | Record::Happened { .. }
            | Record::Asked { .. } => {}
        }
    }
    Ok(walk.end())
}

fn empty(past: &Past) -> Explanation {
    Explanation {
        schema: EXPLANATION_SCHEMA,
        id: past.id.clone(),
        target: past.plan.target.clone(),
        release: past.plan.release.name.clone(),
        result: None,
        reason: None,
        causes: Vec::new(),
        unknown: Vec::new(),
        confidence: None,
        suspected_at: None,
        breached_at: None,
        stages: Vec::new(),
        still: None,
    }
}

/// Through the looks, one after the other.
struct Walk {
    judge: Judge,
    told: Explanation,
    explained: Option<evidence::Explained>,
    /// Stage, time and candidate requests of the last look.
    last: Option<(usize, f64, f64)>,
    /// The candidate's requests per second between the last two looks.
    rate: Option<f64>,
}

impl Walk {
    fn look(&mut self, at: DateTime<Utc>, look: &Look, judgement: &Judgement) {
        self.judge.judge(look);
        self.judged(at, look, judgement);
    }

    /// Takes in what the judge has just said.
    fn judged(&mut self, at: DateTime<Utc>, look: &Look, judgement: &Judgement) {
        self.explained = match &self.judge {
            Judge::Evidence(judge) => Some(judge.explain()),
            Judge::Threshold(_) => None,
        };
        self.measure(look);
        let told = &mut self.told;
        told.confidence = judgement.confidence;
        if judgement.confidence.is_some_and(|sure| sure >= SUSPICION) {
            told.suspected_at.get_or_insert(at);
        }
        told.unknown.clear();
        match &judgement.verdict {
            Verdict::Pass => {}
            Verdict::Breach { causes } => {
                told.causes.clone_from(causes);
                told.breached_at.get_or_insert(at);
            }
            Verdict::Unknown { why } => {
                told.unknown = why.iter().map(ToString::to_string).collect()
            }
        }
        self.note_stage(look, judgement);
    }

    fn note_stage(&mut self, look: &Look, judgement: &Judgement) {
        let stages = &mut self.told.stages;
        if stages.last().is_none_or(|stage| stage.stage != look.stage + 1) {
            stages.push(StageExplained {
                stage: look.stage + 1,
                share: look.share,
                looks: 0,
                requests: 0,
                errors: None,
                ruled_out_above_share: None,
                verdict: judgement.verdict.word(),
            });
        }
        let Some(stage) = stages.last_mut() else { return };
        stage.share = look.share;
        stage.looks += 1;
        stage.requests = judgement.stage_requests;
        stage.verdict = judgement.verdict.word();
        if let Some(explained) = &self.explained {
            stage.errors = Some(explained.errors as u64);
            stage.ruled_out_above_share = explained.ruled_out_above;
        }
    }

    fn measure(&mut self, look: &Look) {
        let requests = look.candidate.values().filter_map(|c| c.0.first()).sum::<f64>();
        if let Some((stage, at_s, before)) = self.last
            && stage == look.stage
            && look.at_s > at_s
            && requests >= before
        {
            self.rate = Some((requests - before) / (look.at_s - at_s));
        }
        self.last = Some((look.stage, look.at_s, requests));
    }

    fn finish(&mut self, outcome: &Outcome) {
        self.told.result = Some(outcome.result);
        self.told.reason = Some(outcome.reason.clone());
        if self.told.causes.is_empty() {
            self.told.causes.clone_from(&outcome.causes);
        }
    }

    fn end(mut self) -> Explanation {
        if self.told.result.is_none() && self.told.breached_at.is_none() {
            self.told.still = self.explained.map(|explained| self.still(&explained));
        }
        self.told
    }

    fn still(&self, explained: &evidence::Explained) -> Still {
        let (bake_s, requests) = (explained.bake_left_s, explained.requests_left);
        let needs_s = match (requests, self.rate) {
            (Some(0.0), _) => Some(bake_s),
            (Some(requests), Some(rate)) if rate > 0.0 => Some((requests / rate).max(bake_s)),
            _ => None,
        };
        let requests = requests.map(|requests| requests.ceil() as u64);
        Still { bake_s, requests, requests_per_s: self.rate, needs_s }
    }
}
