//! A record in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use supervisor_core::sync::outbox::Step;
use supervisor_core::sync::{Pending, Scope, State, Taken, Task};

use super::{lock, row};
use crate::ports::StoreError;
use crate::ports::ledger::{Counts, Known, Ledger, Which, state_word};

/// A record in memory. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryLedger(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    pages: Pages,
    before: Option<Pages>,
    failure: Option<StoreError>,
    /// The commit that fails, after so many others.
    failing_commit: Option<(u32, StoreError)>,
    panics: bool,
    epoch: u64,
    commits: u64,
}

#[derive(Default, Clone)]
struct Pages {
    taken: BTreeMap<(String, String), Taken>,
    tasks: BTreeMap<(String, String), Pending>,
    notes: BTreeMap<String, String>,
    seq: u64,
}

impl MemoryLedger {
    /// From now on it cannot be used, or can again.
    pub fn fail(&self, failure: Option<StoreError>) {
        lock(&self.0).failure = failure;
    }

    /// One commit fails, after so many others.
    pub fn fail_after(&self, commits: u32, failure: StoreError) {
        lock(&self.0).failing_commit = Some((commits, failure));
    }

    /// From now on each use panics, or no longer.
    pub fn panic(&self, panics: bool) {
        lock(&self.0).panics = panics;
    }

    /// It is lost, and begun anew.
    pub fn lose(&self) {
        let mut book = lock(&self.0);
        let seq = book.pages.seq;
        book.pages = Pages {
            seq,
            ..Pages::default()
        };
        book.epoch += 1;
    }

    /// How many transactions were committed.
    #[must_use]
    pub fn commits(&self) -> u64 {
        lock(&self.0).commits
    }

    /// The files that the target has taken, with their keys.
    #[must_use]
    pub fn taken_files(&self) -> BTreeMap<String, String> {
        let book = lock(&self.0);
        let taken = book.pages.taken.values();
        taken
            .map(|taken| (taken.file_path.clone(), taken.key.clone()))
            .collect()
    }

    /// All tasks, by their numbers.
    #[must_use]
    pub fn all_tasks(&self) -> Vec<Pending> {
        let mut tasks: Vec<_> = lock(&self.0).pages.tasks.values().cloned().collect();
        tasks.sort_by_key(|task| task.seq);
        tasks
    }

    fn with<T>(&self, work: impl FnOnce(&mut Pages) -> T) -> Result<T, StoreError> {
        let mut book = lock(&self.0);
        assert!(!book.panics, "the ledger was told to panic");
        if let Some(failure) = &book.failure {
            return Err(failure.clone());
        }
        Ok(work(&mut book.pages))
    }
}

fn lies_below(path: &str, below: Option<&str>) -> bool {
    below.is_none_or(|below| {
        below == "."
            || path
                .strip_prefix(below)
                .is_some_and(|rest| rest.starts_with('/'))
    })
}

impl Ledger for MemoryLedger {
    fn begin(&mut self, _: bool) -> Result<(), StoreError> {
        self.rollback();
        self.with(|_| ())?;
        let mut book = lock(&self.0);
        book.before = Some(book.pages.clone());
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.with(|_| ())?;
        let mut book = lock(&self.0);
        match book.failing_commit.take() {
            Some((0, failure)) => return Err(failure),
            Some((others, failure)) => book.failing_commit = Some((others - 1, failure)),
            None => {}
        }
        assert!(book.before.take().is_some(), "no transaction");
        book.commits += 1;
        Ok(())
    }

    fn rollback(&mut self) {
        let mut book = lock(&self.0);
        if let Some(before) = book.before.take() {
            let seq = book.pages.seq;
            book.pages = before;
            book.pages.seq = seq;
        }
    }

