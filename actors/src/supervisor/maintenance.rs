//! Maintenance windows: services that are judged as ever, but not poked, and nobody is told.
//!
//! When windows open and close is a matter of calendars, which somebody outside keeps; here it
//! is known which are open. That stands in the world, so that a rebuilt supervisor knows it.

use super::*;

use crate::messages::{Maintain, OpenWindow};

impl Supervisor {
    /// These are open from now on, and no others.
    fn maintain(&mut self, open: Vec<OpenWindow>) {
        let world = Rc::clone(self.guard.world());
        let before = world.maintenance.replace(open);
        let open = world.maintenance.borrow();
        let is_in = |all: &[OpenWindow], name: &str| all.iter().any(|one| one.name == name);
        for window in open.iter().filter(|one| !is_in(&before, &one.name)) {
            let covered = self.covered_by(window);
            self.tell_of_us(
                Subject::Supervisor,
                format!(
                    "maintenance window {} opens until {}: {covered} services are neither poked \
                     nor told of",
                    window.name,
                    window.until.rfc3339()
                ),
                Level::Healthy,
            );
        }
        for window in before.iter().filter(|one| !is_in(&open, &one.name)) {
            let reason = format!("maintenance window {} closes", window.name);
            self.tell_of_us(Subject::Supervisor, reason, Level::Healthy);
        }
        drop(open);
        let all: Vec<u32> = self.entries.iter().map(|(id, _)| id).collect();
        for id in all {
            self.tell_maintenance(id);
            let covered = self.entries.get(id as usize).is_some_and(|entry| {
                entry.service.is_maintained() || self.window_of(entry).is_some()
            });
            if covered {
                // Also where only the window's name or end is another.
                self.concerns.changed.push(id);
            }
        }
        self.weighed = None;
        self.follow();
    }

    /// Tells a service whether a window covers it, if it does not know.
    pub(super) fn tell_maintenance(&mut self, id: u32) {
        let Some(entry) = self.entries.get(id as usize) else {
            return;
        };
        let covered = self.window_of(entry).is_some();
        if covered != entry.service.is_maintained() {
            self.queue.push_back((id, Event::Maintenance(covered)));
        }
    }

    /// The open window that covers a service, and when it closes; of several, the one that
    /// closes last.
    pub(super) fn window_of(&self, entry: &Entry) -> Option<(String, Timestamp)> {
        let open = self.guard.world().maintenance.borrow();
        let covering = open.iter().filter(|one| one.covers(&entry.spec.name));
        let last = covering.max_by_key(|one| one.until)?;
        Some((last.name.clone(), last.until))
    }

    fn covered_by(&self, window: &OpenWindow) -> usize {
        let all = self.entries.iter();
        all.filter(|(_, entry)| window.covers(&entry.spec.name))
            .count()
    }
}

impl Handler<Maintain> for Supervisor {
    type Result = ();

    fn handle(&mut self, Maintain(open): Maintain, context: &mut Self::Context) {
        guarded(self, context, |actor, context| {
            actor.look();
            actor.maintain(open);
            actor.finish(context);
        });
    }
}
