//! The actor of one watched service: its ears and hands.
//!
//! It hears the signs of life, in order: plain pulses through the slot of its [`Door`],
//! everything else as messages, and passes them to the supervisor with the generation they
//! belong to. It holds the process and does to it what the supervisor's `Poke` says. It
//! decides nothing.
//!
//! ```text
//!              adopt                     Poke::Start            Started
//!   (built) ──────────▶ nothing ──────────────────▶ starting ──────────▶ living
//!                │         ▲                            │ StartFailed      │ Exited
//!                │         └────────────────────────────┘                  ▼
//!                └──────▶ living, ended or orphaned ◀───────────────── ended, perhaps
//!                                                                      with others left
//! ```
//!
//! What carries information takes the pulses that wait in the slot along, and before an event
//! of the process the slot is drained, so that a pulse which came before an error or an exit
//! is told before it. Its state is a copy of what the process adapter said: if the
//! supervisor is rebuilt it is announced again, if this actor is rebuilt it adopts again.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{self, Poll};
use std::time::Duration;

use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use supervisor_core::event::{Event, Exit, Generation, StartFailure, StartFault};
use supervisor_core::time::Mono;

use crate::door::{Door, MAILBOX};
use crate::guardian::{Guard, Guarded, guarded, guarded_start, text_of};
use crate::handle::Inform;
use crate::messages::{
    Ack, Announce, Announced, Found, Happened, Informed, Leave, Overheard, Poke, Pulse, Report,
    Settle, Unclear,
};
use crate::ports::output::{Hearing, Output};
use crate::ports::{Adoption, Launch, Process, ProcessEvent, ProcessSink};
use crate::slot::Folded;
use crate::source::{Ear, Heard, Life, Listening};
use crate::spec::{Nudge, ProcessSpec, ServiceSpec};

/// The actor. Lean: there is one for each watched service, and most have no process.
pub(crate) struct Service {
    guard: Guard,
    door: Arc<Door>,
    spec: Rc<ServiceSpec>,
    /// Whose signs of life come in now.
    generation: Generation,
    /// Its sources at work.
    listening: Box<[Box<dyn Listening>]>,
    /// Only where we run its process.
    hands: Option<Box<Hands>>,
}

/// What holds the process.
struct Hands {
    spec: Arc<ProcessSpec>,
    process: Option<Box<dyn Process>>,
    held: Held,
    /// The number of the sink that speaks of the present process.
    sink: u32,
    /// The supervisor wants to hear what lives, as soon as the start under way has ended.
    announce: bool,
}

/// What the adapter said last.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Held {
    Nothing,
    Starting,
    Living { pid: i32 },
    Ended { exit: Exit, left: bool },
    Orphaned,
}

impl Service {
    pub(crate) fn new(guard: Guard, door: Arc<Door>, spec: Rc<ServiceSpec>) -> Self {
        let hands = spec.process.as_ref().map(|process| {
            Box::new(Hands {
                spec: Arc::clone(process),
                process: None,
                held: Held::Nothing,
                sink: 0,
                announce: false,
            })
        });
        Self {
            guard,
            door,
            // What we do not run has one life.
            generation: Generation(u32::from(spec.process.is_none())),
            spec,
            listening: Box::default(),
            hands,
        }
    }

    /// Tells of the pulses that wait.
    fn drain(&self) {
        if let Some(folded) = self.door.slot.take() {
            self.tell(folded);
        }
    }

    fn tell(&self, folded: Folded) {
        if self.door.is_closed() {
            return;
        }
        self.door.under_way.store(true, Ordering::Relaxed);
        // Bounded: plain pulses wait in the slot while one message is under way (`AtTheSlot`), and
        // what else drains the slot is bounded itself.
        let told = self.guard.world().supervisor.tell(Pulse {
            service: self.door.id,
            generation: self.generation,
            count: folded.count,
            first: folded.first,
            last: folded.last,
        });
        if !told {
            // The supervisor is being rebuilt. It asks everybody when it stands again.
            self.door.under_way.store(false, Ordering::Relaxed);
            self.door.slot.add(folded);
        }
    }

