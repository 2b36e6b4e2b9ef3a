//! What an interrupted promotion left behind, and its end.
//!
//! A promotion whose gate lives has left nothing: what is there is its own, and it is not touched. One
//! that was left behind is first ended as a promotion, by the engine and in its record; what no
//! promotion knows of is found by labels and notes on the objects, also where the record is gone.

use std::time::Duration;

use kube::api::{DynamicObject, ListParams};
use serde_json::Value;
use tokio::time::Instant;

use super::begin::{self, Refused};
use super::ledger::Ledger;
use super::requests::{Cluster, Stopped};
use super::running::this;
use super::survey::{selector, target};
use super::{owner, read};
use crate::clock::{Clock as _, SystemClock};
use crate::history::AskedFor;
use crate::host::protocol::Answer;
use crate::platform::PlatformError;
use crate::platform::kubernetes::doctor::{Leftover, Repair, findings, repair};
use crate::platform::kubernetes::removal::Removal;
use crate::platform::kubernetes::router::gateway_api::backends::rules;
use crate::platform::kubernetes::router::{
    GatewayApi, Order, PlainService, Router, SERVICE, services_of,
};
use crate::platform::kubernetes::sending::Sender;
use crate::platform::kubernetes::snapshot::{Snapshot, label};
use crate::platform::kubernetes::target::SETTLE_LIMIT;
use crate::platform::kubernetes::watching::{Slot, Watch, Watched};
use crate::platform::kubernetes::write::Kind;
use crate::platform::kubernetes::{Access, names, template};
use crate::policy::{self, Strategy};
use crate::rollout::Ask;
use crate::share::Share;

/// A repair takes no longer than this: what is left then waits for somebody.
pub const REPAIR_LIMIT: Duration = Duration::from_secs(120);
/// Between two looks where nothing is told.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Answers of the promotion that is ended first; nobody reads them.
const ANSWERS_MAX: usize = 1024;

/// What was found, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkup {
    pub target: String,
    /// The promotion that was left behind: its id.
    pub orphan: Option<String>,
    /// What was left when it was looked at first.
    pub left: Vec<Leftover>,
    /// What was written, in order.
    pub wrote: Vec<String>,
    /// Why not everything is repaired.
    pub waits_for: Option<String>,
}

