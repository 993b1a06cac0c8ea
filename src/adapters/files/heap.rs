//! Directories on their way through a walk.
//!
//! ```text
//!            one thread at a time, many at once          any thread, one at a time
//!  found ───────────────── entered ─────────────▶ ready ─────────── read ──────────▶ found …
//! ```
//!
//! Entering (watching them) is what takes longest and cannot be shared out; so whoever comes
//! first does it while the others read. A walk ends when nothing is left and nobody may add to it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// So many are entered at once.
const AT_ONCE: usize = 256;

/// What the threads of a walk share.
pub(super) struct Heap<T> {
    todo: Mutex<Todo<T>>,
    changed: Condvar,
}

struct Todo<T> {
    found: Vec<T>,
    ready: Vec<T>,
    /// Whether somebody is entering some.
    entering: bool,
    /// Threads that read one, and may find others.
    reading: usize,
}

enum Work<T> {
    Enter(Vec<T>),
    Read(T),
}

impl<T> Heap<T> {
    pub(super) fn new(found: Vec<T>) -> Self {
        Self {
            todo: Mutex::new(Todo {
                found,
                ready: Vec::new(),
                entering: false,
                reading: 0,
            }),
            changed: Condvar::new(),
        }
    }

    /// Enters and reads directories until there are none; from several threads. Those that are
    /// found on the way are added.
    pub(super) fn work(&self, mut enter: impl FnMut(&[T]), mut read: impl FnMut(&T, &mut Vec<T>)) {
        while let Some(work) = self.next() {
            match work {
                Work::Enter(some) => {
                    let entering = Entering { heap: self, some };
                    enter(&entering.some);
                }
                Work::Read(one) => {
                    let found = Vec::new();
                    let mut reading = Reading { heap: self, found };
                    read(&one, &mut reading.found);
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Todo<T>> {
        self.todo.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be done next; nothing when there will be nothing any more.
    fn next(&self) -> Option<Work<T>> {
        let mut todo = self.lock();
        loop {
            if !todo.entering && !todo.found.is_empty() {
                todo.entering = true;
                let rest = todo.found.len().saturating_sub(AT_ONCE);
                return Some(Work::Enter(todo.found.split_off(rest)));
            }
            if let Some(one) = todo.ready.pop() {
                todo.reading += 1;
                return Some(Work::Read(one));
            }
            if !todo.entering && todo.reading == 0 {
                return None;
            }
            let woken = self.changed.wait(todo);
            todo = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Some being entered. However that ends, the other threads do not wait for it.
struct Entering<'a, T> {
    heap: &'a Heap<T>,
    some: Vec<T>,
}

impl<T> Drop for Entering<'_, T> {
    fn drop(&mut self) {
        let mut todo = self.heap.lock();
        todo.entering = false;
        todo.ready.append(&mut self.some);
        drop(todo);
        self.heap.changed.notify_all();
    }
}

/// One being read. However that ends, the other threads do not wait for it.
struct Reading<'a, T> {
    heap: &'a Heap<T>,
    found: Vec<T>,
}

impl<T> Drop for Reading<'_, T> {
    fn drop(&mut self) {
        let mut todo = self.heap.lock();
        todo.reading -= 1;
        let some = !self.found.is_empty();
        todo.found.append(&mut self.found);
        let over = todo.reading == 0 && !todo.entering && todo.ready.is_empty();
        drop(todo);
        if over {
            self.heap.changed.notify_all();
        } else if some {
            self.heap.changed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeSet;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A tree as numbers: below `n` lie `10 n` to `10 n + 9`, four levels deep.
    fn below(n: u64) -> Vec<u64> {
        let inner = 10 * n..10 * n + 10;
        if n < 1_000 {
            inner.collect()
        } else {
            Vec::new()
        }
    }

    #[test]
    fn each_is_entered_before_it_is_read_and_both_happen_once() {
        let heap = Heap::new(vec![1_u64, 2]);
        let (entered, read) = (Mutex::new(BTreeSet::new()), Mutex::new(BTreeSet::new()));
        let at_once = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    heap.work(
                        |some| {
                            assert_eq!(at_once.fetch_add(1, Ordering::SeqCst), 0, "two enter");
                            assert!(!some.is_empty() && some.len() <= AT_ONCE);
                            for one in some {
                                assert!(entered.lock().unwrap().insert(*one), "{one} twice");
                            }
                            at_once.fetch_sub(1, Ordering::SeqCst);
                        },
                        |one, found| {
                            assert!(entered.lock().unwrap().contains(one), "{one} unentered");
                            assert!(read.lock().unwrap().insert(*one), "{one} twice");
                            found.extend(below(*one));
                        },
                    );
                });
            }
        });
        let all = read.into_inner().unwrap();
        assert_eq!(all.len(), 2 * (1 + 10 + 100 + 1_000));
        assert_eq!(all, entered.into_inner().unwrap());
    }

    #[test]
    fn nobody_waits_for_one_that_panicked() {
        let heap = Heap::new(vec![1_u64]);
        let panicked = AtomicUsize::new(0);
        let read = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let work = catch_unwind(AssertUnwindSafe(|| {
                        heap.work(
                            |some| assert!(!some.contains(&15), "while it entered"),
                            |one, found| {
                                read.fetch_add(1, Ordering::Relaxed);
                                assert_ne!(*one, 107, "while it read");
                                found.extend(below(*one));
                            },
                        );
                    }));
                    panicked.fetch_add(usize::from(work.is_err()), Ordering::Relaxed);
                });
            }
        });
        // Those below the one are not known; two threads did the rest.
        assert_eq!(panicked.into_inner(), 2);
        assert_eq!(read.into_inner(), 1 + 10 + 100 + 990);
    }

    #[test]
    fn an_empty_heap_is_over_at_once() {
        let heap = Heap::new(Vec::<u64>::new());
        heap.work(|_| panic!("entered"), |_, _| panic!("read"));
    }
}
