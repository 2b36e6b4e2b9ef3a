//! The local platform's long-lived process: supervisor, proxy, and the engine of its promotions.
//!
//! It runs where the platform is, so a client that dies changes nothing. Clients talk to it in JSON
//! lines over a Unix socket ([`protocol`]).

pub mod client;

pub mod protocol;

pub mod paths;

mod socket;
