//! What happens to a service, and what is decided about it: the vocabulary of the machine.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::level::Level;
use crate::run::{Run, RunSign};
use crate::time::{Mono, Time, Timestamp};

/// One life of a service, counted from 1; 0 before the first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u32);

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit code, where it had one.
    pub code: Option<i32>,
    /// The signal that ended it, where one did.
    pub signal: Option<i32>,
    /// Whether the kernel's out-of-memory killer did it.
    #[serde(default)]
    pub oom: bool,
    /// When.
    pub at: Timestamp,
}

/// Why a service is restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RestartKind {
    /// It exited by itself.
    Exited,
    /// A signal that we did not send ended it.
    Signalled,
    /// It stopped pulsing.
    Stale,
    /// Its probes failed.
    Probe,
    /// It was not ready by the start's deadline, or could not be started.
    Unready,
    /// Somebody asked.
    Operator,
    /// What it depends on was restarted.
    Dependency,
    /// Its configuration changed.
    Config,
    /// Its shim was gone while it lived.
    Shim,
}

/// The kinds of recorded events: the public list of DESIGN 10.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// A level changed.
    Level,
    /// A process was started.
    Started,
    /// A start became ready.
    Ready,
    /// A process ended.
    Exited,
    /// A hung service is acted upon.
    Poked,
    /// A nudge was sent.
    Nudged,
    /// A restart was begun.
    Restarted,
    /// Too many restarts: not started any more.
    Quarantined,
    /// A quarantine was lifted.
    Cleared,
    /// Left alone on request.
    Paused,
    /// Watched again.
    Resumed,
    /// An error that a service reported, or a failed start.
    Error,
    /// A running process was found and taken over.
    Adopted,
    /// The configuration changed.
    Config,
    /// Of the sync.
    Sync,
    /// Of an alert.
    Alert,
    /// Of ourselves.
    Supervisor,
}

/// Why a process could not be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartFailure {
    /// What kind of failure.
    pub fault: StartFault,
    /// The whole story in a sentence, with the path and what would help.
    pub detail: String,
}

/// The kinds of failed starts that users meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartFault {
    /// ENOENT: no such program.
    NotFound,
    /// EACCES: not executable for this user.
    NotPermitted,
    /// ENOEXEC: not in a format that the kernel runs (a script without `#!`, another architecture).
    NotExecutable,
    /// ETXTBSY: somebody is writing the program; already retried.
    Busy,
    /// The working directory is missing or may not be entered.
    NoDirectory,
    /// The user or group does not exist, or we may not become it.
    NoUser,
    /// EAGAIN, ENOMEM, EMFILE: the machine has no room now.
    NoResources,
    /// Anything else; the detail says what.
    Other,
}

impl StartFault {
    /// Whether trying again unchanged can help. A missing program is not worth a series.
    #[must_use]
    pub fn is_transient(self) -> bool {
        match self {
            Self::Busy | Self::NoResources | Self::Other => true,
            Self::NotFound
            | Self::NotPermitted
            | Self::NotExecutable
            | Self::NoDirectory
            | Self::NoUser => false,
        }
    }
}

/// When something was received, on each of our clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Moment {
    /// On the judging clock: what decisions use.
    pub time: Time,
    /// On the monotonic clock: what a shown age uses.
    pub mono: Mono,
    /// On the wall: what is shown as a date.
    pub wall: Timestamp,
}

/// What a service says of itself in a pulse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum PulseState {
    /// At work: the default.
    Working,
    /// Nothing to do: it ends the promise to pulse until the next pulse that is not idle.
    Idle,
    /// About to exit.
    Exiting,
    /// It knows that it hangs: poked at once.
    Stuck,
}

/// What a pulse that carries information carries, as far as decisions need it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Note {
    /// Its own word about its state.
    pub state: Option<PulseState>,
    /// Free text, shown.
    pub message: Option<String>,
    /// A counter that must move (see `progress_timeout`).
    pub cycle: Option<i64>,
    /// A number that must move (see `progress_timeout`); finite.
    pub progress: Option<f64>,
    /// How long it will be busy and silent.
    pub busy_for: Option<Duration>,
    /// Its own figures, as [`Figures`](crate::metrics::Figures) takes them.
    pub metrics: Vec<(String, f64)>,
}

