//! One host without a cluster: processes behind a proxy of the gate's own.

pub mod app;
pub mod process;
