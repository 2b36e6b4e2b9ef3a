//! A place where records are kept: the small server of these tests, and a real cluster where one is named.

use std::time::Duration;

use chrono::{DateTime, Utc};
use kube::api::DeleteParams;
use serde_json::json;

use super::server::Server;
use crate::clock::{Clock, SystemClock};
use crate::cluster::begin::New;
use crate::cluster::ledger::{Ledger, Templates};
use crate::cluster::object;
use crate::cluster::owner::Owner;
use crate::cluster::read;
use crate::plan::{Defaults, Plan, Release};
use crate::platform::kubernetes::access::{Access, Where};
use crate::platform::kubernetes::names;
use crate::policy;

/// The kubeconfig of a cluster that tests may use.
const KUBECONFIG: &str = "GATE_TEST_KUBECONFIG";
/// Every wait for a fact ends here.
const WAIT_MAX: Duration = Duration::from_secs(30);

pub(super) struct Ground {
    pub(super) access: Access,
    pub(super) target: String,
    /// It ends with this.
    _server: Option<Server>,
}

impl Ground {
    pub(super) async fn on(server: &Server) -> Self {
        let config = kube::Config::new(server.url.parse().unwrap());
        let client = kube::Client::try_from(config).unwrap();
        Self {
            access: Access { client, namespace: "shop".into(), lists: Default::default() },
            target: "checkout".into(),
            _server: Some(server.clone()),
        }
    }

    /// As gate itself goes there: a refusal is told as it came.
    pub(super) fn to(server: &Server) -> Self {
        let config = kube::Config::new(server.url.parse().unwrap());
        let access = Access::to(config, "shop".into()).unwrap();
        Self { access, target: "checkout".into(), _server: Some(server.clone()) }
    }

    /// Returns both grounds, or one where no cluster is named.
    pub(super) async fn all(test: &str) -> Vec<Self> {
        let mut all = vec![Self::on(&Server::start().await).await];
        match std::env::var_os(KUBECONFIG) {
            None => eprintln!("{test}: on the small server alone; {KUBECONFIG} names no cluster"),
            Some(kubeconfig) => {
                let place = Where {
                    kubeconfig: Some(kubeconfig.into()),
                    context: None,
                    namespace: Some("default".into()),
                };
                let access = Access::new(&place).await.unwrap();
                all.push(Self {
                    access,
                    target: format!("{test}-{}", std::process::id()),
                    _server: None,
                });
            }
        }
        all
    }

    pub(super) fn name(&self) -> String {
        names::record(&self.target)
    }

    pub(super) async fn read(&self) -> Ledger {
        read::read(&self.access, &self.target).await.unwrap().unwrap()
    }

    pub(super) async fn delete(&self) {
        let api = object::api(&self.access);
        api.delete(&self.name(), &DeleteParams::default()).await.unwrap();
    }

    /// Waits until the record is as it should be.
    pub(super) async fn until(&self, what: &str, holds: impl Fn(&Ledger) -> bool) -> Ledger {
        let poll = async {
            loop {
                if let Ok(Some(ledger)) = read::read(&self.access, &self.target).await
                    && holds(&ledger)
                {
                    return ledger;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let found = tokio::time::timeout(WAIT_MAX, poll).await;
        found.unwrap_or_else(|_| panic!("the record never had it: {what}"))
    }
}

pub(super) fn now() -> DateTime<Utc> {
    SystemClock::start().now()
}

pub(super) fn release(name: &str) -> Release {
    Release { name: name.into(), hash: format!("hash of {name}"), irreversible: false }
}

pub(super) fn plan() -> Plan {
    let defaults = Defaults { interval: Duration::from_secs(15), window: Duration::from_secs(60) };
    let (policy, target) = (policy::built_in(), "deployment/checkout");
    Plan::new(&policy, "built in", target, release("v1"), release("v2"), defaults)
}

pub(super) fn templates() -> Templates {
    let template =
        |image: &str| json!({ "spec": { "containers": [{ "name": "web", "image": image }] } });
    Templates { stable: template("acme/web:1"), release: template("acme/web:2") }
}

pub(super) fn new(id: &str) -> New {
    New { id: id.into(), by: "ada".into(), plan: plan(), templates: templates(), record: None }
}

/// Returns an owner of this machine that has ended: its process is one of before.
pub(super) fn gone() -> Owner {
    let mut owner = Owner::this("gone", now()).unwrap();
    owner.process.started_ticks -= 1;
    owner
}

/// Returns an owner that may live on another machine; its heartbeat tells.
pub(super) fn elsewhere(since: DateTime<Utc>) -> Owner {
    let mut owner = Owner::this("grace", since).unwrap();
    owner.process.boot_id = "another machine".into();
    owner.host = "build-7".into();
    owner
}
