//! Runs `gate` in a folder of its own, with an environment that holds nothing else.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// A command line of `gate`.
#[derive(Debug)]
pub(crate) struct Gate {
    folder: TempDir,
    command: Command,
}

/// What became of it.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Gate {
    pub(crate) fn new<'a>(args: impl IntoIterator<Item = &'a str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_gate"));
        command
            .args(args)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("USER", "ada")
            .env("GATE_STATE_DIR", folder.path().join("state"))
            .current_dir(folder.path());
        Self { folder, command }
    }

    /// Splits at blanks.
    pub(crate) fn line(line: &str) -> Self {
        Self::new(line.split_whitespace())
    }

    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) const fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Runs another command line in the same folder.
    pub(crate) fn run_line(&self, line: &str) -> Ran {
        let mut other = Command::new(env!("CARGO_BIN_EXE_gate"));
        other.args(line.split_whitespace()).env_clear().current_dir(self.folder());
        for (name, value) in self.command.get_envs() {
            other.env(name, value.unwrap_or_default());
        }
        read(&mut other)
    }

    pub(crate) fn run(&mut self) -> Ran {
        read(&mut self.command)
    }
}

fn read(command: &mut Command) -> Ran {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: status.code().unwrap(), stdout: text(stdout), stderr: text(stderr) }
}

impl Ran {
    /// Everything that was said, for a snapshot.
    pub(crate) fn all(&self) -> String {
        format!("exit code {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}
