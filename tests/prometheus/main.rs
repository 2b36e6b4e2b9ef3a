//! Evidence through a real Prometheus, and the faults that a real one does not show on demand.
//!
//! The Prometheus is Debian's (`.ci/install-prometheus`). It scrapes recorded expositions, which a
//! small server of the tests hands out and changes.

mod server;

mod real;

mod faults;

mod presets;

mod reading;