/// Everything that can happen to a service. Facts about a process carry the generation they
/// belong to; those of an older one never judge the present one.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The program has begun and all that an earlier one left of it has been told (by
    /// [`Event::Adopted`], [`Event::Exited`], [`Event::ShimLost`]; nothing, where nothing was
    /// found): go on from what is remembered. What ran is started again unless it was found;
    /// what an operator stopped, what is quarantined and what has ended stays as it is.
    Begin,
    /// Somebody wants it to run. Does not lift a quarantine.
    Start,
    /// Somebody wants it not to run. Outranks everything. Holds until somebody starts it;
    /// with [`Event::SHUTDOWN`] as its reason, until the program begins again.
    Stop {
        /// Who or what, for the record: `operator`, `shutdown`, `dependency db`.
        why: String,
    },
    /// Somebody wants it stopped and started, now and past any backoff. An operator starts
    /// what is down by it, too (not what is quarantined); a dependency or the configuration
    /// restarts only what is meant to run. Other kinds go through the restart limit.
    Restart {
        /// For the record.
        kind: RestartKind,
    },
    /// Somebody wants it nudged now.
    Nudge,
    /// Leave it alone, until then if a time is given.
    Pause {
        /// When the pause ends by itself.
        until: Option<Time>,
        /// For the record.
        why: String,
    },
    /// Watch it again.
    Resume,
    /// Lift a quarantine (or a failure that was not restarted), forget the series, and start
    /// unless it was stopped or has done what it was to do.
    Clear,
    /// Whether all that it depends on is ready.
    Dependencies {
        /// All are ready.
        ready: bool,
        /// The names of those that are not, for the reason shown.
        missing: String,
    },
    /// A maintenance window covers it from now on, or no longer: it is not poked meanwhile.
    Maintenance(bool),
    /// Its process has executed.
    Started {
        /// Whose life.
        generation: Generation,
        /// The process.
        pid: i32,
    },
    /// Its process could not be started.
    StartFailed {
        /// Whose life.
        generation: Generation,
        /// Why.
        failure: StartFailure,
    },
    /// A living process was found after our own restart and taken over.
    Adopted {
        /// Whose life.
        generation: Generation,
        /// The process.
        pid: i32,
    },
    /// It said that it is ready, by the way that its policy names.
    Ready {
        /// Whose life.
        generation: Generation,
    },
    /// Its main process ended.
    Exited {
        /// Whose life.
        generation: Generation,
        /// How.
        exit: Exit,
        /// Whether other processes of it still live: nothing is started beside them.
        left: bool,
    },
    /// Nothing of that life is left.
    Gone {
        /// Whose life.
        generation: Generation,
    },
    /// Its stop waits for a process that not even SIGKILL ends.
    Blocked {
        /// Whose life.
        generation: Generation,
        /// Which processes, as `pid (name)`.
        by: String,
    },
    /// Its shim is gone while it lived; the adapter already ends the tree and says `Gone`.
    ShimLost {
        /// Whose life.
        generation: Generation,
    },
    /// One or more plain pulses (see [`Note`] for one that says more).
    Pulse {
        /// Whose life.
        generation: Generation,
        /// How many, at least 1.
        count: u32,
        /// What it says; only with a count of 1.
        note: Option<Box<Note>>,
    },
    /// A sign of life met as it stands, given before we listened: it says how old its life
    /// is, and is no pulse received.
    Sighted {
        /// Whose life.
        generation: Generation,
        /// When it was given.
        at: Moment,
        /// What it says.
        note: Option<Box<Note>>,
    },
    /// An error that the service itself reported: a sign of life, too.
    Error {
        /// Whose life.
        generation: Generation,
        /// What it says.
        message: String,
        /// Whether it calls it critical.
        critical: bool,
    },
    /// A probe succeeded: a sign of life, and what ends a row of failures. It says nothing of
    /// what the service says of itself: idle, busy, stuck.
    ProbePassed {
        /// Whose life.
        generation: Generation,
    },
    /// Something is said of a run: its end is a pulse or an error, its start neither.
    Run {
        /// Whose life.
        generation: Generation,
        /// What.
        sign: Box<RunSign>,
    },
    /// A probe failed: no sign of life.
    ProbeFailed {
        /// Whose life.
        generation: Generation,
        /// Why, as a sentence about the service: `127.0.0.1:80 refused the connection`.
        reason: String,
        /// Whether one has succeeded in this life: before that, it may just be starting.
        passed_before: bool,
    },
    /// It says in free text what it does: shown, no sign of life. Empty: nothing any more.
    Status {
        /// Whose life.
        generation: Generation,
        /// What it says.
        message: String,
    },
    /// It reads its configuration anew and is silent meanwhile, until it is ready again or a
    /// start's time has passed.
    Reloading {
        /// Whose life.
        generation: Generation,
    },
    /// It is about to exit by itself, and silent meanwhile, for as long as a stop may take.
    Stopping {
        /// Whose life.
        generation: Generation,
    },
    /// From now on, in this life, it pulses that often (at least every 100 ms).
    Interval {
        /// Whose life.
        generation: Generation,
        /// How often.
        interval: Duration,
    },
    /// Where its interval is to be learnt: it has been, anew perhaps.
    Learnt {
        /// What it came to.
        interval: Duration,
    },
    /// It needs so long from now, by `max_busy` at most: its start is not overdue before
    /// then, its silence no lateness, its stop not over. A stop is extended by `max_busy` in
    /// all, however often it asks.
    Extend {
        /// Whose life.
        generation: Generation,
        /// How long.
        by: Duration,
    },
    /// It names its main process: what is shown. Its exit is that of the one that was started.
    MainPid {
        /// Whose life.
        generation: Generation,
        /// Which process.
        pid: i32,
    },
    /// It has found itself hung: poked at once.
    Stuck {
        /// Whose life.
        generation: Generation,
        /// What says so.
        why: String,
    },
    /// A nudge was sent, or could not be.
    NudgeDone {
        /// What went wrong, if it did.
        failed: Option<String>,
    },
    /// The command that restarts what we do not run has ended.
    RestartCommandDone {
        /// What went wrong, if it did.
        failed: Option<String>,
    },
    /// The restart that was asked for by [`Action::AskRestart`] may go ahead.
    RestartGranted,
    /// A deadline may have passed: look.
    Tick,
}

