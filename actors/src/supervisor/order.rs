//! Starting and stopping in the order of dependencies; control; shutdown.
//!
//! A service is stopped as soon as nothing that needs it runs: what is to happen to it stands
//! in `stopping` until then. Its dependants are told that what they need is leaving and are
//! restarted, so they stop, stay wanted, and start when what they need is ready again.

use super::*;

use std::collections::HashSet;

use supervisor_core::event::Change;
use supervisor_core::policy::Watch as Watching;
use supervisor_core::service::Now;
use supervisor_core::view::StateWord;

use crate::messages::{Ack, Poke, Unclear};

impl Supervisor {
    // --- what comes up ---

    /// A service that has just been put into the table: it hears what it waits for, and its
    /// actor says what lives of it.
    pub(super) fn introduce(&mut self, id: u32) {
        self.tell_missing(id);
        self.tell_maintenance(id);
        let Some(entry) = self.entries.get(id as usize) else {
            return;
        };
        if entry.spec.name.is_internal() {
            self.queue.push_back((id, Event::Begin));
            return;
        }
        if entry.door.address.is_connected() {
            // Bounded: one per rebuild of this actor.
            entry.door.address.tell(Announce);
        } else {
            let subject = Subject::Service(ServiceId(id));
            let world = Rc::clone(self.guard.world());
            world.build(subject);
        }
        if self.entries[id as usize].announced {
            self.begin_one(id);
        }
    }

    /// The program begins: what is enabled goes on from what is remembered of it.
    fn begin_one(&mut self, id: u32) {
        let world = self.guard.world();
        let begins = !world.vital.ready.load(Ordering::Relaxed);
        let entry = &mut self.entries[id as usize];
        entry.begun = true;
        if begins
            && !entry.service.is_paused()
            && let Some(why) = world.paused.clone()
        {
            self.queue
                .push_back((id, Event::Pause { until: None, why }));
        }
        if entry.spec.enabled {
            self.queue.push_back((id, Event::Begin));
            return;
        }
        // A disabled one that an operator had started goes on if it lives; what is remembered
        // as alive and was not found is let go, and one that others run is not judged.
        let external = entry.service.state() == StateWord::External;
        let lost = !entry.service.is_down() && !entry.found;
        let generation = entry.service.generation();
        if external || lost {
            let why = Event::SHUTDOWN.to_owned();
            self.queue.push_back((id, Event::Stop { why }));
        }
        if lost {
            self.queue.push_back((id, Event::Gone { generation }));
        }
    }

    /// A service's actor says what lives of it: at the beginning, after the supervisor was
    /// rebuilt, or after it was.
    pub(super) fn announced(&mut self, announced: Announced) {
        let id = announced.service.0;
        let at = self.moment(announced.at);
        let Some(entry) = self.entries.get_mut(id as usize) else {
            return;
        };
        if std::mem::replace(&mut entry.announced, true) {
            return;
        }
        self.unannounced -= 1;
        let present = entry.service.generation();
        let stopping = entry.service.state() == StateWord::Stopping;
        entry.found = announced.found != Found::Nothing;
        match announced.found {
            Found::Living { generation, .. }
                if entry.begun && stopping && generation == present =>
            {
                // The order to stop it may have died with its actor.
                entry.door.address.tell(Poke::Stop(generation));
            }
            Found::Nothing if entry.begun => {
                let generation = present;
                self.happen(id, Event::Gone { generation }, at);
            }
            Found::Nothing => {}
            Found::Living { generation, pid } => {
                self.happen(id, Event::Adopted { generation, pid }, at);
            }
            Found::Ended {
                generation,
                exit,
                left,
            } => {
                let event = Event::Exited {
                    generation,
                    exit,
                    left,
                };
                self.happen(id, event, at);
            }
            Found::ShimLost { generation } => {
                self.happen(id, Event::ShimLost { generation }, at);
            }
        }
        if self
            .entries
            .get(id as usize)
            .is_some_and(|entry| !entry.begun)
        {
            self.begin_one(id);
            self.follow();
        }
        self.ready_if_announced();
        self.announced_to_leave(id);
    }

    /// It cannot be seen what lives of a service, or it can again: recorded, and shown as what
    /// the service says.
    pub(super) fn unclear(&mut self, unclear: Unclear) {
        let id = unclear.service.0;
        let at = self.moment(unclear.at);
        let Some(entry) = self.entries.get(id as usize) else {
            return;
        };
        let generation = entry.service.generation();
        if let Some(why) = &unclear.why {
            let change = Change {
                kind: EventKind::Error,
                from: None,
                to: None,
                reason: why.clone(),
                level: entry.service.level(),
            };
            self.tell(id, change, generation, at);
        }
        let message = unclear.why.unwrap_or_default();
        let event = Event::Status {
            generation,
            message,
        };
        self.happen(id, event, at);
    }

