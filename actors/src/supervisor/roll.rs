//! Who is watched: services come and go while everything runs.
//!
//! ```text
//!   watch, register ──▶ in the table ── unwatch ──▶ stopped, its dependants refuse ──▶ departs
//!                            ▲                                                           │
//!                            └── register once more: judged by what it says now          ▼
//!                                                                    forgotten, its number freed
//! ```
//!
//! A service that registers is one that others run. What it said of itself stands beside its
//! memory in the database, so that it comes back with it; a name that the configuration has
//! taken meanwhile is the configuration's.

use super::*;

use serde::{Deserialize, Serialize};

use supervisor_core::ServiceName;
use supervisor_core::event::Change;
use supervisor_core::rhythm::Kept;

use crate::feed::News;
use crate::registration::MOST_REGISTERED;

use super::observe::{given, rhythm};

/// What is kept of a service: its memory, its rhythm, and what it said where it named itself.
#[derive(Serialize)]
pub(super) struct Row<'a> {
    #[serde(flatten)]
    pub(super) memory: &'a Memory,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rhythm: Option<Kept>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) registered: Option<&'a Registration>,
}

/// What is read of it beside the memory.
#[derive(Deserialize)]
struct Learnt {
    rhythm: Option<serde_json::Value>,
}

/// The same of one that named itself.
#[derive(Deserialize)]
struct Said {
    registered: Option<Registration>,
}

impl Remembered {
    /// The rhythm in a row.
    pub(super) fn rhythm(json: &str) -> Option<Result<Kept, String>> {
        let learnt = serde_json::from_str::<Learnt>(json).ok()?;
        let kept = serde_json::from_value(learnt.rhythm?);
        Some(kept.map_err(|error| error.to_string()))
    }
}

impl Supervisor {
    // --- coming ---

    /// Watches one more.
    pub(super) fn watch(&mut self, spec: ServiceSpec) -> bool {
        let world = Rc::clone(self.guard.world());
        if spec.name.is_internal() {
            return false;
        }
        let needs = !spec.depends_on.is_empty();
        let Some(id) = world.watch(spec) else {
            return false;
        };
        let Some(watched) = world.watched(id) else {
            return false;
        };
        let id = self.enter(watched, None);
        if needs {
            self.regraph();
        }
        self.weighed = None;
        self.introduce(id);
        self.follow();
        true
    }

    /// Takes in what had named itself to an earlier supervisor and is remembered.
    pub(super) fn readmit(&mut self, name: &str, json: &str) {
        let world = Rc::clone(self.guard.world());
        let said = serde_json::from_str::<Said>(json).ok();
        let Some(registration) = said.and_then(|said| said.registered) else {
            return;
        };
        let full = world.registered.borrow().len() >= MOST_REGISTERED;
        let fits = registration.name.as_str() == name && !full;
        let spec = match (world.admit)(&registration) {
            Ok(spec) if fits => spec,
            Ok(_) => return,
            Err(why) => {
                warn!(world.log, "registered service cannot be watched any more";
                    "service" => name, "error" => why);
                return;
            }
        };
        if world.watch(spec).is_some() {
            let mut registered = world.registered.borrow_mut();
            registered.insert(registration.name.clone(), registration);
        }
    }

    /// A service names itself, or says something else than before.
    pub(super) fn register(&mut self, registration: Registration) -> Result<Registering, Denied> {
        let world = Rc::clone(self.guard.world());
        let name = registration.name.clone();
        if name.is_internal() {
            return Err(Denied::Internal(name));
        }
        if self.closing.is_some() {
            return Err(Denied::ShuttingDown);
        }
        let before = world.registered.borrow().get(&name).cloned();
        if before.as_ref() == Some(&registration) {
            return Ok(Registering::Same);
        }
        let known = self.find(&name);
        if before.is_none() && known.is_some() {
            return Err(Denied::Configured(name));
        }
        if before.is_none() && world.registered.borrow().len() >= MOST_REGISTERED {
            return Err(Denied::TooMany(MOST_REGISTERED));
        }
        let spec = (world.admit)(&registration).map_err(Denied::Unfit)?;
        let every = match registration.auto {
            true => "its interval is to be learnt".to_owned(),
            false => format!("every {} s", registration.interval.as_secs_f64()),
        };
        let reason = match known {
            Some(_) => format!("registered anew: {every}"),
            None => format!("registered: {every}"),
        };
        let change = match known {
            Some(id) => {
                self.respec(id, spec);
                Registering::Changed
            }
            None if self.watch(spec) => Registering::New,
            None => return Err(Denied::Configured(name)),
        };
        world
            .registered
            .borrow_mut()
            .insert(name.clone(), registration);
        if let Some(id) = self.find(&name) {
            self.tell_config(id, reason);
        }
        Ok(change)
    }

    /// The same service, judged by another policy. Its actor needs to know nothing of it: what
    /// the spec says of process, sources and errands must be the same.
    fn respec(&mut self, id: u32, spec: ServiceSpec) {
        let world = Rc::clone(self.guard.world());
        let spec = Rc::new(spec);
        let now = self.now();
        let Some(entry) = self.entries.get_mut(id as usize) else {
            return;
        };
        let level = entry.service.level();
        let before = std::mem::replace(&mut entry.spec, Rc::clone(&spec));
        if given(&before.policy) != given(&spec.policy) {
            entry.track.go_on(rhythm(&spec.policy));
        }
        entry.service.govern(Arc::clone(&spec.policy), now.time);
        let tally = self.tally_of(&spec);
        tally.remove(level, before.policy.critical);
        tally.add(level, spec.policy.critical);
        world.roster.borrow_mut().respec(ServiceId(id), &spec);
        self.happen(id, Event::Tick, now);
    }

