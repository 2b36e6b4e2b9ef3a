//! Evidence through a real Prometheus, and the faults that a real one does not show on demand.
//!
//! The Prometheus is Debian's (`.ci/install-prometheus`). It scrapes recorded expositions, which a
//! small server of the tests hands out and changes, or remembers a past that the tests make up.

#![expect(clippy::unwrap_used, reason = "what can't be set up fails the test")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

#[expect(dead_code, reason = "what these tests do not need, others do")]
#[path = "../it/common.rs"]
mod common;

mod server;

mod relay;

mod real;

mod reading;

mod presets;

mod routed;

mod past;

mod backtest;

mod native;

mod faults;

mod login;

mod promotion;

mod preflight;
