//! The ageing wheel: which deadlines have passed, at a cost of what passed.
//!
//! A hierarchical timing wheel (Varghese & Lauck, "Hashed and Hierarchical Timing Wheels",
//! SOSP 1987, scheme 7): eight levels of 64 slots, the lowest of 1 ms each, so that every
//! `Time` has a place and nothing overflows.
//!
//! ```text
//!  milliseconds as digits of base 64:      … 0  0  5 12 40     elapsed
//!                                          … 0  0  5 13  7     a deadline
//!                                                    ▲
//!      the highest digit that differs is its level, that digit its slot: level 1, slot 13
//! ```
//!
//! Slots never wrap: on its level a deadline's digit is always higher than the elapsed one,
//! and a lower level always comes before a higher one. So the earliest slot is the first set
//! bit of the lowest level that has one. When time reaches a slot of a higher level its
//! entries fall to lower ones, at most once a level.
//!
//! An entry is a deadline and two links, 16 bytes, found by the index of its owner: arming,
//! moving and disarming touch its neighbours alone. Nothing fires early; the deadline is
//! rounded up to the next millisecond, and that is the most it fires late.
//!
//! The lazy use: a pulse does not touch the wheel. The old deadline fires, its owner sees that
//! a pulse moved it and arms the new one.

use crate::time::Time;

/// Nanoseconds of a slot of the lowest level.
const RESOLUTION: u64 = 1_000_000;
/// Bits of a digit: 64 slots a level.
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
/// 8 × 6 bits hold every `u64` of nanoseconds in milliseconds (45 bits).
const LEVELS: usize = 8;
/// No entry.
const NONE: u32 = u32::MAX;
/// Not armed.
const OFF: u64 = u64::MAX;
/// How many entries of the earliest slot [`Wheel::next`] looks at for the exact deadline.
const GLANCE: usize = 16;

/// Deadlines by the index of their owner.
#[derive(Debug)]
pub struct Wheel {
    /// All that was due by this millisecond has fired.
    elapsed: u64,
    entries: Vec<Entry>,
    heads: [[u32; SLOTS]; LEVELS],
    /// One bit a slot that is not empty.
    occupied: [u64; LEVELS],
    /// Armed when their time had already come.
    due: u32,
    armed: usize,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// In milliseconds, rounded up.
    when: u64,
    next: u32,
    previous: u32,
}

const EMPTY: Entry = Entry {
    when: OFF,
    next: NONE,
    previous: NONE,
};

/// Where an entry is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Due,
    Slot { level: usize, slot: usize },
}

impl Wheel {
    /// An empty one that begins at that time.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self {
            elapsed: now.0 / RESOLUTION,
            entries: Vec::new(),
            heads: [[NONE; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            due: NONE,
            armed: 0,
        }
    }

    /// Sets the one deadline of `index`, whether it had one or not. [`Time::NEVER`] disarms.
    ///
    /// Indices should be dense: there is an entry for each below the highest.
    pub fn arm(&mut self, index: u32, at: Time) {
        self.disarm(index);
        if at == Time::NEVER {
            return;
        }
        let owner = index as usize;
        if owner >= self.entries.len() {
            self.entries.resize(owner + 1, EMPTY);
        }
        self.entries[owner].when = at.0.div_ceil(RESOLUTION);
        self.link(index);
        self.armed += 1;
    }

    /// Takes back the deadline of `index`, if it has one.
    pub fn disarm(&mut self, index: u32) {
        if self.is_armed(index) {
            self.unlink(index);
            self.entries[index as usize].when = OFF;
            self.armed -= 1;
        }
    }

    /// Whether `index` has a deadline.
    #[must_use]
    pub fn is_armed(&self, index: u32) -> bool {
        self.entries
            .get(index as usize)
            .is_some_and(|entry| entry.when != OFF)
    }

    /// The deadline of `index`, rounded up to the millisecond at which it fires.
    #[must_use]
    pub fn deadline(&self, index: u32) -> Option<Time> {
        self.entries
            .get(index as usize)
            .filter(|entry| entry.when != OFF)
            .map(|entry| to_time(entry.when))
    }

    /// How many have a deadline.
    #[must_use]
    pub fn len(&self) -> usize {
        self.armed
    }

