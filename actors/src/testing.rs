//! Virtual time and fakes behind the ports, for tests of this crate and of others.
//!
//! A [`Stage`] holds the fakes, a universe is started on it: several one after another, for
//! the fakes live on while a universe dies with its actix system, as children, files and the
//! database live on when the supervisor is killed.
//!
//! ```ignore
//! #[actix_rt::test(system = "supervisor_actors::testing::PausedSystem")]
//! async fn a_hung_service_is_restarted() {
//!     let stage = Stage::new();
//!     let universe = stage.start(vec![pulsing("worker", secs(1))]).await;
//!     stage.machine.hang("worker");
//!     sleep(secs(7)).await;
//!     assert_eq!(universe.view("worker").await.generation, 2);
//! }
//! ```

mod alerts;
mod clock;
mod history;
mod machine;
mod probe;
mod source;
mod specs;
mod stores;
mod sync;

use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use supervisor_core::ServiceName;
use supervisor_core::view::View;

use crate::handle::SupervisorHandle;
use crate::messages::Pulse;
use crate::ports::{Clock, EventQuery, EventRow};
use crate::spec::ServiceSpec;
use crate::sync::SyncSetup;
use crate::universe::{Setup, Universe};
use crate::world::Ports;

pub use alerts::{FakeSink, MemoryAlerts};
pub use clock::{FakeClock, FixedDice, PausedSystem};
pub use history::MemoryHistory;
pub use machine::{Act, FakeErrands, Machine, Script, What};
pub use probe::FakeProbe;
pub use source::FakeSource;
pub use specs::{admit, alive, external, learning, policy, pulsing};
pub use stores::{FakeDeaconFile, FakeMarks, LogLines, MemoryStore};
pub use sync::{Call, FakeDisk, FakeTables, MemoryLedger, SyncStage};

/// Tells the supervisor of pulses as the actor of their service does, for a benchmark of that
/// one hop. Services are numbered from 0 in the order in which they are watched.
pub fn tell(supervisor: &SupervisorHandle, pulse: Pulse) -> bool {
    supervisor.link().tell(pulse)
}

/// All fakes of one test.
#[derive(Clone)]
pub struct Stage {
    /// Monotonic and wall clock.
    pub clock: Arc<FakeClock>,
    /// The throws of the dice.
    pub dice: Arc<FixedDice>,
    /// The fake kernel.
    pub machine: Machine,
    /// Nudges and restart commands.
    pub errands: Rc<FakeErrands>,
    /// The database.
    pub store: MemoryStore,
    /// The mark file.
    pub marks: Rc<FakeMarks>,
    /// `deacon/heartbeat.json`.
    pub deacon: FakeDeaconFile,
    /// Where the history of services is kept.
    pub history: MemoryHistory,
    /// Where alerts are kept.
    pub alerts: MemoryAlerts,
    /// Where they go: the sinks `log` and `ops`.
    pub log_sink: FakeSink,
    /// See there.
    pub ops: FakeSink,
    /// What was logged.
    pub log: LogLines,
}

/// A running universe with what tests ask of it.
pub struct Running {
    universe: Universe,
    stage: Stage,
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

impl Stage {
    /// Fresh fakes. Inside a [`PausedSystem`].
    #[must_use]
    pub fn new() -> Self {
        let clock = Arc::new(FakeClock::new());
        Self {
            machine: Machine::new(Arc::clone(&clock)),
            clock,
            dice: Arc::new(FixedDice::default()),
            errands: Rc::default(),
            store: MemoryStore::default(),
            marks: Rc::default(),
            deacon: FakeDeaconFile::default(),
            history: MemoryHistory::default(),
            alerts: MemoryAlerts::default(),
            log_sink: FakeSink::default(),
            ops: FakeSink::default(),
            log: LogLines::default(),
        }
    }

    /// The fakes as ports.
    #[must_use]
    pub fn ports(&self) -> Ports {
        Ports {
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            dice: Arc::clone(&self.dice) as _,
            processes: Rc::new(self.machine.clone()),
            errands: Rc::clone(&self.errands) as _,
            marks: Rc::clone(&self.marks) as _,
            store: Box::new(self.store.clone()),
            deacon: Box::new(self.deacon.clone()),
            alerts: Box::new(self.alerts.clone()),
            history: Arc::new(self.history.clone()),
            sinks: vec![
                ("log".into(), Rc::new(self.log_sink.clone())),
                ("ops".into(), Rc::new(self.ops.clone())),
            ],
        }
    }

    /// Starts a universe on the present actix system and waits until the first starts are sent
    /// and done.
    pub async fn start(&self, specs: Vec<ServiceSpec>) -> Running {
        self.start_with(specs, None).await
    }

    /// The same with a sync.
    pub async fn start_with(&self, specs: Vec<ServiceSpec>, sync: Option<SyncSetup>) -> Running {
        self.clock.attach();
        let universe = Universe::start(Setup {
            specs,
            admit: Box::new(specs::admit),
            ports: self.ports(),
            sync,
            alerting: alerting(),
            paused: None,
            maintenance: Vec::new(),
            log: self.log.logger(),
        });
        self.machine.attach(&universe.directory);
        while !universe.supervisor.is_ready() {
            settle().await;
        }
        settle().await;
        Running {
            universe,
            stage: self.clone(),
        }
    }
}

impl Deref for Running {
    type Target = Universe;

    fn deref(&self) -> &Universe {
        &self.universe
    }
}

impl Running {
    /// A service as the API shows it.
    ///
    /// # Panics
    /// Where there is none, or nobody answers.
    pub async fn view(&self, name: &str) -> View {
        let name = ServiceName::new(name).expect("a service's name");
        let view = self.supervisor.service(&name).await;
        view.expect("the supervisor answers")
            .expect("there is such a service")
    }

    /// All recorded events of a service, oldest first.
    ///
    /// # Panics
    /// Where the archive does not answer.
    pub async fn events(&self, name: &str) -> Vec<EventRow> {
        let query = EventQuery {
            service: Some(name.to_owned()),
            limit: 100_000,
            ..EventQuery::default()
        };
        self.supervisor.events(query).await.expect("events")
    }

    /// A plain pulse, now.
    ///
    /// # Panics
    /// Where it is refused.
    pub fn pulse(&self, name: &str) {
        let handle = self.directory.get(name).expect("there is such a service");
        handle.pulse(self.stage.clock.mono()).expect("it is taken");
    }
}

/// The default policy over the sinks `log` and `ops`.
fn alerting() -> supervisor_core::alert::Policy {
    use supervisor_core::alert::Policy;
    Policy {
        steps: Policy::default_steps(&["ops".into()]),
        ..Policy::default()
    }
}

/// Lets what was said up to now be heard: 2 ms of virtual time, for a plain pulse may wait one
/// for the others.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(2)).await;
}
