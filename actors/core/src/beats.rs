//! Plain pulses of services that are well: a store each.
//!
//! Such a pulse changes nothing but the age of its service. Machines are hundreds of bytes each,
//! and with a million of them whatever is touched comes from memory: so what the pulse changes
//! stands here, dense, a cache line a service.
//!
//! ```text
//!   machine ──promise──▶ line    whose pulses change nothing but the age, and how long after the
//!                                last one nobody need look
//!   pulse ────store────▶ line    how many, when the first and the last
//!   machine ◀──take────  line    before it is told or asked anything
//! ```
//!
//! Nothing is decided here. A service that is not well has no promise, and its machine sees each
//! pulse ([`Service::promise`](crate::Service::promise)).

use crate::event::{Generation, Moment};
use crate::time::Time;

/// What a machine promises of its service while it is well: that a plain pulse of this life
/// changes nothing but its age, and that until the age it names time changes nothing at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    pub(crate) generation: Generation,
    /// What its age counts from.
    pub(crate) base: Time,
    /// The age at which it ceases to be well, in nanoseconds: `Duration` takes twice the room.
    pub(crate) patience: u64,
}

/// Plain pulses of one service that its machine has not been told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// How many: at least one.
    pub count: u32,
    /// When the first of them was received.
    pub first: Time,
    /// When the last was received.
    pub last: Moment,
}

/// The lines of all services, by index.
#[derive(Debug, Default)]
pub struct Beats {
    lines: Vec<Line>,
    /// Whose machines have something to be told, and some that have been told already.
    behind: Vec<u32>,
}

#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Line {
    /// The last sign of life, or what counts as one.
    base: Time,
    patience: u64,
    /// [`NOBODY`]: no promise.
    generation: Generation,
    /// Not told of: how many, …
    count: u32,
    /// … the first …
    first: Time,
    /// … and the last of them.
    last: Moment,
}

/// A life that nobody has: lives are counted from 1.
const NOBODY: Generation = Generation(0);

impl Beats {
    /// What the machine promises now, after it has taken what was there.
    ///
    /// Indices should be dense: there is a line for each below the highest.
    pub fn promise(&mut self, index: u32, promise: Option<Promise>) {
        let index = index as usize;
        if index >= self.lines.len() {
            self.lines.resize(index + 1, Line::default());
        }
        let line = &mut self.lines[index];
        debug_assert_eq!(line.count, 0, "pulses that the machine was not told of");
        *line = promise.map_or(Line::default(), |promise| Line {
            base: promise.base,
            patience: promise.patience,
            generation: promise.generation,
            ..Line::default()
        });
    }

    /// Stores plain pulses of that life, received between `first` and `last`. `false` if it is
    /// not that simple, and the machine must see them.
    #[must_use]
    pub fn pulse(&mut self, index: u32, generation: Generation, beat: Beat) -> bool {
        let Some(line) = self.lines.get_mut(index as usize) else {
            return false;
        };
        let Some(count) = line.count.checked_add(beat.count) else {
            return false;
        };
        if line.generation != generation || generation == NOBODY {
            return false;
        }
        if line.count == 0 {
            line.first = beat.first;
            line.last = beat.last;
            self.behind.push(index);
        } else if line.last.time <= beat.last.time {
            line.last = beat.last;
        }
        line.count = count;
        line.base = line.base.max(beat.last.time);
        true
    }

    /// What came since this was last asked, for [`Service::catch_up`](crate::Service::catch_up).
    pub fn take(&mut self, index: u32) -> Option<Beat> {
        let line = self.lines.get_mut(index as usize)?;
        let count = std::mem::take(&mut line.count);
        (count > 0).then_some(Beat {
            count,
            first: line.first,
            last: line.last,
        })
    }

    /// The same of anybody, until there is nothing left.
    pub fn take_any(&mut self) -> Option<(u32, Beat)> {
        while let Some(index) = self.behind.pop() {
            if let Some(beat) = self.take(index) {
                return Some((index, beat));
            }
        }
        None
    }

