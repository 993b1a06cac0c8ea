//! What actors need of the world, as traits: real in `src/adapters`, faked in `testing`.

pub mod alerts;
pub mod files;
pub mod history;
pub mod ledger;
pub mod output;
pub mod tables;

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use supervisor_core::event::{Exit, Generation, StartFailure};
use supervisor_core::time::Mono;
use supervisor_core::{ServiceName, Timestamp};

use self::output::{Hearing, Output};
use crate::messages::{Mark, NewEvent, NewRun};
use crate::spec::{Nudge, ProcessSpec, ServiceSpec};

/// The clocks.
pub trait Clock: Send + Sync {
    /// The monotonic clock, suspend excluded.
    fn mono(&self) -> Mono;
    /// The monotonic clock, suspend included: the wall clock should go on as far as this one.
    fn uptime(&self) -> Mono;
    /// The wall clock.
    fn wall(&self) -> Timestamp;
    /// The last moment up to that one at which waking us costs least.
    fn cheap(&self, by: Mono) -> Mono {
        by
    }
}

/// Randomness in 0..1, for jitter.
pub trait Dice: Send + Sync {
    /// A throw.
    fn roll(&self) -> f64;
}

/// Starts and finds processes. All on the thread of the actors; nothing here blocks for
/// longer than a spawn.
pub trait Processes {
    /// Starts one; everything that happens to it, a failed start included, goes to `sink`.
    fn launch(&self, launch: Launch, sink: ProcessSink) -> Box<dyn Process>;

    /// Finds what an earlier supervisor left of a service: `None` if nothing lives and no
    /// exit is on record. What happens to a living one from now on, and what is wanted of its
    /// output, goes to `sink`. Does not end before that is known for certain.
    fn adopt<'a>(
        &'a self,
        name: &'a ServiceName,
        process: &'a ProcessSpec,
        hearing: Option<Hearing>,
        sink: ProcessSink,
    ) -> LocalBoxFuture<'a, Option<Adoption>>;

    /// Forgets how the last life of a service ended, of which nothing is left: the next of
    /// that name is another.
    fn forget(&self, name: &ServiceName);

    /// How much memory services take, each told by its main process: the resident bytes of all
    /// its processes, in that order. None for one that is gone.
    fn weigh(&self, mains: Vec<i32>) -> LocalBoxFuture<'static, Vec<Option<u64>>>;
}

/// Where a process adapter tells what happens.
pub type ProcessSink = Rc<dyn Fn(ProcessEvent)>;

/// What to start.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Whose process.
    pub name: ServiceName,
    /// Which life.
    pub generation: Generation,
    /// How.
    pub process: Arc<ProcessSpec>,
    /// Variables of its sources, which outrank the owner's.
    pub environment: Vec<(String, String)>,
    /// What is wanted of its output.
    pub hearing: Option<Hearing>,
    /// What its life keeps from its beginning.
    pub socket: Option<Arc<OwnedFd>>,
}

/// What a life keeps over our own death.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// What it was launched with.
    pub socket: Option<Arc<OwnedFd>>,
    /// What was given to [`Process::remember`] last; empty for nothing.
    pub note: String,
}

/// What an earlier supervisor left of a service.
pub enum Adoption {
    /// It lives.
    Living {
        /// Which life.
        generation: Generation,
        /// Its main process.
        pid: i32,
        /// To act on it.
        process: Box<dyn Process>,
        /// What it kept.
        kept: Kept,
    },
    /// Its main process has ended meanwhile, but others of it live.
    Remains {
        /// Which life.
        generation: Generation,
        /// How it ended.
        exit: Exit,
        /// To act on it.
        process: Box<dyn Process>,
    },
    /// It ended meanwhile, whole.
    Ended {
        /// Which life.
        generation: Generation,
        /// How.
        exit: Exit,
    },
    /// Its shim is gone while it lived: its tree is being ended, `Gone` will come.
    ShimLost {
        /// Which life.
        generation: Generation,
        /// To act on it.
        process: Box<dyn Process>,
    },
}

