//! The tasks at hand: fetched from the record and not sent yet, on their way, resting.
//!
//! Fetched are those behind what was fetched before, so that a long queue is read once; all of
//! them again only when something may have come back that was passed by: a task that was not
//! taken, or was freed.

use std::collections::{HashMap, HashSet};

use supervisor_core::sync::batch::rows;
use supervisor_core::sync::{Batch, Pending};
use supervisor_core::time::Mono;

/// How many tasks' failures are remembered.
const MOST_FAILURES: usize = 10_000;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Stock {
    /// Not sent yet, by number.
    fetched: Vec<Pending>,
    /// The highest number that was ever fetched.
    highest: u64,
    /// What may be on record and is not at hand.
    unfetched: Unfetched,
    fetch: Fetch,
    /// Rows in flight and rows that rest: their keys, by table.
    busy: HashMap<String, HashSet<String>>,
    /// Tasks in flight, by number.
    on_their_way: HashSet<u64>,
    /// Tasks that do not go though others do, until when: their rows are busy.
    resting: Vec<(Mono, Pending)>,
    /// How often tasks have failed, by number: only those that have.
    failures: HashMap<u64, u32>,
}

/// What may be on record and is not at hand.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unfetched {
    Nothing,
    /// Tasks behind those that were fetched.
    Behind,
    /// Any.
    #[default]
    Anywhere,
}

/// Whether tasks are being fetched.
#[derive(Debug, Default)]
enum Fetch {
    #[default]
    None,
    /// What was read will miss that these are settled.
    UnderWay { settled: HashSet<u64> },
    /// What was read is not as it stands any more.
    Void,
}

impl Stock {
    // --- fetching ---

    /// There may be more on record, queued after what was fetched.
    pub(super) fn more(&mut self) {
        self.unfetched = self.unfetched.max(Unfetched::Behind);
    }

    /// There may be more on record, anywhere.
    pub(super) fn more_anywhere(&mut self) {
        self.unfetched = Unfetched::Anywhere;
    }

    /// Whether there may be tasks that are not fetched.
    pub(super) fn may_be_more(&self) -> bool {
        self.unfetched != Unfetched::Nothing
    }

    pub(super) fn is_fetching(&self) -> bool {
        !matches!(self.fetch, Fetch::None)
    }

    /// Begins to fetch: the number beyond which tasks are to be read. Nothing where that is
    /// under way, or useless.
    pub(super) fn begin_fetch(&mut self) -> Option<u64> {
        if self.is_fetching() {
            return None;
        }
        let beyond = match self.unfetched {
            Unfetched::Nothing => return None,
            // As they stand on record now: what was fetched before may have been replaced.
            Unfetched::Behind => match self.fetched.first() {
                Some(first) => first.seq.saturating_sub(1),
                None => self.highest,
            },
            Unfetched::Anywhere => 0,
        };
        self.unfetched = Unfetched::Nothing;
        self.fetch = Fetch::UnderWay {
            settled: HashSet::new(),
        };
        Some(beyond)
    }

    /// What was fetched, and whether that is all that there was. Whether there is anything to
    /// be done now.
    pub(super) fn fetched(&mut self, mut tasks: Vec<Pending>, all: bool) -> bool {
        // Somebody has put more on record since this was read.
        let woken = self.may_be_more();
        match std::mem::take(&mut self.fetch) {
            Fetch::None => {}
            Fetch::UnderWay { settled } => {
                if !all {
                    self.more();
                }
                if let Some(last) = tasks.last() {
                    self.highest = self.highest.max(last.seq);
                }
                tasks.retain(|task| {
                    !settled.contains(&task.seq) && !self.on_their_way.contains(&task.seq)
                });
                self.fetched = tasks;
            }
            Fetch::Void => self.more_anywhere(),
        }
        woken || self.fetched.iter().any(|task| !self.is_busy(task))
    }

    /// Nothing could be fetched.
    pub(super) fn not_fetched(&mut self) {
        self.fetch = Fetch::None;
        self.more_anywhere();
    }

    /// Forgets what was fetched, and not sent, of a table or of all: it will not be the same.
    pub(super) fn forget(&mut self, table: Option<&str>) {
        self.fetched
            .retain(|task| table.is_some_and(|table| task.table != table));
        if self.is_fetching() {
            self.fetch = Fetch::Void;
        }
        self.more_anywhere();
    }

