//! The normal distribution: Φ and Φ⁻¹.
//!
//! `statrs` has both from rational approximations (Boost's coefficients); the table in the tests
//! compares them with SciPy's, out to the tails that half an event in 10⁹ requests reaches.

use statrs::function::erf::{erfc, erfc_inv};

/// Φ(z)
pub(crate) fn cdf(z: f64) -> f64 {
    0.5 * erfc(-z / std::f64::consts::SQRT_2)
}

/// Φ⁻¹(p), for p strictly between 0 and 1.
pub(crate) fn quantile(p: f64) -> f64 {
    -std::f64::consts::SQRT_2 * erfc_inv(2.0 * p)
}
