//! Both routers, turn by turn, against a cluster in memory.

mod cluster;
mod requests;
mod walk;

mod backends;
mod lost;
mod refusals;
mod storm;
mod testers;
