//! The local platform as it is in production: the real binary, real processes, real requests.
//!
//! Every test has a site of its own (`site`): an app file, a state folder, an address of the
//! loopback network that no other test has. Nothing sleeps until something is ready: facts are
//! polled, each with a bound (`poll`). `GATE_STORM=full` runs the storms and the loads at full
//! length, `GATE_SEED=N` replays one.

#![expect(clippy::unwrap_used, reason = "a test that can't be set up fails")]
#![expect(clippy::disallowed_methods, reason = "the processes are real, and so is their time")]
#![expect(clippy::print_stdout, reason = "seeds, figures and what was skipped are for people")]

mod damage;
mod dice;
mod ends;
mod generator;
mod hygiene;
mod journal;
mod lossless;
mod means;
mod people;
mod poll;
mod processes;
mod restore;
mod site;
mod storm;
mod strangers;
mod tools;
mod traffic;
