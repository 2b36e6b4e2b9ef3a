//! Policy + target + release: the ordered stages, every default explicit, immutable, hashed.

use serde::{Deserialize, Serialize};

/// The new version of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// What the user calls it.
    pub name: String,
    /// Of everything that makes it what it is (command, environment; image, template).
    pub hash: String,
    /// It can't be undone: no automatic rollback past it.
    pub irreversible: bool,
}
