//! The services by number, with gaps where somebody has left.

use std::ops::{Index, IndexMut};

/// What is known of each service, at its number.
#[derive(Debug)]
pub(super) struct Table<T> {
    places: Vec<Option<T>>,
    /// How many are not gaps.
    count: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            count: 0,
        }
    }
}

impl<T> Table<T> {
    pub(super) fn reserve(&mut self, count: usize) {
        self.places.reserve_exact(count);
    }

    pub(super) fn put(&mut self, number: u32, one: T) {
        let place = number as usize;
        if place >= self.places.len() {
            self.places.resize_with(place + 1, || None);
        }
        let before = self.places[place].replace(one);
        self.count += usize::from(before.is_none());
    }

    pub(super) fn take(&mut self, number: u32) -> Option<T> {
        let taken = self.places.get_mut(number as usize)?.take();
        self.count -= usize::from(taken.is_some());
        taken
    }

    /// One more than the highest number.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn get(&self, place: usize) -> Option<&T> {
        self.places.get(place)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.places.get_mut(place)?.as_mut()
    }

    /// All with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..)
            .zip(&self.places)
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
