//! The list of what is watched, by number, with the places of those that have left.
//!
//! ```text
//!   free ── add ──▶ taken ── leave ──▶ leaving ── left ──▶ left ── free ──▶ free
//!                                (its actor is told to end)  (it has ended)
//! ```
//!
//! A number is given out again only when nothing can speak of its last owner any more: the
//! actor of that one has ended, and the supervisor has read everything that it had said.

use std::collections::HashSet;
use std::rc::Rc;

use crate::messages::ServiceId;
use crate::spec::ServiceSpec;
use crate::world::Watched;

/// What is watched, whoever lives.
#[derive(Default)]
pub(crate) struct Roster {
    places: Vec<Option<Watched>>,
    /// Whose actors have not ended.
    leaving: HashSet<u32>,
    /// Whose actors have ended, and may have left something unread.
    left: Vec<u32>,
    free: Vec<u32>,
}

impl Roster {
    /// Takes one in; `None` if there is no number for it.
    pub(crate) fn add(&mut self, make: impl FnOnce(ServiceId) -> Watched) -> Option<ServiceId> {
        if let Some(number) = self.free.pop() {
            let id = ServiceId(number);
            self.places[number as usize] = Some(make(id));
            return Some(id);
        }
        let id = ServiceId(u32::try_from(self.places.len()).ok()?);
        self.places.push(Some(make(id)));
        Some(id)
    }

    /// Who has that number.
    pub(crate) fn get(&self, id: ServiceId) -> Option<&Watched> {
        self.places.get(id.0 as usize)?.as_ref()
    }

    /// All with their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Watched)> {
        (0..)
            .zip(&self.places)
            .filter_map(|(number, place)| Some((number, place.as_ref()?)))
    }

    /// One more than the highest number.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The same service by another description.
    pub(crate) fn respec(&mut self, id: ServiceId, spec: &Rc<ServiceSpec>) {
        if let Some(Some(watched)) = self.places.get_mut(id.0 as usize) {
            watched.spec = Rc::clone(spec);
        }
    }

    /// It is no longer watched. Its number is free when its actor has ended.
    pub(crate) fn leave(&mut self, id: ServiceId) {
        let place = self.places.get_mut(id.0 as usize);
        if place.and_then(Option::take).is_some() {
            self.leaving.insert(id.0);
        }
    }

    /// Its actor has ended; `false` if it was not about to.
    pub(crate) fn left(&mut self, id: ServiceId) -> bool {
        let leaving = self.leaving.remove(&id.0);
        if leaving {
            self.left.push(id.0);
        }
        leaving
    }

    /// All that it had said is read.
    pub(crate) fn free(&mut self, id: ServiceId) {
        if let Some(at) = self.left.iter().position(|left| *left == id.0) {
            self.left.swap_remove(at);
            self.free.push(id.0);
        }
    }

    /// Nothing that anybody had said before is left: the supervisor begins anew.
    pub(crate) fn begin(&mut self) {
        self.free.append(&mut self.left);
    }
}
