//! The states of a service: one enum, its data in the variants.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::{Exit, RestartKind};
use crate::time::Time;
use crate::view::StateWord;

/// What a service is doing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// Nothing was asked of it yet.
    #[default]
    New,
    /// Not wanted.
    Stopped { halt: Halt },
    /// Wanted; started once what it depends on is ready, and it is not paused.
    Waiting { origin: Origin },
    /// Being started: it is not ready yet.
    Starting { pid: Option<i32>, heard: bool },
    /// Its process runs and is ready. `heard`: it has pulsed in this life.
    Running { pid: Option<i32>, heard: bool },
    /// Being stopped, or its remains are being ended; nothing starts beside them.
    Stopping {
        pid: Option<i32>,
        then: Then,
        blocked: Option<Box<str>>,
    },
    /// Ended while it was paused: decided on when it is resumed.
    Held { ended: Box<Ended> },
    /// Waits for its turn in a series of restarts.
    Backoff { until: Time, kind: RestartKind },
    /// Restarted too often.
    Quarantined { until: Time },
    /// Ended, and not started again.
    Exited { failed: bool },
    /// Not run by us.
    External { heard: bool },
    /// Remembered as alive; what became of it while we were away is not known yet.
    Resumed {
        heard: bool,
        ready: bool,
        plan: Option<Then>,
    },
}

/// How long a stop holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Halt {
    /// Until somebody starts it.
    Lasting,
    /// Until the program begins again; what is left of a quarantine goes on then.
    Shutdown { quarantined: Option<Time> },
}

/// What follows when nothing is left of a life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Then {
    /// Rest.
    Rest { halt: Halt },
    /// Start, outside of any series: an operator, a dependency, the configuration.
    Start { origin: Origin },
    /// The next restart of a series, if its limit allows. `lived`: what the life came to.
    Restart { kind: RestartKind, lived: Duration },
    /// Stay down: it has done what it was to do.
    Planned,
    /// Stay down and say so: a failure that its policy does not restart.
    GiveUp,
    /// It ended by itself while it was paused: what its policy says when it is resumed.
    Decide { ended: Box<Ended> },
}

/// Why a start happens, and what it counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Origin {
    /// Wanted and not running: no restart.
    First,
    /// A restart outside of any series: recorded, not limited.
    Asked { kind: RestartKind },
    /// A restart of a series: limited.
    Series { kind: RestartKind },
    /// The one start that a quarantine allows when its time is up.
    Probing,
}

/// How and after what time a life ended that nobody asked to end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) how: How,
    pub(super) lived: Duration,
}

/// How a life ended that nobody asked to end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum How {
    /// Its main process exited.
    Exit { exit: Exit },
    /// Nobody knows how.
    Vanished,
    /// Its shim was gone, so the rest of it was ended.
    ShimLost,
}

/// How far up the ladder of a poke a hung service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Ladder {
    /// Not on it.
    #[default]
    Calm,
    /// Nudged; restarted unless it pulses by then.
    Nudged { until: Time, kind: RestartKind },
    /// Its restart was asked for and not granted yet.
    Asked { kind: RestartKind },
    /// Its restart command runs.
    Commanded,
    /// Everything that is allowed was done, and said.
    Spent,
}

/// Left alone on request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Pause {
    pub(super) until: Option<Time>,
    pub(super) why: String,
}

impl State {
    /// The API's word, pauses aside.
    pub(super) fn word(&self) -> StateWord {
        match self {
            Self::New | Self::Stopped { .. } => StateWord::Stopped,
            Self::Waiting { .. } | Self::Starting { .. } => StateWord::Starting,
            Self::Running { .. } => StateWord::Running,
            Self::Stopping { .. } => StateWord::Stopping,
            Self::Held { .. } | Self::Exited { .. } => StateWord::Exited,
            Self::Backoff { .. } => StateWord::Backoff,
            Self::Quarantined { .. } => StateWord::Quarantined,
            Self::External { .. } => StateWord::External,
            Self::Resumed { plan: Some(_), .. } => StateWord::Stopping,
            Self::Resumed { ready: false, .. } => StateWord::Starting,
            Self::Resumed { ready: true, .. } => StateWord::Running,
        }
    }

    /// Its main process, as far as it is known to live.
    pub(super) fn pid(&self) -> Option<i32> {
        match self {
            Self::Starting { pid, .. } | Self::Running { pid, .. } | Self::Stopping { pid, .. } => {
                *pid
            }
            Self::New
            | Self::Stopped { .. }
            | Self::Waiting { .. }
            | Self::Held { .. }
            | Self::Backoff { .. }
            | Self::Quarantined { .. }
            | Self::Exited { .. }
            | Self::External { .. }
            | Self::Resumed { .. } => None,
        }
    }
}

impl Ended {
    /// Whether it is a failure: everything but code 0.
    pub(super) fn is_failure(&self) -> bool {
        match &self.how {
            How::Exit { exit } => exit.signal.is_some() || exit.code != Some(0),
            How::Vanished | How::ShimLost => true,
        }
    }

    /// The kind of the restart that follows it.
    pub(super) fn kind(&self) -> RestartKind {
        match &self.how {
            How::Exit { exit } if exit.signal.is_some() => RestartKind::Signalled,
            How::Exit { .. } | How::Vanished => RestartKind::Exited,
            How::ShimLost => RestartKind::Shim,
        }
    }
}
