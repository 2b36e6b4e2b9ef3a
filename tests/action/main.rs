//! The GitHub Action, what it runs, and what a promotion leaves behind, with the tools that read it.
//!
//! A tool that is missing is said (`SKIPPED: …`), and fails where `GATE_REQUIRE_TOOLS=1` asks for it;
//! `.ci/install-action-tools` installs them.

#![expect(clippy::unwrap_used, reason = "a test may fail")]
#![expect(clippy::print_stdout, reason = "what was skipped is for people")]

mod tools;

mod manifest;

mod install;

mod arguments;

mod lint;

mod promotion;

mod page;

mod runner;
