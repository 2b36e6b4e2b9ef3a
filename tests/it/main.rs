//! The binary as a user sees it: one test binary, one module for each part.

mod common;

mod cli;
