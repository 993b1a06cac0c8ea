//! Waiting on conditions.

use std::time::{Duration, Instant};

/// How long a condition may take on a machine that is busy with other tests: far more than
/// it should need, because its only use is to end a test that would hang.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until the condition gives a value.
///
/// # Panics
/// After [`PATIENCE`].
pub fn wait_until<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    wait_within(PATIENCE, what, condition)
}

/// As [`wait_until`], with a limit of its own.
///
/// # Panics
/// After the limit.
pub fn wait_within<T>(limit: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(began.elapsed() < limit, "waited {limit:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Looks again and again for so long: for what must *not* happen.
///
/// # Panics
/// As soon as the check does.
pub fn watch_for(length: Duration, mut check: impl FnMut()) {
    let began = Instant::now();
    while began.elapsed() < length {
        check();
        std::thread::sleep(Duration::from_millis(20));
    }
}
