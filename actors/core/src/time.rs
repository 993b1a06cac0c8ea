//! Three clocks, three types, so that none is taken for another.
//!
//! - [`Mono`]: the machine's monotonic clock, suspend excluded. What a receipt is stamped with.
//! - [`Time`]: the *judging* clock: [`Mono`] less every moment in which we ourselves were
//!   stalled, stopped or not running. Every deadline lives on it, so our own absence moves
//!   all of them at once and nobody is judged for it. It goes on across our restarts.
//! - [`Timestamp`]: the wall clock, UTC. Shown to people, never compared to decide anything.

use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Nanoseconds of `CLOCK_MONOTONIC` (since boot, suspend excluded).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Mono(pub u64);

/// Nanoseconds of the judging clock: see the module's page.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Time(pub u64);

/// Microseconds since the Unix epoch, UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// A `Duration` as nanoseconds, capped at what 64 bits hold (584 years).
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

macro_rules! clock {
    ($clock:ident) => {
        impl $clock {
            /// The end of time: a deadline that never passes.
            pub const NEVER: Self = Self(u64::MAX);

            /// The time since `earlier`; zero if that is later.
            #[must_use]
            pub fn since(self, earlier: Self) -> Duration {
                Duration::from_nanos(self.0.saturating_sub(earlier.0))
            }
        }

        impl Add<Duration> for $clock {
            type Output = Self;

            fn add(self, duration: Duration) -> Self {
                Self(self.0.saturating_add(nanos(duration)))
            }
        }

        impl Sub<Duration> for $clock {
            type Output = Self;

            fn sub(self, duration: Duration) -> Self {
                Self(self.0.saturating_sub(nanos(duration)))
            }
        }
    };
}

clock!(Mono);
clock!(Time);

impl Timestamp {
    /// RFC 3339 in UTC with whole seconds: `2026-01-02T18:30:00Z`.
    #[must_use]
    pub fn rfc3339(self) -> String {
        humantime::format_rfc3339_seconds(self.system_time()).to_string()
    }

    /// RFC 3339 in UTC with microseconds: `2026-01-02T18:30:00.000000Z`.
    #[must_use]
    pub fn rfc3339_micros(self) -> String {
        humantime::format_rfc3339_micros(self.system_time()).to_string()
    }

    /// The same point for formatting; before 1970 and beyond 9999 it is cut to that.
    fn system_time(self) -> std::time::SystemTime {
        /// 9999-12-31T23:59:59Z, the last second that RFC 3339 can write.
        const LAST_MICROS: u64 = 253_402_300_799_000_000;
        let micros = u64::try_from(self.0).unwrap_or(0).min(LAST_MICROS);
        std::time::UNIX_EPOCH + Duration::from_micros(micros)
    }
}
