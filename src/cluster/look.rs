//! Everything that can be known of a promotion before it begins. Nothing is changed.

use super::admission::{self, Considered};
use super::measure::{measure, traffic};
use super::read;
use super::requests::{Cluster, Stopped};
use crate::evidence::prometheus::Traffic;
use crate::host::protocol::{Answer, Promote};
use crate::plan::Plan;
use crate::platform::kubernetes::Access;
use crate::platform::kubernetes::permissions::{needed, role};
use crate::platform::kubernetes::preflight::{self, Finding, Level};
use crate::rollout::ResultWord;
use crate::share::Share;

/// What was found.
#[derive(Clone, Debug)]
pub struct Looked {
    pub plan: Plan,
    /// Worst first.
    pub findings: Vec<Finding>,
    /// The Role that a promotion needs, for `kubectl apply -f`.
    pub role: String,
    /// By stage.
    pub reach: Vec<Reach>,
    /// As a metrics server counts it; `None`: nobody does.
    pub traffic: Option<Traffic>,
}

/// What a stage's share is with whole pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    pub asked: Share,
    /// Copies of the candidate beside those of stable.
    pub candidate: u32,
    pub stable: u32,
    /// The share that is seen in the end.
    pub seen: Share,
}

impl Cluster {
    /// Looks at everything: objects, permissions, the source of evidence.
    ///
    /// # Errors
    /// It makes no sense, nothing can move the traffic, or the cluster can't be read. As it is
    /// answered to requests.
    pub async fn look(&self, promote: &Promote) -> Result<Looked, Box<Answer>> {
        self.looked(promote).await.map_err(|stopped| Box::new(stopped.into_answer()))
    }

    async fn looked(&self, promote: &Promote) -> Result<Looked, Stopped> {
        let access = Access::new(self.place()).await?;
        let mut asked = admission::considered(&access, self.name(), promote).await?;
        let mut findings = preflight::findings(&access, &asked.question()).await;
        match read::read(&access, self.name()).await {
            Ok(ledger) => {
                findings.extend(asked.refused(ledger.as_ref()).and_then(finding));
                let runs = ledger.filter(|ledger| ledger.runs());
                findings.extend(runs.map(|ledger| Finding {
                    level: Level::Refuse,
                    check: "running",
                    what: format!("promotion {} runs", ledger.folded.id),
                    remedy: Some(format!("gate status {}", self.target())),
                }));
            }
            Err(error) => findings.push(Finding {
                level: Level::Refuse,
                check: "record",
                what: error.to_string(),
                remedy: None,
            }),
        }
        let (seen, plan) = (&asked.seen, &mut asked.plan);
        let traffic = match measure(&access, seen, plan).await {
            Ok(()) => traffic(&access, seen, plan).await,
            Err(stopped) => {
                findings.push(unmeasured(stopped)?);
                None
            }
        };
        findings.sort_by_key(|finding| finding.level);
        let scope = asked.question().scope();
        let role = role(self.name(), &access.namespace, &needed(&scope));
        let reach = reach(&asked);
        Ok(Looked { plan: asked.plan, findings, role, reach, traffic })
    }
}

/// What would be answered to a promotion, as a finding.
fn finding(stopped: Stopped) -> Option<Finding> {
    let Stopped::Result(line) = stopped else { return None };
    let level = match line.outcome.result {
        ResultWord::Unchanged => Level::Note,
        ResultWord::Promoted
        | ResultWord::RolledBack
        | ResultWord::Aborted
        | ResultWord::Superseded
        | ResultWord::Inconclusive
        | ResultWord::Error
        | ResultWord::Refused => Level::Refuse,
    };
    let what = line.outcome.reason.clone();
    Some(Finding { level, check: "release", what, remedy: line.next })
}

fn unmeasured(stopped: Stopped) -> Result<Finding, Stopped> {
    match stopped {
        Stopped::Error { exit_code: 7, message, hint } => {
            Ok(Finding { level: Level::Refuse, check: "evidence", what: message, remedy: hint })
        }
        stopped @ (Stopped::Error { .. } | Stopped::Result(_)) => Err(stopped),
    }
}

/// By Services the share is that of the pods; by routes, and at both ends, it is exact.
fn reach(asked: &Considered) -> Vec<Reach> {
    let stable = asked.copies();
    let by_pods = asked.router.plan().routes.is_empty();
    let stages = asked.plan.stages.iter().map(|stage| {
        let candidate = asked.router.copies(stage.share, stable);
        let exact = !by_pods || stage.share.is_zero() || stage.share.is_full();
        let all = f64::from(candidate + stable).max(1.0);
        let part = Share::from_fraction(f64::from(candidate) / all);
        let seen = if exact { stage.share } else { part.unwrap_or(stage.share) };
        Reach { asked: stage.share, candidate, stable, seen }
    });
    stages.collect()
}
