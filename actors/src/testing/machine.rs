//! A fake kernel: children that pulse, hang, exit, ignore their stop signal, and outlive the
//! supervisor that started them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use supervisor_core::ServiceName;
use supervisor_core::event::{Exit, Generation, StartFailure};
use supervisor_core::time::Mono;

use crate::handle::Directory;
use crate::ports::output::{Hearing, More, Output};
use crate::ports::{
    Adoption, Clock, Errands, Kept, Launch, Process, ProcessEvent, ProcessSink, Processes,
};
use crate::spec::{Nudge, ProcessSpec, ServiceSpec};
use crate::testing::FakeClock;

/// How children of one service behave from their start on.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// How often they pulse; never by default.
    pub pulse_every: Option<Duration>,
    /// How long after the launch they have executed.
    pub start_after: Duration,
    /// How long they take to obey their stop signal.
    pub stop_after: Duration,
    /// They do not obey it and are killed after their stop timeout.
    pub ignores_stop: bool,
    /// They exit by themselves, with that code, so long after their start.
    pub exit_after: Option<(Duration, i32)>,
    /// They cannot be started.
    pub fails: Option<StartFailure>,
    /// The adapter's code panics at the launch.
    pub launch_panics: bool,
    /// The adapter's code blocks the thread for so long at the launch, while the clock goes on.
    pub launch_blocks: Duration,
    /// They hang from so long after their start on.
    pub hang_after: Option<Duration>,
    /// How many bytes they take.
    pub memory: u64,
}

/// What was done to a child, or what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// When, on the monotonic clock.
    pub at: Mono,
    /// Whose.
    pub name: String,
    /// Of which life.
    pub generation: u32,
    /// What.
    pub what: What,
}

/// See [`Act`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It was launched.
    Launched,
    /// It was told to stop.
    Stopped {
        /// Whether it hung.
        hung: bool,
        /// When it had last pulsed, or had been launched.
        last: Mono,
    },
    /// It ended.
    Ended,
}

/// The fake kernel. Clones share it.
#[derive(Clone)]
pub struct Machine(Rc<Inner>);

struct Inner {
    clock: Arc<FakeClock>,
    directory: RefCell<Option<Directory>>,
    scripts: RefCell<HashMap<String, Script>>,
    children: RefCell<Vec<Rc<Child>>>,
    next_pid: Cell<i32>,
    launches: RefCell<HashMap<String, u32>>,
    environments: RefCell<HashMap<String, Vec<(String, String)>>>,
    doubled: Cell<bool>,
    journal: RefCell<Vec<Act>>,
    weighings: Cell<u32>,
    most_weighed: Cell<usize>,
}

struct Child {
    name: ServiceName,
    generation: Generation,
    pid: i32,
    script: RefCell<Script>,
    stop_timeout: Duration,
    sink: RefCell<Option<ProcessSink>>,
    alive: Cell<bool>,
    hung: Cell<bool>,
    stopping: Cell<bool>,
    last: Cell<Mono>,
    ended: RefCell<Option<Exit>>,
    signals: RefCell<Vec<i32>>,
    hearing: Cell<Option<Hearing>>,
    extended: Cell<Duration>,
    kept: RefCell<Kept>,
}

impl Machine {
    pub(super) fn new(clock: Arc<FakeClock>) -> Self {
        Self(Rc::new(Inner {
            clock,
            directory: RefCell::default(),
            scripts: RefCell::default(),
            children: RefCell::default(),
            next_pid: Cell::new(1_000),
            launches: RefCell::default(),
            environments: RefCell::default(),
            doubled: Cell::new(false),
            weighings: Cell::default(),
            most_weighed: Cell::default(),
            journal: RefCell::default(),
        }))
    }

    /// How often services were weighed, and how many at a time at most.
    #[must_use]
    pub fn weighings(&self) -> (u32, usize) {
        (self.0.weighings.get(), self.0.most_weighed.get())
    }

    /// Children pulse there from now on; those that outlived the last universe, too.
    pub(super) fn attach(&self, directory: &Directory) {
        self.0.directory.replace(Some(directory.clone()));
        for child in self.0.children.borrow().iter() {
            if child.alive.get() {
                self.run(child);
            }
        }
    }

