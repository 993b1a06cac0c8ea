//! Walks: what differs from the manifest, and what is not there any more. Blocking.
//!
//! The manifest is read into 16 bytes a file: the sum of its path and that of its stat. A file
//! whose two sums are there has not changed, and nothing more is asked about it. The memory
//! of a walk is that, and the paths of what has changed.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use supervisor_core::Timestamp;
use supervisor_core::sync::manifest::{fingerprint, path_sum};
use supervisor_core::sync::{Stat, Task};

use crate::ports::StoreError;
use crate::ports::files::{Found, Progress, Survey};
use crate::ports::ledger::Ledger;

use super::messages::Touch;
use super::record::{Recorded, Recorder};

/// What a walk came to.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    /// What was recorded.
    pub(crate) recorded: Recorded,
    /// Files that `stat` alone showed unchanged.
    pub(crate) unchanged: u64,
    /// Files that changed a moment ago: they are left to the debounce.
    pub(crate) young: Vec<Arc<str>>,
    /// Directories that could not be read, and why.
    pub(crate) unread: Vec<(String, String)>,
    /// Names that are no UTF-8, and how many there are.
    pub(crate) not_utf8: (Vec<String>, u64),
}

/// Which files are left to the debounce.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Leave {
    /// None.
    Nothing,
    /// Those that changed after this, in nanoseconds since the Unix epoch.
    YoungerThan(i64),
    /// All.
    Everything,
}

impl Recorder {
    /// Walks everything, or what is below a directory, and records what differs.
    ///
    /// # Errors
    /// Those of the ledger; what is recorded by then is recorded.
    pub(crate) fn walk(
        &self,
        below: Option<&str>,
        leave: Leave,
        enter: &(dyn Fn(&Path) + Sync),
        progress: &Progress,
        now: Timestamp,
    ) -> Result<Walked, StoreError> {
        progress.reset();
        let mappings: HashMap<&str, u64> = self
            .routes
            .tables()
            .map(|table| (table.name(), table.mapping()))
            .collect();
        let index = self
            .desk
            .with(|ledger| Index::read(ledger, below, &mappings))?;
        let found = self.files.survey(&Survey {
            below,
            unchanged: &|path, stat, table| {
                mappings
                    .get(table)
                    .is_some_and(|mapping| index.knows(path, stat, *mapping))
            },
            enter,
            progress,
        });
        let unread: Vec<&str> = found.unread.iter().map(|(path, _)| path.as_str()).collect();
        let missing = self
            .desk
            .with(|ledger| index.missing(ledger, below, &unread))?;
        let Found {
            changed,
            unchanged,
            unread,
            not_utf8,
            not_utf8_count,
        } = found;
        let mut walked = Walked {
            unchanged,
            unread,
            not_utf8: (not_utf8, not_utf8_count),
            ..Walked::default()
        };
        let is_young = |youngest: i64| match leave {
            Leave::Nothing => false,
            Leave::YoungerThan(limit) => youngest > limit,
            Leave::Everything => true,
        };
        let mut touches = Vec::with_capacity(changed.len() + missing.len());
        for (file_path, youngest) in changed {
            if is_young(youngest) {
                walked.young.push(file_path);
            } else {
                touches.push(Touch {
                    file_path,
                    from: None,
                });
            }
        }
        match leave {
            Leave::Everything => walked.young.extend(missing),
            Leave::Nothing | Leave::YoungerThan(_) => {
                touches.extend(missing.into_iter().map(|file_path| Touch {
                    file_path,
                    from: None,
                }));
            }
        }
        progress
            .to_read
            .store(touches.len() as u64, Ordering::Relaxed);
        walked.recorded = self.round(&touches, now, Some(progress))?;
        Ok(walked)
    }
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
        ledger.every_taken(below, &mut |taken| {
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
        let mut take = |path: String| {
            let known = self.0.get(&path_sum(path.as_bytes()));
            let hidden = || unread.iter().any(|directory| lies_in(&path, directory));
            if known.is_some_and(unseen) && !hidden() {
                missing.push(Arc::from(path));
            }
        };
        ledger.every_taken(below, &mut |taken| take(taken.file_path))?;
        // What was queued and never taken.
        ledger.every_task(below, &mut |pending| take(pending.file_path))?;
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
