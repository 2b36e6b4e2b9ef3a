//! Append-only record of what was seen, decided and done.

pub mod journal;
