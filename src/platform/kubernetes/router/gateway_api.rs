//! HTTPRoutes of the Gateway API (`gateway.networking.k8s.io/v1`): the share is a weight.
//!
//! The user's Services are never written. The candidate has Services of its own, which are backends
//! beside the user's, and routes are changed make-before-break: a backend comes at weight 0 and settles,
//! then only weights change, and the user's shape comes back when it is at 0 again. The way back is the
//! weight first. A route that somebody keeps applying is not edited: see [`overlay`].

use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::super::names;
use super::super::snapshot::Snapshot;
use super::super::write::{Kind, Op, Write};
use super::endpoints::Behind;
use super::{Isolation, Order, furthest, residue};
use crate::policy::Testers;
use crate::share::Share;
use backends::{Note, Pair};
use overlay::Asks;
use status::Needed;

pub mod backends;

pub mod status;

pub mod made;

pub mod overlay;

pub mod testers;

mod restore;

mod choose;

/// A target whose Services are backends of HTTPRoutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayApi {
    /// The HTTPRoutes that have one of the Services as a backend.
    pub routes: Vec<String>,
    /// Every Service whose selector matches stable's pods.
    pub services: Vec<String>,
    /// What sets the candidate's pods apart.
    pub key: String,
    pub value: String,
    /// Who reaches the candidate from when it is ready.
    pub testers: Option<Testers>,
}

/// Copies for a share of the requests, one at least.
#[must_use]
pub fn copies(share: Share, stable: u32) -> u32 {
    let part = u64::from(stable) * u64::from(share.basis_points());
    let copies = part.div_ceil(u64::from(Share::FULL.basis_points())).max(1);
    u32::try_from(copies).unwrap_or(u32::MAX)
}

impl GatewayApi {
    pub(super) fn isolation(&self) -> Isolation {
        Isolation::Label { key: self.key.clone(), value: self.value.clone() }
    }

    /// Returns the user's routes that lost gate's backends, or that changed under gate's own.
    pub(super) fn disturbed(&self, seen: &Snapshot) -> Vec<String> {
        let changed = self.present(seen).filter(|(name, route)| {
            let reset = backends::noted(route).is_some() && !self.is_joined(route);
            reset || self.moved(seen, name, route)
        });
        changed.map(|(name, _)| format!("HTTPRoute {name}")).collect()
    }

    /// What is under a route of gate's own is another now: nothing that was proven holds for it.
    fn has_moved(&self, seen: &Snapshot) -> bool {
        self.present(seen).any(|(name, route)| self.moved(seen, name, route))
    }

    fn moved(&self, seen: &Snapshot, name: &str, route: &DynamicObject) -> bool {
        let own = seen.routes.get(&overlay::name(name));
        own.filter(|own| made::is_ours(&own.metadata))
            .is_some_and(|own| !overlay::fits(own, route, Asks::METHOD, &self.services))
    }

    pub(super) fn next(&self, seen: &Snapshot, order: &Order<'_>) -> Vec<Write> {
        if order.share.is_zero() {
            return self.back(seen, self.carriers(seen).chain(self.testers_routes(seen)));
        }
        if self.has_moved(seen) {
            return self.back(seen, self.carriers(seen));
        }
        let made = self.candidates_services(seen, order);
        if !made.is_empty() {
            return made;
        }
        let ready = self.is_ready(seen);
        self.present(seen)
            .filter_map(|(name, route)| self.route(seen, order, name, route, ready))
            .collect()
    }

    /// Makes the candidate's Services.
    fn candidates_services(&self, seen: &Snapshot, order: &Order<'_>) -> Vec<Write> {
        let services = self.backends(seen).into_iter();
        services.filter_map(|service| made::service(seen, &service, order.revision)).collect()
    }

    /// Returns whether every one of them has somebody behind it.
    fn is_ready(&self, seen: &Snapshot) -> bool {
        let serves = |service: &String| {
            let behind = Behind::of(seen, &names::candidate(service));
            behind.is_some_and(|behind| behind.candidate > 0)
        };
        self.backends(seen).iter().all(serves)
    }

