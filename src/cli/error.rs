//! Why a command could not do what it was asked, and what to do about it.
//!
//! ```text
//! error: no gate serves checkout
//!   caused by: no gate serves at /home/ada/.local/state/gate/local/checkout/socket
//!   caused by: No such file or directory (os error 2)
//! hint: start it with `gate serve APP.yaml`
//! ```

use std::fmt::Write as _;

use super::Exit;
use super::output::{Printer, style};
use crate::host::HostError;
use crate::host::client::ClientError;
use crate::policy::diagnostic::Report;

/// The longest chain of causes that is printed.
const CAUSES_MAX: usize = 10;

#[derive(Debug)]
pub struct Error {
    exit: Exit,
    what: What,
    hint: Option<String>,
}

#[derive(Debug)]
enum What {
    Said(anyhow::Error),
    /// The mistakes of a file that the user wrote.
    Mistakes(Box<Report>),
}

impl Error {
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: What::Said(anyhow::Error::msg(what.into())), hint: None }
    }

    /// The command line or a file is wrong.
    pub(crate) fn user(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    pub(crate) fn internal(what: impl Into<String>) -> Self {
        Self::new(Exit::Internal, what)
    }

    pub(crate) fn mistakes(report: Report) -> Self {
        Self { exit: Exit::Usage, what: What::Mistakes(Box::new(report)), hint: None }
    }

    /// The host could not be asked.
    pub(crate) fn unreachable(app: &str, source: ClientError) -> Self {
        if let ClientError::NotAllowed { owner, .. } = source {
            return Self::said(HostError::of_another(app, owner)).caused_by(source);
        }
        let nobody = matches!(source, ClientError::NobodyThere { .. });
        let what = if nobody { "no gate serves" } else { "can't talk to the gate that serves" };
        let error = Self::new(Exit::Unreachable, format!("{what} {app}")).caused_by(source);
        if nobody { error.hint("start it with `gate serve APP.yaml`") } else { error }
    }

    /// What the host can't do, or won't.
    pub(crate) fn said(what: HostError) -> Self {
        let HostError { exit_code, message, hint } = what;
        Self::new(Exit::of_code(exit_code), message).maybe_hint(hint)
    }

    pub(crate) fn caused_by(
        mut self,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        if let What::Said(what) = self.what {
            self.what = What::Said(anyhow::Error::new(source).context(what.to_string()));
        }
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint.or(self.hint);
        self
    }

    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    /// Returns what went wrong in one line, with its causes.
    pub(crate) fn in_one_line(&self) -> String {
        match &self.what {
            What::Said(what) => {
                let chain: Vec<String> = what.chain().map(ToString::to_string).collect();
                chain.join(": ")
            }
            What::Mistakes(report) => report
                .findings()
                .first()
                .map(|first| format!("{}:{}: {}", first.file, first.line, first.message))
                .unwrap_or_default(),
        }
    }

    pub(crate) fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Prints it once, and returns the exit code that it stands for.
    pub(crate) fn print(&self, printer: &Printer) -> Exit {
        printer.complain(&self.render());
        if let What::Mistakes(report) = &self.what {
            super::report::findings(printer, &report.findings());
        }
        self.exit
    }

    fn render(&self) -> String {
        let mut text = match &self.what {
            What::Said(what) => said(what),
            What::Mistakes(report) => report.coloured(),
        };
        if let Some(hint) = &self.hint {
            let (on, off) = style::marks(style::HINT);
            // Writing into a string can't fail.
            let _ = write!(text, "\n{on}hint{off}: {hint}");
        }
        text
    }
}

fn said(what: &anyhow::Error) -> String {
    let (on, off) = style::marks(style::ERROR);
    let mut text = format!("{on}error{off}: {what}");
    for cause in what.chain().skip(1).take(CAUSES_MAX) {
        // Writing into a string can't fail.
        let _ = write!(text, "\n  caused by: {cause}");
    }
    text
}

impl From<Report> for Error {
    fn from(report: Report) -> Self {
        Self::mistakes(report)
    }
}

#[cfg(test)]
mod tests {
    use super::Error;

    #[test]
    fn prints_the_chain_once() {
        let source = std::io::Error::other("the disk is on fire");
        let error = Error::internal("can't write the file").caused_by(source).hint("put it out");
        let plain = anstream::adapter::strip_str(&error.render()).to_string();
        insta::assert_snapshot!(plain, @r"
        error: can't write the file
          caused by: the disk is on fire
        hint: put it out
        ");
    }
}
