//! Our own absence: from the monotonic clock to the judging one.
//!
//! ```text
//!  Mono  ──┬────────┬═══════════ stalled ═══════════┬────────┬──▶
//!          │        │ due: our tick should be here  │ it came here
//!  Time  ──┴────────┴───────────────────────────────┴────────┴──▶   stands still meanwhile
//! ```
//!
//! Every deadline lives on [`Time`], so a stall moves all of them by its length, at once and
//! at no cost. The supervisor says when its next tick is due and calls
//! [`Attention::observe`] *first* whenever it gets the word, before it asks for the time: what
//! has been given out as the time is never taken back, so lateness seen too late is not
//! excused.
//!
//! A restart is a stall, too: the clock goes on from the mark that the last supervisor left.
//! After a reboot [`Mono`] counts from anew, [`Time`] goes on all the same.
//!
//! The input of the stall is read before anybody is judged: see [`excused`].

use std::time::Duration;

use crate::time::{Mono, Time};

/// Lateness up to this is ordinary scheduling and excuses nothing.
pub const ORDINARY: Duration = Duration::from_millis(50);
/// From here on a stall is reported as ours.
pub const REPORTED: Duration = Duration::from_secs(2);

/// The translation from [`Mono`] to [`Time`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attention {
    /// Since this the two run alike again …
    from: Mono,
    /// … and this is the judging clock's time there.
    time: Time,
    /// What was received from here up to `from` came during the last stall, at `time`.
    stalled: Mono,
    /// The latest time given out.
    given: Time,
    amnesty: Time,
}

/// A tick that came too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    /// By how much.
    pub late: Duration,
}

/// The point of the judging clock that an earlier supervisor left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marked {
    /// The judging clock.
    pub time: Time,
    /// The monotonic clock at the same moment; `None` if the machine was booted since, for
    /// then it says nothing.
    pub mono: Option<Mono>,
}

impl Attention {
    /// A clock that begins now, or goes on from where the last supervisor left it. The time
    /// since the mark counts as a stall.
    #[must_use]
    pub fn new(now: Mono, mark: Option<Marked>) -> Self {
        let (time, stalled) = match mark {
            Some(Marked { time, mono }) => (time, mono.unwrap_or(now).min(now)),
            // Some way off zero, so that what came shortly before has a time of its own.
            None => (Time(0) + Duration::from_secs(3_600), now),
        };
        Self {
            from: now,
            time,
            stalled,
            given: time,
            amnesty: time,
        }
    }

    /// Moves the clock on to a time that is known to have been: what a service remembers may
    /// be younger than the mark, which is left only once a second.
    pub fn never_before(&mut self, time: Time) {
        if time > self.time {
            // Only a moment's work lies behind us, if any: the gap is the mark's age.
            self.time = time;
            self.given = self.given.max(time);
            self.amnesty = self.amnesty.max(time);
        }
    }

    /// Tells that we are awake now, and since when we should have been. Asking twice about the
    /// same lateness counts it once.
    pub fn observe(&mut self, now: Mono, due: Mono) -> Option<Stall> {
        let due = due.max(self.from);
        let late = now.since(due);
        if late <= ORDINARY {
            return None;
        }
        let time = self.at(due).max(self.given);
        self.from = now;
        self.stalled = due;
        self.time = time;
        self.given = time;
        self.amnesty = time;
        Some(Stall { late })
    }

    /// The time now. It never goes backwards.
    #[must_use]
    pub fn now(&mut self, now: Mono) -> Time {
        self.given = self.given.max(self.at(now));
        self.given
    }

    /// The time of a receipt.
    #[must_use]
    pub fn at(&self, mono: Mono) -> Time {
        if mono >= self.from {
            self.time + mono.since(self.from)
        } else {
            self.time - self.stalled.since(mono)
        }
    }

    /// When a time of the judging clock will be, if we do not stall before it.
    #[must_use]
    pub fn mono(&self, time: Time) -> Mono {
        if time == Time::NEVER {
            return Mono::NEVER;
        }
        self.from + time.since(self.time)
    }

    /// When we last came back.
    #[must_use]
    pub fn amnesty(&self) -> Time {
        self.amnesty
    }
}

impl Stall {
    /// Whether it is long enough to be told of.
    #[must_use]
    pub fn is_reported(self) -> bool {
        self.late >= REPORTED
    }
}

