//! HTTPRoutes of the Gateway API (`gateway.networking.k8s.io/v1`): the share is a weight.

use super::super::snapshot::Snapshot;
use super::super::write::Write;
use super::{Isolation, Order};
use crate::share::Share;

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
}

/// Copies for a share of the requests, one at least.
#[must_use]
pub fn copies(share: Share, stable: u32) -> u32 {
    let _ = share;
    stable
}

impl GatewayApi {
    /// Returns the router of a target.
    ///
    /// # Errors
    /// No route has one of its Services as a backend; why.
    pub fn new(
        _seen: &Snapshot,
        _template: &serde_json::Value,
        _route: Option<&str>,
        _ignored: &[String],
    ) -> Result<Self, String> {
        Err("not yet".into())
    }

    pub(super) fn isolation(&self) -> Isolation {
        Isolation::Label { key: self.key.clone(), value: self.value.clone() }
    }

    pub(super) fn next(&self, _seen: &Snapshot, _order: &Order<'_>) -> Vec<Write> {
        Vec::new()
    }

    pub(super) fn share(&self, _seen: &Snapshot, _order: &Order<'_>) -> Option<Share> {
        None
    }

    pub(super) fn restore(&self, _seen: &Snapshot, _revision: &str) -> Vec<Write> {
        Vec::new()
    }
}
