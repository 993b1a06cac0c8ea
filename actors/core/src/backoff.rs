//! The delays between restarts, and how many a window may hold.
//!
//! ```text
//!  restart of a series   1st   2nd    3rd    4th   …           ± jitter, never above max
//!  delay before it       0     min    min·f  min·f²  …  max
//! ```
//!
//! Both limits are types that validate when they are built, so an invalid one cannot exist.
//! The window of [`RestartHistory`] is a real one: it holds the times of restarts, and each
//! leaves it exactly one window after it happened. It outranks the backoff: a restart that
//! does not fit is not delayed but refused.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Time;

/// Delays that grow by a factor up to a maximum. Only valid ones exist.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    factor: f64,
    jitter: f64,
    reset_after: Duration,
}

/// Why a backoff cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BackoffError {
    /// A loop without a pause.
    #[error("min is zero: restarts of a series would follow each other without a pause")]
    ZeroMin,
    /// The first delay would exceed the last.
    #[error(
        "min ({}) is longer than max ({})",
        humantime::format_duration(*.min),
        humantime::format_duration(*.max)
    )]
    MinAboveMax {
        /// The shortest delay.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// Delays would shrink.
    #[error("factor is {0}, it must be a number of at least 1")]
    BadFactor(f64),
    /// Delays would be negative.
    #[error("jitter is {0}, it must be between 0 and 1")]
    BadJitter(f64),
}

impl Backoff {
    /// Checks and takes one. `jitter` is the share of a delay by which it may differ.
    ///
    /// # Errors
    /// Which part is not allowed.
    pub fn new(
        min: Duration,
        max: Duration,
        factor: f64,
        jitter: f64,
        reset_after: Duration,
    ) -> Result<Self, BackoffError> {
        if min.is_zero() {
            return Err(BackoffError::ZeroMin);
        }
        if min > max {
            return Err(BackoffError::MinAboveMax { min, max });
        }
        if !factor.is_finite() || factor < 1.0 {
            return Err(BackoffError::BadFactor(factor));
        }
        if !(0.0..=1.0).contains(&jitter) {
            return Err(BackoffError::BadJitter(jitter));
        }
        Ok(Self {
            min,
            max,
            factor,
            jitter,
            reset_after,
        })
    }

    /// As its owner wrote it: the first and the last delay, the factor and the jitter.
    #[must_use]
    pub fn parts(&self) -> (Duration, Duration, f64, f64) {
        (self.min, self.max, self.factor, self.jitter)
    }

    /// The delay before restart `n` of a series, counted from 0, with `roll` in 0..1.
    #[must_use]
    pub fn delay(&self, n: u32, roll: f64) -> Duration {
        let Some(doublings) = n.checked_sub(1) else {
            return Duration::ZERO;
        };
        // In floating point an overflow is infinity, which the cap takes care of.
        let power = self.factor.powf(f64::from(doublings));
        let base = (self.min.as_secs_f64() * power).min(self.max.as_secs_f64());
        let swing = self.jitter * (2.0 * roll.clamp(0.0, 1.0) - 1.0);
        Duration::try_from_secs_f64(base * (1.0 + swing))
            .unwrap_or(self.max)
            .min(self.max)
    }

    /// How long a life must last to end the series.
    #[must_use]
    pub fn reset_after(&self) -> Duration {
        self.reset_after
    }

    /// The longest delay.
    #[must_use]
    pub fn max(&self) -> Duration {
        self.max
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            min: Duration::from_millis(500),
            max: Duration::from_secs(5 * 60),
            factor: 2.0,
            jitter: 0.1,
            reset_after: Duration::from_secs(60),
        }
    }
}

/// A limit: at most `max` restarts within any `window`. Only valid ones exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Intensity {
    max: u32,
    window: Duration,
}

/// Why a limit cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntensityError {
    /// A limit that never limits.
    #[error("restart_window is zero: it would never hold a restart")]
    ZeroWindow,
    /// The times of that many restarts would have to be remembered.
    #[error("max_restarts is {0}, at most {max} are allowed", max = Intensity::MOST)]
    TooMany(u32),
}

impl Intensity {
    /// The highest `max`: what bounds the memory of a [`RestartHistory`].
    pub const MOST: u32 = 10_000;

    /// Checks and takes one. A `max` of zero allows no restart at all.
    ///
    /// # Errors
    /// Which part is not allowed.
    pub fn new(max: u32, window: Duration) -> Result<Self, IntensityError> {
        if window.is_zero() {
            return Err(IntensityError::ZeroWindow);
        }
        if max > Self::MOST {
            return Err(IntensityError::TooMany(max));
        }
        Ok(Self { max, window })
    }

    /// How many restarts a window may hold.
    #[must_use]
    pub fn max(self) -> u32 {
        self.max
    }

    /// How long a window is.
    #[must_use]
    pub fn window(self) -> Duration {
        self.window
    }
}

impl Default for Intensity {
    fn default() -> Self {
        Self {
            max: 10,
            window: Duration::from_secs(15 * 60),
        }
    }
}

/// The times of the restarts that the present window holds: never more than the limit allows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RestartHistory {
    times: VecDeque<Time>,
}

impl RestartHistory {
    /// Notes a restart at that time if the window that ends then has room for it; otherwise it
    /// must not happen.
    #[must_use]
    pub fn admit(&mut self, now: Time, limit: Intensity) -> bool {
        self.forget_older(now, limit);
        if self.times.len() >= usize::try_from(limit.max).unwrap_or(usize::MAX) {
            return false;
        }
        self.times.push_back(now);
        true
    }

