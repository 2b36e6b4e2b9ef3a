//! Evidence from a Prometheus that scrapes the application already.
//!
//! Contract: an answer is evidence only if it is a fresh sample of a known instance. Everything
//! else (a dead source, a slow one, an HTML page, NaN, an old sample, no series) is a reason in
//! [`Look::missing`](crate::analysis::Look::missing), each told apart in words; nothing here fails, and nothing waits
//! longer than [`PATIENCE`].
//!
//! Counters are read raw, never as `rate()`, and all of one look by *one* query: so all parts
//! are of one moment and one state of the database, and no clock but the server's own is asked.
//! A sample counts once: between two scrapes Prometheus repeats the newest one for five minutes,
//! which would look like an instance without traffic.
//!
//! | module | idea |
//! |---|---|
//! | [`credentials`] | who gate is to the server: token, password, certificates |
//! | [`source`] | one question, one bounded answer |
//! | [`answer`] | what the server says, and why it may say nothing |
//! | [`expression`] | what is asked, in PromQL |
//! | [`native`] | native histograms |
//! | `table` | series to counters of instances |
//! | [`reader`] | looks: fresh samples, one question at a time, a dead source costs one question |
//! | [`before`] | before the promotion: bounds, the scrape interval, hours of history |
//! | [`fitness`] | can this source be judged with? What a plan needs to know of it |
//! | `preroll` | the history that a judge is taught before its first look |
//! | [`revisions`] | who was whose in the past, and since when |
//! | [`past`] | a past deployment as a recording |
//! | [`evidence`] | the platform's own evidence with these counters in it |

use std::time::Duration;

pub mod credentials;

pub mod source;

pub mod answer;

pub mod expression;

pub mod native;

mod table;

pub mod reader;

pub mod before;

pub mod fitness;

mod preroll;
pub mod revisions;

pub mod past;

pub mod evidence;

pub use answer::QueryError;
pub use credentials::{Credentials, CredentialsError};
pub use evidence::{Counted, Prometheus};
pub use expression::Arms;
pub use fitness::{Fitness, Traffic};
pub use reader::{Reader, Seen};
pub use source::{Refusal, Source};

/// The longest answer that is read, in bytes: 2,000 series of a classic histogram are about 400 kB.
pub const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Series in one answer; more are a label that grows, or a selector that takes in too much.
pub const SERIES_MAX: usize = 2_000;

/// A question is given up after this long. The server is told to give up then as well.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A look waits for an answer so long; a later one is taken by the next look. It also bounds how
/// long a slow source may keep gate from noticing that somebody asked for a rollback.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// The newest sample of an instance may be this old, or two scrape intervals if that is more
/// (rules of the judge: stale).
pub const STALE: Duration = Duration::from_secs(60);

/// The slowest scrapes that evidence can be made of (rules of the judge: slowest source).
pub const SCRAPE_INTERVAL_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
