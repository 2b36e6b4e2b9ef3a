use chrono::TimeDelta;

use super::ground::{elsewhere, gone, now};
use crate::cluster::owner::{Life, Owner, SILENT_AFTER};

/// An owner as it is seen from this process.
#[track_caller]
fn check(owner: &Owner, heartbeat_age_s: i64, expected: Life) {
    let me = Owner::this("me", now()).unwrap();
    let now = now();
    let heartbeat = now - TimeDelta::seconds(heartbeat_age_s);
    assert_eq!(owner.life(&me, heartbeat, now), expected);
}

#[test]
fn a_life_is_looked_up_here_and_told_by_the_heartbeat_elsewhere() {
    let silent = SILENT_AFTER.as_secs() as i64 + 1;
    let here = Owner::this("ada", now()).unwrap();
    check(&here, 0, Life::Lives);
    check(&here, silent, Life::Lives); // it is looked up: it runs
    check(&gone(), 0, Life::Gone);
    check(&gone(), silent, Life::Gone);
    check(&elsewhere(now()), 0, Life::Lives);
    check(&elsewhere(now()), silent - 2, Life::Lives);
    check(&elsewhere(now()), silent, Life::Silent);
    check(&elsewhere(now()), -silent, Life::Lives); // its clock is ahead
    // Another container of this machine: pids mean nothing between the two.
    let container = Owner { pid_namespace: "pid:[1]".into(), ..gone() };
    check(&container, 0, Life::Lives);
    check(&container, silent, Life::Silent);
}

#[test]
fn no_two_owners_are_one() {
    let (one, other) = (Owner::this("ada", now()).unwrap(), Owner::this("ada", now()).unwrap());
    assert_ne!(one.token, other.token);
    assert_eq!(one.to_string().parse::<Owner>().unwrap(), one);
}
