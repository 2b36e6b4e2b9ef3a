//! Can this source be judged with? Asked before anything is begun, and written into the plan.

use std::time::Duration;

use super::before::{HISTORY, Unfit};
use super::expression::Arms;
use super::reader::{Reader, Settings};
use super::source::Source;
use crate::analysis::{Answer, Look, Unknown};
use crate::plan::JudgePlan;
use crate::policy::Condition;

/// Scrapes come a little late or early: by less than this.
const JITTER: Duration = Duration::from_millis(100);

/// Between two looks at the traffic of the last hours.
const TRAFFIC_STEP: Duration = Duration::from_secs(60);

/// What a plan needs to know of a source that can be judged with.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitness {
    /// Between two scrapes, in whole seconds: what is left of one is rounded up.
    pub interval: Duration,
    /// Upper bounds of the latency classes, in milliseconds; none where no condition is on response times.
    pub bounds_ms: Vec<f64>,
    /// What people should know, but is no reason not to begin.
    pub notes: Vec<String>,
}

/// The baseline's traffic of the last hours.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    /// Requests per second.
    pub rps: f64,
    /// 0–1; absent without requests.
    pub error_rate: Option<f64>,
    /// How much of the past is known.
    pub seconds: f64,
}

impl Fitness {
    /// Writes it into a plan.
    pub fn complete(self, judge: &mut JudgePlan) {
        judge.pace(self.interval);
        judge.bounds_ms = self.bounds_ms;
    }
}

impl Source {
    /// Returns what is known of a source with which the baseline of `arms` can be judged: its interval is
    /// short enough, its series are fresh, each named query gives one number.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub async fn fitness(&self, arms: &Arms, conditions: &[Condition]) -> Result<Fitness, Unfit> {
        let interval = whole(self.interval(arms).await?);
        let limits = limits_ms(conditions);
        let bounds_ms = match has_latency(conditions) {
            true => self.bounds(arms, &limits).await?,
            false => Vec::new(),
        };
        let settings = Settings {
            patience: self.timeout,
            ..Settings::new(bounds_ms.clone(), Duration::ZERO, interval)
        };
        let seen = Reader::new(self.clone(), settings).look(arms).await;
        if let Some(why) = seen.missing {
            return Err(Unfit::Unknown(why));
        }
        let mut notes = Vec::new();
        for (name, answer) in &seen.queries {
            match answer {
                Answer::Value(_) => {}
                // It may be of the candidate alone.
                Answer::Unknown(Unknown::NoData { .. }) => {
                    notes.push(format!("the query {name} has no data yet"));
                }
                Answer::Unknown(why) => return Err(Unfit::Unknown(why.clone())),
            }
        }
        Ok(Fitness { interval, bounds_ms, notes })
    }

    /// Returns the traffic of the baseline of `arms` in the last two hours.
    ///
    /// # Errors
    /// See [`Unfit`].
    pub async fn traffic(&self, arms: &Arms) -> Result<Traffic, Unfit> {
        let looks = self.history(arms, &[], HISTORY, TRAFFIC_STEP).await?;
        let seconds = match (looks.first(), looks.last()) {
            (Some(first), Some(last)) => last.at_s - first.at_s,
            (None, _) | (_, None) => 0.0,
        };
        if seconds <= 0.0 {
            return Err(Unfit::NoSeries { of: self.preset.requests.to_owned() });
        }
        let [requests, errors] = counted(&looks);
        let error_rate = (requests > 0.0).then(|| (errors / requests).clamp(0.0, 1.0));
        Ok(Traffic { rps: requests / seconds, error_rate, seconds })
    }
}

/// Sums what was added from look to look: requests, errors. A counter that is lower than before has begun anew.
fn counted(looks: &[Look]) -> [f64; 2] {
    let mut last = std::collections::BTreeMap::new();
    let mut sums = [0.0; 2];
    for (name, counters) in looks.iter().flat_map(|look| &look.baseline) {
        let &[requests, errors, ..] = counters.0.as_slice() else { continue };
        let now = [requests, errors];
        if let Some(before) = last.insert(name, now) {
            let begun_anew = now[0] < before[0] || now[1] < before[1];
            let before = if begun_anew { [0.0; 2] } else { before };
            sums = [sums[0] + now[0] - before[0], sums[1] + now[1] - before[1]];
        }
    }
    sums
}

fn whole(interval: Duration) -> Duration {
    let seconds = interval.saturating_sub(JITTER).as_secs_f64().ceil();
    Duration::from_secs(seconds as u64).max(Duration::from_secs(1))
}

fn has_latency(conditions: &[Condition]) -> bool {
    conditions.iter().any(|condition| condition.quantile().is_some())
}

fn limits_ms(conditions: &[Condition]) -> Vec<f64> {
    let limit = |condition: &Condition| match condition {
        Condition::ResponseTime { limit, .. } => Some(limit.as_secs_f64() * 1000.0),
        Condition::ErrorRate { .. }
        | Condition::HealthCheckFailures { .. }
        | Condition::ErrorRateRatio { .. }
        | Condition::ResponseTimeRatio { .. }
        | Condition::TrafficShare { .. }
        | Condition::Query { .. } => None,
    };
    conditions.iter().filter_map(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Counters;

    #[test]
    fn an_interval_is_whole_seconds() {
        let check = |ms, seconds| {
            assert_eq!(whole(Duration::from_millis(ms)), Duration::from_secs(seconds), "{ms} ms");
        };
        check(0, 1);
        check(500, 1);
        check(1_004, 1);
        check(14_996, 15);
        check(15_099, 15);
        check(15_101, 16);
        check(60_000, 60);
    }

    #[test]
    fn traffic_is_what_was_added() {
        let look = |at_s, pods: &[(&str, [f64; 2])]| {
            let pods = pods.iter().map(|(name, row)| ((*name).to_owned(), Counters(row.to_vec())));
            Look { baseline: pods.collect(), ..Look::of_the_past(at_s) }
        };
        let looks = [
            look(-180.0, &[("a", [1000.0, 10.0])]),
            look(-120.0, &[("a", [1100.0, 11.0]), ("b", [5000.0, 50.0])]),
            look(-60.0, &[("b", [5010.0, 50.0])]),
            // `a` has begun anew.
            look(0.0, &[("a", [30.0, 3.0]), ("b", [5020.0, 51.0])]),
        ];
        assert_eq!(counted(&looks), [150.0, 5.0]);
        assert_eq!(counted(&looks[..1]), [0.0, 0.0]);
        assert_eq!(counted(&[look(0.0, &[("a", [1.0, 1.0])])]), [0.0, 0.0]);
    }

    #[test]
    fn only_absolute_limits_need_a_bound_of_their_own() {
        let conditions: Vec<Condition> =
            ["response_time_p95 > 1500ms", "response_time_p95 > 1.1x baseline", "error_rate > 5%"]
                .iter()
                .map(|text| crate::policy::parse_condition(text).unwrap())
                .collect();
        assert_eq!(limits_ms(&conditions), [1500.0]);
        assert!(has_latency(&conditions[1..]));
        assert!(!has_latency(&conditions[2..]));
    }
}
