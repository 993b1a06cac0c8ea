//! The supervisor: the one place where it is decided what a service is and needs.
//!
//! It owns the table of services (core's machines), the wheel of their deadlines, the storm
//! brake, the dependency graph and the judging clock. Everything reaches it as a message; it
//! feeds the machines, and carries out the actions that they plan:
//!
//! ```text
//!   Pulse ──▶ machine (a store)                    wheel ── deadline passed ──▶ machine
//!   Report, Announced, Control ──▶ machine ──▶ actions ──▶ Poke to the Service
//!                                                     ├──▶ Record to the Archive, log, Deacon
//!                                                     └──▶ the storm brake
//! ```
//!
//! One timer is armed at a time, for the earliest deadline and at most a second ahead, so that
//! our own lateness is noticed: that is what the judging clock leaves out. Messages are
//! handled in batches: between them it yields to the other actors, and deadlines that are due
//! are looked after inside a batch, so that no flood of messages keeps it from judging.
//!
//! - `decide`: events to machines, actions to actors;
//! - `turn`: time: the timer, stalls, the wheel, what is done each second;
//! - `tell`: log, history, memory;
//! - `concern`: what alerts are about;
//! - `maintenance`: windows in which services are judged and otherwise left alone;
//! - `observe`: rhythms, and the minutes of the history;
//! - `order`: starting and stopping in the order of dependencies;
//! - `roll`: who is watched: services come and go while everything runs;
//! - `resident`: how much memory services take;
//! - `show`: what whoever looks on is shown.

mod concern;
mod decide;
mod maintenance;
mod missing;
mod observe;
mod order;
mod resident;
mod roll;
mod show;
mod table;
mod tell;
mod turn;

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, MessageResult, ResponseFuture,
    SpawnHandle, WrapFuture,
};
use slog::{error, warn};
use tokio::sync::oneshot;

use supervisor_core::alert::Lasting;
use supervisor_core::beats::Beats;
use supervisor_core::dependency::Dependencies;
use supervisor_core::event::{Event, EventKind, Moment, RestartKind};
use supervisor_core::name::INTERNAL_PREFIX;
use supervisor_core::overall::Tally;
use supervisor_core::rhythm::Kept;
use supervisor_core::service::{Memory, Service};
use supervisor_core::stall::{Attention, Marked};
use supervisor_core::storm::Brake;
use supervisor_core::time::{Mono, Time};
use supervisor_core::track::Track;
use supervisor_core::view::View;
use supervisor_core::wheel::Wheel;
use supervisor_core::{Level, Timestamp};

use crate::door::Door;
use crate::guardian::{Guard, Guarded, Subject, guarded, guarded_start};
use crate::internal;
use crate::messages::{
    Announce, Announced, Control, Denied, Found, Freed, GetOverview, GetRegistrations, GetService,
    GetSpec, Load, Overview, OwnTrouble, Pulse, Rebuilt, Record, Register, Report, SelfPulse,
    ServiceId, Settle, Shutdown, Storage, Trouble, Unclear, Unregister, Unwatch, Verb, Watch,
};
use crate::ports::StoreError;
use crate::registration::{Registering, Registration};
use crate::spec::ServiceSpec;
use crate::world::Watched;

use concern::Concerns;
use observe::Observing;
use resident::{Resident, Weighing};
use show::Showing;
use table::Table;

/// How many messages are handled before the other actors get their turn.
const BATCH: u32 = 256;
/// How many messages may pass between two looks at the clock.
const GLANCE: u32 = 64;
/// What may wait in the mailbox of requests from outside. Our own actors send past it; what
/// they send is bounded by itself.
const MAILBOX: usize = 4_096;

