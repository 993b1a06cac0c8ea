//! The world around a service, for histories at random: processes that answer starts and stops
//! after a delay, and the few facts that the oracle keeps.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::bench::Bench;
use super::histories::Meanwhile;
use crate::event::{Action, Event, Exit, Generation, Note, PulseState};
use crate::level::Level;
use crate::policy::{Policy, Ready, Watch};
use crate::run::{RunEnd, RunSign};
use crate::time::Time;

/// A process, as the world knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Process {
    None,
    /// Told to start; executes then.
    Starting(Time),
    Runs,
    /// Told to stop; ends then.
    Ends(Time),
    /// Its main process is gone, the rest ends then.
    Remains(Time),
}

pub(super) struct World {
    pub(super) bench: Bench,
    pub(super) process: Process,
    pub(super) generation: Generation,
    /// What the world has to tell, later.
    pub(super) delay: Duration,
    pub(super) hold_grants: bool,
    pub(super) commands_fail: bool,
    pub(super) waits_for_grant: bool,
    /// A restart command runs, until then.
    pub(super) command: Option<Time>,
    // What the oracle knows.
    /// Stopped by somebody, and by nobody started since.
    pub(super) stopped: bool,
    pub(super) shut_down: bool,
    pub(super) paused: bool,
    pub(super) missing: bool,
    pub(super) idle: bool,
    pub(super) busy_until: Time,
    pub(super) stuck: bool,
    /// The number that it named last in this life.
    pub(super) cycle: Option<i64>,
    /// From when on that must move again.
    pub(super) moved: Time,
    /// Until when it was busy since then.
    pub(super) was_busy: Time,
    /// The last sign of life, or what gives it a new chance.
    pub(super) base: Time,
    pub(super) heard: bool,
    pub(super) pulses: u64,
    /// Restarts that count, since they were forgiven last.
    pub(super) counted: VecDeque<Time>,
    /// Pokes since the last sign of life or new chance.
    pub(super) pokes: u32,
    /// Failed probes in a row that count.
    pub(super) row: u32,
    /// Nudged since the last poke began.
    pub(super) nudged: bool,
    pub(super) asked_nudge: bool,
    /// The last poke was for a start that never said that it was ready: no pulse refutes it.
    pub(super) unready: bool,
    pub(super) level: Level,
}

impl World {
    pub(super) fn new(policy: Policy, delay: Duration) -> Self {
        let bench = Bench::new(policy);
        let base = bench.now.at.time;
        Self {
            generation: bench.generation(),
            bench,
            process: Process::None,
            delay,
            hold_grants: false,
            commands_fail: false,
            waits_for_grant: false,
            command: None,
            stopped: false,
            shut_down: false,
            paused: false,
            missing: false,
            idle: false,
            busy_until: Time(0),
            stuck: false,
            cycle: None,
            moved: Time(0),
            was_busy: Time(0),
            base,
            heard: false,
            pulses: 0,
            counted: VecDeque::new(),
            pokes: 0,
            row: 0,
            nudged: false,
            asked_nudge: false,
            unready: false,
            level: Level::Unknown,
        }
    }

    pub(super) fn now(&self) -> Time {
        self.bench.now.at.time
    }

    pub(super) fn policy(&self) -> Arc<Policy> {
        Arc::clone(self.bench.service().owned_policy())
    }

    pub(super) fn is_external(&self) -> bool {
        self.policy().watch == Watch::External
    }

    pub(super) fn lives(&self) -> bool {
        self.is_external() || matches!(self.process, Process::Runs)
    }

    pub(super) fn new_chance(&mut self) {
        self.base = self.now();
        self.pokes = 0;
        self.row = 0;
        self.stuck = false;
        self.idle = false;
        self.busy_until = Time(0);
        self.moved = self.now();
    }

    /// How long its number has stood still, if that counts now.
    pub(super) fn still(&self) -> Option<Duration> {
        let judged = self.policy().progress_timeout.is_some()
            && self.cycle.is_some()
            && !self.idle
            && !self.policy().on_demand;
        let from = self.moved.max(self.was_busy).max(self.busy_until);
        judged.then(|| self.now().since(from))
    }

    /// Whether that is too long.
    pub(super) fn is_still(&self) -> bool {
        let timeout = self.policy().progress_timeout.unwrap_or(Duration::MAX);
        self.still().is_some_and(|still| still >= timeout)
    }

