//! The judge against its reference, against its mathematics, and against anything at all.

mod golden;
mod written;
