//! What Kubernetes itself says of a pod's health, over time: ready since when, and restarts.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;
use tokio::time::Instant;

use crate::platform::kubernetes::snapshot::has_condition;

/// Kubernetes' word for "all containers are ready": it holds for a pod that was not let in yet, too.
const READY: &str = "ContainersReady";
/// A pod that has restarted is not healthy for so long (rules of the judge: the health window).
const RESTART_DOUBT: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Vitals {
    pods: BTreeMap<String, Vital>,
}

#[derive(Debug)]
struct Vital {
    ready_since: Option<Instant>,
    restarts: i64,
    restarted: Option<Instant>,
}

/// Returns whether all containers are ready.
pub(super) fn is_ready(pod: &Pod) -> bool {
    has_condition(pod, READY)
}

impl Vitals {
    /// Notes what is there now; pods that went are forgotten.
    pub(super) fn see<'a>(&mut self, pods: impl Iterator<Item = &'a Pod>, now: Instant) {
        let mut before = std::mem::take(&mut self.pods);
        for pod in pods {
            let (name, restarts) = (pod.name_any(), restarts(pod));
            let mut vital = before.remove(&name).unwrap_or(Vital {
                ready_since: None,
                restarts,
                restarted: None,
            });
            if restarts > vital.restarts {
                vital.restarted = Some(now);
                vital.ready_since = None;
            }
            vital.restarts = restarts;
            vital.ready_since = is_ready(pod).then(|| vital.ready_since.unwrap_or(now));
            self.pods.insert(name, vital);
        }
    }

    /// Returns whether a pod has been ready for so long.
    pub(super) fn ready_for(&self, pod: &str, long: Duration, now: Instant) -> bool {
        let since = self.pods.get(pod).and_then(|vital| vital.ready_since);
        since.is_some_and(|since| now.saturating_duration_since(since) >= long)
    }

    /// Returns whether a pod is ready and has not restarted lately.
    pub(super) fn is_well(&self, pod: &str, now: Instant) -> bool {
        self.pods.get(pod).is_some_and(|vital| vital.trouble(now).is_none())
    }

    /// Returns which pods are not well, in words.
    pub(super) fn troubles(&self, now: Instant) -> impl Iterator<Item = String> {
        let pods = self.pods.iter();
        pods.filter_map(move |(pod, vital)| Some(format!("pod {pod} {}", vital.trouble(now)?)))
    }
}

impl Vital {
    fn trouble(&self, now: Instant) -> Option<String> {
        let ago = |at: Instant| now.saturating_duration_since(at);
        match self.restarted.map(ago).filter(|ago| *ago < RESTART_DOUBT) {
            Some(ago) => Some(format!("has restarted {} s ago", ago.as_secs())),
            None => self.ready_since.is_none().then(|| "has containers that are not ready".into()),
        }
    }
}

fn restarts(pod: &Pod) -> i64 {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_deref());
    let count = |container: &ContainerStatus| i64::from(container.restart_count);
    containers.unwrap_or_default().iter().map(count).sum()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(ready: bool, restarts: u32) -> Pod {
        let ready = if ready { "True" } else { "False" };
        serde_json::from_value(json!({
            "metadata": { "name": "web-1" },
            "status": {
                "conditions": [{ "type": READY, "status": ready }, { "type": "Ready", "status": "False" }],
                "containerStatuses": [
                    { "name": "a", "restartCount": restarts, "image": "", "imageID": "", "ready": true },
                    { "name": "b", "restartCount": 1, "image": "", "imageID": "", "ready": true },
                ],
            },
        }))
        .unwrap()
    }

    const LONG: Duration = Duration::from_secs(10);

    /// Shows pods one second apart each; returns whether the last is ready for long, and well.
    #[track_caller]
    fn check(seen: &[(bool, u32, u64)], expected: (bool, bool)) {
        let (mut vitals, begin) = (Vitals::default(), Instant::now());
        let mut now = begin;
        for (ready, restarts, at_s) in seen {
            now = begin + Duration::from_secs(*at_s);
            vitals.see([&pod(*ready, *restarts)].into_iter(), now);
        }
        let seen_now = (vitals.ready_for("web-1", LONG, now), vitals.is_well("web-1", now));
        assert_eq!(seen_now, expected, "{seen:?}");
    }

    #[test]
    fn readiness_takes_time_and_a_restart_takes_it_back() {
        check(&[(false, 0, 0)], (false, false));
        check(&[(true, 0, 0), (false, 0, 10)], (false, false));
        check(&[(true, 0, 0)], (false, true));
        check(&[(true, 0, 0), (true, 0, 9)], (false, true));
        check(&[(true, 0, 0), (true, 0, 10)], (true, true));
        check(&[(true, 0, 0), (false, 0, 5), (true, 0, 10)], (false, true));
        check(&[(true, 7, 0), (true, 7, 10)], (true, true)); // old ones are no news
        check(&[(true, 0, 0), (true, 1, 10)], (false, false));
        check(&[(true, 0, 0), (true, 1, 10), (true, 1, 69)], (true, false));
        check(&[(true, 0, 0), (true, 1, 10), (true, 1, 70)], (true, true));
    }

    #[test]
    fn a_pod_that_went_is_not_well() {
        let (mut vitals, now) = (Vitals::default(), Instant::now());
        vitals.see([&pod(true, 0)].into_iter(), now);
        vitals.see(std::iter::empty(), now);
        assert!(!vitals.is_well("web-1", now));
        assert_eq!(vitals.troubles(now).count(), 0);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let (mut vitals, now) = (Vitals::default(), Instant::now());
        let mut check = |seen: Pod, after_s: u64, words: &[&str]| {
            let now = now + Duration::from_secs(after_s);
            vitals.see([&seen].into_iter(), now);
            assert_eq!(vitals.troubles(now).collect::<Vec<_>>(), words);
        };
        check(pod(true, 0), 0, &[]);
        check(pod(false, 0), 5, &["pod web-1 has containers that are not ready"]);
        check(pod(true, 1), 10, &["pod web-1 has restarted 0 s ago"]);
        check(pod(true, 1), 20, &["pod web-1 has restarted 10 s ago"]);
        check(pod(true, 1), 70, &[]);
    }
}
