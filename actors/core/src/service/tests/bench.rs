//! A service under test, with its clock in the test's hand.

use std::cell::{Ref, RefCell};
use std::sync::Arc;
use std::time::Duration;

use crate::backoff::{Backoff, Intensity};
use crate::beats::{Beat, Beats};
use crate::event::{Action, Change, Event, EventKind, Exit, Generation, Moment, Note, PulseState};
use crate::level::{After, Level, Profile, Thresholds};
use crate::name::ServiceName;
use crate::policy::{IntervalSource, PokeOn, Policy, Ready, Restart, Watch};
use crate::run::Run;
use crate::service::{Memory, Now, Service};
use crate::time::{Mono, Time, Timestamp};
use crate::view::View;

pub(super) const S: u64 = 1_000_000_000;

/// Pulses every 10 s with a grace of 1 s: warning at 11, degraded at 31, critical at 51 s.
pub(super) fn policy() -> Policy {
    let (interval, grace) = (Duration::from_secs(10), Duration::from_secs(1));
    Policy {
        watch: Watch::Pulsing,
        interval,
        interval_source: IntervalSource::Configured,
        grace,
        grace_share: Some(0.1),
        thresholds: Thresholds::new(interval, grace, After::default(), Profile::Usual).unwrap(),
        start_grace: Duration::from_secs(60),
        recover_after: 1,
        alert_on_miss: true,
        critical: true,
        on_demand: false,
        max_busy: Duration::from_secs(1_800),
        progress_timeout: None,
        probed: true,
        restart: Restart::Always,
        backoff: Backoff::default(),
        intensity: Intensity::default(),
        quarantine_for: Duration::from_secs(1_800),
        poke_on: PokeOn {
            stale: true,
            probe: true,
            errors: false,
        },
        nudge: false,
        poke_restarts: true,
        nudge_wait: Duration::from_secs(10),
        ready: Ready::Pulse,
        stop_timeout: Duration::from_secs(10),
    }
}

pub(super) fn alive() -> Policy {
    Policy {
        watch: Watch::Alive,
        ready: Ready::Running,
        ..policy()
    }
}

pub(super) fn external() -> Policy {
    Policy {
        watch: Watch::External,
        ..policy()
    }
}

/// The moment at so many nanoseconds of the judging clock.
pub(super) fn moment(at: u64) -> Moment {
    Moment {
        time: Time(at),
        mono: Mono(at),
        wall: Timestamp((at / 1_000).cast_signed()),
    }
}

pub(super) struct Bench {
    service: RefCell<Service>,
    beats: RefCell<Beats>,
    pub(super) now: Now,
    /// Everything told so far.
    pub(super) told: Vec<Change>,
    /// Every run recorded so far.
    pub(super) runs: Vec<Run>,
}

impl Bench {
    pub(super) fn new(policy: Policy) -> Self {
        Self::with_memory(policy, None, 1_000 * S)
    }

