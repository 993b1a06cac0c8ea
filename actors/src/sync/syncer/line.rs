//! The line to the target: so many requests at once, and none after it has said "not now".

use std::cell::Cell;
use std::rc::Rc;

use tokio::sync::{Semaphore, SemaphorePermit};

/// See the module's page. Cheap to clone: all lanes share it.
#[derive(Debug, Clone)]
pub(super) struct Line(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    places: Semaphore,
    /// Whether batches that are ready still go.
    open: Cell<bool>,
}

impl Line {
    /// One with so many places.
    pub(super) fn new(places: usize) -> Self {
        Self(Rc::new(Inner {
            places: Semaphore::new(places.max(1)),
            open: Cell::new(true),
        }))
    }

    /// From now on batches go.
    pub(super) fn open(&self) {
        self.0.open.set(true);
    }

    /// From now on no batch goes that has not gone yet.
    pub(super) fn close(&self) {
        self.0.open.set(false);
    }

    /// Waits for a place; none where nothing goes any more.
    pub(super) async fn place(&self) -> Option<SemaphorePermit<'_>> {
        let place = self.0.places.acquire().await.ok();
        place.filter(|_| self.0.open.get())
    }
}