/// The supervisor.
pub(crate) struct Supervisor {
    guard: Guard,
    /// By [`ServiceId`].
    entries: Table<Entry>,
    /// Beside them, dense, what a plain pulse touches: what it changes, …
    beats: Beats,
    /// … where it comes from, …
    doors: Table<Arc<Door>>,
    /// … and whether its service is listed in `dirty`.
    listed: Vec<bool>,
    /// Our own actors among them.
    internal: HashMap<Subject, u32>,
    wheel: Wheel,
    brake: Brake,
    graph: Dependencies,
    tally: Tally,
    /// The same of our own actors: they count where something is wrong with them.
    own_tally: Tally,
    attention: Attention,
    /// When our next turn should be.
    due: Mono,
    timer: Option<SpawnHandle>,
    /// The last look at the clocks.
    present: Present,
    /// When what is done each second is done next.
    second: Mono,
    /// When the heartbeat file is written next.
    patrol: Mono,
    /// When it says next that it turns.
    pulse: Mono,
    /// Messages handled.
    handled: u32,
    /// Events that follow from events.
    queue: VecDeque<(u32, Event)>,
    /// Whose memory differs from what was sent to the archive.
    dirty: Vec<u32>,
    /// Those of them that are being sent, some at each turn.
    writing: Vec<u32>,
    /// Whose memory goes with the outbox.
    urgent: Vec<u32>,
    /// What goes to the archive when the present message is done with.
    outbox: Record,
    /// What the heartbeat file will say was done.
    poked: Option<String>,
    /// What the alerter will hear.
    concerns: Concerns,
    /// What is to happen to a service as soon as nothing that needs it runs.
    stopping: HashMap<u32, Event>,
    /// Who is being stopped in order to be watched no longer, and who waits for that.
    departing: HashMap<u32, Vec<oneshot::Sender<()>>>,
    /// Those of them of which nothing is left, perhaps.
    departed: Vec<u32>,
    /// Whose announcement has not come.
    unannounced: usize,
    closing: Option<Closing>,
    storage: Result<(), String>,
    /// How many services count for a storm, and when they were counted.
    weighed: Option<(Mono, usize)>,
    refused: u64,
    /// The clocks a second ago: uptime and wall.
    clocks: Option<(Mono, Timestamp)>,
    /// Reused by each turn.
    fired: Vec<u32>,
    showing: Showing,
    observing: Observing,
    weighing: Weighing,
}

/// One watched service.
struct Entry {
    service: Service,
    /// What is observed of it.
    track: Track,
    /// How much memory it takes.
    resident: Resident,
    spec: Rc<ServiceSpec>,
    door: Arc<Door>,
    /// Panics of our own actor behind it.
    rebuilt: u32,
    /// Whether what lives of it is known: nothing is started before.
    announced: bool,
    /// Whether its dependants may run, as they were last told.
    ready: bool,
    /// Whether it is about to be stopped: its dependants go first.
    leaving: bool,
    /// Whether anything of it was found when its actor announced itself.
    found: bool,
    /// Whether it has gone on from what is remembered of it.
    begun: bool,
}

/// What is remembered of a service.
struct Remembered {
    memory: Memory,
    /// What was learnt of its rhythm, or why that cannot be read.
    rhythm: Option<Result<Kept, String>>,
}

/// A look at the clocks.
#[derive(Debug, Clone, Copy)]
struct Present {
    mono: Mono,
    wall: Timestamp,
}

/// A shutdown under way.
struct Closing {
    /// What runs is left running.
    leave: bool,
    asking: Vec<oneshot::Sender<()>>,
}

impl Supervisor {
    pub(crate) fn new(guard: Guard) -> Self {
        let world = Rc::clone(guard.world());
        let clock = &world.ports.clock;
        let present = Present {
            mono: clock.mono(),
            wall: clock.wall(),
        };
        // A mark of another boot says nothing about this boot's monotonic clock.
        let mark = world.ports.marks.read().map(|mark| Marked {
            time: mark.time,
            mono: (mark.boot == world.ports.marks.boot()).then_some(mark.mono),
        });
        let mut attention = Attention::new(present.mono, mark);
        let begin = attention.now(present.mono);
        Self {
            guard,
            entries: Table::default(),
            beats: Beats::default(),
            doors: Table::default(),
            listed: Vec::new(),
            internal: HashMap::new(),
            wheel: Wheel::new(begin),
            brake: Brake::default(),
            graph: Dependencies::default(),
            tally: Tally::default(),
            own_tally: Tally::default(),
            attention,
            due: present.mono,
            timer: None,
            present,
            second: present.mono,
            patrol: present.mono,
            pulse: present.mono,
            handled: 0,
            queue: VecDeque::new(),
            dirty: Vec::new(),
            writing: Vec::new(),
            urgent: Vec::new(),
            outbox: Record::default(),
            poked: None,
            concerns: Concerns::default(),
            stopping: HashMap::new(),
            departing: HashMap::new(),
            departed: Vec::new(),
            unannounced: 0,
            closing: None,
            storage: Ok(()),
            weighed: None,
            refused: 0,
            clocks: None,
            fired: Vec::new(),
            showing: Showing::default(),
            observing: Observing::new(present),
            weighing: Weighing::default(),
        }
    }
}