    /// Whether nobody has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// When to call [`Wheel::expire`] next: never after the earliest deadline. Where very many
    /// share a far slot it may be earlier, and that call then only sorts them.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        if self.due != NONE {
            return Some(to_time(self.elapsed));
        }
        let (level, slot) = self.earliest()?;
        let mut soonest = OFF;
        let mut at = self.heads[level][slot];
        for _ in 0..GLANCE {
            let Some(entry) = self.entries.get(at as usize) else {
                return Some(to_time(soonest));
            };
            soonest = soonest.min(entry.when);
            at = entry.next;
        }
        Some(to_time(if at == NONE {
            soonest
        } else {
            self.start_of(level, slot)
        }))
    }

    /// Appends everybody whose deadline has passed, in no particular order, and disarms them.
    /// A `now` before the last one does nothing.
    pub fn expire(&mut self, now: Time, fired: &mut Vec<u32>) {
        let target = now.0 / RESOLUTION;
        if target < self.elapsed {
            return;
        }
        let due = std::mem::replace(&mut self.due, NONE);
        self.scatter(due, target, fired);
        while let Some((level, slot)) = self.earliest() {
            let start = self.start_of(level, slot);
            if start > target {
                break;
            }
            self.elapsed = start;
            self.occupied[level] &= !(1 << slot);
            let head = std::mem::replace(&mut self.heads[level][slot], NONE);
            self.scatter(head, target, fired);
        }
        self.elapsed = target;
    }

    /// Fires what is due by `target` of a list taken out of its place, links the rest anew.
    fn scatter(&mut self, head: u32, target: u64, fired: &mut Vec<u32>) {
        let mut at = head;
        while at != NONE {
            let entry = &mut self.entries[at as usize];
            let next = entry.next;
            if entry.when <= target {
                *entry = EMPTY;
                self.armed -= 1;
                fired.push(at);
            } else {
                self.link(at);
            }
            at = next;
        }
    }

    /// The earliest slot that is not empty.
    fn earliest(&self) -> Option<(usize, usize)> {
        let level = self.occupied.iter().position(|&bits| bits != 0)?;
        Some((level, self.occupied[level].trailing_zeros() as usize))
    }

    /// The first millisecond of a slot.
    fn start_of(&self, level: usize, slot: usize) -> u64 {
        let shift = BITS * level as u32;
        let above = self.elapsed >> (shift + BITS) << (shift + BITS);
        above | (slot as u64) << shift
    }

    /// Where a deadline belongs. It follows from `elapsed`, and as long as the deadline lies
    /// ahead it does not change while time goes on within the earliest slot's start.
    fn place(&self, when: u64) -> Place {
        if when <= self.elapsed {
            return Place::Due;
        }
        let differing = when ^ self.elapsed;
        let level = (u64::BITS - 1 - differing.leading_zeros()) / BITS;
        let slot = (when >> (BITS * level)) as usize & (SLOTS - 1);
        Place::Slot {
            level: level as usize,
            slot,
        }
    }

    fn link(&mut self, index: u32) {
        let place = self.place(self.entries[index as usize].when);
        let head = match place {
            Place::Due => &mut self.due,
            Place::Slot { level, slot } => {
                self.occupied[level] |= 1 << slot;
                &mut self.heads[level][slot]
            }
        };
        let next = std::mem::replace(head, index);
        if next != NONE {
            self.entries[next as usize].previous = index;
        }
        let entry = &mut self.entries[index as usize];
        entry.next = next;
        entry.previous = NONE;
    }

    fn unlink(&mut self, index: u32) {
        let Entry {
            when,
            next,
            previous,
        } = self.entries[index as usize];
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
        if previous != NONE {
            self.entries[previous as usize].next = next;
            return;
        }
        match self.place(when) {
            Place::Due => self.due = next,
            Place::Slot { level, slot } => {
                self.heads[level][slot] = next;
                if next == NONE {
                    self.occupied[level] &= !(1 << slot);
                }
            }
        }
    }
}

