//! Where plain pulses wait: so many, the first and the last receipt, in three atomics.
//!
//! A pulse that finds others waiting costs three atomic operations and sends no message: it
//! rides with the one that is under way. Counts are exact. The two times are exact too when
//! one thread pushes; when several do at the same instant, a time can stand for a pulse that
//! is counted in the very next drain, that is, be off by the nanoseconds of that race.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use supervisor_core::time::Mono;

/// Pulses folded into one: at least one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Folded {
    /// How many.
    pub(crate) count: u32,
    /// When the first was received.
    pub(crate) first: Mono,
    /// When the last was received.
    pub(crate) last: Mono,
}

/// The pulses of one service that nobody has read yet.
#[derive(Debug)]
pub(crate) struct Slot {
    count: AtomicU32,
    /// `u64::MAX` while empty.
    first: AtomicU64,
    /// Never reset: it only grows.
    last: AtomicU64,
}

impl Slot {
    pub(crate) fn new() -> Self {
        Self {
            count: AtomicU32::new(0),
            first: AtomicU64::new(u64::MAX),
            last: AtomicU64::new(0),
        }
    }

    /// Adds a pulse; `true` if none waited, so that the caller must say that one does now.
    ///
    /// The times are written before the count, so whoever reads a count finds its times.
    pub(crate) fn push(&self, at: Mono) -> bool {
        self.add(Folded {
            count: 1,
            first: at,
            last: at,
        })
    }

    /// Puts back what could not be delivered; `true` as for [`Slot::push`].
    pub(crate) fn add(&self, pulses: Folded) -> bool {
        self.last.fetch_max(pulses.last.0, Ordering::Relaxed);
        self.first.fetch_min(pulses.first.0, Ordering::Relaxed);
        self.count.fetch_add(pulses.count, Ordering::AcqRel) == 0
    }

    /// Takes all that wait.
    pub(crate) fn take(&self) -> Option<Folded> {
        let count = self.count.swap(0, Ordering::AcqRel);
        if count == 0 {
            return None;
        }
        let first = self.first.swap(u64::MAX, Ordering::Relaxed);
        let last = self.last.load(Ordering::Relaxed);
        Some(Folded {
            count,
            // A pulse counted here may have had its first time taken by the drain before.
            first: Mono(first.min(last)),
            last: Mono(last),
        })
    }

    /// Whether any wait.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn only_the_first_of_several_pulses_asks_for_a_message() {
        let slot = Slot::new();
        assert!(slot.push(Mono(5)));
        assert!(!slot.push(Mono(7)));
        assert!(!slot.push(Mono(9)));
        let folded = slot.take().expect("three wait");
        assert_eq!(
            folded,
            Folded {
                count: 3,
                first: Mono(5),
                last: Mono(9)
            }
        );
        assert!(slot.is_empty());
        assert_eq!(slot.take(), None);
        assert!(slot.push(Mono(11)));
        assert_eq!(slot.take().map(|folded| folded.first), Some(Mono(11)));
    }

    #[test]
    fn what_could_not_be_delivered_is_put_back_whole() {
        let slot = Slot::new();
        slot.push(Mono(5));
        slot.push(Mono(6));
        let undelivered = slot.take().expect("two wait");
        slot.push(Mono(8));
        assert!(!slot.add(undelivered));
        let folded = slot.take().expect("three wait");
        assert_eq!(
            (folded.count, folded.first, folded.last),
            (3, Mono(5), Mono(8))
        );
    }

    #[test]
    fn no_pulse_of_many_threads_is_lost_or_counted_twice() {
        const THREADS: u64 = 4;
        const EACH: u64 = 50_000;
        let slot = Slot::new();
        let done = AtomicBool::new(false);
        let (taken, asked, drains) = std::thread::scope(|scope| {
            let pushers: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let slot = &slot;
                    scope.spawn(move || {
                        (1..=EACH)
                            .filter(|n| slot.push(Mono(n * THREADS + thread)))
                            .count() as u64
                    })
                })
                .collect();
            let drainer = scope.spawn(|| {
                let (mut taken, mut drains, mut newest) = (0, 0, Mono(0));
                loop {
                    let last_round = done.load(Ordering::Acquire);
                    if let Some(folded) = slot.take() {
                        assert!(folded.first <= folded.last);
                        assert!(folded.last >= newest, "the last receipt never goes back");
                        newest = folded.last;
                        taken += u64::from(folded.count);
                        drains += 1;
                    }
                    if last_round {
                        return (taken, drains);
                    }
                }
            });
            let asked: u64 = pushers
                .into_iter()
                .map(|pusher| pusher.join().expect("a pusher"))
                .sum();
            done.store(true, Ordering::Release);
            let (taken, drains) = drainer.join().expect("the drainer");
            (taken, asked, drains)
        });
        assert_eq!(taken, THREADS * EACH);
        assert_eq!(
            asked, drains,
            "every drain that found something was asked for exactly once"
        );
    }
}
