//! Time and chance, as a test wants them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use supervisor_core::Timestamp;
use supervisor_core::time::Mono;

use crate::ports::{Clock, Dice};

/// An actix system under virtual time, for `#[actix_rt::test(system = "…::PausedSystem")]`.
pub struct PausedSystem;

impl PausedSystem {
    /// A system whose time stands still while anything runs and leaps to the next timer when
    /// nothing does.
    ///
    /// # Panics
    /// Where no runtime can be built.
    #[expect(
        clippy::new_ret_no_self,
        reason = "the test macro calls it by this name"
    )]
    pub fn new() -> actix_rt::SystemRunner {
        actix_rt::System::with_tokio_rt(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()
                .expect("a runtime")
        })
    }
}

/// A clock that follows the runtime's virtual time, and can be moved against it.
pub struct FakeClock {
    /// The runtime's time at the last [`FakeClock::attach`], and the clock's there.
    base: Mutex<(Instant, u64)>,
    /// How much further it is by now than the runtime: what was spent frozen.
    frozen: AtomicU64,
    /// The latest time given out.
    last: AtomicU64,
    /// How long the machine was suspended.
    asleep: AtomicU64,
    /// How far the wall clock is from where it would be, in microseconds.
    wall: AtomicI64,
}

/// Where monotonic time begins: a machine that has been up for a day.
const UPTIME: u64 = 86_400 * 1_000_000_000;
/// Where the wall clock begins: 2026-01-02T18:30:00Z.
const EPOCH_MICROS: i64 = 1_767_378_600_000_000;

impl FakeClock {
    pub(super) fn new() -> Self {
        Self {
            base: Mutex::new((Instant::now(), UPTIME)),
            frozen: AtomicU64::new(0),
            last: AtomicU64::new(UPTIME),
            asleep: AtomicU64::new(0),
            wall: AtomicI64::new(EPOCH_MICROS),
        }
    }

    /// Goes on, under the present runtime, from where it was under the last one.
    pub(super) fn attach(&self) {
        let mut base = self.base.lock().expect("a clock");
        // The virtual time of another runtime begins anew.
        let last = self.last.load(Ordering::Relaxed);
        *base = (Instant::now(), last - self.frozen.load(Ordering::Relaxed));
    }

    /// Everything that runs was stopped for so long: the clock goes on and no timer fires.
    pub fn freeze(&self, duration: Duration) {
        self.frozen.fetch_add(nanos(duration), Ordering::Relaxed);
        self.last.fetch_add(nanos(duration), Ordering::Relaxed);
    }

    /// The whole machine was suspended for so long: only the wall clock goes on.
    pub fn suspend(&self, duration: Duration) {
        self.asleep.fetch_add(nanos(duration), Ordering::Relaxed);
    }

    /// Sets the wall clock forward or back, in seconds.
    pub fn set_wall_by(&self, seconds: i64) {
        self.wall.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("less than centuries")
}

impl Clock for FakeClock {
    fn mono(&self) -> Mono {
        let (instant, mono) = *self.base.lock().expect("a clock");
        let passed = nanos(Instant::now().saturating_duration_since(instant));
        let now = mono + passed + self.frozen.load(Ordering::Relaxed);
        self.last.store(now, Ordering::Relaxed);
        Mono(now)
    }

    fn uptime(&self) -> Mono {
        let asleep = self.asleep.load(Ordering::Relaxed);
        Mono(self.mono().0 + asleep)
    }

    fn wall(&self) -> Timestamp {
        let passed = (self.uptime().0 - UPTIME) / 1_000;
        let passed = i64::try_from(passed).expect("less than centuries");
        Timestamp(self.wall.load(Ordering::Relaxed) + passed)
    }
}

/// Always the same throw.
pub struct FixedDice {
    roll: AtomicU64,
    panics: AtomicBool,
}

impl Default for FixedDice {
    fn default() -> Self {
        Self {
            roll: AtomicU64::new(0.5_f64.to_bits()),
            panics: AtomicBool::new(false),
        }
    }
}

impl FixedDice {
    /// From now on this is thrown; in 0..1.
    pub fn set(&self, roll: f64) {
        self.roll.store(roll.to_bits(), Ordering::Relaxed);
    }

    /// The next throw panics: whoever throws it dies.
    pub fn panic_once(&self) {
        self.panics.store(true, Ordering::Relaxed);
    }
}

impl Dice for FixedDice {
    fn roll(&self) -> f64 {
        let panics = self.panics.swap(false, Ordering::Relaxed);
        assert!(!panics, "the dice were told to panic");
        f64::from_bits(self.roll.load(Ordering::Relaxed))
    }
}
