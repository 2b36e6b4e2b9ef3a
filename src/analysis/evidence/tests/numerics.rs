//! Special functions against `SciPy`, sums, logarithms.

use super::super::normal;
use super::super::numbers::{arg_max, ln, log, log_add, log_mean, log_sum, sum};

/// `scipy.special.ndtri`
const QUANTILES: [(f64, f64); 24] = [
    (5e-16, -8.026_858_882_534_54),
    (1e-12, -7.034_483_825_301_131),
    (5e-10, -6.109_410_204_869_397_5),
    (1e-7, -5.199_337_582_192_816_5),
    (1e-5, -4.264_890_793_922_825),
    (5e-4, -3.290_526_731_491_894_5),
    (1e-3, -3.090_232_306_167_813),
    (0.01, -2.326_347_874_040_840_8),
    (0.025, -1.959_963_984_540_054_5),
    (0.05, -1.644_853_626_951_472_9),
    (0.1, -1.281_551_565_544_600_4),
    (0.2, -0.841_621_233_572_914_2),
    (0.3, -0.524_400_512_708_041),
    (0.49, -0.025_068_908_258_711_06),
    (0.5, 0.0),
    (0.6, 0.253_347_103_135_799_7),
    (0.75, 0.674_489_750_196_081_7),
    (0.95, 1.644_853_626_951_472_2),
    (0.99, 2.326_347_874_040_840_8),
    (0.9995, 3.290_526_731_491_925_5),
    (1.0 - 1e-5, 4.264_890_793_923_841),
    (1.0 - 1e-7, 5.199_337_582_290_661),
    (1.0 - 5e-10, 6.109_410_191_663_287_5),
    (1.0 - 1e-12, 7.034_486_910_047_835_6),
];

/// `scipy.special.ndtr`
const PROBABILITIES: [(f64, f64); 16] = [
    (-12.0, 1.776_482_112_077_653e-33),
    (-8.0, 6.220_960_574_271_74e-16),
    (-6.0, 9.865_876_450_376_946e-10),
    (-5.0, 2.866_515_718_791_933e-7),
    (-4.0, 3.167_124_183_311_986e-5),
    (-3.0, 0.001_349_898_031_630_093_3),
    (-2.0, 0.022_750_131_948_179_195),
    (-1.0, 0.158_655_253_931_457_07),
    (-0.5, 0.308_537_538_725_986_9),
    (-0.1, 0.460_172_162_722_971),
    (0.0, 0.5),
    (0.25, 0.598_706_325_682_923_7),
    (1.0, 0.841_344_746_068_542_9),
    (2.0, 0.977_249_868_051_820_8),
    (4.0, 0.999_968_328_758_166_9),
    (6.0, 0.999_999_999_013_412_3),
];

#[test]
fn the_normal_distribution_agrees_with_scipy_into_the_tails() {
    for (p, z) in QUANTILES {
        assert!((normal::quantile(p) - z).abs() <= 1e-12 * z.abs().max(1.0), "quantile of {p}");
    }
    for (z, p) in PROBABILITIES {
        let off = (normal::cdf(z) / p - 1.0).abs();
        assert!(off <= 1e-10, "cdf of {z}: {off:e}");
    }
}

#[test]
fn logarithms_know_nothing_and_overflow() {
    let none = f64::NEG_INFINITY;
    assert_eq!((ln(0.0), ln(-1.0), ln(1.0)), (none, none, 0.0));
    assert_eq!((log_add(none, none), log_add(none, 3.0), log_add(3.0, none)), (none, 3.0, 3.0));
    assert!((log_add(1e4, 1e4) - (1e4 + 2.0_f64.ln())).abs() < 1e-12);
    assert_eq!(log_sum(&[none, none]), none);
    assert!((log_sum(&[-1e5, -1e5, none]) - (-1e5 + 2.0_f64.ln())).abs() < 1e-9);
    assert!(log_mean(&[2.0, 2.0, 2.0]) - 2.0 < 1e-15);
    assert_eq!(arg_max(&[1.0, 3.0, 3.0]), 1);
}

#[test]
fn sums_do_not_depend_on_their_order() {
    let values = [1e16, 1.0, -1e16, 3.5, 1e-9, -3.5];
    let there = sum(values);
    let back = sum(values.into_iter().rev());
    assert_eq!(there, back);
    assert_eq!(there, 1.0 + 1e-9);
}

#[test]
fn no_evidence_survives_json() {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct One(#[serde(with = "log")] f64);
    for value in [f64::NEG_INFINITY, -0.1, 0.1 + 0.2, 1e-300, -1e300] {
        let text = serde_json::to_string(&One(value)).unwrap();
        assert_eq!(serde_json::from_str::<One>(&text).unwrap(), One(value), "{text}");
    }
}
