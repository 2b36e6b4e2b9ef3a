//! How the example application misbehaves.
//!
//! Nothing here is random: a request's fate is a function of its number, and health one of the time
//! since the start. So a test or a demonstration shows the same thing each time.

use std::time::Duration;

/// How long one state of `--flap` lasts. Shorter than three probes of the usual 2 s: probes fail all
/// the time, and never three in a row.
pub const FLAP: Duration = Duration::from_secs(4);

/// Response times lie within this part of the asked one, evenly: so the median is what was asked.
const SPREAD: f64 = 0.1;

#[derive(Clone, Debug, clap::Args)]
pub struct Behaviour {
    /// Part of the requests that fail with 500, 0 to 1
    #[arg(long, value_name = "PART", default_value_t = 0.0, value_parser = fraction)]
    pub error_rate: f64,

    /// Median response time in milliseconds
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub latency_ms: u64,

    /// Accept requests and never answer; health stays good
    #[arg(long)]
    pub hang: bool,

    /// Health changes between good and bad every 4 s; requests are answered
    #[arg(long)]
    pub flap: bool,

    /// Health is bad from then on; requests are answered
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub unhealthy_after: Option<Duration>,

    /// Exit with 1 after this time
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub crash_after: Option<Duration>,

    /// Health is never good
    #[arg(long)]
    pub never_ready: bool,

    /// Take so much memory every second, up to 1 GB
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub leak_mb_per_s: u64,
}

fn fraction(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    let inside = (0.0..=1.0).contains(&value);
    if inside { Ok(value) } else { Err("must lie between 0 and 1".to_owned()) }
}

impl Behaviour {
    /// True when the request of this number fails. Failures are spread evenly: of any `n` requests in
    /// a row, `n × error_rate` fail, give or take one.
    #[must_use]
    pub fn fails(&self, number: u64) -> bool {
        let failed_before = |n: u64| (n as f64 * self.error_rate).floor();
        failed_before(number + 1) > failed_before(number)
    }

    /// Returns how long the answer to the request of this number takes. The golden ratio spreads them
    /// evenly, however many one looks at.
    #[must_use]
    pub fn latency(&self, number: u64) -> Duration {
        const GOLDEN: f64 = 0.618_033_988_749_894_9;
        let place = (number as f64 * GOLDEN).fract();
        let factor = 1.0 + SPREAD * (2.0 * place - 1.0);
        Duration::from_millis(self.latency_ms).mul_f64(factor)
    }

    /// True when health is good that long after the start.
    #[must_use]
    pub fn healthy(&self, since_start: Duration) -> bool {
        let flapped = self.flap && (since_start.as_secs() / FLAP.as_secs()) % 2 == 1;
        let ended = self.unhealthy_after.is_some_and(|after| since_start >= after);
        !(self.never_ready || flapped || ended)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Flags {
        #[command(flatten)]
        behaviour: Behaviour,
    }

    fn flags(text: &str) -> Behaviour {
        Flags::parse_from(std::iter::once("app").chain(text.split_whitespace())).behaviour
    }

    proptest! {
        #[test]
        fn errors_are_as_many_as_asked_in_every_stretch(rate in 0.0..=1.0f64, from in 0u64..1_000_000, length in 1u64..500) {
            let behaviour = Behaviour { error_rate: rate, ..flags("") };
            let failed = (from..from + length).filter(|&n| behaviour.fails(n)).count() as f64;
            prop_assert!((failed - length as f64 * rate).abs() <= 1.0 + 1e-6);
        }
    }

    #[test]
    fn latency_is_what_was_asked() {
        let behaviour = flags("--latency-ms 1300");
        let mut times: Vec<_> = (0..1000).map(|n| behaviour.latency(n).as_millis()).collect();
        times.sort_unstable();
        assert!((1290..=1310).contains(&times[500]), "median {}", times[500]);
        assert!(times[950] >= 1300 && times[999] < 1500, "p95 {}", times[950]);
    }

    #[test]
    fn health_is_a_matter_of_time() {
        let check = |text: &str, expected: &[(u64, bool)]| {
            for &(secs, good) in expected {
                assert_eq!(
                    flags(text).healthy(Duration::from_secs(secs)),
                    good,
                    "{text} at {secs} s"
                );
            }
        };
        check("", &[(0, true), (9999, true)]);
        check("--never-ready", &[(0, false), (9999, false)]);
        check("--unhealthy-after 5s", &[(0, true), (4, true), (5, false), (500, false)]);
        check("--flap", &[(0, true), (3, true), (4, false), (7, false), (8, true), (12, false)]);
        check("--hang --error-rate 1", &[(0, true), (100, true)]);
    }

    #[test]
    fn flags_out_of_range_are_refused() {
        for text in ["--error-rate 1.5", "--error-rate x", "--error-rate NaN", "--crash-after 5"] {
            let parsed = Flags::try_parse_from(std::iter::once("app").chain(text.split(' ')));
            assert!(parsed.is_err(), "{text}");
        }
    }
}