    fn report(&self, event: Event, at: Mono, ack: Option<Ack>) {
        if self.door.is_closed() {
            return;
        }
        // Bounded: what carries an acknowledgement by the places of its door, what a process
        // says by its life. Lost only if the supervisor is being rebuilt: then it asks for
        // what lives, and a client is told that nobody answered.
        self.guard.world().supervisor.tell(Report {
            service: self.door.id,
            event,
            at,
            ack,
            place: None,
        });
    }

    fn now(&self) -> Mono {
        self.guard.world().ports.clock.mono()
    }

    // --- its sources ---

    /// Begins to listen, before anything else: what a source hears until it is known what
    /// lives is told then.
    fn open_sources(&mut self) {
        if self.spec.sources.is_empty() {
            return;
        }
        let world = self.guard.world();
        let ear = Ear::new(
            Arc::clone(&self.door),
            Arc::clone(&world.ports.clock),
            world.log.clone(),
        );
        let sources = self.spec.sources.iter();
        self.listening = sources
            .map(|source| source.open(&self.spec, ear.clone()))
            .collect();
    }

    /// Tells the sources what has become of the process.
    fn live(&mut self, life: Life) {
        for source in &mut self.listening {
            source.life(life);
        }
    }

    /// What its sources want of the output of its processes.
    fn hearing(&self) -> Option<Hearing> {
        let mut sources = self.listening.iter();
        sources.find_map(|source| source.hearing())
    }

    /// Tells what its sources hear of what the process has written.
    fn hear_output(&mut self, output: &Output, at: Mono) {
        let generation = self.generation;
        let heard: Vec<_> = self
            .listening
            .iter_mut()
            .flat_map(|source| source.output(output))
            .collect();
        for heard in heard {
            // Bounded: by what is heard of one output, and that more is sent only when this
            // has been dealt with.
            if let Some(event) = heard.into_event(generation) {
                self.report(event, at, None);
            }
        }
    }

    /// From now on signs of life are that life's.
    fn belong_to(&mut self, generation: Generation) {
        self.generation = generation;
        self.door.generation.store(generation.0, Ordering::Relaxed);
    }

    // --- the process ---

    /// A place where the adapter tells what happens to the process of now. What an older one
    /// still says is told apart by its number.
    fn sink(&mut self) -> ProcessSink {
        let number = self.guard.world().next_sink();
        if let Some(hands) = &mut self.hands {
            hands.sink = number;
        }
        let door = Arc::clone(&self.door);
        let clock = Arc::clone(&self.guard.world().ports.clock);
        // Weak: the adapter, which keeps it, is the world's.
        let world = Rc::downgrade(self.guard.world());
        Rc::new(move |event| {
            if let ProcessEvent::Unclear(why) = event {
                // Not by this actor, which hears nothing while it adopts. Bounded: one when it
                // begins, one for another reason, one when it is over.
                if let Some(world) = world.upgrade() {
                    world.supervisor.tell(Unclear {
                        service: door.id,
                        why,
                        at: clock.mono(),
                    });
                }
                return;
            }
            // Bounded: a life has a handful of events. If this actor is being rebuilt they are
            // lost, and the new one adopts what there is.
            door.address.tell(Happened {
                sink: number,
                event,
                at: clock.mono(),
            });
        })
    }

    /// Looks for what an earlier supervisor, or the actor before this one, left running. No
    /// message is handled before that is known.
    fn adopt(&mut self, context: &mut Context<Self>) {
        let Some(hands) = &self.hands else { return };
        let process = Arc::clone(&hands.spec);
        let sink = self.sink();
        let processes = Rc::clone(&self.guard.world().ports.processes);
        let name = self.spec.name.clone();
        let hearing = self.hearing();
        let search = async move { processes.adopt(&name, &process, hearing, sink).await };
        // Polled again after a panic, a future panics again, while it is dropped: the panic is
        // caught here and goes on inside `guarded`.
        let search = AssertUnwindSafe(search).catch_unwind().into_actor(self);
        context.wait(search.map(|found, actor, context| {
            guarded(actor, context, |actor, _| match found {
                Ok(found) => actor.adopted(found),
                Err(payload) => std::panic::resume_unwind(payload),
            });
        }));
    }

