//! The faces of the evidence: backtest, simulate, record, explain, and what traffic can prove. Through the
//! binary, as a user sees them.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

#[path = "../it/common.rs"]
mod common;

mod backtest;
mod live;
mod preflight;
mod simulate;
