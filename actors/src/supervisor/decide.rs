//! Events to machines, actions to actors.

use super::*;

use supervisor_core::Freshness;
use supervisor_core::beats::Beat;
use supervisor_core::event::{Action, Change, Generation};
use supervisor_core::service::Now;
use supervisor_core::view::StateWord;

use crate::messages::Poke;

impl Supervisor {
    /// A plain pulse, or several folded: for a service that is well, a store.
    pub(super) fn pulsed(&mut self, pulse: Pulse, context: &mut Context<Self>) {
        self.glance(pulse.last, context);
        let id = pulse.service.0;
        let Some(door) = self.doors.get(id as usize) else {
            return;
        };
        door.under_way.store(false, Ordering::Relaxed);
        let more = !door.slot.is_empty();
        let beat = Beat {
            count: pulse.count,
            first: self.attention.at(pulse.first),
            last: self.moment(pulse.last),
        };
        if self.beats.pulse(id, pulse.generation, beat) {
            self.mark_dirty(id);
            self.changed(id);
            self.show_soon(context);
        } else if let Some(entry) = self.entries.get(id as usize) {
            let event = Event::Pulse {
                generation: entry.generation_of(pulse.generation),
                count: pulse.count,
                note: None,
            };
            self.happen(id, event, beat.last);
            self.finish(context);
        }
        if more {
            self.guard.world().beat(pulse.service);
        }
    }

    /// Has the machine of a service take over the plain pulses that came: before it is told or
    /// asked anything.
    pub(super) fn catch_up(&mut self, id: u32) {
        if let Some(beat) = self.beats.take(id) {
            self.take_over(id, beat);
        }
    }

    /// The same for all of them.
    pub(super) fn catch_up_all(&mut self) {
        while let Some((id, beat)) = self.beats.take_any() {
            self.take_over(id, beat);
        }
    }

    fn take_over(&mut self, id: u32, beat: Beat) {
        if let Some(entry) = self.entries.get_mut(id as usize) {
            let noticed = entry.observe_beat(beat);
            entry.service.catch_up(beat);
            self.noticed(id, noticed);
        }
    }

    /// Anything else that happened to a service.
    pub(super) fn reported(&mut self, report: Report) {
        let id = report.service.0;
        let Some(entry) = self.entries.get(id as usize) else {
            return;
        };
        let mut event = report.event;
        if let Event::Pulse { generation, .. }
        | Event::Error { generation, .. }
        | Event::Run { generation, .. } = &mut event
        {
            *generation = entry.generation_of(*generation);
        }
        let about_runs = matches!(event, Event::Run { .. });
        if let Event::Sighted { generation, at, .. } = &mut event {
            *generation = entry.generation_of(*generation);
            *at = self.moment(at.mono);
        }
        self.happen(id, event, self.moment(report.at));
        drop(report.place);
        if about_runs && let Some(entry) = self.entries.get(id as usize) {
            let in_run = entry.service.is_in_run();
            entry.door.in_run.store(in_run, Ordering::Relaxed);
        }
        if let Some(ack) = report.ack {
            self.outbox.acks.push(ack);
            self.urgent.push(id);
        }
    }

    /// An event, and all that follows from it.
    pub(super) fn happen(&mut self, id: u32, event: Event, at: Moment) {
        self.decide(id, event, at);
        self.follow();
    }

    /// The events that followed from events.
    pub(super) fn follow(&mut self) {
        while let Some((id, event)) = self.queue.pop_front() {
            let now = self.now();
            self.decide(id, event, now);
        }
    }

    /// The end of a message: restarts are granted, what is to be recorded goes off, and the
    /// timer is armed for what has come closer.
    pub(super) fn finish(&mut self, context: &mut Context<Self>) {
        self.release_brake();
        self.depart();
        self.send();
        self.show_soon(context);
        self.hasten(context);
    }

    /// The present, to ask machines about. All of them have caught up with their pulses.
    pub(super) fn now_for_core(&mut self) -> Now {
        self.catch_up_all();
        let at = self.now();
        self.around(at)
    }

    /// The present, to ask that machine alone about.
    pub(super) fn now_for(&mut self, id: u32) -> Now {
        self.catch_up(id);
        let at = self.now();
        self.around(at)
    }

    pub(super) fn around(&self, at: Moment) -> Now {
        Now {
            at,
            amnesty: self.attention.amnesty(),
            roll: self.guard.world().ports.dice.roll(),
        }
    }

