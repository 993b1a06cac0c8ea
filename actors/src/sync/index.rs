//! The manifest as a walk needs it: 16 bytes a file, the sum of its path and that of its stat.
//! A file whose two sums are there has not changed, and nothing more is asked about it.
//!
//! ```text
//! ledger ──rows──▶ Index ───┐ as soon as it is read
//!                           ▼
//! survey ──listings──▶ compared ──▶ changed, unchanged; in the end missing
//!                └──▶ kept while the index is not there yet
//! ```

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use supervisor_core::sync::manifest::{fingerprint, path_sum};
use supervisor_core::sync::{Routes, Stat, Task};

use crate::ports::StoreError;
use crate::ports::files::Listing;
use crate::ports::ledger::Ledger;

/// What a walk sees, beside what is known. The two come at the same time, from several threads.
pub(super) struct Comparison<'a> {
    below: Option<&'a str>,
    /// Of each table, by its name.
    mappings: HashMap<&'a str, u64>,
    index: OnceLock<Index>,
    /// What was seen before the index was there.
    waiting: Mutex<Vec<Listing>>,
    compared: Mutex<Compared>,
}

/// What a comparison came to.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// Files that are new, or may have changed, in the order of their paths, with the youngest
    /// of their times in nanoseconds since the Unix epoch.
    pub(super) changed: Vec<(Arc<str>, i64)>,
    /// How many have not changed.
    pub(super) unchanged: u64,
    /// Files that the record knows and the walk did not find.
    pub(super) missing: Vec<Arc<str>>,
}

impl<'a> Comparison<'a> {
    /// Of all files, or of those below a directory.
    pub(super) fn new(routes: &'a Routes, below: Option<&'a str>) -> Self {
        let tables = routes.tables();
        Self {
            below,
            mappings: tables
                .map(|table| (table.name(), table.mapping()))
                .collect(),
            index: OnceLock::new(),
            waiting: Mutex::default(),
            compared: Mutex::default(),
        }
    }

    /// Reads what is known.
    ///
    /// # Errors
    /// Those of the ledger.
    pub(super) fn read(&self, ledger: &mut dyn Ledger) -> Result<(), StoreError> {
        self.know(Index::read(ledger, self.below, &self.mappings)?);
        Ok(())
    }

    fn know(&self, index: Index) {
        let index = self.index.get_or_init(|| index);
        self.catch_up(index);
    }

    /// Files that were seen.
    pub(super) fn see(&self, listing: Listing) {
        match self.index.get() {
            Some(index) => self.compare(index, &listing),
            None => lock(&self.waiting).push(listing),
        }
    }

    /// The end: both the index and all files are there. Files below directories that could not
    /// be read are not missing.
    ///
    /// # Errors
    /// Those of the ledger.
    pub(super) fn end(
        self,
        ledger: &mut dyn Ledger,
        unread: &[&str],
    ) -> Result<Compared, StoreError> {
        let Some(index) = self.index.get() else {
            return Err(StoreError::Unavailable("it was not read".to_owned()));
        };
        // What was seen in the very moment in which the index came.
        self.catch_up(index);
        let missing = index.missing(ledger, self.below, unread)?;
        let mut compared = std::mem::take(&mut *lock(&self.compared));
        compared.changed.sort_unstable();
        compared.missing = missing;
        Ok(compared)
    }

    fn catch_up(&self, index: &Index) {
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        for listing in waiting {
            self.compare(index, &listing);
        }
    }