    /// The restart noted last happened only now, not when it was planned.
    pub fn happened(&mut self, now: Time) {
        if let Some(last) = self.times.back_mut() {
            *last = now.max(*last);
        }
    }

    /// The restart noted last does not happen.
    pub fn take_back(&mut self) {
        self.times.pop_back();
    }

    /// How many the window that ends now holds.
    #[must_use]
    pub fn count(&self, now: Time, limit: Intensity) -> usize {
        self.times
            .iter()
            .filter(|&&time| time + limit.window > now)
            .count()
    }

    /// Forgets all of them: what clearing a quarantine means.
    pub fn clear(&mut self) {
        self.times = VecDeque::new();
    }

    fn forget_older(&mut self, now: Time, limit: Intensity) {
        while let Some(&oldest) = self.times.front()
            && oldest + limit.window <= now
        {
            self.times.pop_front();
        }
        // A limit that was lowered meanwhile, or a state written by another hand.
        while self.times.len() > usize::try_from(Intensity::MOST).unwrap_or(usize::MAX) {
            self.times.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    fn still(min: u64, max: u64, factor: f64) -> Backoff {
        Backoff::new(
            Duration::from_millis(min),
            Duration::from_millis(max),
            factor,
            0.0,
            Duration::from_secs(60),
        )
        .unwrap()
    }

    #[test]
    fn the_first_restart_of_a_series_has_no_delay() {
        assert_eq!(Backoff::default().delay(0, 0.99), Duration::ZERO);
    }

    #[test]
    fn delays_grow_by_the_factor_up_to_the_maximum() {
        let backoff = still(500, 5_000, 2.0);
        let delays: Vec<u128> = (0..7).map(|n| backoff.delay(n, 0.5).as_millis()).collect();
        assert_eq!(delays, [0, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
        assert_eq!(backoff.delay(u32::MAX, 0.5).as_millis(), 5_000);
    }

    #[test]
    fn jitter_moves_a_delay_by_its_share_at_most() {
        let backoff = Backoff::default();
        assert_eq!(backoff.delay(1, 0.0), Duration::from_millis(450));
        assert_eq!(backoff.delay(1, 0.5), Duration::from_millis(500));
        assert_eq!(backoff.delay(1, 1.0), Duration::from_millis(550));
        assert!(backoff.delay(30, 1.0) <= Duration::from_secs(300));
    }

    #[test]
    fn a_backoff_that_makes_no_sense_cannot_be_built() {
        let build = |min, max, factor, jitter| {
            Backoff::new(
                Duration::from_millis(min),
                Duration::from_millis(max),
                factor,
                jitter,
                Duration::ZERO,
            )
            .unwrap_err()
            .to_string()
        };
        assert!(build(0, 1, 2.0, 0.1).contains("min is zero"));
        assert_eq!(
            build(2_000, 1_000, 2.0, 0.1),
            "min (2s) is longer than max (1s)"
        );
        assert!(build(1, 1, 0.5, 0.1).contains("factor is 0.5"));
        assert!(build(1, 1, f64::NAN, 0.1).contains("factor is NaN"));
        assert!(build(1, 1, 1.0, 1.1).contains("jitter is 1.1"));
        assert!(build(1, 1, 1.0, f64::NAN).contains("jitter is NaN"));
    }

    #[test]
    fn a_limit_that_makes_no_sense_cannot_be_built() {
        assert!(Intensity::new(10, Duration::ZERO).is_err());
        assert!(Intensity::new(10_001, Duration::from_secs(1)).is_err());
        assert!(Intensity::new(0, Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn a_restart_leaves_the_window_exactly_one_window_later() {
        let limit = Intensity::new(2, Duration::from_nanos(10)).unwrap();
        let mut history = RestartHistory::default();
        assert!(history.admit(Time(100), limit));
        assert!(history.admit(Time(105), limit));
        assert!(!history.admit(Time(109), limit));
        assert_eq!(history.count(Time(109), limit), 2);
        assert!(history.admit(Time(110), limit));
        assert!(!history.admit(Time(114), limit));
    }

    #[test]
    fn a_limit_of_zero_admits_nothing() {
        let limit = Intensity::new(0, Duration::from_secs(1)).unwrap();
        assert!(!RestartHistory::default().admit(Time(0), limit));
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_the_limit(
            max in 0_u32..6,
            window in 1_u64..50,
            steps in prop::collection::vec(0_u64..20, 1..200),
        ) {
            let limit = Intensity::new(max, Duration::from_nanos(window)).unwrap();
            let mut history = RestartHistory::default();
            let mut now = 0;
            let mut admitted: Vec<u64> = Vec::new();
            for step in steps {
                now += step;
                let room = admitted.iter().filter(|&&at| at + window > now).count() < max as usize;
                prop_assert_eq!(history.admit(Time(now), limit), room);
                if room {
                    admitted.push(now);
                }
            }
            prop_assert!(history.times.len() <= max as usize);
        }

        #[test]
        fn a_delay_never_exceeds_the_maximum_nor_falls_below_the_jitter(
            n in any::<u32>(), roll in any::<f64>(),
        ) {
            let backoff = Backoff::default();
            let delay = backoff.delay(n, roll);
            prop_assert!(delay <= Duration::from_secs(300));
            prop_assert!(n == 0 || delay >= Duration::from_millis(450));
        }
    }
}