    fn decide(&mut self, id: u32, event: Event, at: Moment) {
        let now = self.around(at);
        self.catch_up(id);
        let Some(entry) = self.entries.get_mut(id as usize) else {
            return;
        };
        let before = entry.before(&event);
        let (level, generation) = (before.level, before.generation);
        let down = entry.service.is_down();
        let paused = entry.service.is_paused();
        let (state, pid) = (entry.service.state(), entry.service.pid());
        let heard = entry.observe(&event, at);
        let actions = entry.service.on(event, &now);
        let judged = entry.observed(&before, at);
        let reached = entry.service.level();
        let entry_paused = entry.service.is_paused();
        let entry_pid = entry.service.pid();
        let went_down = !down && entry.service.is_down();
        let seen = reached != level
            || entry.service.state() != state
            || entry.service.generation() != generation;
        entry.leaving &= !went_down && entry.service.generation() == generation;
        self.beats.promise(id, entry.service.promise());
        self.wheel.arm(id, entry.service.deadline(now.amnesty));
        if reached != level {
            let spec = Rc::clone(&entry.spec);
            self.tally_of(&spec)
                .shift(level, reached, spec.policy.critical);
        }
        if entry_pid != pid {
            self.unweighed();
        }
        let concerned = reached != level || entry_paused != paused;
        self.mark_dirty(id);
        if seen {
            self.changed_visibly(id);
        } else {
            self.changed(id);
        }
        if concerned {
            self.concern(id);
        }
        self.noticed(id, heard);
        self.noticed(id, judged);
        for action in actions {
            self.carry_out(id, action, generation, at);
        }
        self.calm(id);
        self.notice_readiness(id);
        if went_down {
            self.notice_down(id);
        }
    }

    /// Carries out an action; `before` is the life that the event found.
    fn carry_out(&mut self, id: u32, action: Action, before: Generation, at: Moment) {
        let poke = match action {
            Action::Start { .. } if self.closing.is_some() => {
                // It ended while it waited for its turn to be stopped. Nothing is started any
                // more, and the machine hears so.
                let why = Event::SHUTDOWN.to_owned();
                self.queue.push_back((id, Event::Stop { why }));
                return;
            }
            Action::Start { generation } => Poke::Start(generation),
            Action::Stop { generation } => Poke::Stop(generation),
            Action::Extend { generation, by } => Poke::Extend(generation, by),
            Action::Nudge => Poke::Nudge,
            Action::RestartCommand => Poke::RestartCommand,
            Action::AskRestart => {
                self.brake.ask(id);
                return;
            }
            Action::Record(run) => {
                self.record(id, run);
                return;
            }
            Action::Tell(change) => {
                self.weigh(id, &change, at);
                self.mention(id, &change, at);
                self.tell(id, change, before, at);
                return;
            }
        };
        if let Some(entry) = self.entries.get(id as usize) {
            // Bounded: a machine has one thing under way at a time. If the service's actor is
            // being rebuilt it says then what lives, and what is missing is done again.
            entry.door.address.tell(poke);
        }
    }

    // --- the storm brake ---

    /// A service that has just become very stale, or answers no probe any more, may be one of
    /// many.
    fn weigh(&mut self, id: u32, change: &Change, at: Moment) {
        if change.kind != EventKind::Level || change.level != Level::Critical {
            return;
        }
        let now = self.around(at);
        let Some(entry) = self.entries.get(id as usize) else {
            return;
        };
        let stale = entry.view(&now).freshness == Some(Freshness::VeryStale);
        let silent = stale || entry.service.answers_no_probe();
        if !silent || !self.counts_for_storms(id) {
            return;
        }
        let watched = self.weighed(at.mono);
        if self.brake.very_stale(id, at.time, watched) {
            let silent = self.brake.count();
            let log = &self.guard.world().log;
            error!(log, "storm: most services fell silent at once, restarts go two at a time";
                "silent" => silent, "watched" => watched);
            let reason = format!(
                "{silent} of {watched} services fell silent within 10 s: restarts go two at a time"
            );
            self.tell_of_us(Subject::Supervisor, reason, Level::Critical);
        }
    }

    /// How many services count for a storm, as of a second ago at most: in a storm it is asked
    /// for each of them.
    fn weighed(&mut self, now: Mono) -> usize {
        match self.weighed {
            Some((then, count)) if now.since(then) < Duration::from_secs(1) => count,
            Some(_) | None => {
                let count = self
                    .entries
                    .iter()
                    .filter(|(other, _)| self.counts_for_storms(*other))
                    .count();
                self.weighed = Some((now, count));
                count
            }
        }
    }

    /// Whether a service's silence says something about the whole: not that of our own, of one
    /// that nobody judges now, or of one whose dependency is down.
    fn counts_for_storms(&self, id: u32) -> bool {
        let ready = |need: &u32| {
            self.entries
                .get(*need as usize)
                .is_some_and(|one| one.ready)
        };
        self.entries.get(id as usize).is_some_and(|entry| {
            let watched = match entry.service.state() {
                StateWord::Running | StateWord::External | StateWord::Starting => true,
                StateWord::Stopping
                | StateWord::Stopped
                | StateWord::Backoff
                | StateWord::Quarantined
                | StateWord::Paused
                | StateWord::Exited => false,
            };
            watched
                && !entry.spec.name.is_internal()
                && !entry.service.is_maintained()
                && self.graph.dependencies_of(id).iter().all(ready)
        })
    }

