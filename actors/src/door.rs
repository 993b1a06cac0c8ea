//! What every thread shares of one watched service.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use supervisor_core::ServiceName;
use supervisor_core::time::Mono;

use crate::bell::Bell;
use crate::link::Address;
use crate::messages::ServiceId;
use crate::service::Service;
use crate::slot::{Folded, Slot};

/// The mailbox of a service's actor: what may wait there of what comes from outside. The
/// limit for what carries information is its own, see [`MAX_WAITING`].
pub(crate) const MAILBOX: usize = 64;

/// How many messages of one service that carry information may wait to be recorded.
const MAX_WAITING: u32 = 128;

/// Where signs of life of one service are handed in. It outlives the service's actor, so what
/// is in it when that one panics is found by the next.
pub(crate) struct Door {
    pub(crate) name: ServiceName,
    pub(crate) id: ServiceId,
    pub(crate) slot: Slot,
    pub(crate) address: Address<Service>,
    /// A `Pulse` of this service is in the supervisor's mailbox: until it is read, further
    /// ones stay in the slot. So a flood fills no mailbox, it only counts higher.
    pub(crate) under_way: AtomicBool,
    /// The present life, for what is said about one.
    pub(crate) generation: AtomicU32,
    /// It is no longer watched: nothing more is said of it.
    closed: AtomicBool,
    /// Runs of it are under way: then a success is more than a pulse.
    pub(crate) in_run: AtomicBool,
    /// Messages that wait to be read or recorded.
    waiting: AtomicU32,
    /// Messages refused because too many waited, over all services.
    refused: Arc<AtomicU64>,
    /// What its sources left out: datagrams, lines of output.
    pub(crate) lost_datagrams: AtomicU64,
    pub(crate) lost_lines: AtomicU64,
    bell: Arc<Bell>,
}

/// The place of one message among those that may wait; given back when it is dropped, so
/// that nothing is lost to a panic or a client who went away.
pub(crate) struct Permit(Arc<Door>);

impl Door {
    pub(crate) fn new(
        name: ServiceName,
        id: ServiceId,
        refused: Arc<AtomicU64>,
        bell: Arc<Bell>,
    ) -> Self {
        Self {
            name,
            id,
            slot: Slot::new(),
            address: Address::new(),
            under_way: AtomicBool::new(false),
            generation: AtomicU32::new(0),
            closed: AtomicBool::new(false),
            in_run: AtomicBool::new(false),
            waiting: AtomicU32::new(0),
            refused,
            lost_datagrams: AtomicU64::new(0),
            lost_lines: AtomicU64::new(0),
            bell,
        }
    }

    /// Takes a plain pulse from any thread.
    pub(crate) fn pulse(&self, at: Mono) {
        if self.slot.push(at) {
            self.bell.ring(self.id);
        }
    }

    /// Takes several that were received at once.
    pub(crate) fn pulses(&self, count: u32, at: Mono) {
        self.put_back(Folded {
            count,
            first: at,
            last: at,
        });
    }

    /// Takes pulses that could not be told.
    pub(crate) fn put_back(&self, pulses: Folded) {
        if self.slot.add(pulses) {
            self.bell.ring(self.id);
        }
    }

    /// From now on nothing more is said of it.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Whether it is no longer watched.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Whether a sign of life is known to be on its way to the supervisor.
    pub(crate) fn is_heard(&self) -> bool {
        !self.slot.is_empty() || self.under_way.load(Ordering::Relaxed)
    }

    /// Whether messages of this service wait, which a pulse in the slot would overtake.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// How many messages more may wait.
    pub(crate) fn room(&self) -> u32 {
        MAX_WAITING.saturating_sub(self.waiting.load(Ordering::Relaxed))
    }

    /// Counts a message that was refused.
    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Permit").field(&self.0.name).finish()
    }
}

impl Permit {
    /// A place for one message, if there is one.
    pub(crate) fn take(door: &Arc<Door>) -> Option<Self> {
        let permit = Self(Arc::clone(door));
        // The count goes up first and comes down with the permit, so two takers cannot both
        // get the last place.
        (door.waiting.fetch_add(1, Ordering::Relaxed) < MAX_WAITING).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let name = ServiceName::new("a").expect("a name");
        let door = Arc::new(Door::new(
            name,
            ServiceId(0),
            Arc::default(),
            Arc::default(),
        ));
        let mut permits: Vec<_> = (0..MAX_WAITING)
            .map(|_| Permit::take(&door).expect("a place"))
            .collect();
        assert!(Permit::take(&door).is_none());
        permits.pop();
        assert!(Permit::take(&door).is_some());
        drop(permits);
        assert_eq!(door.waiting.load(Ordering::Relaxed), 0);
    }
}
