//! Which revision gets a request, in exact arithmetic.
//!
//! Every request gets a *point*, a whole number below 2⁶⁴; the candidate gets it if the point lies
//! below `share · 2⁶⁴`. Requests without a key take the points of the golden-ratio sequence
//! `i · 2⁶⁴/φ mod 2⁶⁴`. It is neither a coin (which is off by ±1 point over 1,000 requests) nor a
//! rotation (which gives a client that cycles through ten URLs always the same one): of all
//! sequences of this form it fills the circle most evenly (the three-distance theorem), and so does
//! every one of its subsequences with a fixed stride, because a stride only multiplies the angle.
//! Requests with a key take a salted hash of it, which moves nobody twice as a share rises.

use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use crate::share::Share;

/// 2⁶⁴ divided by the golden ratio, to the nearest odd number (Knuth, TAOCP vol. 3, 6.4).
const GOLDEN: u64 = 11_400_714_819_323_198_485;

/// Returns whether the candidate of this share gets the request at this point.
///
/// `point < share · 2⁶⁴`, without rounding: 0 % takes no point and 100 % takes every one.
pub(super) fn is_candidates(point: u64, share: Share) -> bool {
    u128::from(point) * 10_000 < u128::from(share.basis_points()) << 64
}

/// The points of requests that have no key.
#[derive(Debug, Default)]
pub(super) struct Sequence(AtomicU64);

impl Sequence {
    #[cfg(test)]
    pub(super) fn starting_at(at: u64) -> Self {
        Self(AtomicU64::new(at))
    }

    pub(super) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(GOLDEN)
    }
}

/// What makes assignments by key unpredictable: without it nobody can tell a key's version.
#[derive(Clone, Copy)]
pub struct Salt(pub [u8; 16]);

impl Salt {
    /// Returns the point of a key: the first 64 bits of SHA-256 over salt and key.
    pub(super) fn point(&self, key: &[u8]) -> u64 {
        let hash = Sha256::new().chain_update(self.0).chain_update(key).finalize();
        hash.iter().take(8).fold(0, |point, byte| point << 8 | u64::from(*byte))
    }
}

impl std::fmt::Debug for Salt {
    /// The salt is a secret: whoever knows it can choose a key for the version they want.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt(..)")
    }
}
