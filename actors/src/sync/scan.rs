//! Walks: what differs from the manifest, and what is not there any more. Blocking.
//!
//! The manifest is read while the directories are; what was seen is compared as soon as both
//! are there. The memory of a walk is the manifest's sums, what was seen before they were
//! there, and the paths of what has changed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use supervisor_core::Timestamp;

use crate::ports::StoreError;
use crate::ports::files::{Found, Progress, Survey};

use super::index::{Compared, Comparison};
use super::record::{Heap, Recorded, Recorder};

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
        enter: &(dyn Fn(&[&Path]) + Sync),
        progress: &Progress,
        now: Timestamp,
    ) -> Result<Walked, StoreError> {
        progress.reset();
        let comparison = Comparison::new(&self.routes, below);
        let (index, found) = std::thread::scope(|scope| {
            let index = scope.spawn(|| self.desk.with(|ledger| comparison.read(ledger)));
            let found = self.files.survey(&Survey {
                below,
                list: &|listing| comparison.see(listing),
                enter,
                progress,
            });
            // A panic in there is a panic of ours.
            let index = index.join();
            let index = index.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (index, found)
        });
        index?;
        let Found {
            unread,
            not_utf8,
            not_utf8_count,
        } = found;
        let directories: Vec<&str> = unread.iter().map(|(path, _)| path.as_str()).collect();
        let Compared {
            changed,
            unchanged,
            missing,
        } = self
            .desk
            .with(|ledger| comparison.end(ledger, &directories))?;
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
        let mut heap = Heap::default();
        for (file_path, youngest) in changed {
            if is_young(youngest) {
                walked.young.push(file_path);
            } else {
                heap.here.push(file_path);
            }
        }
        match leave {
            Leave::Everything => walked.young.extend(missing),
            Leave::Nothing | Leave::YoungerThan(_) => {
                for file_path in missing {
                    // It may have come meanwhile.
                    self.sort(&file_path, &mut heap);
                }
            }
        }
        let to_read = heap.here.len() + heap.gone.len();
        progress.to_read.store(to_read as u64, Ordering::Relaxed);
        walked.recorded = self.record(heap, now, Some(progress))?;
        Ok(walked)
    }
}
