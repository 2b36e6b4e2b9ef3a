//! One simulated promotion whose schedule is fixed, judged as a recording is.

use super::dice::Dice;
use super::scenario::{HISTORY_S, Scenario};
use super::traffic::{Pod, Traffic, history_start};
use super::{Outcome, Question};
use crate::analysis::evidence::{Header, Line, Refused, StageTimes, Word};
use crate::analysis::replay::Replay;
use crate::analysis::{PerArm, ProbeCount};

/// The header that all replicates of a scenario share.
pub(super) fn header(scenario: &Scenario) -> Header {
    let stage = |(begin, share): (u32, f64)| StageTimes {
        at_s: Some(f64::from(begin)),
        share: Some(share),
        ..StageTimes::default()
    };
    let stages = scenario.schedule().into_iter().map(stage).collect();
    let bounds = scenario.buckets.bounds_ms();
    Header {
        horizon_s: Some(f64::from(scenario.horizon)),
        ..Header::new(bounds, f64::from(scenario.scrape), stages)
    }
}

/// # Errors
/// Conditions that can't be judged.
pub(super) fn run(question: &Question<'_>, dice: Dice) -> Result<Outcome, Refused> {
    let scenario = question.scenario;
    let header = header(scenario);
    let mut replay = Replay::new(question.policy, question.judge, &header)?;
    let schedule = scenario.schedule();
    let most = schedule.iter().map(|stage| scenario.candidate_pods(stage.1)).max().unwrap_or(0);
    let mut traffic = Traffic::new(scenario, &header.bounds_ms, most, history_start(), dice);
    let mut line = Line::default();
    let mut outcome = Outcome::default();
    for n in 0..(HISTORY_S + scenario.horizon) / scenario.scrape {
        let begin = history_start() + i64::from(n * scenario.scrape);
        for second in begin..begin + i64::from(scenario.scrape) {
            traffic.pass(share_at(&schedule, second).unwrap_or(0.0));
        }
        let share = share_at(&schedule, begin);
        let active = share.map_or(0, |share| scenario.candidate_pods(share));
        line.at_s = Some((begin + i64::from(scenario.scrape)) as f64);
        line.share = share.or(Some(0.0));
        read(&mut traffic, active, &mut line);
        let Some(said) = replay.look(&line) else { continue };
        match said.word() {
            Word::Breach => {
                outcome.breached_s = Some(said.at_s());
                break;
            }
            Word::Pass => outcome.passed_s = outcome.passed_s.or(Some(said.at_s())),
            Word::Unknown => {}
        }
    }
    outcome.bad_requests = traffic.excess;
    Ok(outcome)
}

fn share_at(schedule: &[(u32, f64)], second: i64) -> Option<f64> {
    schedule.iter().rfind(|stage| i64::from(stage.0) <= second).map(|stage| stage.1)
}

/// Writes what is seen of the pods into a line, of which the samples are used again.
fn read(traffic: &mut Traffic<'_>, active: usize, line: &mut Line) {
    let PerArm { baseline, candidate } = &mut traffic.pods;
    // A pod that serves nobody yet is not there.
    let candidate = &mut candidate[..active];
    line.expected =
        PerArm { baseline: Some(baseline.len() as u32), candidate: Some(candidate.len() as u32) };
    line.probes = PerArm { baseline: Some(probes(baseline)), candidate: Some(probes(candidate)) };
    let arms = [
        (baseline.as_mut_slice(), &mut line.samples.baseline),
        (candidate, &mut line.samples.candidate),
    ];
    for (pods, samples) in arms {
        for pod in pods {
            match (std::mem::take(&mut pod.fresh), samples.get_mut(&pod.name)) {
                (true, Some(Some(sample))) => sample.clone_from(&pod.counters),
                (true, Some(None) | None) => {
                    samples.insert(pod.name.clone(), Some(pod.counters.clone()));
                }
                (false, _) => {
                    samples.remove(&pod.name);
                }
            }
        }
    }
}

/// The probes of these pods since they were last asked for.
pub(super) fn probes(pods: &mut [Pod]) -> ProbeCount {
    let mut sum = ProbeCount::default();
    for pod in pods {
        let ProbeCount { failed, sent } = std::mem::take(&mut pod.probes);
        sum.failed += failed;
        sum.sent += sent;
    }
    sum
}