    /// Returns the next write for one of the user's routes.
    fn route(
        &self,
        seen: &Snapshot,
        order: &Order<'_>,
        name: &String,
        route: &DynamicObject,
        ready: bool,
    ) -> Option<Write> {
        let (name, route) = if self.lays_over(seen, name, route) {
            match seen.routes.get_key_value(&overlay::name(name)) {
                Some((_, taken)) if !made::is_ours(&taken.metadata) => return None,
                Some(own) => own,
                None => {
                    return self.lay(seen, order, &overlay::name(name), route, Asks::METHOD);
                }
            }
        } else if self.is_joined(route) {
            (name, route)
        } else {
            return Some(self.join(order, name, route));
        };
        ready.then(|| self.raise(order, name, route, order.share)).flatten()
    }

    /// Makes a route of gate's own over one of the user's.
    fn lay(
        &self,
        seen: &Snapshot,
        order: &Order<'_>,
        name: &str,
        of: &DynamicObject,
        asks: Asks<'_>,
    ) -> Option<Write> {
        let when = (order.revision, order.now);
        let own = overlay::route(seen, name, of, asks, &self.services, when)?;
        Some(Write::Create { kind: Kind::HttpRoute, object: Box::new(own) })
    }

    /// Gives a route its weights, once the data plane has all of its backends.
    fn raise(
        &self,
        order: &Order<'_>,
        name: &str,
        route: &DynamicObject,
        share: Share,
    ) -> Option<Write> {
        let settled = backends::noted(route)
            .is_none_or(|note| backends::has_settled(note.at, order.now))
            && status::is(route, Needed::Resolved);
        settled.then(|| self.weigh(name, route, share)).flatten()
    }

