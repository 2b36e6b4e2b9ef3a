//! When to ask.
//!
//! Questions start at fixed distances from the first; one that takes longer than the interval makes
//! the next ones fall out, so a probe never overlaps itself and its schedule never drifts.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Failure, Health, Probe, Role, Target, Wish};

/// The shortest time between two questions of one probe.
pub const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// The longest; it also keeps the arithmetic of times far from its end.
pub const INTERVAL_MAX: Duration = Duration::from_secs(24 * 3600);

/// Asks at the probe's interval until `seen` has seen enough. Dropping it ends the question that is
/// under way.
pub async fn ask_on_schedule<T>(
    probe: &Probe,
    mut ask: impl AsyncFnMut() -> Result<(), Failure>,
    mut seen: impl FnMut(Result<(), Failure>) -> ControlFlow<T>,
) -> T {
    sleep(probe.initial_delay).await;
    let interval = probe.interval.clamp(INTERVAL_MIN, INTERVAL_MAX);
    let first = Instant::now();
    let mut number = 0;
    loop {
        sleep_until(first + interval * number).await;
        if let ControlFlow::Break(value) = seen(ask().await) {
            return value;
        }
        number = next_question(number, first.elapsed(), interval);
    }
}

/// Returns the number of the first question after this one whose time has not gone by.
fn next_question(number: u32, elapsed: Duration, interval: Duration) -> u32 {
    let due = elapsed.as_nanos().div_ceil(interval.as_nanos());
    number.saturating_add(1).max(u32::try_from(due).unwrap_or(u32::MAX))
}

/// Keeps the health of one process up to date. Returns when it has to be started again: then the
/// caller does so, tells [`Health::restarted`] and attends to the new process.
pub async fn attend(target: &Target, health: &watch::Sender<Health>) {
    let probes = health.borrow().probes().clone();
    let started = health.borrow().started();
    if let (Some(startup), false) = (&probes.startup, started)
        && watch_one(Role::Startup, startup, target, health).await == Wish::Restart
    {
        return;
    }
    let readiness = watch_if(Role::Readiness, probes.readiness.as_ref(), target, health);
    let liveness = watch_if(Role::Liveness, probes.liveness.as_ref(), target, health);
    tokio::select! {
        _ = readiness => {}
        _ = liveness => {}
    }
}

async fn watch_if(
    role: Role,
    probe: Option<&Probe>,
    target: &Target,
    health: &watch::Sender<Health>,
) -> Wish {
    match probe {
        Some(probe) => watch_one(role, probe, target, health).await,
        None => std::future::pending().await,
    }
}

/// Returns at a wish for a restart; the startup probe also when the instance has started.
async fn watch_one(
    role: Role,
    probe: &Probe,
    target: &Target,
    health: &watch::Sender<Health>,
) -> Wish {
    let seen = |answer| {
        let mut over = None;
        health.send_modify(|health| {
            let wish = health.saw(role, &answer);
            let done = wish == Wish::Restart || (role == Role::Startup && health.started());
            over = done.then_some(wish);
        });
        over.map_or(ControlFlow::Continue(()), ControlFlow::Break)
    };
    ask_on_schedule(probe, async || probe.ask(target).await, seen).await
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    fn every(interval: u64, initial_delay: u64) -> Probe {
        Probe {
            interval: Duration::from_secs(interval),
            initial_delay: Duration::from_secs(initial_delay),
            ..Probe::new(Kind::Tcp { port: None })
        }
    }

    /// Returns the seconds at which questions began, when each takes as long as given.
    async fn starts(probe: &Probe, takes: &[u64]) -> Vec<u64> {
        let begin = Instant::now();
        let mut starts = Vec::new();
        let mut takes = takes.iter();
        ask_on_schedule(
            probe,
            async || {
                starts.push(begin.elapsed().as_secs());
                sleep(Duration::from_secs(*takes.next().unwrap())).await;
                if takes.len() == 0 { Ok(()) } else { Err(Failure::Broken { what: String::new() }) }
            },
            |answer| {
                if answer.is_ok() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        )
        .await;
        starts
    }

    #[tokio::test(start_paused = true)]
    async fn questions_keep_their_distance_and_never_overlap() {
        let check = async |interval, delay, takes: &[u64], expected: &[u64]| {
            assert_eq!(starts(&every(interval, delay), takes).await, expected, "{takes:?}");
        };
        check(10, 0, &[0, 1, 9, 0], &[0, 10, 20, 30]).await;
        check(10, 7, &[0, 1, 0], &[7, 17, 27]).await;
        check(10, 0, &[25, 0, 0], &[0, 30, 40]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_interval_of_zero_is_no_endless_loop() {
        let begin = Instant::now();
        let mut asked = 0;
        ask_on_schedule(
            &every(0, 0),
            async || Ok(()),
            |_| {
                asked += 1;
                if asked > 10 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        )
        .await;
        assert_eq!(begin.elapsed(), INTERVAL_MIN * 10);
    }
}
