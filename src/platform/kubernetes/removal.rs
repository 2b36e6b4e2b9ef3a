//! The end of a candidate, and the user's objects as they were.
//!
//! Condemned pods are ended by one request *before* their Deployment goes: a termination that has
//! begun with the application's own drain is not shortened later, and without this it would serve its
//! kept-alive connections on for minutes. What lets testers in goes before them. What carries no
//! traffic goes after, the user's objects are restored when no pod of the candidate is left, and gate's
//! name goes last.

use std::time::Duration;

use kube::api::DynamicObject;

use super::ownership::disown;
use super::router::Router;
use super::snapshot::{Snapshot, label};
use super::write::{Kind, Write};
use super::{autoscaler, names};

/// The kubelet's least: with 0 a pod is gone from the API while it still serves.
const GRACE_SECONDS_MIN: u32 = 2;

/// Whose end, and how.
#[derive(Clone, Copy, Debug)]
pub struct Removal<'a> {
    pub router: &'a Router,
    pub target: &'a str,
    pub revision: &'a str,
    /// How long condemned pods may finish what they have begun; `None`: they are good, and end as
    /// their own settings say.
    pub condemned: Option<Duration>,
}

impl Removal<'_> {
    /// Returns the next writes; none: all is as it was, or what was written has to be seen first.
    #[must_use]
    pub fn next(&self, seen: &Snapshot) -> Vec<Write> {
        let mut writes = self.own_autoscaler(seen);
        if seen.candidate.is_some() || !seen.candidates.is_empty() {
            writes.splice(0..0, self.router.keep_out(seen));
        }
        if let Some(own) = seen.candidate.as_ref().filter(|own| self.is_ours(own)) {
            if let Some(delete) = Write::delete(Kind::Deployment, &own.metadata) {
                writes.extend(self.end_pods(seen));
                writes.push(delete);
            }
            return writes;
        }
        if !seen.candidates.is_empty() {
            if seen.candidate_pods().next().is_some() {
                writes.extend(self.end_pods(seen));
            }
            return writes;
        }
        writes.extend(self.restore(seen));
        writes
    }

    /// Returns what has to be given back still, once no pod of the candidate is left.
    #[must_use]
    pub fn restore(&self, seen: &Snapshot) -> Vec<Write> {
        let mut writes = self.router.restore(seen, self.revision);
        let scaler = autoscaler::of(seen, self.target);
        writes.extend(scaler.and_then(autoscaler::restore));
        if writes.is_empty() {
            let target = seen.target.as_ref();
            writes.extend(target.and_then(|target| disown(Kind::Deployment, &target.metadata)));
            let kind = Kind::HorizontalPodAutoscaler;
            writes.extend(scaler.and_then(|scaler| disown(kind, &scaler.metadata)));
        }
        writes
    }

    fn end_pods(&self, seen: &Snapshot) -> Option<Write> {
        let condemned = self.condemned?;
        seen.candidate_pods().next()?;
        let seconds = u32::try_from(condemned.as_secs()).unwrap_or(u32::MAX);
        let selector = format!("{}={}", names::REVISION, self.revision);
        Some(Write::EndPods { selector, grace_s: seconds.max(GRACE_SECONDS_MIN) })
    }

    fn own_autoscaler(&self, seen: &Snapshot) -> Vec<Write> {
        let own = autoscaler::of(seen, &names::candidate(self.target));
        let own = own.filter(|own| self.is_ours(own));
        let kind = Kind::HorizontalPodAutoscaler;
        own.and_then(|own| Write::delete(kind, &own.metadata)).into_iter().collect()
    }

    fn is_ours(&self, object: &DynamicObject) -> bool {
        label(object.metadata.labels.as_ref(), names::REVISION) == Some(self.revision)
    }
}
