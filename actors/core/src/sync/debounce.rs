//! The debounce: when a path that is being edited has come to rest.
//!
//! ```text
//!   touch  touch    touch                 due
//!     │      │        │ ◀──── wait ─────▶ │      each touch starts the wait anew …
//!     │ ◀──────────── max_wait ─────────────▶│   … but never beyond max_wait after the first
//! ```
//!
//! One queue for all paths, for one armed timer: an actor that held a timer for each path
//! would pay for all of them on every message. A touch of a path that waits already is a
//! store; its old place in the queue finds, when its time comes, that the path has been
//! touched since, and moves on. So a flood of edits costs nothing but memory for the paths
//! that it names.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;
use std::time::Duration;

use crate::time::Mono;

/// Paths that wait.
#[derive(Debug)]
pub struct Debounce<K> {
    wait: Duration,
    max_wait: Duration,
    waiting: HashMap<K, Waiting>,
    /// A place for each path that waits, at its due time or before. The number keeps paths of
    /// the same time in the order of their first touch.
    queue: BinaryHeap<Reverse<(Mono, u64, K)>>,
    numbers: u64,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    first: Mono,
    due: Mono,
    number: u64,
}

impl<K: Clone + Eq + Hash + Ord> Debounce<K> {
    /// An empty one. A path is due `wait` after its last touch, `max_wait` after its first at
    /// the latest.
    #[must_use]
    pub fn new(wait: Duration, max_wait: Duration) -> Self {
        Self {
            wait,
            max_wait: max_wait.max(wait),
            waiting: HashMap::new(),
            queue: BinaryHeap::new(),
            numbers: 0,
        }
    }

    /// A path was edited. Whether it did not wait before.
    pub fn touch(&mut self, path: K, now: Mono) -> bool {
        let due = now + self.wait;
        if let Some(waiting) = self.waiting.get_mut(&path) {
            waiting.due = due.min(waiting.first + self.max_wait).max(waiting.due);
            return false;
        }
        self.numbers += 1;
        let number = self.numbers;
        self.queue.push(Reverse((due, number, path.clone())));
        self.waiting.insert(
            path,
            Waiting {
                first: now,
                due,
                number,
            },
        );
        true
    }

    /// A path waits no longer.
    pub fn forget(&mut self, path: &K) -> bool {
        self.waiting.remove(path).is_some()
    }

    /// Whether a path waits.
    #[must_use]
    pub fn holds(&self, path: &K) -> bool {
        self.waiting.contains_key(path)
    }

    /// How many paths wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no path waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// When to ask next what is due: never after the first path is, perhaps before.
    #[must_use]
    pub fn next(&self) -> Option<Mono> {
        self.queue.peek().map(|Reverse((at, _, _))| *at)
    }

    /// The paths that have come to rest, the longest ago first; at most so many.
    pub fn due(&mut self, now: Mono, most: usize) -> Vec<K> {
        let mut due = Vec::new();
        while due.len() < most && self.next().is_some_and(|at| at <= now) {
            let Some(Reverse((_, number, path))) = self.queue.pop() else {
                break;
            };
            match self.waiting.get(&path) {
                // Touched since: it moves on. (A path that was forgotten and touched again has
                // a place of its own.)
                Some(waiting) if waiting.number == number && waiting.due > now => {
                    self.queue.push(Reverse((waiting.due, number, path)));
                }
                Some(waiting) if waiting.number == number => {
                    self.waiting.remove(&path);
                    due.push(path);
                }
                Some(_) | None => {}
            }
        }
        due
    }

