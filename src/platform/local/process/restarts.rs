//! When to start a process again that has ended by itself, and when to stop trying.
//!
//! A pure state machine: whoever supervises tells it each end and does what it says. The waits are
//! those of Kubernetes' CrashLoopBackOff with shorter figures, because a person waits for the
//! answer: 1 s, 2 s, 4 s, 8 s, 16 s. A process that has been healthy for a minute starts from the
//! beginning. Giving up is not for ever: a new promotion, or a restart of the host, starts anew.

use std::time::Duration;

use super::Exit;
use crate::rollout::Trouble;

/// The wait before the first restart.
pub const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait.
pub const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Restarts in a row that are tried.
pub const RESTARTS_MAX: u32 = 5;
/// How long it must have been healthy for the count to start again.
pub const HEALTHY_FOR: Duration = Duration::from_secs(60);
/// Lines of the log in a message.
pub const LINES_IN_MESSAGE: usize = 5;

/// How a process ended that nobody has asked to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// What it is called in messages.
    pub name: String,
    pub exit: Exit,
    pub ran_for: Duration,
    /// How long it had been healthy without a break; zero if it never was.
    pub healthy_for: Duration,
    /// The last lines of its log, oldest first.
    pub last_lines: Vec<String>,
}

/// What to do after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    StartAfter(Duration),
    GiveUp,
}

impl Next {
    /// Returns what is done all the same. Giving up is said, so that a candidate is condemned for it;
    /// what it needs may come back, and a stable that nobody starts again would be gone for good.
    #[must_use]
    pub const fn or_later(self) -> Self {
        match self {
            Self::GiveUp => Self::StartAfter(LONGEST_WAIT),
            Self::StartAfter(_) => self,
        }
    }
}

/// The restarts of one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restarts {
    in_a_row: u32,
    last: Option<Crash>,
    gave_up: bool,
}

impl Restarts {
    /// Records a crash and says what to do.
    pub fn crashed(&mut self, crash: Crash) -> Next {
        if crash.healthy_for >= HEALTHY_FOR {
            self.in_a_row = 0;
        }
        self.in_a_row += 1;
        self.last = Some(crash);
        self.gave_up = self.in_a_row > RESTARTS_MAX;
        if self.gave_up {
            return Next::GiveUp;
        }
        let doubled = FIRST_WAIT.saturating_mul(1 << (self.in_a_row - 1));
        Next::StartAfter(doubled.min(LONGEST_WAIT))
    }

    /// Forgets the crashes once the process has been healthy long enough.
    pub fn healthy_for(&mut self, healthy_for: Duration) {
        if healthy_for >= HEALTHY_FOR {
            *self = Self::default();
        }
    }

    /// Returns how many times in a row it has crashed.
    #[must_use]
    pub const fn in_a_row(&self) -> u32 {
        self.in_a_row
    }

    /// Returns what there is to say of it; `None` while it has not crashed.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        let crash = self.last.as_ref()?;
        let what = format!(
            "{} crashed {}, the last time with {} after {:.1} s{}{}",
            crash.name,
            times(self.in_a_row),
            crash.exit,
            crash.ran_for.as_secs_f64(),
            if self.gave_up { "; gave up" } else { "" },
            last_lines(&crash.last_lines),
        );
        Some(Trouble { what, its_own: true, gave_up: self.gave_up })
    }
}

fn times(number: u32) -> String {
    if number == 1 { "once".to_owned() } else { format!("{number} times in a row") }
}

fn last_lines(lines: &[String]) -> String {
    let skipped = lines.len().saturating_sub(LINES_IN_MESSAGE);
    let shown = lines.iter().skip(skipped).map(String::as_str).collect::<Vec<_>>();
    if shown.is_empty() {
        "; it printed nothing".to_owned()
    } else {
        format!("; last log lines: {}", shown.join(" | "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn crash(healthy_secs: u64) -> Crash {
        Crash {
            name: "v2".into(),
            exit: Exit::Code(1),
            ran_for: Duration::from_millis(2040),
            healthy_for: Duration::from_secs(healthy_secs),
            last_lines: vec!["starting".into(), "panic: no database".into()],
        }
    }

    fn waits(healthy: &[u64]) -> Vec<Option<u64>> {
        let mut restarts = Restarts::default();
        let seconds = |next| match next {
            Next::StartAfter(wait) => Some(wait.as_secs()),
            Next::GiveUp => None,
        };
        healthy.iter().map(|&secs| seconds(restarts.crashed(crash(secs)))).collect()
    }

    #[test]
    fn waits_double_until_it_gives_up_and_start_again_after_a_healthy_minute() {
        let check = |healthy: &[u64], expected: &[Option<u64>]| {
            assert_eq!(waits(healthy), expected, "{healthy:?}");
        };
        let s = Some;
        check(&[0; 7], &[s(1), s(2), s(4), s(8), s(16), None, None]);
        check(&[59; 6], &[s(1), s(2), s(4), s(8), s(16), None]);
        check(&[0, 0, 60, 0], &[s(1), s(2), s(1), s(2)]);
        check(&[60; 9], &[s(1); 9]);
    }

    #[test]
    fn the_message_says_how_often_why_and_what_it_printed() {
        let mut restarts = Restarts::default();
        assert_eq!(restarts.trouble(), None);
        restarts.crashed(crash(0));
        insta::assert_snapshot!(restarts.trouble().unwrap().what, @"v2 crashed once, the last time with exit code 1 after 2.0 s; last log lines: starting | panic: no database");
        assert!(!restarts.trouble().unwrap().gave_up);
        for _ in 0..RESTARTS_MAX {
            restarts.crashed(Crash { exit: Exit::Signal(9), last_lines: vec![], ..crash(0) });
        }
        let trouble = restarts.trouble().unwrap();
        insta::assert_snapshot!(trouble.what, @"v2 crashed 6 times in a row, the last time with signal 9 (SIGKILL, often the kernel out of memory) after 2.0 s; gave up; it printed nothing");
        assert!(trouble.gave_up && trouble.its_own);
        restarts.healthy_for(HEALTHY_FOR);
        assert_eq!(restarts, Restarts::default());
    }

    proptest! {
        #[test]
        fn every_wait_is_bounded_and_every_crash_loop_ends(healthy in prop::collection::vec(0u64..120, 1..60)) {
            let mut restarts = Restarts::default();
            let mut in_a_row = 0;
            for secs in healthy {
                in_a_row = if secs >= HEALTHY_FOR.as_secs() { 1 } else { in_a_row + 1 };
                match restarts.crashed(crash(secs)) {
                    Next::StartAfter(wait) => {
                        prop_assert!(in_a_row <= RESTARTS_MAX);
                        prop_assert!((FIRST_WAIT..=LONGEST_WAIT).contains(&wait));
                    }
                    Next::GiveUp => prop_assert!(in_a_row > RESTARTS_MAX),
                }
            }
        }
    }
}
