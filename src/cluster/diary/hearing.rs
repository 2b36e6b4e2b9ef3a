//! The watch on the record: what people ask for, and whether it is still ours.

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ObjectMeta, PartialObjectMeta};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use tokio::sync::{mpsc, watch};

use super::super::{asks, object};
use super::writing::Request;
use crate::history::AskedFor;
use crate::platform::kubernetes::access::Access;
use crate::platform::kubernetes::names;
use crate::rollout::Ask;

#[derive(Debug)]
pub(super) struct Hearing {
    pub(super) name: String,
    pub(super) promotion: String,
    pub(super) stages: usize,
    pub(super) owner: String,
    pub(super) heard: watch::Sender<Vec<(AskedFor, Ask)>>,
    pub(super) requests: mpsc::Sender<Request>,
}

impl Hearing {
    /// Only annotations are watched: what the record holds is this process's own.
    pub(super) async fn run(self, access: Access) {
        let only = format!("metadata.name={}", self.name);
        let config = watcher::Config::default().fields(&only);
        let records: Api<PartialObjectMeta<ConfigMap>> =
            Api::namespaced(access.client.clone(), &access.namespace);
        let events = watcher(records, config).default_backoff();
        tokio::pin!(events);
        let mut is_there = false;
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(record) | Event::InitApply(record)) => {
                    is_there = true;
                    self.take(&record.metadata);
                }
                Ok(Event::Init) => is_there = false,
                Ok(Event::InitDone) if is_there => {}
                Ok(Event::InitDone | Event::Delete(_)) => self.look(),
                // It is tried again, and brings everything then.
                Err(_) => {}
            }
        }
    }

    fn take(&self, record: &ObjectMeta) {
        let annotations = object::annotations(record);
        if annotations.get(names::OWNER) != Some(&self.owner) {
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
