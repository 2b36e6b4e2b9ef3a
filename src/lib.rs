//! `gate`: a progressive-delivery deployment gate.
//!
//! It stands between "a new version is built" and "everybody gets it": it gives the new version a
//! small part of the real traffic, judges it on evidence, goes on step by step, and puts the old
//! version back by itself when a limit is breached.
//!
//! # The map
//!
//! A module may use only what stands above it here; `tests/tidy.rs` checks that.
//!
//! | layer | module | what it is |
//! |---|---|---|
//! | pure | [`share`] | the part of traffic that the candidate gets |
//! | pure | [`policy`] | what the user wrote: parse, check, JSON Schema |
//! | pure | [`plan`] | policy + target + release: ordered stages, every default explicit |
//! | pure | [`analysis`] | evidence to verdict |
//! | pure | [`rollout`] | `step(plan, state, observation)`: the state machine |
//! | pure | [`published`] | the lines that users and scripts rely on |
//! | shell | [`clock`] | the only place that asks what time it is |
//! | shell | [`durable`] | files that survive a crash, a full disk, a second process |
//! | shell | [`evidence`] | counters and probes |
//! | shell | [`platform`] | where target and traffic live: local, kubernetes, simulated |
//! | shell | [`notify`] | telling people; never changes a decision |
//! | shell | [`history`] | append-only record of observations and decisions |
//! | pure | [`report`] | a promotion's records as JSON, JUnit, Markdown and HTML |
//! | shell | [`engine`] | observe, step, record, act, wait: the one loop |
//! | shell | [`simulate`] | what a policy would do: the judge, and the loop, on simulated traffic |
//! | face | [`host`] | the local platform's long-lived process, and how to talk to it |
//! | face | [`cluster`] | a cluster's promotions: their record, who runs them, what people ask for |
//! | face | [`load`] | bounded load on a local application |
//! | face | [`example_app`] | a small service that can misbehave on purpose |
//! | face | [`cli`] | the commands |
//!
//! *Pure* means: no clock, no I/O, no async.

pub mod share;

pub mod policy;

pub mod plan;

pub mod analysis;

pub mod rollout;

pub mod published;

pub mod clock;

pub mod durable;

pub mod evidence;

pub mod platform;

pub mod notify;

pub mod history;

pub mod report;

pub mod engine;

pub mod simulate;

pub mod host;

pub mod cluster;

pub mod load;

pub mod example_app;

pub mod cli;
