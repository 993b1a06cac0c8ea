//! The machine of one service. (To be written: see the signatures.)

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::{Action, Event, Generation, Moment};
use crate::level::Level;
use crate::policy::Policy;
use crate::time::Time;
use crate::view::StateWord;

/// What stands around a decision: the time, our own excuses, and a throw of the dice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Now {
    /// When it is, on each clock.
    pub at: Moment,
    /// When we last came back from a stall or a restart: nobody is judged before one grace
    /// has passed since.
    pub amnesty: Time,
    /// A random number in 0..1, for jitter.
    pub roll: f64,
}

/// What a service must remember across our own death. Unknown fields are ignored and missing
/// ones take their default, so that older and newer states load.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Which life this is.
    pub generation: Generation,
    // …
}

/// One watched service.
#[derive(Debug)]
pub struct Service {
    policy: Arc<Policy>,
    memory: Memory,
}

impl Service {
    /// A service as it was remembered, or a new one. It does nothing before its first event.
    #[must_use]
    pub fn new(_policy: Arc<Policy>, _memory: Option<Memory>, _now: &Now) -> Self {
        todo!()
    }

    /// What follows from an event.
    #[must_use]
    pub fn on(&mut self, _event: Event, _now: &Now) -> Vec<Action> {
        todo!()
    }

    /// The fast path of plain pulses to a service that is well: a store. `false` if it is not
    /// that simple and [`Service::on`] must see the pulse.
    #[must_use]
    pub fn pulse(&mut self, _generation: Generation, _count: u32, _at: Moment) -> bool {
        todo!()
    }

    /// When to say [`Event::Tick`] next; [`Time::NEVER`] if time alone changes nothing.
    #[must_use]
    pub fn deadline(&self, _amnesty: Time) -> Time {
        todo!()
    }

    /// Its level.
    #[must_use]
    pub fn level(&self) -> Level {
        todo!()
    }

    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> StateWord {
        todo!()
    }

    /// What to write to disk.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Its policy.
    #[must_use]
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }
}
