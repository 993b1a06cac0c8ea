//! Every message that actors send each other, a line of doc each.

use actix::Message;
use tokio::sync::oneshot;

use supervisor_core::event::{Change, Event, Generation, Moment, RestartKind};
use supervisor_core::time::{Mono, Time};
use supervisor_core::view::View;
use supervisor_core::{Level, ServiceName, Timestamp};

use crate::ports::{EventQuery, EventRow, StoreError};

/// A watched service's number within one supervisor: its place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u32);

/// Service → Supervisor: plain pulses, the hot path. Consecutive ones of one generation may
/// be folded: `count` is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Pulse {
    /// Whose.
    pub service: ServiceId,
    /// Of which life.
    pub generation: Generation,
    /// How many.
    pub count: u32,
    /// When the first of them was received.
    pub first: Mono,
    /// When the last of them was received.
    pub last: Mono,
}

/// Service → Supervisor: anything else that happened, in order with its pulses.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Report {
    /// Whose.
    pub service: ServiceId,
    /// What.
    pub event: Event,
    /// When it was received.
    pub at: Mono,
    /// Who waits until it is recorded.
    pub ack: Option<Ack>,
}

/// Supervisor → Service: what to do to the process.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum Poke {
    /// Send the nudge.
    Nudge,
    /// Start it as this generation.
    Start(Generation),
    /// Stop this generation, whole.
    Stop(Generation),
    /// Run the restart command of a service that we do not run.
    RestartCommand,
}

/// HTTP, CLI → Supervisor: what an operator wants.
#[derive(Debug, Clone, PartialEq, Message)]
#[rtype(result = "Result<View, Denied>")]
pub struct Control {
    /// Of which service.
    pub name: ServiceName,
    /// What.
    pub verb: Verb,
}

/// What an operator can want.
#[derive(Debug, Clone, PartialEq)]
pub enum Verb {
    /// Run it.
    Start,
    /// Stop it, dependants first.
    Stop,
    /// Stop and start it now.
    Restart,
    /// Nudge it now.
    Nudge,
    /// Leave it alone, for so long if given.
    Pause(Option<std::time::Duration>),
    /// Watch it again.
    Resume,
    /// Lift its quarantine.
    Clear,
}

/// Why a control call was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no such service.
    #[error("there is no service named {0}")]
    Unknown(String),
    /// It is not ours to start and stop.
    #[error("{0} is not run by this supervisor, it is only watched")]
    NotOurs(ServiceName),
    /// There is no way to nudge it.
    #[error("{0} has no nudge configured")]
    NoNudge(ServiceName),
    /// One of our own actors.
    #[error("{0} is a part of the supervisor itself")]
    Internal(ServiceName),
    /// We are stopping.
    #[error("the supervisor is shutting down")]
    ShuttingDown,
}

/// Anybody → Supervisor: everything known of all services.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Overview")]
pub struct GetOverview;

/// All services and what they amount to.
#[derive(Debug, Clone, PartialEq)]
pub struct Overview {
    /// In the order of the configuration, our own last.
    pub services: Vec<View>,
    /// The worst that counts.
    pub overall: Level,
    /// Since when this supervisor runs.
    pub started_at: Timestamp,
    /// Whether records reach the disk.
    pub storage: Result<(), String>,
}

/// Anybody → Supervisor: everything known of one service.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Option<View>")]
pub struct GetService(pub ServiceName);

/// `run` → Supervisor: stop everything in reverse dependency order, or (leave) let it run on;
/// answered when all that was to stop has stopped.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Shutdown {
    /// Leave the services running for the next supervisor.
    pub leave: bool,
}

/// Supervisor → Archive: what to write; acknowledged when it is recorded.
#[derive(Debug, Default, Message)]
#[rtype(result = "()")]
pub struct Record {
    /// New events, in order.
    pub events: Vec<NewEvent>,
    /// What services must remember, as JSON; the last one of a service wins.
    pub memories: Vec<(ServiceName, String)>,
    /// Who waits.
    pub acks: Vec<Ack>,
}

/// An event on its way to the archive.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// When.
    pub time: Timestamp,
    /// Of which service.
    pub service: ServiceName,
    /// What.
    pub change: Change,
}

/// HTTP → Archive: recorded events.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Vec<EventRow>, StoreError>")]
pub struct GetEvents(pub EventQuery);

/// Tells one waiting client whether its information is on record.
pub type Ack = oneshot::Sender<Result<(), StoreError>>;

/// The point of the judging clock that survives us: see [`Time`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The judging clock.
    pub time: Time,
    /// The monotonic clock at the same moment.
    pub mono: Mono,
    /// The boot that the monotonic clock counts from.
    pub boot: String,
}

/// A moment and why we were away before it: for the log and the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stall {
    /// When it was noticed.
    pub at: Moment,
    /// How late we were.
    pub late: std::time::Duration,
}

/// The kind of a restart that is under way, for counters.
pub type Restarted = (ServiceId, RestartKind);