fn to_time(millis: u64) -> Time {
    Time(millis.saturating_mul(RESOLUTION))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    const MS: u64 = RESOLUTION;

    fn fired(wheel: &mut Wheel, now: u64) -> Vec<u32> {
        let mut out = Vec::new();
        wheel.expire(Time(now), &mut out);
        out.sort_unstable();
        out
    }

    #[test]
    fn an_entry_is_sixteen_bytes() {
        assert_eq!(size_of::<Entry>(), 16);
    }

    #[test]
    fn a_deadline_fires_in_the_millisecond_after_it_and_never_before() {
        let mut wheel = Wheel::new(Time(0));
        wheel.arm(0, Time(30_000 * MS + 1));
        assert_eq!(wheel.next(), Some(Time(30_001 * MS)));
        assert!(fired(&mut wheel, 30_000 * MS).is_empty());
        assert!(fired(&mut wheel, 30_001 * MS - 1).is_empty());
        assert_eq!(fired(&mut wheel, 30_001 * MS), [0]);
        assert!(wheel.is_empty());
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn a_deadline_in_the_past_fires_at_once() {
        let mut wheel = Wheel::new(Time(500 * MS));
        wheel.arm(3, Time(1));
        assert_eq!(wheel.next(), Some(Time(500 * MS)));
        assert_eq!(fired(&mut wheel, 500 * MS), [3]);
    }

    #[test]
    fn never_is_no_deadline() {
        let mut wheel = Wheel::new(Time(0));
        wheel.arm(0, Time(5 * MS));
        wheel.arm(0, Time::NEVER);
        assert_eq!(wheel.next(), None);
        assert!(!wheel.is_armed(0));
        assert!(fired(&mut wheel, u64::MAX).is_empty());
    }

    #[test]
    fn the_last_nanosecond_but_one_still_has_a_place() {
        let mut wheel = Wheel::new(Time(0));
        wheel.arm(0, Time(u64::MAX - 1));
        wheel.arm(1, Time(u64::MAX / 2));
        assert_eq!(fired(&mut wheel, u64::MAX / 2 + MS), [1]);
        // Its millisecond is rounded up beyond the end of time.
        assert!(fired(&mut wheel, u64::MAX - 2 * MS).is_empty());
        assert!(wheel.is_armed(0));
    }

    #[test]
    fn very_many_in_one_far_slot_are_sorted_on_the_way() {
        let mut wheel = Wheel::new(Time(0));
        for index in 0..1_000 {
            wheel.arm(index, Time((300_000 + u64::from(index)) * MS));
        }
        let mut wakes = 0;
        let mut count = 0;
        while let Some(at) = wheel.next() {
            wakes += 1;
            count += fired(&mut wheel, at.0).len();
        }
        assert_eq!(count, 1_000);
        assert!(wakes < 1_100, "{wakes} wakes for 1000 deadlines");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Arm(u32, u64),
        ArmIn(u32, u64),
        Disarm(u32),
        Advance(u64),
        Jump(u64),
        ToNext,
    }

    fn step() -> impl Strategy<Value = Step> {
        let index = 0_u32..24;
        let span = prop_oneof![
            0..3 * MS,
            0..100 * MS,
            0..10_000 * MS,
            0..100_000_000 * MS,
            any::<u64>(),
        ];
        prop_oneof![
            1 => (index.clone(), any::<u64>()).prop_map(|(i, at)| Step::Arm(i, at)),
            1 => (index.clone(), Just(u64::MAX)).prop_map(|(i, at)| Step::Arm(i, at)),
            8 => (index.clone(), span.clone()).prop_map(|(i, d)| Step::ArmIn(i, d)),
            1 => index.prop_map(Step::Disarm),
            4 => span.prop_map(Step::Advance),
            1 => any::<u64>().prop_map(Step::Jump),
            4 => Just(Step::ToNext),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]

        #[test]
        fn the_wheel_agrees_with_a_sorted_map(
            begin in prop_oneof![Just(0), 0..10_000 * MS, any::<u64>()],
            steps in prop::collection::vec(step(), 1..80),
        ) {
            let mut now = begin;
            let mut wheel = Wheel::new(Time(now));
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Arm(i, at) => {
                        wheel.arm(i, Time(at));
                        model.insert(i, at);
                        if at == u64::MAX {
                            model.remove(&i);
                        }
                    }
                    Step::ArmIn(i, d) => {
                        let at = now.saturating_add(d);
                        wheel.arm(i, Time(at));
                        model.insert(i, at);
                        if at == u64::MAX {
                            model.remove(&i);
                        }
                    }
                    Step::Disarm(i) => {
                        wheel.disarm(i);
                        model.remove(&i);
                    }
                    // Hours at a time, or the test would soon sit at the end of time.
                    Step::Advance(d) => now = now.saturating_add(d % (10_000_000 * MS)),
                    Step::Jump(at) => now = now.max(at),
                    Step::ToNext => {
                        if let Some(next) = wheel.next() {
                            let earliest = model.values().min().copied().unwrap();
                            prop_assert!(
                                next.0 <= earliest.saturating_add(MS - 1).max(now),
                                "a wake at {} for {earliest}", next.0
                            );
                            now = now.max(next.0);
                        } else {
                            prop_assert!(model.is_empty());
                        }
                    }
                }
                for index in fired(&mut wheel, now) {
                    let at = model.remove(&index);
                    prop_assert!(at.is_some_and(|at| at <= now), "{index} fired early: {at:?} at {now}");
                }
                for (index, at) in &model {
                    prop_assert!(
                        at.div_ceil(MS) > now / MS, "{index} at {at} has not fired at {now}"
                    );
                    prop_assert!(wheel.is_armed(*index));
                }
                prop_assert_eq!(wheel.len(), model.len());
            }
        }
    }
}
