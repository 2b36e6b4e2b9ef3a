//! Two gates on two machines, and one target.

use std::time::Duration;

use rustix::process::Signal;

use crate::belongings::Belongings;
use crate::cluster::Cluster;
use crate::killed::{answered_by, is_event, is_share_seen, signal};
use crate::load::{Connections, tally};
use crate::manifests;
use crate::poll;
use crate::trial::{By, Trial, target};

/// Longer than an owner elsewhere may be silent.
const SILENT: Duration = Duration::from_secs(62);
/// Of the first stage: what is left after the silence is enough for the second gate to pass it.
const DEADLINE: Duration = Duration::from_secs(110);

/// The second stage lasts longer than the first gate needs to find that its own stage is over.
const CANARY: &str = "
  strategy: canary
  stages:
    - { share: 50%, hold: 8s, deadline: 110s }
    - { share: 100%, hold: 60s, deadline: 180s }
  evidence: { judge: threshold, interval: 2s, window: 6s, looks: 2, min_requests: 20 }
  prepare: { deadline: 60s }
  rollback_drain: 2s
  auto_rollback:
    conditions: [error_rate > 5%]
";

/// A machine that was paused wakes up with a deadline that has passed: it would go back at once.
#[test]
fn a_gate_that_was_frozen_and_taken_over_touches_nothing_when_it_thaws() {
    let Some(cluster) = Cluster::there() else { return };
    let trial = Trial::new(cluster, "frozen", &manifests::podinfo("shop", "v1", 2), By::Service);
    let before = Belongings::of(&trial.space);
    let users = trial.users(Connections::Fresh);
    let mut first = trial.start("gate.test/podinfo:v2", CANARY);
    first.until("half of the traffic", |line| is_share_seen(line, 0.5));
    signal(&first, Signal::STOP);
    let frozen = std::time::Instant::now();
    let path = trial.policy_file(CANARY);
    let target = target();
    let ask = ["promote", &target, "--release", "gate.test/podinfo:v2", "--policy", &path];
    let taking_over = [&ask[..], &["--take-over"]].concat();
    let refused = |args: &[&str], words: &str| {
        let ran = trial.elsewhere(args).end();
        let said = format!("{:#}", ran.expect(7, "refused"));
        assert!(said.contains(words), "{said}");
    };
    refused(&taking_over, "another promotion runs");
    std::thread::sleep(SILENT);
    refused(&ask, "last heartbeat");

    let mut second = trial.elsewhere(&taking_over);
    second.until("all of the traffic", |line| is_share_seen(line, 1.0));
    let over = DEADLINE + Duration::from_secs(1);
    poll::until("its deadline", 2 * over, || (frozen.elapsed() > over).then_some(()));
    let seen = users.so_far().len();
    signal(&first, Signal::CONT);
    let gone = first.end();
    assert_eq!(gone.code, 6, "{gone:?}");
    assert!(gone.said.contains("goes on without this gate"), "{gone:?}");
    assert!(!gone.lines.iter().any(|line| is_event(line, "rollback.started")), "{gone:?}");
    poll::until("answers", DEADLINE, || (answered_by(&users, seen, "v2") > 100).then_some(()));
    second.end().expect(0, "promoted");
    let after = tally(&users.stop()[seen..]);
    assert_eq!(after.keys().collect::<Vec<_>>(), ["v2"], "{after:?}");
    before.are_still(&trial.space, "gate.test/podinfo:v2");
}