/// A deadline by age after we have come back at `amnesty`: one grace later at the earliest, so
/// that what waits to be read is read.
///
/// The excuse never moves a deadline by more than one grace in all: a machine that stalls us
/// again and again would otherwise keep us from ever judging anybody.
#[must_use]
pub fn excused(deadline: Time, amnesty: Time, grace: Duration) -> Time {
    deadline.max((amnesty + grace).min(deadline + grace))
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    const MS: u64 = 1_000_000;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn an_ordinary_lateness_changes_nothing() {
        let mut attention = Attention::new(Mono(0), None);
        let begin = attention.now(Mono(0));
        assert_eq!(attention.observe(Mono(150 * MS), Mono(100 * MS)), None);
        assert_eq!(attention.now(Mono(150 * MS)), begin + ms(150));
    }

    #[test]
    fn a_stall_moves_every_deadline_by_its_whole_length_once() {
        let mut attention = Attention::new(Mono(0), None);
        let begin = attention.now(Mono(0));
        let due = Mono(100 * MS);
        let late = Mono(6_100 * MS);
        let stall = attention.observe(late, due).unwrap();
        assert_eq!(stall.late, ms(6_000));
        assert!(stall.is_reported());
        assert_eq!(attention.now(late), begin + ms(100));
        assert_eq!(attention.amnesty(), begin + ms(100));
        assert_eq!(attention.observe(late, due), None);
        assert_eq!(attention.now(Mono(6_200 * MS)), begin + ms(200));
    }

    #[test]
    fn what_came_during_a_stall_came_when_it_began() {
        let mut attention = Attention::new(Mono(0), None);
        let begin = attention.now(Mono(0));
        attention.observe(Mono(5_000 * MS), Mono(1_000 * MS));
        assert_eq!(attention.at(Mono(3_000 * MS)), begin + ms(1_000));
        assert_eq!(attention.at(Mono(400 * MS)), begin + ms(400));
    }

    #[test]
    fn a_stall_below_two_seconds_excuses_but_is_not_reported() {
        let mut attention = Attention::new(Mono(0), None);
        let stall = attention.observe(Mono(1_999 * MS), Mono(0)).unwrap();
        assert!(!stall.is_reported());
    }

    #[test]
    fn a_restart_goes_on_from_the_mark_and_its_downtime_is_a_stall() {
        let mark = Marked {
            time: Time(77 * MS),
            mono: Some(Mono(1_000 * MS)),
        };
        let mut attention = Attention::new(Mono(60_000 * MS), Some(mark));
        assert_eq!(attention.now(Mono(60_000 * MS)), Time(77 * MS));
        assert_eq!(attention.at(Mono(30_000 * MS)), Time(77 * MS));
        assert_eq!(attention.at(Mono(990 * MS)), Time(67 * MS));
        assert_eq!(attention.amnesty(), Time(77 * MS));
    }

    #[test]
    fn after_a_reboot_the_clock_goes_on_though_the_monotonic_one_is_smaller() {
        let mark = Marked {
            time: Time(1_000_000 * MS),
            mono: None,
        };
        let mut attention = Attention::new(Mono(5 * MS), Some(mark));
        assert_eq!(attention.now(Mono(6 * MS)), Time(1_000_001 * MS));
    }

    #[test]
    fn a_memory_younger_than_the_mark_moves_the_clock_on() {
        let mark = Marked {
            time: Time(100 * MS),
            mono: None,
        };
        let mut attention = Attention::new(Mono(0), Some(mark));
        attention.never_before(Time(900 * MS));
        attention.never_before(Time(200 * MS));
        assert_eq!(attention.now(Mono(0)), Time(900 * MS));
        assert_eq!(attention.amnesty(), Time(900 * MS));
    }

    #[test]
    fn a_time_is_translated_back_to_when_it_will_be() {
        let mut attention = Attention::new(Mono(0), None);
        attention.observe(Mono(5_000 * MS), Mono(1_000 * MS));
        let in_a_second = attention.now(Mono(5_000 * MS)) + ms(1_000);
        assert_eq!(attention.mono(in_a_second), Mono(6_000 * MS));
        assert_eq!(attention.mono(Time::NEVER), Mono::NEVER);
    }

    #[test]
    fn an_excuse_waits_one_grace_after_we_came_back_and_never_two() {
        let grace = Duration::from_nanos(10);
        assert_eq!(excused(Time(100), Time(50), grace), Time(100));
        assert_eq!(excused(Time(100), Time(95), grace), Time(105));
        assert_eq!(excused(Time(100), Time(100), grace), Time(110));
        assert_eq!(excused(Time(100), Time(107), grace), Time(110));
        assert_eq!(excused(Time::NEVER, Time(107), grace), Time::NEVER);
    }

    proptest! {
        #[test]
        fn the_clock_never_goes_backwards_and_never_runs_faster(
            begin in any::<u32>(),
            steps in prop::collection::vec((0_u64..5_000 * MS, 0_u64..8_000 * MS), 1..60),
        ) {
            let mut mono = Mono(u64::from(begin));
            let mut attention = Attention::new(mono, None);
            let mut last = attention.now(mono);
            for (forward, late) in steps {
                let due = mono + Duration::from_nanos(forward);
                let woken = due + Duration::from_nanos(late);
                attention.observe(woken, due);
                let time = attention.now(woken);
                prop_assert!(time >= last);
                prop_assert!(time.since(last) <= woken.since(mono));
                if Duration::from_nanos(late) > ORDINARY {
                    prop_assert_eq!(time.since(last), due.since(mono));
                }
                prop_assert!(attention.at(mono) <= attention.at(due));
                prop_assert!(attention.at(due) <= attention.at(woken));
                last = time;
                mono = woken;
            }
        }
    }
}