    /// How many could be sent.
    pub(super) fn len(&self) -> usize {
        self.fetched.len()
    }

    /// Whether all that is at hand waits for what is under way or rests.
    pub(super) fn is_stuck(&self) -> bool {
        self.fetched.iter().all(|task| self.is_busy(task))
    }

    // --- sending ---

    /// Takes the next batch out, of so many rows at most.
    pub(super) fn next_batch(&mut self, most: usize) -> Option<Batch> {
        let busy =
            |table: &str, key: &str| self.busy.get(table).is_some_and(|keys| keys.contains(key));
        let failures = |pending: &Pending| self.failures_of(pending);
        let batch = Batch::next(&self.fetched, most, &busy, &failures)?;
        for task in &batch.tasks {
            self.occupy(task);
            self.on_their_way.insert(task.seq);
        }
        self.fetched
            .retain(|task| !self.on_their_way.contains(&task.seq));
        Some(batch)
    }

    /// A batch is no longer under way. Those of its tasks that are `over` are off the record or
    /// parked there; the others come again.
    pub(super) fn came_back<'a>(&mut self, tasks: impl Iterator<Item = (&'a Pending, bool)>) {
        for (task, over) in tasks {
            self.on_their_way.remove(&task.seq);
            if !over && self.resting.iter().any(|(_, rests)| rests.seq == task.seq) {
                continue;
            }
            self.vacate(task);
            if over {
                self.failures.remove(&task.seq);
                if let Fetch::UnderWay { settled } = &mut self.fetch {
                    settled.insert(task.seq);
                }
            } else {
                self.more_anywhere();
            }
        }
    }

    /// How many rows are in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.on_their_way.len()
    }

    // --- what fails ---

    pub(super) fn failures_of(&self, task: &Pending) -> u32 {
        self.failures.get(&task.seq).copied().unwrap_or(0)
    }

    /// A task was not taken, and is tried again.
    pub(super) fn failed(&mut self, task: &Pending) {
        *self.failures.entry(task.seq).or_default() += 1;
        if self.failures.len() > MOST_FAILURES {
            let known: HashSet<u64> = self.fetched.iter().map(|task| task.seq).collect();
            self.failures.retain(|seq, _| known.contains(seq));
        }
    }

    /// Whatever has failed may be tried as if it had not.
    pub(super) fn forgive(&mut self, task: Option<&Pending>) {
        match task {
            Some(task) => drop(self.failures.remove(&task.seq)),
            None => self.failures.clear(),
        }
    }

    /// A task waits until then, while others go. It was in flight.
    pub(super) fn rest(&mut self, task: Pending, until: Mono) {
        self.occupy(&task);
        self.resting.push((until, task));
    }

    /// Tasks that have rested may go again.
    pub(super) fn wake(&mut self, now: Mono) {
        let mut rested = Vec::new();
        self.resting.retain(|(until, task)| {
            let rests = *until > now;
            if !rests {
                rested.push(task.clone());
            }
            rests
        });
        for task in rested {
            self.vacate(&task);
            self.more_anywhere();
        }
    }

    /// Until when the tasks rest that do.
    pub(super) fn rests(&self) -> impl Iterator<Item = Mono> + '_ {
        self.resting.iter().map(|(until, _)| *until)
    }

    // --- rows ---

    fn is_busy(&self, task: &Pending) -> bool {
        let busy = self.busy.get(&task.table);
        busy.is_some_and(|busy| rows(task).any(|key| busy.contains(key)))
    }

    fn occupy(&mut self, task: &Pending) {
        let busy = self.busy.entry(task.table.clone()).or_default();
        busy.extend(rows(task).map(str::to_owned));
    }

    fn vacate(&mut self, task: &Pending) {
        if let Some(busy) = self.busy.get_mut(&task.table) {
            for key in rows(task) {
                busy.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use supervisor_core::Timestamp;
    use supervisor_core::sync::{State, Task};

    fn task(seq: u64, key: &str) -> Pending {
        Pending {
            seq,
            table: "docs".to_owned(),
            key: key.to_owned(),
            file_path: key.to_owned(),
            task: Task::Remove,
            state: State::Due,
            since: Timestamp(0),
        }
    }

    /// A stock that has read these.
    fn with(tasks: &[Pending]) -> Stock {
        let mut stock = Stock::default();
        assert_eq!(stock.begin_fetch(), Some(0));
        stock.fetched(tasks.to_vec(), true);
        stock
    }

    fn next(stock: &mut Stock, most: usize) -> Vec<u64> {
        let batch = stock.next_batch(most);
        let tasks = batch.iter().flat_map(|batch| &batch.tasks);
        tasks.map(|task| task.seq).collect()
    }

    #[test]
    fn what_is_read_is_what_lies_behind_what_is_at_hand() {
        let (a, b, c) = (task(3, "a"), task(5, "b"), task(9, "c"));
        let mut stock = with(&[a, b.clone()]);
        assert_eq!(stock.begin_fetch(), None, "there is no more");
        assert_eq!(next(&mut stock, 1), [3]);
        stock.more();
        // What is at hand is read again: it may have been replaced.
        assert_eq!(stock.begin_fetch(), Some(4));
        assert_eq!(stock.begin_fetch(), None, "one at a time");
        assert!(stock.fetched(vec![b, c], true));
        assert_eq!(next(&mut stock, 9), [5, 9]);
        stock.more();
        assert_eq!(stock.begin_fetch(), Some(9));
        assert!(!stock.fetched(Vec::new(), true));
        assert!(!stock.may_be_more() && stock.is_stuck());
    }

    #[test]
    fn what_is_settled_while_tasks_are_read_is_not_sent_again() {
        let (a, b) = (task(1, "a"), task(2, "b"));
        let mut stock = with(&[a.clone(), b.clone()]);
        assert_eq!(next(&mut stock, 9), [1, 2]);
        stock.more_anywhere();
        assert_eq!(stock.begin_fetch(), Some(0));
        // Read before, told after it was settled.
        stock.came_back([(&a, true), (&b, false)].into_iter());
        assert!(stock.fetched(vec![a, b], true));
        assert_eq!(next(&mut stock, 9), [2]);
    }

    #[test]
    fn what_was_not_taken_is_read_again() {
        let a = task(1, "a");
        let mut stock = with(std::slice::from_ref(&a));
        assert_eq!(next(&mut stock, 9), [1]);
        assert_eq!(stock.in_flight(), 1);
        stock.came_back([(&a, false)].into_iter());
        assert_eq!(stock.in_flight(), 0);
        assert_eq!(stock.begin_fetch(), Some(0));
    }

    #[test]
    fn the_newer_task_of_a_row_in_flight_waits_for_it() {
        let (old, new) = (task(1, "a"), task(2, "a"));
        let mut stock = with(std::slice::from_ref(&old));
        assert_eq!(next(&mut stock, 9), [1]);
        stock.more();
        assert_eq!(stock.begin_fetch(), Some(1));
        assert!(!stock.fetched(vec![new], true), "nothing can be done");
        assert_eq!(next(&mut stock, 9), [0; 0]);
        stock.came_back([(&old, true)].into_iter());
        assert_eq!(next(&mut stock, 9), [2]);
    }

    #[test]
    fn what_is_forgotten_while_it_is_read_does_not_come_back_by_that() {
        let a = task(1, "a");
        let mut stock = with(&[]);
        stock.more();
        assert_eq!(stock.begin_fetch(), Some(0));
        stock.forget(Some("docs"));
        assert!(stock.fetched(vec![a], true), "all is to be read anew");
        assert_eq!(stock.len(), 0);
        assert_eq!(stock.begin_fetch(), Some(0));
    }

    #[test]
    fn a_task_that_rests_keeps_its_row_busy_until_then() {
        let (a, later) = (task(1, "a"), Mono(2_000));
        let mut stock = with(std::slice::from_ref(&a));
        assert_eq!(next(&mut stock, 9), [1]);
        stock.failed(&a);
        stock.rest(a.clone(), later);
        stock.came_back([(&a, false)].into_iter());
        stock.more_anywhere();
        assert_eq!(stock.begin_fetch(), Some(0));
        assert!(!stock.fetched(vec![a.clone()], true));
        stock.wake(Mono(1_999));
        assert_eq!(next(&mut stock, 9), [0; 0]);
        stock.wake(later);
        assert_eq!(stock.begin_fetch(), Some(0));
        assert!(stock.fetched(vec![a.clone()], true));
        assert_eq!(stock.failures_of(&a), 1);
        assert_eq!(next(&mut stock, 9), [1]);
    }
}
