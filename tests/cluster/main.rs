//! A real Kubernetes: real pods, Services and routes, on this machine (`tests/cluster/up`).
//!
//! All tests share one cluster, which stays up until `tests/cluster/down`; each has a namespace of its own.
//! Where there is none the tests say so (`SKIPPED: …`), and fail where `GATE_REQUIRE_TOOLS=1` asks for it.
//! Nothing sleeps until something is ready: facts are polled, each with a bound. docs/cluster-tests.md is
//! for people.

#![expect(clippy::unwrap_used, reason = "what can't be set up fails the test")]
#![expect(clippy::disallowed_methods, reason = "the cluster is real, and so is its time")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]
#![expect(clippy::print_stdout, reason = "what was measured is shown")]

mod audit;

mod belongings;

mod cluster;

#[path = "../local/dice.rs"]
#[expect(dead_code, reason = "not every suite needs all dice")]
mod dice;

mod faults;

mod gitops;

mod doctor;

mod examples;

mod killed;

mod load;

mod manifests;

mod namespace;

mod owners;

#[path = "../local/poll.rs"]
mod poll;

mod peers;

#[path = "../local/tools.rs"]
mod tools;

mod vegeta;

mod promotions;

mod relay;

mod role;

mod smoke;

mod storm;

mod trial;

mod watchdog;

mod weather;
