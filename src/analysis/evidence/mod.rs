//! The evidence judge: sequential tests on raw counts, valid however often one looks.
//!
//! # The promise
//!
//! At most one false rollback in 100 harmless promotions ([`config::ALPHA`]), over the whole promotion
//! and at every look; a stage passes a release that runs at its limit at most once in 20
//! ([`config::BETA`]).
//!
//! # How
//!
//! For every kind of trouble there is a process that bets against "the release is harmless": its
//! capital E starts at 1 and is multiplied by a likelihood ratio in every block. Against a
//! harmless release this is a fair game at best, so E ever reaches 1/α with probability at most
//! α (Ville 1939). The bets are mixed over how bad the trouble is and when it began; their mean is a bet
//! again. E ≥ 100 is a breach.
//!
//! Reading order, from counters to words:
//!
//! | module | idea |
//! |---|---|
//! | [`config`] | every constant, with its unit |
//! | `limits` | what the policy asks, checked |
//! | `recording` | lines in, verdicts out |
//! | `counters` | cumulative counters to increments: resets, gaps, senseless samples |
//! | `blocks`, `joint` | the unit of evidence; both arms over the same time |
//! | `stream`, `dispersion`, `placebo` | what the baseline teaches |
//! | `likelihood`, `mixture`, `onset` | one bet; bets on an unknown beginning |
//! | `relative`, `absolute`, `latency`, `share`, `health` | the kinds of trouble |
//! | `pass` | proof that limits hold |
//! | `process`, `parts`, `weighing` | one block: all bets, one number, one reason |
//! | `judge`, `live`, `readings`, `explained` | looks, blocks, stages; words for people |
//! | `outlook` | what a stage can prove with a given traffic |
//!
//! Pure and synchronous: no clock, no I/O. The state is plain data of bounded size.

pub mod config;
mod limits;

mod recording;
mod written;

mod counters;

mod blocks;
mod joint;

mod stream;

mod dispersion;
mod placebo;

mod likelihood;
mod mixture;
mod onset;

mod absolute;
mod health;
mod latency;
mod relative;
mod share;

mod pass;

mod parts;
mod process;
mod weighing;

mod explained;
mod judge;
mod live;
mod readings;

mod outlook;

pub(crate) mod normal;
mod numbers;

pub use explained::Explained;
pub use judge::Judge;
pub use limits::Refused;
pub use outlook::{Assumed, Outlook, outlook};
pub use parts::{Part, Parts};
pub use recording::{
    Header, Line, RECORDING_SCHEMA, Reason, Sample, StageTimes, VERDICT_SCHEMA, VerdictLine, Word,
};

#[cfg(test)]
mod tests;
