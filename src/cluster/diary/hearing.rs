//! The watch on the record: what people ask for, and whether it is still ours.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ObjectMeta, PartialObjectMeta, WatchParams};
use tokio::sync::{mpsc, watch};

use super::super::tenure::Tenure;
use super::super::{asks, object};
use super::writing::Request;
use crate::history::AskedFor;
use crate::platform::kubernetes::access::Access;
use crate::platform::kubernetes::following::{Told, follow};
use crate::platform::kubernetes::names;
use crate::rollout::Ask;

#[derive(Debug)]
pub(super) struct Hearing {
    pub(super) name: String,
    pub(super) promotion: String,
    pub(super) stages: usize,
    pub(super) tenure: Tenure,
    pub(super) heard: watch::Sender<Vec<(AskedFor, Ask)>>,
    pub(super) requests: mpsc::Sender<Request>,
}

impl Hearing {
    /// Only annotations are watched: what the record holds is this process's own.
    pub(super) async fn run(self, access: Access) {
        let only = format!("metadata.name={}", self.name);
        let records: Api<PartialObjectMeta<ConfigMap>> =
            Api::namespaced(access.client.clone(), &access.namespace);
        let mut is_there = false;
        let tell = |told: Told<PartialObjectMeta<ConfigMap>>| match told {
            Told::Begins => is_there = false,
            Told::Is(record) => {
                is_there = true;
                self.take(&record.metadata);
            }
            Told::All if is_there => {}
            Told::All | Told::Gone(_) => self.look(),
            // It brings everything again.
            Told::Broken(_) => {}
        };
        follow(records, WatchParams::default().fields(&only), access.lists, tell).await;
    }

    fn take(&self, record: &ObjectMeta) {
        let annotations = object::annotations(record);
        // That it is still ours is no news: a watch may be late.
        if annotations.get(names::OWNER) != Some(&self.tenure.owner) {
            self.look();
        }
        let asks = asks::of(annotations, &self.promotion, self.stages);
        self.heard.send_if_modified(|heard| {
            let is_new = *heard != asks;
            *heard = asks;
            is_new
        });
    }

    /// The writer decides: its tests know more than a watch, which may be late.
    fn look(&self) {
        // Where many wait already, the next of them looks.
        let _ = self.requests.try_send(Request::Look);
    }
}
