//! No mesh: the share is the part of the pods behind a Service that are the candidate's.
//!
//! Between 0 and 100 % pods are let in one by one through their readiness gate, and the Services stay as
//! they are. Selectors are narrowed for two moments only: the exact switch, and the first write of the
//! way back, which no number of pods makes longer. At rest nothing is narrowed but the switch itself:
//! a selector that names a revision would serve nobody once that revision is gone.

use k8s_openapi::api::core::v1::Service;
use serde_json::Value;

use super::super::names::{SERVE, TARGET};
use super::super::ownership::disown;
use super::super::snapshot::{Rollout, Snapshot, has_condition, label};
use super::super::write::{Kind, Write};
use super::endpoints::Behind;
use super::gates::{Gated, gated};
use super::selector::{self, Narrowed};
use super::{NO_SERVICE, Order, furthest, services_of};
use crate::share::Share;

/// A target that users reach through plain Services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainService {
    /// Every Service whose selector matches stable's pods.
    pub services: Vec<String>,
}

/// Copies beside `stable` ones so that they are `share` of all, one at least; at most as many as stable has.
#[must_use]
pub fn copies(share: Share, stable: u32) -> u32 {
    let all = u64::from(Share::FULL.basis_points());
    let (part, stable) = (u64::from(share.basis_points()), u64::from(stable.max(1)));
    let rest = all - part;
    // At 100 % there is no rest: as many as stable has.
    let copies = (stable * part + rest / 2).checked_div(rest).unwrap_or(stable);
    u32::try_from(copies.clamp(1, stable)).unwrap_or(u32::MAX)
}

impl PlainService {
    /// Finds the Services that users of a target come through.
    ///
    /// # Errors
    /// There is none.
    pub fn new(seen: &Snapshot, template: &Value, ignored: &[String]) -> Result<Self, String> {
        let services = services_of(seen, template, ignored);
        if services.is_empty() {
            return Err(NO_SERVICE.into());
        }
        Ok(Self { services: services.into_iter().map(str::to_owned).collect() })
    }

    /// Returns why this router can't do what the shares ask for.
    #[must_use]
    pub fn refuses(&self, seen: &Snapshot, shares: &[Share]) -> Option<String> {
        let split = shares.iter().find(|share| !share.is_zero() && !share.is_full());
        self.known(seen).find_map(|(name, service)| {
            let spec = service.spec.as_ref()?;
            if spec.publish_not_ready_addresses == Some(true) {
                return Some(format!(
                    "the Service {name} has publishNotReadyAddresses: the candidate's pods could not be kept out of it"
                ));
            }
            let sticky = spec.session_affinity.as_deref() == Some("ClientIP");
            split.filter(|_| sticky).map(|share| {
                format!(
                    "the Service {name} has sessionAffinity ClientIP: one client would see all or nothing of {share}; use blue-green, or remove it"
                )
            })
        })
    }

    /// Returns the Services that somebody else has reset since gate narrowed them.
    pub(super) fn disturbed(&self, seen: &Snapshot) -> Vec<String> {
        let reset = self.known(seen).filter(|(_, service)| selector::was_reset(service));
        reset.map(|(name, _)| format!("Service {name}")).collect()
    }

    pub(super) fn next(&self, seen: &Snapshot, order: &Order<'_>) -> Vec<Write> {
        match (order.share, order.adopted) {
            (Share::FULL, _) => self.switch(seen, order),
            (Share::ZERO, true) => self.hand_over(seen, order),
            (Share::ZERO, false) => self.back(seen, order),
            (_, _) => self.part(seen, order),
        }
    }

    /// Lets in so many pods as the share is.
    fn part(&self, seen: &Snapshot, order: &Order<'_>) -> Vec<Write> {
        let count = allowed(seen, order.share);
        let pods = gated(seen);
        let chosen = pods.iter().take(count).filter(|pod| pod.able);
        let open = chosen.filter_map(|pod| pod.set(true, order.now));
        let close: Vec<Write> = close(pods.iter().skip(count), order);
        let ready = pods.iter().filter(|pod| pod.ready).count();
        let behind_stable = self.any(seen, |narrowed| matches!(narrowed, Narrowed::Stable(_)));
        if behind_stable && (!close.is_empty() || ready > count) {
            // Widening shows all that are let in: those who are too many go first.
            return close;
        }
        self.narrow(seen, Narrowed::No).into_iter().chain(close).chain(open).collect()
    }

