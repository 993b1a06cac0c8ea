//! What cannot be looked at is not nothing: as long as it is not known what lives of a service
//! (descriptors are used up, a disk is sick), that is said, and looked at again and again.

use std::io;
use std::time::Duration;

use supervisor_actors::ports::{ProcessEvent, ProcessSink};

/// Between two looks, from the first one on.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Whether it can be seen what lives of a service.
pub(super) struct Doubt {
    sink: ProcessSink,
    pause: Duration,
    /// What was said last.
    said: Option<String>,
}

impl Doubt {
    /// None yet.
    pub(super) fn new(sink: ProcessSink) -> Self {
        Self {
            sink,
            pause: FIRST_PAUSE,
            said: None,
        }
    }

    /// Looks until there is an answer. May be dropped at any time.
    pub(super) async fn ask<T>(&mut self, mut look: impl FnMut() -> io::Result<T>) -> T {
        loop {
            match look() {
                Ok(answer) => return answer,
                Err(error) => self.of(&error).await,
            }
        }
    }

    /// Says why there is no answer, unless it is known already, and lets some time pass.
    pub(super) async fn of(&mut self, error: &io::Error) {
        let why = format!("cannot see what lives of it, so it is left as it is: {error}");
        // Once each: errors that come by turns would be said for ever.
        if self.said.is_none() {
            self.said = Some(why.clone());
            (self.sink)(ProcessEvent::Unclear(Some(why)));
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

impl Drop for Doubt {
    fn drop(&mut self) {
        if self.said.is_some() {
            (self.sink)(ProcessEvent::Unclear(None));
        }
    }
}