    /// How children of a service behave that are started from now on.
    pub fn script(&self, name: &str, script: Script) {
        self.0.scripts.borrow_mut().insert(name.to_owned(), script);
    }

    /// The living child of a service hangs: it lives and pulses no more. Its successor will
    /// not hang.
    pub fn hang(&self, name: &str) {
        if let Some(child) = self.child(name) {
            child.hung.set(true);
        }
    }

    /// Whether the living child of a service hangs.
    #[must_use]
    pub fn is_hung(&self, name: &str) -> bool {
        self.child(name).is_some_and(|child| child.hung.get())
    }

    /// The living child of a service goes on.
    pub fn wake(&self, name: &str) {
        if let Some(child) = self.child(name) {
            child.hung.set(false);
        }
    }

    /// The living child of a service exits.
    pub fn exit(&self, name: &str, code: i32) {
        if let Some(child) = self.child(name) {
            self.end(&child, exit_code(&self.0.clock, code));
        }
    }

    /// The shim of the living child is gone: the adapter says so and ends the tree.
    pub fn lose_shim(&self, name: &str) {
        if let Some(child) = self.child(name) {
            child.alive.set(false);
            child.say(ProcessEvent::ShimLost);
            child.say(ProcessEvent::Gone);
        }
    }

    /// The services that have a living child, with generation and pid, sorted by name.
    #[must_use]
    pub fn living(&self) -> Vec<(String, u32, i32)> {
        let mut living: Vec<_> = self
            .0
            .children
            .borrow()
            .iter()
            .filter(|child| child.alive.get())
            .map(|child| {
                (
                    child.name.as_str().to_owned(),
                    child.generation.0,
                    child.pid,
                )
            })
            .collect();
        living.sort();
        living
    }

    /// How many children of a service were started.
    #[must_use]
    pub fn launches(&self, name: &str) -> u32 {
        self.0.launches.borrow().get(name).copied().unwrap_or(0)
    }

    /// The variables that the sources of a service gave its last child.
    #[must_use]
    pub fn environment(&self, name: &str) -> Vec<(String, String)> {
        let environments = self.0.environments.borrow();
        environments.get(name).cloned().unwrap_or_default()
    }

    /// Whether two children of one service ever lived at once.
    #[must_use]
    pub fn ever_doubled(&self) -> bool {
        self.0.doubled.get()
    }

    /// The signals that were sent to the living child of a service.
    #[must_use]
    pub fn signals(&self, name: &str) -> Vec<i32> {
        self.child(name)
            .map(|child| child.signals.borrow().clone())
            .unwrap_or_default()
    }

    /// The living child of a service prints lines. Whether anybody wants to hear of them.
    pub fn print(&self, name: &str, lines: &[&str], more: More) -> Option<Hearing> {
        let child = self.child(name)?;
        let hearing = child.hearing.get()?;
        let text = match hearing {
            Hearing::Count => Vec::new(),
            Hearing::Lines => lines
                .iter()
                .flat_map(|line| [line, "\n"])
                .collect::<String>()
                .into(),
        };
        child.say(ProcessEvent::Output(Output {
            lines: u32::try_from(lines.len()).unwrap_or(u32::MAX),
            lost: 0,
            text,
            more,
        }));
        Some(hearing)
    }

    /// By how much the stop of the living child of a service was extended last.
    #[must_use]
    pub fn extended(&self, name: &str) -> Duration {
        self.child(name)
            .map_or(Duration::ZERO, |child| child.extended.get())
    }

    /// Everything that runs stands still for so long, the supervisor included: the clock goes
    /// on, no timer fires, nobody pulses.
    pub fn freeze(&self, duration: Duration) {
        self.0.clock.freeze(duration);
    }

    fn child(&self, name: &str) -> Option<Rc<Child>> {
        let children = self.0.children.borrow();
        let mut living = children.iter().filter(|child| child.alive.get());
        living.find(|child| child.name.as_str() == name).cloned()
    }