    /// One that is well again, or that nobody wants restarted any more, holds up no other.
    fn calm(&mut self, id: u32) {
        let settled = self.entries.get(id as usize).is_some_and(|entry| {
            let level = entry.service.level();
            matches!(
                entry.service.state(),
                StateWord::Stopped | StateWord::Paused | StateWord::Quarantined | StateWord::Exited
            ) || level == Level::Healthy
        });
        if settled {
            self.brake.settled(id);
        }
    }

    /// Lets those restart whose turn it is.
    pub(super) fn release_brake(&mut self) {
        loop {
            let now = self.now();
            if self.brake.next() > now.time {
                return;
            }
            let mut granted = Vec::new();
            if self.brake.poll(now.time, &mut granted) {
                let log = &self.guard.world().log;
                slog::info!(log, "storm over, restarts go unhindered");
                let reason = "the storm is over".to_owned();
                self.tell_of_us(Subject::Supervisor, reason, Level::Healthy);
            }
            if granted.is_empty() {
                return;
            }
            for id in granted {
                self.happen(id, Event::RestartGranted, now);
            }
        }
    }

    // --- our own actors ---

    /// An actor panicked and stands again: that is an error of it and a restart.
    pub(super) fn rebuilt(&mut self, rebuilt: &Rebuilt) {
        let now = self.now();
        let subject = internal::shown_as(rebuilt.subject);
        if let Some(&id) = self.internal.get(&subject) {
            let entry = &mut self.entries[id as usize];
            entry.rebuilt += 1;
            let event = Event::Error {
                generation: entry.service.generation(),
                message: format!(
                    "{} panicked and was rebuilt: {}",
                    self.guard.world().label(rebuilt.subject),
                    rebuilt.text
                ),
                critical: false,
            };
            self.happen(id, event, now);
        }
        match rebuilt.subject {
            Subject::Service(ServiceId(id)) => {
                if let Some(entry) = self.entries.get_mut(id as usize)
                    && entry.spec.process.is_some()
                    && std::mem::replace(&mut entry.announced, false)
                {
                    self.unannounced += 1;
                }
                // It stands: that is the sign of life that its kind gives.
                self.pulse_of(subject, now);
            }
            // What it had not written is gone with it.
            Subject::Archive => self.mark_all_dirty(),
            Subject::Supervisor
            | Subject::Deacon
            | Subject::Alerter
            | Subject::Watcher
            | Subject::Debouncer
            | Subject::Syncer
            | Subject::Guardian => {}
        }
    }

    pub(super) fn tally_of(&mut self, spec: &ServiceSpec) -> &mut Tally {
        if spec.name.is_internal() {
            &mut self.own_tally
        } else {
            &mut self.tally
        }
    }

    /// The worst that counts. That our own actors are well says nothing about the services.
    pub(super) fn overall(&self) -> Level {
        let own = self.own_tally.overall();
        if own > Level::Healthy {
            own.max(self.tally.overall())
        } else {
            self.tally.overall()
        }
    }
}

impl Entry {
    /// Whose life a sign of life belongs to. The actor knows it for what it runs itself.
    fn generation_of(&self, told: Generation) -> Generation {
        if self.spec.process.is_some() {
            told
        } else {
            self.service.generation()
        }
    }

    /// Whether those who need it may run: not beside one that is about to be stopped.
    pub(super) fn is_ready(&self) -> bool {
        self.service.is_ready() && !self.leaving
    }

    /// Whether nothing of it runs and nothing will by itself.
    pub(super) fn is_resting(&self) -> bool {
        matches!(
            self.service.state(),
            StateWord::Stopped | StateWord::Exited | StateWord::Quarantined
        )
    }

    /// What it is, judged as it is now where its interval is learnt.
    pub(super) fn described(&self) -> ServiceSpec {
        let spec = ServiceSpec::clone(&self.spec);
        if spec.policy.learns() {
            let policy = Arc::clone(self.service.policy());
            ServiceSpec { policy, ..spec }
        } else {
            spec
        }
    }

    /// As the API shows it. Each rebuild of the actor behind it is a restart, too.
    pub(super) fn view(&self, now: &Now) -> View {
        let spec = &self.spec;
        let mut view = self
            .service
            .view(&spec.name, now, &spec.tags, &spec.depends_on);
        view.restarts += u64::from(self.rebuilt);
        view.notify_dropped = self.door.lost_datagrams.load(Ordering::Relaxed);
        view.memory = self.resident.of(view.pid);
        view.lines_dropped = self.door.lost_lines.load(Ordering::Relaxed);
        self.add_outlook(&mut view, now);
        view
    }
}