/// A started process, whole with all its descendants.
pub trait Process {
    /// The stop ladder: stop signal, SIGCONT, SIGKILL to what is left after the stop timeout.
    /// Ends in [`ProcessEvent::Gone`]. A second call while it runs kills at once.
    fn stop(&self);
    /// A signal to its main process.
    ///
    /// # Errors
    /// Why it could not be sent.
    fn signal(&self, signal: i32) -> Result<(), String>;
    /// A stop under way may last so long from now before what is left is killed.
    fn extend(&self, by: Duration);
    /// Whoever adopts it is told that: a short text, the last one counts.
    fn remember(&self, note: &str);
}

/// What happens to a process.
#[derive(Debug, Clone, PartialEq)]
pub enum ProcessEvent {
    /// It has executed.
    Started {
        /// Its main process.
        pid: i32,
    },
    /// It could not be started; nothing of it is left.
    StartFailed(StartFailure),
    /// Its main process ended.
    Exited {
        /// How.
        exit: Exit,
        /// Whether others of it live.
        left: bool,
    },
    /// Nothing of it is left (not said after `Exited` with `left: false`).
    Gone,
    /// Its stop waits for these, as `pid (name)`.
    Blocked(String),
    /// Its shim is gone while it lived: its tree is being ended, `Gone` will come.
    ShimLost,
    /// It has written lines that are wanted.
    Output(Output),
    /// Why it cannot be seen just now what lives of it, so that nothing is done about it before
    /// it can; `None`: it can again. Comes amid [`Processes::adopt`], too.
    Unclear(Option<String>),
}

/// Runs the owner's short commands and calls: nudges other than signals, restart commands.
/// Commands get an environment like the service's own, and so learn for whom they run.
pub trait Errands {
    /// Runs a command to its end, or sends an HTTP call, or types into tmux.
    ///
    /// # Errors
    /// Why it failed, in a sentence.
    fn nudge(
        &self,
        service: &ServiceSpec,
        nudge: &Nudge,
    ) -> LocalBoxFuture<'static, Result<(), String>>;
    /// Runs a command to its end.
    ///
    /// # Errors
    /// Why it failed, in a sentence.
    fn run(
        &self,
        service: &ServiceSpec,
        command: &[String],
    ) -> LocalBoxFuture<'static, Result<(), String>>;
}

/// A way to look at one service from outside. On the thread of the actors; must not block.
pub trait Check {
    /// Looks once, within its time limit. Dropped, it leaves nothing behind.
    fn look(&self) -> LocalBoxFuture<'static, Look>;

    /// How many of the places that probes share it takes: more for what costs more than a
    /// connection.
    fn weight(&self) -> u32 {
        1
    }
}

/// What a look has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// All is well.
    Passed,
    /// It is not, for this reason.
    Failed(String),
    /// We could not look, for a reason of our own: too few descriptors, no memory.
    Unable(String),
}

/// The database. Blocking: the archive calls it on a blocking thread.
pub trait Store: Send {
    /// Reads what services remember, as JSON by name.
    ///
    /// # Errors
    /// Where the database cannot be read.
    fn load(&mut self) -> Result<Vec<(String, String)>, StoreError>;

    /// Writes a batch in one transaction. Returning means that it survives our SIGKILL. Answers
    /// the id of its first event; the others follow it one by one.
    ///
    /// # Errors
    /// Where it could not be written, whole.
    fn commit(&mut self, batch: &Batch) -> Result<i64, StoreError>;

    /// Reads events.
    ///
    /// # Errors
    /// Where the database cannot be read.
    fn events(&mut self, query: &EventQuery) -> Result<Vec<EventRow>, StoreError>;

    /// Deletes history, some of it at a time: others use the database in between.
    ///
    /// # Errors
    /// Where the database cannot be written.
    fn delete(&mut self, bygone: &Bygone) -> Result<Deleted, StoreError>;

    /// Reads runs of a service, the youngest first.
    ///
    /// # Errors
    /// Where the database cannot be read.
    fn runs(&mut self, query: &RunQuery) -> Result<Vec<RunRow>, StoreError>;