    /// The way back: every partner's weight to 0, where stable has somebody to take the requests.
    fn back<'a>(
        &self,
        seen: &Snapshot,
        routes: impl Iterator<Item = (&'a String, &'a DynamicObject)>,
    ) -> Vec<Write> {
        let serves =
            |service: &String| Behind::of(seen, service).is_some_and(|behind| behind.others > 0);
        if !self.backends(seen).iter().all(serves) {
            return Vec::new();
        }
        self.zero(routes)
    }

    fn zero<'a>(
        &self,
        routes: impl Iterator<Item = (&'a String, &'a DynamicObject)>,
    ) -> Vec<Write> {
        let used = routes.filter(|(_, route)| !self.is_at_zero(route));
        used.filter_map(|(name, route)| self.weigh(name, route, Share::ZERO)).collect()
    }

    fn is_at_zero(&self, route: &DynamicObject) -> bool {
        self.shares(route).iter().all(|share| share.is_zero())
    }

    /// Puts the partners beside the user's backends, at weight 0.
    fn join(&self, order: &Order<'_>, name: &str, route: &DynamicObject) -> Write {
        let mut note = backends::noted(route).unwrap_or(Note { at: order.now, rules: [].into() });
        note.at = order.now;
        let mut ops = Vec::new();
        for (index, refs) in backends::rules(route) {
            let joined = backends::joined(refs, &self.services);
            if joined.len() > refs.len() {
                note.rules.insert(index, refs.to_vec());
                ops.extend(backends::replace(index, refs, &joined));
            }
        }
        ops.extend(residue::note(&route.metadata, json!(note).to_string()));
        Write::Patch { kind: Kind::HttpRoute, name: name.to_owned(), ops }
    }

    /// Writes the weights of all rules in one patch; `None` where they are so.
    fn weigh(&self, name: &str, route: &DynamicObject, share: Share) -> Option<Write> {
        let note = backends::noted(route);
        let ops: Vec<Op> = self
            .rules(route)
            .flat_map(|(index, refs, _)| {
                let noted = note.as_ref().and_then(|note| note.rules.get(&index));
                let weights = backends::weights(refs, &self.services, noted, share);
                backends::write(index, refs, &weights)
            })
            .collect();
        (!ops.is_empty()).then(|| Write::Patch {
            kind: Kind::HttpRoute,
            name: name.to_owned(),
            ops,
        })
    }

    pub(super) fn share(&self, seen: &Snapshot, order: &Order<'_>) -> Option<Share> {
        let carriers = self.carriers(seen);
        let shares: Option<Vec<Share>> =
            carriers.map(|(_, route)| self.share_of(route, order)).collect();
        let shares = shares?;
        if shares.is_empty() {
            // No route leads anywhere any more.
            return order.share.is_zero().then_some(Share::ZERO);
        }
        furthest(shares, order.share)
    }

    fn share_of(&self, route: &DynamicObject, order: &Order<'_>) -> Option<Share> {
        let needed = if order.share.is_zero() { Needed::Accepted } else { Needed::Resolved };
        if !status::is(route, needed) {
            return None;
        }
        let present = furthest(self.shares(route), order.share).unwrap_or(Share::ZERO);
        if order.share.is_zero() {
            return Some(present);
        }
        if self.is_joined(route) && self.weigh("", route, order.share).is_none() {
            return Some(order.share);
        }
        // What looks like the order and is not stays unknown until it is.
        Some(present).filter(|share| *share != order.share)
    }

    /// Returns the rules that have a backend of the target.
    fn rules<'a>(
        &self,
        route: &'a DynamicObject,
    ) -> impl Iterator<Item = (usize, &'a [Value], Vec<Pair>)> {
        let rules = backends::rules(route)
            .map(|(index, refs)| (index, refs, backends::pairs(refs, &self.services)));
        rules.filter(|(_, _, pairs)| !pairs.is_empty())
    }

    /// Returns the candidate's share of each rule that sends the target anything.
    fn shares(&self, route: &DynamicObject) -> Vec<Share> {
        let shares = self.rules(route).filter_map(|(_, refs, pairs)| {
            let sum = |indexes: &mut dyn Iterator<Item = usize>| -> u64 {
                indexes.map(|index| backends::weight(&refs[index])).sum()
            };
            let candidate = sum(&mut pairs.iter().filter_map(|pair| pair.candidate));
            let all = candidate + sum(&mut pairs.iter().map(|pair| pair.user));
            (all > 0).then(|| Share::from_fraction(candidate as f64 / all as f64)).flatten()
        });
        shares.collect()
    }

    fn is_joined(&self, route: &DynamicObject) -> bool {
        self.rules(route).all(|(_, _, pairs)| pairs.iter().all(|pair| pair.candidate.is_some()))
    }

    /// Returns the user's routes.
    fn present<'a>(
        &self,
        seen: &'a Snapshot,
    ) -> impl Iterator<Item = (&'a String, &'a DynamicObject)> {
        self.routes.iter().filter_map(|name| seen.routes.get_key_value(name))
    }

    /// Returns what is gone without which nobody can be sent anywhere.
    pub(super) fn lost(&self, seen: &Snapshot) -> Option<String> {
        let is_lost = self.present(seen).next().is_none();
        is_lost.then(|| format!("HTTPRoute {}", self.routes.join(", ")))
    }

    /// Returns the routes that carry the weights: gate's over the user's, also where somebody has deleted that one, or
    /// the user's own.
    fn carriers<'a>(
        &self,
        seen: &'a Snapshot,
    ) -> impl Iterator<Item = (&'a String, &'a DynamicObject)> {
        self.routes.iter().filter_map(|name| {
            let own = seen.routes.get_key_value(&overlay::name(name));
            let own = own.filter(|(_, own)| made::is_ours(&own.metadata));
            own.or_else(|| seen.routes.get_key_value(name))
        })
    }

    /// Returns whether gate lays a route of its own over this one. Once begun in one way, it goes on so.
    fn lays_over(&self, seen: &Snapshot, name: &str, route: &DynamicObject) -> bool {
        let laid = seen.routes.get(&overlay::name(name));
        laid.is_some_and(|own| made::is_ours(&own.metadata))
            || (backends::noted(route).is_none() && overlay::is_needed(route))
    }

    /// Returns those of the Services that are backends.
    fn backends(&self, seen: &Snapshot) -> Vec<String> {
        let named = |service: &&String| {
            self.present(seen).any(|(_, route)| {
                let one = std::slice::from_ref(*service);
                backends::rules(route).any(|(_, refs)| !backends::pairs(refs, one).is_empty())
            })
        };
        self.services.iter().filter(named).cloned().collect()
    }
}
