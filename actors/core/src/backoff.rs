//! The delays between restarts, and how many a window may hold.

use std::time::Duration;

/// Delays that grow by a factor up to a maximum. Only valid ones exist.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    factor: f64,
    jitter: f64,
    reset_after: Duration,
}

/// A limit: at most `max` restarts within any `window`. Only valid ones exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intensity {
    max: u32,
    window: Duration,
}