    fn adopted(&mut self, adoption: Option<Adoption>) {
        let Some(hands) = &mut self.hands else { return };
        let generation;
        let mut inherited = None;
        (generation, hands.held, hands.process) = match adoption {
            None => (self.generation, Held::Nothing, None),
            Some(Adoption::Living {
                generation,
                pid,
                process,
                kept,
            }) => {
                inherited = Some(kept);
                (generation, Held::Living { pid }, Some(process))
            }
            Some(Adoption::Remains {
                generation,
                exit,
                process,
            }) => (generation, Held::Ended { exit, left: true }, Some(process)),
            Some(Adoption::Ended { generation, exit }) => {
                (generation, Held::Ended { exit, left: false }, None)
            }
            Some(Adoption::ShimLost {
                generation,
                process,
            }) => (generation, Held::Orphaned, Some(process)),
        };
        let living = match hands.held {
            Held::Living { pid } => Some(pid),
            Held::Nothing | Held::Starting | Held::Ended { .. } | Held::Orphaned => None,
        };
        self.belong_to(generation);
        for source in &mut self.listening {
            if let Some(kept) = &inherited {
                source.inherit(kept);
            }
        }
        if let Some(pid) = living {
            self.live(Life::Started { generation, pid });
        }
        self.announce();
        self.drain();
    }

    /// Tells the supervisor what lives; during a start, when it has ended.
    fn announce(&mut self) {
        let Some(hands) = &mut self.hands else { return };
        if self.door.is_closed() {
            return;
        }
        let generation = self.generation;
        let found = match &hands.held {
            Held::Nothing => Found::Nothing,
            Held::Starting => {
                hands.announce = true;
                return;
            }
            Held::Living { pid } => Found::Living {
                generation,
                pid: *pid,
            },
            Held::Ended { exit, left } => Found::Ended {
                generation,
                exit: exit.clone(),
                left: *left,
            },
            Held::Orphaned => Found::ShimLost { generation },
        };
        hands.announce = false;
        // Bounded: one per rebuild of an actor.
        self.guard.world().supervisor.tell(Announced {
            service: self.door.id,
            found,
            at: self.now(),
        });
    }

    fn start(&mut self, generation: Generation) {
        let at = self.now();
        let Some(hands) = &self.hands else { return };
        if hands.process.is_some() {
            // The supervisor never asks for this; two of one service would be worse than none.
            let failure = StartFailure {
                fault: StartFault::Other,
                detail: format!("generation {} still lives", self.generation),
            };
            self.report(
                Event::StartFailed {
                    generation,
                    failure,
                },
                at,
                None,
            );
            return;
        }
        let process = Arc::clone(&hands.spec);
        self.belong_to(generation);
        self.live(Life::Starting { generation });
        let launch = Launch {
            name: self.spec.name.clone(),
            generation,
            process,
            environment: self
                .listening
                .iter()
                .flat_map(|source| source.environment())
                .collect(),
            hearing: self.hearing(),
            socket: self.listening.iter().find_map(|source| source.socket()),
        };
        let sink = self.sink();
        let process = self.guard.world().ports.processes.launch(launch, sink);
        if let Some(hands) = &mut self.hands {
            hands.process = Some(process);
            hands.held = Held::Starting;
        }
    }

    fn stop(&mut self, generation: Generation) {
        let process = self.hands.as_ref().and_then(|hands| hands.process.as_ref());
        match process {
            Some(process) if generation == self.generation => process.stop(),
            Some(_) | None => self.report(Event::Gone { generation }, self.now(), None),
        }
    }

    fn process(&self) -> Option<&dyn Process> {
        let hands = self.hands.as_ref()?;
        hands.process.as_deref()
    }

    fn extend(&self, generation: Generation, by: Duration) {
        if let Some(process) = self.process()
            && generation == self.generation
        {
            process.extend(by);
        }
    }

