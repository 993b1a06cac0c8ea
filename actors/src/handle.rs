//! What others hold of the actors: cheap to clone, sendable to any thread, valid across the
//! rebuild of a panicked actor.

mod alerts;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use supervisor_core::event::Note;
use supervisor_core::run::RunSign;
use supervisor_core::time::Mono;
use supervisor_core::view::View;
use supervisor_core::{ServiceName, Timestamp};

pub use alerts::{AlertsHandle, Wish};

use crate::archive::Archive;
use crate::door::{Door, Permit};
use crate::link::{Link, Refused};
use crate::messages::{
    Ack, Control, DeleteHistory, Denied, GetEvents, GetOverview, GetRegistrations, GetRuns,
    GetService, GetSpec, Informed, Maintain, OpenWindow, Overview, Record, Register, ServiceId,
    Shutdown, Unregister, Unwatch, Verb, Watch,
};
use crate::ports::{EventQuery, EventRow, RunQuery, RunRow, StoreError};
use crate::registration::{Registered, Registration};
use crate::spec::ServiceSpec;
use crate::supervisor::Supervisor;

/// How long the supervisor's loop may not have turned before it counts as dead. It turns at
/// least once a second.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

/// All watched services by name.
#[derive(Clone, Default)]
pub struct Directory(Arc<RwLock<HashMap<ServiceName, ServiceHandle>>>);

/// One watched service, to send it signs of life from any thread.
#[derive(Clone)]
pub struct ServiceHandle(Arc<Door>);

/// What carries information and is recorded before it is acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub enum Inform {
    /// A pulse that says something.
    Note(Note),
    /// An error.
    Error {
        /// What it says.
        message: String,
        /// Whether it calls it critical.
        critical: bool,
    },
    /// Something about a run.
    Run(RunSign),
}

/// Why a sign of life was not taken, or not recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InformError {
    /// Its mailbox is full: counted, and the sender is told (503).
    #[error("too many messages for this service wait already")]
    Full,
    /// Its actor is being rebuilt or has ended (503).
    #[error("the service's actor does not answer")]
    Closed,
    /// It counts as life, but could not be recorded (507).
    #[error("taken as a sign of life, but not recorded")]
    NotRecorded(#[source] StoreError),
}

/// The supervisor, to ask and to command it from any thread.
#[derive(Clone)]
pub struct SupervisorHandle {
    supervisor: Link<Supervisor>,
    archive: Link<Archive>,
    vital: Arc<Vital>,
}

/// The supervisor actor is being rebuilt or stopped (503).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the supervisor does not answer")]
pub struct Unreachable;

/// What the supervisor shows of itself without being asked.
#[derive(Debug, Default)]
pub(crate) struct Vital {
    /// When its loop last turned, as [`Mono`].
    pub(crate) turned: AtomicU64,
    /// Whether the first starts are sent.
    pub(crate) ready: AtomicBool,
    /// Messages refused because too many waited.
    pub(crate) refused: Arc<AtomicU64>,
}

// === impl Directory ===

impl Directory {
    /// The service of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<ServiceHandle> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    pub(crate) fn remove(&self, name: &ServiceName) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }

    pub(crate) fn insert(&self, door: &Arc<Door>) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(door.name.clone(), ServiceHandle(Arc::clone(door)));
    }
}

// === impl ServiceHandle ===

impl ServiceHandle {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ServiceName {
        &self.0.name
    }

    /// Its place in the table.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn number(&self) -> u32 {
        self.0.id.0
    }

    /// Whether runs of it are under way: then a success that names none may end one, and is
    /// to be told as [`Inform::Run`].
    #[must_use]
    pub fn is_in_run(&self) -> bool {
        self.0.in_run.load(Ordering::Relaxed)
    }

    pub(crate) fn id(&self) -> ServiceId {
        self.0.id
    }

    /// A plain pulse, received at that time. Costs a few atomic operations where one of the
    /// same service is already under way. While its actor is being rebuilt it is kept.
    ///
    /// # Errors
    /// [`InformError::Closed`] where it is no longer watched.
    pub fn pulse(&self, at: Mono) -> Result<(), InformError> {
        if self.0.is_closed() {
            return Err(InformError::Closed);
        }
        // It waits in the slot until it is read, whatever happens to actors meanwhile.
        self.0.pulse(at);
        Ok(())
    }

    /// Something that carries information: returns when it is recorded.
    ///
    /// # Errors
    /// See [`InformError`].
    pub async fn inform(&self, at: Mono, inform: Inform) -> Result<(), InformError> {
        let door = &self.0;
        let Some(permit) = Permit::take(door) else {
            door.refuse();
            return Err(InformError::Full);
        };
        if let Inform::Run(RunSign::Start { .. }) = inform {
            // Seen by whoever comes next, before the supervisor has seen it.
            door.in_run.store(true, Ordering::Relaxed);
        }
        let (ack, recorded) = Ack::new(permit);
        let message = Informed {
            // What came before it is told before it, what comes after it after it.
            before: door.slot.take(),
            at,
            inform,
            ack,
        };
        let refused = match door.address.try_send(message) {
            Ok(()) => return recorded.await.unwrap_or(Err(InformError::Closed)),
            Err(refused) => refused,
        };
        let (message, why) = match refused {
            Refused::Full(message) => {
                door.refuse();
                (message, InformError::Full)
            }
            Refused::Closed(message) => (message, InformError::Closed),
        };
        if let Some(pulses) = message.before {
            door.put_back(pulses);
        }
        Err(why)
    }
}