    fn compare(&self, index: &Index, listing: &Listing) {
        let mapping = self.mappings.get(&*listing.table);
        let (mut changed, mut unchanged) = (Vec::new(), 0);
        listing.each(|path, stat| {
            if mapping.is_some_and(|mapping| index.knows(path, stat, *mapping)) {
                unchanged += 1;
            } else {
                changed.push((Arc::from(path), stat.mtime.max(stat.ctime)));
            }
        });
        let mut compared = lock(&self.compared);
        compared.unchanged += unchanged;
        compared.changed.append(&mut changed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The manifest as sums.
struct Index(HashMap<u64, AtomicU64, BuildHasherDefault<Sums>>);

/// Set in a value when its file was seen.
const SEEN: u64 = 1;
/// No stat has this sum: whoever has it is looked at.
const NO_SUM: u64 = 0;

impl Index {
    fn read(
        ledger: &mut dyn Ledger,
        below: Option<&str>,
        mappings: &HashMap<&str, u64>,
    ) -> Result<Self, StoreError> {
        let mut sums: HashMap<u64, AtomicU64, BuildHasherDefault<Sums>> = HashMap::default();
        ledger.every_known(below, &mut |taken| {
            let sum = fingerprint(&taken.stat, taken.settled, taken.mapping);
            let path = path_sum(taken.file_path.as_bytes());
            sums.entry(path)
                // A file with two rows: it is looked at, and that settles it.
                .and_modify(|value| *value = AtomicU64::new(NO_SUM))
                .or_insert_with(|| AtomicU64::new(sum));
        })?;
        // What is queued was looked at later than what is taken.
        ledger.every_task(below, &mut |pending| {
            let sum = match &pending.task {
                Task::Upsert {
                    content, mapping, ..
                } => fingerprint(&content.stat, content.settled, *mapping),
                Task::Unreadable { stat } => match mappings.get(pending.table.as_str()) {
                    Some(mapping) => fingerprint(stat, true, *mapping),
                    None => NO_SUM,
                },
                // Known to be gone: not missed, and looked at if it is there again.
                Task::Remove => NO_SUM | SEEN,
            };
            let path = path_sum(pending.file_path.as_bytes());
            sums.insert(path, AtomicU64::new(sum));
        })?;
        Ok(Self(sums))
    }

    /// Whether that file is as the target has it.
    fn knows(&self, path: &str, stat: &Stat, mapping: u64) -> bool {
        let Some(value) = self.0.get(&path_sum(path.as_bytes())) else {
            return false;
        };
        let sum = value.fetch_or(SEEN, Ordering::Relaxed) & !SEEN;
        sum != NO_SUM && sum == fingerprint(stat, true, mapping)
    }

    /// Files that the record knows and the walk did not find.
    fn missing(
        &self,
        ledger: &mut dyn Ledger,
        below: Option<&str>,
        unread: &[&str],
    ) -> Result<Vec<Arc<str>>, StoreError> {
        let unseen = |value: &AtomicU64| value.load(Ordering::Relaxed) & SEEN == 0;
        let mut missing: Vec<Arc<str>> = Vec::new();
        if !self.0.values().any(unseen) {
            return Ok(missing);
        }
        let mut take = |path: &str| {
            let known = self.0.get(&path_sum(path.as_bytes()));
            let hidden = || unread.iter().any(|directory| lies_in(path, directory));
            if known.is_some_and(unseen) && !hidden() {
                missing.push(Arc::from(path));
            }
        };
        ledger.every_taken(below, &mut |taken| take(&taken.file_path))?;
        // What was queued and never taken.
        ledger.every_task(below, &mut |pending| take(&pending.file_path))?;
        missing.sort_unstable();
        missing.dedup();
        Ok(missing)
    }
}

fn lies_in(path: &str, directory: &str) -> bool {
    directory == "."
        || path
            .strip_prefix(directory)
            .is_some_and(|rest| rest.starts_with('/'))
}

/// Sums are sums already.
#[derive(Default)]
struct Sums(u64);

impl Hasher for Sums {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, sum: u64) {
        self.0 = sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::path::Path;

    use proptest::prelude::*;
    use supervisor_core::sync::preset;

    fn stat(version: i64) -> Stat {
        Stat {
            size: 7,
            mtime: version,
            ctime: version,
            inode: 1,
        }
    }

    fn routes() -> Routes {
        let table = Arc::new(preset::plain("docs", false).expect("a table"));
        let directories = vec![("docs".into(), table)];
        Routes::new(Path::new("/p"), directories, &["md".to_owned()], &[]).expect("routes")
    }

    fn path(n: usize) -> String {
        format!("docs/{n}.md")
    }

    proptest! {
        /// Each file: the version that is known, and the one that is seen; whether it is seen
        /// before the index is there.
        #[test]
        fn it_makes_no_difference_whether_a_file_is_seen_before_the_index_is_there(
            files in proptest::collection::vec(
                (proptest::option::of(0..3_i64), proptest::option::of(0..3_i64), any::<bool>()),
                0..40,
            ),
        ) {
            let routes = routes();
            let comparison = Comparison::new(&routes, None);
            let mapping = comparison.mappings["docs"];
            let known = files.iter().enumerate().filter_map(|(n, (known, _, _))| {
                let sum = fingerprint(&stat((*known)?), true, mapping);
                Some((path_sum(path(n).as_bytes()), AtomicU64::new(sum)))
            });
            let mut index = Some(Index(known.collect()));
            for early in [true, false] {
                for (n, (_, seen, before)) in files.iter().enumerate() {
                    if let Some(version) = seen && *before == early {
                        let mut listing = Listing::new("docs/", &Arc::from("docs"));
                        listing.push(&format!("{n}.md"), stat(*version));
                        comparison.see(listing);
                    }
                }
                index.take().into_iter().for_each(|index| comparison.know(index));
            }
            let index = comparison.index.get().expect("an index");
            for (n, (known, seen, _)) in files.iter().enumerate() {
                let value = index.0.get(&path_sum(path(n).as_bytes()));
                prop_assert_eq!(value.is_some(), known.is_some());
                if let Some(value) = value {
                    let marked = value.load(Ordering::Relaxed) & SEEN != 0;
                    prop_assert_eq!(marked, seen.is_some());
                }
            }
            let compared = lock(&comparison.compared);
            let mut changed: Vec<_> = compared.changed.clone();
            changed.sort_unstable();
            let mut expected: Vec<_> = files.iter().enumerate().filter_map(|(n, (known, seen, _))| {
                let version = (*seen)?;
                (*known != Some(version)).then(|| (Arc::from(path(n)), version))
            }).collect();
            expected.sort_unstable();
            prop_assert_eq!(changed, expected);
            let same = files.iter().filter(|(known, seen, _)| known.is_some() && known == seen);
            prop_assert_eq!(compared.unchanged, same.count() as u64);
        }
    }
}
