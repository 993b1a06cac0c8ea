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

/// The kernel's clocks, for the one thread whose runtime began at that moment.
///
/// tokio's timers stand in a hierarchical wheel, whose second level has slots of 64 ms: a sleep
/// of a second wakes its thread twice, at the beginning of its slot and at its end, unless that
/// is where the slot begins. Each waking of a thread at rest costs more than what we do then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WheelClock {
    begun: Mono,
}

/// A slot of the wheel's second level.
const SLOT: u64 = 64_000_000;
/// Deadlines are rounded up to whole milliseconds since the runtime began, which was shortly
/// after we looked; and whoever arms one has looked at the clock shortly before.
const AHEAD: u64 = 600_000;

impl WheelClock {
    /// To be made right before the runtime. Where something came in between nothing is lost but
    /// what it saves.
    pub(crate) fn new() -> Self {
        Self {
            begun: RealClock.mono(),
        }
    }
}

impl Clock for WheelClock {
    fn mono(&self) -> Mono {
        RealClock.mono()
    }

    fn uptime(&self) -> Mono {
        RealClock.uptime()
    }

    fn wall(&self) -> Timestamp {
        RealClock.wall()
    }

    fn cheap(&self, by: Mono) -> Mono {
        let since = by.0.saturating_sub(self.begun.0).saturating_add(AHEAD);
        let slot = since - since % SLOT;
        Mono((self.begun.0 + slot).saturating_sub(AHEAD).min(by.0))
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
    fn a_cheap_moment_comes_before_and_at_most_a_slot_before() {
        let clock = WheelClock {
            begun: Mono(12_345_678_901),
        };
        for n in 0..1_000_u64 {
            let by = Mono(clock.begun.0 + n * 1_234_567);
            let cheap = clock.cheap(by);
            assert!(cheap <= by && by.0 - cheap.0 < SLOT, "{n}");
            // tokio rounds up.
            let tick = (cheap.0 + AHEAD - clock.begun.0).div_ceil(1_000_000);
            assert_eq!(tick % 64, 0, "{n}");
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