    pub(super) fn with_memory(policy: Policy, memory: Option<Memory>, at: u64) -> Self {
        let now = Now {
            at: moment(at),
            amnesty: Time(0),
            roll: 0.5,
        };
        Self {
            service: RefCell::new(Service::new(Arc::new(policy), memory, &now)),
            beats: RefCell::default(),
            now,
            told: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// The machine, told of all pulses: what everybody does who asks it.
    pub(super) fn service(&self) -> Ref<'_, Service> {
        if let Some(beat) = self.beats.borrow_mut().take(0) {
            self.service.borrow_mut().catch_up(beat);
        }
        self.service.borrow()
    }

    /// A plain pulse on the fast path, if that takes it.
    pub(super) fn fast(&mut self, generation: Generation, count: u32, at: Moment) -> bool {
        let beat = Beat {
            count,
            first: at.time,
            last: at,
        };
        self.beats.get_mut().pulse(0, generation, beat)
    }

    /// All that follows.
    pub(super) fn plan(&mut self, event: Event) -> Vec<Action> {
        drop(self.service());
        let service = self.service.get_mut();
        let actions = service.on(event, &self.now);
        self.beats.get_mut().promise(0, service.promise());
        actions
    }

    /// When to tick next.
    pub(super) fn deadline(&self) -> Time {
        let promised = self.beats.borrow().well_until(0);
        let deadline = self.service().deadline(self.now.amnesty);
        if let Some(promised) = promised
            && promised > self.now.at.time
        {
            assert!(
                promised <= deadline,
                "an excuse aside, who is well is so until {deadline:?}, not {promised:?}"
            );
        }
        deadline
    }

    /// What follows, but for what is only told.
    pub(super) fn on(&mut self, event: Event) -> Vec<Action> {
        let actions = self.plan(event);
        let mut done = Vec::new();
        for action in actions {
            match action {
                Action::Tell(change) => self.told.push(change),
                Action::Record(run) => self.runs.push(*run),
                Action::Start { .. }
                | Action::Stop { .. }
                | Action::Extend { .. }
                | Action::Nudge
                | Action::RestartCommand
                | Action::AskRestart => done.push(action),
            }
        }
        done
    }

    /// Lets time pass, with a tick at every deadline. What the machine wants done piles up.
    pub(super) fn pass(&mut self, duration: Duration) -> Vec<Action> {
        let end = self.now.at.time + duration;
        let mut done = Vec::new();
        loop {
            let deadline = self.deadline();
            if deadline > end {
                break;
            }
            self.now.at = moment(deadline.0.max(self.now.at.time.0));
            done.extend(self.on(Event::Tick));
            assert!(
                self.deadline() > deadline,
                "a tick at {deadline:?} led nowhere"
            );
        }
        self.now.at = moment(end.0);
        done
    }

    pub(super) fn seconds(&mut self, seconds: u64) -> Vec<Action> {
        self.pass(Duration::from_secs(seconds))
    }

    pub(super) fn generation(&self) -> Generation {
        self.service().generation()
    }

    pub(super) fn pulse(&mut self) -> Vec<Action> {
        let generation = self.generation();
        if self.fast(generation, 1, self.now.at) {
            return Vec::new();
        }
        self.on(Event::Pulse {
            generation,
            count: 1,
            note: None,
        })
    }

    pub(super) fn say(&mut self, note: Note) -> Vec<Action> {
        let generation = self.generation();
        self.on(Event::Pulse {
            generation,
            count: 1,
            note: Some(Box::new(note)),
        })
    }

    pub(super) fn says(&mut self, state: PulseState) -> Vec<Action> {
        self.say(Note {
            state: Some(state),
            ..Note::default()
        })
    }

    pub(super) fn error(&mut self, critical: bool) -> Vec<Action> {
        let generation = self.generation();
        self.on(Event::Error {
            generation,
            message: "disk on fire".to_owned(),
            critical,
        })
    }

    /// After one has succeeded.
    pub(super) fn probe_fails(&mut self) -> Vec<Action> {
        self.probe_failed(true)
    }

    /// Before any has succeeded in this life.
    pub(super) fn probe_fails_yet(&mut self) -> Vec<Action> {
        self.probe_failed(false)
    }

    fn probe_failed(&mut self, passed_before: bool) -> Vec<Action> {
        let generation = self.generation();
        self.on(Event::ProbeFailed {
            generation,
            reason: "connection refused".to_owned(),
            passed_before,
        })
    }

    pub(super) fn probe_passes(&mut self) -> Vec<Action> {
        let generation = self.generation();
        self.on(Event::ProbePassed { generation })
    }

    pub(super) fn started(&mut self) -> Vec<Action> {
        let generation = self.generation();
        let pid = 1_000 + generation.0.cast_signed();
        self.on(Event::Started { generation, pid })
    }

    pub(super) fn exit(&mut self, code: i32) -> Vec<Action> {
        self.end(Some(code), None, false)
    }

    pub(super) fn killed(&mut self, signal: i32) -> Vec<Action> {
        self.end(None, Some(signal), false)
    }

    pub(super) fn end(
        &mut self,
        code: Option<i32>,
        signal: Option<i32>,
        left: bool,
    ) -> Vec<Action> {
        let generation = self.generation();
        let exit = Exit {
            code,
            signal,
            oom: false,
            at: self.now.at.wall,
        };
        self.on(Event::Exited {
            generation,
            exit,
            left,
        })
    }

    pub(super) fn gone(&mut self) -> Vec<Action> {
        let generation = self.generation();
        self.on(Event::Gone { generation })
    }

    pub(super) fn stop(&mut self) -> Vec<Action> {
        self.on(Event::Stop {
            why: "operator".to_owned(),
        })
    }

    pub(super) fn depend(&mut self, missing: &str) -> Vec<Action> {
        self.on(Event::Dependencies {
            ready: missing.is_empty(),
            missing: missing.to_owned(),
        })
    }

    /// Begun, executed, and for one that pulses pulsed once: well.
    pub(super) fn up(policy: Policy) -> Self {
        let mut bench = Self::new(policy);
        bench.on(Event::Begin);
        bench.started();
        if bench.service().owned_policy().watch != Watch::Alive {
            bench.pulse();
        }
        assert_eq!(bench.level(), Level::Healthy);
        bench.told.clear();
        bench
    }

    /// Pulses on time for so long.
    pub(super) fn pulse_for(&mut self, seconds: u64) {
        for _ in 0..seconds / 10 {
            assert_eq!(self.seconds(10), []);
            assert_eq!(self.pulse(), []);
        }
    }

    pub(super) fn level(&self) -> Level {
        self.service().level()
    }

    pub(super) fn state(&self) -> &'static str {
        self.service().state().as_str()
    }

    pub(super) fn view(&self) -> View {
        let name = ServiceName::new("worker").unwrap();
        self.service().view(&name, &self.now, &[], &[])
    }

    pub(super) fn reason(&self) -> String {
        self.view().reason
    }

    /// The kinds told since the last call, in order, with what they lead to.
    pub(super) fn kinds(&mut self) -> Vec<String> {
        self.told
            .drain(..)
            .map(|change| {
                let kind = change.kind.as_str();
                match (change.kind, change.from, change.to) {
                    (EventKind::Level, Some(from), Some(to)) => format!("{from} → {to}"),
                    (_, _, Some(to)) => format!("{kind} {to}"),
                    (_, _, None) => kind.to_owned(),
                }
            })
            .collect()
    }

    /// Dies without a trace and is loaded again from what was written, after that time.
    pub(super) fn reload(&mut self, downtime: Duration) {
        let written = serde_json::to_string(self.service().memory()).unwrap();
        let memory: Memory = serde_json::from_str(&written).unwrap();
        assert_eq!(&memory, self.service().memory());
        let policy = Policy::clone(self.service().owned_policy());
        let time = self.now.at.time;
        let told = std::mem::take(&mut self.told);
        *self = Self::with_memory(policy, Some(memory), time.0);
        self.told = told;
        // Downtime passes on the machine's clock, not on the judging one.
        self.now.at.mono = self.now.at.mono + downtime;
        self.now.amnesty = time;
    }
}

pub(super) fn start(generation: u32) -> Action {
    Action::Start {
        generation: Generation(generation),
    }
}

pub(super) fn stop(generation: u32) -> Action {
    Action::Stop {
        generation: Generation(generation),
    }
}
