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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_part_of_the_traffic_is_no_share() {
        let nothing = [-0.01, -1e-300, 100.001, 1e300, f64::NAN, f64::INFINITY, -f64::INFINITY];
        for percent in nothing {
            assert_eq!(Share::from_percent(percent), None, "{percent} %");
            assert_eq!(Share::from_fraction(percent), None, "{percent}");
        }
        assert_eq!(Share::from_fraction(1.000_01), None);
        assert_eq!(Share::from_basis_points(10_001), None);
        assert_eq!(Share::from_basis_points(u16::MAX), None);
    }

    #[test]
    fn a_share_is_the_nearest_hundredth_of_a_percent() {
        // percent, basis points, as it is printed
        let table = [
            (0.0, 0, "0 %"),
            (0.004, 0, "0 %"),
            (0.005_1, 1, "0.01 %"),
            (0.01, 1, "0.01 %"),
            (5.0, 500, "5 %"),
            (12.5, 1250, "12.5 %"),
            (33.333, 3333, "33.33 %"),
            (99.994, 9999, "99.99 %"),
            (99.996, 10_000, "100 %"),
            (100.0, 10_000, "100 %"),
        ];
        for (percent, points, printed) in table {
            let share = Share::from_percent(percent).unwrap();
            assert_eq!((share.basis_points(), share.to_string().as_str()), (points, printed));
        }
        assert_eq!(format!("{:>7}|", Share::FULL), "  100 %|");
    }

    #[test]
    fn only_the_ends_are_nothing_and_everything() {
        for (points, zero, full) in
            [(0, true, false), (1, false, false), (9999, false, false), (10_000, false, true)]
        {
            let share = Share::from_basis_points(points).unwrap();
            assert_eq!((share.is_zero(), share.is_full()), (zero, full), "{points}");
        }
        assert_eq!((Share::ZERO.fraction(), Share::FULL.fraction()), (0.0, 1.0));
        assert_eq!(Share::default(), Share::ZERO);
    }

    #[test]
    fn in_json_a_share_is_a_fraction_from_0_to_1() {
        let json = |points| serde_json::to_string(&Share::from_basis_points(points).unwrap());
        assert_eq!(json(500).unwrap(), "0.05");
        assert_eq!(json(10_000).unwrap(), "1.0");
        assert_eq!(serde_json::from_str::<Share>("1").unwrap(), Share::FULL);
        for text in ["1.5", "-0.1", "5", "\"0.5\"", "null"] {
            assert!(serde_json::from_str::<Share>(text).is_err(), "{text}");
        }
        let error = serde_json::from_str::<Share>("1.5").unwrap_err().to_string();
        assert!(error.starts_with("a share lies between 0 and 1"), "{error}");
    }

    proptest! {
        #[test]
        fn no_share_is_lost_on_any_way(points in 0_u16..=10_000) {
            let share = Share::from_basis_points(points).unwrap();
            prop_assert_eq!(share.basis_points(), points);
            prop_assert_eq!(Share::from_fraction(share.fraction()), Some(share));
            prop_assert_eq!(Share::from_percent(f64::from(points) / 100.0), Some(share));
            let json = serde_json::to_string(&share).unwrap();
            prop_assert_eq!(serde_json::from_str::<Share>(&json).unwrap(), share);
        }

        #[test]
        fn more_traffic_is_a_larger_share(one in 0.0..=1.0_f64, other in 0.0..=1.0_f64) {
            let share = |fraction| Share::from_fraction(fraction).unwrap();
            prop_assert!(one > other || share(one) <= share(other));
            prop_assert!((share(one).fraction() - one).abs() <= 0.000_05 + 1e-12);
        }
    }
}