    /// All paths that wait, due or not, in the order of their first touch.
    pub fn take_all(&mut self) -> Vec<K> {
        self.queue.clear();
        let mut all: Vec<_> = self.waiting.drain().collect();
        all.sort_unstable_by_key(|(_, waiting)| waiting.number);
        all.into_iter().map(|(path, _)| path).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    const WAIT: Duration = Duration::from_secs(5);
    const MAX: Duration = Duration::from_secs(60);

    fn at(ms: u64) -> Mono {
        Mono(1_000_000_000_000 + ms * 1_000_000)
    }

    /// Lets time pass from timer to timer, as an actor does; what was due when.
    fn run(debounce: &mut Debounce<&'static str>, until: u64) -> Vec<(u64, &'static str)> {
        let mut found = Vec::new();
        while let Some(next) = debounce.next().filter(|next| *next <= at(until)) {
            let ms = (next.0 - at(0).0) / 1_000_000;
            found.extend(debounce.due(next, 100).into_iter().map(|path| (ms, path)));
        }
        found
    }

    #[test]
    fn saves_at_0_2_and_4_seconds_are_one_sync_at_9() {
        let mut debounce = Debounce::new(WAIT, MAX);
        let mut found = Vec::new();
        for ms in [0, 2_000, 4_000] {
            found.extend(run(&mut debounce, ms));
            debounce.touch("a", at(ms));
        }
        found.extend(run(&mut debounce, 100_000));
        assert_eq!(found, [(9_000, "a")]);
        assert!(debounce.is_empty());
        assert_eq!(debounce.next(), None);
    }

    #[test]
    fn endless_edits_are_synced_once_a_max_wait() {
        let mut debounce = Debounce::new(WAIT, MAX);
        let mut found = Vec::new();
        for ms in (0..180_000).step_by(500) {
            found.extend(run(&mut debounce, ms));
            debounce.touch("a", at(ms));
        }
        assert_eq!(found, [(60_000, "a"), (120_000, "a")]);
    }

    #[test]
    fn a_path_does_not_wait_for_another() {
        let mut debounce = Debounce::new(WAIT, MAX);
        debounce.touch("a", at(0));
        debounce.touch("b", at(3_000));
        debounce.touch("a", at(4_000));
        assert_eq!(run(&mut debounce, 20_000), [(8_000, "b"), (9_000, "a")]);
    }

    #[test]
    fn what_is_forgotten_and_touched_again_waits_its_whole_time() {
        let mut debounce = Debounce::new(WAIT, MAX);
        debounce.touch("a", at(0));
        assert!(debounce.forget(&"a"));
        debounce.touch("a", at(3_000));
        assert_eq!(run(&mut debounce, 20_000), [(8_000, "a")]);
    }

    #[test]
    fn a_wait_longer_than_max_wait_is_kept() {
        let mut debounce = Debounce::new(WAIT, Duration::from_secs(1));
        debounce.touch("a", at(0));
        assert_eq!(run(&mut debounce, 20_000), [(5_000, "a")]);
    }

    #[test]
    fn all_can_be_taken_at_once() {
        let mut debounce = Debounce::new(WAIT, MAX);
        for path in ["c", "a", "b"] {
            debounce.touch(path, at(0));
        }
        assert_eq!(debounce.take_all(), ["c", "a", "b"]);
        assert!(debounce.is_empty() && debounce.next().is_none());
    }

    #[test]
    fn a_touched_path_keeps_one_place_in_the_queue_however_often_it_is_touched() {
        let mut debounce = Debounce::new(WAIT, MAX);
        for ms in 0..100_000 {
            debounce.touch("a", at(ms / 100));
        }
        assert_eq!(debounce.queue.len(), 1);
    }

    proptest! {
        /// Against an oracle that looks at every path at every millisecond.
        #[test]
        fn every_path_is_due_exactly_when_the_rule_says(
            touches in proptest::collection::vec((0_u64..40, 0_usize..4), 1..60),
            wait in 1_u64..20,
            max_wait in 1_u64..60,
        ) {
            const NAMES: [&str; 4] = ["a", "b", "c", "d"];
            let mut touches = touches;
            touches.sort_by_key(|(ms, _)| *ms);
            let max_wait = max_wait.max(wait);
            let ms = Duration::from_millis;
            let mut debounce = Debounce::new(ms(wait), ms(max_wait));
            let mut oracle: HashMap<&str, (u64, u64)> = HashMap::new();
            let (mut found, mut expected) = (Vec::new(), Vec::new());
            for now in 0..200 {
                let mut due: Vec<_> = oracle
                    .iter()
                    .filter(|(_, (first, last))| now >= (last + wait).min(first + max_wait))
                    .map(|(path, _)| (now, *path))
                    .collect();
                oracle.retain(|path, _| !due.contains(&(now, *path)));
                due.sort_unstable();
                expected.extend(due);
                let mut due: Vec<_> = debounce.due(at(now), 9).into_iter().map(|path| (now, path)).collect();
                due.sort_unstable();
                found.extend(due);
                for (_, path) in touches.iter().filter(|(at, _)| *at == now) {
                    let path = NAMES[*path];
                    oracle.entry(path).or_insert((now, now)).1 = now;
                    debounce.touch(path, at(now));
                }
            }
            prop_assert_eq!(found, expected);
        }
    }
}
