//! Which process is it? A pid alone does not say: it is given out again.

use std::io;

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

/// A process for good: its pid, when it was started, and in which life of the machine.
///
/// The start time stays the same over `exec`, and no two processes of one boot share a pid and a
/// clock tick.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub pid: u32,
    /// Clock ticks (1/100 s) since the machine was started.
    pub started_ticks: u64,
    pub boot_id: String,
}

impl Identity {
    /// Returns who has this pid now.
    ///
    /// # Errors
    /// There is no such process, or `/proc` can't be read.
    pub fn of(pid: u32) -> io::Result<Self> {
        let stat = Stat::read(pid)?;
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Ok(Self { pid, started_ticks: stat.started_ticks, boot_id: boot_id.trim().to_owned() })
    }

    /// True while this very process runs: not when it has ended and waits to be reaped, and not when
    /// another one has its pid.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let same = Self::of(self.pid).is_ok_and(|now| now == *self);
        same && Stat::read(self.pid).is_ok_and(|stat| stat.runs())
    }

    /// Returns the pid as the system calls take it; `None` for one that no process can have.
    pub(super) fn raw(&self) -> Option<Pid> {
        i32::try_from(self.pid).ok().and_then(Pid::from_raw)
    }
}

/// True while a process of this group runs. Those that have ended and wait to be reaped don't count:
/// in a container nobody may ever reap them.
pub(super) fn group_runs(group: Pid) -> bool {
    let Ok(entries) = std::fs::read_dir("/proc") else { return false };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|pid| Stat::read(pid).ok())
        .any(|stat| stat.group == group.as_raw_nonzero().get() && stat.runs())
}

/// What is needed of `/proc/PID/stat` (man 5 proc).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    group: i32,
    started_ticks: u64,
}

impl Stat {
    fn read(pid: u32) -> io::Result<Self> {
        let line = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Self::parse(&line).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat is not readable"))
        })
    }

    /// Reads fields 3, 5 and 22. They are counted from the *last* parenthesis: the second field is
    /// the program's name in parentheses, and a name may hold spaces and parentheses itself.
    fn parse(line: &str) -> Option<Self> {
        let (_, after_name) = line.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3);
        Some(Self {
            state: field(3)?.chars().next()?,
            group: field(5)?.parse().ok()?,
            started_ticks: field(22)?.parse().ok()?,
        })
    }

    fn runs(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_behind_the_last_parenthesis() {
        let tail = "S 1 77 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 10 11";
        let check = |name: &str, expected: Option<Stat>| {
            assert_eq!(Stat::parse(&format!("42 {name} {tail}")), expected, "{name}");
        };
        let stat = || Some(Stat { state: 'S', group: 77, started_ticks: 987_654 });
        check("(sleep)", stat());
        check("(a b) Z 9 (c)", stat());
        check("(:-))", stat());
        check("no name", None);
        assert_eq!(Stat::parse("42 (x) S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn this_process_is_alive_and_an_earlier_one_with_its_pid_is_not() {
        let me = Identity::of(std::process::id()).unwrap();
        assert!(me.is_alive());
        assert!(!Identity { started_ticks: me.started_ticks - 1, ..me.clone() }.is_alive());
        assert!(!Identity { boot_id: "another boot".into(), ..me }.is_alive());
        assert!(Identity::of(u32::MAX).is_err());
    }
}
