//! What is told: log lines, the history, memories, the heartbeat file.

use super::*;

use supervisor_core::beats::Beat;
use supervisor_core::event::{Change, Generation};
use supervisor_core::run::Run;

use crate::messages::{NewEvent, NewRun, Patrol};

use super::roll::Row;

/// Logs at a level that is known only now: slog's own levels are part of the place in the code.
macro_rules! at_grade {
    ($log:expr, $grade:expr, $($record:tt)*) => {
        match $grade {
            slog::Level::Critical | slog::Level::Error => slog::error!($log, $($record)*),
            slog::Level::Warning => slog::warn!($log, $($record)*),
            slog::Level::Info | slog::Level::Debug | slog::Level::Trace => {
                slog::info!($log, $($record)*);
            }
        }
    };
}

/// How many memories are written out at one turn: more would hold up deadlines.
const SOME: usize = 256;

impl Supervisor {
    /// Records and logs what a machine decided; `before` is the life that the event found.
    pub(super) fn tell(&mut self, id: u32, change: Change, before: Generation, at: Moment) {
        let Some(entry) = self.entries.get(id as usize) else {
            return;
        };
        let begins = change.from == Some(Level::Unknown.as_str()) && change.level == Level::Healthy;
        if entry.spec.name.is_internal() && change.kind == EventKind::Level && begins {
            // That our own actors begin is no news.
            return;
        }
        self.log_change(id, &change, before);
        let Some(entry) = self.entries.get(id as usize) else {
            return;
        };
        if change.kind == EventKind::Poked {
            self.poked = Some(format!("poke {}", entry.spec.name));
        }
        self.outbox.events.push(NewEvent {
            time: at.wall,
            service: entry.spec.name.clone(),
            change,
        });
        self.urgent.push(id);
    }

    /// Records a run.
    pub(super) fn record(&mut self, id: u32, run: Box<Run>) {
        if let Some(entry) = self.entries.get(id as usize) {
            let service = entry.spec.name.clone();
            self.outbox.runs.push(NewRun { service, run });
            self.urgent.push(id);
        }
    }

    /// Records what happened to us ourselves.
    pub(super) fn tell_of_us(&mut self, subject: Subject, reason: String, level: Level) {
        self.outbox.events.push(NewEvent {
            time: self.present.wall,
            service: internal::name(subject),
            change: Change {
                kind: EventKind::Supervisor,
                from: None,
                to: None,
                reason,
                level,
            },
        });
    }

    fn log_change(&mut self, id: u32, change: &Change, before: Generation) {
        let now = self.now_for(id);
        let Some(entry) = self.entries.get(id as usize) else {
            return;
        };
        let log = &self.guard.world().log;
        let name = &entry.spec.name;
        if change.kind == EventKind::Level {
            let (from, to) = (change.from.unwrap_or(""), change.to.unwrap_or(""));
            let view = entry.view(&now);
            let grade = if rank(from) < change.level {
                grade(change.level)
            } else {
                slog::Level::Info
            };
            if view.missed == 0 {
                // Not by age: what the age was is beside the point.
                at_grade!(log, grade, "service {name} heartbeat: {from} → {to}";
                    "reason" => &change.reason);
            } else {
                let limit = entry.service.policy().thresholds.age_beyond(rank(from));
                at_grade!(log, grade, "service {name} heartbeat: {from} → {to}";
                    "missed" => view.missed, "age_s" => view.age,
                    "limit_s" => limit.map(|limit| limit.as_secs_f64()),
                    "reason" => &change.reason);
            }
            return;
        }
        let grade = match change.kind {
            EventKind::Quarantined => slog::Level::Error,
            EventKind::Poked | EventKind::Nudged | EventKind::Restarted | EventKind::Error => {
                slog::Level::Warning
            }
            EventKind::Exited if change.level > Level::Healthy => slog::Level::Warning,
            EventKind::Level
            | EventKind::Started
            | EventKind::Ready
            | EventKind::Exited
            | EventKind::Cleared
            | EventKind::Paused
            | EventKind::Resumed
            | EventKind::Adopted
            | EventKind::Config
            | EventKind::Sync
            | EventKind::Alert
            | EventKind::Supervisor => slog::Level::Info,
        };
        let generation = match change.kind {
            EventKind::Exited => before,
            EventKind::Level
            | EventKind::Started
            | EventKind::Ready
            | EventKind::Poked
            | EventKind::Nudged
            | EventKind::Restarted
            | EventKind::Quarantined
            | EventKind::Cleared
            | EventKind::Paused
            | EventKind::Resumed
            | EventKind::Error
            | EventKind::Adopted
            | EventKind::Config
            | EventKind::Sync
            | EventKind::Alert
            | EventKind::Supervisor => entry.service.generation(),
        };
        let what = change.kind.as_str();
        match (change.kind, change.to) {
            (EventKind::Restarted, Some(kind)) => {
                at_grade!(log, grade, "service {name} {what}"; "kind" => kind,
                    "generation" => generation.0, "reason" => &change.reason);
            }
            _ => at_grade!(log, grade, "service {name} {what}";
                "generation" => generation.0, "reason" => &change.reason),
        }
    }

