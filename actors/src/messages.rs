//! Every message that actors send each other, a line of doc each.

use std::time::Duration;

use actix::Message;
use tokio::sync::oneshot;

use supervisor_core::alert::{
    Alert, AlertId, Fact, Lasting, Pattern, Refused, Silence, SilenceId, SinkName,
};
use supervisor_core::event::{Change, Event, Exit, Generation, Moment};
use supervisor_core::run::Run;
use supervisor_core::time::{Mono, Time};
use supervisor_core::view::View;
use supervisor_core::{Level, ServiceName, Timestamp};

use crate::door::Permit;
use crate::guardian::Subject;
use crate::handle::{Inform, InformError};
use crate::ports::alerts::{AlertBatch, AlertQuery, Undelivered};
use crate::ports::{EventQuery, EventRow, ProcessEvent, RunQuery, RunRow, StoreError};
use crate::registration::{Registering, Registration};
use crate::slot::Folded;
use crate::source::Heard;
use crate::spec::ServiceSpec;

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
    /// Its place among those that may wait, where nobody does.
    pub(crate) place: Option<Permit>,
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
    /// The stop of this generation may last so long from now.
    Extend(Generation, std::time::Duration),
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
    /// Leave it alone for that reason, until somebody resumes it.
    PauseFor(String),
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
    /// There is nobody to nudge now.
    #[error("{name} does not run now, so there is nothing to nudge ({state})")]
    NothingToNudge {
        /// The service.
        name: ServiceName,
        /// What it is doing, and why.
        state: String,
    },
    /// One of our own actors.
    #[error("{0} is a part of the supervisor itself")]
    Internal(ServiceName),
    /// It is being stopped in order to be watched no longer.
    #[error("{0} is about to be watched no longer")]
    Leaving(ServiceName),
    /// Others need it.
    #[error("{0} is needed by {1}")]
    Needed(ServiceName, String),
    /// It did not name itself: the configuration does.
    #[error("{0} is a service of the configuration")]
    Configured(ServiceName),
    /// Too many have named themselves.
    #[error(
        "{0} services are registered already, and more are not taken: remove one that is not needed"
    )]
    TooMany(usize),
    /// What it says of itself cannot be.
    #[error("it cannot be watched like that: {0}")]
    Unfit(String),
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

/// Anybody → Supervisor: a service as it is configured now.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Option<ServiceSpec>")]
pub struct GetSpec(pub ServiceName);

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
    /// Which services to forget, before anything is remembered.
    pub forget: Vec<ServiceName>,
    /// Runs that have ended, in order.
    pub runs: Vec<NewRun>,
    /// What services must remember, as JSON; the last one of a service wins.
    pub memories: Vec<(ServiceName, String)>,
    /// Who waits.
    pub acks: Vec<Ack>,
    /// The last of this program: there is no later attempt, so it is tried at once whatever
    /// the storage said before.
    pub last: bool,
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

/// A run on its way to the archive.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRun {
    /// Of which service.
    pub service: ServiceName,
    /// What.
    pub run: Box<Run>,
}

/// HTTP → Archive: recorded runs of a service.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Vec<RunRow>, StoreError>")]
pub struct GetRuns(pub RunQuery);

/// HTTP → Archive: recorded events.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<Vec<EventRow>, StoreError>")]
pub struct GetEvents(pub EventQuery);

/// HTTP → Archive: delete a service's history; answers how many events went.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<u64, StoreError>")]
pub(crate) struct DeleteHistory {
    /// Whose.
    pub(crate) service: ServiceName,
    /// What is older goes.
    pub(crate) before: Timestamp,
}

/// The point of the judging clock that survives us: see [`Time`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The judging clock.
    pub time: Time,
    /// The monotonic clock at the same moment.
    pub mono: Mono,
    /// The boot that the monotonic clock counts from.
    pub boot: String,
    /// Whether whoever left it was being stopped; `None` from an older version, which did not
    /// say.
    pub stopping: Option<bool>,
}

/// Tells one waiting client whether its information is on record. Dropped unused, it says
/// that an actor died on the way.
#[derive(Debug)]
pub struct Ack {
    reply: oneshot::Sender<Result<(), InformError>>,
    /// The message's place among those that may wait.
    _permit: Option<Permit>,
}

/// Any thread → Service: something that is recorded before it is acknowledged.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Informed {
    /// The plain pulses that came before it.
    pub(crate) before: Option<Folded>,
    /// When it was received.
    pub(crate) at: Mono,
    /// What.
    pub(crate) inform: Inform,
    /// Who waits.
    pub(crate) ack: Ack,
}

/// A source → its Service: something that it heard.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Overheard {
    /// When it was received.
    pub(crate) at: Mono,
    /// Of which life; none for the present one.
    pub(crate) generation: Option<Generation>,
    /// What.
    pub(crate) heard: Heard,
    /// Its place among those that may wait.
    pub(crate) place: Permit,
}