// === impl SupervisorHandle ===

impl SupervisorHandle {
    pub(crate) fn new(
        supervisor: Link<Supervisor>,
        archive: Link<Archive>,
        vital: Arc<Vital>,
    ) -> Self {
        Self {
            supervisor,
            archive,
            vital,
        }
    }

    /// The actor itself.
    #[cfg(feature = "testing")]
    pub(crate) fn link(&self) -> &Link<Supervisor> {
        &self.supervisor
    }

    /// Everything known of all services.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn overview(&self) -> Result<Overview, Unreachable> {
        let supervisor = self.supervisor.get().ok_or(Unreachable)?;
        supervisor.send(GetOverview).await.map_err(|_| Unreachable)
    }

    /// Everything known of one service.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn service(&self, name: &ServiceName) -> Result<Option<View>, Unreachable> {
        let supervisor = self.supervisor.get().ok_or(Unreachable)?;
        let answer = supervisor.send(GetService(name.clone())).await;
        answer.map_err(|_| Unreachable)
    }

    /// A service as it is configured now.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn spec(&self, name: &ServiceName) -> Result<Option<ServiceSpec>, Unreachable> {
        let supervisor = self.supervisor.get().ok_or(Unreachable)?;
        let answer = supervisor.send(GetSpec(name.clone())).await;
        answer.map_err(|_| Unreachable)
    }

    /// These maintenance windows are open now, and no others.
    ///
    /// # Errors
    /// Where it does not answer: it is to be told again.
    pub async fn maintain(&self, open: Vec<OpenWindow>) -> Result<(), Unreachable> {
        let supervisor = self.supervisor.get().ok_or(Unreachable)?;
        supervisor
            .send(Maintain(open))
            .await
            .map_err(|_| Unreachable)
    }

    /// What an operator wants of a service.
    ///
    /// # Errors
    /// Where it does not answer; within, where it refuses.
    pub async fn control(
        &self,
        name: &ServiceName,
        verb: Verb,
    ) -> Result<Result<View, Denied>, Unreachable> {
        let supervisor = self.supervisor.get().ok_or(Unreachable)?;
        let name = name.clone();
        let answer = supervisor.send(Control { name, verb }).await;
        let answer = answer.map_err(|_| Unreachable)?;
        if answer.is_ok() {
            // Recorded, refused or neither in time: the order stands.
            let _ = self.recorded().await;
        }
        Ok(answer)
    }

    /// Waits until all that was told to the archive so far is on record, so that an order that
    /// was confirmed survives our SIGKILL; only for a moment, because a full or locked disk
    /// must not keep anybody from commanding.
    async fn recorded(&self) -> Result<(), StoreError> {
        const PATIENCE: Duration = Duration::from_secs(1);
        let archive = self.archive.get().ok_or(StoreError::NoArchive)?;
        let (ack, recorded) = Ack::ours();
        let record = Record {
            acks: vec![ack],
            ..Record::default()
        };
        if archive.send(record).await.is_err() {
            return Err(StoreError::NoArchive);
        }
        match tokio::time::timeout(PATIENCE, recorded).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(InformError::NotRecorded(why)))) => Err(why),
            Ok(Ok(Err(InformError::Full | InformError::Closed)) | Err(_)) => {
                Err(StoreError::NoArchive)
            }
            Err(_late) => Err(StoreError::Busy),
        }
    }

    /// Watches one more service. Answers `false` where its name is taken.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn watch(&self, spec: ServiceSpec) -> Result<bool, Unreachable> {
        let supervisor = self.supervisor.get().ok_or(Unreachable)?;
        supervisor.send(Watch(spec)).await.map_err(|_| Unreachable)
    }

    /// Ceases to watch a service. One that we run is stopped first, and this returns when
    /// nothing of it is left.
    ///
    /// # Errors
    /// Where it does not answer; within, where it refuses.
    pub async fn unwatch(&self, name: &ServiceName) -> Result<Result<(), Denied>, Unreachable> {
        let supervisor = self.supervisor.get().ok_or(Unreachable)?;
        let answer = supervisor.send(Unwatch(name.clone())).await;
        let answer = answer.ok().flatten().ok_or(Unreachable)?;
        if answer.is_ok() {
            // As with an order: it stands.
            let _ = self.recorded().await;
        }
        Ok(answer)
    }

    /// Watches a service that names itself, or takes what it says anew.
    ///
    /// # Errors
    /// Where it does not answer; within, where it refuses.
    pub async fn register(
        &self,
        registration: Registration,
    ) -> Result<Result<Registered, Denied>, Unreachable> {
        let supervisor = self.supervisor.get().ok_or(Unreachable)?;
        let answer = supervisor.send(Register(registration)).await;
        Ok(match answer.map_err(|_| Unreachable)? {
            Ok(change) => Ok(Registered {
                change,
                recorded: self.recorded().await,
            }),
            Err(denied) => Err(denied),
        })
    }

    /// Ceases to watch a service that named itself. Within, whether that is on record.
    ///
    /// # Errors
    /// Where it does not answer; within, where it refuses.
    pub async fn unregister(
        &self,
        name: &ServiceName,
    ) -> Result<Result<Result<(), StoreError>, Denied>, Unreachable> {
        let supervisor = self.supervisor.get().ok_or(Unreachable)?;
        let answer = supervisor.send(Unregister(name.clone())).await;
        Ok(match answer.map_err(|_| Unreachable)? {
            Ok(()) => Ok(self.recorded().await),
            Err(denied) => Err(denied),
        })
    }

    /// The services that named themselves, by name.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn registrations(&self) -> Result<Vec<Registration>, Unreachable> {
        let supervisor = self.supervisor.get().ok_or(Unreachable)?;
        let answer = supervisor.send(GetRegistrations).await;
        answer.map_err(|_| Unreachable)
    }

    /// Recorded events.
    ///
    /// # Errors
    /// Where the archive cannot be read.
    pub async fn events(&self, query: EventQuery) -> Result<Vec<EventRow>, StoreError> {
        let archive = self.archive.get().ok_or(StoreError::NoArchive)?;
        let answer = archive.send(GetEvents(query)).await;
        answer.unwrap_or(Err(StoreError::NoArchive))
    }

    /// Deletes what is recorded of a service before a date; answers how many events went.
    ///
    /// # Errors
    /// Where the archive cannot be written.
    pub async fn delete_history(
        &self,
        service: &ServiceName,
        before: Timestamp,
    ) -> Result<u64, StoreError> {
        let archive = self.archive.get().ok_or(StoreError::NoArchive)?;
        let service = service.clone();
        let answer = archive.send(DeleteHistory { service, before }).await;
        answer.unwrap_or(Err(StoreError::NoArchive))
    }

    /// Recorded runs of a service.
    ///
    /// # Errors
    /// Where the archive cannot be read.
    pub async fn runs(&self, query: RunQuery) -> Result<Vec<RunRow>, StoreError> {
        let archive = self.archive.get().ok_or(StoreError::NoArchive)?;
        let answer = archive.send(GetRuns(query)).await;
        answer.unwrap_or(Err(StoreError::NoArchive))
    }

    /// Stops everything in reverse dependency order, or leaves it running. Returns when all
    /// that was to stop has stopped and everything is on record.
    pub async fn shutdown(&self, leave: bool) {
        // A supervisor that panics meanwhile is rebuilt and knows nothing of it: ask again.
        while let Some(supervisor) = self.supervisor.get() {
            if supervisor.send(Shutdown { leave }).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether the supervisor's loop has turned within the last seconds, without asking it.
    #[must_use]
    pub fn is_alive(&self, now: Mono) -> bool {
        let turned = Mono(self.vital.turned.load(Ordering::Relaxed));
        now.since(turned) < SIGN_OF_LIFE
    }

    /// Whether all services of the configuration are watched and the first starts are sent.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.vital.ready.load(Ordering::Relaxed)
    }

    /// How many messages were refused because too many of their service waited already.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.vital.refused.load(Ordering::Relaxed)
    }
}
