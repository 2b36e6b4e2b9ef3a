//! Kubernetes: the user's Deployment stays the user's; the candidate is a second one beside it.
//!
//! What is done is decided by pure functions of a [`Snapshot`](snapshot::Snapshot) and sent as
//! preconditioned [`Write`](write::Write)s. The promises, each tested on a real cluster:
//!
//! * A candidate's pod is never an endpoint of a user's Service by default; it has to be let in. If
//!   gate dies, the worst case below 100 % is that the candidate gets *less* than was asked.
//! * Stable is not touched until the candidate is proven, so the way back is one write.
//! * What gate makes is labelled, and found again without a record; what carries traffic is owned by
//!   the user's Deployment. What gate changes is noted on the object, and given back at every exit.
//!
//! | module | idea |
//! |---|---|
//! | [`names`] | every name that gate writes |
//! | [`access`] | the way into a cluster |
//! | [`template`] | what a revision is |
//! | [`snapshot`] | what is known at one moment |
//! | [`watching`] | how that is kept up to date |
//! | [`following`] | one watch |
//! | [`write`](mod@write) | what is written, and under which conditions |
//! | [`router`] | what splits the traffic |
//! | [`candidate`] | the second Deployment |
//! | [`autoscaler`] | copies that must stay, copies that must come |
//! | [`adoption`] | the writes to the user's Deployment |
//! | [`removal`], [`ownership`] | everything as it was |
//! | [`workload`] | a snapshot as the core sees it |
//! | [`target`] | all of it as the core's platform |
//! | [`evidence`] | counters, probes and readiness of the pods |
//! | [`causes`] | why copies are not ready |
//! | [`gitops`] | who else writes what gate is about to write |
//! | [`permissions`] | what gate may do, and the Role that lets it |
//! | [`preflight`] | what speaks against a promotion before it begins |
//! | [`watchdog`] | the pod that goes back when nobody runs the promotion |
//! | [`doctor`] | what an interrupted promotion left, and the way to repair it |

pub mod names;

pub mod access;

pub mod template;

pub mod snapshot;

pub mod watching;

pub mod following;

pub mod write;

pub mod router;

pub mod candidate;

pub mod autoscaler;

pub mod adoption;

pub mod ownership;

pub mod removal;

pub mod workload;

pub mod sending;

pub mod target;

pub mod evidence;

pub mod causes;

pub mod gitops;

pub mod permissions;

pub mod preflight;

pub mod watchdog;

pub mod doctor;

pub use access::{Access, Where};
pub use target::Kubernetes;
