//! A stage with a sync: a disk, a ledger and a target in memory.

mod disk;
mod ledger;
mod tables;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use supervisor_core::sync::{OnDelete, Routes, preset};

use crate::ports::Clock;
use crate::sync::{SyncHandle, SyncSetup, SyncSpec};

use super::{Running, Stage};

pub use disk::FakeDisk;
pub use ledger::MemoryLedger;
pub use tables::{Call, FakeTables};

/// A stage with a sync: the directories `docs` and `notes` below `/p`, each in a table of its
/// name.
#[derive(Clone)]
pub struct SyncStage {
    /// The rest of the world.
    pub stage: Stage,
    /// The files.
    pub disk: FakeDisk,
    /// The record.
    pub ledger: MemoryLedger,
    /// The target.
    pub tables: Rc<FakeTables>,
    /// What the sync does.
    pub spec: SyncSpec,
}

impl Default for SyncStage {
    fn default() -> Self {
        Self::new()
    }
}

impl SyncStage {
    /// Fresh fakes. Inside a [`super::PausedSystem`].
    ///
    /// # Panics
    /// Never: its routes are good ones.
    #[must_use]
    pub fn new() -> Self {
        let stage = Stage::new();
        let table = |name: &str| {
            (
                PathBuf::from(name),
                Arc::new(preset::plain(name, true).expect("a table")),
            )
        };
        let directories = vec![table("docs"), table("notes")];
        let extensions = ["md".to_owned()];
        let routes = Routes::new(Path::new("/p"), directories, &extensions, &[]).expect("routes");
        let routes = Arc::new(routes);
        Self {
            disk: FakeDisk::new(Arc::clone(&stage.clock), Arc::clone(&routes)),
            ledger: MemoryLedger::default(),
            tables: Rc::new(FakeTables::new(Arc::clone(&stage.clock))),
            spec: SyncSpec {
                routes,
                debounce: Duration::from_secs(5),
                max_wait: Duration::from_secs(60),
                on_delete: OnDelete::Keep,
                dry_run: false,
                continuous: true,
            },
            stage,
        }
    }

    /// The fakes as ports.
    #[must_use]
    pub fn setup(&self) -> SyncSetup {
        SyncSetup {
            spec: self.spec.clone(),
            ledger: Box::new(self.ledger.clone()),
            files: Arc::new(self.disk.clone()),
            eyes: Arc::new(self.disk.clone()),
            tables: Rc::clone(&self.tables) as _,
        }
    }

    /// Lets what is on the disk grow old before the start.
    pub async fn age(&self) {
        tokio::time::sleep(Duration::from_secs(60)).await;
        // A clock that nobody reads before the start begins where it was read last.
        self.stage.clock.mono();
    }

    /// Starts it all and waits until the first walk and what follows from it are done.
    ///
    /// # Panics
    /// Where there is no sync.
    pub async fn start(&self) -> (Running, SyncHandle) {
        let running = self.stage.start_with(Vec::new(), Some(self.setup())).await;
        let sync = running.sync.clone().expect("a sync");
        (running, sync)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn row(table: &str, key: &str) -> (String, String) {
    (table.to_owned(), key.to_owned())
}
