//! The machine's clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_gettime};

use supervisor_actors::ports::Clock;
use supervisor_core::Timestamp;
use supervisor_core::time::Mono;

/// The kernel's clocks. `CLOCK_MONOTONIC` stands still while the machine is suspended, so a
/// suspend makes nobody late.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RealClock;

impl Clock for RealClock {
    fn mono(&self) -> Mono {
        let now = clock_gettime(ClockId::Monotonic);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        Mono(
            seconds
                .saturating_mul(1_000_000_000)
                .saturating_add(nanos(now)),
        )
    }

    fn uptime(&self) -> Mono {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        Mono(
            seconds
                .saturating_mul(1_000_000_000)
                .saturating_add(nanos(now)),
        )
    }

    /// Asked of the C library, not of the kernel past it, so that libfaketime can move it.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the port's real side: everybody else asks it"
    )]
    fn wall(&self) -> Timestamp {
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Timestamp(match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => micros(since),
            Err(before) => -micros(before.duration()),
        })
    }
}

/// The part below a second; the kernel keeps it in 0..1e9.
fn nanos(time: Timespec) -> u64 {
    u64::try_from(time.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_never_goes_back() {
        let mut last = RealClock.mono();
        for _ in 0..10_000 {
            let now = RealClock.mono();
            assert!(now >= last);
            last = now;
        }
    }

    #[test]
    fn the_wall_clock_agrees_with_the_date_of_a_new_file() {
        let before = RealClock.wall();
        let file = tempfile::tempfile().expect("a temporary file");
        let modified = file
            .metadata()
            .and_then(|meta| meta.modified())
            .expect("a date");
        let after = RealClock.wall();
        let modified = modified
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970")
            .as_micros();
        let modified = i64::try_from(modified).expect("a date of our times");
        // Files carry the time of the kernel's last tick, a few milliseconds ago.
        assert!(modified >= before.0 - 20_000 && modified <= after.0);
    }
}
