//! Waiting for facts.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Between two looks at a fact.
const LOOK: Duration = Duration::from_millis(10);

/// Returns what is found as soon as it is there; panics when the limit has passed.
#[track_caller]
pub(crate) fn until<T>(what: &str, limit: Duration, look: impl FnMut() -> Option<T>) -> T {
    within(limit, look).unwrap_or_else(|| panic!("{what}: not within {limit:?}"))
}

/// Returns what is found as soon as it is there, or `None` when the limit has passed.
pub(crate) fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(LOOK);
    }
}

/// Runs a check for every row, so many at a time, and fails with all that failed.
#[track_caller]
pub(crate) fn at_once<R: Sync>(rows: &[R], width: usize, check: impl Fn(&R) + Sync) {
    let next = Mutex::new(0..rows.len());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..width.min(rows.len()) {
            scope.spawn(|| {
                loop {
                    let Some(row) = next.lock().unwrap().next() else { return };
                    let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        check(&rows[row])
                    }));
                    if checked.is_err() {
                        failed.lock().unwrap().push(row); // the panic has printed itself
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "rows {failed:?} of {} failed, see above", rows.len());
}
