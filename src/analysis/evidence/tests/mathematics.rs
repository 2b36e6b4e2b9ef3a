//! The propositions that the promise rests on: exact sums where a distribution can be written down,
//! seeded draws where it can't.

use statrs::function::factorial::ln_binomial;

use super::super::config::{CAP_B, PHI_SECONDS, R_ARM_B, R_ERR, R_LAT};
use super::super::dispersion::{Dispersion, Events};
use super::super::latency::{Histograms, tolerance_ratios};
use super::super::likelihood::{Ratios, Seen, two_samples};
use super::super::mixture::Mixture;
use super::super::normal;
use super::dice::Dice;

/// Requests of the candidate, of the baseline, and bad events of both.
const WINDOWS: [(u64, u64, u64); 5] =
    [(5, 95, 3), (37, 712, 20), (50, 50, 40), (3, 7, 9), (200, 20, 100)];

/// Law of the candidate's part of `s` bad events when it has `odds` times the baseline's odds
/// (Fisher's noncentral hypergeometric; `odds` = 1: hypergeometric).
fn parts_of(candidate: u64, baseline: u64, s: u64, odds: f64) -> Vec<(f64, f64)> {
    let possible = s.saturating_sub(baseline)..=s.min(candidate);
    let log_weight =
        |x: u64| ln_binomial(candidate, x) + ln_binomial(baseline, s - x) + x as f64 * odds.ln();
    let top = possible.clone().map(log_weight).fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<(f64, f64)> =
        possible.map(|x| (x as f64, (log_weight(x) - top).exp())).collect();
    let total: f64 = weights.iter().map(|w| w.1).sum();
    weights.into_iter().map(|(x, w)| (x, w / total)).collect()
}

fn window(candidate: u64, baseline: u64, s: u64, x: f64) -> Seen {
    Seen { bad: x, all: candidate as f64, base_bad: s as f64 - x, base_all: baseline as f64 }
}

/// E\[eˡ\] for each alternative.
fn means(law: &[(f64, f64)], factors: impl Fn(f64) -> Vec<f64>) -> Vec<f64> {
    let mut means = vec![0.0; factors(law[0].0).len()];
    for (x, p) in law {
        means.iter_mut().zip(factors(*x)).for_each(|(mean, l)| *mean += p * l.exp());
    }
    means
}

#[test]
fn a_bet_on_a_harmless_release_gains_nothing() {
    for (n, m, s) in WINDOWS {
        let law = parts_of(n, m, s, 1.0);
        for ratios in [R_ERR, R_LAT] {
            for mean in means(&law, |x| two_samples(&window(n, m, s, x), ratios, 1.0)) {
                assert!(mean <= 1.0 + 1e-9, "{n} {m} {s}: {mean}");
            }
        }
    }
}

#[test]
fn bad_events_of_nobody_say_nothing_unheard_of() {
    let seen = Seen { bad: 1.0, ..Seen::default() };
    assert!(two_samples(&seen, R_ERR, 1.0).iter().all(|l| l.is_finite()));
}

#[test]
fn ratios_with_their_logarithms_say_the_same_bit_for_bit() {
    for (n, m, s) in WINDOWS.into_iter().chain([(0, 0, 0), (5, 95, 0), (0, 7, 3)]) {
        for x in [0, s / 3, s.min(n)] {
            let seen = window(n, m, s, x as f64);
            for ratios in [R_ERR, R_LAT] {
                let llr: Vec<f64> = Ratios::new(ratios).llr(seen).collect();
                assert_eq!(llr, two_samples(&seen, ratios, 1.0), "{seen:?}");
            }
        }
    }
}

#[test]
fn a_bet_beyond_the_tolerance_gains_nothing_at_it() {
    for ((n, m, s), tolerated) in WINDOWS.into_iter().zip([1.3, 1.3, 1.5, 2.0, 1.2]) {
        let law = parts_of(n, m, s, tolerated);
        let bets = |x| two_samples(&window(n, m, s, x), &[1.3, 3.0, 15.0], tolerated);
        for mean in means(&law, bets) {
            assert!(mean <= 1.0 + 1e-9, "{n} {m} {s}: {mean}");
        }
    }
}

#[test]
fn for_poisson_events_a_bet_is_exactly_fair_and_tempering_costs() {
    for (s, rho) in [(1u64, 0.05), (10, 0.05), (40, 0.5)] {
        let seen = |x: f64| Seen {
            bad: x,
            all: rho * 1000.0,
            base_bad: s as f64 - x,
            base_all: (1.0 - rho) * 1000.0,
        };
        let p = |x: u64| {
            (ln_binomial(s, x) + x as f64 * f64::ln(rho) + (s - x) as f64 * f64::ln_1p(-rho)).exp()
        };
        let law: Vec<(f64, f64)> = (0..=s).map(|x| (x as f64, p(x))).collect();
        for mean in means(&law, |x| two_samples(&seen(x), R_ERR, 1.0)) {
            assert!((mean - 1.0).abs() < 1e-9, "{mean}");
        }
        let tempered =
            |x| two_samples(&seen(x), R_ERR, 1.0).iter().map(|l| (l / 2.5).min(3.0)).collect();
        for mean in means(&law, tempered) {
            assert!(mean <= 1.0 + 1e-9, "{mean}");
        }
    }
}

/// Law of events in geometric clusters (mean size m), by Panjer's recursion, to a tail of 1e-9.
fn cluster_law(mean: f64, size: f64) -> Vec<(f64, f64)> {
    let rate = mean / size;
    let of_size = |j: usize| (1.0 / size) * (1.0 - 1.0 / size).powi(j as i32 - 1);
    let mut law = vec![(-rate).exp()];
    let mut total = law[0];
    while total < 1.0 - 1e-9 {
        let n = law.len();
        let sum: f64 = (1..=n).map(|j| j as f64 * of_size(j) * law[n - j]).sum();
        law.push(rate / n as f64 * sum);
        total += law[n];
    }
    law.into_iter().enumerate().map(|(n, p)| (n as f64, p)).collect()
}

