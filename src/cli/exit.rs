//! The published exit codes. A pipeline tells "the release is bad" (3) from "the gate could not do
//! its work" (1, 2, 6, 7) by them: changing one is a breaking change.

use std::process::ExitCode;

use crate::rollout::ResultWord;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Promoted, unchanged, or the command did what it was asked.
    Done = 0,
    /// A bug in gate.
    Internal = 1,
    /// Usage, or an invalid file.
    Usage = 2,
    /// The release is bad: rolled back on evidence.
    RolledBack = 3,
    /// A person, a signal or a newer release ended it.
    Aborted = 4,
    /// A deadline or `--timeout` passed without proof.
    Inconclusive = 5,
    /// The host can't be reached, or adoption did not finish.
    Unreachable = 6,
    /// Not started; nothing was changed.
    Refused = 7,
}

impl Exit {
    /// In the order of their codes.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::Internal,
        Self::Usage,
        Self::RolledBack,
        Self::Aborted,
        Self::Inconclusive,
        Self::Unreachable,
        Self::Refused,
    ];

    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Returns the exit of that code; one that is not published is an internal error.
    #[must_use]
    pub fn of_code(code: u8) -> Self {
        Self::ALL.into_iter().find(|exit| exit.code() == code).unwrap_or(Self::Internal)
    }

    /// Returns the exit of a promotion that ended so.
    #[must_use]
    pub const fn of_result(result: ResultWord) -> Self {
        match result {
            ResultWord::Promoted | ResultWord::Unchanged => Self::Done,
            ResultWord::RolledBack => Self::RolledBack,
            ResultWord::Aborted | ResultWord::Superseded => Self::Aborted,
            ResultWord::Inconclusive => Self::Inconclusive,
            ResultWord::Error => Self::Unreachable,
            ResultWord::Refused => Self::Refused,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn published() {
        let list: Vec<String> =
            Exit::ALL.iter().map(|exit| format!("{} {exit:?}", exit.code())).collect();
        insta::assert_snapshot!(list.join("\n"), @r"
        0 Done
        1 Internal
        2 Usage
        3 RolledBack
        4 Aborted
        5 Inconclusive
        6 Unreachable
        7 Refused
        ");
    }

    #[test]
    fn an_unpublished_code_is_a_bug() {
        assert_eq!(Exit::of_code(99), Exit::Internal);
        for exit in Exit::ALL {
            assert_eq!(Exit::of_code(exit.code()), exit);
        }
    }
}
