//! The messages of the sync's actors, a line of doc each.

use std::sync::Arc;

use actix::Message;
use tokio::sync::oneshot;

use super::status::{Status, Totals};

/// Eyes → Watcher: there is something on the board.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Glance;

/// Anybody → Watcher: look at everything. Answered when all that was found is on record.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Rescan {
    /// Why, for the log.
    pub(crate) why: String,
    /// Who waits.
    pub(crate) done: Option<oneshot::Sender<Scanned>>,
}

/// Watcher → Syncer: a walk is over and all that it found is on record, or it failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Scanned {
    /// Files that had not changed.
    pub unchanged: u64,
    /// Rows that were queued.
    pub queued: u64,
    /// Whether all that was found is on record.
    pub recorded: bool,
    /// Whether every directory could be read.
    pub whole: bool,
}

/// Watcher → Debouncer: these files changed just now.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Touched(pub(crate) Vec<Touch>);

/// A file that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Touch {
    /// Relative to the root.
    pub(crate) file_path: Arc<str>,
    /// What it was called before, if it moved.
    pub(crate) from: Option<Arc<str>>,
}

/// Stop → Debouncer: record all that waits, now; answered when it is on record or cannot be.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Flush(pub(crate) oneshot::Sender<()>);

/// Stop → Watcher: see nothing any more.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Close;

/// Anybody → Syncer: something is due.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Wake;

/// Recorder → Syncer: more is due, behind all that was.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Queued;

/// Watcher, Debouncer → Syncer: the ledger could not be used, or can be again.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct LedgerState(pub(crate) Result<(), String>);

/// HTTP → Syncer: how everything stands.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Status, crate::ports::StoreError>")]
pub(crate) struct GetSync;

/// HTTP → Syncer: try parked rows again, of one table or of all; answers how many.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<u64, crate::ports::StoreError>")]
pub(crate) struct RetryParked(pub(crate) Option<String>);

/// HTTP → Syncer: do the deletions that wait for somebody's word, of one table or of all;
/// answers how many.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<u64, crate::ports::StoreError>")]
pub(crate) struct Confirm(pub(crate) Option<String>);

/// Anybody → Syncer: answered when nothing is due or under way any more, or the target takes
/// nothing for now.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Drain(pub(crate) oneshot::Sender<()>);

/// Anybody → Syncer: what was done since the start.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Totals")]
pub(crate) struct GetTotals;
