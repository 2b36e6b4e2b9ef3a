//! Quantiles from counts of "slower than bound k".

/// Returns the quantile `q` of the response time in milliseconds, by linear interpolation in the
/// logarithm of the bounds; `None` without requests.
///
/// `slower[k]` counts the requests slower than `bounds[k]`. Beyond the last bound nothing is known,
/// so that bound is returned: the true value is not below it. `q` lies strictly between 0 and 1.
#[must_use]
pub fn quantile_ms(q: f64, requests: f64, slower: &[f64], bounds: &[f64]) -> Option<f64> {
    if requests <= 0.0 || bounds.is_empty() || slower.len() != bounds.len() {
        return None;
    }
    let above = (1.0 - q) * requests;
    let Some(k) = slower.iter().position(|count| *count <= above) else {
        return bounds.last().copied();
    };
    let (low, more) = if k == 0 { (0.0, requests) } else { (bounds[k - 1], slower[k - 1]) };
    let (high, fewer) = (bounds[k], slower[k]);
    let part = (more - above) / (more - fewer); // more > above >= fewer
    Some(if low > 0.0 { low * (high / low).powf(part) } else { high * part })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::quantile_ms;

    fn check(q: f64, requests: f64, slower: &[f64], expected: Option<f64>) {
        let seen = quantile_ms(q, requests, slower, &[10.0, 100.0, 1000.0]);
        match (seen, expected) {
            (Some(seen), Some(expected)) => {
                assert!((seen - expected).abs() < 1e-9 * expected, "{seen} is not {expected}");
            }
            _ => assert_eq!(seen, expected),
        }
    }

    #[test]
    fn lies_where_the_count_is_reached() {
        check(0.95, 100.0, &[50.0, 5.0, 0.0], Some(100.0));
        check(0.95, 100.0, &[5.0, 0.0, 0.0], Some(10.0));
        check(0.5, 100.0, &[0.0, 0.0, 0.0], Some(5.0));
        check(0.95, 100.0, &[90.0, 9.0, 1.0], Some(100.0 * 10f64.powf(0.5)));
    }

    #[test]
    fn beyond_the_last_bound_it_is_at_least_that_bound() {
        check(0.95, 100.0, &[100.0, 100.0, 60.0], Some(1000.0));
    }

    proptest! {
        #[test]
        fn at_most_the_rest_is_slower_than_it(
            q in 0.001..0.999_f64,
            requests in 1_u32..10_000,
            parts in [0.0..=1.0_f64, 0.0..=1.0, 0.0..=1.0],
        ) {
            let bounds = [10.0, 100.0, 1000.0];
            let mut slower = f64::from(requests);
            let slower = parts.map(|part| { slower = (slower * part).floor(); slower });
            let seen = quantile_ms(q, f64::from(requests), &slower, &bounds).unwrap();
            let rest = (1.0 - q) * f64::from(requests);
            for (bound, slower) in bounds.iter().zip(slower) {
                prop_assert!(slower > rest || seen <= bound * (1.0 + 1e-9), "{seen} > {bound}");
                prop_assert!(slower <= rest || seen >= bound * (1.0 - 1e-9), "{seen} < {bound}");
            }
        }
    }

    #[test]
    fn without_requests_there_is_none() {
        check(0.95, 0.0, &[0.0, 0.0, 0.0], None);
        check(0.95, 10.0, &[0.0], None);
    }
}
