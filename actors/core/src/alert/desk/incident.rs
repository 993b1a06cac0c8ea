//! The way of one incident: it fires, is told further, is resolved.

use super::Desk;
use crate::alert::{
    Action, Alert, AlertId, Hold, Notice, NoticeKind, Phase, Policy, SinkName, Subject,
};
use crate::event::Moment;
use crate::level::Level;
use crate::time::Time;

impl Desk {
    /// Decides whatever is due of one alert, and when to look again.
    pub(super) fn look(&mut self, id: AlertId, at: Moment, out: &mut Vec<Action>) {
        let hold = self.hold_of(id, at.time);
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        let alert = &mut open.alert;
        if let Some(well) = alert.clock.well {
            if at.time >= well + self.policy.well_for(alert.flaps) {
                self.resolve(id, "well again", at, out);
            } else {
                self.schedule(id);
            }
            return;
        }
        if alert.hold != hold {
            if hold.is_none() {
                // What the hold was for may just be ending, too.
                alert.clock.pending = at.time;
            }
            alert.hold = hold;
            self.touched.insert(id);
        }
        if alert.hold.is_none() && open.seen {
            if alert.phase == Phase::Pending && at.time >= self.fires_at(id) {
                self.fire(id, at, out);
            }
            self.escalate(id, at, out);
        }
        self.schedule(id);
    }

    /// The rule that keeps an alert silent now.
    pub(super) fn hold_of(&self, id: AlertId, now: Time) -> Option<Hold> {
        let open = self.open.get(&id)?;
        if let Some(Hold::Storm { alert }) = &open.alert.hold {
            return Some(Hold::Storm { alert: *alert });
        }
        if open.hold.is_some() {
            return open.hold.clone();
        }
        let Subject::Service(service) = &open.alert.subject else {
            return None;
        };
        let covering = self
            .silences
            .values()
            .filter(|silence| silence.ends > now && silence.covers(service, &open.tags));
        let longest = covering.max_by_key(|silence| silence.ends)?;
        Some(Hold::Silenced {
            by: longest.id,
            until: longest.until,
        })
    }

    pub(super) fn fires_at(&self, id: AlertId) -> Time {
        match self.open.get(&id) {
            Some(open) => open.alert.clock.pending + self.policy.group_wait,
            None => Time::NEVER,
        }
    }

    pub(super) fn fire(&mut self, id: AlertId, at: Moment, out: &mut Vec<Action>) {
        if self.is_absorbed(id, at, out) {
            return;
        }
        if let Some(open) = self.open.get_mut(&id) {
            open.alert.clock.fired = Some(at.time);
            let reason = open.alert.reason.clone();
            open.alert.turn(Phase::Firing, reason, out);
            self.touched.insert(id);
        }
    }

    /// Takes the steps that are due, or repeats what was told.
    pub(super) fn escalate(&mut self, id: AlertId, at: Moment, out: &mut Vec<Action>) {
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        let mut to = Vec::new();
        for (n, step) in self.policy.steps.iter().enumerate() {
            if open.alert.step_due(n, step.level, step.after) <= at.time {
                open.alert.clock.steps |= 1 << n;
                self.touched.insert(id);
                to.extend(self.policy.sinks_of(step, &open.alert.subject));
            }
        }
        let kind = if open.alert.told.is_empty() {
            NoticeKind::Firing
        } else {
            NoticeKind::Escalated
        };
        if !to.is_empty() {
            self.send(id, kind, to, at, out);
        } else if open.alert.repeat_due(&self.policy) <= at.time {
            let told = open.alert.told.clone();
            self.send(id, NoticeKind::Repeated, told, at, out);
        }
    }

    pub(super) fn send(
        &mut self,
        id: AlertId,
        kind: NoticeKind,
        to: Vec<SinkName>,
        at: Moment,
        out: &mut Vec<Action>,
    ) {
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        let alert = &mut open.alert;
        let mut unique: Vec<SinkName> = Vec::new();
        for sink in to {
            let itself = matches!(&alert.subject, Subject::Sink(name) if *name == sink);
            if !itself && !unique.contains(&sink) {
                unique.push(sink);
            }
        }
        if unique.is_empty() {
            return;
        }
        alert.serial += 1;
        alert.clock.told = Some(at.time);
        for sink in &unique {
            if !alert.told.contains(sink) {
                alert.told.push(sink.clone());
            }
        }
        self.touched.insert(id);
        out.push(Action::Send(Box::new(Notice {
            kind,
            alert: alert.clone(),
            to: unique,
        })));
    }

    pub(super) fn resolve(&mut self, id: AlertId, why: &str, at: Moment, out: &mut Vec<Action>) {
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        let storm = match open.alert.hold {
            Some(Hold::Storm { alert }) => Some(alert),
            Some(
                Hold::Paused { .. }
                | Hold::Maintenance { .. }
                | Hold::Dependency { .. }
                | Hold::Silenced { .. }
                | Hold::Misses,
            )
            | None => None,
        };
        open.alert.closed = Some(at.wall);
        open.alert.turn(Phase::Resolved, why.to_owned(), out);
        // Whoever was told of the fire is told of its end, also under a silence.
        if self.policy.resolved {
            let told = open.alert.told.clone();
            self.send(id, NoticeKind::Resolved, told, at, out);
        }
        if let Some(open) = self.open.remove(&id) {
            self.due.remove(&(open.due, id));
            self.by_subject.remove(&open.alert.subject);
            self.touched.remove(&id);
            self.remember_end(&open.alert, at.time);
            out.push(Action::Save(Box::new(open.alert)));
        }
        if let Some(storm) = storm {
            let more = self.members_of(storm).next().is_some();
            if !more {
                if let Some(open) = self.open.get_mut(&storm) {
                    open.alert.level = Level::Healthy;
                }
                self.resolve(storm, "all of them are well again", at, out);
            }
        }
    }

    /// An end that somebody was told of: if it goes bad again soon, it flaps.
    pub(super) fn remember_end(&mut self, alert: &Alert, now: Time) {
        if self.ended.len() == self.ended.capacity() {
            // Only then: thousands may end together.
            self.ended
                .retain(|_, (then, _)| now.since(*then) < Policy::CALM);
        }
        if let Subject::Service(name) = &alert.subject
            && !alert.told.is_empty()
        {
            self.ended.insert(name.clone(), (now, alert.flaps + 1));
        }
    }

    pub(super) fn flaps_of(&self, subject: &Subject, now: Time) -> u32 {
        let Subject::Service(name) = subject else {
            return 0;
        };
        match self.ended.get(name) {
            Some((then, flaps)) if now.since(*then) < Policy::CALM => *flaps,
            Some(_) | None => 0,
        }
    }

    /// What was taken at a milder level is news again.
    pub(super) fn again_if_worse(&mut self, id: AlertId, out: &mut Vec<Action>) {
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        let alert = &mut open.alert;
        let taken = alert.acknowledged.as_ref().map(|taken| taken.level);
        if taken.is_some_and(|taken| alert.level > taken) {
            alert.acknowledged = None;
            let reason = alert.reason.clone();
            let phase = match alert.clock.fired {
                Some(_) => Phase::Firing,
                None => Phase::Pending,
            };
            alert.turn(phase, reason, out);
        }
    }
}
