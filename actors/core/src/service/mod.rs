//! The machine of one service: everything that is decided about it, and nothing that is done.
//!
//! ```text
//!               Start                 ready                       Stop
//!   New ──▶ Waiting ──▶ Starting ──────────▶ Running ──▶ Stopping ────▶ Stopped
//!              ▲            │  ▲                │  │         │ poked, restart
//!              │            │  │ Tick           │  │ exited  │
//!              │            ▼  │                ▼  ▼         ▼
//!              │         Backoff ◀────── restart again? ─────┘
//!              │            ▲                   │  │
//!              │            │ one start         │  └─ policy: not restarted ──▶ Exited
//!              │            │ after its time    ▼ limit
//!              └────────────┴───────────── Quarantined ── Clear ──▶ Starting
//! ```
//!
//! The happy path: `Start`, the process executes (`Started`), becomes ready, pulses for ever.
//! A pulse to one that is well is a store beside the machine ([`Service::promise`]);
//! [`Service::deadline`] says when silence becomes lateness, and the `Tick` at that time raises
//! the level. A clean pulse lets it fall.
//!
//! What goes wrong: it hangs (`ladder`: nudge, restart), it exits (`ends`: backoff, limit,
//! quarantine), it cannot be started (said once, no loop), we die (`memory`: everything but
//! the process's own fate is remembered; `Resumed` until that is known).
//!
//! Who outranks whom:
//! 1. `Stop`, in every state. After it nothing starts before `Start` or `Restart`.
//! 2. The generation: facts about an older life never judge the present one.
//! 3. A pause: no poke, no automatic start; the level is unknown. Pulses count.
//! 4. The restart limit: no restart that nobody asked for goes around it, pokes' neither.
//! 5. The level: an overlay that follows from the facts (see [`crate::level::Facts`]). It
//!    never decides what the process does, only its causes do.
//!
//! Every event ends in one look ([`Service::on`]): pauses that are over, starts that are due,
//! the level, the next step of a poke. So what was held up goes on with the event that frees
//! it, and a `Tick` is just a look.
//!
//! A service that we do not run is `External`, and its generation is always 1: its pulses are
//! taken whatever generation they name. Its restart command is its restart.
//!
//! A service that pulses may hang all the same: `progress` judges a number that must move.
//! Deadlines that a service extends or changes itself move `base` and the start's deadline in
//! `judge`.

mod ends;
mod judge;
mod ladder;
mod memory;
mod progress;
mod runs;
mod says;
mod signs;
mod starts;
mod state;
mod stops;
mod view;
mod words;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::beats::{Beat, Promise};
use crate::event::{Action, Change, Event, EventKind, Generation, Moment};
use crate::level::{Level, Standing};
use crate::policy::{Policy, Watch};
use crate::time::{Time, nanos};
use crate::view::StateWord;

pub use memory::Memory;
use state::{Ladder, Pause, State};

/// What stands around a decision: the time, our own excuses, and a throw of the dice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Now {
    /// When it is, on each clock.
    pub at: Moment,
    /// When we last came back from a stall or a restart: nobody is judged before one grace
    /// has passed since.
    pub amnesty: Time,
    /// A random number in 0..1, for jitter.
    pub roll: f64,
}

/// What alerts need to know of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Concern {
    /// Its level.
    pub level: Level,
    /// Why, in a plain sentence.
    pub reason: String,
    /// Why it is paused, if it is; may be empty.
    pub paused: Option<String>,
    /// Whether it is late.
    pub late: bool,
    /// Whether that is all that is wrong with it.
    pub only_late: bool,
}

/// One watched service.
#[derive(Debug)]
pub struct Service {
    memory: Memory,
    /// What it is judged by: its owner's, unless it named another interval in this life.
    policy: Arc<Policy>,
    /// Its owner's.
    owned: Arc<Policy>,
    /// The interval that was learnt, where it is to be: remembered by who observes it.
    learnt: Option<Duration>,
    /// The pulses that were remembered of it when we began.
    recalled: u64,
    /// Those of what it depends on that are not ready, as a text.
    missing: Option<Box<str>>,
    /// Whether a maintenance window covers it: told anew to each of us, so not remembered.
    maintained: bool,
    /// When it was last looked at as a whole.
    looked: Time,
}

impl Service {
    /// A service as it was remembered, or a new one. It does nothing before its first event:
    /// [`Event::Dependencies`] where it has some, what was found of it, [`Event::Begin`].
    #[must_use]
    pub fn new(policy: Arc<Policy>, memory: Option<Memory>, now: &Now) -> Self {
        let memory = match memory {
            Some(memory) => memory.resumed(&policy, now.at.time),
            None => Memory::first(&policy, now.at),
        };
        let mut service = Self {
            owned: Arc::clone(&policy),
            policy,
            recalled: memory.total_pulses,
            memory,
            learnt: None,
            missing: None,
            maintained: false,
            looked: Time(0),
        };
        service.keep_promise();
        service
    }