    fn happened(&mut self, event: ProcessEvent, at: Mono) {
        let Some(hands) = &mut self.hands else { return };
        let generation = self.generation;
        let lived = matches!(hands.held, Held::Starting | Held::Living { .. });
        let event = match event {
            ProcessEvent::Started { pid } => {
                hands.held = Held::Living { pid };
                Event::Started { generation, pid }
            }
            ProcessEvent::StartFailed(failure) => {
                hands.held = Held::Nothing;
                hands.process = None;
                Event::StartFailed {
                    generation,
                    failure,
                }
            }
            ProcessEvent::Exited { exit, left } => {
                hands.held = Held::Ended {
                    exit: exit.clone(),
                    left,
                };
                if !left {
                    hands.process = None;
                }
                Event::Exited {
                    generation,
                    exit,
                    left,
                }
            }
            ProcessEvent::Gone => {
                hands.process = None;
                match &mut hands.held {
                    Held::Ended { left, .. } => *left = false,
                    held @ (Held::Nothing
                    | Held::Starting
                    | Held::Living { .. }
                    | Held::Orphaned) => *held = Held::Nothing,
                }
                Event::Gone { generation }
            }
            ProcessEvent::Blocked(by) => Event::Blocked { generation, by },
            ProcessEvent::ShimLost => {
                hands.held = Held::Orphaned;
                Event::ShimLost { generation }
            }
            // Told past us.
            ProcessEvent::Unclear(_) => return,
            ProcessEvent::Output(output) => {
                // What is left of a life that has ended proves nothing.
                if lived {
                    self.hear_output(&output, at);
                }
                return;
            }
        };
        let life = match hands.held {
            Held::Living { pid } => {
                matches!(event, Event::Started { .. }).then_some(Life::Started { generation, pid })
            }
            Held::Starting => None,
            Held::Nothing | Held::Ended { .. } | Held::Orphaned => {
                lived.then_some(Life::Ended { generation })
            }
        };
        if hands.announce {
            self.announce();
        }
        if let Some(life) = life {
            self.live(life);
        }
        self.report(event, at, None);
    }

    // --- errands ---

    fn nudge(&self) {
        match &self.spec.nudge {
            None => self.nudged(Err("no nudge is configured".to_owned())),
            Some(Nudge::Signal(signal)) => {
                let process = self.hands.as_ref().and_then(|hands| hands.process.as_ref());
                self.nudged(match process {
                    Some(process) => process.signal(*signal),
                    None => Err("there is no process to signal".to_owned()),
                });
            }
            Some(nudge @ (Nudge::Exec(_) | Nudge::Http(..) | Nudge::Tmux(..))) => {
                let errand = self.guard.world().ports.errands.nudge(&self.spec, nudge);
                self.run(errand, |failed| Event::NudgeDone { failed });
            }
        }
    }

    fn nudged(&self, result: Result<(), String>) {
        let failed = result.err();
        self.report(Event::NudgeDone { failed }, self.now(), None);
    }

    fn restart_command(&self) {
        match &self.spec.restart_command {
            None => {
                let failed = Some("no restart command is configured".to_owned());
                self.report(Event::RestartCommandDone { failed }, self.now(), None);
            }
            Some(command) => {
                let errand = self.guard.world().ports.errands.run(&self.spec, command);
                self.run(errand, |failed| Event::RestartCommandDone { failed });
            }
        }
    }

    /// Runs an errand beside this actor, which goes on listening, and reports how it ended.
    fn run(
        &self,
        errand: LocalBoxFuture<'static, Result<(), String>>,
        done: impl FnOnce(Option<String>) -> Event + 'static,
    ) {
        let world = Rc::clone(self.guard.world());
        let door = Arc::clone(&self.door);
        actix_rt::spawn(async move {
            let result = AssertUnwindSafe(errand).catch_unwind().await;
            let failed = match result {
                Ok(result) => result.err(),
                Err(payload) => Some(format!("its code panicked: {}", text_of(&*payload))),
            };
            if door.is_closed() {
                return;
            }
            // Bounded: the supervisor has one errand of a service under way at a time.
            world.supervisor.tell(Report {
                service: door.id,
                event: done(failed),
                at: world.ports.clock.mono(),
                ack: None,
                place: None,
            });
        });
    }
}

impl Actor for Service {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        guarded_start(self, context, |actor, context| {
            context.set_mailbox_capacity(MAILBOX);
            context.spawn(AtTheSlot);
            actor.open_sources();
            if actor.hands.is_some() {
                actor.adopt(context);
            } else {
                actor.drain();
            }
        });
    }
}