/// A source → Service → Supervisor: dropped when everything said before has been judged.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Settle {
    /// What somebody waits to see dropped.
    pub(crate) token: Box<dyn Send>,
    /// Its place among those that may wait.
    pub(crate) place: Permit,
}

/// A process → its Service: what happened to it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Happened {
    /// Whose life, as the service numbered its sinks: what an earlier handle says late is
    /// not taken for this one's.
    pub(crate) sink: u32,
    /// What.
    pub(crate) event: ProcessEvent,
    /// When.
    pub(crate) at: Mono,
}

/// Supervisor → Service: say again what lives, the supervisor has been rebuilt.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Announce;

/// Service → Supervisor: what lives of it, before anything else that it reports.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Announced {
    /// Whose.
    pub(crate) service: ServiceId,
    /// What.
    pub(crate) found: Found,
    /// When.
    pub(crate) at: Mono,
}

/// Service → Supervisor: whether it can be seen what lives of it.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Unclear {
    /// Of which.
    pub(crate) service: ServiceId,
    /// Why not; `None`: it can again.
    pub(crate) why: Option<String>,
    /// When.
    pub(crate) at: Mono,
}

/// What lives of a service that we run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing, and no end of anything is on record.
    Nothing,
    /// Its process.
    Living { generation: Generation, pid: i32 },
    /// Its process has ended; `left`: others of it still live.
    Ended {
        generation: Generation,
        exit: Exit,
        left: bool,
    },
    /// Its shim was gone: what is left of it is being ended.
    ShimLost { generation: Generation },
}

/// Anybody → Supervisor: watch this service, too. Answers `false` where its name is taken.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub(crate) struct Watch(pub(crate) ServiceSpec);

/// Anybody → Supervisor: watch this service no longer; answered when nothing of it is left,
/// or, with nothing, when the supervisor was rebuilt meanwhile.
#[derive(Debug, Message)]
#[rtype(result = "Option<Result<(), Denied>>")]
pub(crate) struct Unwatch(pub(crate) ServiceName);

/// HTTP → Supervisor: a service names itself.
#[derive(Debug, Message)]
#[rtype(result = "Result<Registering, Denied>")]
pub(crate) struct Register(pub(crate) Registration);

/// HTTP → Supervisor: a service that named itself goes.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), Denied>")]
pub(crate) struct Unregister(pub(crate) ServiceName);

/// HTTP → Supervisor: which services named themselves, by name.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<Registration>")]
pub(crate) struct GetRegistrations;

/// Supervisor → Service: you are no longer watched, end.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Leave;

/// A service's actor → Supervisor: it has ended, and this is the last that is said under its
/// number.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Freed(pub(crate) ServiceId);

/// Supervisor → Archive: what services remember, the last of each, written or not yet.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Vec<(String, String)>, StoreError>")]
pub(crate) struct Load;

/// Archive → itself: a transaction has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Committed {
    /// What it wrote, or could not.
    pub(crate) batch: crate::ports::Batch,
    /// How it ended: with the id of its first event.
    pub(crate) result: Result<i64, StoreError>,
}

/// The store's blocking thread → Archive: what people should know of the database.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Noticed(pub(crate) Vec<String>);

/// Archive → Supervisor: whether records reach the disk; said on every change.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Storage(pub(crate) Result<(), String>);

/// Supervisor → Deacon: write the heartbeat file.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub(crate) struct Patrol {
    /// What we did last.
    pub(crate) action: String,
    /// How many services are healthy.
    pub(crate) healthy: i64,
    /// How many are not.
    pub(crate) unhealthy: i64,
}

/// Deacon → itself: the file has been written, or not.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Wrote(pub(crate) Result<(), String>);

/// Deacon → itself: what stood in the file when it began.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Stood(pub(crate) Option<Vec<u8>>);

/// One of our own actors → Supervisor: I turn.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct SelfPulse(pub(crate) Subject);

/// Guardian → Supervisor: an actor panicked and stands again.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Rebuilt {
    /// Which.
    pub(crate) subject: Subject,
    /// The panic's text.
    pub(crate) text: String,
}

/// A guard → Guardian: there are deaths to deal with.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Deaths;

// === alerts ===

/// A keeper of calendars → Supervisor: these maintenance windows are open now, and no others.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Maintain(pub(crate) Vec<OpenWindow>);

/// A maintenance window that is open: the services that it covers are judged, but nobody is
/// told of them and they are not poked.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenWindow {
    /// Its name.
    pub name: String,
    /// Which services.
    pub services: Vec<Pattern>,
    /// When it closes.
    pub until: Timestamp,
}