    /// The exact switch: all pods are let in, and have been seen, before the selectors name only them.
    fn switch(&self, seen: &Snapshot, order: &Order<'_>) -> Vec<Write> {
        let pods = gated(seen);
        let able = pods.iter().filter(|pod| pod.able);
        let open: Vec<Write> = able.filter_map(|pod| pod.set(true, order.now)).collect();
        if open.is_empty() && self.all_are_ready(seen, &pods) {
            return self.narrow(seen, Narrowed::Candidate(order.revision));
        }
        let wide = self.any(seen, |narrowed| narrowed == Narrowed::No);
        if !wide || order.adopted || pods.iter().any(|pod| pod.ready) {
            return open;
        }
        // Nobody of the candidate serves yet, and nobody shall before all do.
        match seen.stable_hash() {
            Some(hash) if has_ready_stable(seen) => {
                let narrow = self.narrow(seen, Narrowed::Stable(hash));
                if narrow.is_empty() { open } else { narrow }
            }
            Some(_) => open,
            None if stable(seen).ready > 0 => Vec::new(),
            None => open,
        }
    }

    /// The way back. Where stable has no ready pod, nothing is written: the candidate serves until it has.
    fn back(&self, seen: &Snapshot, order: &Order<'_>) -> Vec<Write> {
        let pods = gated(seen);
        if !pods.iter().any(|pod| pod.open || pod.ready) && self.reached(seen) == 0 {
            // The gates alone keep the candidate out.
            return self.narrow(seen, Narrowed::No);
        }
        let Some(hash) = seen.stable_hash() else {
            // Nothing names stable: its pods come in beside the candidate's, which then go out.
            return self.hand_over(seen, order);
        };
        if !has_ready_stable(seen) {
            return Vec::new();
        }
        let mut writes = self.narrow(seen, Narrowed::Stable(hash));
        // Closing the gates behind a selector that names only the candidate would leave nobody, and the
        // data plane may have the old one a little longer.
        let others =
            |(name, _): (&String, _)| Behind::of(seen, name).is_none_or(|behind| behind.others > 0);
        let is_theirs = self.any(seen, |narrowed| matches!(narrowed, Narrowed::Candidate(_)));
        if !is_theirs && self.known(seen).all(others) {
            writes.extend(close(pods.iter(), order));
        }
        writes
    }

    /// Stable runs the release: its pods come in first, then the candidate's go out.
    fn hand_over(&self, seen: &Snapshot, order: &Order<'_>) -> Vec<Write> {
        let widen = self.narrow(seen, Narrowed::No);
        let served = |(name, _): (&String, _)| {
            Behind::of(seen, name).is_some_and(|behind| behind.others > 0)
        };
        if !widen.is_empty() || !self.known(seen).all(served) {
            return widen;
        }
        close(gated(seen).iter(), order)
    }

    pub(super) fn share(&self, seen: &Snapshot, order: &Order<'_>) -> Option<Share> {
        let shares: Option<Vec<Share>> = self
            .known(seen)
            .map(|(name, service)| {
                let behind = Behind::of(seen, name)?;
                if self.is_as_ordered(seen, order, service, behind) {
                    return Some(order.share);
                }
                // What looks like the order and is not stays unknown until it is.
                Some(behind.share()).filter(|share| *share != order.share)
            })
            .collect();
        let shares = shares?;
        if shares.is_empty() {
            // No Service leads anywhere any more; one that comes back finds every pod that is let in.
            let nobody = gated(seen).iter().all(|pod| !pod.open);
            return (order.share.is_zero() && nobody).then_some(Share::ZERO);
        }
        furthest(shares, order.share)
    }

