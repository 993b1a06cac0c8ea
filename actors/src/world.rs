//! What the actors of one universe share: the ports, each other's links, and what must
//! outlive any one of them. There is one for each universe and none besides.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use slog::Logger;

use supervisor_core::alert::{Policy as AlertPolicy, SinkName};
use supervisor_core::time::{Mono, Time};
use supervisor_core::{ServiceName, Timestamp};

use crate::alerter::Alerter;
use crate::archive::Archive;
use crate::bell::Bell;
use crate::deacon::Deacon;
use crate::door::Door;
use crate::feed::Feed;
use crate::guardian::{Death, Guardian, Subject};
use crate::handle::{Directory, Vital};
use crate::link::Link;
use crate::messages::{Deaths, Freed, Leave, OpenWindow, ServiceId};
use crate::ports::alerts::{AlertSink, AlertStore};
use crate::ports::history::History;
use crate::ports::{Clock, DeaconFile, Dice, Errands, Marks, Processes, Store};
use crate::registration::{Admit, Registration};
use crate::roster::Roster;
use crate::spec::ServiceSpec;
use crate::supervisor::Supervisor;
use crate::sync::{Hall, SyncSetup};

/// What the actors need of the world outside.
pub struct Ports {
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub dice: Arc<dyn Dice>,
    /// Starts and finds processes.
    pub processes: Rc<dyn Processes>,
    /// Runs nudges and restart commands.
    pub errands: Rc<dyn Errands>,
    /// The small files of our own life.
    pub marks: Rc<dyn Marks>,
    /// The database.
    pub store: Box<dyn Store>,
    /// The heartbeat file.
    pub deacon: Box<dyn DeaconFile>,
    /// Where alerts are kept.
    pub alerts: Box<dyn AlertStore>,
    /// Where they go, by name.
    pub sinks: Vec<(SinkName, Rc<dyn AlertSink>)>,
    /// Where the history of services is kept.
    pub history: Arc<dyn History>,
}

/// The ports that the actors' own thread uses.
pub(crate) struct Near {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) dice: Arc<dyn Dice>,
    pub(crate) processes: Rc<dyn Processes>,
    pub(crate) errands: Rc<dyn Errands>,
    pub(crate) marks: Rc<dyn Marks>,
    pub(crate) history: Arc<dyn History>,
}

/// One watched service: what is known of it whoever lives.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) spec: Rc<ServiceSpec>,
    pub(crate) door: Arc<Door>,
}

pub(crate) struct World {
    pub(crate) ports: Near,
    /// Blocking: only ever locked on a blocking thread.
    pub(crate) store: Arc<Mutex<Box<dyn Store>>>,
    /// Blocking: only ever locked on a blocking thread.
    pub(crate) deacon_file: Arc<Mutex<Box<dyn DeaconFile>>>,
    /// Blocking: only ever locked on a blocking thread.
    pub(crate) alert_store: Arc<Mutex<Box<dyn AlertStore>>>,
    pub(crate) alert_sinks: Vec<(SinkName, Rc<dyn AlertSink>)>,
    /// Who is told of what.
    pub(crate) alert_policy: RefCell<Arc<AlertPolicy>>,
    /// When the alerter has something to do next, on the judging clock.
    pub(crate) alerts_due: Cell<Time>,
    /// The sync, where something is mirrored.
    pub(crate) sync: Option<Rc<Hall>>,
    pub(crate) log: Logger,
    pub(crate) supervisor: Link<Supervisor>,
    pub(crate) archive: Link<Archive>,
    pub(crate) deacon: Link<Deacon>,
    pub(crate) alerter: Link<Alerter>,
    pub(crate) guardian: Link<Guardian>,
    pub(crate) directory: Directory,
    pub(crate) vital: Arc<Vital>,
    pub(crate) bell: Arc<Bell>,
    /// What changes, for whoever looks on.
    pub(crate) feed: Arc<Feed>,
    /// By [`ServiceId`].
    pub(crate) roster: RefCell<Roster>,
    /// Those of them that named themselves.
    pub(crate) registered: RefCell<HashMap<ServiceName, Registration>>,
    /// Makes services of registrations.
    pub(crate) admit: Admit,
    /// When this universe began.
    pub(crate) started_at: Timestamp,
    /// Whether a shutdown has begun: nothing is started any more.
    pub(crate) closing: Cell<bool>,
    /// Why all that is watched from the beginning is paused before its first start.
    pub(crate) paused: Option<String>,
    /// Which maintenance windows are open.
    pub(crate) maintenance: RefCell<Vec<OpenWindow>>,
    /// How the supervisor before us ended, in a sentence, if nobody had stopped it; until that
    /// is told.
    pub(crate) crashed: RefCell<Option<String>>,
    /// Whom to wake when pulses wait in a service's slot, by [`ServiceId`].
    ears: RefCell<Vec<Option<Waker>>>,
    sinks: Cell<u32>,
    /// What the actor that is unwinding just now died of.
    last_words: RefCell<Option<String>>,
    deaths: RefCell<VecDeque<Death>>,
}

