//! What is sent next: tasks of one table and one kind, and how many of them.
//!
//! Tasks go in the order in which they were queued, but no row is in flight twice, and none
//! overtakes an earlier task of its own: a row that is busy, or that an earlier task moves
//! away, waits. So at most one request at a time concerns a row, and the last content is the
//! last to arrive.

use std::collections::HashSet;

use super::outbox::{Pending, Task};

/// Tasks that go in one request, or (moves) one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The table's name.
    pub table: String,
    /// What is done to all of them.
    pub work: Work,
    /// The tasks, sorted by key; none of them twice.
    pub tasks: Vec<Pending>,
}

/// What is done to the rows of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// They are made those of their files.
    Upsert,
    /// They move to other keys, and are made those of their files.
    Move,
    /// Their files are gone.
    Remove,
}

/// How many rows go in one request: as many as have been taken lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    rows: usize,
    most: usize,
    well: u32,
}

/// So many bytes of documents go in one request, unless a single one has more: they are held in
/// memory until they are sent, of several requests at once.
pub const MOST_BYTES: u64 = 2_000_000;
/// After so many batches that were taken, the next may be larger.
const WELL: u32 = 8;
/// A task that has failed so often is sent alone, so that it fails alone.
pub const WEAK_AFTER: u32 = 3;

impl Batch {
    /// The next batch of tasks that are due, in the order of their numbers. `busy` says which
    /// rows are in flight, `failures` how often a task has failed.
    #[must_use]
    pub fn next(
        due: &[Pending],
        most: usize,
        busy: &dyn Fn(&str, &str) -> bool,
        failures: &dyn Fn(&Pending) -> u32,
    ) -> Option<Self> {
        // The rows that earlier tasks concern, whether these go along or not.
        let mut concerned: HashSet<(&str, &str)> = HashSet::with_capacity(due.len());
        let mut free = Vec::new();
        for pending in due {
            let table = pending.table.as_str();
            let may_go =
                rows(pending).all(|key| !concerned.contains(&(table, key)) && !busy(table, key));
            concerned.extend(rows(pending).map(|key| (table, key)));
            if let (true, Some(work)) = (may_go, work(pending)) {
                free.push((pending, work, failures(pending)));
            }
        }
        // What has failed often comes last, and alone: perhaps it is all that fails.
        let (first, work, failed) = *free.iter().min_by_key(|(_, _, failures)| {
            if *failures >= WEAK_AFTER {
                *failures
            } else {
                0
            }
        })?;
        let mut tasks: Vec<Pending> = if failed >= WEAK_AFTER {
            vec![first.clone()]
        } else {
            let like = free.iter().filter(|(pending, other, failures)| {
                pending.table == first.table && *other == work && *failures < WEAK_AFTER
            });
            let mut sum = 0;
            like.take(most)
                .take_while(|(pending, _, _)| {
                    let first = sum == 0;
                    sum += size(pending).max(1);
                    first || sum <= MOST_BYTES
                })
                .map(|(pending, _, _)| (*pending).clone())
                .collect()
        };
        tasks.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Some(Self {
            table: first.table.clone(),
            work,
            tasks,
        })
    }

    /// Whether it is a single task that has failed often.
    #[must_use]
    pub fn is_weak(&self, failures: &dyn Fn(&Pending) -> u32) -> bool {
        matches!(self.tasks.as_slice(), [only] if failures(only) >= WEAK_AFTER)
    }
}

/// The keys of all rows that a task concerns.
pub fn rows(pending: &Pending) -> impl Iterator<Item = &str> + Clone {
    let from = match &pending.task {
        Task::Upsert { from, .. } => from.as_deref(),
        Task::Remove | Task::Unreadable { .. } => None,
    };
    std::iter::once(pending.key.as_str()).chain(from)
}

/// About how many bytes its row has.
fn size(pending: &Pending) -> u64 {
    match &pending.task {
        Task::Upsert { content, .. } => content.stat.size,
        Task::Remove | Task::Unreadable { .. } => 0,
    }
}