    pub(super) fn ready_if_announced(&self) {
        if self.unannounced == 0 {
            let vital = &self.guard.world().vital;
            vital.ready.store(true, Ordering::Relaxed);
        }
    }

    // --- readiness ---

    /// Tells those who need a service when it becomes ready or ceases to be.
    pub(super) fn notice_readiness(&mut self, id: u32) {
        let Some(entry) = self.entries.get_mut(id as usize) else {
            return;
        };
        let ready = entry.is_ready();
        if std::mem::replace(&mut entry.ready, ready) == ready {
            return;
        }
        self.concern_dependants(id);
        for dependant in self.graph.direct_dependants_of(id).to_vec() {
            self.tell_missing(dependant);
        }
    }

    /// Tells a service what it needs and does not have.
    fn tell_missing(&mut self, id: u32) {
        let needs = self.graph.dependencies_of(id);
        if needs.is_empty() {
            return;
        }
        let missing: Vec<&str> = needs
            .iter()
            .filter_map(|&other| self.entries.get(other as usize))
            .filter(|other| !other.ready)
            .map(|other| other.spec.name.as_str())
            .collect();
        let ready = missing.is_empty();
        let missing = missing.join(", ");
        self.queue
            .push_back((id, Event::Dependencies { ready, missing }));
    }

    /// As the API shows it, with whom it waits for.
    pub(super) fn shown(&self, entry: &Entry, now: &Now) -> View {
        let mut view = entry.view(now);
        view.maintenance = self.window_of(entry).map(|(name, _)| name);
        if !entry.service.waits_for_others() {
            return view;
        }
        let resting = self.resting_needs(entry.door.id.0);
        let is = |id: &u32| {
            let other = self.entries.get(*id as usize)?;
            Some((other.spec.name.clone(), other.service.state().as_str()))
        };
        let resting: Vec<_> = resting.iter().filter_map(is).collect();
        if let [(name, state), others @ ..] = &*resting {
            let mut reason = format!("waiting for {name}, which is {state}");
            for (name, state) in others {
                reason.push_str(&format!(", and {name}, which is {state}"));
            }
            view.reason = reason;
            view.waiting_for = resting.into_iter().map(|(name, _)| name).collect();
        }
        view
    }

    /// What a service needs, in the end, and what will not come up by itself.
    fn resting_needs(&self, id: u32) -> Vec<u32> {
        let (mut resting, mut seen, mut ahead) = (Vec::new(), HashSet::new(), vec![id]);
        while let Some(one) = ahead.pop() {
            for &need in self.graph.dependencies_of(one) {
                let Some(entry) = self.entries.get(need as usize) else {
                    continue;
                };
                if entry.ready || !seen.insert(need) {
                    continue;
                }
                let paused = entry.service.is_paused() && entry.service.is_down();
                if entry.is_resting() || paused && entry.spec.process.is_some() {
                    resting.push(need);
                } else {
                    ahead.push(need);
                }
            }
        }
        resting
    }

    // --- stopping ---

    /// Something went down: what it needed may be stopped now.
    pub(super) fn notice_down(&mut self, id: u32) {
        for need in self.graph.dependencies_of(id).to_vec() {
            self.stop_if_unneeded(need);
        }
        if self.departing.contains_key(&id) {
            self.departed.push(id);
        }
        self.close_if_down();
    }

    /// Stops one that is to be stopped, if nothing that needs it runs.
    fn stop_if_unneeded(&mut self, id: u32) {
        let needed = self
            .graph
            .direct_dependants_of(id)
            .iter()
            .filter_map(|&other| self.entries.get(other as usize))
            .any(|other| !other.service.is_down());
        if needed {
            return;
        }
        if let Some(event) = self.stopping.remove(&id) {
            self.queue.push_back((id, event));
        }
    }

    /// Stops or restarts a service, and before it everybody who needs it.
    pub(super) fn after_dependants(&mut self, id: u32, event: Event) {
        let mut leaving = self.graph.dependants_of(id);
        for &dependant in &leaving {
            if !self.entries[dependant as usize].service.is_down() {
                let kind = RestartKind::Dependency;
                self.stopping.insert(dependant, Event::Restart { kind });
            }
        }
        self.stopping.insert(id, event);
        leaving.push(id);
        for &one in &leaving {
            let entry = &mut self.entries[one as usize];
            entry.leaving = !entry.service.is_down();
            self.notice_readiness(one);
        }
        // They hear first that they will have to wait, then that they have to go.
        self.follow();
        for one in leaving {
            self.stop_if_unneeded(one);
        }
        self.follow();
    }

    // --- control ---

    pub(super) fn find(&self, name: &supervisor_core::ServiceName) -> Option<u32> {
        if name.is_internal() {
            return internal::shown()
                .find(|subject| internal::name(*subject) == *name)
                .and_then(|subject| self.internal.get(&subject).copied());
        }
        let handle = self.guard.world().directory.get(name.as_str())?;
        Some(handle.id().0)
    }

