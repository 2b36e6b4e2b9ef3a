//! Which routes, and which label sets the candidate's pods apart.

use std::collections::BTreeSet;

use kube::api::DynamicObject;
use serde_json::Value;

use super::super::super::names;
use super::super::super::snapshot::Snapshot;
use super::super::{NO_SERVICE, selector, services_of};
use super::{GatewayApi, backends, made, overlay, testers};
use crate::policy::Traffic;

/// Backends of one rule, as the API has it.
const BACKENDS_MAX: usize = 16;

impl GatewayApi {
    /// Finds the target's Services, their routes (all, or the one that is named) and the label.
    ///
    /// # Errors
    /// Why this router can't do it, in words for the user.
    pub fn new(seen: &Snapshot, template: &Value, traffic: &Traffic) -> Result<Self, String> {
        let services = services_of(seen, template, &traffic.ignore_services);
        let services: Vec<String> = services.into_iter().map(str::to_owned).collect();
        if services.is_empty() {
            return Err(NO_SERVICE.into());
        }
        let routes = routes(seen, &services, traffic.route.as_deref())?;
        let (key, value) = label(seen, &services)?;
        let router = Self { routes, services, key, value, testers: traffic.testers.clone() };
        router.obstacle(seen).map_or(Ok(router), Err)
    }

    /// Returns what is in the way of the candidate's backends.
    fn obstacle(&self, seen: &Snapshot) -> Option<String> {
        let taken = self.backends(seen).into_iter().map(|service| names::candidate(&service));
        let taken = taken.filter_map(|name| seen.services.get_key_value(&name));
        if let Some((name, _)) = taken.into_iter().find(|(_, own)| !made::is_ours(&own.metadata)) {
            return Some(format!(
                "the Service {name} is not gate's, and the candidate's has to have this name"
            ));
        }
        self.present(seen).find_map(|(name, route)| {
            let full = backends::rules(route)
                .any(|(_, refs)| backends::joined(refs, &self.services).len() > BACKENDS_MAX);
            if full {
                return Some(format!(
                    "a rule of the HTTPRoute {name} has no room for a backend more"
                ));
            }
            let over = self.lays_over(seen, name, route);
            let refused = over.then(|| overlay::refuses(route, seen)).flatten();
            let testers = self.testers.as_ref();
            refused.or_else(|| testers::refuses(route, seen, testers?))
        })
    }
}

fn routes(
    seen: &Snapshot,
    services: &[String],
    wanted: Option<&str>,
) -> Result<Vec<String>, String> {
    let leads = |route: &DynamicObject| {
        !made::is_ours(&route.metadata)
            && backends::rules(route).any(|(_, refs)| !backends::pairs(refs, services).is_empty())
    };
    let names = services.join(", ");
    match wanted {
        Some(wanted) => match seen.routes.get(wanted) {
            Some(route) if leads(route) => Ok(vec![wanted.to_owned()]),
            Some(_) => Err(format!("the HTTPRoute {wanted} has no backend of {names}")),
            None => Err(format!("there is no HTTPRoute {wanted} in the namespace")),
        },
        None => {
            let found = seen.routes.iter().filter(|(_, route)| leads(route));
            let found: Vec<String> = found.map(|(name, _)| name.clone()).collect();
            if found.is_empty() {
                return Err(format!("no HTTPRoute of the namespace has a backend of {names}"));
            }
            Ok(found)
        }
    }
}

/// Returns the key that every Service needs, and its value on the candidate's pods. One that the
/// Deployment selects by is better: what counts stable's pods then does not count the candidate's.
fn label(seen: &Snapshot, services: &[String]) -> Result<(String, String), String> {
    let selectors: Vec<_> =
        services.iter().filter_map(|name| selector::original(seen.services.get(name)?)).collect();
    let mut common: BTreeSet<&String> = selectors.iter().flat_map(|one| one.keys()).collect();
    common.retain(|key| selectors.iter().all(|selector| selector.contains_key(*key)));
    let own = seen.target.as_ref().and_then(|it| it.data.pointer("/spec/selector/matchLabels"));
    let selected = |key: &str| own.is_some_and(|labels| labels.get(key).is_some());
    let best = common.iter().find(|key| selected(key)).or_else(|| common.first());
    let Some(key) = best else {
        let names = services.join(", ");
        return Err(format!(
            "no label is needed by all of the Services {names}: the candidate's pods can't be kept out of all; name those to ignore"
        ));
    };
    let value = selectors.iter().find_map(|selector| selector.get(*key));
    let value = match value.map(String::as_str) {
        None | Some("") => "candidate".to_owned(),
        Some(value) => names::candidate(value),
    };
    Ok(((*key).clone(), value))
}