    /// The life of a child under the present runtime.
    fn run(&self, child: &Rc<Child>) {
        let script = child.script.borrow().clone();
        if let Some(interval) = script.pulse_every {
            let (machine, child) = (self.clone(), Rc::clone(child));
            actix_rt::spawn(async move {
                while child.alive.get() {
                    if !child.hung.get() {
                        machine.pulse(&child);
                    }
                    tokio::time::sleep(interval).await;
                }
            });
        }
        if let Some((after, code)) = script.exit_after {
            let (machine, child) = (self.clone(), Rc::clone(child));
            actix_rt::spawn(async move {
                tokio::time::sleep(after).await;
                machine.end(&child, exit_code(&machine.0.clock, code));
            });
        }
        if let Some(after) = script.hang_after {
            let child = Rc::clone(child);
            actix_rt::spawn(async move {
                tokio::time::sleep(after).await;
                child.hung.set(true);
            });
        }
    }

    /// Everything that was done to children, and their ends, in order.
    #[must_use]
    pub fn journal(&self) -> Vec<Act> {
        self.0.journal.borrow().clone()
    }

    fn note(&self, child: &Child, what: What) {
        self.0.journal.borrow_mut().push(Act {
            at: self.0.clock.mono(),
            name: child.name.as_str().to_owned(),
            generation: child.generation.0,
            what,
        });
    }

    fn end(&self, child: &Child, exit: Exit) {
        if child.alive.replace(false) {
            self.note(child, What::Ended);
            child.ended.replace(Some(exit.clone()));
            child.say(ProcessEvent::Exited { exit, left: false });
        }
    }

    fn pulse(&self, child: &Child) {
        let directory = self.0.directory.borrow();
        let handle = directory
            .as_ref()
            .and_then(|directory| directory.get(child.name.as_str()));
        if let Some(handle) = handle {
            // A refused pulse is a lost one, as it is for a real child.
            child.last.set(self.0.clock.mono());
            drop(handle.pulse(child.last.get()));
        }
    }
}

fn exit_code(clock: &FakeClock, code: i32) -> Exit {
    Exit {
        code: Some(code),
        signal: None,
        oom: false,
        at: clock.wall(),
    }
}

fn exit_signal(clock: &FakeClock, signal: i32) -> Exit {
    Exit {
        code: None,
        signal: Some(signal),
        oom: false,
        at: clock.wall(),
    }
}

impl Child {
    fn say(&self, event: ProcessEvent) {
        let sink = self.sink.borrow().clone();
        if let Some(sink) = sink {
            sink(event);
        }
    }
}

impl Processes for Machine {
    fn launch(&self, launch: Launch, sink: ProcessSink) -> Box<dyn Process> {
        let name = launch.name.as_str().to_owned();
        let script = self.0.scripts.borrow().get(&name).cloned();
        let script = script.unwrap_or_default();
        *self
            .0
            .launches
            .borrow_mut()
            .entry(name.clone())
            .or_default() += 1;
        let variables = launch.environment;
        self.0
            .environments
            .borrow_mut()
            .insert(name.clone(), variables);
        assert!(!script.launch_panics, "the launch was told to panic");
        self.0.clock.freeze(script.launch_blocks);
        if self.child(&name).is_some() {
            self.0.doubled.set(true);
        }
        self.0.next_pid.set(self.0.next_pid.get() + 1);
        let child = Rc::new(Child {
            name: launch.name,
            generation: launch.generation,
            pid: self.0.next_pid.get(),
            script: RefCell::new(script.clone()),
            stop_timeout: launch.process.stop_timeout,
            sink: RefCell::new(Some(sink)),
            alive: Cell::new(script.fails.is_none()),
            hung: Cell::new(false),
            stopping: Cell::new(false),
            last: Cell::new(self.0.clock.mono()),
            ended: RefCell::new(None),
            signals: RefCell::default(),
            hearing: Cell::new(launch.hearing),
            extended: Cell::default(),
            kept: RefCell::new(Kept {
                socket: launch.socket,
                note: String::new(),
            }),
        });
        self.note(&child, What::Launched);
        let started = Rc::clone(&child);
        self.0.children.borrow_mut().retain(|other| {
            // Only the last life of a service is on record.
            other.alive.get() || other.name != child.name
        });
        self.0.children.borrow_mut().push(Rc::clone(&child));
        let machine = self.clone();
        actix_rt::spawn(async move {
            tokio::time::sleep(script.start_after).await;
            match script.fails {
                Some(failure) => started.say(ProcessEvent::StartFailed(failure)),
                None => {
                    started.say(ProcessEvent::Started { pid: started.pid });
                    machine.run(&started);
                }
            }
        });
        Box::new(FakeProcess {
            child,
            machine: self.clone(),
        })
    }