    /// What it says of its number and its busyness.
    fn says(&mut self, note: Option<&Note>) {
        let now = self.now();
        let state = note.and_then(|note| note.state);
        let was_idle = std::mem::replace(&mut self.idle, state == Some(PulseState::Idle));
        if was_idle {
            self.moved = self.moved.max(now);
        }
        self.was_busy = self.was_busy.max(self.busy_until.min(now));
        self.stuck = state == Some(PulseState::Stuck);
        if let Some(cycle) = note.and_then(|note| note.cycle)
            && self.cycle != Some(cycle)
        {
            self.cycle = Some(cycle);
            self.moved = now;
            self.was_busy = Time(0);
        }
        self.busy_until = Time(0);
        if let Some(busy) = note.and_then(|note| note.busy_for) {
            self.asks_for(busy);
        }
    }

    /// It asks for silence.
    pub(super) fn asks_for(&mut self, busy: Duration) {
        let max = self.policy().max_busy;
        let most = match self.policy().progress_timeout {
            Some(_) if self.cycle.is_some() => self.moved + max,
            Some(_) | None => Time::NEVER,
        };
        let until = (self.now() + busy.min(max)).min(most);
        self.busy_until = self.busy_until.max(until);
    }

    /// Gives the machine an event and carries out what it wants.
    pub(super) fn on(&mut self, event: Event) -> Result<(), TestCaseError> {
        let clean = match &event {
            Event::Pulse { note, .. } => note
                .as_ref()
                .is_none_or(|note| note.state != Some(PulseState::Stuck)),
            Event::ProbePassed { .. } => true,
            Event::Run { sign, .. } => {
                matches!(&**sign, RunSign::End(end) if !end.failed)
            }
            _ => false,
        };
        let may_lower = clean
            || matches!(
                event,
                Event::Stop { .. } | Event::Pause { .. } | Event::Resume
            );
        let before = self.level;
        let actions = self.bench.plan(event);
        for action in actions {
            self.carry_out(action)?;
        }
        self.falls_only_for_a_reason(before, may_lower)?;
        self.check()
    }

    pub(super) fn carry_out(&mut self, action: Action) -> Result<(), TestCaseError> {
        match action {
            Action::Start { generation } => {
                prop_assert!(!self.stopped, "started after a stop");
                prop_assert!(!self.missing, "started without its dependency");
                prop_assert_eq!(self.process, Process::None, "started beside another");
                prop_assert!(generation > self.generation, "a generation used twice");
                self.generation = generation;
                self.process = Process::Starting(self.now() + self.delay);
                self.heard = false;
                self.cycle = None;
                self.new_chance();
            }
            Action::Stop { generation } => {
                prop_assert_eq!(generation, self.generation);
                prop_assert!(
                    matches!(self.process, Process::Starting(_) | Process::Runs),
                    "stopped what does not run: {:?}",
                    self.process
                );
                self.process = Process::Ends(self.now() + self.delay);
            }
            Action::Extend { generation, by } => {
                prop_assert_eq!(generation, self.generation);
                prop_assert!(matches!(
                    self.process,
                    Process::Ends(_) | Process::Remains(_)
                ));
                prop_assert!(by <= self.policy().max_busy);
            }
            Action::Nudge => {
                prop_assert!(self.asked_nudge || (self.policy().nudge && !self.nudged));
                self.nudged |= !self.asked_nudge;
            }
            Action::RestartCommand => {
                prop_assert!(self.is_external() && !self.stopped);
                self.command = Some(self.now() + self.delay);
                self.heard = false;
                self.cycle = None;
                self.new_chance();
            }
            Action::AskRestart => self.waits_for_grant = true,
            Action::Tell(change) => self.told(&change)?,
            Action::Record(run) => prop_assert!(run.began.is_none_or(|at| at <= run.ended)),
        }
        Ok(())
    }

    /// When the world or the machine has something to do next.
    pub(super) fn next(&self) -> Time {
        let process = match self.process {
            Process::None | Process::Runs => Time::NEVER,
            Process::Starting(at) | Process::Ends(at) | Process::Remains(at) => at,
        };
        let grant = if self.waits_for_grant && !self.hold_grants {
            self.now()
        } else {
            Time::NEVER
        };
        self.bench
            .deadline()
            .min(process)
            .min(grant)
            .min(self.command.unwrap_or(Time::NEVER))
    }

