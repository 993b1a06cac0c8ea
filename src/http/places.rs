//! Places for answers that last: so many at the same time, and no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many are taken, of at most so many.
#[derive(Debug, Clone)]
pub(super) struct Places {
    taken: Arc<AtomicUsize>,
    most: usize,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Place(Places);

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self {
            taken: Arc::default(),
            most,
        }
    }

    /// How many there are.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// A place, if there is one.
    pub(super) fn take(&self) -> Option<Place> {
        let place = Place(self.clone());
        // Dropping the place gives it back, also here.
        (self.taken.fetch_add(1, Ordering::Relaxed) < self.most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f69_only_so_many_may_last_and_a_place_is_given_back() {
        let places = Places::new(64);
        let taken: Vec<_> = std::iter::from_fn(|| places.take()).collect();
        assert_eq!(taken.len(), 64);
        assert!(places.take().is_none());
        drop(taken);
        assert!(places.take().is_some());
    }
}
