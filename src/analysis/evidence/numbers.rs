//! Sums and logarithms that keep their digits.
//!
//! Evidence is a product of thousands of likelihood ratios, so it lives in logarithms, where "no
//! evidence yet" is −∞. JSON has no −∞: [`log`] and [`logs`] write it as `null`.

/// From here on 1 + x keeps ln(1 + x) to 10⁻¹⁴ of itself.
const LN_1P_PLAIN: f64 = 1.0 / 64.0;

/// ln x, and −∞ for what is not above 0.
pub(super) fn ln(x: f64) -> f64 {
    if x > 0.0 { x.ln() } else { f64::NEG_INFINITY }
}

/// ln(1 + x). Where 1 + x rounds nothing away that counts, the plain logarithm is three times as fast;
/// a block takes hundreds of them.
pub(super) fn ln_1p(x: f64) -> f64 {
    if x > LN_1P_PLAIN { (1.0 + x).ln() } else { x.ln_1p() }
}

/// ln(eᵃ + eᵇ)
pub(super) fn log_add(a: f64, b: f64) -> f64 {
    let (high, low) = if a >= b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + ln_1p((low - high).exp()) }
}

/// ln Σ eᵛ, the largest taken out first, so that nothing overflows.
pub(super) fn log_sum(values: &[f64]) -> f64 {
    let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if top == f64::NEG_INFINITY {
        return top;
    }
    top + sum(values.iter().map(|v| (v - top).exp())).ln()
}

/// ln of the mean of eᵛ
pub(super) fn log_mean(values: &[f64]) -> f64 {
    log_sum(values) - (values.len() as f64).ln()
}

/// Index of the largest; of several equal ones the first.
pub(super) fn arg_max(values: &[f64]) -> usize {
    let mut best = 0;
    for (i, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = i;
        }
    }
    best
}

/// Sum with the rounding errors carried along (Neumaier 1974): its order doesn't matter down to
/// the last digit or so, so that names of pods don't change verdicts.
pub(super) fn sum(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut total, mut lost) = (0.0_f64, 0.0_f64);
    for value in values {
        let next = total + value;
        lost += if total.abs() >= value.abs() {
            (total - next) + value
        } else {
            (value - next) + total
        };
        total = next;
    }
    total + lost
}

/// `a += b`, element by element.
pub(super) fn add_to(a: &mut [f64], b: &[f64]) {
    for (a, b) in a.iter_mut().zip(b) {
        *a += b;
    }
}

/// One logarithm in JSON.
pub(super) mod log {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes −∞ as `null`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub(crate) fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        value.is_finite().then_some(*value).serialize(to)
    }

    /// Reads `null` as −∞.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        Ok(Option::deserialize(from)?.unwrap_or(f64::NEG_INFINITY))
    }
}

/// A row of logarithms in JSON.
pub(super) mod logs {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes −∞ as `null`.
    ///
    /// # Errors
    /// Those of the serializer.
    pub(crate) fn serialize<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
        let values: Vec<Option<f64>> = values.iter().map(|v| v.is_finite().then_some(*v)).collect();
        values.serialize(to)
    }

    /// Reads `null` as −∞.
    ///
    /// # Errors
    /// Those of the deserializer.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        let values = Vec::<Option<f64>>::deserialize(from)?;
        Ok(values.into_iter().map(|v| v.unwrap_or(f64::NEG_INFINITY)).collect())
    }
}
