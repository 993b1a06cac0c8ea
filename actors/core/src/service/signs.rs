//! Signs of life and of trouble: pulses, errors, failed probes.

use super::state::State;
use super::{Now, Service};
use crate::event::{Action, EventKind, Generation, Moment, Note, PulseState};
use crate::level::Level;
use crate::policy::{Ready, Watch};

/// Who gives a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// The service.
    Own,
    /// A probe of ours.
    Probe,
}

impl Service {
    /// Whether a fact about that generation is one about the present life.
    pub(super) fn is_present(&self, generation: Generation) -> bool {
        self.policy.watch == Watch::External || generation == self.memory.generation
    }

    /// [`Event::Pulse`](crate::Event::Pulse).
    pub(super) fn pulsed(
        &mut self,
        generation: Generation,
        count: u32,
        note: Option<Box<Note>>,
        now: &Now,
        out: &mut Vec<Action>,
    ) {
        // Received is received: what it proves is another matter.
        self.memory.total_pulses = self.memory.total_pulses.saturating_add(u64::from(count));
        if !self.is_present(generation) {
            return;
        }
        self.seen(now.at);
        if !self.hear(Sign::Own, now, out) {
            return;
        }
        let state = note.as_ref().and_then(|note| note.state);
        let (idle, stuck) = match state {
            None | Some(PulseState::Working | PulseState::Exiting) => (false, false),
            Some(PulseState::Idle) => (true, false),
            Some(PulseState::Stuck) => (false, true),
        };
        if std::mem::replace(&mut self.memory.idle, idle) {
            self.move_from(now.at.time);
        }
        self.memory.stuck = stuck;
        self.end_busy(now);
        if let Some(note) = note {
            self.note(*note, now.at, now);
        }
        if stuck {
            self.raise(Level::Critical, "it says that it is stuck".to_owned());
            return;
        }
        if self.stands_still(now) {
            // It lives, and that is all: no clean pulse.
            return;
        }
        self.memory.reported = 0;
        self.clean(count);
    }

    /// Clean pulses, unless its probes fail: whoever pulses may still not answer anybody.
    fn clean(&mut self, count: u32) {
        if self.memory.probes > 0 {
            return;
        }
        self.memory.clean = self.memory.clean.saturating_add(count);
        self.lift_if_clean();
    }

    /// Enough clean pulses lift what was held against it, once its start is known.
    pub(super) fn lift_if_clean(&mut self) {
        let executing = matches!(self.memory.state, State::Starting { pid: None, .. });
        if !executing && self.memory.clean >= self.policy.recover_after {
            self.lift();
        }
    }