impl Guarded for Service {
    fn guard(&self) -> &Guard {
        &self.guard
    }
}

/// Looks into the slot whenever the actor is woken: what [`World::beat`] does.
///
/// No message, for there is nothing to say, and it costs half of one.
struct AtTheSlot;

impl ActorFuture<Service> for AtTheSlot {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut Service,
        context: &mut Context<Service>,
        task: &mut task::Context<'_>,
    ) -> Poll<()> {
        guarded(actor, context, |actor, _| {
            actor.guard.world().listen(actor.door.id, task.waker());
            // While one pulse is on its way to the supervisor the others stay where they fold;
            // the supervisor asks for them when it has read that one.
            if !actor.door.under_way.load(Ordering::Relaxed) {
                actor.drain();
            }
        });
        Poll::Pending
    }
}

impl Handler<Informed> for Service {
    type Result = ();

    fn handle(&mut self, message: Informed, context: &mut Self::Context) {
        guarded(self, context, |actor, _| {
            if let Some(folded) = message.before {
                actor.tell(folded);
            }
            let generation = actor.generation;
            let event = match message.inform {
                Inform::Note(note) => Event::Pulse {
                    generation,
                    count: 1,
                    note: Some(Box::new(note)),
                },
                Inform::Error { message, critical } => Event::Error {
                    generation,
                    message,
                    critical,
                },
                Inform::Run(sign) => Event::Run {
                    generation,
                    sign: Box::new(sign),
                },
            };
            actor.report(event, message.at, Some(message.ack));
        });
    }
}

impl Handler<Overheard> for Service {
    type Result = ();

    fn handle(&mut self, message: Overheard, context: &mut Self::Context) {
        guarded(self, context, |actor, _| {
            actor.drain();
            let generation = actor.generation;
            let past = message.generation.is_some_and(|of| of != generation);
            if past || actor.door.is_closed() {
                return;
            }
            if let Heard::Remember { note } = &message.heard
                && let Some(process) = actor.process()
            {
                process.remember(note);
            }
            let Some(event) = message.heard.into_event(generation) else {
                return;
            };
            // Bounded: by the places of the door.
            actor.guard.world().supervisor.tell(Report {
                service: actor.door.id,
                event,
                at: message.at,
                ack: None,
                place: Some(message.place),
            });
        });
    }
}

impl Handler<Settle> for Service {
    type Result = ();

    fn handle(&mut self, settle: Settle, context: &mut Self::Context) {
        guarded(self, context, |actor, _| {
            actor.drain();
            if actor.door.is_closed() {
                return;
            }
            // Bounded: by the places of the door.
            actor.guard.world().supervisor.tell(settle);
        });
    }
}

impl Handler<Happened> for Service {
    type Result = ();

    fn handle(&mut self, message: Happened, context: &mut Self::Context) {
        guarded(self, context, |actor, _| {
            actor.drain();
            let present = actor.hands.as_ref().map(|hands| hands.sink);
            if present == Some(message.sink) {
                actor.happened(message.event, message.at);
            }
        });
    }
}

impl Handler<Poke> for Service {
    type Result = ();

    fn handle(&mut self, poke: Poke, context: &mut Self::Context) {
        guarded(self, context, |actor, _| {
            actor.drain();
            match poke {
                Poke::Nudge => actor.nudge(),
                Poke::Start(generation) => actor.start(generation),
                Poke::Stop(generation) => actor.stop(generation),
                Poke::Extend(generation, by) => actor.extend(generation, by),
                Poke::RestartCommand => actor.restart_command(),
            }
        });
    }
}

impl Handler<Leave> for Service {
    type Result = ();

    fn handle(&mut self, _: Leave, context: &mut Self::Context) {
        guarded(self, context, |actor, context| {
            actor.listening = Box::default();
            // What still waits is read, and nobody hears of it: the door is closed.
            actor.hands = None;
            context.terminate();
        });
    }
}

impl Handler<Announce> for Service {
    type Result = ();

    fn handle(&mut self, _: Announce, context: &mut Self::Context) {
        guarded(self, context, |actor, _| {
            actor.announce();
            actor.drain();
        });
    }
}