impl Cluster {
    /// Looks for what was left behind, and with `fix` repairs it; `tell` hears each step.
    ///
    /// # Errors
    /// A promotion runs and its gate lives; the cluster can't be read. As it is answered to requests.
    pub async fn doctor(
        &self,
        fix: bool,
        by: &str,
        tell: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Checkup, Box<Answer>> {
        let checkup = self.check_up(fix, by, tell).await;
        checkup.map_err(|stopped| Box::new(stopped.into_answer()))
    }

    async fn check_up(
        &self,
        fix: bool,
        by: &str,
        tell: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Checkup, Stopped> {
        let access = Access::new(self.place()).await?;
        let ledger = read::read(&access, self.name()).await?;
        let orphan = self.orphan(ledger.as_ref(), by)?;
        let own = selector(&target(&access, self.name()).await?);
        let watched = Watched::start(&access, watches(&access, self.name(), own).await?);
        let seen = watched.settled(SETTLE_LIMIT).await?;
        let revision = ledger.as_ref().map(|ledger| ledger.folded.id.as_str());
        let left = findings(&seen, self.name(), revision);
        let mut checkup =
            Checkup { target: self.target(), orphan, left, wrote: Vec::new(), waits_for: None };
        if !fix {
            return Ok(checkup);
        }
        if let Some(id) = &checkup.orphan {
            tell(&format!("ends promotion {id}, which was left behind"));
            checkup.waits_for = self.end(&access, by).await?;
        }
        if checkup.waits_for.is_none() {
            let patient = Patient {
                access: &access,
                watched: &watched,
                target: self.name(),
                ledger: ledger.as_ref(),
            };
            checkup.waits_for = patient.repair(&mut checkup.wrote, tell).await;
        }
        Ok(checkup)
    }

    /// Returns the id of the promotion that was left behind.
    fn orphan(&self, ledger: Option<&Ledger>, by: &str) -> Result<Option<String>, Stopped> {
        let Some(ledger) = ledger.filter(|ledger| ledger.runs()) else { return Ok(None) };
        let now = SystemClock::start().now();
        let me = this(by, now)?;
        let life = ledger.owner.as_ref().map(|owner| owner.life(&me, ledger.heartbeat, now));
        match life {
            Some(owner::Life::Lives) => {
                let id = &ledger.folded.id;
                let message =
                    format!("promotion {id} runs, and its gate lives: what is there is its own");
                Err(Stopped::refused(message, Some(format!("gate status {}", self.target()))))
            }
            Some(owner::Life::Gone | owner::Life::Silent) | None => {
                Ok(Some(ledger.folded.id.clone()))
            }
        }
    }

    /// Ends the promotion that was left behind; returns why it could not be.
    async fn end(&self, access: &Access, by: &str) -> Result<Option<String>, Stopped> {
        let now = SystemClock::start().now();
        let held = match begin::go_on(access, self.name(), &this(by, now)?, true).await {
            Ok(held) => held,
            Err(Refused::NothingRuns { .. }) => return Ok(None), // somebody else has ended it
            Err(refused) => return Err(refused.into()),
        };
        let reason = Some("its gate is gone".to_owned());
        let wish = (AskedFor::Abort, Ask { at: now, by: by.to_owned(), reason });
        let (answers, mut unread) = tokio::sync::mpsc::channel(ANSWERS_MAX);
        let ends = async {
            let ended = self.resume(access, held, Some(wish), &answers).await;
            drop(answers);
            ended
        };
        let unread = async { while unread.recv().await.is_some() {} };
        match tokio::time::timeout(REPAIR_LIMIT, async { tokio::join!(ends, unread).0 }).await {
            Ok(ended) => ended.map(|_| None),
            Err(_) => Ok(Some(format!("its promotion has not ended within {REPAIR_LIMIT:?}"))),
        }
    }
}

/// A target that is repaired.
struct Patient<'a> {
    access: &'a Access,
    watched: &'a Watched,
    target: &'a str,
    ledger: Option<&'a Ledger>,
}

impl Patient<'_> {
    /// Writes until nothing is left; returns why it could not go on.
    async fn repair(
        &self,
        wrote: &mut Vec<String>,
        tell: &mut (dyn FnMut(&str) + Send),
    ) -> Option<String> {
        let deadline = Instant::now() + REPAIR_LIMIT;
        let mut told = String::new();
        loop {
            let why = match self.step(wrote, tell).await {
                Ok(None) => return None,
                Ok(Some(why)) => why,
                Err(error) => error.what,
            };
            if why != told {
                tell(&why);
                told.clone_from(&why);
            }
            if Instant::now() >= deadline {
                return Some(why);
            }
            let _ = tokio::time::timeout(LOOK_AGAIN, self.watched.changed()).await;
        }
    }

