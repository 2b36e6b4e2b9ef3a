//! How answers look: for people or for programs, with or without colour, on a terminal or piped.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde::Serialize;

use super::report::Leavings;
use super::{Exit, Format, Global};

pub(crate) mod backtest;

pub(crate) mod github;

pub(crate) mod board;

pub(crate) mod doctor;

pub(crate) mod explain;

pub(crate) mod human;

pub(crate) mod live;

pub(crate) mod plan;

pub(crate) mod preflight;

mod readings;

mod reasons;

mod series;

pub(crate) mod simulate;

mod line;

pub(crate) mod story;

pub(crate) mod style;

pub(crate) mod words;

/// Where the output goes. A reader that went away is quiet: a promotion must not end because
/// `head` has seen enough.
#[derive(Clone, Debug)]
pub struct Printer {
    pub(crate) format: Format,
    pub(crate) quiet: bool,
    pub(crate) verbose: bool,
    /// An answer could not be written.
    failed: Arc<AtomicBool>,
    pub(crate) leavings: Arc<Leavings>,
}

impl Printer {
    pub(crate) fn new(global: &Global) -> Self {
        Self {
            format: global.output,
            quiet: global.quiet,
            verbose: global.verbose,
            failed: Arc::default(),
            leavings: Arc::default(),
        }
    }

    /// Returns it with what the command is to leave behind.
    pub(crate) fn leaving(self, leavings: Leavings) -> Self {
        // In a runner's log the looks stand in groups that are folded.
        let verbose = self.verbose || self.is_github();
        Self { verbose, leavings: Arc::new(leavings), ..self }
    }

    pub(crate) fn is_github(&self) -> bool {
        self.format == Format::Github
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Returns whether a block can be redrawn in place for a person.
    pub(crate) fn is_live(&self) -> bool {
        self.format == Format::Human && !self.quiet && io::stderr().is_terminal()
    }

    /// The answer, for people.
    pub(crate) fn answer(&self, text: &str) {
        if self.is_github() {
            return self.command(&github::text(text));
        }
        self.note(writeln!(anstream::stdout().lock(), "{text}"));
    }

    /// A line that a runner obeys, or one that it can't take for such.
    pub(crate) fn command(&self, text: &str) {
        self.note(writeln!(anstream::stdout().lock(), "{text}"));
    }

    /// The answer, for programs: one object a line, at once.
    pub(crate) fn object(&self, object: &impl Serialize) {
        let line = match serde_json::to_string(object) {
            Ok(line) => line,
            Err(_) => return self.failed.store(true, Relaxed),
        };
        let mut stdout = io::stdout().lock();
        self.note(writeln!(stdout, "{line}").and_then(|()| stdout.flush()));
    }

    /// Bytes as they are.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        self.note(io::stdout().lock().write_all(bytes));
    }

    /// A line of the conversation.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            self.complain(text);
        }
    }

    /// A line of the conversation that `--quiet` doesn't hide.
    pub(crate) fn complain(&self, text: &str) {
        if self.is_github() {
            // On one stream, so that it stays in order and in its group.
            return self.command(&github::text(text));
        }
        // Nobody is left to tell that nobody listens.
        let _ = writeln!(anstream::stderr().lock(), "{text}");
    }

    fn note(&self, written: io::Result<()>) {
        match written {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Err(error) => {
                if !self.failed.swap(true, Relaxed) {
                    self.complain(&format!("error: can't write the answer\n  caused by: {error}"));
                }
            }
        }
    }

    /// Returns the exit code: a success whose answer was lost is none.
    pub(crate) fn conclude(&self, exit: Exit) -> Exit {
        match exit {
            Exit::Done if self.failed.load(Relaxed) => Exit::Internal,
            exit => exit,
        }
    }
}
