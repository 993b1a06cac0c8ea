//! What alerts are about: how services are, as the alerter hears it.
//!
//! Facts, not changes: whoever begins anew is told all of them. A service whose dependency is
//! down, or is itself overdue, is told of as held: its alert waits for the dependency's.

use super::*;

use supervisor_core::ServiceName;
use supervisor_core::alert::{Fact, Hold};
use supervisor_core::event::Change;

use crate::messages::{AlertTick, News, TellConcerns};

/// What the alerter will hear when the present message is done with.
#[derive(Debug, Default)]
pub(super) struct Concerns {
    /// Whose facts may have changed.
    pub(super) changed: Vec<u32>,
    poked: Vec<(ServiceName, Timestamp)>,
    restarted: Vec<ServiceName>,
    forgotten: Vec<ServiceName>,
    own: Vec<OwnTrouble>,
}

impl Concerns {
    fn is_empty(&self) -> bool {
        self.changed.is_empty()
            && self.poked.is_empty()
            && self.restarted.is_empty()
            && self.forgotten.is_empty()
            && self.own.is_empty()
    }
}

impl Supervisor {
    /// How that service is may concern somebody, and who needs it, too.
    pub(super) fn concern(&mut self, id: u32) {
        self.concerns.changed.push(id);
        self.concern_dependants(id);
    }

    pub(super) fn concern_dependants(&mut self, id: u32) {
        if !self.graph.direct_dependants_of(id).is_empty() {
            let dependants = self.graph.dependants_of(id);
            self.concerns.changed.extend(dependants);
        }
    }

    /// What was done about a service goes into the reason of its alert.
    pub(super) fn mention(&mut self, id: u32, change: &Change, at: Moment) {
        let Some(entry) = self.entries.get(id as usize) else {
            return;
        };
        let name = entry.spec.name.clone();
        match change.kind {
            EventKind::Poked => self.concerns.poked.push((name, at.wall)),
            EventKind::Restarted => self.concerns.restarted.push(name),
            EventKind::Level
            | EventKind::Started
            | EventKind::Ready
            | EventKind::Exited
            | EventKind::Nudged
            | EventKind::Quarantined
            | EventKind::Cleared
            | EventKind::Paused
            | EventKind::Resumed
            | EventKind::Error
            | EventKind::Adopted
            | EventKind::Config
            | EventKind::Sync
            | EventKind::Alert
            | EventKind::Supervisor => return,
        }
        self.concerns.changed.push(id);
    }

    /// Nobody is told of that service any more.
    pub(super) fn unconcern(&mut self, name: ServiceName) {
        self.concerns.forgotten.push(name);
    }

    /// Something is wrong with ourselves, or no longer.
    pub(super) fn own_trouble(&mut self, trouble: OwnTrouble) {
        self.concerns.own.push(trouble);
    }

    /// The alerter begins: it hears how everything is.
    pub(super) fn tell_all_concerns(&mut self) {
        let all: Vec<u32> = self.entries.iter().map(|(id, _)| id).collect();
        self.concerns.changed = all;
        if let Err(reason) = self.storage.clone() {
            self.own_trouble(OwnTrouble::Is {
                what: "records",
                level: Level::Degraded,
                reason: format!("nothing can be recorded: {reason}"),
                lasts: Lasting::UntilOver,
            });
        }
        self.send();
    }

    pub(super) fn tell_concerns(&mut self) {
        if self.concerns.is_empty() || self.closing.is_some() {
            return;
        }
        let Concerns {
            mut changed,
            poked,
            restarted,
            forgotten,
            own,
        } = std::mem::take(&mut self.concerns);
        changed.sort_unstable();
        changed.dedup();
        let now = self.now_for_core();
        let facts = changed.into_iter().filter_map(|id| self.fact(id, &now));
        let news = News {
            at: now.at,
            facts: facts.collect(),
            poked,
            restarted,
            forgotten,
            own,
            watched: self.entries.count() - self.internal.len(),
        };
        // Bounded: by what services live through.
        self.guard.world().alerter.tell(news);
    }

    /// What is due at the alerter, is due by our clock: see `stall.rs`.
    pub(super) fn tick_alerts(&mut self, at: Moment) {
        let world = self.guard.world();
        if world.alerts_due.get() <= at.time && self.closing.is_none() {
            // Bounded: one a second.
            world.alerter.tell(AlertTick(at));
        }
    }

    fn fact(&self, id: u32, now: &supervisor_core::service::Now) -> Option<Fact> {
        let entry = self.entries.get(id as usize)?;
        let concern = entry.service.concern(now);
        let hold = if let Some(why) = concern.paused {
            Some(Hold::Paused { why })
        } else if let Some((window, until)) = self.window_of(entry) {
            Some(Hold::Maintenance { window, until })
        } else if let Some(on) = self.down_below(id, now) {
            Some(Hold::Dependency { on })
        } else if concern.only_late && !entry.spec.policy.alert_on_miss {
            Some(Hold::Misses)
        } else {
            None
        };
        // Told before anything is wrong: an alert, and no level.
        let foreboding = match concern.level {
            Level::Healthy => entry.foreboding(now),
            Level::Unknown | Level::Warning | Level::Degraded | Level::Critical => None,
        };
        let (level, reason) = match foreboding {
            Some(reason) => (Level::Warning, reason),
            None => (concern.level, concern.reason),
        };
        Some(Fact {
            service: entry.spec.name.clone(),
            level,
            reason,
            hold,
            tags: entry.spec.tags.as_slice().into(),
        })
    }

    /// Of what a service needs, itself or by way of others, the root of the trouble: one that
    /// is down or overdue, and needs nothing that is.
    fn down_below(&self, id: u32, now: &supervisor_core::service::Now) -> Option<ServiceName> {
        let mut found = None;
        let mut at = id;
        // A graph without cycles ends.
        loop {
            let down = self.graph.dependencies_of(at).iter().find(|&&need| {
                self.entries.get(need as usize).is_some_and(|entry| {
                    let concern = entry.service.concern(now);
                    !entry.ready || concern.level == Level::Critical || concern.late
                })
            });
            match down {
                Some(&need) => {
                    at = need;
                    found = self.entries.get(need as usize);
                }
                None => return found.map(|entry| entry.spec.name.clone()),
            }
        }
    }
}

impl Handler<TellConcerns> for Supervisor {
    type Result = ();

    fn handle(&mut self, _: TellConcerns, context: &mut Self::Context) {
        guarded(self, context, |actor, _| {
            actor.look();
            actor.tell_all_concerns();
        });
    }
}
