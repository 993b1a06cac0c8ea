//! Places for answers that last: so many at the same time, and no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many are taken, of at most `MOST`.
#[derive(Debug, Clone, Default)]
pub(super) struct Places<const MOST: usize>(Arc<AtomicUsize>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Place<const MOST: usize>(Places<MOST>);

impl<const MOST: usize> Places<MOST> {
    /// A place, if there is one.
    pub(super) fn take(&self) -> Option<Place<MOST>> {
        let place = Place(self.clone());
        // Dropping the place gives it back, also here.
        (self.0.fetch_add(1, Ordering::Relaxed) < MOST).then_some(place)
    }
}

impl<const MOST: usize> Drop for Place<MOST> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f69_only_so_many_may_last_and_a_place_is_given_back() {
        let places = Places::<64>::default();
        let taken: Vec<_> = std::iter::from_fn(|| places.take()).collect();
        assert_eq!(taken.len(), 64);
        assert!(places.take().is_none());
        drop(taken);
        assert!(places.take().is_some());
    }
}
