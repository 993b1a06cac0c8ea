//! How the sync stands: what its actors count, and what the API shows.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use supervisor_core::Timestamp;
use supervisor_core::sync::Routes;
use supervisor_core::time::Mono;

use crate::ports::files::Progress;
use crate::ports::ledger::Counts;

use super::SyncSpec;

/// So many files whose row is another's are remembered.
const MOST_RIVALS: usize = 1_000;
/// Rates are those of the last minute.
const MINUTE: Duration = Duration::from_secs(60);

/// How the sync stands.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Status {
    /// `live`, or `dry_run`.
    pub mode: &'static str,
    /// Where the tables are.
    pub target: TargetStatus,
    /// What waits.
    pub queue: Queue,
    /// How much there is, table by table.
    pub tables: Vec<Counts>,
    /// Rows that wait for a change, the oldest first; at most a thousand.
    pub parked: Vec<ParkedRow>,
    /// Deletions that wait for somebody's word.
    pub held: Vec<HeldRows>,
    /// The directories of the configuration.
    pub directories: Vec<DirectoryStatus>,
    /// Since the start.
    pub totals: Totals,
    /// In the last minute.
    pub rates: Rates,
    /// The last walk.
    pub scan: ScanStatus,
    /// How changes are seen.
    pub watch: WatchStatus,
    /// Why the record cannot be used, if it cannot.
    pub ledger: Option<String>,
    /// When this supervisor began, RFC 3339.
    pub started_at: String,
}

/// The target.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = SyncTarget)]
pub struct TargetStatus {
    /// What it is.
    pub name: String,
    /// `open`, `resting` (it said "not now") or `meeting` (what it holds is being compared).
    pub state: &'static str,
    /// Why nothing is sent now, or why nothing was a moment ago.
    pub reason: Option<String>,
    /// When it is asked again, in seconds.
    pub retry_in: Option<f64>,
}

/// What waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
#[schema(as = SyncQueue)]
pub struct Queue {
    /// Files that were edited a moment ago.
    pub debouncing: u64,
    /// Rows to be sent.
    pub due: u64,
    /// Of these, rows on their way.
    pub in_flight: u64,
    /// Deletions that wait for somebody's word.
    pub held: u64,
    /// Rows that wait for a change.
    pub parked: u64,
}

/// A row that waits for a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SyncParkedRow)]
pub struct ParkedRow {
    /// The file.
    pub file_path: String,
    /// The table.
    pub table: String,
    /// Why.
    pub reason: String,
    /// Since when, RFC 3339.
    pub since: String,
}

/// Deletions that wait for somebody's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SyncHeldRows)]
pub struct HeldRows {
    /// In which table.
    pub table: String,
    /// How many.
    pub rows: u64,
    /// Of how many.
    pub of: u64,
}

/// A directory of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SyncDirectory)]
pub struct DirectoryStatus {
    /// Where it is, relative to the root.
    pub path: String,
    /// Where its files go.
    pub table: String,
    /// Whether it is there.
    pub exists: bool,
    /// When the target last took a row of it, RFC 3339.
    pub last_sync: Option<String>,
}

/// What was done since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
#[schema(as = SyncTotals)]
pub struct Totals {
    /// Rows that the target took.
    pub synced: u64,
    /// Files that were found unchanged.
    pub skipped: u64,
    /// Rows that were parked.
    pub errors: u64,
}

/// How fast it goes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, ToSchema)]
#[schema(as = SyncRates)]
pub struct Rates {
    /// Rows that the target took in the last minute.
    pub rows_last_minute: u64,
    /// Rows a second in the last minute.
    pub rows_per_second: f64,
}

/// The present walk, or the last.
#[derive(Debug, Clone, PartialEq, Default, Serialize, ToSchema)]
#[schema(as = SyncScan)]
pub struct ScanStatus {
    /// Whether one is under way.
    pub running: bool,
    /// Files seen by it.
    pub files: u64,
    /// Files that it read.
    pub read: u64,
    /// Files that it has to read.
    pub to_read: u64,
    /// When the last one ended, RFC 3339.
    pub last: Option<String>,
    /// How long that took, in seconds.
    pub seconds: Option<f64>,
}

/// How changes are seen.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, ToSchema)]
#[schema(as = SyncWatch)]
pub struct WatchStatus {
    /// `kernel`, or `polling`; `none` before the first walk, and where nothing is watched.
    pub mode: &'static str,
    /// Directories that the kernel watches.
    pub directories: u64,
    /// Why it is polling.
    pub reason: Option<String>,
}

