//! Every constant of the judge, in one place.
//!
//! The statistical ones have the names and values of `Config` in the reference; they were tuned
//! there, on 60 simulated scenarios and three seeds, and are not the user's to change: a limit that
//! everybody sets differently has no guarantee that can be stated. *Nat*: unit of a natural logarithm.

/// P(a harmless release is rolled back), over a whole promotion.
pub const ALPHA: f64 = 0.01;
/// P(a release at its limit passes), per stage and absolute limit.
pub const BETA: f64 = 0.05;

// Minimum effect of practical relevance, where the policy names no ratio.
/// Candidate's error rate by the baseline's.
pub const TOL_ERR_RATIO: f64 = 1.3;
/// Candidate's error rate minus the baseline's, as a fraction.
pub const TOL_ERR_ABS: f64 = 0.0005;
/// Candidate's latency by the baseline's.
pub const TOL_LAT_RATIO: f64 = 1.10;
/// Level of the secondary test "and it exceeds the tolerance".
pub const ALPHA_TOL: f64 = 0.50;
/// Alternatives of that test, times the tolerance.
pub const R_TOL: &[f64] = &[1.3, 1.8, 3.0, 6.0, 15.0, 60.0, 500.0];

// Shares of α; those of the parts that a policy has are normalised to 1.
pub const W_ERR_REL: f64 = 0.35;
pub const W_LAT_REL: f64 = 0.25;
pub const W_ERR_ABS: f64 = 0.08;
pub const W_LAT_ABS: f64 = 0.08;
pub const W_DISASTER: f64 = 0.08;
pub const W_SHARE: f64 = 0.06;
pub const W_HEALTH: f64 = 0.10;

// Alternatives: how bad a bad release may be. Rising.
/// Ratios of error rates.
pub const R_ERR: &[f64] = &[1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 1000.0];
/// Ratios of exceedances of a latency bound.
pub const R_LAT: &[f64] = &[1.25, 1.6, 2.2, 3.5, 6.0, 12.0, 40.0];
/// Multiples of an absolute limit's rate.
pub const Q_ABS: &[f64] = &[1.3, 1.8, 3.0, 8.0];
/// Highest rate that an alternative may have.
pub const Q_MAX: f64 = 0.99;
/// Error rate from which on a release is a disaster, unless twice the limit is more.
pub const DISASTER_THETA: f64 = 0.30;
/// Where the disaster's own limit lies so high, there is no room for it.
pub const DISASTER_THETA_MAX: f64 = 0.9;
pub const Q_DISASTER: &[f64] = &[0.5, 0.7, 0.95];
/// Rate of failing probes of a healthy instance.
pub const HEALTH_THETA: f64 = 0.05;
pub const Q_HEALTH: &[f64] = &[0.2, 0.5, 0.95];
/// Multiples of the share below which too few requests arrive.
pub const Q_SHARE: &[f64] = &[0.5, 0.1, 0.002];
/// Multiples of a limit's rate at which a good release may run.
pub const Q_PASS: &[f64] = &[0.5, 0.2, 0.05];

// Robustness against errors that do not come one by one.
/// Weight of arm A against arm B.
pub const W_ARM_A: f64 = 0.7;
/// Nats that one block may add to arm A, divided by √φ.
pub const CAP: f64 = 2.5;
pub const CAP_MIN: f64 = 0.6;
/// Nats that one block may add to arm B.
pub const CAP_B: f64 = 0.9;
/// Ratio from which on arm B has an alternative.
pub const R_ARM_B: f64 = 2.0;
/// Nats that one block may add to disaster and health.
pub const CAP_FAST: f64 = 4.5;
/// Request counts are never independent: the share's evidence is tempered by this factor…
pub const SHARE_TEMPER: f64 = 0.2;
/// … and capped at so many nats a block.
pub const SHARE_CAP: f64 = 2.0;
/// Prior dispersion, worth [`PHI_KAPPA`] expected events.
pub const PHI0: f64 = 1.3;
pub const PHI_KAPPA: f64 = 5.0;
pub const PHI_MAX: f64 = 1e4;
/// Normal quantile for the bad luck of drawing bad nodes (1 %).
pub const HET_Z: f64 = 2.33;
/// Nats that the placebo may raise the bar at most.
pub const PLACEBO_MAX: f64 = 12.0;
/// Baseline pods that are judged like a candidate.
pub const PLACEBO_PODS: u32 = 16;
/// An absolute breach is the candidate's own only at so many times the baseline's rate…
pub const ATTRIBUTION_RATIO: f64 = 1.5;
/// … and with so much evidence that it is worse at all.
pub const ATTRIBUTION_E: f64 = 5.0;
/// The baseline's history is worth so many requests of the present.
pub const ATTRIBUTION_PRIOR: f64 = 100.0;
/// Failing probes must be so many times as frequent as the baseline's.
pub const HEALTH_RATIO: f64 = 3.0;

// When a regression begins: prior masses, together at most 1.
pub const MASS_START: f64 = 0.5;
pub const MASS_STEPS: f64 = 0.1;

// Procedure.
/// Where the policy names no factor: a candidate gets at least this part of its share.
pub const SHARE_THETA: f64 = 0.5;
/// E from which on no stage passes.
pub const WATCH: f64 = 5.0;
/// Requests that exclude 5 % errors at 95 %, for policies without a limit of the error rate.
pub const PASS_REQUESTS: f64 = 85.0;
/// Latencies are compared at bounds that this part of the baseline's requests exceeds.
pub const LAT_TAIL: (f64, f64) = (0.0005, 0.5);
/// A merged window of looks that were not joint weighs at most so many blocks.
pub const GAP_MAX: f64 = 2.0;

// Time, in seconds.
/// The unit of every cap, mass and pseudo-count.
pub const BLOCK_S: f64 = 15.0;
/// Sources slower than this are refused.
pub const MAX_INTERVAL_S: f64 = 60.0;
/// Lengths at which dispersion is measured.
pub const PHI_SECONDS: &[f64] = &[15.0, 60.0, 240.0];
/// The candidate's start, which latency ignores.
pub const WARMUP_S: f64 = 30.0;
/// How long the share test waits after a change of the share.
pub const SETTLE_S: f64 = 30.0;
/// No joint data for so long: no data.
pub const STALE_S: f64 = 60.0;
/// Least age at which a stage may pass (or its hold, if shorter).
pub const BAKE_S: f64 = 60.0;
/// Window of the count of failed probes…
pub const HEALTH_S: f64 = 60.0;
/// … and the longest that a policy's own limit may stretch it to.
pub const HEALTH_MAX_S: f64 = 21_600.0;
pub const DEFAULT_HOLD_S: f64 = 60.0;
pub const MIN_DEADLINE_S: f64 = 600.0;
/// Of empty blocks between two looks: a senseless time must not cost more than a day of them.
pub const MAX_GAP_S: f64 = 86_400.0;
/// Decay of the recent latencies per [`BLOCK_S`]: half of them are younger than 2 min.
pub const RECENT_DECAY: f64 = 0.917;
/// Good probes in a row, per pod, that suffice for a pass at share 0.
pub const GOOD_PROBES: u64 = 4;

// What is taken from outside.
/// Largest counter that is believed: 2⁵³, up to which a float counts exactly.
pub const COUNT_MAX: f64 = 9_007_199_254_740_992.0;
/// Pods of one arm that are remembered; one more is as if it had not reported.
pub const PODS_MAX: usize = 1000;
pub const BOUNDS_MAX: usize = 64;
pub const STAGES_MAX: usize = 1000;