fn work(pending: &Pending) -> Option<Work> {
    match &pending.task {
        Task::Upsert { from: None, .. } => Some(Work::Upsert),
        Task::Upsert { from: Some(_), .. } => Some(Work::Move),
        Task::Remove => Some(Work::Remove),
        Task::Unreadable { .. } => None,
    }
}

// === impl Pace ===

impl Pace {
    /// Begins with so many, the most that a target is ever sent.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            rows: most,
            most,
            well: 0,
        }
    }

    /// How many rows the next request may have.
    #[must_use]
    pub fn rows(self) -> usize {
        self.rows
    }

    /// So many rows were too much.
    pub fn too_much(&mut self, rows: usize) {
        self.rows = self.rows.min((rows / 2).max(1));
        self.well = 0;
    }

    /// A request was taken.
    pub fn taken(&mut self) {
        self.well += 1;
        if self.well >= WELL {
            self.well = 0;
            self.rows = (self.rows * 2).min(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::sync::manifest::Stat;
    use crate::sync::outbox::{Content, State};
    use crate::sync::row::ContentHash;
    use crate::time::Timestamp;

    fn task(seq: u64, table: &str, key: &str, task: Task) -> Pending {
        Pending {
            seq,
            table: table.to_owned(),
            key: key.to_owned(),
            file_path: key.to_owned(),
            task,
            state: State::Due,
            since: Timestamp(0),
        }
    }

    fn upsert(seq: u64, table: &str, key: &str, from: Option<&str>) -> Pending {
        let content = Content {
            hash: ContentHash([0; 32]),
            stat: Stat::default(),
            settled: true,
        };
        let from = from.map(str::to_owned);
        task(
            seq,
            table,
            key,
            Task::Upsert {
                content,
                mapping: 0,
                from,
            },
        )
    }

    fn remove(seq: u64, table: &str, key: &str) -> Pending {
        task(seq, table, key, Task::Remove)
    }

    fn next(due: &[Pending], most: usize, busy: &[&str], weak: &[u64]) -> Option<(Work, Vec<u64>)> {
        let batch = Batch::next(due, most, &|_, key| busy.contains(&key), &|pending| {
            if weak.contains(&pending.seq) {
                WEAK_AFTER
            } else {
                0
            }
        })?;
        let seqs = batch.tasks.iter().map(|task| task.seq).collect();
        Some((batch.work, seqs))
    }

    #[test]
    fn a_batch_holds_tasks_of_one_table_and_kind_sorted_by_key() {
        let due = [
            upsert(1, "t", "c", None),
            upsert(2, "u", "x", None),
            remove(3, "t", "z"),
            upsert(4, "t", "a", None),
            upsert(5, "t", "b", None),
        ];
        assert_eq!(
            next(&due, 100, &[], &[]),
            Some((Work::Upsert, vec![4, 5, 1]))
        );
        assert_eq!(next(&due, 2, &[], &[]), Some((Work::Upsert, vec![4, 1])));
        assert_eq!(
            next(&due[1..], 100, &[], &[]),
            Some((Work::Upsert, vec![2]))
        );
        assert_eq!(
            next(&due[2..], 100, &[], &[]),
            Some((Work::Remove, vec![3]))
        );
        assert_eq!(next(&[], 100, &[], &[]), None);
    }

    #[test]
    fn a_row_in_flight_waits() {
        let due = [upsert(1, "t", "a", None), upsert(2, "t", "b", None)];
        assert_eq!(next(&due, 100, &["a"], &[]), Some((Work::Upsert, vec![2])));
        assert_eq!(next(&due, 100, &["a", "b"], &[]), None);
    }

    #[test]
    fn nobody_overtakes_a_move_from_or_to_his_row() {
        // `old` moves to `new`, and a new file has come to the old name.
        let due = [
            upsert(1, "t", "new", Some("old")),
            upsert(2, "t", "old", None),
        ];
        assert_eq!(next(&due, 100, &[], &[]), Some((Work::Move, vec![1])));
        assert_eq!(next(&due, 100, &["new"], &[]), None);
        assert_eq!(next(&due, 100, &["old"], &[]), None);
        let due = [
            upsert(1, "t", "x", None),
            upsert(2, "t", "b", Some("a")),
            upsert(3, "t", "a", None),
        ];
        assert_eq!(next(&due, 100, &[], &[]), Some((Work::Upsert, vec![1])));
        // Two moves in a chain do not go together.
        let due = [
            upsert(1, "t", "b", Some("a")),
            upsert(2, "t", "c", Some("b")),
        ];
        assert_eq!(next(&due, 100, &[], &[]), Some((Work::Move, vec![1])));
    }

    #[test]
    fn what_has_failed_often_is_sent_alone() {
        let due = [
            upsert(1, "t", "a", None),
            upsert(2, "t", "b", None),
            upsert(3, "t", "c", None),
        ];
        assert_eq!(next(&due, 100, &[], &[2]), Some((Work::Upsert, vec![1, 3])));
        assert_eq!(next(&due, 100, &[], &[1]), Some((Work::Upsert, vec![2, 3])));
        assert_eq!(
            next(&due, 100, &["b", "c"], &[1]),
            Some((Work::Upsert, vec![1]))
        );
        assert_eq!(
            next(&due[..2], 100, &[], &[1, 2]),
            Some((Work::Upsert, vec![1]))
        );
    }

    #[test]
    fn of_those_that_have_failed_often_the_one_that_has_least_goes_first() {
        let due = [upsert(1, "t", "a", None), upsert(2, "t", "b", None)];
        let failures = |pending: &Pending| 10 - u32::try_from(pending.seq).unwrap();
        let batch = Batch::next(&due, 100, &|_, _| false, &failures).unwrap();
        assert_eq!(batch.tasks[0].seq, 2);
        assert!(batch.is_weak(&failures) && !batch.is_weak(&|_| 0));
    }

    #[test]
    fn unreadable_files_are_never_sent() {
        let stat = Stat::default();
        let due = [task(1, "t", "a", Task::Unreadable { stat })];
        assert_eq!(next(&due, 100, &[], &[]), None);
    }

    #[test]
    fn a_batch_of_large_documents_is_short_and_one_that_is_too_large_goes_alone() {
        let large = |seq: u64, key: &str, size: u64| {
            let mut pending = upsert(seq, "t", key, None);
            if let Task::Upsert { content, .. } = &mut pending.task {
                content.stat.size = size;
            }
            pending
        };
        let half = MOST_BYTES / 2;
        let due = [
            large(1, "a", half),
            large(2, "b", half),
            large(3, "c", 1),
            large(4, "d", MOST_BYTES * 2),
        ];
        assert_eq!(next(&due, 100, &[], &[]), Some((Work::Upsert, vec![1, 2])));
        assert_eq!(
            next(&due[2..], 100, &[], &[]),
            Some((Work::Upsert, vec![3]))
        );
        assert_eq!(
            next(&due[3..], 100, &[], &[]),
            Some((Work::Upsert, vec![4]))
        );
    }

    #[test]
    fn the_pace_halves_at_once_and_doubles_slowly() {
        let mut pace = Pace::new(100);
        assert_eq!(pace.rows(), 100);
        pace.too_much(100);
        assert_eq!(pace.rows(), 50);
        pace.too_much(7);
        assert_eq!(pace.rows(), 3);
        pace.too_much(1);
        assert_eq!(pace.rows(), 1);
        for _ in 0..7 {
            pace.taken();
        }
        assert_eq!(pace.rows(), 1);
        pace.taken();
        assert_eq!(pace.rows(), 2);
        for _ in 0..100 {
            pace.taken();
        }
        assert_eq!(pace.rows(), 100);
    }
}