/// What the sync's actors tell each other without messages: they share a thread.
pub(crate) struct Shared {
    pub(crate) totals: Cell<Totals>,
    pub(crate) debouncing: Cell<u64>,
    pub(crate) watch: RefCell<WatchStatus>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) scanning: Cell<bool>,
    pub(crate) last_scan: Cell<Option<(Timestamp, Duration)>>,
    pub(crate) exists: RefCell<Vec<bool>>,
    /// When the target last took a row of each directory.
    pub(crate) last_sync: RefCell<Vec<Option<Timestamp>>>,
    /// Files whose row is another's, and whose.
    rivals: RefCell<BTreeMap<Arc<str>, String>>,
    taken: RefCell<VecDeque<(Mono, u64)>>,
    /// Whether there was a debouncer before: the present one knows nothing of what waited.
    pub(crate) debounced: Cell<bool>,
}

impl Shared {
    pub(crate) fn new(spec: &SyncSpec) -> Self {
        let directories = spec.routes.directories().len();
        Self {
            totals: Cell::default(),
            debouncing: Cell::default(),
            watch: RefCell::new(WatchStatus {
                mode: "none",
                ..WatchStatus::default()
            }),
            progress: Arc::default(),
            scanning: Cell::default(),
            last_scan: Cell::default(),
            exists: RefCell::new(vec![false; directories]),
            last_sync: RefCell::new(vec![None; directories]),
            rivals: RefCell::default(),
            taken: RefCell::default(),
            debounced: Cell::default(),
        }
    }

    /// Counts.
    pub(crate) fn count(&self, change: impl FnOnce(&mut Totals)) {
        let mut totals = self.totals.get();
        change(&mut totals);
        self.totals.set(totals);
    }

    /// The target took so many rows.
    pub(crate) fn took(&self, rows: u64, now: Mono) {
        self.count(|totals| totals.synced += rows);
        let mut taken = self.taken.borrow_mut();
        // By the second: a minute has sixty of them, however many rows.
        let second = now.0 / 1_000_000_000;
        match taken.back_mut() {
            Some((at, count)) if at.0 / 1_000_000_000 == second => *count += rows,
            _ => taken.push_back((now, rows)),
        }
        forget_older(&mut taken, now);
    }

    /// The target took a row of that file.
    pub(crate) fn took_of(&self, routes: &Routes, file_path: &str, at: Timestamp) {
        let path = routes.root().join(file_path);
        let Some(directory) = routes.directory_of(&path) else {
            return;
        };
        let place = routes
            .directories()
            .iter()
            .position(|other| other.path == directory.path);
        let mut last = self.last_sync.borrow_mut();
        if let Some(last) = place.and_then(|place| last.get_mut(place)) {
            *last = Some(at);
        }
    }

    pub(crate) fn rates(&self, now: Mono) -> Rates {
        let mut taken = self.taken.borrow_mut();
        forget_older(&mut taken, now);
        let rows: u64 = taken.iter().map(|(_, rows)| rows).sum();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        Rates {
            rows_last_minute: rows,
            rows_per_second: rows as f64 / MINUTE.as_secs_f64(),
        }
    }

    /// A file's row is another's. Whether that is news.
    pub(crate) fn rival(&self, file_path: &Arc<str>, other: &str) -> bool {
        let mut rivals = self.rivals.borrow_mut();
        if rivals.get(file_path).is_some_and(|known| known == other) {
            return false;
        }
        if rivals.len() < MOST_RIVALS {
            rivals.insert(Arc::clone(file_path), other.to_owned());
        }
        true
    }

    /// Those files are gone: the rivals of them, which may have their rows now; and they are
    /// nobody's rivals any more.
    pub(crate) fn rivals_of(&self, gone: &[Arc<str>]) -> Vec<Arc<str>> {
        let mut rivals = self.rivals.borrow_mut();
        if rivals.is_empty() {
            return Vec::new();
        }
        for path in gone {
            rivals.remove(path);
        }
        let freed: Vec<_> = rivals
            .iter()
            .filter(|(_, other)| gone.iter().any(|path| **path == ***other))
            .map(|(path, _)| Arc::clone(path))
            .collect();
        for path in &freed {
            rivals.remove(path);
        }
        freed
    }

    /// Files whose row is another's, and whose.
    pub(crate) fn all_rivals(&self) -> Vec<(Arc<str>, String)> {
        let rivals = self.rivals.borrow();
        rivals
            .iter()
            .map(|(path, other)| (Arc::clone(path), other.clone()))
            .collect()
    }
}

fn forget_older(taken: &mut VecDeque<(Mono, u64)>, now: Mono) {
    while taken.front().is_some_and(|(at, _)| now.since(*at) > MINUTE) {
        taken.pop_front();
    }
}
