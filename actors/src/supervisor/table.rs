//! The services by number, with gaps where somebody has left.

use std::ops::{Index, IndexMut};

/// What is known of each service, at its number.
#[derive(Debug)]
pub(super) struct Table<T>(Vec<Option<T>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Table<T> {
    pub(super) fn reserve(&mut self, count: usize) {
        self.0.reserve_exact(count);
    }

    pub(super) fn put(&mut self, number: u32, one: T) {
        let place = number as usize;
        if place >= self.0.len() {
            self.0.resize_with(place + 1, || None);
        }
        self.0[place] = Some(one);
    }

    pub(super) fn take(&mut self, number: u32) -> Option<T> {
        self.0.get_mut(number as usize)?.take()
    }

    /// One more than the highest number.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, place: usize) -> Option<&T> {
        self.0.get(place)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.0.get_mut(place)?.as_mut()
    }

    /// All with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..)
            .zip(&self.0)
            .filter_map(|(number, one)| Some((number, one.as_ref()?)))
    }
}

/// For those who know that it is there.
impl<T> Index<usize> for Table<T> {
    type Output = T;

    fn index(&self, place: usize) -> &T {
        self.get(place).expect("nobody at this number")
    }
}

impl<T> IndexMut<usize> for Table<T> {
    fn index_mut(&mut self, place: usize) -> &mut T {
        self.get_mut(place).expect("nobody at this number")
    }
}