    fn adopt<'a>(
        &'a self,
        name: &'a ServiceName,
        _process: &'a ProcessSpec,
        hearing: Option<Hearing>,
        sink: ProcessSink,
    ) -> LocalBoxFuture<'a, Option<Adoption>> {
        Box::pin(async move {
            let children = self.0.children.borrow();
            let child = children.iter().rev().find(|child| child.name == *name)?;
            let generation = child.generation;
            if child.alive.get() {
                child.sink.replace(Some(sink));
                child.hearing.set(hearing);
                return Some(Adoption::Living {
                    generation,
                    pid: child.pid,
                    process: Box::new(FakeProcess {
                        child: Rc::clone(child),
                        machine: self.clone(),
                    }),
                    kept: child.kept.borrow().clone(),
                });
            }
            let exit = child.ended.borrow().clone()?;
            Some(Adoption::Ended { generation, exit })
        })
    }

    fn forget(&self, name: &ServiceName) {
        let mut children = self.0.children.borrow_mut();
        children.retain(|child| child.alive.get() || child.name != *name);
    }

    fn weigh(&self, mains: Vec<i32>) -> LocalBoxFuture<'static, Vec<Option<u64>>> {
        self.0.weighings.set(self.0.weighings.get() + 1);
        self.0
            .most_weighed
            .set(self.0.most_weighed.get().max(mains.len()));
        let children = self.0.children.borrow();
        let weight = |pid| {
            let mut children = children.iter();
            let child = children.find(|child| child.pid == pid && child.alive.get())?;
            let scripts = self.0.scripts.borrow();
            scripts.get(child.name.as_str()).map(|script| script.memory)
        };
        let weights = mains.into_iter().map(weight).collect();
        Box::pin(std::future::ready(weights))
    }
}

struct FakeProcess {
    child: Rc<Child>,
    machine: Machine,
}

impl Drop for FakeProcess {
    fn drop(&mut self) {
        // Nobody listens any more; the child lives on.
        if self.child.alive.get() {
            self.child.sink.replace(None);
        }
    }
}

impl Process for FakeProcess {
    fn stop(&self) {
        let again = self.child.stopping.replace(true);
        let script = self.child.script.borrow().clone();
        let (after, signal) = match (again, script.ignores_stop) {
            (true, _) => (Duration::ZERO, 9),
            (false, true) => (self.child.stop_timeout, 9),
            (false, false) => (script.stop_after, 15),
        };
        let (child, machine) = (Rc::clone(&self.child), self.machine.clone());
        let (hung, last) = (child.hung.get(), child.last.get());
        machine.note(&child, What::Stopped { hung, last });
        actix_rt::spawn(async move {
            tokio::time::sleep(after).await;
            machine.end(&child, exit_signal(&machine.0.clock, signal));
        });
    }

    fn signal(&self, signal: i32) -> Result<(), String> {
        if !self.child.alive.get() {
            return Err("no such process".to_owned());
        }
        self.child.signals.borrow_mut().push(signal);
        Ok(())
    }

    fn extend(&self, by: Duration) {
        self.child.extended.set(by);
    }

    fn remember(&self, note: &str) {
        note.clone_into(&mut self.child.kept.borrow_mut().note);
    }
}

/// Errands that are noted and succeed, or fail as told.
#[derive(Default)]
pub struct FakeErrands {
    /// What was run.
    pub done: RefCell<Vec<String>>,
    /// What they fail with from now on.
    pub failure: RefCell<Option<String>>,
}

impl FakeErrands {
    fn note(&self, what: String) -> LocalBoxFuture<'static, Result<(), String>> {
        self.done.borrow_mut().push(what);
        let failure = self.failure.borrow().clone();
        Box::pin(async move { failure.map_or(Ok(()), Err) })
    }
}

impl Errands for FakeErrands {
    fn nudge(&self, _: &ServiceSpec, nudge: &Nudge) -> LocalBoxFuture<'static, Result<(), String>> {
        self.note(format!("nudge {nudge:?}"))
    }

    fn run(
        &self,
        _: &ServiceSpec,
        command: &[String],
    ) -> LocalBoxFuture<'static, Result<(), String>> {
        self.note(format!("run {}", command.join(" ")))
    }
}
