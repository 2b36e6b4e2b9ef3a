//! What splits the traffic between the revisions: one router a file, all with the same questions.
//!
//! A router decides, and writes nothing itself: given what is there and what is ordered it returns
//! the next writes. None of them waits; the next turn observes and asks again. So a router is a pure
//! function, a repeated order is free, and a crash between any two writes is only a turn more.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::names;
use super::snapshot::{Snapshot, label};
use super::write::Write;
use crate::plan::TrafficPlan;
use crate::policy::Strategy;
use crate::rollout::TestersAre;
use crate::share::Share;

pub mod residue;

pub mod endpoints;

pub mod selector;

pub mod gates;

pub mod service;

pub mod gateway_api;

#[cfg(test)]
mod tests;

pub use gateway_api::GatewayApi;
pub use service::PlainService;

/// The routers' names in a policy and in a plan.
pub const SERVICE: &str = "service";
pub const GATEWAY_API: &str = "gateway-api";
const NO_SERVICE: &str = "no Service of the namespace selects the target's pods";

/// How a target's traffic is split.
#[derive(Clone, Debug, PartialEq)]
pub enum Router {
    /// No mesh: by the number of pods that are let in; 0 and 100 % are exact.
    Service(PlainService),
    /// HTTPRoutes of the Gateway API: by weight, per request.
    GatewayApi(GatewayApi),
}

/// How a candidate's pods are kept out of the user's Services until they are let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// The readiness gate [`SERVE`](super::names::SERVE); all labels are kept.
    Readiness,
    /// One label that the Services' selectors need has another value on the candidate's pods.
    Label { key: String, value: String },
}

/// What is ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order<'a> {
    /// The promotion's id: the value of the label [`REVISION`](super::names::REVISION).
    pub revision: &'a str,
    pub share: Share,
    pub strategy: Strategy,
    /// Stable runs the release already: the candidate's pods are of the same version.
    pub adopted: bool,
    /// What the clock says at this turn: a route that was changed has to settle.
    pub now: DateTime<Utc>,
}

impl Router {
    /// Returns what a plan says of it.
    #[must_use]
    pub fn plan(&self) -> TrafficPlan {
        match self {
            Self::Service(PlainService { services }) => TrafficPlan {
                router: SERVICE.into(),
                services: services.clone(),
                routes: Vec::new(),
                set_apart: None,
                testers: None,
                watchdog: None,
            },
            Self::GatewayApi(GatewayApi { routes, services, key, value, testers }) => TrafficPlan {
                router: GATEWAY_API.into(),
                services: services.clone(),
                routes: routes.clone(),
                set_apart: Some((key.clone(), value.clone())),
                testers: testers.clone(),
                watchdog: None,
            },
        }
    }

    /// Returns the router that a plan says; `None`: this version of gate has none such.
    #[must_use]
    pub fn of_plan(plan: &TrafficPlan) -> Option<Self> {
        let services = plan.services.clone();
        match (plan.router.as_str(), &plan.set_apart) {
            (SERVICE, _) => Some(Self::Service(PlainService { services })),
            (GATEWAY_API, Some((key, value))) => Some(Self::GatewayApi(GatewayApi {
                routes: plan.routes.clone(),
                services,
                key: key.clone(),
                value: value.clone(),
                testers: plan.testers.clone(),
            })),
            _other => None,
        }
    }

    #[must_use]
    pub fn isolation(&self) -> Isolation {
        match self {
            Self::Service(_) => Isolation::Readiness,
            Self::GatewayApi(router) => router.isolation(),
        }
    }

    /// Returns how many copies of the candidate a share needs beside so many of stable.
    #[must_use]
    pub fn copies(&self, share: Share, stable: u32) -> u32 {
        match self {
            Self::Service(_) => service::copies(share, stable),
            Self::GatewayApi(_) => gateway_api::copies(share, stable),
        }
    }

    /// Returns the next writes towards the share; none: nothing is left to write, or what was
    /// written has to be seen first.
    #[must_use]
    pub fn next(&self, seen: &Snapshot, order: &Order<'_>) -> Vec<Write> {
        match self {
            Self::Service(router) => router.next(seen, order),
            Self::GatewayApi(router) => router.next(seen, order),
        }
    }

