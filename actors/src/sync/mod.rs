//! The sync: mirrors files into tables.
//!
//! ```text
//!  kernel ──▶ Board ──▶ Watcher ──Touched──▶ Debouncer ──read, planned──▶ ┌────────┐
//!                         │  walks when something was missed              │ ledger │
//!                         └──────────────read, planned──────────────────▶ │ outbox │
//!                                                                         └───┬────┘
//!                 Tables ◀──batches, 4 at a time── Syncer ◀──Wake────────────┘
//! ```
//!
//! What was found changed is on record before anybody sends it, and is taken off the record
//! when the target has taken exactly that. Between these two it may be sent twice, or be
//! replaced by something newer, and nothing is lost. What is not on record yet (what the
//! kernel told a moment ago, what is being debounced) is found again by the walk with which
//! every start begins.
//!
//! Everything that reads files or the ledger runs on blocking threads, one transaction at a
//! time; actors decide when, and hold no file's content. A rebuilt actor knows nothing: the
//! Watcher begins with a walk, the Debouncer asks for one, the Syncer sends what is due.

mod board;
mod debouncer;
mod desk;
mod handle;
mod index;
mod messages;
mod record;
mod scan;
mod status;
mod syncer;
mod watcher;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use supervisor_core::sync::{OnDelete, Routes};

use crate::link::Link;
use crate::ports::files::{Eyes, Files};
use crate::ports::ledger::Ledger;
use crate::ports::tables::Tables;

pub use handle::{SyncError, SyncHandle};
pub use status::{
    DirectoryStatus, HeldRows, ParkedRow, Queue, Rates, ScanStatus, Status, TargetStatus, Totals,
    WatchStatus,
};

pub(crate) use debouncer::Debouncer;
pub(crate) use syncer::Syncer;
pub(crate) use watcher::Watcher;

use board::Board;
use desk::Desk;
use status::Shared;

/// What a sync is made of.
pub struct SyncSetup {
    /// What it does.
    pub spec: SyncSpec,
    /// Its own record.
    pub ledger: Box<dyn Ledger>,
    /// The files.
    pub files: Arc<dyn Files>,
    /// The kernel's word about them.
    pub eyes: Arc<dyn Eyes>,
    /// The target.
    pub tables: Rc<dyn Tables>,
}

/// What a sync does.
#[derive(Debug, Clone)]
pub struct SyncSpec {
    /// Which file goes into which table.
    pub routes: Arc<Routes>,
    /// How long a file must have been left alone.
    pub debounce: Duration,
    /// How long it may be edited at most before it is sent all the same.
    pub max_wait: Duration,
    /// What becomes of the row of a file that is gone.
    pub on_delete: OnDelete,
    /// Whether it only says what it would do: the target takes nothing and says that it did.
    pub dry_run: bool,
    /// Whether it goes on after its first walk.
    pub continuous: bool,
}

/// What the sync's actors share, and what must outlive any one of them.
pub(crate) struct Hall {
    pub(crate) spec: SyncSpec,
    pub(crate) desk: Desk,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) eyes: Arc<dyn Eyes>,
    pub(crate) tables: Rc<dyn Tables>,
    pub(crate) board: Arc<Board>,
    pub(crate) shared: Shared,
    pub(crate) watcher: Link<Watcher>,
    pub(crate) debouncer: Link<Debouncer>,
    pub(crate) syncer: Link<Syncer>,
}

impl Hall {
    pub(crate) fn new(setup: SyncSetup) -> Self {
        let watcher = Link::new();
        Self {
            shared: Shared::new(&setup.spec),
            desk: Desk::new(setup.ledger),
            files: setup.files,
            eyes: setup.eyes,
            tables: setup.tables,
            board: Arc::new(Board::new(Arc::clone(&setup.spec.routes), watcher.clone())),
            spec: setup.spec,
            watcher,
            debouncer: Link::new(),
            syncer: Link::new(),
        }
    }

    /// To ask and to command the sync from any thread.
    pub(crate) fn handle(&self) -> SyncHandle {
        SyncHandle::new(
            self.watcher.clone(),
            self.debouncer.clone(),
            self.syncer.clone(),
        )
    }
}
