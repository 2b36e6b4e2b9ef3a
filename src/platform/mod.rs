//! Where the target and its traffic live.
//!
//! A platform has two methods: everything that the core may know of the world is in what
//! [`Platform::observe`] returns, everything that the gate may do is an [`Effect`]. Effects carry
//! no choices and are idempotent: asking twice is asking once.

use std::future::Future;

use crate::rollout::{Effect, World};

pub mod kubernetes;
pub mod local;
pub mod simulated;

/// Why the platform could not be read or written. The world may be anything: look again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct PlatformError {
    pub what: String,
}

pub trait Platform {
    /// Returns what is there now.
    fn observe(&mut self) -> impl Future<Output = Result<World, PlatformError>> + Send;

    /// Asks for one effect. `Ok` means that it was accepted; that it happened is seen by `observe`.
    fn act(&mut self, effect: &Effect) -> impl Future<Output = Result<(), PlatformError>> + Send;
}