impl Supervisor {
    /// Builds the table from what is watched and what is remembered, and hears from everybody.
    fn begin(&mut self, loaded: Result<Vec<(String, String)>, StoreError>) {
        let world = Rc::clone(self.guard.world());
        let (mut memories, unknown) = self.remember(loaded);
        for remembered in memories.values() {
            self.attention.never_before(remembered.memory.latest());
        }
        self.look();
        let begin = self.now().time;
        self.wheel = Wheel::new(begin);
        world.roster.borrow_mut().begin();
        let watched: Vec<Watched> = {
            let roster = world.roster.borrow();
            roster.iter().map(|(_, one)| one.clone()).collect()
        };
        self.regraph();
        self.entries.reserve(watched.len());
        for one in watched {
            let mut remembered = memories.remove(one.spec.name.as_str());
            if one.spec.name.is_internal()
                && let Some(remembered) = &mut remembered
            {
                // Our own actors live no longer than we do.
                remembered.memory.judge_from(begin);
            }
            self.enter(one, remembered);
        }
        let order: Vec<u32> = match self.graph.start_order() {
            [] => (0..self.entries.len() as u32).collect(),
            order => order.to_vec(),
        };
        for id in order {
            self.introduce(id);
        }
        self.follow();
        self.miss(unknown);
        self.ready_if_announced();
        if let Some(reason) = world.crashed.take() {
            warn!(world.log, "the last supervisor was not stopped"; "how" => &reason);
            self.own_trouble(OwnTrouble::Is {
                what: "restarted",
                level: Level::Degraded,
                reason: reason.clone(),
                lasts: Lasting::For(turn::TOGETHER),
            });
            self.tell_of_us(Subject::Supervisor, reason, Level::Degraded);
        }
    }

    /// The memories that can be read, and the rows of those whom nobody knows; what cannot be
    /// read is set aside with a word in the log.
    fn remember(
        &mut self,
        loaded: Result<Vec<(String, String)>, StoreError>,
    ) -> (HashMap<String, Remembered>, Vec<(String, String)>) {
        let world = Rc::clone(self.guard.world());
        let log = &world.log;
        let rows = loaded.unwrap_or_else(|why| {
            error!(log, "memories cannot be read, services are judged afresh"; "error" => %why);
            self.storage = Err(why.to_string());
            Vec::new()
        });
        let mut memories = HashMap::with_capacity(rows.len());
        let mut unknown = Vec::new();
        for (name, json) in rows {
            match serde_json::from_str(&json) {
                Ok(memory) => {
                    let is_known = || world.directory.get(&name).is_some();
                    if !is_known() {
                        self.readmit(&name, &json);
                    }
                    let rhythm = Remembered::rhythm(&json);
                    if !is_known() && !name.starts_with(INTERNAL_PREFIX) {
                        unknown.push((name.clone(), json));
                    }
                    memories.insert(name, Remembered { memory, rhythm });
                }
                Err(why) => warn!(log, "memory cannot be read, the service is judged afresh";
                    "service" => name, "error" => %why),
            }
        }
        (memories, unknown)
    }

    /// Puts a service into the table.
    fn enter(&mut self, watched: Watched, remembered: Option<Remembered>) -> u32 {
        let Watched { spec, door } = watched;
        let id = door.id.0;
        let now = self.now_for_core();
        let (memory, rhythm) = match remembered {
            Some(Remembered { memory, rhythm }) => (Some(memory), rhythm),
            None => (None, None),
        };
        let service = Service::new(Arc::clone(&spec.policy), memory, &now);
        if spec.name.is_internal() {
            for subject in internal::shown() {
                if internal::name(subject) == spec.name {
                    self.internal.insert(subject, id);
                }
            }
        }
        self.tally_of(&spec)
            .add(service.level(), spec.policy.critical);
        let announced = spec.process.is_none();
        self.unannounced += usize::from(!announced);
        door.under_way.store(false, Ordering::Relaxed);
        door.in_run.store(service.is_in_run(), Ordering::Relaxed);
        let ready = service.is_ready();
        self.doors.put(id, Arc::clone(&door));
        let place = id as usize;
        if place >= self.listed.len() {
            self.listed.resize(place + 1, false);
        }
        self.listed[place] = false;
        let (pulses, errors) = service.memory().totals();
        let track = Track::new(service.level(), pulses, errors, self.present.mono);
        let mut entry = Entry {
            service,
            track,
            resident: Resident::default(),
            spec,
            door,
            rebuilt: 0,
            announced,
            ready,
            leaving: false,
            found: false,
            begun: false,
        };
        let recalled = entry.recall(rhythm);
        let name = entry.spec.name.clone();
        self.entries.put(id, entry);
        if let Err(why) = recalled {
            warn!(self.guard.world().log, "what was learnt of its rhythm cannot be read, it is learnt anew";
                "service" => %name, "error" => &why);
            let reason = format!("what was learnt of its rhythm is learnt anew: {why}");
            self.tell_config(id, reason);
        }
        self.changed(id);
        id
    }
}

