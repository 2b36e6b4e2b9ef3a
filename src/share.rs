//! The part of traffic that the candidate gets.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A share of traffic in basis points: 0 (0 %) to 10 000 (100 %), so exact to 0.01 %.
///
/// In JSON it is a fraction between 0 and 1, as everywhere in gate's formats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u16);

impl Share {
    pub const ZERO: Self = Self(0);
    pub const FULL: Self = Self(10_000);

    /// Returns the share of so many basis points, or `None` above 100 %.
    #[must_use]
    pub const fn from_basis_points(points: u16) -> Option<Self> {
        if points <= 10_000 { Some(Self(points)) } else { None }
    }

    /// Returns the share nearest to a percentage; `None` outside 0–100 and for what is not a number.
    #[must_use]
    pub fn from_percent(percent: f64) -> Option<Self> {
        Self::from_fraction(percent / 100.0)
    }

    /// Returns the share nearest to a fraction; `None` outside 0–1 and for what is not a number.
    #[must_use]
    pub fn from_fraction(fraction: f64) -> Option<Self> {
        (0.0..=1.0).contains(&fraction).then(|| Self((fraction * 10_000.0).round() as u16))
    }

    #[must_use]
    pub const fn basis_points(self) -> u16 {
        self.0
    }

    /// Returns the share as a fraction between 0 and 1.
    #[must_use]
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    #[must_use]
    pub const fn is_full(self) -> bool {
        self.0 == 10_000
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} %", f64::from(self.0) / 100.0))
    }
}

impl Serialize for Share {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(self.fraction())
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let fraction = f64::deserialize(from)?;
        Self::from_fraction(fraction)
            .ok_or_else(|| serde::de::Error::custom("a share lies between 0 and 1"))
    }
}
