//! The faces of the evidence: backtest, simulate, record, explain, and what traffic can prove. Through the
//! binary, as a user sees them.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

#[expect(dead_code, reason = "what these tests do not need, others do")]
#[path = "../it/common.rs"]
mod common;

mod backtest;
mod live;
mod preflight;
mod simulate;