    /// Returns the candidate's share as the data plane has it: the ordered one exactly when all is as
    /// that order wants it. `None`: it can't be told now.
    #[must_use]
    pub fn share(&self, seen: &Snapshot, order: &Order<'_>) -> Option<Share> {
        match self {
            Self::Service(router) => router.share(seen, order),
            Self::GatewayApi(router) => router.share(seen, order),
        }
    }

    /// Returns the next writes that let the testers in, now that the candidate is there. Never asked for on
    /// the way back: there [`next`](Self::next) for no share sends them where everybody goes.
    #[must_use]
    pub fn let_in(&self, seen: &Snapshot, order: &Order<'_>) -> Vec<Write> {
        match self {
            Self::Service(_) => Vec::new(),
            Self::GatewayApi(router) => router.let_in(seen, order),
        }
    }

    /// Returns the writes that remove what lets testers in, before the candidate ends.
    #[must_use]
    pub fn keep_out(&self, seen: &Snapshot) -> Vec<Write> {
        match self {
            Self::Service(_) => Vec::new(),
            Self::GatewayApi(router) => router.keep_out(seen),
        }
    }

    /// Returns where the testers are, as the data plane has it.
    #[must_use]
    pub fn testers_are(&self, seen: &Snapshot, revision: &str) -> TestersAre {
        match self {
            Self::Service(_) => TestersAre::Out,
            Self::GatewayApi(router) => router.testers_are(seen, revision),
        }
    }

    /// Returns whether a share of 0 that is seen is more than a selector that somebody else may write.
    #[must_use]
    pub fn lasts(&self, seen: &Snapshot, order: &Order<'_>) -> bool {
        match self {
            Self::Service(router) => router.next(seen, order).is_empty(),
            Self::GatewayApi(_) => true,
        }
    }

    /// Returns the objects, as people call them, that are gone and without which nobody can be sent anywhere.
    #[must_use]
    pub fn lost(&self, seen: &Snapshot) -> Option<String> {
        match self {
            Self::Service(router) => router.lost(seen),
            Self::GatewayApi(router) => router.lost(seen),
        }
    }

    /// Returns why this router can't do what the shares of a plan ask for; `None`: it can.
    #[must_use]
    pub fn refuses(&self, seen: &Snapshot, shares: &[Share]) -> Option<String> {
        match self {
            Self::Service(router) => router.refuses(seen, shares),
            Self::GatewayApi(_) => None,
        }
    }

    /// Returns the objects that somebody else has reset since gate changed them, as people call them.
    /// [`Router::next`] asserts them again; who calls it counts how often that was necessary.
    #[must_use]
    pub fn disturbed(&self, seen: &Snapshot) -> Vec<String> {
        match self {
            Self::Service(router) => router.disturbed(seen),
            Self::GatewayApi(router) => router.disturbed(seen),
        }
    }

    /// Returns the next writes that give the user's objects back as they were; none: they are.
    /// Called when the share is 0 and no pod of the candidate is left.
    #[must_use]
    pub fn restore(&self, seen: &Snapshot, revision: &str) -> Vec<Write> {
        match self {
            Self::Service(router) => router.restore(seen, revision),
            Self::GatewayApi(router) => router.restore(seen, revision),
        }
    }
}

/// Returns the Services whose selector matches a pod template's labels, by name: those that users of
/// the target come through, whatever gate has narrowed them to. Without a selector, or an ExternalName,
/// there is nothing to split.
#[must_use]
pub fn services_of<'a>(seen: &'a Snapshot, template: &Value, ignored: &[String]) -> Vec<&'a str> {
    let labels = template.pointer("/metadata/labels");
    let has = |key: &str, value: &str| {
        labels.and_then(|labels| labels.get(key)).and_then(Value::as_str) == Some(value)
    };
    let matching = seen.services.iter().filter(|(name, service)| {
        !ignored.contains(name)
            && label(service.metadata.labels.as_ref(), names::TARGET).is_none()
            && selector::original(service)
                .is_some_and(|selector| selector.iter().all(|(key, value)| has(key, value)))
    });
    matching.map(|(name, _)| name.as_str()).collect()
}

/// Returns the share that is least like the ordered one: all parts of a data plane must agree.
fn furthest(shares: Vec<Share>, ordered: Share) -> Option<Share> {
    let distance = |share: &Share| share.basis_points().abs_diff(ordered.basis_points());
    shares.into_iter().max_by_key(distance)
}
