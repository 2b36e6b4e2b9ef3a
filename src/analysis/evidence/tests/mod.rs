//! The judge against its reference, against its mathematics, and against anything at all.

mod anything;
mod dice;
mod golden;
mod live;
mod mathematics;
mod numerics;
mod rules;
mod story;
mod written;
