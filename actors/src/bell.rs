//! Wakes the actors' thread for plain pulses, but not for each.
//!
//! A message from another thread costs both threads a wake-up, more than all the rest of an
//! HTTP pulse together where hundreds of services pulse thousands of times a second. So a
//! pulse only puts its door on a list, and the first on the list rings. The thread answers at
//! once if it has had its rest; under a flood it comes once in [`REST`] and finds a batch.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::door::Door;

/// How often the thread comes at most: also the longest that a pulse waits to be told.
const REST: Duration = Duration::from_millis(1);

/// The doors behind which pulses wait.
#[derive(Default)]
pub(crate) struct Bell {
    doors: Mutex<Vec<Arc<Door>>>,
    rung: Notify,
}

impl Bell {
    /// Says that pulses wait behind that door. From any thread; once for each drain of the
    /// door's slot, which bounds the list to one entry a service.
    pub(crate) fn ring(&self, door: &Arc<Door>) {
        let first = {
            let mut doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
            doors.push(Arc::clone(door));
            doors.len() == 1
        };
        if first {
            self.rung.notify_one();
        }
    }

    /// Answers for as long as the actors' system runs.
    pub(crate) async fn answer(self: Arc<Self>) {
        let mut rested = Instant::now();
        loop {
            self.rung.notified().await;
            if Instant::now() < rested {
                sleep_until(rested).await;
            }
            for door in self.take() {
                door.beat();
            }
            rested = Instant::now() + REST;
        }
    }

    fn take(&self) -> Vec<Arc<Door>> {
        std::mem::take(&mut *self.doors.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use supervisor_core::ServiceName;
    use supervisor_core::time::Mono;
    use tokio::time::sleep;

    use super::*;
    use crate::messages::ServiceId;

    fn waiting(bell: &Bell) -> usize {
        bell.doors.lock().expect("a list").len()
    }

    #[test]
    fn the_first_pulse_is_answered_at_once_and_a_flood_in_batches() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let bell = Arc::new(Bell::default());
            let doors: Vec<_> = (0..3)
                .map(|n| {
                    let name = ServiceName::new(&format!("s{n}")).expect("a name");
                    Arc::new(Door::new(
                        name,
                        ServiceId(n),
                        Arc::default(),
                        Arc::clone(&bell),
                    ))
                })
                .collect();
            tokio::spawn(Arc::clone(&bell).answer());
            tokio::task::yield_now().await;
            doors[0].pulse(Mono(1));
            assert_eq!(waiting(&bell), 1);
            tokio::task::yield_now().await;
            assert_eq!(waiting(&bell), 0, "answered without any time passing");
            for door in &doors[1..] {
                door.pulse(Mono(2));
                door.pulse(Mono(3));
            }
            tokio::task::yield_now().await;
            assert_eq!(waiting(&bell), 2, "each door once, and the thread rests");
            sleep(REST).await;
            tokio::task::yield_now().await;
            assert_eq!(waiting(&bell), 0);
        });
    }
}
