//! Where the ledger is used: on blocking threads, by one at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::guardian::text_of;
use crate::ports::StoreError;
use crate::ports::ledger::Ledger;

/// No epoch yet.
const UNUSED: u64 = u64::MAX;

/// The ledger, shared. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Desk(Arc<Inner>);

struct Inner {
    ledger: Mutex<Box<dyn Ledger>>,
    /// The ledger's epoch after its last use; the highest number before its first.
    epoch: AtomicU64,
    notices: Mutex<Vec<String>>,
    /// Rounds under way, which have recorded a part of what they found.
    rounds: AtomicUsize,
    /// Rounds that have ever begun.
    begun: AtomicU64,
}

/// A round under way, until this is dropped.
pub(crate) struct Recording {
    desk: Desk,
    /// Which round it is.
    number: u64,
    /// Whether it was the only one when it began.
    alone: bool,
}

impl Recording {
    /// Whether nobody else has put anything into the outbox since this round began: asked within
    /// a transaction, so that nothing comes in between.
    pub(crate) fn is_alone(&self) -> bool {
        self.alone && self.desk.0.begun.load(Ordering::SeqCst) == self.number
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.desk.0.rounds.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Desk {
    pub(crate) fn new(ledger: Box<dyn Ledger>) -> Self {
        Self(Arc::new(Inner {
            ledger: Mutex::new(ledger),
            epoch: AtomicU64::new(UNUSED),
            notices: Mutex::default(),
            rounds: AtomicUsize::new(0),
            begun: AtomicU64::new(0),
        }))
    }

    /// Notes that what was found is recorded, transaction by transaction, until the guard is
    /// dropped.
    pub(crate) fn recording(&self) -> Recording {
        let others = self.0.rounds.fetch_add(1, Ordering::SeqCst);
        Recording {
            desk: self.clone(),
            number: self.0.begun.fetch_add(1, Ordering::SeqCst) + 1,
            alone: others == 0,
        }
    }

    /// Whether more is to come of what stands on record: asked within a transaction, so that
    /// nothing comes in between.
    pub(crate) fn is_recording(&self) -> bool {
        self.0.rounds.load(Ordering::SeqCst) > 0
    }

    /// Uses the ledger; blocking. A panic in there is a failure of it: what it was doing is
    /// given up.
    ///
    /// # Errors
    /// Those of the ledger.
    pub(crate) fn with<T>(
        &self,
        work: impl FnOnce(&mut dyn Ledger) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut ledger = lock(&self.0.ledger);
        let used = catch_unwind(AssertUnwindSafe(|| work(&mut **ledger)));
        let result = used.unwrap_or_else(|panic| {
            Err(StoreError::Unavailable(format!(
                "its code panicked: {}",
                text_of(&*panic)
            )))
        });
        // Whatever was begun and not committed.
        ledger.rollback();
        self.0.epoch.store(ledger.epoch(), Ordering::Relaxed);
        let notices = ledger.notices();
        drop(ledger);
        lock(&self.0.notices).extend(notices);
        result
    }

    /// Does some work in a transaction; blocking. It happens whole or not at all.
    ///
    /// # Errors
    /// Those of the ledger.
    pub(crate) fn transaction<T>(
        &self,
        lasting: bool,
        work: impl FnOnce(&mut dyn Ledger) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.with(|ledger| {
            ledger.begin(lasting)?;
            let done = work(ledger)?;
            ledger.commit()?;
            Ok(done)
        })
    }

    /// A number that changes when the ledger is begun anew; none before its first use.
    pub(crate) fn epoch(&self) -> Option<u64> {
        let epoch = self.0.epoch.load(Ordering::Relaxed);
        (epoch != UNUSED).then_some(epoch)
    }

    /// What people should know of the ledger and was not said yet.
    pub(crate) fn notices(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.0.notices))
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does some work on a blocking thread; a panic in there is a failure.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = actix_rt::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        let why = match error.try_into_panic() {
            Ok(panic) => format!("the sync's code panicked: {}", text_of(&*panic)),
            Err(error) => error.to_string(),
        };
        Err(StoreError::Unavailable(why))
    })
}