    /// Returns what it waits for; `None`: nothing is left.
    async fn step(
        &self,
        wrote: &mut Vec<String>,
        tell: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Option<String>, PlatformError> {
        let seen = self.watched.snapshot()?;
        let router = self.router(&seen);
        let folded = self.ledger.map(|ledger| &ledger.folded);
        let revision = self.revision(&seen);
        let drain = folded.map(|folded| folded.plan.rollback_drain);
        let drain = drain.unwrap_or_else(|| policy::built_in().rollback_drain);
        let removal = Removal {
            router: &router,
            target: self.target,
            revision: &revision,
            condemned: (!self.has_adopted(&seen)).then_some(drain),
        };
        let order = Order {
            revision: &revision,
            share: Share::ZERO,
            strategy: folded.map_or(Strategy::Canary, |folded| folded.plan.strategy),
            adopted: self.has_adopted(&seen),
            now: SystemClock::start().now(),
        };
        match repair(&seen, &removal, &order) {
            Repair::Done => Ok(None),
            Repair::Wait(why) => Ok(Some(why)),
            Repair::Write(writes) => {
                let sender =
                    Sender { access: self.access, watched: self.watched, target: self.target };
                for write in writes {
                    let what = write.to_string();
                    sender.send(vec![write]).await?;
                    tell(&what);
                    wrote.push(what);
                }
                Ok(Some("what was written is seen".to_owned()))
            }
        }
    }

    /// The promotion whose candidate is there, else the record's.
    fn revision(&self, seen: &Snapshot) -> String {
        let metas = seen.candidate.iter().map(|own| &own.metadata);
        let metas = metas.chain(seen.candidates.values().map(|pod| &pod.metadata));
        let found = metas.filter_map(|meta| label(meta.labels.as_ref(), names::REVISION)).next();
        let recorded = self.ledger.map(|ledger| ledger.folded.id.as_str());
        found.or(recorded).unwrap_or_default().to_owned()
    }

    fn has_adopted(&self, seen: &Snapshot) -> bool {
        let template = seen.target.as_ref().and_then(|own| own.data.pointer("/spec/template"));
        let release = self.ledger.map(|ledger| ledger.folded.plan.release.hash.as_str());
        template.is_some_and(|own| Some(template::hash(own).as_str()) == release)
    }

    /// By routes as long as one bears gate's traces, else by Services; as the record says where it does.
    fn router(&self, seen: &Snapshot) -> Router {
        let template = seen.target.as_ref().map(|own| &own.data["spec"]["template"]);
        let services = template.map(|template| services_of(seen, template, &[]));
        let services: Vec<String> = services.into_iter().flatten().map(str::to_owned).collect();
        let routes = routes_of(seen, &services);
        let is_traced = |route: &&DynamicObject| {
            let entries = route.metadata.managed_fields.iter().flatten();
            let mut managers = entries.filter_map(|entry| entry.manager.as_deref());
            label(route.metadata.annotations.as_ref(), names::ORIGINAL).is_some()
                || managers.any(|manager| manager == names::MANAGER)
        };
        let own = Some(names::target_label(self.target));
        let is_own = |route: &DynamicObject| {
            label(route.metadata.labels.as_ref(), names::TARGET) == own.as_deref()
        };
        let by_routes = routes.iter().any(is_traced) || seen.routes.values().any(is_own);
        let plan = self.ledger.and_then(|ledger| ledger.folded.plan.traffic.as_ref());
        let recorded = plan.filter(|plan| (plan.router == SERVICE) != by_routes);
        if let Some(router) = recorded.and_then(Router::of_plan) {
            return router;
        }
        if !by_routes {
            return Router::Service(PlainService { services });
        }
        let routes = routes.iter().filter_map(|route| route.metadata.name.clone()).collect();
        // What sets a candidate apart matters to one that is made, and none is.
        let (key, value) = (String::new(), String::new());
        Router::GatewayApi(GatewayApi { routes, services, key, value, testers: None })
    }
}

/// The user's routes that lead to these Services.
fn routes_of<'a>(seen: &'a Snapshot, services: &[String]) -> Vec<&'a DynamicObject> {
    let leads = |route: &&DynamicObject| {
        rules(route).flat_map(|(_, backends)| backends).any(|backend| {
            let name = backend.get("name").and_then(Value::as_str);
            name.is_some_and(|name| services.iter().any(|service| service == name))
        })
    };
    let users = seen.routes.values();
    users
        .filter(|route| label(route.metadata.labels.as_ref(), names::TARGET).is_none())
        .filter(leads)
        .collect()
}

/// As a promotion's, but for the candidate of whichever promotion.
async fn watches(access: &Access, name: &str, own: String) -> Result<Vec<Watch>, PlatformError> {
    let all = |slot| Watch { slot, name: None, labels: None };
    let named = |slot, name: &str| Watch { slot, name: Some(name.to_owned()), labels: None };
    let labelled = |slot, labels: String| Watch { slot, name: None, labels: Some(labels) };
    let mut watches = vec![
        named(Slot::Target, name),
        named(Slot::Candidate, &names::candidate(name)),
        labelled(Slot::ReplicaSets, own.clone()),
        labelled(Slot::Pods, own),
        labelled(Slot::CandidatePods, format!("{}={}", names::TARGET, names::target_label(name))),
        all(Slot::Services),
        all(Slot::Slices),
        all(Slot::Autoscalers),
    ];
    if routes_are_there(access).await? {
        watches.push(all(Slot::Routes));
    }
    Ok(watches)
}

/// Not where the cluster has no routes, nor where a promotion by Services may not read them.
async fn routes_are_there(access: &Access) -> Result<bool, PlatformError> {
    let one = ListParams::default().limit(1);
    let answer = async {
        match access.objects(Kind::HttpRoute).list(&one).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if [403, 404].contains(&status.code) => Ok(false),
            Err(error) => Err(error),
        }
    };
    access.ask("listing HTTPRoute objects", answer).await
}