    pub(super) fn pass(&mut self, duration: Duration) -> Result<(), TestCaseError> {
        let end = self.now() + duration;
        for round in 0.. {
            prop_assert!(round < 100_000, "time stands still");
            let next = self.next().max(self.now());
            if next > end {
                break;
            }
            self.advance(next);
            if self.bench.deadline() <= next {
                self.on(Event::Tick)?;
            }
            if self.waits_for_grant && !self.hold_grants {
                self.waits_for_grant = false;
                self.on(Event::RestartGranted)?;
            }
            if self.command.is_some_and(|at| at <= next) {
                self.command = None;
                if !self.stopped && !self.commands_fail {
                    self.base = self.now();
                    self.pokes = 0;
                }
                let failed = self.commands_fail.then(|| "no".to_owned());
                self.on(Event::RestartCommandDone { failed })?;
            }
            match self.process {
                Process::Starting(at) if at <= next => {
                    self.process = Process::Runs;
                    self.base = self.now();
                    let generation = self.generation;
                    self.on(Event::Started { generation, pid: 7 })?;
                }
                Process::Ends(at) if at <= next => self.end(None, Some(15), false)?,
                Process::Remains(at) if at <= next => {
                    self.process = Process::None;
                    let generation = self.generation;
                    self.on(Event::Gone { generation })?;
                }
                Process::None
                | Process::Starting(_)
                | Process::Runs
                | Process::Ends(_)
                | Process::Remains(_) => {}
            }
        }
        self.advance(end);
        Ok(())
    }

    pub(super) fn advance(&mut self, to: Time) {
        let passed = to.since(self.now());
        let at = &mut self.bench.now.at;
        at.time = to;
        at.mono = at.mono + passed;
    }

    pub(super) fn end(
        &mut self,
        code: Option<i32>,
        signal: Option<i32>,
        left: bool,
    ) -> Result<(), TestCaseError> {
        self.process = if left {
            Process::Remains(self.now() + self.delay)
        } else {
            Process::None
        };
        let generation = self.generation;
        let exit = Exit {
            code,
            signal,
            oom: false,
            at: self.bench.now.at.wall,
        };
        self.on(Event::Exited {
            generation,
            exit,
            left,
        })
    }

    pub(super) fn pulse(&mut self, count: u8, note: Option<Note>) -> Result<(), TestCaseError> {
        if !self.lives() {
            return Ok(());
        }
        let count = if note.is_some() { 1 } else { u32::from(count) };
        self.pulsed(count, note.as_ref());
        let generation = self.generation;
        if note.is_none() && self.bench.fast(generation, count, self.bench.now.at) {
            prop_assert_eq!(self.bench.level(), Level::Healthy);
            return self.check();
        }
        self.on(Event::Pulse {
            generation,
            count,
            note: note.map(Box::new),
        })
    }

    /// A probe succeeds: it lives, and says nothing of itself by it.
    pub(super) fn probe_passes(&mut self) -> Result<(), TestCaseError> {
        if !self.lives() {
            return Ok(());
        }
        self.pulses += 1;
        if !self.stopped {
            let back =
                self.is_external() && ["backoff", "quarantined"].contains(&self.bench.state());
            if back {
                self.new_chance();
                self.command = None;
            }
            self.base = self.now();
            self.heard = true;
            self.row = 0;
            let ready = self.policy().ready;
            let refuted = !self.is_unready() || matches!(ready, Ready::Pulse | Ready::Probe);
            if refuted && !self.has_another_fault() {
                self.pokes = 0;
            }
        }
        let generation = self.generation;
        self.on(Event::ProbePassed { generation })
    }

    /// A probe fails: whether that counts is seen by the count of errors.
    pub(super) fn probe_fails(&mut self, passed_before: bool) -> Result<(), TestCaseError> {
        if !self.lives() {
            return Ok(());
        }
        let before = self.bench.view().error_count;
        let generation = self.generation;
        let event = Event::ProbeFailed {
            generation,
            reason: "refused".to_owned(),
            passed_before,
        };
        // The poke that may follow is one for this row.
        self.row += 1;
        self.on(event)?;
        if self.bench.view().error_count == before {
            prop_assert!(!passed_before || !self.bench.service().is_judged());
            self.row -= 1;
        }
        Ok(())
    }

