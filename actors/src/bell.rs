//! Wakes the actors' thread for plain pulses, but not for each.
//!
//! A message from another thread costs both threads a wake-up, more than all the rest of an
//! HTTP pulse together where hundreds of services pulse thousands of times a second. So a
//! pulse only puts its door on a list, and the first on the list rings. The thread answers at
//! once if it has had its rest; under a flood it comes once in [`REST`] and finds a batch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use crate::messages::ServiceId;

/// How often the thread comes at most: also the longest that a pulse waits to be told.
const REST: Duration = Duration::from_millis(1);

/// How many services are woken before they get their turn, and the supervisor its. What one
/// pulse touches is still near when the next actor on its way touches it.
const SOME: usize = 256;

/// The doors behind which pulses wait.
#[derive(Default)]
pub(crate) struct Bell {
    doors: Mutex<Vec<ServiceId>>,
    rung: Notify,
}

impl Bell {
    /// Says that pulses wait behind that door. From any thread; once for each drain of the
    /// door's slot, which bounds the list to one entry a service.
    pub(crate) fn ring(&self, door: ServiceId) {
        let first = {
            let mut doors = self.doors();
            doors.push(door);
            doors.len() == 1
        };
        if first {
            self.rung.notify_one();
        }
    }

    /// Answers for as long as the actors' system runs: has each of those services looked after.
    pub(crate) async fn answer(self: Arc<Self>, beat: impl Fn(ServiceId)) {
        let mut rested = Instant::now();
        let mut batch = Vec::new();
        loop {
            self.rung.notified().await;
            if Instant::now() < rested {
                sleep_until(rested).await;
            }
            std::mem::swap(&mut *self.doors(), &mut batch);
            for (n, door) in batch.drain(..).enumerate() {
                beat(door);
                if n % SOME == SOME - 1 {
                    yield_now().await;
                }
            }
            rested = Instant::now() + REST;
        }
    }

    fn doors(&self) -> MutexGuard<'_, Vec<ServiceId>> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tokio::task::LocalSet;
    use tokio::time::sleep;

    use super::*;

    #[test]
    fn the_first_pulse_is_answered_at_once_and_a_flood_in_batches() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        LocalSet::new().block_on(&runtime, async {
            let bell = Arc::new(Bell::default());
            let beaten: Rc<RefCell<Vec<ServiceId>>> = Rc::default();
            let list = Rc::clone(&beaten);
            let answer = Arc::clone(&bell).answer(move |door| list.borrow_mut().push(door));
            tokio::task::spawn_local(answer);
            yield_now().await;
            bell.ring(ServiceId(0));
            yield_now().await;
            assert_eq!(beaten.take(), [ServiceId(0)], "without any time passing");
            for n in 1..3 {
                bell.ring(ServiceId(n));
            }
            yield_now().await;
            assert_eq!(beaten.take(), [], "the thread rests");
            sleep(REST).await;
            yield_now().await;
            assert_eq!(beaten.take(), [ServiceId(1), ServiceId(2)]);
        });
    }

    #[test]
    fn others_get_their_turn_between_two_parts_of_a_flood() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        LocalSet::new().block_on(&runtime, async {
            let count = u32::try_from(3 * SOME).expect("a small number");
            let bell = Arc::new(Bell::default());
            (0..count).for_each(|n| bell.ring(ServiceId(n)));
            let beaten: Rc<RefCell<Vec<ServiceId>>> = Rc::default();
            let list = Rc::clone(&beaten);
            let answer = bell.answer(move |door| list.borrow_mut().push(door));
            tokio::task::spawn_local(answer);
            let mut parts = Vec::new();
            while parts.iter().sum::<usize>() < 3 * SOME {
                yield_now().await;
                parts.push(beaten.take().len());
            }
            parts.retain(|beaten| *beaten > 0);
            assert_eq!(parts, [SOME; 3]);
        });
    }
}
