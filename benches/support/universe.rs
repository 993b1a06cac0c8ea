//! The actors without the program around them: real clocks, and ports that lead nowhere.

use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use slog::Logger;

use supervisor_actors::handle::ServiceHandle;
use supervisor_actors::messages::NewEvent;
use supervisor_actors::ports::alerts::AlertSink;
use supervisor_actors::ports::output::Hearing;
use supervisor_actors::ports::{
    Adoption, Batch, Bygone, Clock, Deleted, EventQuery, EventRow, Launch, Process, ProcessSink,
    Processes, RunQuery, RunRow, Store, StoreError,
};
use supervisor_actors::spec::{ProcessSpec, ServiceSpec};
use supervisor_actors::testing::{
    FakeDeaconFile, FakeErrands, FakeMarks, FixedDice, MemoryAlerts, MemoryHistory, admit, external,
};
use supervisor_actors::{Ports, Setup, Universe};
use supervisor_core::alert::{Policy, SinkName};
use supervisor_core::time::Mono;
use supervisor_core::{ServiceName, Timestamp};

/// The kernel's clocks.
pub struct RealClock;

impl Clock for RealClock {
    fn mono(&self) -> Mono {
        Mono(super::mono())
    }

    fn uptime(&self) -> Mono {
        self.mono()
    }

    fn wall(&self) -> Timestamp {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
        let micros = since.map_or(0, |since| since.as_micros());
        Timestamp(i64::try_from(micros).unwrap_or(0))
    }
}

/// No watched service here has a process.
struct NoProcesses;

impl Processes for NoProcesses {
    fn launch(&self, launch: Launch, _: ProcessSink) -> Box<dyn Process> {
        unreachable!("{} is not run by us", launch.name)
    }

    fn adopt<'a>(
        &'a self,
        _: &'a ServiceName,
        _: &'a ProcessSpec,
        _: Option<Hearing>,
        _: ProcessSink,
    ) -> LocalBoxFuture<'a, Option<Adoption>> {
        async { None }.boxed_local()
    }

    fn forget(&self, _: &ServiceName) {}

    fn weigh(&self, mains: Vec<i32>) -> LocalBoxFuture<'static, Vec<Option<u64>>> {
        async move { vec![None; mains.len()] }.boxed_local()
    }
}

/// A store that takes everything and keeps nothing: what it would cost is the disk's.
#[derive(Default)]
pub struct Forgetful {
    /// But tells of the events that it was given.
    pub told: Arc<Mutex<Vec<NewEvent>>>,
    /// Whether anybody wants to know.
    pub tells: bool,
}

impl Store for Forgetful {
    fn load(&mut self) -> Result<Vec<(String, String)>, StoreError> {
        Ok(Vec::new())
    }

    fn commit(&mut self, batch: &Batch) -> Result<i64, StoreError> {
        let events: &[NewEvent] = std::hint::black_box(&batch.events);
        if self.tells {
            let mut told = self.told.lock().expect("the list");
            // When they are here, not when they were decided.
            let time = RealClock.wall();
            told.extend(events.iter().map(|event| NewEvent {
                time,
                ..event.clone()
            }));
        }
        Ok(1)
    }

    fn delete(&mut self, _: &Bygone) -> Result<Deleted, StoreError> {
        Ok(Deleted {
            records: 0,
            next: None,
        })
    }

    fn events(&mut self, _: &EventQuery) -> Result<Vec<EventRow>, StoreError> {
        Ok(Vec::new())
    }

    fn runs(&mut self, _: &RunQuery) -> Result<Vec<RunRow>, StoreError> {
        Ok(Vec::new())
    }
}

/// So many services `s0`, `s1`, … that are watched and not run, all by the same policy.
pub fn watched(count: usize, interval: Duration) -> Vec<ServiceSpec> {
    let policy = external("s", interval).policy;
    (0..count)
        .map(|n| ServiceSpec {
            policy: Arc::clone(&policy),
            ..external(&format!("s{n}"), interval)
        })
        .collect()
}

/// Starts all actors on the present thread and waits until they are ready; the handles of the
/// services in order.
pub async fn start(specs: Vec<ServiceSpec>, log: Logger) -> (Universe, Vec<ServiceHandle>) {
    let nobody = (Policy::default(), Vec::new());
    start_with(specs, log, Forgetful::default(), nobody).await
}

/// Where alerts go: the sinks by their names.
pub type Sinks = Vec<(SinkName, Rc<dyn AlertSink>)>;

/// The same with a store and sinks of one's own.
pub async fn start_with(
    specs: Vec<ServiceSpec>,
    log: Logger,
    store: Forgetful,
    (alerting, sinks): (Policy, Sinks),
) -> (Universe, Vec<ServiceHandle>) {
    let count = specs.len();
    let universe = Universe::start(Setup {
        specs,
        admit: Box::new(admit),
        sync: None,
        alerting,
        paused: None,
        maintenance: Vec::new(),
        ports: Ports {
            clock: Arc::new(RealClock),
            dice: Arc::new(FixedDice::default()),
            processes: Rc::new(NoProcesses),
            errands: Rc::new(FakeErrands::default()),
            marks: Rc::new(FakeMarks::default()),
            store: Box::new(store),
            deacon: Box::new(FakeDeaconFile::default()),
            alerts: Box::new(MemoryAlerts::default()),
            sinks,
            history: Arc::new(MemoryHistory::default()),
        },
        log,
    });
    while !universe.supervisor.is_ready() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let handles = (0..count)
        .map(|n| universe.directory.get(&format!("s{n}")).expect("watched"))
        .collect();
    (universe, handles)
}

/// A logger to nowhere.
pub fn silent() -> Logger {
    Logger::root(slog::Discard, slog::o!())
}