    /// Whether a first sign of life of that kind makes it ready, and what that is called.
    pub(super) fn ready_by_sign(&self, sign: Sign) -> Option<&'static str> {
        match (self.policy.ready, sign) {
            (Ready::Pulse, Sign::Own | Sign::Probe) => Some("its first pulse"),
            (Ready::Probe, Sign::Probe) => Some("its first successful probe"),
            (Ready::Probe, Sign::Own)
            | (Ready::Notify | Ready::Running, Sign::Own | Sign::Probe) => None,
        }
    }

    /// [`Event::ProbePassed`](crate::Event::ProbePassed).
    pub(super) fn probe_passed(
        &mut self,
        generation: Generation,
        now: &Now,
        out: &mut Vec<Action>,
    ) {
        self.memory.total_pulses = self.memory.total_pulses.saturating_add(1);
        if !self.is_present(generation) {
            return;
        }
        self.seen(now.at);
        if !self.hear(Sign::Probe, now, out) {
            return;
        }
        self.memory.probes = 0;
        self.forget_refusal();
        if self.memory.stuck || self.stands_still(now) {
            return;
        }
        self.memory.reported = 0;
        self.clean(1);
    }

    /// [`Event::Sighted`](crate::Event::Sighted): its age is what counts. It lifts nothing,
    /// for nobody knows what came after it.
    pub(super) fn sighted(
        &mut self,
        generation: Generation,
        at: Moment,
        note: Option<Box<Note>>,
        now: &Now,
        out: &mut Vec<Action>,
    ) {
        if !self.is_present(generation) {
            return;
        }
        match self.memory.state {
            State::External { heard: false } => {
                // Nobody had heard of it, so it is judged from then on, not from our beginning.
                self.memory.since = self.memory.since.min(at.time);
            }
            State::Starting { .. }
            | State::Running { .. }
            | State::External { heard: true }
            | State::Resumed { plan: None, .. } => {}
            State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Stopping { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::Resumed { plan: Some(_), .. } => return,
        }
        let known = self.memory.last.is_some_and(|last| last.time >= at.time);
        if known || !self.hear(Sign::Own, now, out) {
            return;
        }
        self.seen(at);
        let state = note.as_ref().and_then(|note| note.state);
        self.memory.idle = state == Some(PulseState::Idle);
        self.memory.stuck = state == Some(PulseState::Stuck);
        if let Some(note) = note {
            self.note(*note, at, now);
        }
        if self.memory.stuck {
            self.raise(Level::Critical, "it says that it is stuck".to_owned());
        }
    }

    /// Whether a pulse of the present generation comes from a life that it can prove anything
    /// about; makes that life ready where it is what readiness waits for.
    fn hear(&mut self, sign: Sign, now: &Now, out: &mut Vec<Action>) -> bool {
        match &mut self.memory.state {
            State::Starting { pid, heard } => {
                *heard = true;
                // It may pulse before we hear of its start: ready then, when we do.
                if let Some(pid) = *pid
                    && let Some(why) = self.ready_by_sign(sign)
                {
                    self.ready_now(Some(pid), true, why, out);
                }
                true
            }
            State::Running { heard, .. } | State::External { heard } => {
                *heard = true;
                true
            }
            State::Resumed {
                heard, plan: None, ..
            } => {
                *heard = true;
                true
            }
            // Somebody else brought it back before our turn came.
            State::Backoff { .. } | State::Quarantined { .. }
                if self.policy.watch == Watch::External =>
            {
                self.cancel_planned();
                self.new_chance(now);
                self.memory.state = State::External { heard: true };
                true
            }
            State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Stopping { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::Resumed { .. } => false,
        }
    }

    /// The last sign of life moves on; what was received earlier does not move it back.
    pub(super) fn seen(&mut self, at: Moment) {
        if self.memory.last.is_none_or(|last| last.time <= at.time) {
            self.memory.last = Some(at);
        }
    }

    /// Takes what it says, received then.
    fn note(&mut self, note: Note, at: Moment, now: &Now) {
        self.count(&note, at);
        let Note {
            state: _,
            message,
            cycle: _,
            progress: _,
            busy_for,
            metrics,
        } = note;
        if let Some(busy_for) = busy_for {
            self.ask_busy(now.at.time + busy_for.min(self.policy.max_busy));
        }
        if message.is_some() {
            self.said().message = message;
        }
        for (name, value) in metrics {
            self.said().metrics.take(&name, value, at);
        }
    }

    /// [`Event::Error`](crate::Event::Error): a sign of life, too, but not a clean one.
    pub(super) fn erred(
        &mut self,
        generation: Generation,
        message: &str,
        critical: bool,
        now: &Now,
        out: &mut Vec<Action>,
    ) {
        self.memory.error_count = self.memory.error_count.saturating_add(1);
        let text = if message.is_empty() {
            "an error without a message"
        } else {
            message
        };
        self.tell(out, EventKind::Error, None, None, text.to_owned());
        if !self.is_present(generation) {
            return;
        }
        self.seen(now.at);
        if !self.is_judged() {
            return;
        }
        self.memory.reported = self.memory.reported.saturating_add(1);
        self.trouble(text, critical, now);
    }

    /// [`Event::ProbeFailed`](crate::Event::ProbeFailed): no sign of life.
    pub(super) fn probe_failed(
        &mut self,
        generation: Generation,
        reason: &str,
        passed_before: bool,
        now: &Now,
        out: &mut Vec<Action>,
    ) {
        if !self.is_present(generation) || !self.is_judged() {
            return;
        }
        self.said().refusal = Some(reason.into());
        // A start has one deadline. Until then, or until it has answered once, nobody knows
        // whether it does not answer any more or not yet.
        if !passed_before && now.at.time < self.start_deadline(now.amnesty) {
            return;
        }
        self.memory.error_count = self.memory.error_count.saturating_add(1);
        self.memory.probes = self.memory.probes.saturating_add(1);
        let text = format!("probe failed: {reason}");
        // A probe may fail every few seconds for days: the first of a row is an event, what
        // it comes to is told by levels.
        if self.memory.probes == 1 {
            self.tell(out, EventKind::Error, None, None, text.clone());
        }
        self.trouble(&text, false, now);
    }

    fn trouble(&mut self, text: &str, critical: bool, now: &Now) {
        if self.policy.watch == Watch::Alive && matches!(self.memory.state, State::Running { .. }) {
            // Its life without trouble begins anew.
            self.memory.since = now.at.time;
        }
        let errors = self.errors();
        if critical {
            self.raise(Level::Critical, format!("a critical error: {text}"));
            return;
        }
        let level = self.policy.thresholds.level_by_count(errors);
        let reason = match errors {
            0 | 1 => text.to_owned(),
            n if n == self.memory.probes => self.probes_sentence(),
            n => format!("{n} errors in a row, the last: {text}"),
        };
        self.raise(level, reason);
    }

    /// Whether trouble of the present generation counts: not between two lives.
    pub(super) fn is_judged(&self) -> bool {
        match &self.memory.state {
            State::Starting { .. } | State::Running { .. } | State::External { .. } => true,
            State::Resumed { plan, .. } => plan.is_none(),
            State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Stopping { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. } => false,
        }
    }
}
