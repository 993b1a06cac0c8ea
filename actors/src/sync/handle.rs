//! What others hold of the sync: cheap to clone, sendable to any thread, valid across the
//! rebuild of a panicked actor.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::link::Link;
use crate::ports::StoreError;

use super::messages::{
    Close, Confirm, Drain, Flush, GetSync, GetTotals, Rescan, RetryParked, Scanned,
};
use super::status::{Status, Totals};
use super::{Debouncer, Syncer, Watcher};

/// How long a stop waits for what was edited last to be on record.
const FLUSH: Duration = Duration::from_secs(5);

/// The sync, to ask and to command.
#[derive(Clone)]
pub struct SyncHandle {
    watcher: Link<Watcher>,
    debouncer: Link<Debouncer>,
    syncer: Link<Syncer>,
}

/// Why the sync did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SyncError {
    /// Its actors are being rebuilt or stopped (503).
    #[error("the sync does not answer")]
    Unreachable,
    /// Its record cannot be used (503).
    #[error("the sync's record cannot be used")]
    Ledger(#[source] StoreError),
}

impl SyncHandle {
    pub(crate) fn new(
        watcher: Link<Watcher>,
        debouncer: Link<Debouncer>,
        syncer: Link<Syncer>,
    ) -> Self {
        Self {
            watcher,
            debouncer,
            syncer,
        }
    }

    /// How everything stands.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn status(&self) -> Result<Status, SyncError> {
        let syncer = self.syncer.get().ok_or(SyncError::Unreachable)?;
        let answer = syncer.send(GetSync).await;
        answer
            .map_err(|_| SyncError::Unreachable)?
            .map_err(SyncError::Ledger)
    }

    /// Tries parked rows again, of one table or of all; how many.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn retry(&self, table: Option<String>) -> Result<u64, SyncError> {
        let syncer = self.syncer.get().ok_or(SyncError::Unreachable)?;
        let answer = syncer.send(RetryParked(table)).await;
        answer
            .map_err(|_| SyncError::Unreachable)?
            .map_err(SyncError::Ledger)
    }

    /// Does the deletions that wait for somebody's word, of one table or of all; how many.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn confirm(&self, table: Option<String>) -> Result<u64, SyncError> {
        let syncer = self.syncer.get().ok_or(SyncError::Unreachable)?;
        let answer = syncer.send(Confirm(table)).await;
        answer
            .map_err(|_| SyncError::Unreachable)?
            .map_err(SyncError::Ledger)
    }

    /// What was done since the start.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn totals(&self) -> Result<Totals, SyncError> {
        let syncer = self.syncer.get().ok_or(SyncError::Unreachable)?;
        syncer
            .send(GetTotals)
            .await
            .map_err(|_| SyncError::Unreachable)
    }

    /// Looks at everything once and returns when all that was found is on record.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn scan(&self, why: &str) -> Result<Scanned, SyncError> {
        let (done, scanned) = oneshot::channel();
        let rescan = Rescan {
            why: why.to_owned(),
            done: Some(done),
        };
        if !self.watcher.tell(rescan) {
            return Err(SyncError::Unreachable);
        }
        scanned.await.map_err(|_| SyncError::Unreachable)
    }

    /// Returns when everything that is due has been sent, or the target takes nothing for now.
    pub async fn drained(&self) {
        let (done, drained) = oneshot::channel();
        if self.syncer.tell(Drain(done)) {
            // A syncer that died meanwhile sends nothing more.
            let _ = drained.await;
        }
    }

    /// Puts on record, now, what is being debounced; returns when it is, or cannot be.
    pub async fn flushed(&self) {
        let (done, flushed) = oneshot::channel();
        if self.debouncer.tell(Flush(done)) {
            // A debouncer that died meanwhile knows of nothing any more.
            let _ = tokio::time::timeout(FLUSH, flushed).await;
        }
    }

    /// Ends: sees nothing any more, puts on record what was edited last, and sends for so long
    /// at most. What is not sent then the next start sends. What was done.
    pub async fn stop(&self, patience: Duration) -> Totals {
        self.watcher.tell(Close);
        self.flushed().await;
        let _ = tokio::time::timeout(patience, self.drained()).await;
        self.totals().await.unwrap_or_default()
    }
}
