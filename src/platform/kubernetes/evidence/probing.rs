//! Health checks of every pod of both revisions, asked in the background as long as gate looks.
//!
//! What is counted is what [`Health`] counts: nothing before the first good answer of a pod, which is
//! the deadline's business. Pods that were ready before gate came are taken at Kubernetes' word.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::place::{NoPlace, Place};
use super::proxied::{self, Answer, Silence};
use super::rounds::Asked;
use crate::analysis::{PerArm, ProbeCount};
use crate::evidence::probe::{Failure, Health, Http, Kind, Probes, Role};
use crate::evidence::prometheus::expression::Arm;
use crate::platform::kubernetes::access::Access;
use crate::policy::HealthCheck;

/// Probes without which nothing passes, or the threshold if that is more (rules of the judge, C6).
const PROBES_MIN: u64 = 4;
/// How much of a body is searched, in bytes: as much as of a process on this host.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// One question, as a policy's health check means it.
#[derive(Clone, Debug)]
pub(super) struct Question {
    http: Http,
    limit: Duration,
    threshold: u32,
    probes: Probes,
}

impl Question {
    pub(super) fn new(check: &HealthCheck) -> Option<Self> {
        // Kubernetes' own startup and readiness come before the first question.
        let probes = Probes { startup: None, ..Probes::from_health_check(check) };
        let readiness = probes.readiness.as_ref()?;
        let Kind::Http(http) = readiness.kind.clone() else { return None };
        let (limit, threshold) = (readiness.timeout, readiness.failure_threshold);
        Some(Self { http, limit, threshold, probes })
    }

    /// Asks one pod.
    pub(super) async fn ask(&self, access: &Access, place: &Place) -> Told {
        let answer = proxied::get(access, place, (self.limit, BODY_BYTES_MAX), "*/*").await;
        match answer {
            Ok(answer) => Told::Answer(self.judged(&answer)),
            Err(Silence::Pods(what)) => Told::Answer(Err(Failure::Broken { what })),
            Err(Silence::Servers(what)) => Told::Nothing(format!("{place}: {what}")),
        }
    }

    fn judged(&self, answer: &Answer) -> Result<(), Failure> {
        let (code, expected) = (answer.status.as_u16(), &self.http.expect_status);
        if !expected.contains(&code) {
            return Err(Failure::Status { code, expected: expected.clone() });
        }
        match &self.http.body_match {
            Some(wanted) if !String::from_utf8_lossy(&answer.body).contains(wanted) => {
                Err(Failure::Body { wanted: wanted.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// What one question brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Answer(Result<(), Failure>),
    /// It could not be asked: why. That says nothing of the pod.
    Nothing(String),
}

/// The health of every pod. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Healths {
    question: Question,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    pods: BTreeMap<String, Health>,
    /// Since the look before.
    counted: PerArm<ProbeCount>,
    /// What was there at first is known.
    begun: bool,
    /// Why the newest question could not be asked.
    trouble: Option<String>,
}

/// A pod as the snapshot has it.
pub(super) struct Seen {
    pub(super) arm: Arm,
    pub(super) pod: String,
    pub(super) ready: bool,
    pub(super) place: Result<Place, NoPlace>,
}

impl Healths {
    pub(super) fn new(question: Question) -> Self {
        Self { question, known: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes which pods are there, and returns those that can be asked: from the moment at which
    /// their containers were ready for the first time.
    pub(super) fn keep(&self, there: Vec<Seen>) -> Vec<Asked> {
        let mut known = self.lock();
        let known = &mut *known;
        known.pods.retain(|name, _| there.iter().any(|seen| seen.pod == *name));
        for seen in there.iter().filter(|seen| seen.ready) {
            if !known.pods.contains_key(&seen.pod) {
                let probes = self.question.probes.clone();
                let health =
                    if known.begun { Health::new(probes) } else { Health::adopted(probes) };
                known.pods.insert(seen.pod.clone(), health);
            }
        }
        known.begun = true;
        let mut asked = Vec::new();
        for seen in there.into_iter().filter(|seen| known.pods.contains_key(&seen.pod)) {
            match seen.place {
                Ok(place) => asked.push(Asked { arm: seen.arm, place }),
                Err(why) => known.trouble = Some(why.to_string()),
            }
        }
        asked
    }

    pub(super) fn take_in(&self, asked: &Asked, told: Told) {
        let mut known = self.lock();
        let answer = match told {
            Told::Answer(answer) => answer,
            Told::Nothing(why) => return known.trouble = Some(why),
        };
        known.trouble = None;
        let Some(health) = known.pods.get_mut(&asked.place.pod) else { return };
        let before = health.counts();
        health.saw(Role::Readiness, &answer);
        let after = health.counts();
        let counted = match asked.arm {
            Arm::Baseline => &mut known.counted.baseline,
            Arm::Candidate => &mut known.counted.candidate,
        };
        counted.sent += after.sent - before.sent;
        counted.failed += after.failed - before.failed;
    }

    /// Returns the probes since the call before.
    pub(super) fn drain(&self) -> PerArm<ProbeCount> {
        std::mem::take(&mut self.lock().counted)
    }

    /// Returns whether enough of a pod's last probes are good.
    pub(super) fn is_healthy(&self, pod: &str) -> bool {
        let threshold = self.question.threshold;
        self.lock().pods.get(pod).is_some_and(|health| {
            health.in_traffic()
                && health.counts().sent >= PROBES_MIN.max(u64::from(threshold))
                && health.good_in_a_row() >= threshold
        })
    }

    /// Returns why pods are not healthy, or can't be asked, in words.
    pub(super) fn troubles(&self) -> Vec<String> {
        let known = self.lock();
        let pods = known.pods.iter();
        let own =
            pods.filter_map(|(pod, health)| Some(format!("pod {pod} is {}", health.trouble()?)));
        own.chain(known.trouble.clone()).collect()
    }
}