// === what reaches it ===

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        guarded_start(self, context, |actor, context| {
            context.set_mailbox_capacity(MAILBOX);
            let world = Rc::clone(actor.guard.world());
            let load = async move {
                match world.archive.get() {
                    Some(archive) => archive
                        .send(Load)
                        .await
                        .unwrap_or(Err(StoreError::NoArchive)),
                    None => Err(StoreError::NoArchive),
                }
            };
            // Nothing is handled before it is known what is watched.
            context.wait(load.into_actor(actor).map(|loaded, actor, context| {
                guarded(actor, context, |actor, context| {
                    actor.begin(loaded);
                    actor.turn(context);
                });
            }));
        });
    }
}

impl Guarded for Supervisor {
    fn guard(&self) -> &Guard {
        &self.guard
    }

    fn last_will(&mut self) {
        // The next one goes on from this very moment.
        self.leave_mark();
        self.write_all();
        self.send();
    }
}

impl Handler<Pulse> for Supervisor {
    type Result = ();

    fn handle(&mut self, pulse: Pulse, context: &mut Self::Context) {
        guarded(self, context, |actor, context| actor.pulsed(pulse, context));
    }
}

impl Handler<Report> for Supervisor {
    type Result = ();

    fn handle(&mut self, report: Report, context: &mut Self::Context) {
        guarded(self, context, |actor, context| {
            actor.glance(report.at, context);
            actor.reported(report);
            actor.finish(context);
        });
    }
}

impl Handler<Settle> for Supervisor {
    type Result = ();

    fn handle(&mut self, Settle { token, place }: Settle, _: &mut Self::Context) {
        drop(token);
        drop(place);
    }
}

impl Handler<Announced> for Supervisor {
    type Result = ();

    fn handle(&mut self, announced: Announced, context: &mut Self::Context) {
        guarded(self, context, |actor, context| {
            actor.glance(announced.at, context);
            actor.announced(announced);
            actor.finish(context);
        });
    }
}

impl Handler<Unclear> for Supervisor {
    type Result = ();

    fn handle(&mut self, unclear: Unclear, context: &mut Self::Context) {
        guarded(self, context, |actor, context| {
            actor.glance(unclear.at, context);
            actor.unclear(unclear);
            actor.finish(context);
        });
    }
}

impl Handler<Control> for Supervisor {
    type Result = Result<View, Denied>;

    fn handle(&mut self, control: Control, context: &mut Self::Context) -> Self::Result {
        guarded(self, context, |actor, context| {
            actor.look();
            let answer = actor.control(&control);
            actor.finish(context);
            answer
        })
    }
}

impl Handler<GetOverview> for Supervisor {
    type Result = MessageResult<GetOverview>;

    fn handle(&mut self, _: GetOverview, context: &mut Self::Context) -> Self::Result {
        guarded(self, context, |actor, _| {
            actor.look();
            actor.asked();
            let now = actor.now_for_core();
            let (own, services): (Vec<_>, Vec<_>) = actor
                .entries
                .iter()
                .map(|(_, entry)| entry)
                .partition(|entry| entry.spec.name.is_internal());
            let services = services.into_iter().chain(own);
            MessageResult(Overview {
                services: services.map(|entry| actor.shown(entry, &now)).collect(),
                overall: actor.overall(),
                started_at: actor.guard.world().started_at,
                storage: actor.storage.clone(),
            })
        })
    }
}

impl Handler<GetService> for Supervisor {
    type Result = MessageResult<GetService>;

    fn handle(
        &mut self,
        GetService(name): GetService,
        context: &mut Self::Context,
    ) -> Self::Result {
        guarded(self, context, |actor, _| {
            actor.look();
            actor.asked();
            let id = actor.find(&name);
            MessageResult(id.map(|id| actor.view_of(id)))
        })
    }
}