    /// Returns what is gone without which nobody can be sent anywhere.
    pub(super) fn lost(&self, seen: &Snapshot) -> Option<String> {
        let is_lost = self.known(seen).next().is_none();
        is_lost.then(|| format!("Service {}", self.services.join(", ")))
    }

    fn is_as_ordered(
        &self,
        seen: &Snapshot,
        order: &Order<'_>,
        service: &Service,
        behind: Behind,
    ) -> bool {
        let narrowed = selector::narrowed(service);
        let open = seen.candidate_pods().filter(|pod| has_condition(pod, SERVE)).count();
        match order.share {
            Share::ZERO => {
                let kept_out = open == 0 || matches!(narrowed, Narrowed::Stable(_));
                kept_out && behind.candidate == 0
            }
            Share::FULL => {
                narrowed == Narrowed::Candidate(order.revision)
                    && behind.candidate > 0
                    && behind.others == 0
            }
            share => {
                let count = allowed(seen, share);
                narrowed == Narrowed::No && behind.candidate == count && open == count
            }
        }
    }

    pub(super) fn restore(&self, seen: &Snapshot, revision: &str) -> Vec<Write> {
        let ours = |(name, service): &(&String, &Service)| {
            self.services.contains(name)
                || selector::narrowed(service) == Narrowed::Candidate(revision)
        };
        let made = |service: &Service| label(service.metadata.labels.as_ref(), TARGET).is_some();
        let services: Vec<(&String, &Service)> =
            seen.services.iter().filter(|(_, service)| !made(service)).filter(ours).collect();
        let widen = services
            .iter()
            .filter_map(|(name, service)| selector::narrow(name, service, Narrowed::No));
        let widen: Vec<Write> = widen.collect();
        if !widen.is_empty() {
            return widen;
        }
        let services = services.iter();
        services.filter_map(|(_, service)| disown(Kind::Service, &service.metadata)).collect()
    }

    fn known<'a>(&self, seen: &'a Snapshot) -> impl Iterator<Item = (&'a String, &'a Service)> {
        self.services.iter().filter_map(|name| seen.services.get_key_value(name))
    }

    fn any(&self, seen: &Snapshot, is: impl Fn(Narrowed<'_>) -> bool) -> bool {
        self.known(seen).any(|(_, service)| is(selector::narrowed(service)))
    }

    fn narrow(&self, seen: &Snapshot, to: Narrowed<'_>) -> Vec<Write> {
        let writes = self.known(seen);
        writes.filter_map(|(name, service)| selector::narrow(name, service, to)).collect()
    }

    /// Returns the most pods of the candidate that are behind one of the Services.
    fn reached(&self, seen: &Snapshot) -> usize {
        let behind = self.known(seen).filter_map(|(name, _)| Behind::of(seen, name));
        behind.map(|behind| behind.candidate).max().unwrap_or(0)
    }

    /// Returns whether as many as the candidate shall have are ready to take everything.
    fn all_are_ready(&self, seen: &Snapshot, pods: &[Gated<'_>]) -> bool {
        let wanted = seen.candidate.as_ref().map_or(u32::MAX, |own| Rollout::of(own).wanted);
        let needed = wanted.min(stable(seen).wanted).max(1) as usize;
        let ready = pods.iter().filter(|pod| pod.ready).count();
        let seen_behind = |(name, service): (&String, &Service)| {
            selector::narrowed(service) != Narrowed::No
                || Behind::of(seen, name).is_some_and(|behind| behind.candidate >= needed)
        };
        ready >= needed && self.known(seen).all(seen_behind)
    }
}

fn close<'a>(pods: impl Iterator<Item = &'a Gated<'a>>, order: &Order<'_>) -> Vec<Write> {
    pods.filter_map(|pod| pod.set(false, order.now)).collect()
}

/// Returns how many pods a share lets in.
fn allowed(seen: &Snapshot, share: Share) -> usize {
    copies(share, stable(seen).wanted) as usize
}

fn stable(seen: &Snapshot) -> Rollout {
    seen.target.as_ref().map(Rollout::of).unwrap_or_default()
}

fn has_ready_stable(seen: &Snapshot) -> bool {
    seen.stable_pods().any(|pod| has_condition(pod, "Ready"))
}
