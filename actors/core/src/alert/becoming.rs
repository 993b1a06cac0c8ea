//! What becomes of one alert: its level, its phase, and when it is due.

use std::time::Duration;

use super::{Action, Alert, Phase, Policy};
use crate::event::Moment;
use crate::level::Level;
use crate::time::Time;

/// The levels that an alert can have, the mildest first.
const BAD: [Level; 3] = [Level::Warning, Level::Degraded, Level::Critical];

impl Alert {
    /// Takes a new level and reason.
    pub(super) fn becomes(&mut self, level: Level, reason: String, at: Moment) {
        self.level = level;
        self.worst = self.worst.max(level);
        if level >= Level::Warning {
            self.clock.well = None;
            self.reason = self.with_what_was_done(reason);
        } else {
            // It keeps the reason for which it was opened.
            self.clock.well.get_or_insert(at.time);
        }
        for (reached, step) in self.clock.reached.iter_mut().zip(BAD) {
            if level >= step {
                reached.get_or_insert(at.time);
            } else {
                *reached = None;
            }
        }
    }

    /// `no pulse for 95 s, expected every 30 s; poked at 14:02:10, restarted twice since`.
    fn with_what_was_done(&self, mut reason: String) -> String {
        if self.again > 0 {
            let since = self.opened.rfc3339();
            let times = times(self.again.saturating_add(1));
            let clock = since.get(11..19).unwrap_or(&since);
            reason.push_str(&format!("; {times} since {clock}"));
        }
        if let Some(poked) = self.poked {
            let clock = poked.rfc3339();
            reason.push_str("; poked at ");
            reason.push_str(clock.get(11..19).unwrap_or(&clock));
        }
        if self.restarts == 0 {
            return reason;
        }
        let link = if self.poked.is_some() { ", " } else { "; " };
        reason.push_str(link);
        reason.push_str("restarted ");
        reason.push_str(&times(self.restarts));
        reason.push_str(" since");
        reason
    }

    /// Goes into another phase, and has that told.
    pub(super) fn turn(&mut self, to: Phase, reason: String, out: &mut Vec<Action>) {
        let from = std::mem::replace(&mut self.phase, to);
        if from != to {
            out.push(Action::Tell {
                id: self.id,
                subject: self.subject.clone(),
                from: Some(from),
                to,
                level: self.level,
                reason,
            });
        }
    }

    /// When a step is to be taken, as things are; never for one that was.
    pub(super) fn step_due(&self, n: usize, level: Level, after: Duration) -> Time {
        let taken = n >= Policy::MOST_STEPS || self.clock.steps & (1 << n) != 0;
        let waits = match self.phase {
            Phase::Firing => false,
            Phase::Acknowledged | Phase::Pending | Phase::Resolved => true,
        };
        let reached = BAD
            .iter()
            .position(|bad| *bad == level)
            .and_then(|index| self.clock.reached[index]);
        match (reached, self.clock.fired) {
            (Some(reached), Some(fired)) if !taken && !waits => reached.max(fired) + after,
            _ => Time::NEVER,
        }
    }

    /// When it is to be told again; never unless it is critical and nobody has taken it.
    pub(super) fn repeat_due(&self, policy: &Policy) -> Time {
        let repeats = self.phase == Phase::Firing && self.level == Level::Critical;
        match self.clock.told {
            Some(told) if repeats => told + policy.repeat_of(&self.subject),
            _ => Time::NEVER,
        }
    }
}

fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    }
}