    /// What follows from an event.
    #[must_use]
    pub fn on(&mut self, event: Event, now: &Now) -> Vec<Action> {
        let mut out = Vec::new();
        self.happen(event, now, &mut out);
        self.look(now, &mut out);
        for action in &mut out {
            if let Action::Tell(change) = action
                && change.kind != EventKind::Level
            {
                change.level = self.memory.level;
            }
        }
        out
    }

    /// What holds while it is well; `None` where it is not, and [`Service::on`] must see each
    /// pulse. To be asked after each event.
    #[must_use]
    pub fn promise(&self) -> Option<Promise> {
        self.is_well().then(|| Promise {
            generation: self.memory.generation,
            base: self.base(),
            patience: nanos(self.first_age()),
        })
    }

    /// Takes over the plain pulses that its promise covers. Comes before every event, and before
    /// it is asked for anything that its age or its pulses tell in.
    pub fn catch_up(&mut self, beat: Beat) {
        self.memory.total_pulses = self
            .memory
            .total_pulses
            .saturating_add(u64::from(beat.count));
        self.seen(beat.last);
    }

    /// When to say [`Event::Tick`] next; [`Time::NEVER`] if time alone changes nothing.
    #[must_use]
    pub fn deadline(&self, amnesty: Time) -> Time {
        self.next_deadline(amnesty)
    }

    /// Its level.
    #[must_use]
    pub fn level(&self) -> Level {
        self.memory.level
    }

    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> StateWord {
        self.word()
    }

    /// Its main process, where there is one.
    #[must_use]
    pub fn pid(&self) -> Option<i32> {
        self.memory.state.pid()
    }