/// What the machine wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Start a process as this generation.
    Start {
        /// The new life.
        generation: Generation,
    },
    /// Stop that life: stop signal, SIGCONT, SIGKILL to what is left after the stop timeout.
    Stop {
        /// Whose life.
        generation: Generation,
    },
    /// The stop of that life, which is under way, may last so long from now.
    Extend {
        /// Whose life.
        generation: Generation,
        /// How long.
        by: Duration,
    },
    /// Send the configured nudge.
    Nudge,
    /// Run the configured restart command.
    RestartCommand,
    /// May I restart a hung service now? Answered by [`Event::RestartGranted`], at once unless
    /// the storm brake is on.
    AskRestart,
    /// Record and tell.
    Tell(Change),
    /// Record a run.
    Record(Box<Run>),
}

/// One recorded event of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Which kind.
    pub kind: EventKind,
    /// What it was before: a level's or state's word.
    pub from: Option<&'static str>,
    /// What it is now: a level's or state's word, or a restart's kind.
    pub to: Option<&'static str>,
    /// Why, in a plain sentence.
    pub reason: String,
    /// The level after it, so that a log line can be coloured and graded.
    pub level: Level,
}

impl Event {
    /// The reason of a [`Event::Stop`] that holds only until the program begins again.
    pub const SHUTDOWN: &str = "shutdown";
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! words {
    ($type:ident { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $type {
            /// The word that users and clients see.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

words!(RestartKind {
    Exited => "exited", Signalled => "signalled", Stale => "stale", Probe => "probe",
    Unready => "unready", Operator => "operator", Dependency => "dependency",
    Config => "config", Shim => "shim",
});

words!(EventKind {
    Level => "level", Started => "started", Ready => "ready", Exited => "exited",
    Poked => "poked", Nudged => "nudged", Restarted => "restarted",
    Quarantined => "quarantined", Cleared => "cleared", Paused => "paused",
    Resumed => "resumed", Error => "error", Adopted => "adopted", Config => "config",
    Sync => "sync", Alert => "alert", Supervisor => "supervisor",
});
