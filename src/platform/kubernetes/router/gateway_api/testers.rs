//! Testers: who sends a header reaches the candidate, whatever share everybody else gives it.
//!
//! A route of gate's own over each of the user's, as in [`overlay`], whose every match asks for the
//! header as well: of two routes for the same path and method the one that matches more headers wins.
//! For those who send it the share is 100 %, so it is joined, settles and is weighed as all routes are;
//! on the way back it goes to 0 in the same turn as the user's, after it, and is gone before pods end.

use kube::api::DynamicObject;
use serde_json::Value;

use super::super::super::names::{self, REVISION, TARGET};
use super::super::super::snapshot::{Snapshot, label};
use super::super::super::write::{Kind, Write};
use super::super::Order;
use super::overlay::{Asks, matches_of, rules, shares_a_parent};
use super::status::{self, Needed};
use super::{GatewayApi, made, overlay};
use crate::policy::Testers;
use crate::rollout::TestersAre;
use crate::share::Share;

/// Headers of one match, as the API has it.
const HEADERS_MAX: usize = 16;

/// Returns the name of the testers' route over a user's.
#[must_use]
pub fn name(route: &str) -> String {
    names::fitting(route, "-gate-testers")
}

/// Returns why the testers of a route can't be told from everybody else.
#[must_use]
pub fn refuses(route: &DynamicObject, seen: &Snapshot, testers: &Testers) -> Option<String> {
    let of = route.metadata.name.as_deref().unwrap_or_default();
    let (own, header) = (name(of), &testers.header);
    if seen.routes.get(&own).is_some_and(|taken| !made::is_ours(&taken.metadata)) {
        return Some(format!(
            "the HTTPRoute {own} is not gate's, and the testers' has to have this name"
        ));
    }
    if all_matches(route).any(|one| headers(one).count() >= HEADERS_MAX) {
        return Some(format!(
            "a match of the HTTPRoute {of} has {HEADERS_MAX} headers, and no room for the testers'"
        ));
    }
    let beside = seen
        .routes
        .iter()
        .filter(|(_, other)| !made::is_ours(&other.metadata) && shares_a_parent(route, other));
    let mut beside =
        beside.flat_map(|(name, other)| all_matches(other).map(move |one| (name, one)));
    beside.find_map(|(name, one)| {
        let named = |field: &Value| field.get("name").and_then(Value::as_str).map(str::to_owned);
        let mut names = headers(one).filter_map(named);
        if names.any(|name| name.eq_ignore_ascii_case(header)) {
            return Some(format!(
                "the HTTPRoute {name} matches the header {header} itself: name another for testers"
            ));
        }
        let passed = one.get("queryParams").is_some()
            && ["headers", "method"].iter().all(|field| one.get(field).is_none())
            && name != of;
        passed.then(|| {
            format!(
                "the testers' route over the HTTPRoute {of} would go before the HTTPRoute {name}, which matches parameters"
            )
        })
    })
}

fn all_matches(route: &DynamicObject) -> impl Iterator<Item = &Value> {
    rules(route).flat_map(matches_of)
}

fn headers(one: &Value) -> impl Iterator<Item = &Value> {
    one.get("headers").and_then(Value::as_array).into_iter().flatten()
}

impl GatewayApi {
    /// Returns the next writes that let the testers in, and that remove what else lets anybody in.
    pub(in super::super) fn let_in(&self, seen: &Snapshot, order: &Order<'_>) -> Vec<Write> {
        let strays = self.testers_routes(seen).filter(|(name, own)| {
            let wanted = self.present(seen).any(|(of, route)| {
                self::name(of) == **name && self.is_wanted(seen, (of, route), own, order.revision)
            });
            !wanted
        });
        let strays = removed(strays);
        let Some(testers) = self.testers.as_ref().filter(|_| strays.is_empty()) else {
            return strays;
        };
        let made = self.candidates_services(seen, order);
        if !made.is_empty() || !self.is_ready(seen) {
            return made;
        }
        let each = self.present(seen).filter_map(|(of, route)| {
            let name = name(of);
            match seen.routes.get_key_value(&name) {
                None => self.lay(seen, order, &name, route, self.asks(seen, of, route, testers)),
                Some((_, taken)) if !made::is_ours(&taken.metadata) => None,
                Some((name, own)) => self.raise(order, name, own, Share::FULL),
            }
        });
        each.collect()
    }

    /// Returns the writes that remove the testers' routes: nobody is sent anywhere by them any more.
    pub(in super::super) fn keep_out(&self, seen: &Snapshot) -> Vec<Write> {
        removed(self.testers_routes(seen))
    }

    /// Returns where the testers are. Those of a route that nobody has taken are where everybody is.
    pub(in super::super) fn testers_are(&self, seen: &Snapshot, revision: &str) -> TestersAre {
        let is_out =
            |route: &DynamicObject| self.is_at_zero(route) && status::is(route, Needed::Seen);
        if self.testers_routes(seen).all(|(_, own)| is_out(own)) {
            return TestersAre::Out;
        }
        let is_in = |of: &String| {
            let route = seen.routes.get(of);
            let own = seen.routes.get(&name(of)).filter(|own| made::is_ours(&own.metadata));
            route.zip(own).is_some_and(|(route, own)| {
                self.is_wanted(seen, (of, route), own, revision)
                    && status::is(own, Needed::Resolved)
                    && self.weigh("", own, Share::FULL).is_none()
            })
        };
        if self.routes.iter().all(is_in) { TestersAre::In } else { TestersAre::Between }
    }

    /// Returns whether a testers' route is the one that this promotion wants over a user's.
    fn is_wanted(
        &self,
        seen: &Snapshot,
        (of, route): (&String, &DynamicObject),
        own: &DynamicObject,
        revision: &str,
    ) -> bool {
        label(own.metadata.labels.as_ref(), REVISION) == Some(revision)
            && self.testers.as_ref().is_some_and(|testers| {
                overlay::fits(own, route, self.asks(seen, of, route, testers), &self.services)
            })
    }

    fn asks<'t>(
        &self,
        seen: &Snapshot,
        of: &str,
        route: &DynamicObject,
        testers: &'t Testers,
    ) -> Asks<'t> {
        Asks { method: self.lays_over(seen, of, route), header: Some(testers) }
    }

    /// Returns every route of gate's own for the target but those over the user's: the testers', of this
    /// promotion or another.
    pub(super) fn testers_routes<'a>(
        &self,
        seen: &'a Snapshot,
    ) -> impl Iterator<Item = (&'a String, &'a DynamicObject)> {
        let target = seen.target.as_ref().and_then(|target| target.metadata.name.as_deref());
        let target = target.map(names::target_label);
        let overlays: Vec<String> = self.routes.iter().map(|route| overlay::name(route)).collect();
        seen.routes.iter().filter(move |(name, own)| {
            let of = label(own.metadata.labels.as_ref(), TARGET);
            of.is_some() && of == target.as_deref() && !overlays.contains(name)
        })
    }
}

fn removed<'a>(routes: impl Iterator<Item = (&'a String, &'a DynamicObject)>) -> Vec<Write> {
    routes.filter_map(|(_, own)| Write::delete(Kind::HttpRoute, &own.metadata)).collect()
}