impl Handler<GetSpec> for Supervisor {
    type Result = MessageResult<GetSpec>;

    fn handle(&mut self, GetSpec(name): GetSpec, context: &mut Self::Context) -> Self::Result {
        guarded(self, context, |actor, _| {
            let id = actor.find(&name);
            MessageResult(id.map(|id| actor.entries[id as usize].described()))
        })
    }
}

impl Handler<Shutdown> for Supervisor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, shutdown: Shutdown, context: &mut Self::Context) -> Self::Result {
        guarded(self, context, |actor, context| {
            let (asking, answer) = oneshot::channel();
            actor.look();
            actor.shut_down(shutdown, asking);
            actor.finish(context);
            Box::pin(async {
                // A supervisor that dies before it answers is asked again by the handle.
                drop(answer.await);
            })
        })
    }
}

impl Handler<Watch> for Supervisor {
    type Result = bool;

    fn handle(&mut self, Watch(spec): Watch, context: &mut Self::Context) -> Self::Result {
        guarded(self, context, |actor, context| {
            actor.look();
            let taken = actor.watch(spec);
            actor.finish(context);
            taken
        })
    }
}

impl Handler<Unwatch> for Supervisor {
    type Result = ResponseFuture<Option<Result<(), Denied>>>;

    fn handle(&mut self, Unwatch(name): Unwatch, context: &mut Self::Context) -> Self::Result {
        guarded(self, context, |actor, context| {
            actor.look();
            let answer = actor.unwatch(&name);
            actor.finish(context);
            Box::pin(async {
                match answer {
                    Ok(gone) => gone.await.ok().map(Ok),
                    Err(denied) => Some(Err(denied)),
                }
            })
        })
    }
}

impl Handler<Register> for Supervisor {
    type Result = Result<Registering, Denied>;

    fn handle(&mut self, message: Register, context: &mut Self::Context) -> Self::Result {
        guarded(self, context, |actor, context| {
            actor.look();
            let answer = actor.register(message.0);
            actor.finish(context);
            answer
        })
    }
}

impl Handler<Unregister> for Supervisor {
    type Result = Result<(), Denied>;

    fn handle(&mut self, message: Unregister, context: &mut Self::Context) -> Self::Result {
        guarded(self, context, |actor, context| {
            actor.look();
            let answer = actor.unregister(&message.0);
            actor.finish(context);
            answer
        })
    }
}

impl Handler<GetRegistrations> for Supervisor {
    type Result = Vec<Registration>;

    fn handle(&mut self, _: GetRegistrations, _: &mut Self::Context) -> Self::Result {
        let world = self.guard.world();
        let mut all: Vec<_> = world.registered.borrow().values().cloned().collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

impl Handler<Freed> for Supervisor {
    type Result = ();

    fn handle(&mut self, Freed(id): Freed, _: &mut Self::Context) {
        self.guard.world().roster.borrow_mut().free(id);
    }
}

impl Handler<Trouble> for Supervisor {
    type Result = ();

    fn handle(&mut self, Trouble(trouble): Trouble, context: &mut Self::Context) {
        guarded(self, context, |actor, _| {
            actor.own_trouble(trouble);
            actor.send();
        });
    }
}

impl Handler<Storage> for Supervisor {
    type Result = ();

    fn handle(&mut self, Storage(storage): Storage, context: &mut Self::Context) {
        guarded(self, context, |actor, _| {
            actor.look();
            let what = "records";
            actor.own_trouble(match &storage {
                Ok(()) => OwnTrouble::Over { what },
                Err(why) => OwnTrouble::Is {
                    what,
                    level: Level::Degraded,
                    reason: format!("nothing can be recorded: {why}"),
                    lasts: Lasting::UntilOver,
                },
            });
            actor.storage = storage;
            actor.send();
        });
    }
}

impl Handler<SelfPulse> for Supervisor {
    type Result = ();

    fn handle(&mut self, SelfPulse(subject): SelfPulse, context: &mut Self::Context) {
        guarded(self, context, |actor, context| {
            actor.look();
            let now = actor.now();
            actor.pulse_of(subject, now);
            actor.finish(context);
        });
    }
}

impl Handler<Rebuilt> for Supervisor {
    type Result = ();

    fn handle(&mut self, rebuilt: Rebuilt, context: &mut Self::Context) {
        guarded(self, context, |actor, context| {
            actor.look();
            actor.rebuilt(&rebuilt);
            actor.finish(context);
        });
    }
}
