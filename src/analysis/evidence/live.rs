//! The judge of a running promotion: a [`Look`] goes in, a [`Judgement`] comes out.
//!
//! The same path as a recording's lines, and three things more: every condition gets a reading, a
//! reason becomes a verdict with its causes, and a pass also needs every candidate instance to be
//! healthy *now* (`candidate_healthy`), which recordings don't know.

use super::config;
use super::judge::{Judge, Looked};
use super::recording::{Line, Reason};
use crate::analysis::{JudgedOn, Judgement, Look, Unknown, Verdict};

impl Judge {
    /// Judges one look.
    ///
    /// A look that is not newer than the last one, or lies before the promotion's start, proves
    /// nothing: its verdict is `Unknown`, or the breach that was found before.
    pub fn judge_live(&mut self, look: &Look) -> Judgement {
        let looked = self.take(&Line::from(look));
        let verdict = match (&self.breach, &looked) {
            (Some(breach), _) => Verdict::Breach { causes: breach.causes.clone() },
            (None, Some(looked)) => self.verdict(look, looked),
            (None, None) if look.at_s <= 0.0 => Verdict::Unknown { why: vec![Unknown::Collecting] },
            (None, None) => Verdict::Unknown { why: why(look, Some(word("look_out_of_order"))) },
        };
        let evidence = looked.as_ref().and_then(|l| l.provisional.as_deref());
        Judgement {
            verdict,
            readings: evidence.unwrap_or(&self.evidence).readings(),
            confidence: Some(self.confidence()),
            judged_on: self.judged_on(),
            healthy: looked.as_ref().is_some_and(|looked| self.is_healthy(look, looked)),
            stage_requests: self.evidence.pass.seen().all as u64,
        }
    }

    /// The rule of share 0, also where there are users: good probes in a row, and no suspicion.
    fn is_healthy(&self, look: &Look, looked: &Looked) -> bool {
        let calm = looked.judged.log_e < config::WATCH.ln();
        let needed = config::GOOD_PROBES * u64::from(look.expected.candidate);
        calm && look.candidate_healthy && self.good_probes >= needed
    }

    fn verdict(&self, look: &Look, looked: &Looked) -> Verdict {
        let reason = match looked.judged.reason {
            Reason::Passed if look.candidate_healthy => return Verdict::Pass,
            Reason::Passed => Unknown::CollectingProbes,
            // A breach is kept when it is found, so it does not get here.
            Reason::Breach(part) => word(part.word()),
            Reason::NoData => Unknown::NoData { arm: silent_arm(look).to_owned() },
            Reason::SharedIncident => self.shared_incident(looked),
            Reason::CollectingEvidence => self.collecting(),
            Reason::CollectingProbes => Unknown::CollectingProbes,
            Reason::Suspicion
            | Reason::WaitingForData
            | Reason::CandidatePodSilent
            | Reason::Bake => word(&looked.judged.reason.to_string()),
        };
        Verdict::Unknown { why: why(look, Some(reason)) }
    }

    fn shared_incident(&self, looked: &Looked) -> Unknown {
        let stated = looked.judged.excused.and_then(|part| self.evidence.limits.stated_for(part));
        let condition = stated.map_or_else(|| "health_check".to_owned(), |s| s.text.clone());
        Unknown::SharedIncident { condition }
    }

    fn collecting(&self) -> Unknown {
        let seen = self.evidence.pass.seen().all as u64;
        match self.evidence.pass.requests_needed(self.errors_phi()) {
            Some(needed) if seen < needed => Unknown::TooFewRequests { seen, needed },
            Some(_) | None if seen == 0 && self.judged_on() == JudgedOn::All => {
                Unknown::NoData { arm: "candidate".to_owned() }
            }
            Some(_) | None => Unknown::Collecting,
        }
    }
}

/// Why the source could not be asked comes first: it explains the rest.
fn why(look: &Look, reason: Option<Unknown>) -> Vec<Unknown> {
    look.missing.iter().cloned().chain(reason).collect()
}

fn word(word: &str) -> Unknown {
    Unknown::Judge { word: word.to_owned() }
}

fn silent_arm(look: &Look) -> &'static str {
    let candidate_reports =
        look.candidate.len() as u64 >= u64::from(look.expected.candidate).max(1);
    if candidate_reports { "baseline" } else { "candidate" }
}
