//! What a row of answers says of one instance: does it get traffic, must it be started again?
//!
//! Pure: [`schedule`](super::schedule) tells it each answer. The rules are Kubernetes':
//!
//! 1. Until the startup probe has been good `success_threshold` times in a row, nothing else is
//!    asked; after `failure_threshold` failures in a row the instance has to be started again.
//! 2. Readiness: into traffic after `success_threshold` successes in a row, out after
//!    `failure_threshold` failures in a row. One stricter rule of the gate's: once a probe has failed
//!    since the instance was last taken in, it takes `recovery_threshold` successes in a row. An
//!    instance that flaps must not slip in at every good answer.
//! 3. Liveness: after `failure_threshold` failures in a row it has to be started again.
//!
//! Evidence counts readiness probes, and only from the moment at which the instance was ready for the
//! first time: an instance that has yet to become ready is judged by the deadline of Preparing, not by
//! the failures that every start has. A restart does not set this back: from then on they count.

use super::{Failure, Probe, Probes};
use crate::analysis::ProbeCount;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Startup,
    Readiness,
    Liveness,
}

/// What follows from one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    GoOn,
    /// The instance has to be started again.
    Restart,
}

/// The health of one instance, over all the processes that it has been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    probes: Probes,
    started: bool,
    ready: bool,
    ever_ready: bool,
    /// A readiness probe has failed since it was last taken in.
    doubtful: bool,
    startup: Row,
    readiness: Row,
    liveness: Row,
    counts: ProbeCount,
    last_failure: Option<String>,
}

/// Answers of one kind in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Row {
    good: u32,
    bad: u32,
}

impl Row {
    fn add(&mut self, good: bool) {
        *self = match good {
            true => Self { good: self.good.saturating_add(1), bad: 0 },
            false => Self { good: 0, bad: self.bad.saturating_add(1) },
        };
    }
}

impl Health {
    /// Returns the health of an instance that was just started.
    #[must_use]
    pub fn new(probes: Probes) -> Self {
        let mut health = Self {
            probes,
            started: false,
            ready: false,
            ever_ready: false,
            doubtful: false,
            startup: Row::default(),
            readiness: Row::default(),
            liveness: Row::default(),
            counts: ProbeCount::default(),
            last_failure: None,
        };
        health.restarted();
        health
    }

    /// Returns the health of an instance that was in traffic before the host itself was started
    /// again: it goes on serving until probes say otherwise.
    #[must_use]
    pub fn adopted(probes: Probes) -> Self {
        Self { started: true, ready: true, ever_ready: true, ..Self::new(probes) }
    }

    /// Begins anew with another process; what was counted stays counted.
    pub fn restarted(&mut self) {
        self.started = false;
        self.ready = false;
        self.doubtful = false;
        (self.startup, self.readiness, self.liveness) = Default::default();
        if self.probes.startup.is_none() {
            self.start();
        }
    }

    /// The process has ended, or is about to be ended: it gets no traffic.
    pub fn ended(&mut self) {
        self.started = false;
        self.ready = false;
    }

    fn start(&mut self) {
        self.started = true;
        if self.probes.readiness.is_none() {
            self.take_in();
        }
    }

    fn take_in(&mut self) {
        self.ready = true;
        self.ever_ready = true;
        self.doubtful = false;
    }

    /// Takes in one answer. Answers to probes that the instance does not have change nothing.
    pub fn saw(&mut self, role: Role, answer: &Result<(), Failure>) -> Wish {
        if let Err(failure) = answer {
            self.last_failure = Some(failure.to_string());
        }
        match role {
            Role::Startup => self.saw_startup(answer.is_ok()),
            Role::Readiness => self.saw_readiness(answer.is_ok()),
            Role::Liveness => self.saw_liveness(answer.is_ok()),
        }
    }

    fn saw_startup(&mut self, good: bool) -> Wish {
        let Some(probe) = &self.probes.startup else { return Wish::GoOn };
        self.startup.add(good);
        let row = self.startup;
        let enough = probe.success_threshold;
        let wish = restart_after(probe, row);
        if row.good >= enough && !self.started {
            self.start();
        }
        wish
    }

    fn saw_readiness(&mut self, good: bool) -> Wish {
        let Some(probe) = &self.probes.readiness else { return Wish::GoOn };
        let (out, first, again) =
            (probe.failure_threshold, probe.success_threshold, probe.recovery_threshold);
        self.readiness.add(good);
        self.doubtful |= !good;
        let needed = if self.doubtful { again.max(first) } else { first };
        if self.readiness.bad >= out {
            self.ready = false;
        } else if self.readiness.good >= needed {
            self.take_in();
        }
        if self.ever_ready {
            self.counts.sent += 1;
            self.counts.failed += u64::from(!good);
        }
        Wish::GoOn
    }

    fn saw_liveness(&mut self, good: bool) -> Wish {
        let Some(probe) = &self.probes.liveness else { return Wish::GoOn };
        self.liveness.add(good);
        restart_after(probe, self.liveness)
    }

    /// True when the instance may get requests.
    #[must_use]
    pub const fn in_traffic(&self) -> bool {
        self.started && self.ready
    }

    /// True once the startup probe is over.
    #[must_use]
    pub const fn started(&self) -> bool {
        self.started
    }

    /// Returns how many readiness probes in a row were good, up to the newest.
    #[must_use]
    pub const fn good_in_a_row(&self) -> u32 {
        self.readiness.good
    }

    /// Returns the readiness probes since the instance was ready for the first time.
    #[must_use]
    pub const fn counts(&self) -> ProbeCount {
        self.counts
    }

    #[must_use]
    pub const fn probes(&self) -> &Probes {
        &self.probes
    }