    /// What to write to disk.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// What it is judged by now.
    #[must_use]
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Whether it is not known yet what became of it while we were away.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        matches!(self.memory.state, State::Resumed { .. })
    }

    /// The interval that is known of it from before, where it is to be learnt; none: nothing is.
    /// Comes before its first event, or with one.
    pub fn recall(&mut self, learnt: Option<Duration>) {
        self.learnt = learnt;
        self.keep_promise();
    }

    /// Its owner's policy.
    #[must_use]
    pub fn owned_policy(&self) -> &Arc<Policy> {
        &self.owned
    }

    /// From now on it is judged by another policy of its owner's, from that time on: what was
    /// no lateness before must not have become one. Who runs it must be the same. Look at it
    /// anew with an [`Event::Tick`].
    pub fn govern(&mut self, policy: Arc<Policy>, now: Time) {
        if !policy.learns() || !self.owned.learns() {
            self.learnt = None;
        }
        self.owned = policy;
        self.memory.judge_from(now);
        self.keep_promise();
    }

    /// Which life this is.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.memory.generation
    }

    /// Whether what depends on it may start: it runs and is ready, or is watched and pulses.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match self.memory.state {
            State::Running { .. } => true,
            State::External { heard } => heard,
            State::Resumed {
                ready, plan: None, ..
            } => ready,
            State::Resumed { plan: Some(_), .. }
            | State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Starting { .. }
            | State::Stopping { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. } => false,
        }
    }

    /// Whether nothing of it is left to stop: what a shutdown waits for.
    #[must_use]
    pub fn is_down(&self) -> bool {
        match self.memory.state {
            State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::External { .. } => true,
            State::Starting { .. }
            | State::Running { .. }
            | State::Stopping { .. }
            | State::Resumed { .. } => false,
        }
    }

    /// Whether it is wanted and only waits for what it depends on.
    #[must_use]
    pub fn waits_for_others(&self) -> bool {
        matches!(self.memory.state, State::Waiting { .. })
            && self.missing.is_some()
            && self.memory.pause.is_none()
    }

    /// Whether its probes have failed so often in a row that it would be poked for it.
    #[must_use]
    pub fn answers_no_probe(&self) -> bool {
        let [_, _, critical] = self.policy.thresholds.counts;
        self.memory.probes >= critical
    }

    /// Whether runs of it are under way: then a success may end one.
    #[must_use]
    pub fn is_in_run(&self) -> bool {
        let said = self.memory.said.as_deref();
        said.is_some_and(|said| said.runs.is_under_way())
    }

    /// Whether it is left alone on request.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.memory.pause.is_some()
    }

    /// Whether a maintenance window covers it.
    #[must_use]
    pub fn is_maintained(&self) -> bool {
        self.maintained
    }

    /// Whether the gap to its next pulse says something about it: it runs, and nothing excuses
    /// its silence.
    #[must_use]
    pub fn beats(&self) -> bool {
        let memory = &self.memory;
        let lives = match memory.state {
            State::Running { .. } | State::External { .. } => true,
            State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Starting { .. }
            | State::Stopping { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::Resumed { .. } => false,
        };
        lives
            && self.policy.watch != Watch::Alive
            && !self.policy.on_demand
            && !memory.idle
            && memory.pause.is_none()
            && memory.busy_until == Time(0)
    }

    /// How many intervals its present silence has missed.
    #[must_use]
    pub fn missed_by(&self, now: &Now) -> u32 {
        self.missed(now)
    }

    /// What alerts need to know of it.
    #[must_use]
    pub fn concern(&self, now: &Now) -> Concern {
        let by_age = matches!(self.standing(now), Standing::Up | Standing::Unready);
        Concern {
            level: self.memory.level,
            reason: self.reason(now),
            paused: self.memory.pause.as_ref().map(|pause| pause.why.clone()),
            late: self.missed(now) > 0,
            only_late: by_age && self.errors() == 0 && self.memory.exits == 0,
        }
    }

    fn word(&self) -> StateWord {
        let word = self.memory.state.word();
        match word {
            // A pause is of no interest where nothing runs, and hides no stop.
            StateWord::Stopping | StateWord::Stopped => word,
            StateWord::Starting
            | StateWord::Running
            | StateWord::Backoff
            | StateWord::Quarantined
            | StateWord::Paused
            | StateWord::Exited
            | StateWord::External => {
                if self.memory.pause.is_some() {
                    StateWord::Paused
                } else {
                    word
                }
            }
        }
    }

    fn happen(&mut self, event: Event, now: &Now, out: &mut Vec<Action>) {
        match event {
            Event::Begin => self.begin(now, out),
            Event::Start => self.start_asked(now, out),
            Event::Stop { why } => self.stop(&why, out),
            Event::Restart { kind } => self.restart_asked(kind, now, out),
            Event::Nudge => self.nudge_asked(out),
            Event::Pause { until, why } => self.pause(until, why, out),
            Event::Resume => self.resume_asked(now, out),
            Event::Clear => self.clear(now, out),
            Event::Dependencies { ready, missing } => self.depend(ready, missing, now),
            Event::Maintenance(on) => self.maintain(on),
            Event::Started { generation, pid } => self.started(generation, pid, now, out),
            Event::StartFailed {
                generation,
                failure,
            } => self.start_failed(generation, &failure, now, out),
            Event::Adopted { generation, pid } => self.adopted(generation, pid, now, out),
            Event::Ready { generation } => self.ready(generation, now, out),
            Event::Exited {
                generation,
                exit,
                left,
            } => self.exited(generation, exit, left, now, out),
            Event::Gone { generation } => self.gone(generation, now, out),
            Event::Blocked { generation, by } => self.blocked(generation, by, out),
            Event::ShimLost { generation } => self.shim_lost(generation, now, out),
            Event::Pulse {
                generation,
                count,
                note,
            } => self.pulsed(generation, count, note, now, out),
            Event::Sighted {
                generation,
                at,
                note,
            } => self.sighted(generation, at, note, now, out),
            Event::Error {
                generation,
                message,
                critical,
            } => self.erred(generation, &message, critical, now, out),
            Event::Run { generation, sign } => self.run_told(generation, *sign, now, out),
            Event::ProbePassed { generation } => self.probe_passed(generation, now, out),
            Event::ProbeFailed {
                generation,
                reason,
                passed_before,
            } => self.probe_failed(generation, &reason, passed_before, now, out),
            Event::Status {
                generation,
                message,
            } => self.status(generation, message),
            Event::Reloading { generation } => self.reloading(generation, now),
            Event::Stopping { generation } => self.stopping(generation, now),
            Event::Interval {
                generation,
                interval,
            } => self.promised(generation, interval),
            Event::Learnt { interval } => self.learn_interval(interval, out),
            Event::Extend { generation, by } => self.extend(generation, by, now, out),
            Event::MainPid { generation, pid } => self.main_pid(generation, pid),
            Event::Stuck { generation, why } => self.hangs(generation, &why, now, out),
            Event::NudgeDone { failed } => self.nudge_done(failed, now, out),
            Event::RestartCommandDone { failed } => self.command_done(failed, now, out),
            Event::RestartGranted => self.granted(now, out),
            Event::Tick => {}
        }
    }

    /// Everything that is due now, whatever brought us here.
    fn look(&mut self, now: &Now, out: &mut Vec<Action>) {
        let over = |pause: &Pause| pause.until.is_some_and(|until| until <= now.at.time);
        if self.memory.pause.as_deref().is_some_and(over) {
            self.resume("its time is up", now, out);
        }
        if self.relief_at() <= now.at.time {
            self.memory.reported = 0;
            self.memory.probes = 0;
            self.lift();
        }
        // A step of the ladder may end in a start, and a start in nothing further: two rounds
        // are the most that any event takes.
        loop {
            self.start_due(now, out);
            self.judge(now, out);
            if !self.climb(now, out) {
                break;
            }
        }
        self.looked = self.looked.max(now.at.time);
    }

    fn is_well(&self) -> bool {
        let memory = &self.memory;
        let heard = match memory.state {
            State::Running { heard, .. } | State::External { heard } => heard,
            State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Starting { .. }
            | State::Stopping { .. }
            | State::Held { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::Resumed { .. } => false,
        };
        heard
            && memory.level == Level::Healthy
            && memory.floor == Level::Unknown
            && memory.ladder == Ladder::Calm
            && memory.pause.is_none()
            && memory.reported == 0
            && memory.probes == 0
            && memory.busy_until == Time(0)
            && !memory.idle
            && !memory.stuck
            && !self.is_paced()
    }

    /// [`Event::Pause`].
    fn pause(&mut self, until: Option<Time>, why: String, out: &mut Vec<Action>) {
        let from = self.word();
        let reason = if why.is_empty() {
            "asked for".to_owned()
        } else {
            why.clone()
        };
        self.memory.pause = Some(Box::new(Pause { until, why }));
        if self.memory.ladder != Ladder::Commanded {
            self.memory.ladder = Ladder::Calm;
        }
        let to = self.word();
        self.tell(
            out,
            EventKind::Paused,
            Some(from.as_str()),
            Some(to.as_str()),
            reason,
        );
    }

    /// [`Event::Resume`].
    fn resume_asked(&mut self, now: &Now, out: &mut Vec<Action>) {
        let why = match self.memory.pause.as_deref().map(|pause| pause.why.as_str()) {
            None | Some("" | "operator") => "asked for by an operator".to_owned(),
            Some(why) => format!("no longer: {why}"),
        };
        self.resume(&why, now, out);
    }

    /// The end of a pause: judged afresh, and what happened meanwhile is decided.
    fn resume(&mut self, why: &str, now: &Now, out: &mut Vec<Action>) {
        if self.memory.pause.is_none() {
            return;
        }
        let from = self.word();
        self.memory.pause = None;
        match self.memory.state {
            State::Starting { .. }
            | State::Running { .. }
            | State::External { .. }
            | State::Held { .. } => {
                let (idle, said) = (self.memory.idle, self.memory.busy_until);
                self.new_chance(now);
                // What it said of itself holds: it does not know that it was paused.
                self.memory.idle = idle;
                self.memory.busy_until = said;
                self.lift();
            }
            State::New
            | State::Stopped { .. }
            | State::Waiting { .. }
            | State::Stopping { .. }
            | State::Backoff { .. }
            | State::Quarantined { .. }
            | State::Exited { .. }
            | State::Resumed { .. } => {}
        }
        let to = self.word();
        self.tell(
            out,
            EventKind::Resumed,
            Some(from.as_str()),
            Some(to.as_str()),
            why.to_owned(),
        );
    }

    /// [`Event::Dependencies`].
    fn depend(&mut self, ready: bool, missing: String, now: &Now) {
        if !ready {
            self.missing = Some(missing.into());
            match self.memory.ladder {
                Ladder::Calm | Ladder::Commanded => {}
                Ladder::Nudged { .. } | Ladder::Asked { .. } | Ladder::Spent => {
                    self.memory.ladder = Ladder::Calm;
                }
            }
        } else if self.missing.take().is_some() {
            // Its silence while it could not work is not held against it, nor what its probes
            // found meanwhile; the level that they led to stays until a clean pulse.
            self.memory.since = self.memory.since.max(now.at.time);
            self.memory.probes = 0;
            self.move_from(now.at.time);
        }
    }

    /// [`Event::Maintenance`]. What was begun before a window goes no further in it.
    fn maintain(&mut self, on: bool) {
        self.maintained = on;
        if on && self.memory.ladder != Ladder::Commanded {
            self.memory.ladder = Ladder::Calm;
        }
    }

    /// Tells of a change. Its level is set when the event is dealt with.
    fn tell(
        &self,
        out: &mut Vec<Action>,
        kind: EventKind,
        from: Option<&'static str>,
        to: Option<&'static str>,
        reason: String,
    ) {
        out.push(Action::Tell(Change {
            kind,
            from,
            to,
            reason,
            level: self.memory.level,
        }));
    }

    /// Tells of an end before what follows from it; returns where.
    fn tell_end(&self, out: &mut Vec<Action>, from: &'static str, reason: String) -> usize {
        self.tell(out, EventKind::Exited, Some(from), None, reason);
        out.len() - 1
    }

    /// Fills in what state an end has led to.
    fn finish_telling(&self, out: &mut [Action], told: usize) {
        if let Some(Action::Tell(change)) = out.get_mut(told) {
            change.to = Some(self.word().as_str());
        }
    }
}