impl OpenWindow {
    /// Whether it covers that service. What is wrong with ourselves is told at any time.
    #[must_use]
    pub fn covers(&self, service: &ServiceName) -> bool {
        !service.is_internal() && self.services.iter().any(|one| one.matches(service))
    }
}

/// Supervisor → Alerter: how services are now, as far as alerts care.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct News {
    /// When, also on the judging clock.
    pub(crate) at: Moment,
    /// Those that may have changed.
    pub(crate) facts: Vec<Fact>,
    /// Who was poked, and when.
    pub(crate) poked: Vec<(ServiceName, Timestamp)>,
    /// Who was restarted.
    pub(crate) restarted: Vec<ServiceName>,
    /// Who is no longer watched.
    pub(crate) forgotten: Vec<ServiceName>,
    /// What is wrong with ourselves, or no longer.
    pub(crate) own: Vec<OwnTrouble>,
    /// How many services are watched.
    pub(crate) watched: usize,
}

/// One of our own actors → Supervisor → Alerter: something is wrong with ourselves, or no
/// longer.
#[derive(Debug, Clone, PartialEq, Message)]
#[rtype(result = "()")]
pub(crate) struct Trouble(pub(crate) OwnTrouble);

/// Something is wrong with ourselves.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OwnTrouble {
    /// It is, or was for a moment.
    Is {
        /// In a word or two; one alert each.
        what: &'static str,
        /// How bad.
        level: Level,
        /// In a sentence.
        reason: String,
        /// How long it goes on.
        lasts: Lasting,
    },
    /// It is over.
    Over {
        /// What.
        what: &'static str,
    },
}

/// Supervisor → Alerter: something may be due.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct AlertTick(pub(crate) Moment);

/// Alerter → Supervisor: it begins, tell it how everything is.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct TellConcerns;

/// Alerter → itself: a transaction has ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct AlertsCommitted {
    /// What it wrote, or could not.
    pub(crate) batch: AlertBatch,
    /// How it ended.
    pub(crate) result: Result<(), StoreError>,
}

/// How a delivery ended.
pub(crate) type Delivered = Result<(), Undelivered>;

/// HTTP → Alerter: somebody takes an alert.
#[derive(Debug, Message)]
#[rtype(result = "Result<Alert, Refused>")]
pub(crate) struct Acknowledge {
    /// Which.
    pub(crate) id: AlertId,
    /// Who.
    pub(crate) who: String,
    /// What they say of it.
    pub(crate) note: String,
}

/// HTTP → Alerter: a silence.
#[derive(Debug, Message)]
#[rtype(result = "Silence")]
pub(crate) struct Mute {
    /// Of which services.
    pub(crate) services: Pattern,
    /// Only of those with this tag.
    pub(crate) tag: Option<String>,
    /// For how long.
    pub(crate) lasting: Duration,
    /// Who wants it.
    pub(crate) by: String,
    /// Why.
    pub(crate) note: String,
}

/// HTTP → Alerter: that silence ends now.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<(), Refused>")]
pub(crate) struct EndSilence(pub(crate) SilenceId);

/// HTTP → Alerter: the silences that hold.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<Silence>")]
pub(crate) struct GetSilences;

/// HTTP → Alerter: the open alerts, the oldest first.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<Alert>")]
pub(crate) struct GetOpenAlerts;

/// HTTP → Alerter: which rules decide about an open alert now.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Result<Vec<String>, Refused>")]
pub(crate) struct Why(pub(crate) AlertId);

/// HTTP → Alerter: kept alerts, resolved ones too.
#[derive(Debug, Message)]
#[rtype(result = "Result<Vec<Alert>, StoreError>")]
pub(crate) struct GetAlerts(pub(crate) AlertQuery);

/// HTTP → Alerter: a message to that sink, to see whether it arrives; `None`: no such sink.
#[derive(Debug, Message)]
#[rtype(result = "Option<Delivered>")]
pub(crate) struct TestSink(pub(crate) SinkName);

// === impl Ack ===

impl Ack {
    /// The two ends: one travels with the message, the other waits.
    pub(crate) fn new(permit: Permit) -> (Self, oneshot::Receiver<Result<(), InformError>>) {
        let (reply, wait) = oneshot::channel();
        let ack = Self {
            reply,
            _permit: Some(permit),
        };
        (ack, wait)
    }

    /// The same for what we wait for ourselves.
    pub(crate) fn ours() -> (Self, oneshot::Receiver<Result<(), InformError>>) {
        let (reply, wait) = oneshot::channel();
        let ack = Self {
            reply,
            _permit: None,
        };
        (ack, wait)
    }

    /// Answers; a client who went away is none of our business.
    pub(crate) fn tell(self, result: Result<(), InformError>) {
        drop(self.reply.send(result));
    }
}
