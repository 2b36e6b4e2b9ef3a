//! The binary as a user sees it: one test binary, one module for each part.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

mod common;

mod cli;