    fn every_known(
        &mut self,
        below: Option<&str>,
        each: &mut dyn FnMut(Known<'_>),
    ) -> Result<(), StoreError> {
        self.every_taken(below, &mut |taken| {
            each(Known {
                file_path: &taken.file_path,
                stat: taken.stat,
                settled: taken.settled,
                mapping: taken.mapping,
            });
        })
    }

    fn every_taken(
        &mut self,
        below: Option<&str>,
        each: &mut dyn FnMut(Taken),
    ) -> Result<(), StoreError> {
        let all = self.with(|pages| pages.taken.values().cloned().collect::<Vec<_>>())?;
        all.into_iter()
            .filter(|taken| lies_below(&taken.file_path, below))
            .for_each(each);
        Ok(())
    }

    fn taken(&mut self, table: &str, key: &str) -> Result<Option<Taken>, StoreError> {
        self.with(|pages| pages.taken.get(&row(table, key)).cloned())
    }

    fn taken_of(&mut self, file_path: &str) -> Result<Vec<Taken>, StoreError> {
        self.with(|pages| {
            let all = pages.taken.values();
            all.filter(|taken| taken.file_path == file_path)
                .cloned()
                .collect()
        })
    }

    fn pending(&mut self, table: &str, key: &str) -> Result<Option<Pending>, StoreError> {
        self.with(|pages| pages.tasks.get(&row(table, key)).cloned())
    }

    fn tasks(
        &mut self,
        states: &[&str],
        beyond: u64,
        limit: u32,
    ) -> Result<Vec<Pending>, StoreError> {
        self.with(|pages| {
            let all = pages.tasks.values();
            let mut found: Vec<_> = all
                .filter(|task| task.seq > beyond && states.contains(&state_word(&task.state)))
                .cloned()
                .collect();
            found.sort_by_key(|task| task.seq);
            found.truncate(limit as usize);
            found
        })
    }

    fn every_task(
        &mut self,
        below: Option<&str>,
        each: &mut dyn FnMut(Pending),
    ) -> Result<(), StoreError> {
        let all = self.with(|pages| pages.tasks.values().cloned().collect::<Vec<_>>())?;
        all.into_iter()
            .filter(|task| lies_below(&task.file_path, below))
            .for_each(each);
        Ok(())
    }

    fn claim(&mut self, table: &str, from: &str) -> Result<Option<String>, StoreError> {
        self.with(|pages| {
            let mut all = pages.tasks.values();
            let claims = |task: &&Pending| {
                task.table == table
                    && matches!(&task.task, Task::Upsert { from: Some(key), .. } if key == from)
            };
            all.find(claims).map(|task| task.key.clone())
        })
    }

    fn apply(&mut self, step: &Step) -> Result<(), StoreError> {
        self.with(|pages| match step {
            Step::Queue(pending) => {
                pages.seq += 1;
                let pending = Pending {
                    seq: pages.seq,
                    ..pending.clone()
                };
                pages
                    .tasks
                    .insert(row(&pending.table, &pending.key), pending);
            }
            Step::Unqueue { table, key } => {
                pages.tasks.remove(&row(table, key));
            }
            Step::Take(taken) => {
                pages
                    .taken
                    .insert(row(&taken.table, &taken.key), taken.clone());
            }
            Step::Forget { table, key } => {
                pages.taken.remove(&row(table, key));
            }
            Step::Unclaim { table, key } => {
                pages.seq += 1;
                let seq = pages.seq;
                if let Some(pending) = pages.tasks.get_mut(&row(table, key)) {
                    pending.seq = seq;
                    if let Task::Upsert { from, .. } = &mut pending.task {
                        *from = None;
                    }
                }
            }
        })
    }

    fn finish(&mut self, pending: &Pending) -> Result<bool, StoreError> {
        self.with(|pages| {
            let key = row(&pending.table, &pending.key);
            let same = pages
                .tasks
                .get(&key)
                .is_some_and(|task| task.seq == pending.seq);
            if same {
                pages.tasks.remove(&key);
            }
            same
        })
    }

    fn set_state(&mut self, pending: &Pending, state: &State) -> Result<(), StoreError> {
        self.with(|pages| {
            let key = row(&pending.table, &pending.key);
            if let Some(task) = pages
                .tasks
                .get_mut(&key)
                .filter(|task| task.seq == pending.seq)
            {
                task.state = state.clone();
            }
        })
    }

    fn set_states(&mut self, which: &Which, state: &State) -> Result<u64, StoreError> {
        let of = |task: &Pending, table: &Option<String>| {
            table.as_ref().is_none_or(|table| *table == task.table)
        };
        let parked = |task: &Pending| match &task.state {
            State::Parked { scope, .. } if !matches!(task.task, Task::Unreadable { .. }) => {
                Some(*scope)
            }
            State::Parked { .. } | State::Due | State::Held | State::Confirmed => None,
        };
        let chosen = |task: &Pending| match which {
            Which::Removals { table } => {
                task.state == State::Due && task.task == Task::Remove && task.table == *table
            }
            Which::Held { table } => task.state == State::Held && of(task, table),
            Which::Due { table } => {
                matches!(task.state, State::Due | State::Confirmed) && of(task, table)
            }
            Which::Parked { table } => parked(task).is_some() && of(task, table),
            Which::ParkedWithTable { table } => match parked(task) {
                Some(Scope::Table) => task.table == *table,
                Some(Scope::Target) => true,
                Some(Scope::Rows) | None => false,
            },
        };
        self.with(|pages| {
            let mut count = 0;
            for task in pages.tasks.values_mut().filter(|task| chosen(task)) {
                task.state = state.clone();
                count += 1;
            }
            count
        })
    }

    fn forget_all(&mut self) -> Result<(), StoreError> {
        self.with(|pages| pages.taken.clear())
    }

    fn is_empty(&mut self) -> Result<(bool, bool), StoreError> {
        self.with(|pages| (pages.taken.is_empty(), pages.tasks.is_empty()))
    }

    fn counts(&mut self) -> Result<Vec<Counts>, StoreError> {
        self.with(|pages| {
            let mut all: BTreeMap<String, Counts> = BTreeMap::new();
            for taken in pages.taken.values() {
                all.entry(taken.table.clone()).or_default().rows += 1;
            }
            for task in pages.tasks.values() {
                let counts = all.entry(task.table.clone()).or_default();
                match task.state {
                    State::Due | State::Confirmed => counts.due += 1,
                    State::Held => counts.held += 1,
                    State::Parked { .. } => counts.parked += 1,
                }
                if task.state == State::Due && task.task == Task::Remove {
                    counts.removals += 1;
                }
            }
            all.into_iter()
                .map(|(table, counts)| Counts { table, ..counts })
                .collect()
        })
    }

    fn note(&mut self, name: &str) -> Result<Option<String>, StoreError> {
        self.with(|pages| pages.notes.get(name).cloned())
    }

    fn set_note(&mut self, name: &str, text: &str) -> Result<(), StoreError> {
        self.with(|pages| {
            pages.notes.insert(name.to_owned(), text.to_owned());
        })
    }

    fn epoch(&self) -> u64 {
        lock(&self.0).epoch
    }
}