    /// What people should know and was not said yet: a database set aside as corrupt. Asked
    /// for after every use.
    fn notices(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// What one transaction writes.
#[derive(Debug, Default)]
pub struct Batch {
    /// New events, in order.
    pub events: Vec<NewEvent>,
    /// Which services to forget, before anything is remembered.
    pub forget: Vec<ServiceName>,
    /// Runs that have ended, in order.
    pub runs: Vec<NewRun>,
    /// What services must remember, as JSON; each service at most once.
    pub memories: Vec<(ServiceName, String)>,
}

/// Which events are asked for, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventQuery {
    /// Only those after this id.
    pub after: Option<i64>,
    /// Only those at or after this time.
    pub since: Option<Timestamp>,
    /// Only those of this service.
    pub service: Option<String>,
    /// At most so many: the first ones where `after` or `since` says from where, else the newest.
    pub limit: u32,
}

impl EventQuery {
    /// Whether it asks for what follows a point, rather than for the newest.
    #[must_use]
    pub fn is_from_a_point(&self) -> bool {
        self.after.is_some() || self.since.is_some()
    }
}

/// Which history is deleted: that of a service before a date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bygone {
    /// Whose.
    pub service: ServiceName,
    /// What is older goes.
    pub before: Timestamp,
    /// Where to go on, as an earlier call said; 0 to begin.
    pub from: i64,
}

/// What one step of a deletion came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deleted {
    /// How many events and runs it deleted.
    pub records: u64,
    /// Where to go on; nothing where it is done.
    pub next: Option<i64>,
}

/// A recorded event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Event)]
pub struct EventRow {
    /// Grows with time.
    pub id: i64,
    /// When, RFC 3339 with microseconds.
    pub time: String,
    /// Of which service.
    pub service: String,
    /// What.
    pub kind: String,
    /// What it was before.
    pub from: Option<String>,
    /// What it is now.
    pub to: Option<String>,
    /// Why.
    pub reason: String,
}

impl EventRow {
    /// What is told of an event that was recorded under that id.
    #[must_use]
    pub fn of(id: i64, event: &NewEvent) -> Self {
        let change = &event.change;
        Self {
            id,
            time: event.time.rfc3339_micros(),
            service: event.service.as_str().to_owned(),
            kind: change.kind.as_str().to_owned(),
            from: change.from.map(str::to_owned),
            to: change.to.map(str::to_owned),
            reason: change.reason.clone(),
        }
    }
}

/// Which runs of a service are asked for, the youngest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunQuery {
    /// Whose.
    pub service: String,
    /// Only that one.
    pub number: Option<i64>,
    /// Only those before this number.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: u32,
    /// Whether what they printed is wanted, too.
    pub output: bool,
}

/// A recorded run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Run)]
pub struct RunRow {
    /// Its number within its service; grows with time.
    pub id: i64,
    /// What its sender calls it.
    pub rid: Option<String>,
    /// How it went: `success`, `failure`, `abandoned`, or `log` for what was said in between.
    pub outcome: String,
    /// Its exit status.
    pub exit_code: Option<i64>,
    /// When it began, RFC 3339 with microseconds, if anybody knows.
    pub started_at: Option<String>,
    /// When its end was told, RFC 3339 with microseconds.
    pub ended_at: String,
    /// How many seconds it took, if anybody knows.
    pub duration: Option<f64>,
    /// What there is to say about it.
    pub message: Option<String>,
    /// What it printed; kept for the youngest runs only. Left out where it was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// Why the database does not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be written or read now: full, read-only, an I/O error.
    #[error("the database cannot be used now: {0}")]
    Unavailable(String),
    /// It was busy for longer than we wait.
    #[error("the database is busy")]
    Busy,
    /// The archive is being rebuilt or stopped.
    #[error("the archive does not answer")]
    NoArchive,
}

/// The small files through which we show life and remember our clock.
pub trait Marks {
    /// Reads the mark that the last supervisor left, if it is whole.
    fn read(&self) -> Option<Mark>;
    /// Leaves a mark: called about once a second, so it must cost microseconds.
    fn leave(&self, mark: &Mark);
    /// The present boot's id.
    fn boot(&self) -> String;
}

/// Writes `deacon/heartbeat.json` atomically. Blocking: called on a blocking thread.
pub trait DeaconFile: Send {
    /// Writes these bytes.
    ///
    /// # Errors
    /// Where the file cannot be written.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()>;
    /// What stands there, if anything does.
    fn read(&mut self) -> Option<Vec<u8>>;
}
