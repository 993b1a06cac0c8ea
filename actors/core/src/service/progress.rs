//! Progress: a number that must move.
//!
//! A service that pulses may hang all the same. If its pulses carry a `cycle` or a `progress`
//! and its owner has given it a `progress_timeout`, one of these numbers must change within
//! that time. Which way does not matter, and where there are two it is enough that one of
//! them moves. A service that never named a number is not judged by it.
//!
//! The time runs from the last change. It begins anew with whatever gives the service a new
//! chance (a life, the end of a pause, its dependency's return), and when it is at work again
//! after it was idle. What it asks for as busy it is given on top, `max_busy` in all: a number
//! that stands still for longer is not excused by saying so again and again.

use serde::{Deserialize, Serialize};

use super::{Now, Service, words};
use crate::event::{Moment, Note};
use crate::stall::excused;
use crate::time::Time;

/// How its number moves.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Pace {
    /// When it changed last.
    pub(super) moved: Moment,
    /// From when on it must move again.
    judged: Time,
    /// Until when it was busy: that counts for nothing.
    excused: Time,
}

impl Service {
    /// Takes the numbers of what it says, received then.
    pub(super) fn count(&mut self, note: &Note, at: Moment) {
        let cycle = note.cycle;
        // A number that is none would differ from itself for ever.
        let progress = note.progress.filter(|progress| progress.is_finite());
        if cycle.is_none() && progress.is_none() {
            return;
        }
        let said = self.said();
        let moved = (cycle.is_some() && cycle != said.cycle)
            || (progress.is_some() && progress != said.progress);
        said.cycle = cycle.or(said.cycle);
        said.progress = progress.or(said.progress);
        if moved {
            said.pace = Some(Pace {
                moved: at,
                judged: at.time,
                excused: Time(0),
            });
        }
    }

    /// The numbers and figures of an older life say nothing of the next.
    pub(super) fn forget_numbers(&mut self) {
        if let Some(said) = &mut self.memory.said {
            said.cycle = None;
            said.progress = None;
            said.pace = None;
            said.metrics.clear();
        }
    }

    /// It has a new chance: from then on it must move again.
    pub(super) fn move_from(&mut self, time: Time) {
        if let Some(pace) = self.pace_mut() {
            pace.judged = pace.judged.max(time);
        }
    }

    /// The end of its busyness, in time or before.
    pub(super) fn end_busy(&mut self, now: &Now) {
        let until = std::mem::replace(&mut self.memory.busy_until, Time(0));
        if let Some(pace) = self.pace_mut() {
            pace.excused = pace.excused.max(until.min(now.at.time));
        }
    }

    /// It asks for silence until then; what it has already is not taken away.
    pub(super) fn ask_busy(&mut self, until: Time) {
        let until = match (self.pace(), self.policy.progress_timeout) {
            (Some(pace), Some(_)) => until.min(pace.judged + self.policy.max_busy),
            (None, _) | (_, None) => until,
        };
        self.memory.busy_until = self.memory.busy_until.max(until);
    }

    /// Whether time alone may find that its number stands still.
    pub(super) fn is_paced(&self) -> bool {
        self.still_deadline().is_some()
    }

    /// When its number must have moved; none where it need not.
    fn still_deadline(&self) -> Option<Time> {
        let timeout = self.policy.progress_timeout?;
        let pace = self.pace()?;
        if self.memory.idle || self.policy.on_demand {
            return None;
        }
        let from = pace.judged.max(pace.excused).max(self.memory.busy_until);
        Some(from + timeout)
    }

    /// The same after we have come back.
    pub(super) fn still_at(&self, amnesty: Time) -> Option<Time> {
        let deadline = self.still_deadline()?;
        Some(excused(deadline, amnesty, self.policy.grace))
    }

    /// Whether it hangs though it pulses.
    pub(super) fn stands_still(&self, now: &Now) -> bool {
        let at = self.still_at(now.amnesty);
        at.is_some_and(|at| now.at.time >= at)
    }

    /// `cycle has stood at 7 for 95 s, since 2026-01-02T18:30:00Z; it must move within 1m`.
    pub(super) fn still_sentence(&self, now: &Now) -> String {
        let (Some(said), Some(pace), Some(timeout)) =
            (&self.memory.said, self.pace(), self.policy.progress_timeout)
        else {
            return String::new();
        };
        words::still(
            said.cycle,
            said.progress,
            now.at.time.since(pace.moved.time),
            pace.moved.wall,
            timeout,
        )
    }

    fn pace(&self) -> Option<&Pace> {
        self.memory.said.as_ref()?.pace.as_ref()
    }

    fn pace_mut(&mut self) -> Option<&mut Pace> {
        self.memory.said.as_mut()?.pace.as_mut()
    }
}