    // --- going ---

    /// A service that named itself goes.
    pub(super) fn unregister(&mut self, name: &ServiceName) -> Result<(), Denied> {
        let registered = self.guard.world().registered.borrow().contains_key(name);
        match self.find(name) {
            _ if name.is_internal() => Err(Denied::Internal(name.clone())),
            None => Err(Denied::Unknown(name.as_str().to_owned())),
            Some(_) if !registered => Err(Denied::Configured(name.clone())),
            // Nothing of it runs that we would have to stop.
            Some(_) => self.unwatch(name).map(drop),
        }
    }

    /// Watches a service no longer. What waits for the answer hears when nothing of it is left.
    pub(super) fn unwatch(&mut self, name: &ServiceName) -> Result<oneshot::Receiver<()>, Denied> {
        let unknown = || Denied::Unknown(name.as_str().to_owned());
        let id = self.find(name).ok_or_else(unknown)?;
        if name.is_internal() {
            return Err(Denied::Internal(name.clone()));
        }
        if self.closing.is_some() {
            return Err(Denied::ShuttingDown);
        }
        let dependants = self.graph.direct_dependants_of(id).iter();
        let dependants: Vec<&str> = dependants
            .filter_map(|other| self.entries.get(*other as usize))
            .map(|other| other.spec.name.as_str())
            .collect();
        if !dependants.is_empty() {
            return Err(Denied::Needed(name.clone(), dependants.join(", ")));
        }
        let (asker, gone) = oneshot::channel();
        self.departing.entry(id).or_default().push(asker);
        self.departed.push(id);
        self.stop_to_leave(id);
        Ok(gone)
    }

    /// What lives of one that is to leave is known now.
    pub(super) fn announced_to_leave(&mut self, id: u32) {
        if self.departing.contains_key(&id) {
            self.departed.push(id);
            self.stop_to_leave(id);
        }
    }

    fn stop_to_leave(&mut self, id: u32) {
        let ours = |entry: &Entry| entry.announced && entry.spec.process.is_some();
        if self.entries.get(id as usize).is_some_and(ours) {
            let why = "removed".to_owned();
            self.after_dependants(id, Event::Stop { why });
        }
    }

    /// Lets those go of whom nothing is left. At the end of a message or turn: nobody who is
    /// still being looked at vanishes under one's eyes.
    pub(super) fn depart(&mut self) {
        while let Some(id) = self.departed.pop() {
            let gone = self
                .entries
                .get(id as usize)
                .is_some_and(|entry| entry.announced && entry.service.is_down());
            if gone && self.departing.contains_key(&id) {
                self.forget(id);
            }
        }
    }

    fn forget(&mut self, id: u32) {
        let world = Rc::clone(self.guard.world());
        self.tell_config(id, "no longer watched".to_owned());
        self.end_of(id);
        let Some(entry) = self.entries.take(id) else {
            return;
        };
        let name = entry.spec.name.clone();
        self.doors.take(id);
        self.beats.take(id);
        self.beats.promise(id, None);
        self.wheel.disarm(id);
        self.brake.settled(id);
        self.stopping.remove(&id);
        self.queue.retain(|(other, _)| *other != id);
        self.weighed = None;
        let level = entry.service.level();
        self.tally_of(&entry.spec)
            .remove(level, entry.spec.policy.critical);
        if entry.spec.process.is_some() {
            world.ports.processes.forget(&name);
        }
        self.unconcern(name.clone());
        let feed = &world.feed;
        feed.tell_if(|| News::Removed(name.clone()));
        self.outbox.forget.push(name);
        world.unwatch(ServiceId(id));
        if !entry.spec.depends_on.is_empty() {
            self.regraph();
        }
        for asker in self.departing.remove(&id).unwrap_or_default() {
            // One who asks no longer is told nothing.
            asker.send(()).ok();
        }
    }

    // --- both ---

    /// Records that the list of services changed.
    pub(super) fn tell_config(&mut self, id: u32, reason: String) {
        let now = self.now();
        let Some(entry) = self.entries.get(id as usize) else {
            return;
        };
        let change = Change {
            kind: EventKind::Config,
            from: None,
            to: None,
            reason,
            level: entry.service.level(),
        };
        let generation = entry.service.generation();
        self.tell(id, change, generation, now);
    }

    /// Draws the graph of all that is watched anew.
    pub(super) fn regraph(&mut self) {
        let world = Rc::clone(self.guard.world());
        let roster = world.roster.borrow();
        // Numbers that nobody has are nobody's need either.
        let nobody = internal::name(Subject::Supervisor);
        let mut nodes = vec![(nobody, Vec::new()); roster.len()];
        for (id, one) in roster.iter() {
            nodes[id as usize] = (one.spec.name.clone(), one.spec.depends_on.clone());
        }
        match Dependencies::new(&nodes) {
            Ok(graph) => self.graph = graph,
            Err(errors) => {
                for why in errors {
                    error!(world.log, "dependency left out"; "error" => %why);
                }
            }
        }
    }
}
