//! No mesh: the share is the part of the pods behind a Service that are the candidate's.

use super::super::snapshot::Snapshot;
use super::super::write::Write;
use super::Order;
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
    let _ = share;
    stable
}

impl PlainService {
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