impl World {
    pub(crate) fn new(
        ports: Ports,
        sync: Option<SyncSetup>,
        alerting: AlertPolicy,
        admit: Admit,
        paused: Option<String>,
        maintenance: Vec<OpenWindow>,
        log: Logger,
    ) -> Rc<Self> {
        let started_at = ports.clock.wall();
        let crashed = how_it_ended(&*ports.marks, ports.clock.mono());
        Rc::new(Self {
            ports: Near {
                clock: ports.clock,
                dice: ports.dice,
                processes: ports.processes,
                errands: ports.errands,
                marks: ports.marks,
                history: ports.history,
            },
            store: Arc::new(Mutex::new(ports.store)),
            deacon_file: Arc::new(Mutex::new(ports.deacon)),
            alert_store: Arc::new(Mutex::new(ports.alerts)),
            alert_sinks: ports.sinks,
            alert_policy: RefCell::new(Arc::new(alerting)),
            alerts_due: Cell::new(Time::NEVER),
            sync: sync.map(|setup| Rc::new(Hall::new(setup))),
            log,
            supervisor: Link::new(),
            archive: Link::new(),
            deacon: Link::new(),
            alerter: Link::new(),
            guardian: Link::new(),
            directory: Directory::default(),
            vital: Arc::default(),
            bell: Arc::default(),
            feed: Feed::new(started_at),
            roster: RefCell::default(),
            registered: RefCell::default(),
            admit,
            started_at,
            paused,
            maintenance: RefCell::new(maintenance),
            crashed: RefCell::new(crashed),
            closing: Cell::new(false),
            ears: RefCell::default(),
            sinks: Cell::new(0),
            last_words: RefCell::default(),
            deaths: RefCell::default(),
        })
    }

    /// What is known of a service; ids are only given out for those in the list.
    pub(crate) fn watched(&self, id: ServiceId) -> Option<Watched> {
        self.roster.borrow().get(id).cloned()
    }

    /// From now on that is whom [`World::beat`] wakes.
    pub(crate) fn listen(&self, id: ServiceId, waker: &Waker) {
        let mut ears = self.ears.borrow_mut();
        let place = id.0 as usize;
        if place >= ears.len() {
            ears.resize(place + 1, None);
        }
        match &mut ears[place] {
            Some(ears) if ears.will_wake(waker) => {}
            ears => *ears = Some(waker.clone()),
        }
    }

    /// Has a service's actor look into its slot. If it is being rebuilt nobody hears it: the new
    /// one begins with the slot.
    pub(crate) fn beat(&self, id: ServiceId) {
        if let Some(Some(ears)) = self.ears.borrow().get(id.0 as usize) {
            ears.wake_by_ref();
        }
    }

    /// The sync, for its own actors, which are built only where there is one.
    pub(crate) fn hall(&self) -> Rc<Hall> {
        let hall = self.sync.as_ref();
        Rc::clone(hall.expect("its actors are built only where something is mirrored"))
    }