    pub(super) fn control(&mut self, control: &Control) -> Result<View, Denied> {
        let name = &control.name;
        let unknown = || Denied::Unknown(name.as_str().to_owned());
        let id = self.find(name).ok_or_else(unknown)?;
        if name.is_internal() {
            return Err(Denied::Internal(name.clone()));
        }
        if self.closing.is_some() {
            return Err(Denied::ShuttingDown);
        }
        if self.departing.contains_key(&id) {
            return Err(Denied::Leaving(name.clone()));
        }
        let now = self.now();
        let entry = self.entries.get_mut(id as usize).ok_or_else(unknown)?;
        let external = entry.spec.policy.watch == Watching::External;
        let event = match control.verb {
            Verb::Start => {
                // A disabled one that others run begins to be watched.
                if external && entry.service.state() == StateWord::External {
                    return Err(Denied::NotOurs(name.clone()));
                }
                self.stopping.remove(&id);
                entry.leaving = false;
                Event::Start
            }
            Verb::Stop => {
                if external {
                    return Err(Denied::NotOurs(name.clone()));
                }
                let why = "operator".to_owned();
                self.after_dependants(id, Event::Stop { why });
                return Ok(self.view_of(id));
            }
            Verb::Restart => {
                if external && entry.spec.restart_command.is_none() {
                    return Err(Denied::NotOurs(name.clone()));
                }
                let kind = RestartKind::Operator;
                self.after_dependants(id, Event::Restart { kind });
                return Ok(self.view_of(id));
            }
            Verb::Nudge => {
                if entry.spec.nudge.is_none() {
                    return Err(Denied::NoNudge(name.clone()));
                }
                if !entry.service.can_be_nudged() {
                    let View { state, reason, .. } = self.view_of(id);
                    let state = match (state.as_str(), reason) {
                        (state, reason) if reason.is_empty() => state.to_owned(),
                        (state, reason) if reason.starts_with(state) => reason,
                        (state, reason) => format!("{state}: {reason}"),
                    };
                    let name = name.clone();
                    return Err(Denied::NothingToNudge { name, state });
                }
                Event::Nudge
            }
            Verb::Pause(duration) => Event::Pause {
                until: duration.map(|duration| now.time + duration),
                why: "operator".to_owned(),
            },
            Verb::PauseFor(ref why) => Event::Pause {
                until: None,
                why: why.clone(),
            },
            Verb::Resume => Event::Resume,
            Verb::Clear => Event::Clear,
        };
        self.happen(id, event, now);
        Ok(self.view_of(id))
    }

    pub(super) fn view_of(&mut self, id: u32) -> View {
        let now = self.now_for(id);
        self.shown(&self.entries[id as usize], &now)
    }

    // --- shutdown ---

    pub(super) fn shut_down(&mut self, shutdown: Shutdown, asking: oneshot::Sender<()>) {
        self.guard.world().closing.set(true);
        if let Some(closing) = &mut self.closing {
            closing.asking.push(asking);
            return;
        }
        self.closing = Some(Closing {
            leave: shutdown.leave,
            asking: vec![asking],
        });
        if !shutdown.leave {
            let ours = |entry: &Entry| entry.spec.process.is_some() && !entry.is_resting();
            for (id, entry) in self.entries.iter() {
                if ours(entry) {
                    let why = Event::SHUTDOWN.to_owned();
                    self.stopping.insert(id, Event::Stop { why });
                }
            }
            let order: Vec<u32> = self.stopping.keys().copied().collect();
            for id in order {
                self.stop_if_unneeded(id);
            }
            self.follow();
        }
        self.close_if_down();
    }

    /// Ends a shutdown when nothing runs any more and everything is on record.
    fn close_if_down(&mut self) {
        let Some(closing) = &self.closing else { return };
        let down = self
            .entries
            .iter()
            .all(|(_, entry)| entry.spec.process.is_none() || entry.service.is_down());
        let stopped = down && self.stopping.is_empty() && self.queue.is_empty();
        if !closing.leave && !stopped {
            return;
        }
        let Some(closing) = &mut self.closing else {
            return;
        };
        let asking = std::mem::take(&mut closing.asking);
        if asking.is_empty() {
            return;
        }
        let (ack, recorded) = Ack::ours();
        self.end_minute();
        self.mark_all_dirty();
        self.write_all();
        self.outbox.acks.push(ack);
        self.outbox.last = true;
        self.send();
        self.leave_mark();
        let log = self.guard.world().log.clone();
        actix_rt::spawn(async move {
            // Whether it could be recorded or not, everything has stopped.
            if let Ok(Err(why)) = recorded.await {
                error!(log, "the last state could not be recorded"; "error" => %why);
            }
            for asker in asking {
                // One who asks no longer is told nothing.
                asker.send(()).ok();
            }
        });
    }
}