    // --- memories ---

    /// A service's memory has changed; it is written within a second.
    pub(super) fn mark_dirty(&mut self, id: u32) {
        if let Some(listed) = self.listed.get_mut(id as usize)
            && !std::mem::replace(listed, true)
        {
            self.dirty.push(id);
        }
    }

    /// Marks every memory to be written anew.
    pub(super) fn mark_all_dirty(&mut self) {
        for id in 0..self.entries.len() as u32 {
            self.mark_dirty(id);
        }
    }

    /// Puts some of the memories that wait into the outbox.
    pub(super) fn write_some(&mut self) {
        let kept = self.writing.len().saturating_sub(SOME);
        self.urgent.extend(self.writing.drain(kept..));
    }

    /// Puts all of them there.
    pub(super) fn write_all(&mut self) {
        self.urgent.append(&mut self.writing);
        self.urgent.append(&mut self.dirty);
    }

    /// Sends the outbox, each memory in it once. Whoever waits for an acknowledgement waits for
    /// the commit of just this.
    pub(super) fn send(&mut self) {
        self.tell_concerns();
        // Runs and memories come with something urgent.
        let nothing = self.urgent.is_empty()
            && self.outbox.events.is_empty()
            && self.outbox.forget.is_empty()
            && self.outbox.acks.is_empty();
        if nothing {
            return;
        }
        let registered = Rc::clone(self.guard.world());
        let registered = registered.registered.borrow();
        self.urgent.sort_unstable();
        self.urgent.dedup();
        let mut urgent = std::mem::take(&mut self.urgent);
        for id in urgent.drain(..) {
            self.catch_up(id);
            let Some(entry) = self.entries.get(id as usize) else {
                continue;
            };
            // It may be listed still; being written once more then does no harm.
            self.listed[id as usize] = false;
            let row = Row {
                memory: entry.service.memory(),
                rhythm: entry.kept(),
                registered: registered.get(&entry.spec.name),
            };
            match serde_json::to_string(&row) {
                Ok(memory) => self.outbox.memories.push((entry.spec.name.clone(), memory)),
                // Cannot be: keys are strings, numbers finite. If it is, the old memory stays.
                Err(why) => error!(self.guard.world().log, "memory cannot be written as JSON";
                    "service" => %entry.spec.name, "error" => %why),
            }
        }
        self.urgent = urgent;
        // Bounded: memories by the number of services a second, acknowledgements by the places
        // of their doors, events by what services live through; the archive bounds what it
        // cannot write.
        self.guard
            .world()
            .archive
            .tell(std::mem::take(&mut self.outbox));
        if let Some(action) = self.poked.take() {
            self.patrol(action);
        }
    }

    /// Has the heartbeat file written.
    pub(super) fn patrol(&mut self, action: String) {
        let sick = [Level::Warning, Level::Degraded, Level::Critical];
        let unhealthy: u32 = sick.map(|level| self.tally.count(level)).iter().sum();
        // Bounded: one each 30 seconds and one a poke.
        self.guard.world().deacon.tell(Patrol {
            action,
            healthy: self.tally.count(Level::Healthy).into(),
            unhealthy: unhealthy.into(),
        });
    }

    /// One of our own actors turns. Where that is no news nothing is written for it: a program
    /// at rest lets the disk rest.
    pub(super) fn pulse_of(&mut self, subject: Subject, at: Moment) {
        let Some(&id) = self.internal.get(&subject) else {
            return;
        };
        let generation = self.entries[id as usize].service.generation();
        let beat = Beat {
            count: 1,
            first: at.time,
            last: at,
        };
        if !self.beats.pulse(id, generation, beat) {
            let event = Event::Pulse {
                generation,
                count: 1,
                note: None,
            };
            self.happen(id, event, at);
        }
    }
}

/// How bad a level's word is.
fn rank(word: &str) -> Level {
    [
        Level::Healthy,
        Level::Warning,
        Level::Degraded,
        Level::Critical,
    ]
    .into_iter()
    .find(|level| level.as_str() == word)
    .unwrap_or_default()
}

/// How loudly a level that has been reached is logged.
fn grade(level: Level) -> slog::Level {
    match level {
        Level::Critical => slog::Level::Error,
        Level::Degraded | Level::Warning => slog::Level::Warning,
        Level::Healthy | Level::Unknown => slog::Level::Info,
    }
}
