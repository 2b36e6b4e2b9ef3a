//! Who is behind a Service, as its EndpointSlices have it: what the data plane sends requests to.

use std::collections::BTreeSet;

use super::super::snapshot::{Snapshot, label};
use crate::share::Share;

/// Label of a slice: its Service.
const SERVICE: &str = "kubernetes.io/service-name";

/// The ready pods behind a Service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Behind {
    /// The candidate's.
    pub candidate: usize,
    pub others: usize,
}

impl Behind {
    /// Reads the slices of a Service; `None` until there is one.
    #[must_use]
    pub fn of(seen: &Snapshot, service: &str) -> Option<Self> {
        let of_service = |labels| label(labels, SERVICE) == Some(service);
        let slices = seen.slices.values();
        let mut slices =
            slices.filter(|slice| of_service(slice.metadata.labels.as_ref())).peekable();
        slices.peek()?;
        // A pod is in one slice per family of addresses, and counts once.
        let mut pods = BTreeSet::new();
        for endpoint in slices.flat_map(|slice| &slice.endpoints) {
            // Kubernetes: a condition that is not told is to be read as ready.
            let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready);
            let name = endpoint.target_ref.as_ref().and_then(|target| target.name.as_deref());
            if let Some(name) = name.filter(|_| ready.unwrap_or(true)) {
                pods.insert(name);
            }
        }
        let candidate = pods.iter().filter(|pod| seen.candidates.contains_key(**pod)).count();
        Some(Self { candidate, others: pods.len() - candidate })
    }

    /// Returns the candidate's part of the ready pods, nothing where there are none.
    #[must_use]
    pub fn share(self) -> Share {
        let all = self.candidate + self.others;
        let fraction = if all == 0 { 0.0 } else { self.candidate as f64 / all as f64 };
        Share::from_fraction(fraction).unwrap_or_default()
    }
}
