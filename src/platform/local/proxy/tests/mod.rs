//! The proxy over real sockets, against applications of the tests' own.

mod app;

mod assignment;
mod bodies;
mod draining;
mod failures;
mod heads;
mod observing;
mod routing;
mod upgrades;