    /// Whether it has something coming that is not silence: no pulse refutes that.
    pub(super) fn has_another_fault(&self) -> bool {
        let still = self.policy().poke_on.stale && self.is_still();
        self.stuck || still || self.is_refused()
    }

    /// Whether failed probes alone would get it poked.
    pub(super) fn is_refused(&self) -> bool {
        let [_, _, critical] = self.policy().thresholds.counts;
        self.policy().poke_on.probe && self.row >= critical
    }

    /// A run of it has ended: a pulse, or an error.
    pub(super) fn run_ends(&mut self, end: RunEnd) -> Result<(), TestCaseError> {
        if !self.lives() {
            return Ok(());
        }
        if end.failed {
            self.erred();
        } else {
            self.pulsed(1, None);
        }
        self.on(Event::Run {
            generation: self.generation,
            sign: Box::new(RunSign::End(end)),
        })
    }

    /// It reports an error: a sign of life, too.
    pub(super) fn erred(&mut self) {
        if !self.stopped {
            self.base = self.now();
            // What it was poked for as silent is over.
            if !self.is_unready() && !self.has_another_fault() {
                self.pokes = 0;
            }
        }
    }

    /// It pulses.
    fn pulsed(&mut self, count: u32, note: Option<&Note>) {
        self.pulses += u64::from(count);
        if !self.stopped {
            let now = self.now();
            self.base = now;
            self.heard = true;
            let back =
                self.is_external() && ["backoff", "quarantined"].contains(&self.bench.state());
            if back {
                self.moved = now;
            }
            self.says(note);
            if back {
                self.row = 0;
                // What its end says is of no interest any more.
                self.command = None;
            }
            let refuted = !self.is_unready() || self.policy().ready == Ready::Pulse;
            if back || (refuted && !self.has_another_fault()) {
                self.pokes = 0;
            }
        }
    }

    pub(super) fn reload(&mut self, meanwhile: Meanwhile) -> Result<(), TestCaseError> {
        self.waits_for_grant = false;
        // Who waits for its end dies with us.
        self.command = None;
        self.bench.reload(Duration::from_secs(100));
        prop_assert_eq!(self.bench.level(), self.level, "no other level by loading");
        if self.missing {
            self.depend(false)?;
        }
        if self.is_external() {
            return self.begin();
        }
        let generation = self.generation;
        match (self.process, meanwhile) {
            (Process::None, _) => {}
            (Process::Starting(_), Meanwhile::Lives) => {
                self.process = Process::Runs;
                self.on(Event::Adopted { generation, pid: 7 })?;
            }
            (Process::Runs, Meanwhile::Lives) => {
                self.on(Event::Adopted { generation, pid: 7 })?;
            }
            (Process::Ends(_), Meanwhile::Lives) => {
                // The machine says it again, as it must: the word may not have arrived.
                self.process = Process::Runs;
                self.on(Event::Adopted { generation, pid: 7 })?;
                prop_assert!(
                    matches!(self.process, Process::Ends(_)),
                    "it goes on ending"
                );
            }
            (Process::Remains(at), Meanwhile::Lives) => {
                let _ = at;
                self.end(Some(1), None, true)?;
            }
            (_, Meanwhile::Exits(code)) => self.end(Some(code), None, false)?,
            (_, Meanwhile::Vanishes) => self.process = Process::None,
        }
        self.begin()
    }

    /// The program has begun: what its last end stopped runs again.
    pub(super) fn begin(&mut self) -> Result<(), TestCaseError> {
        if self.shut_down {
            self.wanted();
            if self.is_external() {
                self.heard = false;
                self.new_chance();
            }
        }
        self.on(Event::Begin)
    }

    pub(super) fn depend(&mut self, ready: bool) -> Result<(), TestCaseError> {
        if self.missing && ready {
            self.base = self.base.max(self.now());
            self.moved = self.moved.max(self.now());
            self.pokes = 0;
            self.row = 0;
        }
        if !ready {
            self.pokes = 0;
            self.waits_for_grant = false;
        }
        self.missing = !ready;
        self.on(Event::Dependencies {
            ready,
            missing: if ready {
                String::new()
            } else {
                "db".to_owned()
            },
        })
    }

    pub(super) fn wanted(&mut self) {
        self.stopped = false;
        self.shut_down = false;
    }

    /// Poked for a start that never said that it was ready, and it still has not.
    pub(super) fn is_unready(&self) -> bool {
        self.unready && self.bench.state() == "starting"
    }
}
