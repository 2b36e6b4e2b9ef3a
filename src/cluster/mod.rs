//! A cluster's promotions: each target has one record, one owner, and people who may ask for something.
//!
//! | module | idea |
//! |---|---|
//! | [`ledger`] | what the record of a target holds |
//! | [`remembered`] | what outlives a promotion: those that ended, what passed, what is bad |
//! | [`owner`] | which process runs a promotion, and whether it still does |
//! | [`asks`] | what people ask for, as annotations |
//! | [`begin`](mod@begin) | one promotion at a time: begin, or go on with one whose gate is gone |
//! | [`read`](mod@read) | what anybody may read, and ask for |
//! | [`diary`] | the engine's history in the record, with few writes |
//! | `tenure` | whether this process may still act |
//! | `running` | requests that begin a promotion, or go on with one |
//! | [`requests`] | the host's requests, done in a cluster |
//! | [`doctor`] | what a promotion left behind, and its end |
//! | [`look`] | what is found before a promotion, all of it |

pub mod ledger;

pub mod remembered;

pub mod owner;

pub mod asks;

mod object;

pub mod begin;

pub mod read;

pub mod diary;

mod tenure;

mod survey;

mod measure;

mod admission;

mod choice;

mod earlier;

mod copy;

mod listening;

mod told;

mod onlooker;

mod drive;

mod running;

mod guard;

pub mod requests;

pub mod doctor;

pub mod look;

pub use requests::Cluster;

#[cfg(test)]
mod tests;