    /// Returns why it gets no traffic, in words; `None` while it does.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        if self.in_traffic() {
            return None;
        }
        let what = match (self.started, self.ever_ready) {
            (false, _) => "not started yet",
            (true, false) => "not ready yet",
            (true, true) => "no longer ready",
        };
        let why = self.last_failure.as_ref().map(|failure| format!(": {failure}"));
        Some(format!("{what}{}", why.unwrap_or_default()))
    }
}

fn restart_after(probe: &Probe, row: Row) -> Wish {
    if row.bad >= probe.failure_threshold { Wish::Restart } else { Wish::GoOn }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Kind;
    use super::*;

    fn probe(out: u32, first: u32, again: u32) -> Probe {
        Probe {
            failure_threshold: out,
            success_threshold: first,
            recovery_threshold: again,
            ..Probe::new(Kind::Tcp { port: None })
        }
    }

    const fn answer(good: bool) -> Result<(), Failure> {
        if good { Ok(()) } else { Err(Failure::Broken { what: String::new() }) }
    }

    /// `.` is a good answer, `x` a bad one. Returns after each whether it is in traffic: `#` or `_`.
    fn readiness(probe: Probe, answers: &str) -> String {
        let mut health = Health::new(Probes { readiness: Some(probe), ..Probes::default() });
        let each = answers.chars().map(|c| {
            health.saw(Role::Readiness, &answer(c == '.'));
            if health.in_traffic() { '#' } else { '_' }
        });
        each.collect()
    }

    #[test]
    fn readiness_goes_by_answers_in_a_row() {
        let check = |thresholds: (u32, u32, u32), answers: &str, expected: &str| {
            let (out, first, again) = thresholds;
            assert_eq!(readiness(probe(out, first, again), answers), expected, "{answers}");
        };
        let kubernetes = (3, 1, 1);
        check(kubernetes, "x.xx.xxx.", "_######_#");
        check((1, 1, 1), ".x.x", "#_#_");
        check((3, 2, 1), ".x..", "___#");
        let seed = (3, 1, 2);
        check(seed, ".xx.xxx...", "######__##");
        check(seed, "x.x.x.", "______");
        check(seed, "x..", "__#");
        // A failure that did not take it out leaves no doubt behind once it is good again.
        check(seed, ".x..xxx.", "######__");
    }

    #[test]
    fn startup_gates_the_rest_and_wants_a_restart_when_it_never_comes() {
        let probes = Probes { startup: Some(probe(2, 1, 1)), ..Probes::default() };
        let mut health = Health::new(probes);
        assert_eq!(health.saw(Role::Startup, &answer(false)), Wish::GoOn);
        assert_eq!(health.trouble().unwrap(), "not started yet: no usable answer: ");
        assert_eq!(health.saw(Role::Startup, &answer(false)), Wish::Restart);
        health.restarted();
        assert_eq!(health.saw(Role::Startup, &answer(false)), Wish::GoOn, "a new row");
        assert_eq!(health.saw(Role::Startup, &answer(true)), Wish::GoOn);
        assert!(health.started() && health.in_traffic(), "without a readiness probe that is all");
        assert_eq!(health.trouble(), None);
        health.ended();
        assert!(!health.in_traffic());
    }

    #[test]
    fn liveness_wants_a_restart_and_does_not_touch_traffic() {
        let mut health =
            Health::new(Probes { liveness: Some(probe(2, 1, 1)), ..Probes::default() });
        let wishes =
            [false, true, false, false].map(|good| health.saw(Role::Liveness, &answer(good)));
        assert_eq!(wishes, [Wish::GoOn, Wish::GoOn, Wish::GoOn, Wish::Restart]);
        assert!(health.in_traffic());
        assert_eq!(health.saw(Role::Readiness, &answer(false)), Wish::GoOn);
        assert_eq!(health.counts(), ProbeCount::default(), "it has no readiness probe");
    }

    #[test]
    fn a_start_is_no_evidence_and_a_restart_is() {
        let mut health =
            Health::new(Probes { readiness: Some(probe(1, 1, 1)), ..Probes::default() });
        let see = |health: &mut Health, answers: &str| {
            for c in answers.chars() {
                health.saw(Role::Readiness, &answer(c == '.'));
            }
            (health.counts().failed, health.counts().sent)
        };
        assert_eq!(see(&mut health, "xxx"), (0, 0));
        assert_eq!(see(&mut health, "..x"), (1, 3));
        health.restarted();
        assert_eq!(see(&mut health, "xx"), (3, 5));
    }

    #[test]
    fn an_adopted_instance_goes_on_serving_until_probes_say_otherwise() {
        let mut health =
            Health::adopted(Probes { readiness: Some(probe(2, 1, 2)), ..Probes::default() });
        assert!(health.in_traffic());
        health.saw(Role::Readiness, &answer(false));
        assert!(health.in_traffic());
        health.saw(Role::Readiness, &answer(false));
        assert!(!health.in_traffic());
    }

    proptest! {
        #[test]
        fn in_traffic_is_what_the_last_answers_say(answers in prop::collection::vec(any::<bool>(), 1..60), out in 1u32..5, again in 1u32..4) {
            let mut health = Health::new(Probes { readiness: Some(probe(out, 1, again)), ..Probes::default() });
            let mut seen = Vec::new();
            for good in answers {
                health.saw(Role::Readiness, &answer(good));
                seen.push(good);
                let row = |wanted: bool| seen.iter().rev().take_while(|&&g| g == wanted).count() as u32;
                prop_assert_eq!(health.good_in_a_row(), row(true));
                if row(false) >= out { prop_assert!(!health.in_traffic()) }
                if row(true) >= again { prop_assert!(health.in_traffic()) }
                prop_assert!(health.counts().failed <= health.counts().sent);
            }
        }
    }
}
