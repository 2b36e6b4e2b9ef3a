//! The share is exact, also for a client with a rhythm, and a key stays where it is.

use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use super::super::assign::{Salt, Sequence, is_candidates};
use super::super::sticky::Sticky;
use crate::share::Share;

const SHARES: [f64; 13] =
    [0.01, 1.0, 2.5, 5.0, 10.0, 25.0, 33.33, 38.2, 50.0, 61.8, 75.0, 90.0, 99.0];

fn taken(share: Share, requests: usize) -> Vec<bool> {
    let sequence = Sequence::default();
    (0..requests).map(|_| is_candidates(sequence.next(), share)).collect()
}

fn percent(taken: impl Iterator<Item = bool>) -> f64 {
    let (hits, all) = taken.fold((0, 0), |(hits, all), hit| (hits + u32::from(hit), all + 1));
    f64::from(hits) / f64::from(all) * 100.0
}

/// Returns how far the share of any so many consecutive requests is off, in percentage points.
fn worst_window(taken: &[bool], window: usize, share: f64) -> f64 {
    let mut hits = taken[..window].iter().filter(|hit| **hit).count();
    let off = |hits: usize| (hits as f64 / window as f64 * 100.0 - share).abs();
    let mut worst = off(hits);
    for last in window..taken.len() {
        hits = hits + usize::from(taken[last]) - usize::from(taken[last - window]);
        worst = worst.max(off(hits));
    }
    worst
}

#[test]
fn any_thousand_requests_are_within_three_tenths_of_a_point() {
    for share in SHARES {
        let taken = taken(Share::from_percent(share).unwrap(), 200_000);
        let worst = worst_window(&taken, 1_000, share);
        assert!(worst <= 0.3, "{share} %: off by {worst}");
        let worst = worst_window(&taken, 100_000, share);
        assert!(worst <= 0.05, "{share} %: off by {worst} over 100,000");
    }
}

#[test]
fn every_place_of_a_clients_rhythm_gets_the_share() {
    for share in SHARES {
        let taken = taken(Share::from_percent(share).unwrap(), 100_000);
        for period in 2..=20 {
            for place in 0..period {
                let seen = percent(taken.iter().copied().skip(place).step_by(period));
                let off = (seen - share).abs();
                assert!(off <= 1.0, "{share} %, place {place} of {period}: off by {off}");
            }
        }
    }
}

#[test]
fn nothing_is_nothing_and_all_is_all() {
    assert!(taken(Share::ZERO, 10_000).iter().all(|hit| !hit));
    assert!(taken(Share::FULL, 10_000).iter().all(|hit| *hit));
    assert!(is_candidates(u64::MAX, Share::FULL));
    assert!(!is_candidates(0, Share::ZERO));
}

proptest! {
    #[test]
    fn any_share_is_exact(points in 0_u16..=10_000, start in any::<u32>()) {
        let share = Share::from_basis_points(points).unwrap();
        let sequence = Sequence::starting_at(u64::from(start));
        let seen = percent((0..1_000).map(|_| is_candidates(sequence.next(), share)));
        prop_assert!((seen - f64::from(points) / 100.0).abs() <= 0.3);
    }

    #[test]
    fn a_rising_share_only_adds_users(key: Vec<u8>, salt: [u8; 16], low in 0_u16..=10_000, more in 0_u16..=10_000) {
        let point = Salt(salt).point(&key);
        let high = low.saturating_add(more).min(10_000);
        let [low, high] = [low, high].map(|points| Share::from_basis_points(points).unwrap());
        prop_assert!(!is_candidates(point, low) || is_candidates(point, high));
    }

    #[test]
    fn keys_are_spread_as_the_share_says(salt: [u8; 16], points in 100_u16..=9_900) {
        let share = Share::from_basis_points(points).unwrap();
        let keys = (0..10_000_u32).map(|user| is_candidates(Salt(salt).point(&user.to_be_bytes()), share));
        // Five standard deviations of 10,000 coins.
        prop_assert!((percent(keys) - f64::from(points) / 100.0).abs() <= 2.5);
    }

    #[test]
    fn the_salt_decides_what_a_forged_id_gets(id in "[0-9a-f]{32}") {
        let half = Share::from_percent(50.0).unwrap();
        let cookie = cookies(&format!("gate={id}"));
        let sticky = Sticky::Cookie("gate".into());
        let assigned = |salt| is_candidates(sticky.point(&cookie, &Salt([salt; 16]), &Sequence::default()).point, half);
        // Over 255 salts the same id gets either version about as often.
        let hits = (0..255).filter(|salt| assigned(*salt)).count();
        prop_assert!((80..=175).contains(&hits), "{hits} of 255");
    }
}

fn cookies(line: &str) -> HeaderMap {
    HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(line).unwrap())])
}

fn given(value: &HeaderValue) -> String {
    value.to_str().unwrap().split(';').next().unwrap().to_owned()
}

#[test]
fn a_cookie_that_was_given_out_keeps_its_point() {
    let (sticky, salt, sequence) =
        (Sticky::Cookie("gate".into()), Salt([1; 16]), Sequence::default());
    let first = sticky.point(&HeaderMap::new(), &salt, &sequence);
    let cookie = first.set_cookie.unwrap();
    assert!(cookie.to_str().unwrap().ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{cookie:?}");
    let line = format!("a=1; {}; gatekeeper=2", given(&cookie));
    let second = sticky.point(&cookies(&line), &salt, &sequence);
    assert_eq!(second.point, first.point);
    assert!(second.set_cookie.is_none());
}

#[test]
fn what_is_no_id_gets_a_new_one() {
    let (sticky, salt, sequence) =
        (Sticky::Cookie("gate".into()), Salt([1; 16]), Sequence::default());
    for forged in
        ["gate=candidate", "gate=", "gate=1", "xgate=00000000000000000000000000000000", "="]
    {
        let point = sticky.point(&cookies(forged), &salt, &sequence);
        assert_ne!(given(&point.set_cookie.expect(forged)), forged);
    }
}

#[test]
fn a_header_is_a_key_and_its_absence_takes_the_sequence() {
    let sticky = Sticky::Header(HeaderName::from_static("x-user"));
    let (salt, sequence) = (Salt([1; 16]), Sequence::default());
    let user = HeaderMap::from_iter([(
        HeaderName::from_static("x-user"),
        HeaderValue::from_static("ann"),
    )]);
    let [first, second] = [(); 2].map(|()| sticky.point(&user, &salt, &sequence).point);
    assert_eq!(first, second);
    let [first, second] = [(); 2].map(|()| sticky.point(&HeaderMap::new(), &salt, &sequence).point);
    assert_eq!(first, 0);
    assert_ne!(first, second);
    assert!(sticky.point(&HeaderMap::new(), &salt, &sequence).set_cookie.is_none());
}