#[test]
fn arm_b_needs_no_dispersion() {
    let strong: Vec<f64> = R_ERR.iter().copied().filter(|r| *r >= R_ARM_B).collect();
    for (n, m, p) in [(37.5, 712.0, 0.01), (375.0, 7125.0, 0.001), (7.5, 742.0, 0.01)] {
        for size in [1.0, 2.0, 5.0, 15.0, 40.0] {
            let (own, base) = (cluster_law(n * p, size), cluster_law(m * p, size));
            let mut means = vec![0.0; strong.len()];
            for (a, pa) in &own {
                for (b, pb) in &base {
                    let seen = Seen { bad: *a, all: n, base_bad: *b, base_all: m };
                    let llr = two_samples(&seen, &strong, 1.0);
                    means.iter_mut().zip(llr).for_each(|(e, l)| *e += pa * pb * l.min(CAP_B).exp());
                }
            }
            for mean in means {
                assert!(mean <= 1.0 + 1e-9, "clusters of {size}: {mean}");
            }
        }
    }
}

#[test]
fn capital_rarely_rises_whatever_the_common_rate_does() {
    const RUNS: usize = 1000;
    const BLOCKS: usize = 60;
    let mut dice = Dice(1);
    let mut tops = Vec::new();
    for _ in 0..RUNS {
        let (mut mixture, mut top) = (Mixture::new(R_ERR.len()), 0.0_f64);
        for block in 0..BLOCKS {
            let p = 10.0_f64.powf(dice.between(-3.0, -1.0));
            let (n, m) = (dice.between(5.0, 80.0).floor(), dice.between(200.0, 900.0).floor());
            let seen = Seen {
                bad: dice.binomial(n, p),
                all: n,
                base_bad: dice.binomial(m, p),
                base_all: m,
            };
            let mass = if block == 0 { 0.6 } else { 0.0 } + 0.4 / BLOCKS as f64;
            mixture.update(two_samples(&seen, R_ERR, 1.0).into_iter(), mass, &seen);
            top = top.max(mixture.log_e());
        }
        tops.push(top);
    }
    for alpha in [0.2, 0.1, 0.05, 0.01] {
        let reached = tops.iter().filter(|top| **top >= f64::ln(1.0 / alpha)).count();
        assert!(
            reached as f64 <= alpha * RUNS as f64,
            "1/{alpha} was reached in {reached} of {RUNS}"
        );
    }
}

fn median_phi(seed: u64, mut draw: impl FnMut(&mut Dice) -> f64) -> f64 {
    let lengths: Vec<u64> = PHI_SECONDS.iter().map(|s| (s / 15.0) as u64).collect();
    let mut dice = Dice(seed);
    let mut phi_of = || {
        let mut dispersion = Dispersion::new(&lengths);
        for _ in 0..240 {
            let pods: Vec<_> =
                (0..10).map(|pod| (pod, Events { bad: draw(&mut dice), all: 71.0 })).collect();
            dispersion.update(&pods);
        }
        dispersion.phi(10)
    };
    let mut phis: Vec<f64> = (0..41).map(|_| phi_of()).collect();
    phis.sort_by(f64::total_cmp);
    phis[20]
}

#[test]
fn dispersion_is_estimated() {
    let independent = median_phi(2, |dice| dice.poisson(0.7));
    assert!((1.0..1.15).contains(&independent), "{independent}");
    // Geometric clusters of mean m have a variance of 2m − 1 times the mean.
    let clustered = median_phi(3, |dice| dice.clusters(0.7, 5.0));
    assert!((7.0..12.0).contains(&clustered), "{clustered}");
}

#[test]
fn quantiles_of_lognormal_latencies_are_exact_and_tolerances_nearly() {
    const BOUNDS: [f64; 6] = [50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0];
    const N: f64 = 1e6;
    let slower = |b: f64| N * normal::cdf(-(b / 115.0_f64).ln() / 0.5);
    let exceed: Vec<f64> = BOUNDS.iter().map(|b| slower(*b)).collect();
    let counters: Vec<f64> = [N, 0.0].into_iter().chain(exceed.iter().copied()).collect();
    let mut histograms = Histograms::new(BOUNDS.len());
    histograms.add(&counters, &counters, 15.0);
    let p95 = histograms.recent(0.95, &BOUNDS).candidate.unwrap();
    let truth = 115.0 * (0.5 * normal::quantile(0.95)).exp();
    assert!((p95 / truth - 1.0).abs() < 0.002, "{p95} {truth}");
    assert!((histograms.worst(0.95, &BOUNDS).ratio() - 1.0).abs() < 1e-12);
    let ratio = tolerance_ratios(N, &exceed, &BOUNDS, [1.1, 1.3])(2)[0];
    let truth = slower(250.0 / 1.1) / slower(250.0);
    assert!((ratio / truth - 1.0).abs() < 0.02, "{ratio} {truth}");
}

#[test]
fn logarithms_stay_finite() {
    let mut mixture = Mixture::new(3);
    for block in 0..2000 {
        let l = if block > 1000 { 5.0 } else { -50.0 };
        let mass = if block < 400 { 0.001 } else { 0.0 };
        mixture.update([l; 3].into_iter(), mass, &Seen::default());
        assert!(mixture.log_e().is_finite(), "block {block}");
        assert!(mixture.used() <= 1.0 + 1e-9);
    }
}
