//! Following a promotion: what the host tells, signals, and time-outs.

use super::error::Error;
use super::exit::Exit;
use crate::host::protocol::Answer;

/// Returns the error that an answer stands for where another was due.
pub(crate) fn unexpected(answer: Answer) -> Error {
    match answer {
        Answer::Error { exit_code, message, hint } => {
            Error::new(Exit::of_code(exit_code), message).maybe_hint(hint)
        }
        _ => Error::internal("the host gave another answer than was asked for"),
    }
}
