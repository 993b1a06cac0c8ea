//! What a service says of its own state and deadlines, without pulsing: sd_notify's words.
//!
//! None of these is a sign of life, and none holds beyond the life that said it.

use std::sync::Arc;
use std::time::Duration;

use super::memory::Said;
use super::state::State;
use super::{Now, Service, words};
use crate::event::{Action, EventKind, Generation};
use crate::level::Level;
use crate::policy::{IntervalSource, Policy, Watch};
use crate::time::Time;

impl Service {
    pub(super) fn said(&mut self) -> &mut Said {
        self.memory.said.get_or_insert_with(Box::default)
    }

    /// Its last probe did not fail, or was of an older life.
    pub(super) fn forget_refusal(&mut self) {
        if let Some(said) = &mut self.memory.said {
            said.refusal = None;
        }
    }

    /// What its last probe found wrong.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.memory.said.as_ref()?.refusal.as_deref()
    }

    /// What it said of its own deadlines is over with the life that said it.
    pub(super) fn unsay(&mut self) {
        if let Some(said) = &mut self.memory.said {
            said.interval = None;
            said.reloading = false;
            said.extended = Time(0);
            said.stop_by = None;
        }
        self.keep_promise();
    }

    /// Judges by the interval that it named in this life, else by its owner's, be it given or to
    /// be learnt.
    pub(super) fn keep_promise(&mut self) {
        let named = self.memory.said.as_ref().and_then(|said| said.interval);
        let judged_by_age = match self.owned.watch {
            Watch::Pulsing | Watch::External => true,
            Watch::Alive => false,
        };
        let owned = &self.owned;
        self.policy = match (named, self.learnt) {
            _ if !judged_by_age => Arc::clone(owned),
            (Some(interval), _) if owned.learns() || interval != owned.interval => {
                Arc::new(owned.with_interval(interval, IntervalSource::Announced))
            }
            (None, Some(interval)) if owned.learns() => {
                Arc::new(owned.with_interval(interval, IntervalSource::Learnt))
            }
            (None, None) if owned.learns() => Arc::new(owned.before_it_is_learnt()),
            (Some(_) | None, _) => Arc::clone(owned),
        };
    }

    /// [`Event::Learnt`](crate::Event::Learnt).
    pub(super) fn learn_interval(&mut self, interval: Duration, out: &mut Vec<Action>) {
        if !self.owned.learns() || self.learnt == Some(interval) {
            return;
        }
        let reason = match self.learnt.replace(interval) {
            None => format!("its interval is learnt: {}", words::span(interval)),
            Some(before) => format!(
                "its interval is learnt anew: {}, before that {}",
                words::span(interval),
                words::span(before)
            ),
        };
        self.keep_promise();
        self.tell(out, EventKind::Config, None, None, reason);
    }

    /// When its start's deadline is, if it asked for more time than it was given.
    pub(super) fn extended(&self) -> Time {
        self.memory
            .said
            .as_ref()
            .map_or(Time(0), |said| said.extended)
    }

    /// [`Event::Status`](crate::Event::Status).
    pub(super) fn status(&mut self, generation: Generation, message: String) {
        if self.is_present(generation) {
            self.said().message = (!message.is_empty()).then_some(message);
        }
    }

    /// [`Event::Reloading`](crate::Event::Reloading): it has as long as for a start.
    pub(super) fn reloading(&mut self, generation: Generation, now: &Now) {
        if self.is_present(generation) {
            self.said().reloading = true;
            self.silent_for(self.policy.start_grace, now);
        }
    }

    /// [`Event::Stopping`](crate::Event::Stopping): it has as long as for a stop.
    pub(super) fn stopping(&mut self, generation: Generation, now: &Now) {
        if self.is_present(generation) {
            self.silent_for(self.policy.stop_timeout, now);
        }
    }

    /// [`Event::Interval`](crate::Event::Interval).
    pub(super) fn promised(&mut self, generation: Generation, interval: Duration) {
        if self.is_present(generation) {
            self.said().interval = Some(interval.max(Policy::LEAST_INTERVAL));
            self.keep_promise();
        }
    }

    /// [`Event::Extend`](crate::Event::Extend).
    pub(super) fn extend(
        &mut self,
        generation: Generation,
        by: Duration,
        now: &Now,
        out: &mut Vec<Action>,
    ) {
        if !self.is_present(generation) {
            return;
        }
        let by = by.min(self.policy.max_busy);
        match self.memory.state {
            State::Stopping { .. } => self.extend_stop(generation, by, now, out),
            State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Starting { .. }
            | State::Running { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::External { .. }
            | State::Resumed { .. } => {
                let until = now.at.time + by;
                let said = self.said();
                said.extended = said.extended.max(until);
                self.silent_for(by, now);
            }
        }
    }

    /// Its stop may last longer, but a service that asks for more again and again is killed
    /// in the end.
    fn extend_stop(
        &mut self,
        generation: Generation,
        by: Duration,
        now: &Now,
        out: &mut Vec<Action>,
    ) {
        let first = now.at.time + self.policy.max_busy;
        let last = *self.said().stop_by.get_or_insert(first);
        let by = by.min(last.since(now.at.time));
        if by > Duration::ZERO {
            out.push(Action::Extend { generation, by });
        }
    }

    /// [`Event::MainPid`](crate::Event::MainPid).
    pub(super) fn main_pid(&mut self, generation: Generation, main: i32) {
        if !self.is_present(generation) {
            return;
        }
        match &mut self.memory.state {
            State::Starting { pid, .. } | State::Running { pid, .. } => *pid = Some(main),
            State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Stopping { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::External { .. }
            | State::Resumed { .. } => {}
        }
    }

    /// [`Event::Stuck`](crate::Event::Stuck): poked at once, though it was busy or idle.
    pub(super) fn hangs(
        &mut self,
        generation: Generation,
        why: &str,
        now: &Now,
        out: &mut Vec<Action>,
    ) {
        if !self.is_present(generation) || !self.is_judged() {
            return;
        }
        if std::mem::take(&mut self.memory.idle) {
            self.move_from(now.at.time);
        }
        self.end_busy(now);
        self.memory.stuck = true;
        self.tell(out, EventKind::Error, None, None, why.to_owned());
        self.raise(Level::Critical, why.to_owned());
    }

    /// A reload, if it said that it does one, is over.
    pub(super) fn reloaded(&mut self, now: &Now) {
        let said = self.memory.said.as_mut();
        if !said.is_some_and(|said| std::mem::take(&mut said.reloading)) {
            return;
        }
        match self.memory.state {
            State::Running { .. } | State::External { .. } => self.end_busy(now),
            State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Starting { .. }
            | State::Stopping { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::Resumed { .. } => {}
        }
    }

    fn silent_for(&mut self, time: Duration, now: &Now) {
        self.ask_busy(now.at.time + time);
    }
}