    /// Until when nobody need ask the machine about time alone; `None` where it made no promise.
    #[must_use]
    pub fn well_until(&self, index: u32) -> Option<Time> {
        let line = self.lines.get(index as usize)?;
        (line.generation != NOBODY).then(|| Time(line.base.0.saturating_add(line.patience)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::time::{Mono, Timestamp};

    const LIFE: Generation = Generation(3);

    fn promised() -> Beats {
        let mut beats = Beats::default();
        beats.promise(
            1,
            Some(Promise {
                generation: LIFE,
                base: Time(100),
                patience: 50,
            }),
        );
        beats
    }

    fn beat(count: u32, first: u64, last: u64) -> Beat {
        Beat {
            count,
            first: Time(first),
            last: Moment {
                time: Time(last),
                mono: Mono(last + 1_000),
                wall: Timestamp(0),
            },
        }
    }

    fn at(nanos: u64) -> Beat {
        beat(1, nanos, nanos)
    }

    #[test]
    fn a_line_is_a_cache_line() {
        assert_eq!(size_of::<Line>(), 64);
    }

    #[test]
    fn pulses_are_folded_until_they_are_taken() {
        let mut beats = promised();
        assert!(beats.pulse(1, LIFE, beat(2, 109, 110)));
        assert!(beats.pulse(1, LIFE, at(120)));
        assert_eq!(beats.well_until(1), Some(Time(170)));
        assert_eq!(beats.take(1), Some(beat(3, 109, 120)));
        assert_eq!(beats.take(1), None);
        assert_eq!(beats.well_until(1), Some(Time(170)));
        assert!(beats.pulse(1, LIFE, at(130)));
        assert_eq!(beats.take(1), Some(at(130)));
    }

    #[test]
    fn a_receipt_out_of_order_is_counted_and_makes_nobody_older() {
        let mut beats = promised();
        assert!(beats.pulse(1, LIFE, at(99)));
        assert_eq!(beats.well_until(1), Some(Time(150)));
        assert_eq!(beats.take(1), Some(at(99)));
        assert!(beats.pulse(1, LIFE, at(120)));
        assert!(beats.pulse(1, LIFE, at(119)));
        assert_eq!(beats.take(1), Some(beat(2, 120, 120)));
    }

    #[test]
    fn whoever_is_behind_is_found_once() {
        let mut beats = promised();
        let promise = Promise {
            generation: LIFE,
            base: Time(100),
            patience: 50,
        };
        beats.promise(5, Some(promise));
        assert!(beats.pulse(1, LIFE, at(110)));
        assert!(beats.pulse(5, LIFE, at(111)));
        assert!(beats.pulse(5, LIFE, at(112)));
        assert_eq!(beats.take(1), Some(at(110)));
        assert!(beats.pulse(1, LIFE, at(113)));
        let mut taken: Vec<_> = std::iter::from_fn(|| beats.take_any()).collect();
        taken.sort_by_key(|(index, _)| *index);
        assert_eq!(taken, [(1, at(113)), (5, beat(2, 111, 112))]);
        assert!(beats.behind.is_empty());
    }

    #[test]
    fn without_a_promise_the_machine_sees_every_pulse() {
        let mut beats = promised();
        assert!(!beats.pulse(1, Generation(2), at(110)), "an older life");
        assert!(!beats.pulse(0, NOBODY, at(110)), "never promised");
        assert!(!beats.pulse(7, LIFE, at(110)), "unheard of");
        beats.promise(1, None);
        assert!(!beats.pulse(1, LIFE, at(110)), "not any more");
        assert!(!beats.pulse(1, NOBODY, at(110)));
        assert_eq!(beats.take(1), None);
        assert_eq!((beats.well_until(0), beats.well_until(1)), (None, None));
    }

    #[test]
    fn a_count_that_overflows_goes_to_the_machine() {
        let mut beats = promised();
        assert!(beats.pulse(1, LIFE, beat(u32::MAX, 110, 110)));
        assert!(!beats.pulse(1, LIFE, at(120)));
        assert_eq!(beats.take(1).map(|beat| beat.count), Some(u32::MAX));
    }

    #[test]
    fn who_is_never_late_is_well_for_ever() {
        let mut beats = promised();
        let promise = Promise {
            generation: LIFE,
            base: Time(5),
            patience: u64::MAX,
        };
        beats.promise(1, Some(promise));
        assert_eq!(beats.well_until(1), Some(Time::NEVER));
    }
}