    /// The name of one of our actors, for the log.
    pub(crate) fn label(&self, subject: Subject) -> String {
        match subject {
            Subject::Supervisor => "supervisor".to_owned(),
            Subject::Archive => "archive".to_owned(),
            Subject::Deacon => "deacon".to_owned(),
            Subject::Watcher => "watcher".to_owned(),
            Subject::Debouncer => "debouncer".to_owned(),
            Subject::Syncer => "syncer".to_owned(),
            Subject::Alerter => "alerter".to_owned(),
            Subject::Guardian => "guardian".to_owned(),
            Subject::Service(id) => match self.watched(id) {
                Some(watched) => format!("service {}", watched.spec.name),
                None => format!("service {}", id.0),
            },
        }
    }

    /// No longer watches a service: nothing is heard or said of it any more, and its actor
    /// ends.
    pub(crate) fn unwatch(&self, id: ServiceId) {
        let Some(Watched { spec, door }) = self.watched(id) else {
            return;
        };
        door.close();
        if let Some(ears) = self.ears.borrow_mut().get_mut(id.0 as usize) {
            *ears = None;
        }
        self.directory.remove(&spec.name);
        self.registered.borrow_mut().remove(&spec.name);
        self.roster.borrow_mut().leave(id);
        // If it has just died, nobody builds it any more.
        let of_it = |death: &Death| death.subject == Subject::Service(id);
        self.deaths.borrow_mut().retain(|death| !of_it(death));
        // Bounded: one in the life of a service.
        if !door.address.tell(Leave) {
            self.left(id);
        }
    }

    /// A service's actor has ended; `true` if that was meant.
    pub(crate) fn left(&self, id: ServiceId) -> bool {
        let left = self.roster.borrow_mut().left(id);
        if left {
            // Bounded: one in the life of a service. It comes after everything that the actor
            // said.
            self.supervisor.tell(Freed(id));
        }
        left
    }

    /// A number that no process sink of this universe has had.
    pub(crate) fn next_sink(&self) -> u32 {
        self.sinks.set(self.sinks.get().wrapping_add(1));
        self.sinks.get()
    }

    pub(crate) fn say_last_words(&self, text: String) {
        self.last_words.replace(Some(text));
    }

    pub(crate) fn take_last_words(&self) -> Option<String> {
        self.last_words.take()
    }

    /// Has a death dealt with. Called while an actor is being dropped.
    pub(crate) fn mourn(self: &Rc<Self>, death: Death) {
        if tokio::runtime::Handle::try_current().is_err() {
            // The whole system is being dropped.
            return;
        }
        let own = death.subject == Subject::Guardian && death.due.is_none();
        self.deaths.borrow_mut().push_back(death);
        if own {
            // Nobody else would do it. The new one begins by looking at the deaths.
            self.build(Subject::Guardian);
        } else {
            // Bounded: one per death, and deaths are limited.
            self.guardian.tell(Deaths);
        }
    }

    /// The oldest death that it is time to deal with.
    pub(crate) fn next_death(&self, now: Mono) -> Option<Death> {
        let mut deaths = self.deaths.borrow_mut();
        let next = deaths
            .iter()
            .position(|death| death.due.is_none_or(|due| due <= now))?;
        deaths.remove(next)
    }
}

/// How the supervisor ended that left the mark, in a sentence, unless it was stopped.
fn how_it_ended(marks: &dyn Marks, now: Mono) -> Option<String> {
    let mark = marks.read()?;
    if mark.stopping != Some(false) {
        return None;
    }
    Some(if mark.boot == marks.boot() {
        format!(
            "the supervisor ended without being stopped (killed, or a crash) and is back after \
             {:.1} s; what it runs was found again",
            now.since(mark.mono).as_secs_f64()
        )
    } else {
        "the machine went down without stopping the supervisor; both are back".to_owned()
    })
}
